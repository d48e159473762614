//! What of a message goes into an index: its words, and marks for everything that is filtered by. Pure.

use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::message::{Message, MessageView};
use serde::Deserialize;

/// A message as an index sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which message. Ids rise with time.
    pub id: MessageId,
    /// Where.
    pub channel: ChannelId,
    /// In which guild, if in one.
    pub guild: Option<GuildId>,
    /// What was said.
    pub content: String,
    /// What can be filtered by, each a kind and a value.
    pub marks: Vec<String>,
}

/// The marks.
pub mod mark {
    use std::fmt::Display;

    /// Said by this user.
    pub fn author(id: impl Display) -> String {
        format!("author:{id}")
    }

    /// Said by this kind of account: `user`, `bot`, `webhook`.
    pub fn author_type(kind: impl Display) -> String {
        format!("author_type:{kind}")
    }

    /// Names this user.
    pub fn mentions(id: impl Display) -> String {
        format!("mentions:{id}")
    }

    /// Names this role.
    pub fn mentions_role(id: impl Display) -> String {
        format!("mentions_role:{id}")
    }

    /// Names everyone.
    pub const EVERYONE: &str = "mentions:everyone";

    /// Is pinned. Nothing can be pinned yet, and nothing has it.
    pub const PINNED: &str = "pinned";

    /// Has something: `link`, `embed`, `image` …
    pub fn has(what: impl Display) -> String {
        format!("has:{what}")
    }

    /// Answers this message.
    pub fn reply_to(id: impl Display) -> String {
        format!("reply_to:{id}")
    }

    /// Answers a message of this user.
    pub fn reply_to_user(id: impl Display) -> String {
        format!("reply_to_user:{id}")
    }

    /// Has an embed of this type.
    pub fn embed_type(kind: impl Display) -> String {
        format!("embed_type:{kind}")
    }

    /// Has an embed of this provider, in lower case.
    pub fn embed_provider(name: &str) -> String {
        format!("embed_provider:{}", name.trim().to_lowercase())
    }

    /// Has a file with this extension. Nothing has files yet.
    pub fn extension(name: &str) -> String {
        format!("extension:{}", name.trim().trim_start_matches('.').to_lowercase())
    }

    /// Has a file of this name. Nothing has files yet.
    pub fn filename(name: &str) -> String {
        format!("filename:{}", name.trim().to_lowercase())
    }
}

/// Has a link to this host.
pub fn host_mark(host: &str) -> String {
    format!("link:{}", host.trim().trim_end_matches('.').to_lowercase())
}

/// The longest name of a host that is one, in bytes.
const LONGEST_HOST: usize = 253;

/// Most different hosts that are taken from one message.
const HOSTS: usize = 20;

impl Document {
    /// What goes into an index of a message. `answered` is the author of the message that it answers, if that is known.
    pub fn new(view: &MessageView, answered: Option<UserId>) -> Self {
        let message = &view.message;
        let answered = answered.or_else(|| view.referenced.as_ref().map(|view| view.message.author.id));
        Self {
            id: message.id,
            channel: message.channel_id,
            guild: message.guild_id,
            content: message.content.clone(),
            marks: marks(message, answered),
        }
    }
}

fn marks(message: &Message, answered: Option<UserId>) -> Vec<String> {
    let mut marks =
        vec![mark::author(message.author.id), mark::author_type(if message.author.bot { "bot" } else { "user" })];
    marks.extend(message.mentions.iter().map(|user| mark::mentions(user.id)));
    marks.extend(message.mention_roles.iter().map(mark::mentions_role));
    if message.mention_everyone {
        marks.push(mark::EVERYONE.to_owned());
    }
    marks.extend(message.reply_to.map(mark::reply_to));
    marks.extend(answered.filter(|_| message.reply_to.is_some()).map(mark::reply_to_user));
    let hosts = hosts(&message.content);
    if hosts.is_some() {
        marks.push(mark::has("link"));
    }
    marks.extend(hosts.into_iter().flatten().map(|host| host_mark(&host)));
    embeds(&message.embeds_json, &mut marks);
    marks.sort_unstable();
    marks.dedup();
    marks
}

/// The hosts that a text links to; nothing if it has no link.
fn hosts(text: &str) -> Option<Vec<String>> {
    let mut found: Option<Vec<String>> = None;
    for (at, _) in text.match_indices("://") {
        let scheme = text[..at].to_ascii_lowercase();
        if !(scheme.ends_with("http") || scheme.ends_with("https")) {
            continue;
        }
        let authority =
            text[at + 3..].split(['/', '?', '#', ' ', '\n', '\t', '>', ')', ']', '"', '\'', '|', '`']).next();
        let authority = authority.unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().trim_end_matches(['.', ',', '!', '*', '_']);
        if host.is_empty() || host.len() > LONGEST_HOST {
            continue;
        }
        let found = found.get_or_insert_default();
        if found.len() < HOSTS {
            found.push(host.to_owned());
        }
    }
    found
}

/// What matters of an embed.
#[derive(Deserialize)]
struct Embed {
    #[serde(rename = "type")]
    kind: Option<String>,
    provider: Option<Provider>,
    image: Option<serde::de::IgnoredAny>,
    video: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Provider {
    name: Option<String>,
}

fn embeds(json: &str, marks: &mut Vec<String>) {
    if json.is_empty() {
        return;
    }
    // They were checked when they were accepted; what cannot be read has no marks.
    let embeds: Vec<Embed> = serde_json::from_str(json).unwrap_or_default();
    for embed in embeds {
        marks.push(mark::has("embed"));
        let kind = embed.kind.as_deref().unwrap_or("rich");
        // What the API calls gifv is looked for as gif.
        let kind = if kind == "gifv" { "gif" } else { kind };
        if matches!(kind, "image" | "video" | "gif" | "sound" | "article") {
            marks.push(mark::embed_type(kind));
        }
        if embed.image.is_some() || kind == "image" {
            marks.push(mark::has("image"));
        }
        if embed.video.is_some() || kind == "video" {
            marks.push(mark::has("video"));
        }
        if let Some(name) = embed.provider.and_then(|provider| provider.name) {
            marks.push(mark::embed_provider(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_are_found_with_their_hosts() {
        let found = |text| hosts(text);
        assert_eq!(found("no link, just http and example.com"), None);
        assert_eq!(found("see https://Example.com/a?b and http://user:pw@sub.example.org:8080."), {
            Some(vec!["Example.com".to_owned(), "sub.example.org".to_owned()])
        });
        assert_eq!(found("<https://a.b> (http://c.d) ftp://e.f"), Some(vec!["a.b".into(), "c.d".into()]));
        assert_eq!(found("https:// nothing"), None);
        assert_eq!(host_mark(" Example.COM."), "link:example.com");
    }

    #[test]
    fn embeds_leave_their_marks() {
        let mut marks = Vec::new();
        embeds(r#"[{"title":"t","image":{"url":"u"},"provider":{"name":"YouTube"}},{"type":"gifv"}]"#, &mut marks);
        assert_eq!(
            marks,
            ["has:embed", "has:image", "embed_provider:youtube", "has:embed", "embed_type:gif"].map(String::from)
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,40}(https?://)?\\PC{0,40}", json in "\\PC{0,40}") {
            let _ = hosts(&text);
            embeds(&json, &mut Vec::new());
        }
    }
}
