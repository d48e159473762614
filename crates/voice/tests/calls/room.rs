//! Rooms: who is heard in which slot, who is gone, who is let in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clarion_proto::v1::voice_notice::Notice;
use tonic::Code;

use crate::caller::Caller;
use crate::server::{ALL, Voice, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_who_speak_are_heard_in_three_slots_and_those_who_attend_are_told() {
    let mut voice = Voice::start(|_| {}).await;
    let mut notices = voice.attend().await;
    let listener = voice.admit(5, 9, ALL).await;
    let listener = Caller::join(&listener, false, 8).await;
    let mut speakers = Vec::new();
    for user in 1..=3u8 {
        let admitted = voice.admit(5, user.into(), ALL).await;
        speakers.push(Caller::join(&admitted, true, 8).await);
        speakers[usize::from(user) - 1].say(user);
    }
    until("all are heard", || (1..=3).all(|user| listener.times(user) > 30)).await;
    let slots = listener.by_slot();
    let alone: BTreeSet<BTreeSet<u8>> = slots.values().cloned().collect();
    let expected: BTreeSet<BTreeSet<u8>> = (1..=3).map(|user| BTreeSet::from([user])).collect();
    assert_eq!((slots.len(), alone), (3, expected), "each in a slot of its own");
    let all = |notice| match notice {
        Notice::Heard(heard) if heard.slots.iter().filter(|slot| slot.speaking).count() == 3 => Some(heard),
        _ => None,
    };
    let told = notices.find("three speak", all).await;
    for slot in &told.slots {
        let heard = listener.by_slot()[&(slot.slot as usize)].clone();
        assert_eq!(heard, BTreeSet::from([slot.user_id as u8]), "the slot that was told");
    }
    speakers[1].leave().await;
    assert_eq!(notices.left(2).await, "left");
    let without = |notice| match notice {
        Notice::Heard(heard) => heard.slots.iter().all(|slot| slot.user_id != 2).then_some(()),
        _ => None,
    };
    notices.find("its slot is free", without).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_gateway_is_gone_is_gone_after_it() {
    let mut voice = Voice::start(|config| config.alone_s = 1).await;
    let mut notices = voice.attend().await;
    let (a, b) = (voice.admit(5, 1, ALL).await, voice.admit(5, 2, ALL).await);
    let (a, b) = (Caller::join(&a, true, 8).await, Caller::join(&b, true, 8).await);
    a.say(1);
    b.say(2);
    until("each hears the other", || a.times(2) > 20 && b.times(1) > 20).await;
    // Hers attends, his does not.
    voice.vouch(5, 1, "gateway-0").await;
    voice.vouch(5, 2, "gateway-1").await;
    assert_eq!(notices.left(2).await, "vanished");
    let heard = a.times(2);
    until("she is still there", || voice.metric("voice_users_active") == 1.0).await;
    assert!(a.times(2) <= heard + 10, "he is not heard any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_vanishes_is_gone_in_ten_seconds() {
    let mut voice = Voice::start(|_| {}).await;
    let mut notices = voice.attend().await;
    let (a, b) = (voice.admit(5, 1, ALL).await, voice.admit(5, 2, ALL).await);
    let (mut a, b) = (Caller::join(&a, true, 1).await, Caller::join(&b, true, 1).await);
    a.say(1);
    until("it is heard", || b.times(1) > 10).await;
    a.vanish();
    let since = Instant::now();
    assert_eq!(notices.left(1).await, "vanished");
    assert!((Duration::from_secs(8)..Duration::from_secs(10)).contains(&since.elapsed()), "{:?}", since.elapsed());
    // The other one, who says nothing, is still there: it gives signs of life.
    until("one is left", || voice.metric("voice_users_active") == 1.0).await;
    b.say(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_once_and_a_room_has_an_end() {
    let mut voice = Voice::start(|_| {}).await;
    let a = voice.try_admit(5, 1, ALL, 1).await.expect("the first");
    let full = voice.try_admit(5, 2, ALL, 1).await.expect_err("the second");
    assert_eq!(full.code(), Code::ResourceExhausted);
    let first = Caller::join(&a, true, 1).await;
    let again = crate::caller::post(&a, crate::caller::offer_of(1)).await;
    assert_eq!(again.status(), 401);
    let said = again.text().await.expect("a body");
    assert!(said.contains("the token has been used"), "{said}");
    // The same session comes anew and takes its own place.
    let anew = voice.try_admit(5, 1, ALL, 1).await.expect("its own place");
    let second = Caller::join(&anew, true, 1).await;
    assert_ne!(first.location.len(), 0);
    until("it is connected once", || voice.metric("voice_users_active") == 1.0).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_tells_and_ends_what_is_left() {
    let mut voice = Voice::start(|config| config.drain_ms = 500).await;
    let mut notices = voice.attend().await;
    let a = voice.admit(5, 1, ALL).await;
    let a = Caller::join(&a, true, 1).await;
    a.say(1);
    until("it is connected", || voice.metric("voice_users_active") == 1.0).await;
    let told = async {
        let draining = |notice| matches!(notice, Notice::Load(load) if load.draining).then_some(());
        notices.find("the server drains", draining).await;
        assert_eq!(notices.left(1).await, "drained");
    };
    let (took, ()) = tokio::join!(voice.stop(), told);
    assert!(took < Duration::from_secs(5), "{took:?}");
}
