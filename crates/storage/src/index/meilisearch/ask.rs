//! A question in the server's words. Pure.
//!
//! What has to be a word exactly is a filter, for which the server has no limit and no tolerance. Words that may have a typo,
//! phrases, and the one beginning that stands last are its own search. What is left, which is seldom (a second beginning,
//! words between those of a phrase), it cannot tell: then its answer are candidates, and [`Ask::matches`] tells.

use clarion_model::id::ChannelId;

use super::document::{halves, marked, spelled};
use crate::index::text::{characters, is_no_word};
use crate::index::{Clause, Query, Sort};

/// The server takes no more words and phrases from one text.
const TERMS: usize = 10;
/// It takes a longer beginning as one with a typo in it, too.
const PLAIN_LETTERS: usize = 4;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// The server's `q`.
    pub(super) words: String,
    pub(super) filter: String,
    pub(super) sort: &'static [&'static str],
    /// What it cannot tell.
    checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Check {
    /// A word that is this one, begins with it, or differs by one letter.
    Word { text: String, prefix: bool, typo: bool },
    /// Words one after another, with so many between them.
    Phrase(Vec<String>, u32),
}

const NEWEST: &[&str] = &["hi:desc", "lo:desc"];
const OLDEST: &[&str] = &["hi:asc", "lo:asc"];

impl Ask {
    pub(super) fn new(query: &Query) -> Self {
        let channels: Vec<String> = query.channels.iter().map(ToString::to_string).collect();
        let mut filters = vec![any("channel", &channels)];
        for marks in &query.with {
            filters.push(any("marks", &marks.iter().map(|mark| marked(mark)).collect::<Vec<_>>()));
        }
        for mark in &query.without {
            filters.push(format!("NOT {}", any("marks", &[marked(mark)])));
        }
        filters.extend(query.after.map(|id| beyond(id.0, ">", ">")));
        filters.extend(query.before.map(|id| beyond(id.0, "<", "<")));
        let sort = match query.sort {
            Sort::Newest => NEWEST,
            Sort::Oldest => OLDEST,
            Sort::Best => &[],
        };
        let mut ask = Self { words: String::new(), filter: String::new(), sort, checks: Vec::new() };
        ask.read(query.text.as_deref().unwrap_or_default(), &mut filters);
        ask.filter = filters.join(" AND ");
        ask
    }

    /// Everything that a filter lets pass, the oldest first.
    pub(super) fn rising(filter: String) -> Self {
        Self { words: String::new(), filter, sort: OLDEST, checks: Vec::new() }
    }

    /// Whether what the server finds is what is looked for.
    pub(super) fn is_exact(&self) -> bool {
        self.checks.is_empty()
    }

    fn read(&mut self, clauses: &[Clause], filters: &mut Vec<String>) {
        let (mut terms, mut for_order): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let mut beginning: Option<String> = None;
        let exactly = |word: &str, filters: &mut Vec<String>| filters.push(any("words", &[word.to_owned()]));
        for clause in clauses {
            match clause {
                Clause::Phrase { words, slop } => {
                    let words = filled(words);
                    if *slop == 0 && terms.len() + 1 < TERMS {
                        terms.push(format!("\"{}\"", words.join(" ")));
                    } else {
                        words.iter().for_each(|word| exactly(word, filters));
                        self.checks.push(Check::Phrase(words, *slop));
                    }
                }
                Clause::Word { text, prefix, typo } => {
                    let (word, letters) = (spelled(text), text.chars().count());
                    // Single characters are words of their own where that matters.
                    let open = *prefix && !is_no_word(text);
                    if !open && (!typo || is_no_word(text)) {
                        exactly(&word, filters);
                        for_order.push(format!("\"{word}\""));
                    } else if !open && terms.len() + 1 < TERMS {
                        terms.push(word);
                    } else if open && beginning.is_none() {
                        if letters > PLAIN_LETTERS && !typo {
                            self.checks.push(Check::Word { text: word.clone(), prefix: true, typo: false });
                        }
                        beginning = Some(word);
                    } else {
                        self.checks.push(Check::Word { text: word, prefix: *prefix, typo: *typo });
                    }
                }
            }
        }
        if self.sort.is_empty() {
            let room = (TERMS - 1).saturating_sub(terms.len());
            terms.extend(for_order.into_iter().take(room));
        }
        // Only what stands at the very end is a beginning.
        self.words = terms.iter().map(|term| format!("{term} ")).collect();
        self.words.extend(beginning);
    }

    /// Whether a text, as the server has it, is what is looked for.
    pub(super) fn matches(&self, text: &str) -> bool {
        let words: Vec<&str> = text.split(' ').collect();
        self.checks.iter().all(|check| match check {
            Check::Word { text, prefix, typo } => words.iter().any(|word| {
                word == text || *prefix && word.starts_with(text.as_str()) || *typo && is_typo_of(word, text)
            }),
            Check::Phrase(phrase, slop) => (0..words.len()).any(|at| stands_at(&words[at..], phrase, *slop as usize)),
        })
    }
}

/// Whether a phrase begins with the first of the words.
fn stands_at(words: &[&str], phrase: &[String], slop: usize) -> bool {
    let Some((first, rest)) = phrase.split_first() else { return true };
    if words.first() != Some(&first.as_str()) {
        return false;
    }
    let mut left = slop;
    let mut at = 1;
    for wanted in rest {
        let between = words.iter().skip(at).take(left + 1).position(|word| word == wanted);
        let Some(between) = between else { return false };
        left -= between;
        at += between + 1;
    }
    true
}

/// Whether one letter is too many, too few, another, or two changed places.
fn is_typo_of(one: &str, other: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match a.len() as isize - b.len() as isize {
        1 => a[1..] == *b,
        -1 => *a == b[1..],
        0 if a.is_empty() => true,
        0 => a[1..] == b[1..] || a.len() > 1 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..],
        _ => false,
    }
}

/// The words of a phrase, spelled, with the last characters of runs where others follow them: they are in the text too.
fn filled(words: &[(usize, String)]) -> Vec<String> {
    let mut filled = Vec::new();
    for (n, (at, word)) in words.iter().enumerate() {
        filled.push(spelled(word));
        if words.get(n + 1).is_some_and(|(next, _)| *next > at + 1) {
            filled.extend(characters(word).last().map(|character| spelled(character)));
        }
    }
    filled
}

/// A field is one of some values.
pub(super) fn any(field: &str, values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    match &quoted[..] {
        [only] => format!("{field} = {only}"),
        _ => format!("{field} IN [{}]", quoted.join(", ")),
    }
}

/// Ids on one side of an id: how the halves compare.
fn beyond(id: u64, high: &str, low: &str) -> String {
    let (hi, lo) = halves(id);
    format!("(hi {high} {hi} OR (hi = {hi} AND lo {low} {lo}))")
}

/// The messages of a channel whose ids lie in a range, its ends included.
pub(super) fn channel_range(channel: ChannelId, from: Option<u64>, upto: Option<u64>) -> String {
    let mut filter = any("channel", &[channel.to_string()]);
    if let Some(from) = from.filter(|from| *from > 0) {
        filter.push_str(&format!(" AND {}", beyond(from, ">", ">=")));
    }
    if let Some(upto) = upto.filter(|upto| *upto < u64::MAX) {
        filter.push_str(&format!(" AND {}", beyond(upto, "<", "<=")));
    }
    filter
}
