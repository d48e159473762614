//! Bodies of messages as libraries send them, and as they should not.

use axum::http::{HeaderMap, header};
use serde_json::json;

use super::*;

const CHANNEL: ChannelId = ChannelId(5);

fn new(body: &Value) -> Result<New, Refusal> {
    let form = Form::read(&HeaderMap::new(), body.to_string().as_bytes())?;
    New::read(form, CHANNEL)
}

fn edit(body: &Value) -> Result<Edit, Refusal> {
    Edit::read(Form::read(&HeaderMap::new(), body.to_string().as_bytes())?)
}

/// The code of the first fault at a place of the answer, and the answer's own code.
fn fault(refused: Refusal, pointer: &str) -> (u64, String) {
    let body = serde_json::to_value(refused.body()).expect("JSON");
    let code = body.pointer(&format!("/errors{pointer}/_errors/0/code"));
    (body["code"].as_u64().expect("a code"), code.map_or_else(|| body.to_string(), |c| c.as_str().unwrap_or("").into()))
}

#[test]
fn a_message_as_libraries_send_it() {
    let sent = new(&json!({
        "content": "hi", "tts": false, "nonce": "1562404440927895553", "enforce_nonce": true, "embeds": [], "flags": 0,
        "sticker_ids": [], "attachments": [], "components": [], "poll": null,
        "allowed_mentions": {"parse": ["users", "roles"], "replied_user": true},
        "message_reference": {"message_id": 77, "channel_id": "5", "guild_id": null, "fail_if_not_exists": false},
    }))
    .expect("a message");
    let request = sent.request(Key::Direct(CHANNEL), CHANNEL, 1);
    assert_eq!((request.reply_to, request.reply_must_exist), (Some(77), false));
    assert!(request.enforce_nonce && sent.nonce == Some(Nonce::Text("1562404440927895553".into())));
    let allowed = request.allowed_mentions.expect("allowed");
    assert!(allowed.all_users && allowed.all_roles && !allowed.everyone && allowed.replied_user);
    assert_eq!(request.embeds_json, "");
    let numbered = new(&json!({"content": "x", "nonce": 5, "enforce_nonce": 1})).expect("a message");
    assert_eq!((numbered.nonce, numbered.enforce_nonce), (Some(Nonce::Number(5)), true));
    // One library reads no numbers below zero.
    let negative = new(&json!({"content": "x", "nonce": -5})).expect("a message");
    assert_eq!(negative.nonce, Some(Nonce::Text("-5".into())));
    let large = new(&json!({"content": "x", "nonce": u64::MAX})).expect("a message");
    assert_eq!(large.nonce, Some(Nonce::Text(u64::MAX.to_string())));
}

#[test]
fn limits_are_in_characters_and_told_at_their_field() {
    assert!(new(&json!({"content": "é".repeat(2_000), "nonce": "n".repeat(25)})).is_ok());
    let cases = [
        (json!({"content": "x".repeat(2_001)}), "/content", "BASE_TYPE_MAX_LENGTH"),
        (json!({"content": "x", "nonce": "n".repeat(26)}), "/nonce", "BASE_TYPE_MAX_LENGTH"),
        (json!({"content": "x", "nonce": 1.5}), "/nonce", "NONCE_TYPE_COERCE"),
        (json!({"content": []}), "/content", "STRING_TYPE_CONVERT"),
        (json!({"content": "x", "embeds": [{"title": "x".repeat(257)}]}), "/embeds/0/title", "BASE_TYPE_MAX_LENGTH"),
        (json!({"embeds": [{"timestamp": "x"}]}), "/embeds/0/timestamp", "DATE_TIME_TYPE_PARSE"),
        (json!({"embeds": [{"footer": {}}]}), "/embeds/0/footer/text", "BASE_TYPE_REQUIRED"),
        (json!({"content": "x", "message_reference": {}}), "/message_reference/message_id", "BASE_TYPE_REQUIRED"),
        (
            json!({"content": "x", "message_reference": {"message_id": "1", "channel_id": "6"}}),
            "/message_reference/channel_id",
            "REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL",
        ),
        (
            json!({"content": "x", "message_reference": {"message_id": "1", "type": 1}}),
            "/message_reference/type",
            "BASE_TYPE_CHOICES",
        ),
        (
            json!({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}),
            "/allowed_mentions",
            "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
        ),
    ];
    for (body, pointer, code) in cases {
        let refused = new(&body).expect_err("refused");
        assert_eq!(fault(refused, pointer), (50_035, code.to_owned()), "{body}");
    }
}

#[test]
fn an_empty_message_is_no_message() {
    for body in [json!({}), json!({"content": " \n"}), json!({"content": null, "embeds": []})] {
        let refused = new(&body).expect_err("refused");
        assert_eq!(refused.body().code, 50_006);
    }
    assert!(new(&json!({"embeds": [{"title": "t"}]})).is_ok());
}

#[test]
fn an_edit_keeps_what_it_does_not_name() {
    let kept = edit(&json!({"flags": 4})).expect("an edit");
    assert_eq!((kept.content, kept.embeds_json, kept.flags), (None, None, Some(4)));
    let emptied = edit(&json!({"content": null, "embeds": null})).expect("an edit");
    assert_eq!((emptied.content, emptied.embeds_json), (Some(String::new()), Some(String::new())));
}

#[test]
fn a_message_may_come_in_parts_but_not_with_files() {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, "multipart/form-data; boundary=b".parse().expect("a value"));
    let part = |disposition: &str, data: &str| {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{data}\r\n")
    };
    let read =
        |parts: &[String]| New::read(Form::read(&headers, format!("{}--b--", parts.concat()).as_bytes())?, CHANNEL);
    let payload = part("name=\"payload_json\"", r#"{"content":"hi","tts":true}"#);
    let sent = read(std::slice::from_ref(&payload)).expect("a message");
    assert_eq!((sent.content.as_str(), sent.tts), ("hi", true));
    assert_eq!(read(&[part("name=\"content\"", "plain")]).expect("a message").content, "plain");
    let file = part("name=\"files[0]\"; filename=\"a.txt\"", "data");
    let refused = read(&[payload, file]).expect_err("refused");
    assert_eq!(fault(refused, "/files"), (50_035, "BASE_TYPE_NOT_SUPPORTED".to_owned()));
}
