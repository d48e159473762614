//! What the API has beside that of others: read states, and a message's trace.

use serde_json::json;

use super::peer::{CHANNEL, ELSEWHERE, GONE, GUILD, MESSAGE, refusal};
use super::*;

const STATES: &str = "/x/users/@me/read-states";

fn state(last: &str, unread: u32) -> Value {
    let mentions = unread / 3;
    json!({"channel_id": CHANNEL.to_string(), "last_read_id": last, "unread": unread, "mentions": mentions,
        "last_message_id": "9"})
}

async fn put(edge: &Edge, body: &str) -> Got {
    edge.call(Method::PUT, &format!("{STATES}/{CHANNEL}"), body.to_owned()).await
}

/// The calls that matter: who asks and what for is found out for every request.
fn calls(edge: &Edge) -> Vec<String> {
    edge.fake.calls().into_iter().filter(|call| !call.starts_with("route") && call != "user").collect()
}

#[tokio::test]
async fn bots_have_no_read_states() {
    let edge = Edge::new().await;
    assert_eq!(edge.get(STATES).await.error(), (403, 20_001));
    assert_eq!(put(&edge, "{}").await.error(), (403, 20_001));
    assert_eq!(calls(&edge), [""; 0]);
}

#[tokio::test]
async fn what_is_unread_is_listed_and_what_is_gone_forgotten() {
    let edge = Edge::new().await;
    edge.fake.be_a_person();
    let got = edge.get(STATES).await;
    assert_eq!((got.status, got.body), (StatusCode::OK, json!([state("5", 4)])));
    let dropped = |channel, guild: u64| {
        format!("User(ReadStateDrop {{ channel_id: {channel:?}, guild_id: Some(GuildId({guild})) }})")
    };
    let expected = ["count [5, 5] false".to_owned(), dropped(GONE, GUILD.0), dropped(ELSEWHERE, GUILD.0 + 99)];
    assert_eq!(calls(&edge), expected);
    for header in ["x-ratelimit-limit", "x-ratelimit-bucket", "x-request-id"] {
        assert!(got.headers.contains_key(header), "{header}");
    }
}

#[tokio::test]
async fn reading_goes_forward_and_back_only_when_asked() {
    let edge = Edge::new().await;
    edge.fake.be_a_person();
    let got = put(&edge, r#"{"last_read_id":"7"}"#).await;
    assert_eq!((got.status, got.body), (StatusCode::OK, state("7", 2)));
    assert_eq!(calls(&edge), ["count [7] true", "put 7 manual=false"]);
    // What is older, or the same, is not even written.
    for older in [r#"{"last_read_id":"3"}"#, r#"{"last_read_id":5,"manual":true}"#] {
        assert_eq!(put(&edge, older).await.body, state("5", 4));
        assert_eq!(calls(&edge), ["count [5] true"]);
    }
    assert_eq!(put(&edge, r#"{"last_read_id":"3","manual":true}"#).await.body, state("3", 6));
    assert_eq!(calls(&edge), ["count [3] true", "put 3 manual=true"]);
    assert_eq!(put(&edge, r#"{"last_read_id":"0","manual":true}"#).await.body, state("0", 9));
    // Nobody has read what is not there yet.
    calls(&edge);
    assert_eq!(put(&edge, r#"{"last_read_id":"1000"}"#).await.body, state("9", 0));
    assert_eq!(calls(&edge), ["count [1000] true", "put 9 manual=false"]);
    edge.fake.be_ahead(8);
    assert_eq!(put(&edge, r#"{"last_read_id":"7"}"#).await.body, state("8", 1));
}

#[tokio::test]
async fn bad_states_are_refused_by_the_field() {
    let edge = Edge::new().await;
    edge.fake.be_a_person();
    for body in ["{}", r#"{"last_read_id":null}"#, r#"{"last_read_id":"x"}"#, r#"{"last_read_id":-1}"#] {
        let got = put(&edge, body).await;
        assert_eq!(got.error(), (400, 50_035), "{body}");
        assert!(got.body["errors"]["last_read_id"]["_errors"][0]["code"].is_string(), "{}", got.body);
    }
    let got = put(&edge, r#"{"last_read_id":"7","manual":"perhaps"}"#).await;
    assert!(got.body["errors"]["manual"]["_errors"].is_array(), "{}", got.body);
    let got = edge.call(Method::PUT, &format!("{STATES}/none"), r#"{"last_read_id":"7"}"#).await;
    assert!(got.body["errors"]["channel_id"]["_errors"].is_array(), "{}", got.body);
    let unknown = edge.call(Method::PUT, &format!("{STATES}/77"), r#"{"last_read_id":"7"}"#).await;
    assert_eq!(unknown.error(), (404, 10_003));
    calls(&edge);
    // The account is read first; then the guild's owner refuses.
    edge.fake.fail_after(1, refusal(403, 50_001, &[]));
    assert_eq!(put(&edge, r#"{"last_read_id":"7"}"#).await.error(), (403, 50_001));
    assert_eq!(calls(&edge), ["count [7] true"]);
}

#[tokio::test]
async fn one_person_says_so_only_so_often() {
    let mut config = RestConfig::default();
    config.rate_limits.read.limit = 2;
    let edge = Edge::with(config).await;
    edge.fake.be_a_person();
    let other = edge.call(Method::PUT, &format!("{STATES}/77"), r#"{"last_read_id":"7"}"#).await;
    assert_eq!((other.status, other.header("x-ratelimit-remaining")), (StatusCode::NOT_FOUND, "1"));
    assert_eq!(put(&edge, r#"{"last_read_id":"7"}"#).await.status, 200);
    assert_eq!(put(&edge, r#"{"last_read_id":"8"}"#).await.status, 429);
}

#[tokio::test]
async fn a_message_leads_to_its_trace() {
    let edge = Edge::new().await;
    let path = format!("/x/channels/{CHANNEL}/messages/{MESSAGE}/trace");
    let got = edge.get(&path).await;
    assert_eq!((got.error(), &got.body["message"]), ((404, 0), &json!("No trace of this message is known")));
    edge.fake.trace();
    let id = "ab".repeat(16);
    assert_eq!(edge.get(&path).await.body, json!({"trace_id": id, "url": format!("http://traces/{id}")}));
    for (status, code) in [(403, 50_001), (403, 50_013), (404, 10_008)] {
        edge.fake.fail([refusal(status, code, &[])]);
        assert_eq!(edge.get(&path).await.error(), (404, 10_008));
    }
    assert_eq!(edge.get(&format!("/x/channels/77/messages/{MESSAGE}/trace")).await.error(), (404, 10_008));
    // It is no part of the message.
    let message = edge.get(&format!("/channels/{CHANNEL}/messages/{MESSAGE}")).await;
    assert!(!message.body.to_string().contains("trace") && !message.body.to_string().contains(&id), "{}", message.body);
}

#[tokio::test]
async fn extensions_are_not_under_the_versions() {
    let edge = Edge::new().await;
    let got = edge.call(Method::GET, "/users/@me/read-states", "").await;
    assert_eq!(got.error(), (404, 0));
}
