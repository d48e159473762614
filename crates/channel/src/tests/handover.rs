//! Slots change hands: what was written stays, followers are sent on, ids go on rising.

use clarion_proto::v1::follow_response::Response;
use clarion_proto::v1::{self};
use tonic::Code;

use super::bench::*;
use crate::Config;
use crate::owner::tests::{ANN, BOSS, TEXT};

async fn history(client: &mut Client) -> Vec<String> {
    let request = v1::ListMessagesRequest {
        key: Some(KEY.into()),
        channel_id: TEXT.0,
        actor_id: ANN.0,
        limit: 100,
        anchor: None,
    };
    let views = client.list_messages(request).await.unwrap().into_inner().messages;
    views.into_iter().map(|view| view.message.unwrap().content).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_goes_on_where_the_last_one_ended() {
    let (mut bench, mut first) = Bench::with_guild(Config::default()).await;
    let mut gateway = Gateway::following(&mut first, None).await;
    gateway.snapshot().await;
    let one = send(&mut first, ANN, "one").await;
    let seen = gateway.entries(1).await[0].position;
    bench.router.release_all("channel-1").await;
    assert!(matches!(gateway.next().await, Some(Response::Moved(_))));
    assert_eq!(first.create_message(create(ANN, "x")).await.unwrap_err().code(), Code::FailedPrecondition);
    gateway.follow(KEY, None).await;
    assert!(matches!(gateway.next().await, Some(Response::Moved(_))));

    let stores = bench.store.stores();
    let mut second = bench.start("channel-2", Config::default(), stores).await;
    let mut gateway = Gateway::following(&mut second, Some(seen)).await;
    assert!(matches!(gateway.next().await, Some(Response::Caught(_))));
    let two = send(&mut second, BOSS, "two").await;
    assert!(two > one);
    let entry = &gateway.entries(1).await[0];
    assert!(entry.position > seen && entry.position.epoch > seen.epoch);
    assert_eq!(history(&mut second).await, ["two", "one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_hands_over_and_a_restart_keeps_all() {
    let (mut bench, mut client) = Bench::with_guild(Config::default()).await;
    let mut gateway = Gateway::following(&mut client, None).await;
    let (start, _) = gateway.snapshot().await;
    for text in ["one", "two", "three"] {
        send(&mut client, ANN, text).await;
    }
    let process = &mut bench.process;
    let drained = tokio::task::block_in_place(|| process.stop_one("channel-1", false));
    assert!(drained.is_ok_and(|drained| drained));
    bench.router.until(|held| held["channel-1"].is_empty()).await;
    let seen = gateway.entries(3).await;
    assert!(matches!(gateway.next().await, Some(Response::Moved(_))));
    assert!(gateway.next().await.is_none());

    let stores = bench.store.stores();
    let mut client = bench.start("channel-1b", Config::default(), stores).await;
    assert_eq!(history(&mut client).await, ["three", "two", "one"]);
    let mut gateway = Gateway::following(&mut client, Some(start)).await;
    assert_eq!(essence(&gateway.entries(3).await), essence(&seen));
    let request = v1::GetGuildRequest { key: Some(KEY.into()), actor_id: ANN.0 };
    let guild = client.get_guild(request).await.unwrap().into_inner();
    let text = guild.channels.iter().find(|channel| channel.id == TEXT.0).unwrap();
    assert_eq!(text.last_message_id, seen.last().and_then(created).map(|(id, _)| id.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_uses_leaves_the_memory() {
    let config = Config { idle_s: 1, ..Config::default() };
    let (bench, mut client) = Bench::with_guild(config).await;
    let one = send(&mut client, ANN, "one").await;
    bench.until_metric("channel_hosted{", "0").await;
    assert!(send(&mut client, ANN, "two").await > one);
    assert_eq!(history(&mut client).await, ["two", "one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_use_are_not_pushed_out() {
    let config = Config { active_keys: 1, ..Config::default() };
    let (_bench, mut client) = Bench::with_guild(config).await;
    let mut gateway = Gateway::following(&mut client, None).await;
    gateway.snapshot().await;
    let user = || v1::CreateUserRequest { user: Some((&crate::owner::tests::user(ANN)).into()) };
    assert_eq!(client.create_user(user()).await.unwrap_err().code(), Code::Unavailable);
    drop(gateway);
    let retried = async {
        while client.create_user(user()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, retried).await.unwrap();
}
