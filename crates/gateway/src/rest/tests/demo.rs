//! Who gets the demo accounts, and who is told that there is nothing.

use clarion_model::id::{ChannelId, GuildId};
use serde_json::json;

use super::*;
use crate::demo::{DemoAccount, DemoWorkspace};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn ask(host: &str) -> Request<Body> {
    Request::builder().uri("/api/x/demo").header(header::HOST, host).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn the_demo_is_for_this_machine_alone() {
    let edge = Edge::new().await;
    let nothing = json!({ "message": "404: Not Found", "code": 0 });
    let before = edge.send_from(HERE, ask("127.0.0.1:8080")).await;
    assert_eq!((before.status, &before.body), (StatusCode::NOT_FOUND, &nothing), "there is no workspace yet");

    let account = DemoAccount { name: "ada".into(), id: UserId(7), token: "t".into(), bot: false };
    let traces = "http://127.0.0.1:9568/debug/traces".to_owned();
    let (guild_id, channel_id) = (GuildId(1), ChannelId(2));
    edge.demo.open(DemoWorkspace { guild_id, channel_id, accounts: vec![account], traces });
    let got = edge.send_from(HERE, ask("127.0.0.1:8080")).await;
    let workspace = json!({
        "guild_id": "1", "channel_id": "2", "traces": "http://127.0.0.1:9568/debug/traces",
        "accounts": [{ "name": "ada", "id": "7", "token": "t", "bot": false }],
    });
    assert_eq!((got.status, got.body), (StatusCode::OK, workspace));

    for (from, host) in [(ADDRESS, "127.0.0.1:8080"), (HERE, "chat.example:8080")] {
        let refused = edge.send_from(from, ask(host)).await;
        assert_eq!((refused.status, &refused.body), (StatusCode::NOT_FOUND, &nothing), "{from} {host}");
    }
}
