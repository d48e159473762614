//! What fuzzing sends through this crate: questions, as gateways ask them.

use std::collections::BTreeSet;

use clarion_proto::v1;
use clarion_storage::index::text::tokens;
use clarion_storage::index::{Clause, Query};
use prost::Message;

use crate::request;

/// Most clauses of a text.
const CLAUSES: usize = 32;

/// A request, or only its text when the first byte is a letter. What comes of it is bounded, looks for nothing but what
/// the text says, and the shape that operators see says nothing of it.
pub fn requests(data: &[u8]) {
    let request = match data {
        [first, ..] if first.is_ascii_alphabetic() => {
            let text = Some(String::from_utf8_lossy(data).into_owned());
            v1::FindRequest { text, ..v1::FindRequest::default() }
        }
        _ => match v1::FindRequest::decode(data) {
            Ok(request) => request,
            Err(_) => return,
        },
    };
    let query = request::query(&request);
    assert!((1..=25).contains(&query.limit) && query.offset <= 9_975);
    assert_eq!(query.channels.len(), request.channels.len());
    assert_eq!(query.with.len(), request.with.len());
    said(&query, request.text.as_deref());
    let shape = request::shape(&request, &query);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_=- ".contains(&b);
    assert!(shape.bytes().all(plain), "{shape}");
}

fn said(query: &Query, text: Option<&str>) {
    assert_eq!(query.text.is_some(), text.is_some());
    let Some(text) = text else { return };
    let words: BTreeSet<String> = tokens(text).into_iter().map(|token| token.text).collect();
    let clauses = query.text.as_deref().unwrap_or_default();
    assert!(clauses.len() <= CLAUSES);
    for clause in clauses {
        match clause {
            Clause::Word { text, .. } => assert!(words.contains(text), "{text:?}"),
            Clause::Phrase { words: phrase, .. } => {
                assert!(phrase.len() >= 2);
                assert!(phrase.windows(2).all(|pair| pair[0].0 < pair[1].0));
                assert!(phrase.iter().all(|(_, word)| words.contains(word)), "{phrase:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_kept_is_decoded() {
        clarion_corpus::replay("search_requests", super::requests);
    }
}
