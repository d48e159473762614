//! Bodies of requests, read leniently: ids are strings or numbers, flags are words or digits, null is as good as absent,
//! and what is not known is not looked at. What is wrong with the fields is collected and told all at once.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::call::not_an_id;
use super::multipart;
use super::refusal::Refusal;
use crate::api::error::{Fault, Faults};

/// The part of a multipart body that has the fields.
const PAYLOAD: &str = "payload_json";

/// An object of a body, with what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Form {
    fields: Map<String, Value>,
    /// Where it stands in the body, with a dot behind.
    prefix: String,
    faults: Faults,
}

impl Form {
    /// Reads a body. An empty one has no fields.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match multipart::boundary(kind) {
            Some(boundary) => Self::of_parts(&multipart::parts(body, &boundary).ok_or(Refusal::BROKEN_OFF)?),
            None => Self::of_json(body),
        }
    }

    fn of_json(body: &[u8]) -> Result<Self, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body).map_err(|_| Refusal::NOT_JSON)? {
            Value::Object(fields) => Ok(Self { fields, ..Self::default() }),
            Value::Null => Ok(Self::default()),
            _ => Err(Refusal::field("", not_an_object())),
        }
    }

    /// Fields come in one part as JSON, or each in a part of its own.
    fn of_parts(parts: &[multipart::Part<'_>]) -> Result<Self, Refusal> {
        let mut form = match parts.iter().find(|part| part.name == PAYLOAD) {
            Some(payload) => Self::of_json(payload.data)?,
            None => Self::default(),
        };
        for part in parts.iter().filter(|part| part.name != PAYLOAD) {
            if part.is_file || part.name.starts_with("file") {
                form.fault("files", Fault::new("BASE_TYPE_NOT_SUPPORTED", "Files cannot be attached on this server."));
                continue;
            }
            let text = std::str::from_utf8(part.data).map_err(|_| Refusal::NOT_JSON)?;
            form.fields.insert(part.name.clone(), Value::String(text.to_owned()));
        }
        Ok(form)
    }

    /// The body, or all that is wrong with it.
    pub(super) fn finish<T>(self, read: T) -> Result<T, Refusal> {
        if self.faults.is_empty() { Ok(read) } else { Err(Refusal::form(self.faults)) }
    }

    /// Says what is wrong with a field.
    pub(super) fn fault(&mut self, field: &str, fault: Fault) {
        self.faults.add(&format!("{}{field}", self.prefix), fault);
    }

    /// Whether a field is named at all, be it null.
    pub(super) fn names(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// A field as it came.
    pub(super) fn value(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    /// A text of up to `most` characters.
    pub(super) fn text(&mut self, field: &str, most: usize) -> Option<String> {
        let text = match self.value(field)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => {
                self.fault(field, Fault::new("STRING_TYPE_CONVERT", "Must be a text."));
                return None;
            }
        };
        if text.chars().count() > most {
            self.fault(field, Fault::new("BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length.")));
            return None;
        }
        Some(text)
    }

    pub(super) fn flag(&mut self, field: &str) -> Option<bool> {
        let flag = match self.value(field)? {
            Value::Bool(flag) => Some(flag),
            Value::Number(number) => number.as_u64().filter(|n| *n < 2).map(|n| n == 1),
            Value::String(text) => match text.as_str() {
                "true" | "True" | "1" => Some(true),
                "false" | "False" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if flag.is_none() {
            self.fault(field, Fault::new("BOOLEAN_TYPE_CONVERT", "Must be either true or false."));
        }
        flag
    }

    /// A number from zero on, also one written as a text.
    pub(super) fn number(&mut self, field: &str) -> Option<u64> {
        let number = match self.value(field)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.fault(field, Fault::new("NUMBER_TYPE_COERCE", "Must be a number, and not a negative one."));
        }
        number
    }

    pub(super) fn id(&mut self, field: &str) -> Option<u64> {
        let value = self.value(field)?;
        let id = id_of(&value);
        if id.is_none() {
            self.fault(field, not_an_id(&value.to_string()));
        }
        id
    }

    /// An id behind which something begins; zero is before everything.
    pub(super) fn place(&mut self, field: &str) -> Option<u64> {
        let zero = self.fields.get(field).is_some_and(|value| *value == 0 || value == "0");
        if zero { Some(0) } else { self.id(field) }
    }

    /// A list of ids.
    pub(super) fn ids(&mut self, field: &str) -> Option<Vec<u64>> {
        let values = self.list(field)?;
        let ids: Vec<u64> = values.iter().filter(|value| !value.is_null()).filter_map(id_of).collect();
        if ids.len() < values.iter().filter(|value| !value.is_null()).count() {
            self.fault(field, Fault::new("NUMBER_TYPE_COERCE", "Must be snowflakes."));
        }
        Some(ids)
    }

    pub(super) fn list(&mut self, field: &str) -> Option<Vec<Value>> {
        match self.value(field)? {
            Value::Array(values) => Some(values),
            _ => {
                self.fault(field, Fault::new("LIST_TYPE_CONVERT", "Only a list may be given here."));
                None
            }
        }
    }

    /// Reads the objects of a list within the body.
    pub(super) fn each<T>(&mut self, field: &str, mut read: impl FnMut(&mut Form) -> T) -> Option<Vec<T>> {
        let values = self.list(field)?;
        let mut all = Vec::with_capacity(values.len());
        for (at, value) in values.into_iter().enumerate() {
            // Each in turn stands where the list stood.
            let place = format!("{field}.{at}");
            self.fields.insert(place.clone(), value);
            all.extend(self.within(&place, &mut read));
        }
        Some(all)
    }

    /// Reads an object within the body.
    pub(super) fn within<T>(&mut self, field: &str, read: impl FnOnce(&mut Form) -> T) -> Option<T> {
        let fields = match self.value(field)? {
            Value::Object(fields) => fields,
            _ => {
                self.fault(field, not_an_object());
                return None;
            }
        };
        let prefix = format!("{}{field}.", self.prefix);
        let mut inner = Form { fields, prefix, faults: std::mem::take(&mut self.faults) };
        let read = read(&mut inner);
        self.faults = inner.faults;
        Some(read)
    }
}

fn id_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse::<clarion_model::id::UserId>().ok().map(|id| id.0),
        Value::Number(number) => number.as_u64().filter(|id| *id > 0),
        _ => None,
    }
}

fn not_an_object() -> Fault {
    Fault::new("DICT_TYPE_CONVERT", "Only an object may be given here.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(json: &str) -> Form {
        Form::read(&HeaderMap::new(), json.as_bytes()).expect("a form")
    }

    #[test]
    fn forms_are_read_as_libraries_write_them() {
        let mut form = form(
            r#"{"a":"text","b":7,"yes":true,"one":1,"word":"true","id":123,"sid":"123","nothing":null,
                "ids":["1",2,null],"number":"4","inner":{"id":"5"},"unknown":{"deep":[1]}}"#,
        );
        assert_eq!((form.text("a", 10), form.text("b", 10)), (Some("text".into()), Some("7".into())));
        assert_eq!([form.flag("yes"), form.flag("one"), form.flag("word")], [Some(true); 3]);
        assert_eq!((form.id("id"), form.id("sid")), (Some(123), Some(123)));
        assert!(form.names("nothing") && !form.names("absent"));
        assert_eq!((form.text("nothing", 1), form.text("absent", 1)), (None, None));
        assert_eq!((form.ids("ids"), form.number("number")), (Some(vec![1, 2]), Some(4)));
        assert_eq!(form.within("inner", |inner| inner.id("id")), Some(Some(5)));
        assert!(form.finish(()).is_ok());
    }

    #[test]
    fn lists_of_objects_are_read_in_order_and_faults_numbered() {
        let mut form = form(r#"{"list":[{"id":1},{"id":"x"},7,{"id":"3"}]}"#);
        assert_eq!(form.each("list", |inner| inner.id("id")), Some(vec![Some(1), None, Some(3)]));
        let errors = serde_json::to_value(&form.faults).expect("a tree");
        for path in ["/list/1/id/_errors", "/list/2/_errors"] {
            assert!(errors.pointer(path).is_some(), "{path} in {errors}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut form = form(r#"{"a":"long","b":[],"c":"x","d":-1,"e":"no","f":{"g":"h"}}"#);
        form.text("a", 3);
        form.text("b", 3);
        form.flag("c");
        form.number("d");
        form.id("e");
        form.within("f", |inner| inner.ids("g"));
        let errors = serde_json::to_value(&form.faults).expect("a tree");
        for path in ["/a", "/b", "/c", "/d", "/e", "/f/g"] {
            assert!(errors.pointer(&format!("{path}/_errors/0/code")).is_some(), "{path} in {errors}");
        }
        assert!(form.finish(()).is_err());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in [&b"{"[..], b"{\"a\":\"\xff\"}", b"nonsense", b"{} {}"] {
            let refused = Form::read(&HeaderMap::new(), bad).expect_err("refused");
            assert_eq!(refused.status, 400);
        }
        for empty in ["", " \n", "null", "{}"] {
            assert!(Form::read(&HeaderMap::new(), empty.as_bytes()).is_ok(), "{empty:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_breaks_it(body in prop::collection::vec(any::<u8>(), 0..200), json in ".{0,80}") {
            let _ = Form::read(&HeaderMap::new(), &body);
            let _ = Form::read(&HeaderMap::new(), json.as_bytes());
        }
    }
}
