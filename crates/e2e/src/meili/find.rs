//! Searching: terms, typos, beginnings, phrases, and the order of what is found.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::state::Index;

/// More terms than these are not looked at by the real server.
const TERMS: usize = 10;

pub(super) type Document = Map<String, Value>;

/// A part of a search text.
enum Term {
    Word { text: String, beginning: bool },
    Phrase(Vec<String>),
}

/// How well a document fits, the smaller the better.
#[derive(Default)]
struct Fit {
    typos: usize,
    inexact: usize,
    distance: usize,
    place: usize,
}

/// The documents that match a text, the best first. `sort` is of the request.
pub(super) fn find<'a>(
    index: &Index,
    candidates: impl Iterator<Item = &'a Document>,
    text: &str,
    sort: &[(String, bool)],
) -> Result<Vec<&'a Document>, String> {
    let terms = terms(text)?;
    let typos_from = index
        .settings
        .get("typoTolerance")
        .map_or(5, |typo| typo["minWordSizeForTypos"]["oneTypo"].as_u64().unwrap_or(5));
    let mut found: Vec<(Fit, &Document)> = Vec::new();
    for document in candidates {
        let words: Vec<&str> = document.get("text").and_then(Value::as_str).unwrap_or_default().split(' ').collect();
        if let Some(fit) = fit(&terms, &words, typos_from as usize) {
            found.push((fit, document));
        }
    }
    let rules = index.settings.get("rankingRules").and_then(Value::as_array).cloned().unwrap_or_default();
    let rules: Vec<&str> = rules.iter().filter_map(Value::as_str).collect();
    found.sort_by(|(fit, one), (other_fit, other)| {
        let by = |rule: &&str| match *rule {
            "sort" => sort
                .iter()
                .map(|(name, down)| compare(one, other, name, *down))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal),
            "words" => Ordering::Equal,
            "typo" => fit.typos.cmp(&other_fit.typos),
            "exactness" => fit.inexact.cmp(&other_fit.inexact),
            "proximity" => fit.distance.cmp(&other_fit.distance),
            "attribute" => fit.place.cmp(&other_fit.place),
            own => {
                let (name, way) = own.split_once(':').unwrap_or((own, "asc"));
                compare(one, other, name, way == "desc")
            }
        };
        rules.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    Ok(found.into_iter().map(|(_, document)| document).collect())
}

fn compare(one: &Document, other: &Document, name: &str, down: bool) -> Ordering {
    let number = |document: &Document| document.get(name).and_then(Value::as_f64).unwrap_or(f64::MIN);
    let order = number(one).total_cmp(&number(other));
    if down { order.reverse() } else { order }
}

fn terms(text: &str) -> Result<Vec<Term>, String> {
    if let Some(c) = text.chars().find(|c| !(is_kept(*c) || matches!(c, ' ' | '"'))) {
        return Err(format!("{c:?} of a search text means something of its own, or is cut"));
    }
    let mut terms = Vec::new();
    for (n, part) in text.split('"').enumerate() {
        let words: Vec<String> = part.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if n % 2 == 1 {
            terms.push(Term::Phrase(words));
            continue;
        }
        let open = text.ends_with(part) && !part.ends_with(' ');
        let count = words.len();
        let word = |(n, text)| Term::Word { text, beginning: open && n + 1 == count };
        terms.extend(words.into_iter().enumerate().map(word));
    }
    if terms.len() > TERMS {
        return Err(format!("{} terms, of which {TERMS} are looked at", terms.len()));
    }
    Ok(terms)
}

/// Whether the real server takes a character for a part of a word and cuts nothing there: letters of alphabets, digits,
/// and marks on them.
pub(super) fn is_kept(c: char) -> bool {
    let dense = matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    let mark =
        matches!(c, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5bd}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{dff}');
    !dense && (c.is_alphanumeric() || mark)
}

fn fit(terms: &[Term], words: &[&str], typos_from: usize) -> Option<Fit> {
    let mut fit = Fit::default();
    let mut places = Vec::new();
    for term in terms {
        match term {
            Term::Phrase(phrase) => {
                let at = words.windows(phrase.len().max(1)).position(|part| part == phrase.as_slice())?;
                places.push(at);
            }
            Term::Word { text, beginning } => {
                let far = |word: &str| distance(word, text, *beginning, typos_from);
                let best = words.iter().enumerate().filter_map(|(at, word)| Some((far(word)?, at))).min();
                let ((typos, inexact), at) = best?;
                fit.typos += typos;
                fit.inexact += usize::from(inexact);
                places.push(at);
            }
        }
    }
    // A text that is nothing but what is looked for is the most exact.
    fit.inexact = 2 * fit.inexact + usize::from(words.len() != terms.len());
    fit.distance = places.windows(2).map(|pair| pair[0].abs_diff(pair[1]).min(8)).sum();
    fit.place = places.iter().min().copied().unwrap_or_default();
    Some(fit)
}

/// Typos, and whether the word is another one than was looked for; nothing if it is too far.
fn distance(word: &str, wanted: &str, beginning: bool, typos_from: usize) -> Option<(usize, bool)> {
    if word == wanted {
        return Some((0, false));
    }
    if beginning && word.starts_with(wanted) {
        return Some((0, true));
    }
    if wanted.chars().count() < typos_from || word.chars().next() != wanted.chars().next() {
        return None;
    }
    let (word, wanted): (Vec<char>, Vec<char>) = (word.chars().collect(), wanted.chars().collect());
    let ends = if beginning { wanted.len().saturating_sub(1)..=wanted.len() + 1 } else { word.len()..=word.len() };
    let near = ends.filter_map(|end| word.get(..end)).any(|part| edits(part, &wanted) <= 1);
    near.then_some((1, true))
}

/// Letters that are too many, too few, others, or changed places with their neighbours.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
