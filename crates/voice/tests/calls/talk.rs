//! Two people talk, and what they may is what happens.

use clarion_proto::v1;

use crate::caller::Caller;
use crate::server::{ALL, Voice, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_says_the_other_hears() {
    let mut voice = Voice::start(|_| {}).await;
    let (a, b) = (voice.admit(5, 1, ALL).await, voice.admit(5, 2, ALL).await);
    let (a, b) = (Caller::join(&a, true, 8).await, Caller::join(&b, true, 8).await);
    a.say(0xA1);
    b.say(0xB2);
    until("each hears the other", || a.times(0xB2) > 50 && b.times(0xA1) > 50).await;
    assert_eq!((a.times(0xA1), b.times(0xB2)), (0, 0), "nobody hears himself");
    for slot in [a.by_slot(), b.by_slot()] {
        assert_eq!(slot.len(), 1, "{slot:?}");
    }
    let heard = b.slot(*b.by_slot().keys().next().expect("a slot"));
    assert_eq!((heard.missing(), heard.backwards), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_muted_is_not_heard_and_who_is_deafened_hears_nothing() {
    let mut voice = Voice::start(|_| {}).await;
    let (a, b) = (voice.admit(5, 1, ALL).await, voice.admit(5, 2, ALL).await);
    let (a, b) = (Caller::join(&a, true, 8).await, Caller::join(&b, true, 8).await);
    a.say(0xA1);
    until("b hears a", || b.times(0xA1) > 20).await;
    voice.allow(5, 1, v1::VoicePermissions { speak: false, ..ALL }).await;
    let before = voice.metric("voice_packets_dropped_total");
    // A byte that was said only while muted.
    a.say(0xA2);
    until("packets are dropped", || voice.metric("voice_packets_dropped_total") > before + 50.0).await;
    assert_eq!(b.times(0xA2), 0);
    voice.allow(5, 1, ALL).await;
    until("b hears a again", || b.times(0xA2) > 20).await;
    let missing = || b.slot(*b.by_slot().keys().next().expect("a slot")).missing();
    assert_eq!(missing(), 0, "what the server kept back is no loss");
    voice.allow(5, 2, v1::VoicePermissions { listen: false, ..ALL }).await;
    a.say(0xA3);
    let sent = voice.metric("voice_packets_total");
    until("a goes on", || voice.metric("voice_packets_total") > sent + 50.0).await;
    assert!(b.times(0xA3) < 10, "but for what was under way: {}", b.times(0xA3));
    voice.allow(5, 2, ALL).await;
    a.say(0xA4);
    until("b hears again", || b.times(0xA4) > 20).await;
    assert_eq!(missing(), 0, "nor what it did not listen to");
}
