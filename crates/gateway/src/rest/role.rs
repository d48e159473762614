//! Roles made, changed and deleted, given to members and taken from them.

use clarion_model::event::GuildEvent;
use clarion_model::guild::{GuildState, Member, Role};
use clarion_model::id::{RoleId, UserId};
use clarion_model::limits;
use clarion_model::permission::Permissions;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::form::Form;
use super::guild::{change, change_once, named_guild};
use super::origin::new_snowflake;
use super::refusal::Refusal;
use crate::api;
use crate::api::error::Fault;

const COLORS: u64 = 0xff_ffff;

pub(super) async fn get(call: Call) -> Answered {
    let (_, role) = named(&call).await?;
    Ok(Answer::object(&api::Role::from(&role)))
}

pub(super) async fn create(call: Call) -> Answered {
    let mut form = Form::read(&call.headers, &call.body)?;
    let guild = named_guild(&call).await?;
    let everyone = guild.roles.get(&guild.guild.id.everyone());
    let mut role = Role {
        id: RoleId(new_snowflake()),
        name: "new role".to_owned(),
        color: 0,
        hoist: false,
        position: lowest_place(&guild, call.user_id()),
        permissions: everyone.map_or(Permissions::NONE, |everyone| everyone.permissions),
        mentionable: false,
    };
    apply(&mut form, &mut role);
    form.finish(())?;
    put(&call, &guild, role).await
}

pub(super) async fn edit(call: Call) -> Answered {
    let mut form = Form::read(&call.headers, &call.body)?;
    let (guild, mut role) = named(&call).await?;
    apply(&mut form, &mut role);
    form.finish(())?;
    put(&call, &guild, role).await
}

pub(super) async fn delete(call: Call) -> Answered {
    let (guild, role) = named(&call).await?;
    change_once(&call, guild.guild.id, GuildEvent::RoleDelete(role.id)).await?;
    Ok(Answer::DONE)
}

pub(super) async fn give(call: Call) -> Answered {
    change_member(&call, |member, role| {
        if !member.roles.contains(&role) {
            member.roles.push(role);
        }
    })
    .await
}

pub(super) async fn take(call: Call) -> Answered {
    change_member(&call, |member, role| member.roles.retain(|there| *there != role)).await
}

async fn change_member(call: &Call, apply: impl FnOnce(&mut Member, RoleId)) -> Answered {
    let user = call.named_user()?;
    let (guild, role) = named(call).await?;
    let mut member = Member::clone(guild.members.get(&user).ok_or(Refusal::UNKNOWN_MEMBER)?);
    apply(&mut member, role.id);
    change(call, guild.guild.id, GuildEvent::MemberPut(member)).await?;
    Ok(Answer::DONE)
}

async fn named(call: &Call) -> Result<(GuildState, Role), Refusal> {
    let id = RoleId(call.path.id("role")?);
    let guild = named_guild(call).await?;
    let role = guild.roles.get(&id).ok_or(Refusal::UNKNOWN_ROLE)?.clone();
    Ok((guild, role))
}

async fn put(call: &Call, guild: &GuildState, role: Role) -> Answered {
    change(call, guild.guild.id, GuildEvent::RolePut(role.clone())).await?;
    Ok(Answer::object(&api::Role::from(&role)))
}

/// Where a new role stands: lowest but for everyone's, and in any case below those who make it.
fn lowest_place(guild: &GuildState, maker: UserId) -> u32 {
    let roles = guild.members.get(&maker).map_or(&[][..], |member| &member.roles);
    let top = roles.iter().filter_map(|id| guild.roles.get(id)).map(|role| role.position).max();
    if guild.guild.owner_id == maker || top > Some(1) { 1 } else { 0 }
}

/// Writes what a body says over a role.
pub(super) fn apply(form: &mut Form, role: &mut Role) {
    if let Some(name) = form.text("name", limits::NAME) {
        role.name = name;
    }
    if let Some(permissions) = form.number("permissions") {
        role.permissions = Permissions(permissions);
    }
    // The newer way to say it wins.
    let newer = form.within("colors", |inner| color(inner, "primary_color")).flatten();
    if let Some(color) = newer.or(color(form, "color")) {
        role.color = color;
    }
    role.hoist = form.flag("hoist").unwrap_or(role.hoist);
    role.mentionable = form.flag("mentionable").unwrap_or(role.mentionable);
}

fn color(form: &mut Form, field: &str) -> Option<u32> {
    let color = form.number(field)?;
    if color > COLORS {
        form.fault(field, Fault::new("NUMBER_TYPE_MAX", format!("Must be {COLORS} or less.")));
        return None;
    }
    u32::try_from(color).ok()
}
