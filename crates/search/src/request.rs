//! Requests of the contract as the index's questions, and their shape for those who operate.

use clarion_model::id::{ChannelId, MessageId};
use clarion_proto::v1::{self, SearchField, SearchFilter, SearchSort};
use clarion_storage::index::{Query, Sort, host_mark, mark, query};

/// Most matches that are passed over.
const OFFSET: u32 = 9_975;
/// Most messages in one answer.
const LIMIT: u32 = 25;

/// The question.
pub(crate) fn query(request: &v1::FindRequest) -> Query {
    Query {
        channels: request.channels.iter().copied().map(ChannelId).collect(),
        text: request.text.as_deref().map(|text| query::read(text, request.slop)),
        with: request.with.iter().map(marks).collect(),
        without: request.without.iter().flat_map(marks).collect(),
        after: request.after.map(MessageId),
        before: request.before.map(MessageId),
        sort: match request.sort() {
            SearchSort::Newest => Sort::Newest,
            SearchSort::Oldest => Sort::Oldest,
            SearchSort::Best => Sort::Best,
        },
        offset: request.offset.min(OFFSET) as usize,
        limit: request.limit.clamp(1, LIMIT) as usize,
    }
}

/// What is asked for, without what it says: the number of words and the filters.
pub(crate) fn shape(request: &v1::FindRequest, query: &Query) -> String {
    let mut shape = format!("channels={}", query.channels.len());
    if let Some(text) = &query.text {
        shape.push_str(&format!(" terms={}", text.len()));
    }
    for (sign, filters) in [("", &request.with), ("-", &request.without)] {
        for filter in filters {
            let name = filter.field().as_str_name().trim_start_matches("SEARCH_FIELD_").to_lowercase();
            shape.push_str(&format!(" {sign}{name}={}", filter.values.len()));
        }
    }
    if query.after.is_some() || query.before.is_some() {
        shape.push_str(" ids");
    }
    shape
}

fn marks(filter: &SearchFilter) -> Vec<String> {
    let each: fn(&str) -> String = match filter.field() {
        SearchField::MentionsEveryone => return vec![mark::EVERYONE.to_owned()],
        SearchField::Pinned => return vec![mark::PINNED.to_owned()],
        SearchField::Unknown => return Vec::new(),
        SearchField::Author => |id| mark::author(id),
        SearchField::AuthorType => |kind| mark::author_type(kind),
        SearchField::Mentions => |id| mark::mentions(id),
        SearchField::MentionsRole => |id| mark::mentions_role(id),
        SearchField::Has => |what| mark::has(what),
        SearchField::LinkHost => host_mark,
        SearchField::EmbedProvider => mark::embed_provider,
        SearchField::EmbedType => |kind| mark::embed_type(kind),
        SearchField::Extension => mark::extension,
        SearchField::Filename => mark::filename,
        SearchField::ReplyTo => |id| mark::reply_to(id),
        SearchField::ReplyToUser => |id| mark::reply_to_user(id),
    };
    filter.values.iter().map(|value| each(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_says_nothing_of_what_is_looked_for() {
        let has = SearchFilter { field: SearchField::Has.into(), values: vec!["link".into(), "embed".into()] };
        let bot = SearchFilter { field: SearchField::AuthorType.into(), values: vec!["bot".into()] };
        let request = v1::FindRequest {
            channels: vec![1, 2],
            text: Some("secret \"very secret\" ".into()),
            with: vec![has],
            without: vec![bot],
            after: Some(7),
            ..v1::FindRequest::default()
        };
        let query = query(&request);
        assert_eq!(shape(&request, &query), "channels=2 terms=2 has=2 -author_type=1 ids");
        assert_eq!(query.with, [["has:link", "has:embed"].map(String::from)]);
        assert_eq!(query.without, ["author_type:bot"]);
        assert_eq!((query.limit, query.offset), (1, 0));
    }
}
