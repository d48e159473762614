//! Who may be in which voice channel, and when that ends.

use std::collections::BTreeSet;
use std::time::Duration;

use clarion_model::event::Transient;
use clarion_model::guild::VoiceSettings;
use clarion_model::voice::VoiceState;

use super::*;
use crate::owner::voice::{LEASE, SetVoice};
use crate::owner::{Actor, voice};

const ROOM: ChannelId = ChannelId(20);
const SMALL: ChannelId = ChannelId(21);
/// Only its owner and who is brought there are in it.
const CLOSED: ChannelId = ChannelId(22);

fn voices() -> GuildState {
    let mut guild = guild();
    let everyone = guild.roles.get_mut(&GUILD.everyone()).expect("everyone");
    everyone.permissions = everyone.permissions.union(Permissions::CONNECT).union(Permissions::SPEAK);
    let moderators = guild.roles.get_mut(&MODERATORS).expect("moderators");
    let more = Permissions::MUTE_MEMBERS.union(Permissions::MOVE_MEMBERS);
    moderators.permissions = moderators.permissions.union(more);
    let mut small = channel(SMALL, ChannelKind::Voice);
    small.voice = VoiceSettings { user_limit: 1, ..small.voice };
    let mut closed = channel(CLOSED, ChannelKind::Voice);
    closed.overwrites.push(deny(OverwriteTarget::Member(ANN), Permissions::CONNECT.union(Permissions::SPEAK)));
    for channel in [channel(ROOM, ChannelKind::Voice), small, closed] {
        guild.channels.insert(channel.id, channel);
    }
    guild
}

fn deny(target: OverwriteTarget, deny: Permissions) -> Overwrite {
    Overwrite { target, allow: Permissions::NONE, deny }
}

fn set(user: UserId, session: &str, channel_id: Option<ChannelId>) -> SetVoice {
    SetVoice {
        user,
        session_id: session.into(),
        gateway: "gateway".into(),
        channel_id,
        self_mute: false,
        self_deaf: false,
        again: false,
        if_own: false,
    }
}

fn tell(owner: &mut Owner, command: Command) -> Result<Option<VoiceState>, Refusal> {
    Ok(match owner.propose(now(), command, Found::default())? {
        Outcome::Tell(Transient::Voice { state, .. }) => Some(state),
        Outcome::Answer(Answer::Done) => None,
        other => panic!("{other:?}"),
    })
}

fn enter(owner: &mut Owner, user: UserId, channel: ChannelId) -> Result<Option<VoiceState>, Refusal> {
    tell(owner, Command::SetVoice(set(user, "s", Some(channel))))
}

fn bring(owner: &mut Owner, actor: UserId, user: UserId, to: Option<ChannelId>) -> Result<Option<VoiceState>, Refusal> {
    tell(owner, Command::MoveVoice { actor: Actor::User(actor), user, channel_id: to })
}

fn change(owner: &mut Owner, actor: UserId, event: GuildEvent) -> Result<Vec<VoiceState>, Refusal> {
    let command = Command::ChangeGuild { actor: Actor::User(actor), change: event };
    if let Outcome::Write(proposal) = owner.propose(now(), command, Found::default())? {
        owner.apply(&proposal.batch.entries);
    }
    Ok(states(owner.review_voices()))
}

fn states(told: Vec<Transient>) -> Vec<VoiceState> {
    let state = |told| match told {
        Transient::Voice { state, .. } => state,
        other => panic!("{other:?}"),
    };
    told.into_iter().map(state).collect()
}

#[test]
fn one_is_in_one_channel_and_followers_hear_of_changes_alone() {
    let mut owner = owner_of(voices());
    let there = enter(&mut owner, ANN, ROOM).expect("may").expect("told");
    assert_eq!((there.channel_id, there.suppress, there.mute), (Some(ROOM), false, false));
    assert_eq!(enter(&mut owner, ANN, ROOM), Ok(None), "nothing changed");
    let muted = SetVoice { self_mute: true, ..set(ANN, "s", Some(ROOM)) };
    assert!(tell(&mut owner, Command::SetVoice(muted)).expect("may").expect("told").self_mute);
    assert_eq!(enter(&mut owner, ANN, SMALL).expect("may").expect("told").channel_id, Some(SMALL));
    assert_eq!(owner.voices().count(), 1);
    assert_eq!(tell(&mut owner, Command::SetVoice(set(ANN, "another", None))), Ok(None), "not the one that is there");
    let gone = tell(&mut owner, Command::SetVoice(set(ANN, "s", None))).expect("may").expect("told");
    assert_eq!((gone.channel_id, gone.session_id.as_str()), (None, "s"));
    assert!(!owner.has_voices());
}

#[test]
fn a_session_that_comes_from_another_gateway_is_there_as_before() {
    let mut owner = owner_of(voices());
    enter(&mut owner, ANN, SMALL).expect("may").expect("told");
    let at_another = SetVoice { gateway: "another".into(), ..set(ANN, "s", Some(SMALL)) };
    let muted = SetVoice { self_mute: true, ..set(ANN, "s", Some(SMALL)) };
    tell(&mut owner, Command::SetVoice(muted)).expect("may").expect("told");
    let comes = SetVoice { again: true, ..at_another.clone() };
    assert_eq!(tell(&mut owner, Command::SetVoice(comes)), Ok(None), "nobody sees it, whatever it was when it left");
    let left_behind = SetVoice { if_own: true, ..set(ANN, "s", None) };
    assert_eq!(tell(&mut owner, Command::SetVoice(left_behind)), Ok(None), "it is not the former gateway's any more");
    let there = BTreeSet::from(["another".into()]);
    let later = Timestamp::from_millis(now().as_millis() + 2 * LEASE.as_millis() as u64);
    assert!(owner.expire_voices(now(), &there).is_empty() && owner.expire_voices(later, &there).is_empty());
    let leaves = SetVoice { channel_id: None, if_own: true, ..at_another };
    assert!(tell(&mut owner, Command::SetVoice(leaves)).expect("may").is_some(), "it is the gateway's");
}

#[test]
fn who_may_not_enter_does_not() {
    let mut owner = owner_of(voices());
    assert_eq!(enter(&mut owner, ANN, CLOSED), Err(Refusal::MISSING_PERMISSIONS));
    assert_eq!(enter(&mut owner, ANN, TEXT), Err(Refusal::NOT_A_VOICE_CHANNEL));
    assert_eq!(enter(&mut owner, ANN, HIDDEN), Err(Refusal::MISSING_ACCESS));
    assert_eq!(enter(&mut owner, ANN, ChannelId(99)), Err(Refusal::UNKNOWN_CHANNEL));
    assert_eq!(enter(&mut owner, STRANGER, ROOM), Err(Refusal::MISSING_ACCESS));
    assert!(!owner.has_voices());
}

#[test]
fn a_full_channel_takes_those_alone_who_may_move_others() {
    let mut owner = owner_of(voices());
    enter(&mut owner, ANN, SMALL).expect("there is room");
    let extra = UserId(77);
    let event = GuildEvent::MemberPut(member(extra, &[]));
    let put = Command::ChangeGuild { actor: Actor::Operator, change: event };
    let Ok(Outcome::Write(proposal)) = owner.propose(now(), put, Found::default()) else { panic!("written") };
    owner.apply(&proposal.batch.entries);
    assert_eq!(enter(&mut owner, extra, SMALL), Err(Refusal::VOICE_FULL));
    assert!(enter(&mut owner, ANN, SMALL).is_ok(), "who is in it stays");
    assert!(enter(&mut owner, MODERATOR, SMALL).is_ok());
    let again = SetVoice { again: true, ..set(extra, "s", Some(SMALL)) };
    assert!(tell(&mut owner, Command::SetVoice(again)).is_ok(), "who was in it before the owner was one stays, too");
}

#[test]
fn members_are_moved_by_those_who_may() {
    let mut owner = owner_of(voices());
    assert_eq!(bring(&mut owner, MODERATOR, ANN, Some(CLOSED)), Err(Refusal::NOT_IN_VOICE));
    enter(&mut owner, ANN, ROOM).expect("may");
    enter(&mut owner, MODERATOR, ROOM).expect("may");
    assert_eq!(bring(&mut owner, ANN, MODERATOR, None), Err(Refusal::MISSING_PERMISSIONS));
    assert_eq!(bring(&mut owner, MODERATOR, ANN, Some(TEXT)), Err(Refusal::NOT_A_VOICE_CHANNEL));
    let brought = bring(&mut owner, MODERATOR, ANN, Some(CLOSED)).expect("may").expect("told");
    assert_eq!((brought.channel_id, brought.suppress), (Some(CLOSED), true), "there, but not to speak");
    let kept = SetVoice { self_mute: true, ..set(ANN, "s", Some(CLOSED)) };
    assert!(tell(&mut owner, Command::SetVoice(kept)).is_ok(), "who was brought may stay");
    assert!(owner.review_voices().is_empty());
    let out = bring(&mut owner, MODERATOR, ANN, None).expect("may").expect("told");
    assert_eq!(out.channel_id, None);
    assert_eq!(bring(&mut owner, MODERATOR, STRANGER, None), Err(Refusal::UNKNOWN_MEMBER));
}

#[test]
fn who_is_silenced_stays_silenced() {
    let mut owner = owner_of(voices());
    let muted = |mute, deaf| GuildEvent::MemberPut(Member { mute, deaf, ..member(ANN, &[]) });
    assert_eq!(change(&mut owner, MODERATOR, muted(true, false)), Err(Refusal::NOT_IN_VOICE));
    enter(&mut owner, ANN, ROOM).expect("may");
    assert_eq!(change(&mut owner, ANN, muted(true, false)), Err(Refusal::MISSING_PERMISSIONS));
    assert_eq!(change(&mut owner, MODERATOR, muted(true, true)), Err(Refusal::MISSING_PERMISSIONS), "to deafen");
    let told = change(&mut owner, MODERATOR, muted(true, false)).expect("may");
    assert_eq!((told.len(), told[0].mute, told[0].may_speak()), (1, true, false));
    tell(&mut owner, Command::SetVoice(set(ANN, "s", None))).expect("left");
    assert!(enter(&mut owner, ANN, ROOM).expect("may").expect("told").mute, "coming back does not help");
}

#[test]
fn losing_the_channel_the_permission_or_the_membership_ends_it() {
    let mut owner = owner_of(voices());
    enter(&mut owner, ANN, ROOM).expect("may");
    let mut room = channel(ROOM, ChannelKind::Voice);
    room.overwrites.push(deny(OverwriteTarget::Member(ANN), Permissions::SPEAK));
    let told = change(&mut owner, BOSS, GuildEvent::ChannelPut(room.clone())).expect("may");
    assert_eq!((told.len(), told[0].channel_id, told[0].suppress), (1, Some(ROOM), true));
    room.overwrites[0].deny = Permissions::CONNECT;
    let told = change(&mut owner, BOSS, GuildEvent::ChannelPut(room)).expect("may");
    assert_eq!((told.len(), told[0].channel_id), (1, None));
    enter(&mut owner, ANN, SMALL).expect("may");
    let told = change(&mut owner, BOSS, GuildEvent::ChannelDelete(SMALL)).expect("may");
    assert_eq!(told[0].channel_id, None);
    enter(&mut owner, MODERATOR, ROOM).expect("may");
    let told = change(&mut owner, BOSS, GuildEvent::MemberRemove(user(MODERATOR))).expect("may");
    assert_eq!((told[0].user_id, told[0].channel_id), (MODERATOR, None));
    assert!(!owner.has_voices());
}

#[test]
fn a_gateway_that_is_gone_takes_its_sessions_with_it() {
    let mut owner = owner_of(voices());
    enter(&mut owner, ANN, ROOM).expect("may");
    let (there, nobody) = (BTreeSet::from(["gateway".into()]), BTreeSet::new());
    let at = |ms| Timestamp::from_millis(now().as_millis() + ms);
    let lease = LEASE.as_millis() as u64;
    assert!(owner.expire_voices(at(0), &nobody).is_empty());
    assert!(owner.expire_voices(at(lease - 1), &there).is_empty(), "it came back");
    assert!(owner.expire_voices(at(lease), &nobody).is_empty());
    assert!(owner.expire_voices(at(2 * lease - 1), &nobody).is_empty());
    let told = states(owner.expire_voices(at(2 * lease), &nobody));
    assert_eq!((told.len(), told[0].channel_id), (1, None));
    assert!(voice::LEASE > Duration::from_secs(1));
}
