//! What a document on the server consists of. Pure.
//!
//! Words are ours, not the server's: what it gets is text that is folded and cut already. It keeps words of alphabets as
//! they are, for their typos and beginnings; pairs of characters and signs, which it would cut again, are spelled in
//! digits. Ids are in two halves, for its numbers are exact up to 2^53 only.

use clarion_model::id::{ChannelId, MessageId};
use meilisearch_sdk::settings::{
    FilterFeatureModes, FilterFeatures, FilterableAttribute, FilterableAttributesSettings, MinWordSizeForTypos,
    PaginationSetting, Settings, TypoToleranceSettings,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::index::progress::ProgressRow;
use crate::index::text::{TokenKind, characters, is_no_word, tokens};
use crate::index::{Document, IndexError, Progress};

/// The document that says that an index is one of ours.
pub(super) const MARKER: &str = "meta";
/// The server leaves out longer words, and longer values of filters, in bytes.
const LONGEST_WORD: usize = 240;
const LONGEST_MARK: usize = 400;

/// A document. Which of its fields are there depends on its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Of a message: its id.
    pub(super) id: String,
    pub(super) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    guild: Option<String>,
    /// The two halves of the id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hi: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    lo: Option<u32>,
    /// All tokens in order.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<String>,
    /// The different ones, and single characters.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    words: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    marks: Vec<String>,
    /// Of a key: [`ProgressRow`], in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    progress: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Message,
    Key,
    Meta,
}

impl Row {
    fn new(id: String, kind: Kind) -> Self {
        let (channel, guild, hi, lo, text, progress) = Default::default();
        Self { id, kind, channel, guild, hi, lo, text, words: Vec::new(), marks: Vec::new(), progress }
    }

    pub(super) fn marker() -> Self {
        Self::new(MARKER.into(), Kind::Meta)
    }

    pub(super) fn message(message: &Document) -> Self {
        let (mut text, mut words) = (Vec::new(), Vec::new());
        for token in tokens(&message.content) {
            if token.kind == TokenKind::Pair {
                words.extend(characters(&token.text).first().map(|character| spelled(character)));
            }
            text.push(spelled(&token.text));
        }
        words.extend(text.iter().cloned());
        words.sort_unstable();
        words.dedup();
        let (hi, lo) = halves(message.id.0);
        Self {
            channel: Some(message.channel.to_string()),
            guild: message.guild.map(|id| id.to_string()),
            hi: Some(hi),
            lo: Some(lo),
            text: Some(text.join(" ")),
            words,
            marks: message.marks.iter().map(|mark| marked(mark)).collect(),
            ..Self::new(message.id.to_string(), Kind::Message)
        }
    }

    pub(super) fn progress(progress: &Progress) -> Self {
        let (kind, id) = progress.key.parts();
        let bytes = ProgressRow::from(progress).encode_to_vec();
        let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { progress: Some(digits), ..Self::new(format!("key-{kind}-{id}"), Kind::Key) }
    }

    /// How far a key has got, if that is what it says.
    pub(super) fn read_progress(&self) -> Result<Progress, IndexError> {
        let read = || {
            let digits = self.progress.as_deref()?;
            let bytes = (0..digits.len()).step_by(2);
            let bytes: Option<Vec<u8>> = bytes.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect();
            ProgressRow::decode(bytes?.as_slice()).ok()?.read()
        };
        read().ok_or_else(|| IndexError::Lost("its progress is damaged".into()))
    }

    /// About so many bytes of a request.
    pub(super) fn size(&self) -> usize {
        let lists = self.words.iter().chain(&self.marks).map(|text| text.len() + 3);
        200 + self.text.as_ref().map_or(0, String::len) + lists.sum::<usize>()
    }
}

/// What is read of a message that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HitRow {
    id: String,
    channel: String,
    #[serde(default)]
    pub(super) text: String,
}

impl HitRow {
    pub(super) fn read(&self) -> Result<(ChannelId, MessageId), IndexError> {
        let ids = self.channel.parse().ok().zip(self.id.parse().ok());
        let (channel, id) = ids.ok_or_else(|| IndexError::Lost("a message has no id".into()))?;
        Ok((ChannelId(channel), MessageId(id)))
    }
}

/// The halves of an id.
pub(super) fn halves(id: u64) -> (u32, u32) {
    ((id >> 32) as u32, id as u32)
}

/// A token, as the server gets it: one word for it too, and none that a typo leads to where it had been spelled.
pub(super) fn spelled(token: &str) -> String {
    if !is_no_word(token) {
        let end = token.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST_WORD).last();
        return token[..end.unwrap_or_default()].to_owned();
    }
    let digits = token.chars().take(LONGEST_WORD / 7).map(|c| format!("{:07}", c as u32));
    std::iter::once("u".to_owned()).chain(digits).collect()
}

/// A mark, in letters that mean nothing in a filter.
pub(super) fn marked(mark: &str) -> String {
    let mut spelled = String::with_capacity(mark.len());
    for byte in mark.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'.' | b'-' | b'_' => spelled.push(char::from(byte)),
            _ => spelled.push_str(&format!("%{byte:02x}")),
        }
    }
    spelled.truncate(LONGEST_MARK);
    spelled
}

/// How the server is to index. `sort` comes first: it is asked for where time is the order, and not where fitness is.
pub(super) fn settings() -> Settings {
    let filterable = |name: &str, comparison| {
        let features =
            FilterFeatures { facet_search: false, filter: FilterFeatureModes { equality: true, comparison } };
        FilterableAttribute::Settings(FilterableAttributesSettings {
            attribute_patterns: vec![name.to_owned()],
            features,
        })
    };
    let equal = ["kind", "channel", "guild", "words", "marks"].map(|name| filterable(name, false));
    let compared = ["hi", "lo"].map(|name| filterable(name, true));
    let rules = ["sort", "words", "typo", "exactness", "proximity", "attribute", "hi:desc", "lo:desc"];
    Settings {
        filterable_attributes: Some(equal.into_iter().chain(compared).collect()),
        ranking_rules: Some(rules.map(String::from).to_vec()),
        // All that there are: otherwise nothing beyond a thousand is counted.
        pagination: Some(PaginationSetting { max_total_hits: u32::MAX as usize }),
        typo_tolerance: Some(TypoToleranceSettings {
            enabled: Some(true),
            min_word_size_for_typos: Some(MinWordSizeForTypos { one_typo: Some(5), two_typos: Some(255) }),
            ..TypoToleranceSettings::default()
        }),
        ..Settings::new().with_searchable_attributes(["text"]).with_sortable_attributes(["hi", "lo"])
    }
}
