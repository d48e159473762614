//! Channels, roles and exceptions made, changed and deleted.

use axum::http::Method;
use serde_json::json;

use super::peer::{CHANNEL, GUILD};
use super::*;

/// The changes that were asked for.
fn changes(edge: &Edge) -> Vec<String> {
    let beside = |call: &String| call != "guild" && !call.starts_with("route");
    edge.fake.calls().into_iter().filter(beside).collect()
}

#[tokio::test]
async fn channels_are_made_changed_and_deleted() {
    let edge = Edge::new().await;
    let new = json!({
        "name": "new", "type": 0, "topic": "what", "parent_id": null, "nsfw": false,
        "permission_overwrites": [{"id": GUILD.0, "type": 0, "allow": "0", "deny": "1024"}],
    });
    let made = edge.post(&format!("/guilds/{GUILD}/channels"), &new).await;
    assert_eq!((made.status.as_u16(), &made.body["name"]), (201, &json!("new")));
    assert!(made.body["id"].as_str().is_some_and(|id| (17..=20).contains(&id.len())));
    let path = format!("/channels/{CHANNEL}");
    let changed = edge.call(Method::PATCH, &path, r#"{"name":"other","topic":null}"#).await;
    assert_eq!((changed.status.as_u16(), &changed.body["name"]), (200, &json!("other")));
    let far = edge.call(Method::PATCH, &path, r#"{"position":65536}"#).await;
    assert_eq!(far.body["position"], json!(u16::MAX));
    let gone = edge.call(Method::DELETE, &path, "").await;
    assert_eq!((gone.status.as_u16(), &gone.body["id"]), (200, &json!(CHANNEL.to_string())));
    let name = format!("channel-{CHANNEL}");
    for (method, id, body, status) in [
        (Method::PUT, 43, r#"{"type":1,"allow":"1024","deny":0}"#, 204),
        (Method::DELETE, GUILD.0, "", 204),
        (Method::DELETE, 99, "", 404),
    ] {
        let got = edge.call(method, &format!("{path}/permissions/{id}"), body).await;
        assert_eq!(got.status, status, "{got:?}");
    }
    let expected = [
        "channel new Text Some(\"what\") 1".to_owned(),
        "channel other Text None 1".into(),
        format!("channel {name} Text None 1"),
        format!("Guild(ChannelDelete(ChannelId({CHANNEL})))"),
        format!("channel {name} Text None 2"),
        format!("channel {name} Text None 0"),
    ];
    assert_eq!(changes(&edge), expected);
    for bad in
        [json!({}), json!({"name": "x", "type": 1}), json!({"name": "x", "permission_overwrites": [{"type": 0}]})]
    {
        assert_eq!(edge.post(&format!("/guilds/{GUILD}/channels"), &bad).await.error(), (400, 50_035), "{bad}");
    }
}

#[tokio::test]
async fn roles_are_made_changed_and_given() {
    let edge = Edge::new().await;
    let path = format!("/guilds/{GUILD}/roles");
    let made = edge.post(&path, &json!({"name": "new", "permissions": "8", "colors": {"primary_color": 255}})).await;
    assert_eq!((made.status.as_u16(), &made.body["permissions"], &made.body["color"]), (200, &json!("8"), &json!(255)));
    let changed = edge.call(Method::PATCH, &format!("{path}/{GUILD}"), r#"{"hoist":1}"#).await;
    assert_eq!((&changed.body["hoist"], &changed.body["id"]), (&json!(true), &json!(GUILD.to_string())));
    let given = format!("/guilds/{GUILD}/members/43/roles/{GUILD}");
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(edge.call(method, &given, "").await.status, 204);
    }
    assert_eq!(edge.get(&format!("{path}/99")).await.error(), (404, 10_011));
    let expected = [
        "role new 255 8".to_owned(),
        "role @everyone 0 1024".into(),
        format!("member 43 [RoleId({GUILD})]"),
        "member 43 []".into(),
    ];
    assert_eq!(changes(&edge), expected);
}

#[tokio::test]
async fn what_was_said_lately_goes_with_a_ban() {
    let edge = Edge::new().await;
    edge.fake.be_moderated();
    let path = format!("/guilds/{GUILD}/bans/43");
    let hours = |asked: u64| {
        let at = clarion_model::time::Timestamp::from(std::time::SystemTime::now());
        clarion_model::id::first_of(at.before(Duration::from_secs(asked * 3_600)))
    };
    for (body, asked) in [
        (r#"{"delete_message_seconds":3600}"#, Some(1)),
        (r#"{"delete_message_days":"2"}"#, Some(48)),
        (r#"{"delete_message_seconds":7200,"delete_message_days":7}"#, Some(2)),
        (r#"{"delete_message_seconds":0,"delete_message_days":7}"#, None),
        ("{}", None),
        ("", None),
    ] {
        let begun = asked.map(hours);
        let got = edge.call(Method::PUT, &path, body).await;
        assert_eq!(got.status, 204, "{got:?}");
        let calls = changes(&edge);
        assert!(calls[0].contains("BanPut") && calls[1].contains("GuildLeft"), "{calls:?}");
        let Some(asked) = asked else {
            assert_eq!(calls.len(), 2, "{calls:?}");
            continue;
        };
        // The channel that nothing was said in is left alone, and the other is gone through to its end.
        let words: Vec<Vec<&str>> = calls[2..].iter().map(|call| call.split(' ').collect()).collect();
        let after: u64 = words[0][3].parse().unwrap();
        assert!(Some(after + 1) >= begun && after < hours(asked), "{body}: {after}");
        let channel = CHANNEL.to_string();
        let (first, next) = (after.to_string(), format!("Some({})", after + 1));
        let expected = [["purge", &channel, "43", &first, "None"], ["purge", &channel, "43", &first, &next]];
        assert_eq!(words, expected, "{body}");
    }
    for (body, field) in [
        (r#"{"delete_message_seconds":604801}"#, "delete_message_seconds"),
        (r#"{"delete_message_days":8}"#, "delete_message_days"),
        (r#"{"delete_message_days":-1}"#, "delete_message_days"),
    ] {
        let got = edge.call(Method::PUT, &path, body).await;
        assert_eq!(got.error(), (400, 50_035), "{got:?}");
        assert!(got.body["errors"][field].is_object(), "{got:?}");
        assert_eq!(changes(&edge), Vec::<String>::new());
    }
}
