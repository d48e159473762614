//! Which of several places something belongs to. Whoever knows the same places says the same, in whatever order they list
//! them, and a place that comes or goes moves its own share and nothing else. Pure.

/// Places, by their names.
#[derive(Debug, Clone)]
pub struct Places(Vec<u64>);

impl Places {
    /// Places of these names, each unlike the others.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(|name| mix(fnv(name))).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place that an id belongs to, and the one that is next for it; each by its number in the list, as far as there
    /// are so many.
    pub fn two(&self, id: u64) -> [Option<usize>; 2] {
        let id = mix(id);
        let mut two: [Option<(u64, usize)>; 2] = [None; 2];
        for (number, place) in self.0.iter().enumerate() {
            let one = Some((mix(place ^ id), number));
            if one > two[0] {
                two = [one, two[0]];
            } else if one > two[1] {
                two[1] = one;
            }
        }
        two.map(|one| one.map(|(_, number)| number))
    }
}

/// Spreads neighbouring numbers: any bit of the one changes half of the other's.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number for a name (FNV-1a).
fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["http://a:1", "http://b:1", "http://c:1", "http://d:1", "http://e:1"];

    fn ids() -> impl Iterator<Item = u64> {
        (1..=30_000).map(|n| n << 22)
    }

    #[test]
    fn everybody_says_the_same_and_shares_are_even() {
        for count in 1..=NAMES.len() {
            let names = &NAMES[..count];
            let (here, there) = (Places::new(names.iter().copied()), Places::new(names.iter().rev().copied()));
            let mut shares = [[0; NAMES.len()]; 2];
            for id in ids() {
                let two = here.two(id);
                assert_eq!(two, there.two(id).map(|at| at.map(|at| count - 1 - at)));
                assert_eq!(two[1].is_some(), count > 1);
                assert!(two[0].is_some() && two[0] != two[1]);
                for (share, at) in shares.iter_mut().zip(two) {
                    at.into_iter().for_each(|at| share[at] += 1);
                }
            }
            let even = 30_000 / count;
            let is_even = |share: &usize| *share > even * 9 / 10 && *share < even * 11 / 10;
            assert!(shares[0][..count].iter().all(is_even), "{shares:?}");
            assert!(count == 1 || shares[1][..count].iter().all(is_even), "{shares:?}");
        }
    }

    #[test]
    fn who_loses_a_place_goes_to_the_next_and_nobody_else_moves() {
        let all = Places::new(NAMES);
        for gone in 0..NAMES.len() {
            let fewer = Places::new(NAMES.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, name)| *name));
            for id in ids().take(2_000) {
                let [first, second] = all.two(id);
                let expected = if first == Some(gone) { second } else { first };
                assert_eq!(fewer.two(id)[0].map(|at| at + usize::from(at >= gone)), expected);
            }
        }
        assert_eq!(Places::new([]).two(7), [None, None]);
    }
}
