//! The structure of a guild: who may change what.

use clarion_model::guild::Ban;

use super::*;
use crate::owner::Actor;

fn change(actor: Actor, change: GuildEvent) -> Command {
    Command::ChangeGuild { actor, change }
}

fn by(user: UserId, event: GuildEvent) -> Command {
    change(Actor::User(user), event)
}

/// Accepts a change and makes it durable.
fn done(owner: &mut Owner, command: Command) {
    let proposal = accept(owner, command, Found::default());
    owner.apply(&proposal.batch.entries);
}

fn state(owner: &Owner) -> GuildState {
    owner.shared().read().state.guild().unwrap().clone()
}

#[test]
fn a_guild_is_made_in_one_batch_and_once() {
    let mut owner = Owner::new(Key::Guild(GUILD), Epoch(1), Tail::default(), State::Absent);
    let proposal = accept(&mut owner, Command::CreateGuild(Box::new(guild())), Found::default());
    assert!(matches!(guild_events(&proposal)[0], GuildEvent::GuildPut(_)));
    owner.apply(&proposal.batch.entries);
    let made = state(&owner);
    assert_eq!(GuildState { version: 0, ..made.clone() }, GuildState { version: 0, ..guild() });
    let Answer::Guild(answered) = proposal.answer else { panic!() };
    assert_eq!(*answered, made);
    let again = propose(&mut owner, Command::CreateGuild(Box::new(guild())));
    assert!(matches!(again, Ok(Outcome::Answer(Answer::Guild(there))) if *there == made));
}

#[test]
fn a_guild_is_checked_before_it_is_made() {
    let field = |mutate: &dyn Fn(&mut GuildState), found: Found| {
        let mut owner = Owner::new(Key::Guild(GUILD), Epoch(1), Tail::default(), State::Absent);
        let mut state = guild();
        mutate(&mut state);
        let refused = refusal(owner.propose(now(), Command::CreateGuild(Box::new(state)), found));
        refused.fields.first().map_or("", |field| field.field)
    };
    assert_eq!(field(&|g| g.guild.name = "x".into(), Found::default()), "name");
    assert_eq!(field(&|g| g.guild.owner_id = STRANGER, Found::default()), "owner_id");
    assert_eq!(field(&|g| drop(g.roles.remove(&GUILD.everyone())), Found::default()), "roles");
    assert_eq!(field(&|_| (), Found { foreign_channel: true, ..Found::default() }), "channels");
    let parent = |g: &mut GuildState| g.channels.get_mut(&HIDDEN).unwrap().parent_id = Some(TEXT);
    assert_eq!(field(&parent, Found::default()), "parent_id");
}

#[test]
fn strangers_change_nothing_and_operators_everything() {
    let mut owner = owner();
    let renamed = Guild { name: "other".into(), ..guild().guild };
    let put = GuildEvent::GuildPut(renamed);
    assert_eq!(refusal(propose(&mut owner, by(STRANGER, put.clone()))), Refusal::MISSING_ACCESS);
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, put.clone()))), Refusal::MISSING_PERMISSIONS);
    done(&mut owner, change(Actor::Operator, put.clone()));
    assert_eq!(state(&owner).guild.name, "other");
    assert!(matches!(propose(&mut owner, by(BOSS, put)), Ok(Outcome::Answer(Answer::Done))));
    let message = GuildEvent::MessageDelete { channel_id: TEXT, id: MessageId(1) };
    let refused = refusal(propose(&mut owner, change(Actor::Operator, message)));
    assert_eq!((refused.code, refused.fields[0].field), (50_035, "change"));
}

#[test]
fn channels_need_managers_who_see_them() {
    let mut owner = owner();
    let new = channel(ChannelId(60), ChannelKind::Voice);
    let put = GuildEvent::ChannelPut(new.clone());
    assert_eq!(refusal(propose(&mut owner, by(ANN, put.clone()))), Refusal::MISSING_PERMISSIONS);
    let foreign = Found { foreign_channel: true, ..Found::default() };
    assert_eq!(refusal(owner.propose(now(), by(MODERATOR, put.clone()), foreign)).code, 50_035);
    done(&mut owner, by(MODERATOR, put));
    let text = Channel { kind: ChannelKind::Text, ..new };
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, GuildEvent::ChannelPut(text)))).fields[0].field, "type");
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, GuildEvent::ChannelDelete(HIDDEN)))), Refusal::MISSING_ACCESS);
    done(&mut owner, by(MODERATOR, GuildEvent::ChannelDelete(TEXT)));
    assert!(!state(&owner).channels.contains_key(&TEXT));
}

/// A guild, its channels and who may do what in them are as large as the API allows, and no larger.
#[test]
fn what_a_guild_holds_is_bounded() {
    let roles = |count: usize| {
        let mut guild = guild();
        for id in (1_000..).take(count - guild.roles.len()) {
            guild.roles.insert(RoleId(id), role(RoleId(id), 1, Permissions::NONE));
        }
        guild
    };
    let channels = |count: usize| {
        let mut guild = guild();
        for id in (1_000..).take(count - guild.channels.len()) {
            guild.channels.insert(ChannelId(id), channel(ChannelId(id), ChannelKind::Text));
        }
        guild
    };
    let overwrites = |count: usize| Channel {
        overwrites: (1_000..)
            .take(count)
            .map(|id| Overwrite {
                target: OverwriteTarget::Member(UserId(id)),
                allow: Permissions::NONE,
                deny: Permissions::SEND_MESSAGES,
            })
            .collect(),
        ..channel(TEXT, ChannelKind::Text)
    };
    let put_role = || by(BOSS, GuildEvent::RolePut(role(RoleId(9_999), 1, Permissions::NONE)));
    let put_channel = || by(BOSS, GuildEvent::ChannelPut(channel(ChannelId(9_999), ChannelKind::Text)));
    let put_overwrites = |count| by(BOSS, GuildEvent::ChannelPut(overwrites(count)));
    let code = |mut owner: Owner, command| propose(&mut owner, command).err().map(|refusal| refusal.code);
    for (bound, refused) in [(249, None), (250, Some(30_005))] {
        assert_eq!(code(owner_of(roles(bound)), put_role()), refused, "{bound} roles");
    }
    for (bound, refused) in [(499, None), (500, Some(30_013))] {
        assert_eq!(code(owner_of(channels(bound)), put_channel()), refused, "{bound} channels");
    }
    for (bound, refused) in [(1_000, None), (1_001, Some(30_060))] {
        assert_eq!(code(owner(), put_overwrites(bound)), refused, "{bound} overwrites");
    }
    // The same for a guild that is made.
    let absent = || Owner::new(Key::Guild(GUILD), Epoch(1), Tail::default(), State::Absent);
    let made = |guild: GuildState| code(absent(), Command::CreateGuild(Box::new(guild)));
    let mut with_overwrites = guild();
    with_overwrites.channels.insert(TEXT, overwrites(1_001));
    assert_eq!([made(roles(251)), made(channels(501)), made(with_overwrites)], [30_005, 30_013, 30_060].map(Some));
    assert_eq!([made(roles(250)), made(channels(500))], [None, None]);
}

#[test]
fn a_channel_keeps_its_last_message() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "hi")).message.id;
    let renamed = Channel { name: "renamed".into(), ..channel(TEXT, ChannelKind::Text) };
    done(&mut owner, by(MODERATOR, GuildEvent::ChannelPut(renamed)));
    assert_eq!(state(&owner).channels[&TEXT].last_message_id, Some(id));
}

#[test]
fn nobody_gives_what_they_lack() {
    let mut owner = owner();
    let mut with = channel(TEXT, ChannelKind::Text);
    let overwrite = |allow| Overwrite { target: OverwriteTarget::Member(ANN), allow, deny: Permissions::NONE };
    with.overwrites = vec![overwrite(Permissions::MANAGE_GUILD)];
    let put = |channel: &Channel| GuildEvent::ChannelPut(channel.clone());
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, put(&with)))), Refusal::MISSING_PERMISSIONS);
    with.overwrites = vec![overwrite(Permissions::MANAGE_MESSAGES)];
    done(&mut owner, by(MODERATOR, put(&with)));

    let fans = |permissions| GuildEvent::RolePut(role(FANS, 1, permissions));
    assert_eq!(
        refusal(propose(&mut owner, by(MODERATOR, fans(Permissions::ADMINISTRATOR)))),
        Refusal::MISSING_PERMISSIONS
    );
    done(&mut owner, by(MODERATOR, fans(Permissions::KICK_MEMBERS)));
}

#[test]
fn roles_are_changed_from_above() {
    let mut owner = owner();
    let own = GuildEvent::RolePut(Role { name: "x".into(), ..guild().roles[&MODERATORS].clone() });
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, own.clone()))), Refusal::MISSING_PERMISSIONS);
    done(&mut owner, by(BOSS, own));
    let high = GuildEvent::RolePut(role(FANS, 5, Permissions::NONE));
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, high))), Refusal::MISSING_PERMISSIONS);
    let everyone = GuildEvent::RoleDelete(GUILD.everyone());
    assert_eq!(refusal(propose(&mut owner, by(BOSS, everyone))), Refusal::MISSING_PERMISSIONS);
    done(&mut owner, by(MODERATOR, GuildEvent::RoleDelete(FANS)));

    let give = |to, roles: &[RoleId]| GuildEvent::MemberPut(member(to, roles));
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, give(ANN, &[MODERATORS])))), Refusal::MISSING_PERMISSIONS);
    done(&mut owner, by(BOSS, give(ANN, &[MODERATORS])));
    assert_eq!(state(&owner).members[&ANN].roles, [MODERATORS]);
    assert_eq!(refusal(propose(&mut owner, by(BOSS, give(ANN, &[RoleId(77)])))).fields[0].field, "roles");
}

#[test]
fn a_role_that_is_deleted_is_nobodys() {
    let mut owner = owner();
    done(&mut owner, by(BOSS, GuildEvent::RoleDelete(MODERATORS)));
    assert_eq!(state(&owner).members[&MODERATOR].roles, []);
    // Who had it can be changed by who knows what they have now.
    let nick = Member { nick: Some("nick".into()), ..(*state(&owner).members[&MODERATOR]).clone() };
    done(&mut owner, by(BOSS, GuildEvent::MemberPut(nick)));
}

#[test]
fn members_are_removed_by_those_above_them_or_leave() {
    let mut owner = owner();
    let remove = |id| GuildEvent::MemberRemove(user(id));
    assert_eq!(refusal(propose(&mut owner, by(ANN, remove(MODERATOR)))), Refusal::MISSING_PERMISSIONS);
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, remove(BOSS)))), Refusal::MISSING_PERMISSIONS);
    assert_eq!(refusal(propose(&mut owner, by(BOSS, remove(BOSS)))), Refusal::MISSING_PERMISSIONS);
    assert_eq!(refusal(propose(&mut owner, by(BOSS, remove(STRANGER)))), Refusal::UNKNOWN_MEMBER);
    done(&mut owner, by(MODERATOR, remove(ANN)));
    done(&mut owner, by(MODERATOR, remove(MODERATOR)));
    assert_eq!(state(&owner).members.len(), 1);
}

#[test]
fn who_is_banned_leaves_and_does_not_come_back() {
    let mut owner = owner();
    let ban = |id| GuildEvent::BanPut(Ban { user: user(id), reason: Some("spam".into()) });
    let joins = |id| GuildEvent::MemberPut(member(id, &[]));
    assert_eq!(refusal(propose(&mut owner, by(ANN, ban(MODERATOR)))), Refusal::MISSING_PERMISSIONS);
    let with_bans = role(MODERATORS, 2, guild().roles[&MODERATORS].permissions.union(Permissions::BAN_MEMBERS));
    done(&mut owner, by(BOSS, GuildEvent::RolePut(with_bans)));
    for above in [BOSS, MODERATOR] {
        assert_eq!(refusal(propose(&mut owner, by(MODERATOR, ban(above)))), Refusal::MISSING_PERMISSIONS);
    }
    done(&mut owner, by(MODERATOR, ban(ANN)));
    done(&mut owner, by(MODERATOR, ban(STRANGER)));
    assert!(!state(&owner).members.contains_key(&ANN));
    assert_eq!(state(&owner).bans.keys().copied().collect::<Vec<_>>(), [ANN, STRANGER]);
    assert_eq!(refusal(propose(&mut owner, change(Actor::Operator, joins(ANN)))), Refusal::BANNED);
    assert_eq!(refusal(propose(&mut owner, by(BOSS, joins(ANN)))), Refusal::BANNED);
    done(&mut owner, by(MODERATOR, GuildEvent::BanRemove(user(ANN))));
    assert_eq!(refusal(propose(&mut owner, by(BOSS, GuildEvent::BanRemove(user(ANN))))), Refusal::UNKNOWN_BAN);
    done(&mut owner, change(Actor::Operator, joins(ANN)));
}

#[test]
fn nicknames_are_ones_own_or_a_managers() {
    let mut owner = owner();
    let nick = |id, roles: &[RoleId]| GuildEvent::MemberPut(Member { nick: Some("nick".into()), ..member(id, roles) });
    assert_eq!(refusal(propose(&mut owner, by(ANN, nick(MODERATOR, &[MODERATORS])))), Refusal::MISSING_PERMISSIONS);
    done(&mut owner, by(ANN, nick(ANN, &[])));
    assert_eq!(refusal(propose(&mut owner, by(MODERATOR, nick(BOSS, &[])))), Refusal::MISSING_PERMISSIONS);
    let joins = GuildEvent::MemberPut(member(STRANGER, &[]));
    assert_eq!(refusal(propose(&mut owner, by(ANN, joins.clone()))), Refusal::MISSING_PERMISSIONS);
    done(&mut owner, change(Actor::Operator, joins));
}
