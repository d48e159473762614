//! Messages found by what they say.
//!
//! The guild's owner says which channels the caller may read now, the search service which messages in them match, and the
//! owner again what these messages are and whether the caller may read them still. So nothing, not even a number, tells of
//! a message that the caller may not read; and a channel that is hidden, or none at all, is the same as one in which
//! nothing was found.

use axum::http::StatusCode;
use clarion_model::id::GuildId;
use clarion_model::key::Key;
use clarion_model::message::MessageView;
use clarion_proto::v1::{self, SearchField, SearchFilter, SearchSort};

use super::answer::{Answer, Answered};
use super::call::{Call, Query, not_one_of};
use super::refusal::Refusal;
use crate::api::error::Fault;
use crate::api::{Found, Message, NotReady, Shown};
use crate::directory::Target;

/// When to come back while the index is being built, in seconds.
const RETRY: u64 = 2;

const CONTENT: usize = 1_024;
const SLOP: u32 = 100;
const OFFSET: u32 = 9_975;
const LIMIT: u32 = 25;
/// Most values of a filter.
const VALUES: usize = 100;
const CHANNELS: usize = 500;

const HAS: [&str; 9] = ["link", "embed", "file", "image", "video", "sound", "sticker", "poll", "snapshot"];
const AUTHOR_TYPES: [&str; 3] = ["user", "bot", "webhook"];
const EMBED_TYPES: [&str; 5] = ["image", "video", "gif", "sound", "article"];

pub(super) async fn messages(call: Call) -> Answered {
    let key = Key::Guild(GuildId(call.path.id("guild")?));
    let asked = read(&call.query)?;
    let only = call.query.ids("channel_id", CHANNELS)?;
    let Some(search) = call.shared.state.search.clone() else {
        return Err(Refusal::unavailable("there is no search service"));
    };
    let actor_id = call.user_id().0;
    let readable = call.ask(Target::Key(key), move |mut client, key| {
        let request = v1::ListReadableRequest { key: Some(key.into()), actor_id };
        Box::pin(async move { client.list_readable(request).await })
    });
    let mut channels = readable.await?.channels;
    channels.retain(|channel| only.is_empty() || only.contains(channel));

    let request = v1::FindRequest { key: Some(key.into()), channels, ..asked };
    let found = find(search, request).await?;
    if !found.ready {
        return Ok(Answer::object(&NotReady::in_seconds(RETRY)).with_status(StatusCode::ACCEPTED));
    }
    let hits = found.hits.len() as u64;
    let views = views(&call, key, found.hits).await?;
    // What went a moment ago is not counted either.
    let total = found.total.saturating_sub(hits - (views.len() as u64).min(hits));
    let shown = Shown { viewer: Some(call.user_id()), ..Shown::default() };
    let messages = views.iter().map(|view| Message::new(view, shown));
    Ok(Answer::object(&Found::new(messages, total, found.refilling)))
}

async fn find(
    mut search: v1::search_client::SearchClient<clarion_runtime::Peer>,
    request: v1::FindRequest,
) -> Result<v1::FindResponse, Refusal> {
    let found = search.find(request).await;
    found.map(tonic::Response::into_inner).map_err(|status| Refusal::unavailable(status.message()))
}

/// What was found, as it is now.
async fn views(call: &Call, key: Key, messages: Vec<v1::MessageRef>) -> Result<Vec<MessageView>, Refusal> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let actor_id = call.user_id().0;
    let answer = call.ask(Target::Key(key), move |mut client, key| {
        let request = v1::ReadMessagesRequest { key: Some(key.into()), actor_id, messages: messages.clone() };
        Box::pin(async move { client.read_messages(request).await })
    });
    let views = answer.await?.messages.into_iter().map(MessageView::try_from);
    Ok(views.collect::<Result<_, _>>()?)
}

/// The question, without the channels.
pub(super) fn read(query: &Query) -> Result<v1::FindRequest, Refusal> {
    let text = query.text("content");
    if text.is_some_and(|text| text.chars().count() > CONTENT) {
        let fault = Fault::new("BASE_TYPE_MAX_LENGTH", format!("Must be {CONTENT} or fewer in length."));
        return Err(Refusal::field("content", fault));
    }
    let slop = query.text("slop").map(|_| query.number("slop", 0..=SLOP, 0)).transpose()?;
    let order = query.one_of("sort_order", &["asc", "desc"])?;
    let sort = match query.one_of("sort_by", &["relevance", "timestamp"])? {
        // The other way round there is no best.
        Some("relevance") if text.is_some() => SearchSort::Best,
        _ if order == Some("asc") => SearchSort::Oldest,
        _ => SearchSort::Newest,
    };
    let mut filters = Filters::default();
    filters.ids(query, "author_id", SearchField::Author)?;
    filters.ids(query, "mentions", SearchField::Mentions)?;
    filters.ids(query, "mentions_role_id", SearchField::MentionsRole)?;
    filters.ids(query, "replied_to_user_id", SearchField::ReplyToUser)?;
    filters.ids(query, "replied_to_message_id", SearchField::ReplyTo)?;
    filters.known(query, "author_type", SearchField::AuthorType, &AUTHOR_TYPES, Several::Any)?;
    filters.known(query, "has", SearchField::Has, &HAS, Several::All)?;
    filters.known(query, "embed_type", SearchField::EmbedType, &EMBED_TYPES, Several::Any)?;
    filters.texts(query, "link_hostname", SearchField::LinkHost, 256)?;
    filters.texts(query, "embed_provider", SearchField::EmbedProvider, 256)?;
    filters.texts(query, "attachment_extension", SearchField::Extension, 256)?;
    filters.texts(query, "attachment_filename", SearchField::Filename, 1_024)?;
    filters.flag(query, "mention_everyone", SearchField::MentionsEveryone)?;
    filters.flag(query, "pinned", SearchField::Pinned)?;
    // No channel is marked as unfit for some ages, so that nothing has to be left out.
    query.maybe("include_nsfw")?;
    Ok(v1::FindRequest {
        key: None,
        channels: Vec::new(),
        text: text.map(str::to_owned),
        slop: slop.filter(|_| text.is_some()),
        with: filters.with,
        without: filters.without,
        after: query.place("min_id")?,
        before: query.id("max_id")?,
        sort: sort.into(),
        offset: query.number("offset", 0..=OFFSET, 0)?,
        limit: query.number("limit", 1..=LIMIT, LIMIT)?,
    })
}

/// What several values of one name mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Several {
    /// One of them has to hold.
    Any,
    /// All of them have to hold.
    All,
}

#[derive(Default)]
struct Filters {
    with: Vec<SearchFilter>,
    without: Vec<SearchFilter>,
}

impl Filters {
    fn any(&mut self, field: SearchField, values: Vec<String>) {
        if !values.is_empty() {
            self.with.push(SearchFilter { field: field.into(), values });
        }
    }

    fn ids(&mut self, query: &Query, name: &str, field: SearchField) -> Result<(), Refusal> {
        let ids = query.ids(name, VALUES)?;
        self.any(field, ids.iter().map(u64::to_string).collect());
        Ok(())
    }

    fn texts(&mut self, query: &Query, name: &str, field: SearchField, longest: usize) -> Result<(), Refusal> {
        let texts = query.all(name, VALUES)?;
        if texts.iter().any(|text| text.chars().count() > longest) {
            let fault = Fault::new("BASE_TYPE_MAX_LENGTH", format!("Must be {longest} or fewer in length."));
            return Err(Refusal::field(name, fault));
        }
        self.any(field, texts.into_iter().map(str::to_owned).collect());
        Ok(())
    }

    /// Values of which there are a few; with a minus before it, one must not hold.
    fn known(
        &mut self,
        query: &Query,
        name: &str,
        field: SearchField,
        known: &[&str],
        several: Several,
    ) -> Result<(), Refusal> {
        let mut wanted = Vec::new();
        for value in query.all(name, 2 * known.len())? {
            let plain = value.strip_prefix('-').unwrap_or(value);
            if !known.contains(&plain) {
                return Err(Refusal::field(name, not_one_of(known)));
            }
            if plain.len() < value.len() {
                self.without.push(SearchFilter { field: field.into(), values: vec![plain.to_owned()] });
            } else {
                wanted.push(plain.to_owned());
            }
        }
        match several {
            Several::Any => self.any(field, wanted),
            Several::All => wanted.into_iter().for_each(|value| self.any(field, vec![value])),
        }
        Ok(())
    }

    fn flag(&mut self, query: &Query, name: &str, field: SearchField) -> Result<(), Refusal> {
        let filter = SearchFilter { field: field.into(), values: Vec::new() };
        match query.maybe(name)? {
            Some(true) => self.with.push(filter),
            Some(false) => self.without.push(filter),
            None => {}
        }
        Ok(())
    }
}
