//! What is read of accounts and guilds.

use clarion_model::id::UserId;
use serde_json::{Value, json};

use super::peer::{CHANNEL, GUILD, HIDDEN, ME};
use super::*;

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|object| object["id"].as_str()).collect()
}

#[tokio::test]
async fn everybody_finds_the_gateway() {
    let edge = Edge::new().await;
    for prefix in ["/api/v10", "/api/v9", "/api"] {
        let request = Request::builder().uri(format!("{prefix}/gateway")).header(header::HOST, "chat.example:8080");
        let got = edge.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(got.body, json!({"url": "ws://chat.example:8080"}), "{prefix}");
    }
    let bot = edge.get("/gateway/bot").await;
    assert_eq!((&bot.body["shards"], &bot.body["session_start_limit"]["max_concurrency"]), (&json!(1), &json!(16)));
}

#[tokio::test]
async fn accounts_are_shown() {
    let edge = Edge::new().await;
    let me = edge.get("/users/@me").await;
    assert_eq!((&me.body["id"], &me.body["mfa_enabled"]), (&json!(ME.to_string()), &json!(true)));
    assert_eq!(edge.get("/users/43").await.body["id"], "43");
    let guilds = edge.get("/users/@me/guilds?with_counts=1").await;
    assert_eq!(ids(&guilds.body), [GUILD.to_string()]);
    assert_eq!(guilds.body[0]["approximate_member_count"], json!(3));
    assert_eq!(edge.get(&format!("/users/@me/guilds?after={GUILD}")).await.body, json!([]));
    for path in ["/applications/@me", "/oauth2/applications/@me"] {
        assert_eq!(edge.get(path).await.body["owner"]["id"], ME.to_string());
    }
}

#[tokio::test]
async fn guilds_are_shown_without_what_is_hidden() {
    let edge = Edge::new().await;
    let path = format!("/guilds/{GUILD}");
    assert_eq!(edge.get(&path).await.body.get("approximate_member_count"), None);
    assert_eq!(edge.get(&format!("{path}?with_counts=true")).await.body["approximate_member_count"], json!(3));
    assert_eq!(ids(&edge.get(&format!("{path}/channels")).await.body), [CHANNEL.to_string()]);
    assert_eq!(ids(&edge.get(&format!("{path}/roles")).await.body), [GUILD.to_string()]);
    assert_eq!(edge.get(&format!("/channels/{CHANNEL}")).await.body["guild_id"], GUILD.to_string());
    assert_eq!(edge.get(&format!("/channels/{HIDDEN}")).await.error(), (403, 50_001));
}

#[tokio::test]
async fn members_come_in_pages() {
    let edge = Edge::new().await;
    let path = format!("/guilds/{GUILD}/members");
    let page = |query: &str| {
        let (edge, path) = (&edge, format!("{path}{query}"));
        async move {
            let got = edge.get(&path).await;
            got.body.as_array().expect("a list").iter().map(|m| m["user"]["id"].clone()).collect::<Vec<_>>()
        }
    };
    assert_eq!(page("").await, [json!("42")]);
    assert_eq!(page("?limit=1000").await, [json!("42"), json!("43"), json!("44")]);
    assert_eq!(page("?limit=2&after=42").await, [json!("43"), json!("44")]);
    assert_eq!(page("?limit=2&after=0").await, [json!("42"), json!("43")]);
    assert_eq!(edge.get(&format!("{path}/43")).await.body["user"]["id"], "43");
    assert_eq!(edge.get(&format!("{path}/@me")).await.body["user"]["id"], UserId(42).to_string());
    assert_eq!(edge.get(&format!("{path}/99")).await.error(), (404, 10_007));
}
