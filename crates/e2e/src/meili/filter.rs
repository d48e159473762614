//! Filter expressions: the part of the language that is used, and nothing else.

use serde_json::{Map, Value};

/// An expression.
#[derive(Debug)]
pub(super) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    In(String, Vec<String>),
    Compare(String, String, f64),
}

struct Reader<'a> {
    rest: &'a str,
    settings: &'a Map<String, Value>,
}

impl Filter {
    /// Reads an expression over attributes that the settings let be filtered by.
    pub(super) fn read(text: &str, settings: &Map<String, Value>) -> Result<Self, String> {
        let mut reader = Reader { rest: text, settings };
        let filter = reader.any()?;
        match reader.rest.trim() {
            "" => Ok(filter),
            rest => Err(format!("unexpected: {rest}")),
        }
    }

    pub(super) fn holds(&self, document: &Map<String, Value>) -> bool {
        match self {
            Filter::And(all) => all.iter().all(|filter| filter.holds(document)),
            Filter::Or(any) => any.iter().any(|filter| filter.holds(document)),
            Filter::Not(filter) => !filter.holds(document),
            Filter::In(name, values) => {
                let is = |value: &Value| match value {
                    Value::String(text) => values.iter().any(|value| value.to_lowercase() == text.to_lowercase()),
                    Value::Number(number) => values.iter().any(|value| value.parse().ok() == number.as_f64()),
                    _ => false,
                };
                match document.get(name) {
                    Some(Value::Array(list)) => list.iter().any(is),
                    Some(value) => is(value),
                    None => false,
                }
            }
            Filter::Compare(name, how, to) => {
                let Some(number) = document.get(name).and_then(Value::as_f64) else { return false };
                match how.as_str() {
                    ">" => number > *to,
                    ">=" => number >= *to,
                    "<" => number < *to,
                    _ => number <= *to,
                }
            }
        }
    }
}

impl Reader<'_> {
    fn any(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.all()?];
        while self.word("OR") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Or(parts) })
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.one()?];
        while self.word("AND") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::And(parts) })
    }

    fn one(&mut self) -> Result<Filter, String> {
        if self.word("NOT") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.sign("(") {
            let inner = self.any()?;
            return if self.sign(")") { Ok(inner) } else { Err(format!("no closing bracket: {}", self.rest)) };
        }
        let name = self.name()?;
        if self.word("IN") {
            if !self.sign("[") {
                return Err(format!("no list: {}", self.rest));
            }
            let mut values = Vec::new();
            loop {
                values.push(self.value()?);
                if self.sign("]") {
                    self.may(&name, false)?;
                    return Ok(Filter::In(name, values));
                }
                if !self.sign(",") {
                    return Err(format!("no comma: {}", self.rest));
                }
            }
        }
        for how in [">=", "<=", ">", "<"] {
            if self.sign(how) {
                self.may(&name, true)?;
                let value = self.value()?;
                let number = value.parse().map_err(|_| format!("no number: {value}"))?;
                return Ok(Filter::Compare(name, how.to_owned(), number));
            }
        }
        if self.sign("=") {
            self.may(&name, false)?;
            return Ok(Filter::In(name, vec![self.value()?]));
        }
        Err(format!("no operator: {}", self.rest))
    }

    /// Whether an attribute may be filtered by, in this way.
    fn may(&self, name: &str, compared: bool) -> Result<(), String> {
        let listed = self.settings.get("filterableAttributes").and_then(Value::as_array);
        let found = listed.into_iter().flatten().find(|rule| {
            rule.as_str() == Some(name)
                || rule["attributePatterns"].as_array().is_some_and(|p| p.contains(&name.into()))
        });
        let rule = found.ok_or_else(|| format!("{name} is not filterable"))?;
        let way = if compared { "comparison" } else { "equality" };
        if rule.is_object() && rule["features"]["filter"][way] != true {
            return Err(format!("{name} is not filterable by {way}"));
        }
        Ok(())
    }

    fn sign(&mut self, sign: &str) -> bool {
        let rest = self.rest.trim_start();
        let found = rest.strip_prefix(sign);
        self.rest = found.unwrap_or(rest);
        found.is_some()
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let found = rest.strip_prefix(word).filter(|after| after.starts_with([' ', '(', '[']));
        self.rest = found.unwrap_or(rest);
        found.is_some()
    }

    fn name(&mut self) -> Result<String, String> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.rest = &rest[end..];
        match &rest[..end] {
            "" => Err(format!("no attribute: {rest}")),
            name => Ok(name.to_owned()),
        }
    }

    /// A number as it is, a text in quotation marks and without anything that would have to be escaped.
    fn value(&mut self) -> Result<String, String> {
        let rest = self.rest.trim_start();
        if let Some(quoted) = rest.strip_prefix('"') {
            let (value, after) = quoted.split_once('"').ok_or_else(|| format!("no end of a value: {rest}"))?;
            if value.contains(['\\', '\'', '\n']) || value.is_empty() {
                return Err(format!("a value that would have to be escaped: {value}"));
            }
            self.rest = after;
            return Ok(value.to_owned());
        }
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.rest = &rest[end..];
        match rest[..end].parse::<u64>() {
            Ok(number) if number < 1 << 53 => Ok(number.to_string()),
            _ => Err(format!("no exact number: {rest}")),
        }
    }
}
