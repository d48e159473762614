//! Messages, with reactions and what they answer.

use super::*;

#[test]
fn messages_in_answers_and_in_dispatches() {
    let (state, view) = (state(), said(MESSAGE));
    assert_eq!(value(&Message::new(&view, Shown::default())), message_json(MESSAGE));
    let nonce = Shown { nonce: true, ..Shown::default() };
    assert_eq!(value(&Message::new(&view, nonce)), with(message_json(MESSAGE), json!({"nonce": 123})));

    let (name, full) = read(&dispatch::message_create(&view, Shown { guild: Some(&state), ..Shown::default() }));
    let more = json!({
        "guild_id": GUILD.to_string(), "member": bare_member_json(),
        "mentions": [with(user_json(2), json!({"member": bare_member_json()}))],
    });
    assert_eq!((name.as_str(), full), ("MESSAGE_CREATE", with(message_json(MESSAGE), more.clone())));

    let stripped = Shown { guild: Some(&state), stripped: true, ..Shown::default() };
    let (_, stripped) = read(&dispatch::message_update(&view, stripped));
    let nothing = json!({"content": "", "embeds": [], "attachments": [], "components": []});
    assert_eq!(stripped, with(with(message_json(MESSAGE), more), nothing));
}

#[test]
fn an_answer_shows_what_it_answers_or_that_it_is_gone() {
    let mut view = said(MESSAGE);
    view.message.reply_to = Some(MessageId(7));
    let reference =
        json!({"type": 0, "channel_id": CHANNEL.to_string(), "message_id": "7", "guild_id": GUILD.to_string()});
    let gone = value(&Message::new(&view, Shown::default()));
    assert_eq!((&gone["type"], &gone["message_reference"]), (&json!(19), &reference));
    assert_eq!(gone.get("referenced_message"), Some(&Value::Null));

    let mut inner = said(MessageId(7));
    inner.message.reply_to = Some(MessageId(6));
    view.referenced = Some(Box::new(inner));
    let state = state();
    let shown = Shown { guild: Some(&state), nonce: true, ..Shown::default() };
    let shown = value(&Message::new(&view, shown));
    let inner = &shown["referenced_message"];
    assert_eq!(inner["id"], "7");
    for absent in ["nonce", "member", "guild_id", "referenced_message"] {
        assert_eq!(inner.get(absent), None, "{absent}");
    }
    for (stripped, answered_stripped) in [(false, false), (false, true), (true, false), (true, true)] {
        let shown = value(&Message::new(&view, Shown { stripped, answered_stripped, ..Shown::default() }));
        let is_empty = |content: &Value| content == "";
        let empty = (is_empty(&shown["content"]), is_empty(&shown["referenced_message"]["content"]));
        assert_eq!(empty, (stripped, answered_stripped));
    }
}

#[test]
fn reactions_are_counted_and_ones_own_marked() {
    let mut view = said(MESSAGE);
    let emoji = Sign { id: None, name: "👍".into() };
    view.reactions = vec![Reaction { emoji: emoji.clone(), users: vec![UserId(1), UserId(2)] }];
    let reaction = |viewer| value(&Message::new(&view, Shown { viewer, ..Shown::default() }))["reactions"].clone();
    let expected = |me| {
        json!([{
            "emoji": {"id": null, "name": "👍"}, "count": 2, "count_details": {"burst": 0, "normal": 2},
            "burst_colors": [], "me": me, "me_burst": false,
        }])
    };
    assert_eq!((reaction(Some(UserId(2))), reaction(Some(UserId(3)))), (expected(true), expected(false)));

    let change = ReactionChange {
        channel_id: CHANNEL,
        message_id: MESSAGE,
        message_author_id: UserId(1),
        user_id: UserId(2),
        emoji,
    };
    let removed = json!({
        "user_id": "2", "type": 0, "message_id": MESSAGE.to_string(), "emoji": {"id": null, "name": "👍"},
        "channel_id": CHANNEL.to_string(), "burst": false, "guild_id": GUILD.to_string(),
    });
    let added = json!({"message_author_id": "1", "burst_colors": [], "member": member_json(2)});
    assert_eq!(read(&dispatch::reaction_remove(&change, Some(GUILD))).1, removed);
    assert_eq!(read(&dispatch::reaction_add(&change, Some(&state()))).1, with(removed, added));
}

#[test]
fn what_is_stored_wrong_does_not_spoil_a_message() {
    let mut view = said(MESSAGE);
    for bad in ["", "nonsense", "[", "[] []"] {
        view.message.embeds_json = bad.into();
        assert_eq!(value(&Message::new(&view, Shown::default()))["embeds"], json!([]), "{bad}");
    }
}
