//! Messages and accounts from end to end.

use clarion_model::event::{Event, GuildEvent, LogEntry, UserEvent};
use clarion_model::guild::Ban;
use clarion_model::id::MessageId;
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::{TokenHash, TokenRecord};
use clarion_proto::v1::{self, list_messages_request::Anchor};
use tonic::Code;

use super::bench::*;
use crate::Config;
use crate::owner::tests::{ANN, BOSS, GUILD, HIDDEN, MODERATOR, STRANGER, TEXT, role, user};

fn list(actor: u64, limit: u32, anchor: Option<Anchor>) -> v1::ListMessagesRequest {
    v1::ListMessagesRequest { key: Some(KEY.into()), channel_id: TEXT.0, actor_id: actor, limit, anchor }
}

async fn contents(client: &mut Client, request: v1::ListMessagesRequest) -> Vec<String> {
    let views = client.list_messages(request).await.unwrap().into_inner().messages;
    views.into_iter().map(|view| view.message.unwrap().content).collect()
}

fn reaction(id: MessageId, actor: u64, name: &str) -> v1::ReactionRequest {
    v1::ReactionRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        message_id: id.0,
        actor_id: actor,
        user_id: actor,
        emoji: Some(v1::Emoji { id: None, name: name.into() }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    let first = send(&mut client, ANN, "one").await;
    let second = send(&mut client, BOSS, "two").await;
    assert!(second > first);
    let reply = v1::CreateMessageRequest { reply_to: Some(first.0), reply_must_exist: true, ..create(BOSS, "three") };
    let third = client.create_message(reply).await.unwrap().into_inner();
    assert_eq!(third.referenced.unwrap().message.unwrap().content, "one");

    assert_eq!(contents(&mut client, list(2, 50, None)).await, ["three", "two", "one"]);
    assert_eq!(contents(&mut client, list(2, 50, Some(Anchor::Before(second.0)))).await, ["one"]);
    assert_eq!(contents(&mut client, list(2, 1, Some(Anchor::After(first.0)))).await, ["two"]);
    let page = client.list_messages(list(2, 1, None)).await.unwrap().into_inner();
    assert_eq!(page.messages[0].referenced.as_ref().unwrap().message.as_ref().unwrap().id, first.0);

    for _ in 0..2 {
        client.add_reaction(reaction(first, ANN.0, "👍")).await.unwrap();
    }
    client.add_reaction(reaction(first, BOSS.0, "👍")).await.unwrap();
    let listed = v1::ListReactionsRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        message_id: first.0,
        actor_id: ANN.0,
        emoji: Some(v1::Emoji { id: None, name: "👍".into() }),
        after: None,
        limit: 1,
    };
    let page = client.list_reactions(listed.clone()).await.unwrap().into_inner().users;
    assert_eq!(page.iter().map(|user| user.id).collect::<Vec<_>>(), [BOSS.0]);
    let page = client.list_reactions(v1::ListReactionsRequest { after: Some(BOSS.0), ..listed }).await.unwrap();
    assert_eq!(page.into_inner().users.iter().map(|user| user.id).collect::<Vec<_>>(), [ANN.0]);

    let edit = v1::EditMessageRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        message_id: first.0,
        editor_id: ANN.0,
        content: Some("one, changed".into()),
        ..v1::EditMessageRequest::default()
    };
    let edited = client.edit_message(edit).await.unwrap().into_inner();
    assert_eq!(edited.reactions[0].users, [ANN.0, BOSS.0]);
    let gone = v1::DeleteMessageRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        message_id: second.0,
        actor_id: MODERATOR.0,
    };
    client.delete_message(gone).await.unwrap();
    assert_eq!(contents(&mut client, list(2, 50, None)).await, ["three", "one, changed"]);
}

/// All that the banned said after a moment goes, in parts, and followers are told of each; what others said stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_banned_said_lately_is_purged() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    let old = send(&mut client, ANN, "old").await;
    let mut expected = vec!["old".to_owned()];
    for n in 0..130 {
        send(&mut client, ANN, "spam").await;
        if n % 50 == 0 {
            send(&mut client, BOSS, &format!("said {n}")).await;
            expected.insert(0, format!("said {n}"));
        }
    }
    let asked = |actor: u64, before| v1::PurgeMessagesRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        actor_id: actor,
        author_id: ANN.0,
        after: old.0,
        before,
    };
    let status = client.purge_messages(asked(BOSS.0, None)).await.unwrap_err();
    assert_eq!(refusal(&status).code, 10_026, "nobody is banned");
    let ban = GuildEvent::BanPut(Ban { user: user(ANN), reason: None });
    let change = Some((&Event::Guild(ban)).into());
    client.change_guild(v1::ChangeGuildRequest { key: Some(KEY.into()), actor_id: BOSS.0, change }).await.unwrap();
    assert_eq!(refusal(&client.purge_messages(asked(MODERATOR.0, None)).await.unwrap_err()).code, 50_013);

    let mut gateway = Gateway::following(&mut client, None).await;
    gateway.snapshot().await;
    for round in ["first", "again"] {
        let (mut before, mut deleted, mut parts) = (None, 0, 0);
        loop {
            let part = client.purge_messages(asked(BOSS.0, before)).await.unwrap().into_inner();
            assert!(part.deleted <= 100, "{part:?}");
            (before, deleted, parts) = (part.before, deleted + part.deleted, parts + 1);
            if before.is_none() {
                break;
            }
        }
        assert_eq!(deleted, if round == "first" { 130 } else { 0 }, "{round}");
        assert!(parts <= 3, "{parts}");
    }
    let told = gateway.entries(130).await;
    let is_delete = |entry: &LogEntry| matches!(entry.event, Event::Guild(GuildEvent::MessageDelete { .. }));
    assert!(told.iter().all(is_delete));
    assert_eq!(contents(&mut client, list(BOSS.0, 100, None)).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_the_api_says() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    let status = client.create_message(create(STRANGER, "hi")).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).status, refusal(&status).code), (Code::PermissionDenied, 403, 50_001));
    let hidden = v1::CreateMessageRequest { channel_id: HIDDEN.0, ..create(ANN, "hi") };
    assert_eq!(refusal(&client.create_message(hidden).await.unwrap_err()).code, 50_001);
    let nowhere = v1::CreateMessageRequest { channel_id: 77, ..create(ANN, "hi") };
    let status = client.create_message(nowhere).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).code), (Code::NotFound, 10_003));
    let long = client.create_message(create(ANN, &"x".repeat(2_001))).await.unwrap_err();
    assert_eq!((long.code(), refusal(&long).fields[0].field.as_str()), (Code::InvalidArgument, "content"));
    let request = v1::GetMessageRequest { key: Some(KEY.into()), channel_id: TEXT.0, message_id: 7, actor_id: ANN.0 };
    assert_eq!(refusal(&client.get_message(request).await.unwrap_err()).code, 10_008);
    let guild = |actor_id| v1::GetGuildRequest { key: Some(KEY.into()), actor_id };
    assert_eq!(refusal(&client.get_guild(guild(STRANGER.0)).await.unwrap_err()).code, 50_001);
    assert_eq!(client.get_guild(guild(0)).await.unwrap().into_inner().members.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_history_gets_none() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    send(&mut client, ANN, "before").await;
    let everyone = role(GUILD.everyone(), 0, Permissions::VIEW_CHANNEL);
    let change = Event::Guild(GuildEvent::RolePut(everyone));
    let change = v1::ChangeGuildRequest { key: Some(KEY.into()), actor_id: 0, change: Some((&change).into()) };
    client.change_guild(change).await.unwrap();
    assert!(contents(&mut client, list(ANN.0, 50, None)).await.is_empty());
    assert_eq!(contents(&mut client, list(BOSS.0, 50, None)).await, ["before"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_makes_one_message_wherever_the_retry_lands() {
    let (mut bench, client) = Bench::with_guild(Config::default()).await;
    let attempts = (0..20).map(|_| {
        let mut client = client.clone();
        async move { client.create_message(create_once(ANN, "once", "n-1")).await.unwrap().into_inner() }
    });
    let views = futures_util::future::join_all(attempts).await;
    let mut ids: Vec<u64> = views.into_iter().map(|view| view.message.unwrap().id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let counted = |metrics: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with("message_duplicates_detected_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    assert_eq!(counted(&bench.capture.process().render_metrics()), 19);

    bench.router.release_all("channel-1").await;
    let stores = bench.store.stores();
    let mut other = bench.start("channel-2", Config::default(), stores).await;
    let again = other.create_message(create_once(ANN, "once", "n-1")).await.unwrap().into_inner();
    assert_eq!((again.message.unwrap().id, again.referenced), (ids[0], None));
    assert_eq!(bench.log().await.iter().filter_map(created).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_is_remembered_by_the_next_owner_whoever_sent_it_did_not_ask() {
    let (mut bench, mut client) = Bench::with_guild(Config::default()).await;
    let nonce = |kind| Some(v1::Nonce { kind: Some(kind) });
    let number = nonce(v1::nonce::Kind::Number(77));
    let unasked = v1::CreateMessageRequest { nonce: number, enforce_nonce: false, ..create(ANN, "once") };
    let made = client.create_message(unasked).await.unwrap().into_inner().message.unwrap();
    bench.router.release_all("channel-1").await;
    let stores = bench.store.stores();
    let mut other = bench.start("channel-2", Config::default(), stores).await;
    let again = other.create_message(create_once(ANN, "once", "77")).await.unwrap().into_inner().message.unwrap();
    assert_eq!(again, made);
    assert_eq!(bench.log().await.iter().filter_map(created).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_are_listed_by_any_form_of_their_emoji() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    let (message_id, key) = (send(&mut client, ANN, "hi").await.0, Some(KEY.into()));
    let emoji = |name: &str| Some(v1::Emoji { id: None, name: name.into() });
    let (plain, dressed) = ("\u{2764}", "\u{2764}\u{fe0f}");
    for (user, name) in [(ANN, dressed), (BOSS, plain)] {
        let (channel_id, actor_id, user_id) = (TEXT.0, user.0, user.0);
        let request = v1::ReactionRequest { key, channel_id, message_id, actor_id, user_id, emoji: emoji(name) };
        client.add_reaction(request).await.unwrap();
    }
    for name in [plain, dressed] {
        let (channel_id, actor_id, emoji) = (TEXT.0, ANN.0, emoji(name));
        let request = v1::ListReactionsRequest { key, channel_id, message_id, actor_id, emoji, after: None, limit: 10 };
        let users = client.list_reactions(request).await.unwrap().into_inner().users;
        assert_eq!(users.iter().map(|user| user.id).collect::<Vec<_>>(), [BOSS.0, ANN.0]);
    }
    let request = v1::GetMessageRequest { key, channel_id: TEXT.0, message_id, actor_id: ANN.0 };
    let reactions = client.get_message(request).await.unwrap().into_inner().reactions;
    assert_eq!(reactions.len(), 1);
    assert_eq!(reactions[0].emoji, emoji(dressed));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_tokens_that_nobody_sees() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    let made = v1::CreateUserRequest { user: Some((&user(ANN)).into()) };
    client.create_user(made).await.unwrap();
    let hash = TokenHash([7; 32]);
    let record = TokenRecord { label: "laptop".into(), issued_at: Timestamp::from_millis(1) };
    let change =
        |event: UserEvent| v1::ChangeUserRequest { user_id: ANN.0, change: Some((&Event::User(event)).into()) };
    client.change_user(change(UserEvent::TokenIssued { hash, record })).await.unwrap();
    client.change_user(change(UserEvent::GuildJoined(GUILD))).await.unwrap();
    let shown = |hash: [u8; 32]| v1::AuthenticateRequest { user_id: ANN.0, token_hash: hash.to_vec().into() };
    assert_eq!(client.authenticate(shown([7; 32])).await.unwrap().into_inner().id, ANN.0);
    let wrong = client.authenticate(shown([8; 32])).await.unwrap_err();
    assert_eq!((wrong.code(), refusal(&wrong).status), (Code::Unauthenticated, 401));
    let state = client.get_user(v1::GetUserRequest { user_id: ANN.0 }).await.unwrap().into_inner();
    assert_eq!((state.tokens.len(), state.guilds), (0, vec![GUILD.0]));

    let key = clarion_model::key::Key::User(ANN);
    let mut gateway = Gateway::join(&mut client).await;
    gateway.follow(key, Some(clarion_model::key::Position::START)).await;
    for entry in gateway.entries(3).await {
        let leaks = matches!(&entry.event, Event::User(UserEvent::TokenIssued { hash: seen, .. }) if *seen == hash);
        assert!(!leaks);
    }
    client.change_user(change(UserEvent::TokenRevoked { hash })).await.unwrap();
    assert_eq!(gateway.entries(1).await[0].event, Event::User(UserEvent::TokenRevoked { hash }));
    assert_eq!(client.authenticate(shown([7; 32])).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guild_cannot_take_anothers_channel() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    let mut other = crate::owner::tests::guild();
    other.guild.id = clarion_model::id::GuildId(200);
    let everyone = role(other.guild.id.everyone(), 0, Permissions::NONE);
    other.roles.insert(everyone.id, everyone);
    let status = client.create_guild(v1::CreateGuildRequest { state: Some((&other).into()) }).await.unwrap_err();
    assert_eq!(refusal(&status).fields[0].field, "channels");
}
