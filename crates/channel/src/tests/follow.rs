//! Followers see exactly the log: no gap, nothing twice, in order.

use clarion_model::key::Position;
use clarion_proto::v1::follow_response::Response;
use clarion_proto::v1::transient::Event as TransientEvent;
use clarion_proto::v1::{self};
use tokio::task::JoinSet;

use super::bench::*;
use crate::Config;
use crate::owner::tests::{ANN, BOSS, TEXT};

const SENDERS: usize = 8;
const EACH: usize = 60;

/// Sends many messages at once; returns when all are acknowledged.
fn many(client: &Client) -> JoinSet<()> {
    let mut sending = JoinSet::new();
    for n in 0..SENDERS {
        let mut client = client.clone();
        sending.spawn(async move {
            for i in 0..EACH {
                send(&mut client, if n.is_multiple_of(2) { ANN } else { BOSS }, &format!("{n}:{i}")).await;
            }
        });
    }
    sending
}

#[tokio::test(flavor = "multi_thread")]
async fn every_follower_sees_exactly_the_log() {
    let (bench, mut client) = Bench::with_guild(Config::default()).await;
    let start = bench.log().await.last().unwrap().position;
    let mut from_snapshot = Gateway::following(&mut client, None).await;
    assert_eq!(from_snapshot.snapshot().await.0, start);
    let sending = many(&client);
    let mut late = Vec::new();
    for n in 0..10 {
        let first = from_snapshot.entries(20).await;
        let after = if n % 2 == 0 { Some(first[n].position) } else { None };
        let gateway = Gateway::following(&mut client, after).await;
        late.push((after, gateway));
    }
    sending.join_all().await;
    let log = bench.log().await;
    let sent: Vec<_> = log.iter().filter(|entry| entry.position > start).cloned().collect();
    assert_eq!(sent.len(), SENDERS * EACH);
    let ids: Vec<_> = sent.iter().filter_map(created).map(|(id, _)| id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    for n in 0..SENDERS {
        let prefix = format!("{n}:");
        let of = sent.iter().filter_map(created).filter_map(|(_, text)| text.strip_prefix(&prefix));
        assert!(of.map(|i| i.parse::<usize>().unwrap()).eq(0..EACH));
    }
    assert_eq!(essence(&from_snapshot.entries(sent.len() - 200).await), essence(&sent[200..]));
    for (after, mut gateway) in late {
        let after = match after {
            Some(after) => after,
            None => gateway.snapshot().await.0,
        };
        let rest: Vec<_> = sent.iter().filter(|entry| entry.position > after).cloned().collect();
        assert_eq!(essence(&gateway.entries(rest.len()).await), essence(&rest));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_slowly_is_cut_off_and_goes_on_from_there() {
    let config = Config { follower_queue: 16, ..Config::default() };
    let (bench, mut client) = Bench::with_guild(config).await;
    let mut slow = Gateway::following(&mut client, None).await;
    let mut seen = slow.snapshot().await.0;
    // A megabyte and more on its way fills every window in between.
    let text = "x".repeat(2_000);
    for _ in 0..4_000 {
        send(&mut client, ANN, &text).await;
        if bench
            .capture
            .process()
            .render_metrics()
            .lines()
            .any(|line| line.starts_with("channel_fanout_failures_total{") && !line.ends_with(" 0"))
        {
            break;
        }
    }
    let start = seen;
    let mut entries = Vec::new();
    while let Some(response) = slow.next().await {
        if let Response::Entry(entry) = response {
            let entry = clarion_model::event::LogEntry::try_from(entry).unwrap();
            seen = entry.position;
            entries.push(entry);
        }
    }
    let log: Vec<_> = bench.log().await.into_iter().filter(|entry| entry.position > start).collect();
    assert!(entries.len() < log.len(), "the stream is to end before the log");
    let mut again = Gateway::following(&mut client, Some(seen)).await;
    entries.extend(again.entries(log.len() - entries.len()).await);
    assert_eq!(essence(&entries), essence(&log));
    assert!(matches!(again.next().await, Some(Response::Caught(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_can_be_followed() {
    let (_bench, mut client) = Bench::with_guild(Config::default()).await;
    let mut gateway = Gateway::join(&mut client).await;
    gateway.follow(clarion_model::key::Key::User(ANN), None).await;
    let (position, snapshot) = gateway.snapshot().await;
    assert_eq!((position, snapshot.state), (Position::START, Some(v1::snapshot::State::Absent(true))));
    let made = v1::CreateUserRequest { user: Some((&crate::owner::tests::user(ANN)).into()) };
    client.create_user(made).await.unwrap();
    assert_eq!(gateway.entries(1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_told_and_not_kept() {
    let (bench, mut client) = Bench::with_guild(Config::default()).await;
    let mut gateway = Gateway::following(&mut client, None).await;
    gateway.snapshot().await;
    let before = bench.log().await.len();
    let typing = v1::StartTypingRequest { key: Some(KEY.into()), channel_id: TEXT.0, user_id: ANN.0 };
    client.start_typing(typing).await.unwrap();
    match gateway.next().await {
        Some(Response::Transient(v1::TransientEvent { event: Some(event), .. })) => {
            assert!(matches!(event.event, Some(TransientEvent::Typing(typing)) if typing.user_id == ANN.0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.log().await.len(), before);
}
