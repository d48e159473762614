//! Accounts.

use clarion_model::user::User as Account;
use serde::Serialize;

use super::{Id, Null};

/// An account as others see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct User<'a> {
    id: Id,
    username: &'a str,
    discriminator: &'static str,
    global_name: Option<&'a str>,
    avatar: Null,
    bot: bool,
    public_flags: u32,
    flags: u32,
    avatar_decoration_data: Null,
    primary_guild: Null,
}

/// An account as it sees itself.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Me<'a> {
    #[serde(flatten)]
    user: User<'a>,
    system: bool,
    mfa_enabled: bool,
    banner: Null,
    accent_color: Null,
    verified: bool,
    email: Null,
    premium_type: u8,
    locale: &'static str,
}

impl<'a> From<&'a Account> for User<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            id: account.id.into(),
            username: &account.username,
            discriminator: "0",
            global_name: account.global_name.as_deref(),
            avatar: None,
            bot: account.bot,
            public_flags: 0,
            flags: 0,
            avatar_decoration_data: None,
            primary_guild: None,
        }
    }
}

impl<'a> From<&'a Account> for Me<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            user: account.into(),
            system: false,
            mfa_enabled: true,
            banner: None,
            accent_color: None,
            verified: true,
            email: None,
            premium_type: 0,
            locale: "en-US",
        }
    }
}
