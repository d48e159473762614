//! What clients read when something is wrong: a code, a sentence, and the fields that are at fault.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ErrorBody {
    pub(crate) message: Cow<'static, str>,
    /// The API's code; 0 when there is none.
    pub(crate) code: u32,
    #[serde(skip_serializing_if = "Faults::is_empty")]
    pub(crate) errors: Faults,
}

/// The body of the answer to who asks too often.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RateLimited {
    pub(crate) message: &'static str,
    /// In seconds.
    pub(crate) retry_after: f64,
    pub(crate) global: bool,
    pub(crate) code: u32,
}

/// What is wrong with a request's fields: a tree of the shape of the request's body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Faults {
    own: Vec<Fault>,
    inner: BTreeMap<String, Faults>,
    /// Of the whole tree; counted at its root.
    count: usize,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
}

/// Most faults that are told of one request: a list of a thousand that are no objects is not answered with a thousand.
const MOST: usize = 50;
/// Longest sentence, in characters. Some of them repeat what was sent.
const LONGEST: usize = 200;

/// The key of a field's own faults in the tree.
const OWN: &str = "_errors";

impl Faults {
    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.inner.is_empty()
    }

    /// Adds a fault of the field at a dotted path such as `embeds.0.title`; an empty path is the body itself. Of very many,
    /// the first are told.
    pub(crate) fn add(&mut self, path: &str, fault: Fault) {
        if self.count == MOST {
            return;
        }
        self.count += 1;
        let steps = path.split('.').filter(|step| !step.is_empty());
        let place = steps.fold(self, |faults, step| faults.inner.entry(step.to_owned()).or_default());
        place.own.push(fault);
    }
}

impl Fault {
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST) {
            message.to_mut().truncate(end);
        }
        Self { code: code.into(), message }
    }
}

impl Serialize for Faults {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        if !self.own.is_empty() {
            map.serialize_entry(OWN, &self.own)?;
        }
        for (name, faults) in &self.inner {
            map.serialize_entry(name, faults)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn faults_stand_where_the_fields_stand() {
        let mut errors = Faults::default();
        assert!(errors.is_empty());
        errors.add("embeds.0.title", Fault::new("A", "a"));
        errors.add("embeds.0.title", Fault::new("B", "b"));
        errors.add("content", Fault::new("C", "c"));
        errors.add("", Fault::new("D", "d"));
        let body = ErrorBody { message: "Invalid Form Body".into(), code: 50_035, errors };
        let expected = json!({
            "message": "Invalid Form Body", "code": 50_035,
            "errors": {
                "_errors": [{"code": "D", "message": "d"}],
                "content": {"_errors": [{"code": "C", "message": "c"}]},
                "embeds": {"0": {"title": {"_errors": [{"code": "A", "message": "a"}, {"code": "B", "message": "b"}]}}},
            }
        });
        assert_eq!(serde_json::to_value(&body).unwrap(), expected);
        let plain = ErrorBody { message: "Unknown Channel".into(), code: 10_003, errors: Faults::default() };
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"message":"Unknown Channel","code":10003}"#);
    }
}
