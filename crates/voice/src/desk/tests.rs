//! Admissions, from the first to the last.

use super::*;

const ALL: Permissions = Permissions { speak: true, listen: true, priority: false };

fn desk() -> Desk {
    let minute = Duration::from_secs(60);
    Desk::new(Limits { sessions: 3, load: 0.8, unused: minute, alone: minute })
}

fn one(channel: u64, session: &str) -> Who {
    Who { channel, user: 7, session: session.to_owned() }
}

fn claims(who: &Who, admission: u64) -> Claims {
    Claims {
        admission,
        session: who.session.clone(),
        channel: who.channel,
        user: who.user,
        permissions: 0,
        expires: 0,
        traceparent: String::new(),
    }
}

#[test]
fn a_token_opens_once() {
    let (mut desk, now, a) = (desk(), Instant::now(), one(1, "a"));
    let claims = claims(&a, desk.admit(now, &a, ALL, 0).expect("room"));
    let entry = desk.enter(now, &claims).expect("open");
    assert_eq!((entry.who, entry.permissions, entry.replaces), (a, ALL, None));
    assert_eq!(desk.enter(now, &claims), Err(Shut::Used));
    assert_eq!(desk.leg(&claims), Ok((entry.leg, 0)));
    assert!(desk.gone(entry.leg) && !desk.gone(entry.leg));
    assert_eq!((desk.leg(&claims), desk.len()), (Err(Shut::Void), 0));
}

#[test]
fn a_later_admission_voids_the_former_token_and_replaces_the_leg() {
    let (mut desk, now, a) = (desk(), Instant::now(), one(1, "a"));
    let first = claims(&a, desk.admit(now, &a, ALL, 0).expect("room"));
    let leg = desk.enter(now, &first).expect("open").leg;
    let second = claims(&a, desk.admit(now, &a, ALL, 1).expect("its own place is no other's"));
    assert_eq!(desk.enter(now, &first), Err(Shut::Void));
    assert_eq!(desk.enter(now, &second).expect("open").replaces, Some(leg));
    assert!(!desk.gone(leg), "it was replaced");
    assert_eq!(desk.len(), 1);
}

#[test]
fn one_admitted_anew_is_waited_for_when_the_old_leg_goes() {
    let (mut desk, now, a) = (desk(), Instant::now(), one(1, "a"));
    let first = claims(&a, desk.admit(now, &a, ALL, 0).expect("room"));
    let leg = desk.enter(now, &first).expect("open").leg;
    let second = claims(&a, desk.admit(now, &a, ALL, 0).expect("room"));
    assert!(!desk.gone(leg));
    assert_eq!(desk.enter(now, &second).expect("open").replaces, None);
}

#[test]
fn what_is_not_used_in_time_is_gone() {
    let (mut desk, now, a) = (desk(), Instant::now(), one(1, "a"));
    let claims = claims(&a, desk.admit(now, &a, ALL, 0).expect("room"));
    let late = now + Duration::from_secs(60);
    assert_eq!(desk.enter(late, &claims), Err(Shut::Expired));
    assert!(desk.expire(late - Duration::from_millis(1)).is_empty());
    assert_eq!(desk.expire(late), [a]);
    assert_eq!((desk.len(), desk.rooms.len()), (0, 0));
}

#[test]
fn rooms_and_the_server_are_full_at_some_point() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.admit(now, &one(1, "a"), ALL, 2).expect("room");
    desk.admit(now, &one(1, "b"), ALL, 2).expect("room");
    assert_eq!(desk.admit(now, &one(1, "c"), ALL, 2), Err(Refused::RoomFull));
    desk.admit(now, &one(2, "c"), ALL, 2).expect("another room");
    assert_eq!(desk.admit(now, &one(3, "d"), ALL, 0), Err(Refused::ServerFull));
    assert_eq!(desk.dismiss(&one(1, "a")), Some(None));
    desk.admit(now, &one(1, "d"), ALL, 2).expect("a place is free");
    desk.dismiss(&one(1, "d"));
    desk.load = 0.9;
    assert_eq!(desk.admit(now, &one(1, "e"), ALL, 0), Err(Refused::ServerFull));
    desk.draining = true;
    assert_eq!(desk.admit(now, &one(1, "b"), ALL, 0), Err(Refused::Draining));
}

#[test]
fn who_is_no_gateways_session_any_more_goes_after_a_while() {
    let (mut desk, now, a, b) = (desk(), Instant::now(), one(1, "a"), one(1, "b"));
    let (there, nobody) = (HashSet::from(["g".to_owned()]), HashSet::new());
    for who in [&a, &b] {
        desk.admit(now, who, ALL, 0).expect("room");
    }
    desk.vouch(&a, "g".into());
    let late = now + Duration::from_secs(60);
    assert!(desk.alone(now, &nobody).is_empty());
    assert!(desk.alone(late, &there).is_empty(), "it attends again");
    assert!(desk.alone(late, &nobody).is_empty());
    let later = late + Duration::from_secs(60);
    assert_eq!(desk.alone(later, &nobody), std::slice::from_ref(&a), "for the other one no gateway is needed");
    desk.vouch(&a, "h".into());
    assert!(desk.alone(later, &HashSet::from(["h".to_owned()])).is_empty());
}

#[test]
fn nobody_without_a_name() {
    let (mut desk, now) = (desk(), Instant::now());
    for bad in [one(0, "a"), one(1, ""), one(1, "a/b"), one(1, &"x".repeat(129)), Who { user: 0, ..one(1, "a") }] {
        assert_eq!(desk.admit(now, &bad, ALL, 0), Err(Refused::Invalid));
    }
}

#[test]
fn what_is_allowed_is_kept_for_the_offer() {
    let (mut desk, now, a) = (desk(), Instant::now(), one(1, "a"));
    let mute = Permissions { speak: false, ..ALL };
    assert_eq!(desk.allow(&a, mute), None);
    let claims = claims(&a, desk.admit(now, &a, ALL, 0).expect("room"));
    assert_eq!(desk.allow(&a, mute), Some(None));
    let entry = desk.enter(now, &claims).expect("open");
    assert_eq!(entry.permissions, mute);
    assert_eq!(desk.allow(&a, ALL), Some(Some(entry.leg)));
    assert_eq!(desk.dismiss(&a), Some(Some(entry.leg)));
    assert!(!desk.gone(entry.leg), "it was dismissed");
}
