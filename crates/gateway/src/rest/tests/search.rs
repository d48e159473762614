//! Searches of messages and members: how they are asked, what they answer, what is refused.

use axum::http::StatusCode;
use serde_json::json;

use super::peer::{CHANNEL, GUILD, MESSAGE};
use super::*;

fn path(query: &str) -> String {
    format!("/guilds/{GUILD}/messages/search?{query}")
}

/// What the search service was asked.
fn asked(edge: &Edge) -> String {
    edge.fake.calls().into_iter().find(|call| call.starts_with("find")).unwrap_or_default()
}

#[tokio::test]
async fn a_search_is_asked_as_libraries_write_it() {
    let edge = Edge::new().await;
    let none = "None..None";
    for (query, expected) in [
        ("content=hello", format!("find [0, 7] Some(\"hello\") None {none} Newest 0+25")),
        (
            "content=a%20b&sort_by=relevance&limit=5&offset=10",
            format!("find [0, 7] Some(\"a b\") None {none} Best 10+5"),
        ),
        ("sort_by=relevance", format!("find [0, 7] None None {none} Newest 0+25")),
        ("sort_order=asc&slop=3", format!("find [0, 7] None None {none} Oldest 0+25")),
        ("content=x&slop=3", format!("find [0, 7] Some(\"x\") Some(3) {none} Newest 0+25")),
        (
            "author_id=1&author_id=2&author_id=1&has=link&has=-embed&has=image",
            format!("find [0, 7] None None author=1|2 has=link has=image -has=embed {none} Newest 0+25"),
        ),
        (
            "author_type=bot&author_type=-user&mentions=5&mention_everyone=false&pinned=true",
            format!(
                "find [0, 7] None None mentions=5 author_type=bot pinned= -author_type=user -mentions_everyone= {none} Newest 0+25"
            ),
        ),
        (
            "link_hostname[]=a.b&embed_provider=c&attachment_extension=png&replied_to_message_id=9",
            format!("find [0, 7] None None reply_to=9 link_host=a.b embed_provider=c extension=png {none} Newest 0+25"),
        ),
        ("min_id=5&max_id=9&include_nsfw=true", "find [0, 7] None None Some(5)..Some(9) Newest 0+25".into()),
    ] {
        let got = edge.get(&path(query)).await;
        assert_eq!(got.status, 200, "{query}: {got:?}");
        assert_eq!(asked(&edge), expected, "{query}");
    }
}

#[tokio::test]
async fn only_channels_that_can_be_read_are_searched() {
    let edge = Edge::new().await;
    for (query, channels) in [
        (format!("channel_id={CHANNEL}"), "[0]"),
        (format!("channel_id={CHANNEL}&channel_id=99"), "[0]"),
        ("channel_id=99".into(), "[]"),
    ] {
        assert_eq!(edge.get(&path(&query)).await.status, 200);
        assert!(asked(&edge).starts_with(&format!("find {channels} ")), "{query}");
    }
}

#[tokio::test]
async fn what_is_found_is_read_from_its_owner() {
    let edge = Edge::new().await;
    let got = edge.get(&path("content=x")).await;
    assert_eq!(got.body["total_results"], 31);
    assert_eq!(got.body["doing_deep_historical_index"], false);
    let found = &got.body["messages"][0][0];
    assert_eq!((&found["content"], &found["hit"]), (&json!("found"), &json!(true)));
    assert_eq!(found["id"], MESSAGE.to_string());
    let calls = edge.fake.calls();
    assert!(calls.contains(&"read 1".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn an_index_that_is_not_ready_says_when_to_come_again() {
    let edge = Edge::new().await;
    let got = edge.get(&path("content=soon")).await;
    assert_eq!(got.status, StatusCode::ACCEPTED);
    assert_eq!(got.body["code"], 110_000);
    assert!(got.body["retry_after"].as_u64().is_some_and(|seconds| seconds > 0), "{got:?}");
    assert!(got.body["message"].is_string() && got.body["documents_indexed"].is_u64(), "{got:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_search_is_named() {
    let edge = Edge::new().await;
    let long = "x".repeat(1_025);
    for (query, field) in [
        (format!("content={long}"), "content"),
        ("limit=0".into(), "limit"),
        ("limit=26".into(), "limit"),
        ("offset=9976".into(), "offset"),
        ("offset=-1".into(), "offset"),
        ("slop=101".into(), "slop"),
        ("sort_by=size".into(), "sort_by"),
        ("sort_order=up".into(), "sort_order"),
        ("author_id=x".into(), "author_id"),
        ("has=everything".into(), "has"),
        ("author_type=ghost".into(), "author_type"),
        ("embed_type=smell".into(), "embed_type"),
        ("min_id=a".into(), "min_id"),
        ("max_id=a".into(), "max_id"),
        ("pinned=perhaps".into(), "pinned"),
        ("channel_id=a".into(), "channel_id"),
        ((1..=101).map(|n| format!("mentions={n}&")).collect(), "mentions"),
    ] {
        let got = edge.get(&path(&query)).await;
        assert_eq!(got.error(), (400, 50_035), "{query}");
        let code = got.body.pointer(&format!("/errors/{field}/_errors/0/code"));
        assert!(code.is_some_and(|code| code.is_string()), "{query}: {}", got.body);
    }
    assert_eq!(asked(&edge), "", "nothing was searched");
}

#[tokio::test]
async fn members_are_found_by_how_their_names_begin() {
    let edge = Edge::new().await;
    let members = |query: &str| format!("/guilds/{GUILD}/members/search?{query}");
    let count = async |query: &str| edge.get(&members(query)).await.body.as_array().map(Vec::len);
    assert_eq!(count("query=m&limit=10").await, Some(3));
    assert_eq!(count("query=ME").await, Some(1), "one unless more are asked for");
    assert_eq!(count("query=em&limit=10").await, Some(0));
    for (query, field) in [("limit=10", "query"), ("query=a&limit=1001", "limit"), ("query=a&limit=0", "limit")] {
        let got = edge.get(&members(query)).await;
        assert_eq!(got.error(), (400, 50_035), "{query}");
        assert!(got.body["errors"][field].is_object(), "{query}: {}", got.body);
    }
}
