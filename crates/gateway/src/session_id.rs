//! A session's id says where the session is: on which gateway, shard and seat. What remains is chance.

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The gateway's number: drawn by chance when it starts, so that one that starts anew is another one.
    pub(crate) gateway: u32,
    pub(crate) shard: u16,
    pub(crate) seat: u32,
}

/// Bytes of chance in an id. It is no secret: a token is needed besides.
pub(crate) const CHANCE: usize = 6;

/// The number of a gateway that starts.
pub(crate) fn random_number() -> Result<u32, getrandom::Error> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

impl Place {
    /// The 32 hexadecimal digits of an id.
    pub(crate) fn to_id(self, chance: [u8; CHANCE]) -> String {
        let chance = chance.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        format!("{:08x}{:04x}{:08x}{chance:012x}", self.gateway, self.shard, self.seat)
    }

    /// What an id says; `None` for a text that is none.
    pub(crate) fn of(id: &str) -> Option<Self> {
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self {
            gateway: u32::from_str_radix(&id[..8], 16).ok()?,
            shard: u16::from_str_radix(&id[8..12], 16).ok()?,
            seat: u32::from_str_radix(&id[12..20], 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_its_session() {
        let place = Place { gateway: 7, shard: 1, seat: 70_000 };
        let id = place.to_id([1, 2, 3, 4, 5, 255]);
        assert_eq!((id.len(), Place::of(&id)), (32, Some(place)));
        for bad in ["", "x", &"g".repeat(32), &"ä".repeat(16), &"0".repeat(33)] {
            assert_eq!(Place::of(bad), None, "{bad}");
        }
    }
}
