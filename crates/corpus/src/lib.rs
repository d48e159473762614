//! The inputs that fuzzing found worth keeping (`fuzz/corpus/{target}/`, a file each), and how an input is cut into steps.
//!
//! A crate that decodes has its targets in a module `fuzzing`: functions of bytes that fail when something does not hold.
//! Its tests send what is kept through them; the programs of `fuzz/` look for more.

use std::fs;
use std::path::{Path, PathBuf};

/// Sends every input that is kept for a target through it. The one that fails is named.
///
/// # Panics
/// When nothing is kept, or when the target does.
pub fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "nothing is kept in {}", folder.display());
    for input in inputs {
        let bytes = fs::read(&input).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
        let _named = Named(&input);
        run(&bytes);
    }
}

/// Says which input it was when a target fails.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: {}", self.0.display());
        }
    }
}

/// The steps of an input: a byte that says which kind, two that say how long, and what belongs to it. A last one that is
/// cut short has what there is.
#[derive(Debug, Clone)]
pub struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    /// The steps of an input.
    pub fn of(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Puts one behind others, of at most 65,535 bytes.
    pub fn push(input: &mut Vec<u8>, kind: u8, body: &[u8]) {
        let body = &body[..body.len().min(usize::from(u16::MAX))];
        input.push(kind);
        input.extend_from_slice(&(body.len() as u16).to_be_bytes());
        input.extend_from_slice(body);
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, high, low, rest @ ..] = self.0 else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        self.0 = rest;
        Some((*kind, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_back_and_the_last_may_be_cut_short() {
        let mut input = Vec::new();
        Steps::push(&mut input, 7, b"seven");
        Steps::push(&mut input, 8, b"");
        Steps::push(&mut input, 9, b"nine");
        input.pop();
        let steps: Vec<(u8, &[u8])> = Steps::of(&input).collect();
        assert_eq!(steps, [(7, &b"seven"[..]), (8, b""), (9, b"nin")]);
        assert_eq!(Steps::of(&[1, 2]).next(), None);
    }

    #[test]
    #[should_panic(expected = "nowhere")]
    fn a_target_without_inputs_fails() {
        replay("nowhere", |_| {});
    }
}
