//! Settings of the index.

use std::fmt;
use std::path::PathBuf;

use clarion_observability::Token;

/// Which index, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which one.
    pub kind: Kind,
    /// Embedded: the folder it lies in; created when it is not there. It can be deleted: the index is built anew.
    pub path: PathBuf,
    /// Embedded: memory for what is being indexed, in bytes; at least 15 MB.
    pub memory_bytes: usize,
    /// Embedded: below so much room on its disk nothing is written, in bytes.
    pub min_free: u64,
    /// Meilisearch: its servers, as `http://host:7700`. Each has everything; queries go to one that answers.
    pub urls: Vec<String>,
    /// Meilisearch: the key, the same for all of them; empty: none.
    pub key: Secret,
    /// Meilisearch: how the names of our indexes begin.
    pub name: String,
    /// Meilisearch: how long one request may take, in milliseconds.
    pub timeout_ms: u64,
}

/// The indexes that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// tantivy, in the process.
    #[default]
    Embedded,
    /// Meilisearch servers.
    Meilisearch,
}

/// What nobody is to read. Never shown.
#[derive(Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Embedded,
            path: PathBuf::from("data/search"),
            memory_bytes: 32 << 20,
            min_free: 128 << 20,
            urls: Vec::new(),
            key: Secret::default(),
            name: "clarion".into(),
            timeout_ms: 5_000,
        }
    }
}

impl Secret {
    /// What it is, for who needs it.
    pub fn reveal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|secret| !secret.is_empty())
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Token::new(self.0.as_str()))
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.reveal() {
            Some(secret) => serializer.collect_str(&Token::new(secret)),
            None => serializer.serialize_str(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let config = Config { key: "a-key-of-many-letters".into(), ..Config::default() };
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap_or_default());
        assert!(!shown.contains("a-key"), "{shown}");
        assert_eq!(config.key.reveal(), Some("a-key-of-many-letters"));
        assert_eq!(Config::default().key.reveal(), None);
    }
}
