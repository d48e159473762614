//! Operations on messages and reactions, from the request to the call behind it and back.

use axum::http::Method;
use serde_json::{Value, json};
use tonic::Status;

use super::peer::{CHANNEL, GUILD, ME, MESSAGE};
use super::*;

fn messages() -> String {
    format!("/channels/{CHANNEL}/messages")
}

fn message() -> String {
    format!("{}/{MESSAGE}", messages())
}

/// The calls but for those that look for owners.
fn asked(edge: &Edge) -> Vec<String> {
    edge.fake.calls().into_iter().filter(|call| !call.starts_with("route")).collect()
}

#[tokio::test]
async fn a_message_is_sent_and_its_author_gets_the_nonce_back() {
    let edge = Edge::new().await;
    let sent = json!({"content": "hi", "nonce": "n-1", "enforce_nonce": true, "message_reference": {"message_id": 9}});
    let got = edge.post(&messages(), &sent).await;
    assert_eq!((got.status.as_u16(), got.header("content-type")), (200, "application/json"));
    assert_eq!((&got.body["content"], &got.body["nonce"]), (&json!("hi"), &json!("n-1")));
    assert_eq!(got.body["reactions"][0]["me"], json!(true));
    for absent in ["guild_id", "member"] {
        assert_eq!(got.body.get(absent), None);
    }
    assert_eq!(asked(&edge), ["create hi enforce=true reply=Some(9)"]);
    let embed = edge.post(&messages(), &json!({"embeds": [{"title": "t", "url": null}]})).await;
    assert_eq!(embed.body["embeds"], json!([{"type": "rich", "title": "t"}]));
}

#[tokio::test]
async fn messages_are_read_changed_and_deleted() {
    let edge = Edge::new().await;
    let page = edge.get(&format!("{}?limit=2&before=77", messages())).await;
    assert_eq!(page.body.as_array().map(Vec::len), Some(2));
    assert_eq!(edge.get(&message()).await.body["content"], "kept");
    let changed = edge.call(Method::PATCH, &message(), r#"{"content":"new","embeds":[]}"#).await;
    assert_eq!(changed.body["content"], "new");
    let deleted = edge.call(Method::DELETE, &message(), "").await;
    assert_eq!((deleted.status.as_u16(), &deleted.body, deleted.header("content-type")), (204, &Value::Null, ""));
    let typed = edge.call(Method::POST, &format!("/channels/{CHANNEL}/typing"), "").await;
    assert_eq!(typed.status, 204);
    edge.get(&messages()).await;
    edge.get(&format!("{}?around=5&limit=100", messages())).await;
    let expected = [
        "list 2 Some(Before(77))".to_owned(),
        format!("get {MESSAGE}"),
        "edit new".into(),
        format!("delete {MESSAGE}"),
        format!("type {ME}"),
        "list 50 None".into(),
        "list 100 Some(Around(5))".into(),
    ];
    assert_eq!(asked(&edge), expected);
}

#[tokio::test]
async fn reactions_come_and_go() {
    let edge = Edge::new().await;
    let thumb = format!("{}/reactions/%F0%9F%91%8D", message());
    for (method, path) in [
        (Method::PUT, format!("{thumb}/@me")),
        (Method::PUT, format!("{}/reactions/party%3A5/@me", message())),
        (Method::DELETE, format!("{thumb}/@me")),
        (Method::DELETE, format!("{thumb}/%40me")),
        (Method::DELETE, format!("{thumb}/43")),
    ] {
        // Some libraries send no body as one of no kind.
        let got = edge.call(method, &path, "").await;
        assert_eq!(got.status, 204, "{path} {got:?}");
    }
    let users = edge.get(&format!("{thumb}?limit=3&after=7&type=0")).await;
    assert_eq!(users.body[0]["id"], ME.to_string());
    assert_eq!(edge.get(&format!("{thumb}?type=1")).await.body, json!([]));
    let expected = [
        format!("react {ME} 👍/None"),
        format!("react {ME} party/Some(5)"),
        format!("unreact {ME} 👍/None"),
        format!("unreact {ME} 👍/None"),
        "unreact 43 👍/None".into(),
        "reactions 3 Some(7) 👍/None".into(),
    ];
    assert_eq!(asked(&edge), expected);
}

#[tokio::test]
async fn the_owner_is_asked_for_once_and_again_when_it_has_changed() {
    let edge = Edge::new().await;
    let routed = |edge: &Edge| edge.fake.calls().iter().filter(|call| **call == format!("route guild/{GUILD}")).count();
    for _ in 0..3 {
        assert_eq!(edge.get(&message()).await.status, 200);
    }
    assert_eq!(routed(&edge), 1);
    edge.fake.fail([Status::failed_precondition("not the owner")]);
    assert_eq!(edge.get(&message()).await.status, 200);
    assert_eq!(routed(&edge), 1);
    // More than once it takes time, as a take-over does.
    edge.fake.fail(vec![Status::failed_precondition("not the owner"); 3]);
    assert_eq!(edge.get(&message()).await.status, 200);
}

#[tokio::test]
async fn what_may_have_been_done_is_repeated_only_when_that_is_harmless() {
    let edge = Edge::new().await;
    let creations = |edge: &Edge| asked(edge).len();
    edge.fake.fail([Status::unavailable("the store failed")]);
    let without = edge.post(&messages(), &json!({"content": "a", "nonce": "n"})).await;
    assert_eq!((without.error(), creations(&edge)), ((503, 0), 1));
    assert_eq!((without.header("retry-after"), without.header("content-type")), ("1", "application/json"));
    edge.fake.fail([Status::unavailable("the store failed")]);
    let with = edge.post(&messages(), &json!({"content": "a", "nonce": "n", "enforce_nonce": true})).await;
    assert_eq!((with.status.as_u16(), creations(&edge)), (200, 2));
    edge.fake.fail([Status::unavailable("the store failed")]);
    let read = edge.get(&message()).await;
    assert_eq!((read.status.as_u16(), creations(&edge)), (200, 2));
}
