//! What is looked for: words as people write them, and filters. Pure.

use clarion_model::id::{ChannelId, MessageId};

use super::text::{Token, TokenKind, tokens};

/// Most clauses that are taken from one text; what comes after them is not looked for.
const CLAUSES: usize = 32;
/// A word of so many letters is also found with a typo.
const TYPO_LETTERS: usize = 5;
/// A last word of so many letters is also found by longer ones that begin with it.
const PREFIX_LETTERS: usize = 2;

/// What is looked for. All of it has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// In these channels and no others.
    pub channels: Vec<ChannelId>,
    /// What the text says; `None`: anything.
    pub text: Option<Vec<Clause>>,
    /// Of each list at least one mark.
    pub with: Vec<Vec<String>>,
    /// None of these marks.
    pub without: Vec<String>,
    /// Newer than this message.
    pub after: Option<MessageId>,
    /// Older than this message.
    pub before: Option<MessageId>,
    /// What comes first.
    pub sort: Sort,
    /// How many matches are passed over.
    pub offset: usize,
    /// How many are wanted at most.
    pub limit: usize,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The newest.
    #[default]
    Newest,
    /// The oldest.
    Oldest,
    /// What fits best, judged by nothing but the messages that are searched.
    Best,
}

/// A part of a text that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// A word.
    Word {
        /// Folded.
        text: String,
        /// Words that begin with it will do.
        prefix: bool,
        /// A word that differs by one letter will do.
        typo: bool,
    },
    /// Words with their places, one after another.
    Phrase {
        /// At least two.
        words: Vec<(usize, String)>,
        /// How many words may stand between them.
        slop: u32,
    },
}

/// Reads a text as people write it. Words stand for themselves; a word that ends with `*`, and the last one, for all that
/// begin with it; what stands in quotation marks, and what is written without a space between, for a phrase. With `slop`
/// the whole text is a phrase with up to so many words between its own.
pub fn read(text: &str, slop: Option<u32>) -> Vec<Clause> {
    let mut clauses = Vec::new();
    if let Some(slop) = slop {
        clauses.extend(phrase(&tokens(&text.replace('"', " ")), slop));
        return clauses;
    }
    // Every second part stands in quotation marks, if they are closed.
    let closed = text.matches('"').count() / 2 * 2;
    for (n, part) in text.splitn(closed + 1, '"').enumerate() {
        if n % 2 == 1 {
            clauses.extend(phrase(&tokens(part), 0));
            continue;
        }
        let last_part = n == closed;
        let mut chunks = part.split_whitespace().peekable();
        while let Some(chunk) = chunks.next() {
            let typing = last_part && chunks.peek().is_none() && !text.ends_with(char::is_whitespace);
            clauses.extend(word(chunk, typing));
        }
    }
    clauses.truncate(CLAUSES);
    clauses
}

/// What is written in one piece. `typing`: it may not be complete.
fn word(chunk: &str, typing: bool) -> Option<Clause> {
    let found = tokens(chunk);
    let starred = chunk.ends_with('*');
    let [only] = &found[..] else { return phrase(&found, 0) };
    let letters = only.text.chars().count();
    Some(Clause::Word {
        prefix: matches!(only.kind, TokenKind::Last { .. }) || starred || typing && letters >= PREFIX_LETTERS,
        typo: only.kind == TokenKind::Word && letters >= TYPO_LETTERS && !only.text.chars().any(char::is_numeric),
        text: only.text.clone(),
    })
}

/// Tokens one after another.
fn phrase(found: &[Token], slop: u32) -> Option<Clause> {
    // The last character of a run is in the pair before it.
    let words: Vec<(usize, String)> = found
        .iter()
        .filter(|token| token.kind != TokenKind::Last { alone: false })
        .map(|token| (token.position, token.text.clone()))
        .collect();
    match &words[..] {
        [] => None,
        [(_, text)] => {
            let dense = found.iter().any(|token| matches!(token.kind, TokenKind::Last { alone: true }));
            Some(Clause::Word { text: text.clone(), prefix: dense, typo: false })
        }
        _ => Some(Clause::Phrase { words, slop }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str, prefix: bool, typo: bool) -> Clause {
        Clause::Word { text: text.into(), prefix, typo }
    }

    fn together(words: &[&str]) -> Clause {
        Clause::Phrase { words: words.iter().map(|w| (*w).to_owned()).enumerate().collect(), slop: 0 }
    }

    #[test]
    fn texts_are_read_as_people_write_them() {
        for (text, expected) in [
            ("Hello wor", vec![plain("hello", false, true), plain("wor", true, false)]),
            ("hello world ", vec![plain("hello", false, true), plain("world", false, true)]),
            ("dep* now ", vec![plain("dep", true, false), plain("now", false, false)]),
            ("\"Deploy now\" b", vec![together(&["deploy", "now"]), plain("b", false, false)]),
            ("\"one\" ", vec![plain("one", false, false)]),
            ("an \"open end", vec![plain("an", false, false), plain("open", false, false), plain("end", true, false)]),
            ("don't example.com", vec![together(&["don", "t"]), together(&["example", "com"])]),
            ("東京都", vec![together(&["東京", "京都"])]),
            ("猫 ", vec![plain("猫", true, false)]),
            ("build12345 ", vec![plain("build12345", false, false)]),
            ("!? ...", vec![]),
        ] {
            assert_eq!(read(text, None), expected, "{text}");
        }
        let Some(Clause::Phrase { words, slop: 2 }) = read("one \"two\" three", Some(2)).pop() else {
            panic!("a phrase")
        };
        assert_eq!(words.len(), 3);
        assert_eq!(read("one", Some(5)), [plain("one", false, false)]);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,100}", slop in proptest::option::of(0u32..100)) {
            prop_assert!(read(&text, slop).len() <= CLAUSES);
        }
    }
}
