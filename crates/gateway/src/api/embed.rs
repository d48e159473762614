//! Embeds: what clients send is read leniently, checked, and kept as the API shows it, without nulls.

use std::fmt;

use clarion_model::limits;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Longest texts of an embed, in characters.
const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
const FIELDS: usize = 25;
const FIELD_NAME: usize = 256;
const FIELD_VALUE: usize = 1_024;
const FOOTER: usize = 2_048;
const AUTHOR: usize = 256;
const URL: usize = 2_048;
/// Of all texts of a message's embeds together.
const ALTOGETHER: usize = 6_000;
const COLORS: u32 = 0xff_ffff;
/// When the first year begins, in seconds.
const YEAR_ONE: i64 = -62_135_596_800;

/// Something rich beneath a message's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Embed {
    #[serde(rename = "type", skip_deserializing, default = "rich")]
    kind: &'static str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    color: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    footer: Option<Footer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Picture>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thumbnail: Option<Picture>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<Author>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_nothing")]
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Footer {
    #[serde(default, deserialize_with = "or_nothing")]
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icon_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Picture {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Author {
    #[serde(default, deserialize_with = "or_nothing")]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icon_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Field {
    #[serde(default, deserialize_with = "or_nothing")]
    name: String,
    #[serde(default, deserialize_with = "or_nothing")]
    value: String,
    #[serde(default, deserialize_with = "or_nothing")]
    inline: bool,
}

/// What is wrong with an embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EmbedFault {
    /// The dotted path from the list of embeds on; empty for the list itself.
    pub(crate) path: String,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Embed {
    /// Reads a list of embeds, as clients send it.
    pub(crate) fn read_all(value: Value) -> Result<Vec<Embed>, EmbedFault> {
        let Value::Array(list) = value else {
            return Err(fault("", "LIST_TYPE_CONVERT", "Only a list may be given here."));
        };
        if list.len() > limits::EMBEDS {
            return Err(too_long("", limits::EMBEDS));
        }
        let read = |(at, value): (usize, Value)| {
            let embed = Embed::deserialize(&value).map_err(|error| misread(at, &value, &error))?;
            embed.check(at)?;
            embed.settle(at)
        };
        let embeds = list.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        if embeds.iter().map(Embed::length).sum::<usize>() > ALTOGETHER {
            return Err(fault("", "MAX_EMBED_SIZE_EXCEEDED", "All texts together must be 6000 or fewer in length."));
        }
        if super::encode(&embeds).len() > limits::EMBED_BYTES {
            return Err(fault("", "MAX_EMBED_SIZE_EXCEEDED", "The embeds take too many bytes."));
        }
        Ok(embeds)
    }

    /// As it is stored: a JSON array, or nothing.
    pub(crate) fn stored(embeds: &[Embed]) -> String {
        if embeds.is_empty() {
            return String::new();
        }
        serde_json::to_string(embeds).expect("embeds have text keys")
    }

    fn check(&self, at: usize) -> Result<(), EmbedFault> {
        let text = |name: &str, text: &str, most: usize| match text.chars().count() > most {
            true => Err(too_long(&format!("{at}.{name}"), most)),
            false => Ok(()),
        };
        let needed = |name: &str, value: &str, most: usize| match value.trim().is_empty() {
            true => Err(fault(format!("{at}.{name}"), "BASE_TYPE_REQUIRED", "This field is required")),
            false => text(name, value, most),
        };
        let given = |name: &str, value: &Option<String>, most| value.as_ref().map_or(Ok(()), |v| text(name, v, most));
        let link = |name: &str, url: &Option<String>| match url {
            Some(url) if !is_link(url) => {
                Err(fault(format!("{at}.{name}"), "URL_TYPE_INVALID_SCHEME", "Must be an http or https URL."))
            }
            url => given(name, url, URL),
        };
        given("title", &self.title, TITLE)?;
        given("description", &self.description, DESCRIPTION)?;
        link("url", &self.url)?;
        if self.color.is_some_and(|color| color > COLORS) {
            return Err(fault(format!("{at}.color"), "NUMBER_TYPE_MAX", "Must be 16777215 or less."));
        }
        if let Some(footer) = &self.footer {
            needed("footer.text", &footer.text, FOOTER)?;
            link("footer.icon_url", &footer.icon_url)?;
        }
        if let Some(author) = &self.author {
            needed("author.name", &author.name, AUTHOR)?;
            link("author.url", &author.url)?;
            link("author.icon_url", &author.icon_url)?;
        }
        for (name, picture) in [("image.url", &self.image), ("thumbnail.url", &self.thumbnail)] {
            if let Some(picture) = picture {
                link(name, &picture.url)?;
            }
        }
        if self.fields.len() > FIELDS {
            return Err(too_long(&format!("{at}.fields"), FIELDS));
        }
        for (n, field) in self.fields.iter().enumerate() {
            needed(&format!("fields.{n}.name"), &field.name, FIELD_NAME)?;
            needed(&format!("fields.{n}.value"), &field.value, FIELD_VALUE)?;
        }
        Ok(())
    }

    /// Brought into the form in which the API shows it. Libraries lose a whole event, and every page of history with
    /// it, over an instant in another form or a picture that is nowhere.
    fn settle(mut self, at: usize) -> Result<Self, EmbedFault> {
        if let Some(sent) = &mut self.timestamp {
            let path = || format!("{at}.timestamp");
            *sent = instant(sent)
                .ok_or_else(|| fault(path(), "DATE_TIME_TYPE_PARSE", "Must be an ISO 8601 date and time."))?;
        }
        for picture in [&mut self.image, &mut self.thumbnail] {
            picture.take_if(|picture| picture.url.is_none());
        }
        Ok(self)
    }

    /// How long its texts are, as far as they count together.
    fn length(&self) -> usize {
        let counted = [
            self.title.as_deref(),
            self.description.as_deref(),
            self.footer.as_ref().map(|footer| footer.text.as_str()),
            self.author.as_ref().map(|author| author.name.as_str()),
        ];
        let fields = self.fields.iter().flat_map(|field| [Some(field.name.as_str()), Some(field.value.as_str())]);
        counted.into_iter().chain(fields).flatten().map(|text| text.chars().count()).sum()
    }
}

fn rich() -> &'static str {
    "rich"
}

/// Null is as good as nothing.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An instant as the API shows it, of the years that every library can name.
fn instant(sent: &str) -> Option<String> {
    let at: jiff::Timestamp = sent.parse().ok()?;
    // The parts of a second before an instant are not in its whole seconds.
    (at.as_microsecond() >= YEAR_ONE * 1_000_000).then(|| super::shown(at).to_string())
}

fn is_link(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().is_some_and(|host| !host.is_empty());
    let of = |scheme| url.strip_prefix(scheme);
    let is_whole = of("http://").or(of("https://")).map(host).or(of("attachment://").map(|name| !name.is_empty()));
    is_whole == Some(true) && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// What is wrong with an embed that is none: the first field that cannot be read by itself, or the whole of it.
fn misread(at: usize, value: &Value, error: &serde_json::Error) -> EmbedFault {
    let alone = |(name, value): (&String, &Value)| Value::Object([(name.clone(), value.clone())].into_iter().collect());
    let is_wrong = |field: &(&String, &Value)| Embed::deserialize(alone(*field)).is_err();
    let wrong = value.as_object().and_then(|fields| fields.iter().find(is_wrong));
    let path = wrong.map_or_else(|| at.to_string(), |(name, _)| format!("{at}.{name}"));
    fault(path, "MODEL_TYPE_CONVERT", &error.to_string())
}

fn fault(path: impl fmt::Display, code: &'static str, message: &str) -> EmbedFault {
    EmbedFault { path: path.to_string(), code, message: message.to_owned() }
}

fn too_long(path: &str, most: usize) -> EmbedFault {
    fault(path, "BASE_TYPE_MAX_LENGTH", &format!("Must be {most} or fewer in length."))
}

#[cfg(test)]
mod tests;
