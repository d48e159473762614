//! Members changed: their name here, their roles, whether they are heard and hear, and where in voice they are.

use std::sync::Arc;

use clarion_model::event::GuildEvent;
use clarion_model::guild::Member;
use clarion_model::id::{ChannelId, RoleId};
use clarion_model::key::Key;
use clarion_proto::v1;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::form::Form;
use super::guild::{change, named_guild};
use super::refusal::Refusal;
use crate::api;
use crate::directory::Target;

/// Longest name in a guild.
const NICK: usize = 32;

pub(super) async fn edit(call: Call) -> Answered {
    let user = call.named_user()?;
    let mut form = Form::read(&call.headers, &call.body)?;
    let guild = named_guild(&call).await?;
    let before = guild.members.get(&user).ok_or(Refusal::UNKNOWN_MEMBER)?;
    let mut member = Member::clone(before);
    let moves = form.names("channel_id");
    let channel = form.id("channel_id").map(ChannelId);
    apply(&mut form, &mut member);
    form.finish(())?;
    if **before != member {
        change(&call, guild.guild.id, GuildEvent::MemberPut(member.clone())).await?;
    }
    if moves {
        let key = Key::Guild(guild.guild.id);
        let request = v1::MoveVoiceRequest {
            key: Some(key.into()),
            actor_id: call.user_id().0,
            user_id: user.0,
            channel_id: channel.map(|channel| channel.0),
        };
        let moved =
            call.ask(Target::Key(key), move |mut client, _| Box::pin(async move { client.move_voice(request).await }));
        moved.await?;
    }
    Ok(Answer::object(&api::Member::from(&*Arc::new(member))))
}

/// Writes what a body says over a membership.
pub(super) fn apply(form: &mut Form, member: &mut Member) {
    if form.names("nick") {
        member.nick = form.text("nick", NICK).filter(|nick| !nick.is_empty());
    }
    if let Some(roles) = form.ids("roles") {
        member.roles = roles.into_iter().map(RoleId).collect();
        member.roles.sort_unstable();
        member.roles.dedup();
    }
    if let Some(mute) = form.flag("mute") {
        member.mute = mute;
    }
    if let Some(deaf) = form.flag("deaf") {
        member.deaf = deaf;
    }
}
