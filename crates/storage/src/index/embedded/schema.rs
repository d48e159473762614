//! What a document of the embedded index consists of, and how its text is analysed.

use clarion_model::key::Key;
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use tantivy::{TantivyDocument, Term};

use crate::index::progress::ProgressRow;
use crate::index::text::each_token;
use crate::index::{Document, Progress};

/// What the analyser is called in the schema.
pub(super) const ANALYZER: &str = "clarion";

/// The mark of the documents that say how far a key has got.
pub(super) const PROGRESS: &str = "progress";

/// The fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) id: Field,
    pub(super) channel: Field,
    pub(super) guild: Field,
    pub(super) text: Field,
    pub(super) mark: Field,
    pub(super) progress: Field,
}

/// The names of the fields that are read by name.
pub(super) const ID: &str = "id";
pub(super) const CHANNEL: &str = "channel";

pub(super) fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let with_positions =
        TextFieldIndexing::default().set_tokenizer(ANALYZER).set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let as_it_is = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let fields = Fields {
        id: schema.add_u64_field(ID, INDEXED | FAST),
        channel: schema.add_u64_field(CHANNEL, INDEXED | FAST),
        guild: schema.add_u64_field("guild", INDEXED),
        text: schema.add_text_field("text", TextOptions::default().set_indexing_options(with_positions)),
        mark: schema.add_text_field("mark", TextOptions::default().set_indexing_options(as_it_is)),
        progress: schema.add_bytes_field("progress", STORED),
    };
    (schema.build(), fields)
}

impl Fields {
    pub(super) fn document(&self, message: &Document) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_u64(self.id, message.id.0);
        document.add_u64(self.channel, message.channel.0);
        if let Some(guild) = message.guild {
            document.add_u64(self.guild, guild.0);
        }
        document.add_text(self.text, &message.content);
        for mark in &message.marks {
            document.add_text(self.mark, mark);
        }
        document
    }

    pub(super) fn progress_document(&self, progress: &Progress) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_text(self.mark, PROGRESS);
        document.add_text(self.mark, key_mark(progress.key));
        document.add_bytes(self.progress, &prost::Message::encode_to_vec(&ProgressRow::from(progress)));
        document
    }

    pub(super) fn mark(&self, mark: &str) -> Term {
        Term::from_field_text(self.mark, mark)
    }
}

pub(super) fn key_mark(key: Key) -> String {
    format!("key:{key}")
}

/// Gives tantivy the tokens of [`each_token`].
#[derive(Clone, Default)]
pub(super) struct Analyzer {
    /// The texts of all tokens, one behind the other.
    text: String,
    /// Where each ends, and its place.
    ends: Vec<(usize, usize)>,
    token: Token,
}

/// The tokens of one text.
pub(super) struct Tokens<'a> {
    analyzer: &'a mut Analyzer,
    next: usize,
}

impl Tokenizer for Analyzer {
    type TokenStream<'a> = Tokens<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Tokens<'a> {
        self.text.clear();
        self.ends.clear();
        self.token.reset();
        each_token(text, |token, position, _| {
            self.text.push_str(token);
            self.ends.push((self.text.len(), position));
        });
        Tokens { analyzer: self, next: 0 }
    }
}

impl TokenStream for Tokens<'_> {
    fn advance(&mut self) -> bool {
        let Analyzer { text, ends, token } = &mut *self.analyzer;
        let Some((end, position)) = ends.get(self.next).copied() else { return false };
        let start = self.next.checked_sub(1).map_or(0, |before| ends[before].0);
        token.text.clear();
        token.text.push_str(&text[start..end]);
        token.position = position;
        self.next += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.analyzer.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.analyzer.token
    }
}
