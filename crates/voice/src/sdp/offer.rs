//! What a client offers, as far as it matters here; and what is wrong with it, by name.

/// Most media sections of an offer.
const SECTIONS: usize = 32;
/// Most sources a section may announce.
const SOURCES: usize = 4;
/// Bytes of a SHA-256 fingerprint.
const FINGERPRINT: usize = 32;

/// Why an offer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("this is no session description: it does not begin with v=0")]
    NotSdp,
    #[error("line {0} is not of the form x=value")]
    Line(usize),
    #[error("there are more than {SECTIONS} media sections")]
    TooManySections,
    #[error("there is no audio section with opus")]
    NoAudio,
    #[error("all sections must be in one group: a=group:BUNDLE is missing or names other sections")]
    NoBundle,
    #[error("a=mid is missing or stands twice: section {0}")]
    Mid(usize),
    #[error("a=ice-ufrag or a=ice-pwd is missing or malformed")]
    Ice,
    #[error("a=fingerprint:sha-256 is missing or malformed")]
    Fingerprint,
    #[error("a=setup must be actpass or active: the server waits for the client's handshake")]
    Setup,
    #[error("section {0} must have a=rtcp-mux")]
    Mux(usize),
}

/// Which way media goes, as the client says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// A media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Media {
    /// `audio`, `video`, `application`.
    pub(crate) kind: String,
    /// The protocol and the formats, as they stand in the first line.
    pub(crate) protocol: String,
    pub(crate) formats: String,
    pub(crate) mid: String,
    pub(crate) direction: Direction,
    /// The payload type of Opus with two channels at 48 kHz.
    pub(crate) opus: Option<u8>,
    /// The payload type of redundant audio.
    pub(crate) red: Option<u8>,
    /// What the section calls the header extension of audio levels.
    pub(crate) level: Option<u8>,
    /// The sources that it announces.
    pub(crate) sources: Vec<u32>,
    /// What a section that is rejected is given back, as it was written: some clients do not understand a section of which
    /// they are not told the formats.
    pub(crate) formats_said: Vec<String>,
    mux: bool,
    rejected: bool,
}

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The client's ICE name.
    pub(crate) ufrag: String,
    /// SHA-256 of the client's certificate.
    pub(crate) fingerprint: [u8; FINGERPRINT],
    pub(crate) media: Vec<Media>,
}

impl Media {
    /// Whether it is audio that can be spoken here.
    pub(crate) fn is_audio(&self) -> bool {
        self.kind == "audio" && self.opus.is_some() && !self.rejected
    }

    fn new(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let (kind, port, protocol) = (parts.next()?, parts.next()?, parts.next()?);
        let rejected = port == "0";
        Some(Self {
            kind: kind.to_owned(),
            protocol: protocol.to_owned(),
            formats: parts.collect::<Vec<_>>().join(" "),
            mid: String::new(),
            direction: Direction::SendRecv,
            opus: None,
            red: None,
            level: None,
            sources: Vec::new(),
            formats_said: Vec::new(),
            mux: false,
            rejected,
        })
    }

    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "mid" => value.clone_into(&mut self.mid),
            "sendrecv" => self.direction = Direction::SendRecv,
            "sendonly" => self.direction = Direction::SendOnly,
            "recvonly" => self.direction = Direction::RecvOnly,
            "inactive" => self.direction = Direction::Inactive,
            "rtcp-mux" => self.mux = true,
            "rtpmap" => {
                self.codec(value);
                self.formats_said.push(format!("{name}:{value}"));
            }
            "sctp-port" => self.formats_said.push(format!("{name}:{value}")),
            "extmap" => self.extension(value),
            "ssrc" => {
                let source = value.split(' ').next().and_then(|id| id.parse().ok());
                if let Some(source) = source.filter(|id| self.sources.len() < SOURCES && !self.sources.contains(id)) {
                    self.sources.push(source);
                }
            }
            _ => {}
        }
    }

    fn codec(&mut self, value: &str) {
        let Some((id, codec)) = value.split_once(' ') else { return };
        let Some(id) = id.parse().ok().filter(|id| *id < 128u8) else { return };
        match codec.to_ascii_lowercase().as_str() {
            "opus/48000/2" => self.opus = self.opus.or(Some(id)),
            "red/48000/2" => self.red = self.red.or(Some(id)),
            _ => {}
        }
    }

    fn extension(&mut self, value: &str) {
        let mut parts = value.split(' ');
        let (Some(id), Some(uri)) = (parts.next(), parts.next()) else { return };
        // The direction may stand behind the id.
        let id = id.split('/').next().and_then(|id| id.parse().ok()).filter(|id| (1..=14).contains(id));
        if uri == super::answer::AUDIO_LEVEL {
            self.level = id;
        }
    }
}

/// Reads an offer.
pub(crate) fn parse(text: &str) -> Result<Offer, OfferError> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, line)| line.trim_end()) != Some("v=0") {
        return Err(OfferError::NotSdp);
    }
    let mut media: Vec<Media> = Vec::new();
    let (mut ufrag, mut pwd, mut fingerprint, mut setup, mut group) = (None, None, None, None, None);
    for (n, line) in lines {
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        // Some of it comes back in the answer.
        if line.chars().any(char::is_control) {
            return Err(OfferError::Line(n + 1));
        }
        let (kind, value) = line.split_once('=').ok_or(OfferError::Line(n + 1))?;
        match kind {
            "m" if media.len() == SECTIONS => return Err(OfferError::TooManySections),
            "m" => media.push(Media::new(value).ok_or(OfferError::Line(n + 1))?),
            "a" => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                match name {
                    // In a bundle they are the same everywhere, and stand at the top or in each section.
                    "ice-ufrag" => ufrag = ufrag.or(Some(value)),
                    "ice-pwd" => pwd = pwd.or(Some(value)),
                    "fingerprint" => fingerprint = fingerprint.or_else(|| fingerprint_of(value)),
                    "setup" => setup = setup.or(Some(value)),
                    "group" if media.is_empty() => group = group.or(value.strip_prefix("BUNDLE")),
                    _ => {
                        if let Some(section) = media.last_mut() {
                            section.attribute(name, value);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    check(&media, group)?;
    let ufrag = ufrag.filter(|u| ice_chars(u, 4)).ok_or(OfferError::Ice)?;
    pwd.filter(|p| ice_chars(p, 22)).ok_or(OfferError::Ice)?;
    let fingerprint = fingerprint.ok_or(OfferError::Fingerprint)?;
    if !matches!(setup, Some("actpass" | "active")) {
        return Err(OfferError::Setup);
    }
    Ok(Offer { ufrag: ufrag.to_owned(), fingerprint, media })
}

fn check(media: &[Media], group: Option<&str>) -> Result<(), OfferError> {
    if !media.iter().any(Media::is_audio) {
        return Err(OfferError::NoAudio);
    }
    let grouped: Vec<&str> = group.unwrap_or_default().split_ascii_whitespace().collect();
    for (n, section) in media.iter().enumerate() {
        let fine = !section.mid.is_empty()
            && section.mid.len() <= 32
            && section.mid.bytes().all(|b| b.is_ascii_graphic())
            && !media[..n].iter().any(|before| before.mid == section.mid);
        if !fine {
            return Err(OfferError::Mid(n + 1));
        }
        if section.is_audio() && !section.mux {
            return Err(OfferError::Mux(n + 1));
        }
        if section.is_audio() && media.len() > 1 && !grouped.contains(&section.mid.as_str()) {
            return Err(OfferError::NoBundle);
        }
    }
    Ok(())
}

/// The characters of ICE names and passwords, at least so many and at most 256.
pub(super) fn ice_chars(text: &str, least: usize) -> bool {
    (least..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/' || b == b'-' || b == b'_')
}

fn fingerprint_of(value: &str) -> Option<[u8; FINGERPRINT]> {
    let (algorithm, hex) = value.split_once(' ')?;
    if !algorithm.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut bytes = [0; FINGERPRINT];
    let mut parts = hex.trim().split(':');
    for byte in &mut bytes {
        // A sign would be read as a number, too.
        let digits = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        *byte = parts.next().filter(digits).and_then(|p| u8::from_str_radix(p, 16).ok())?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests;
