//! Presences.

use clarion_model::presence::{Activity, Devices, Presence, Status};

use super::{Invalid, all, each};
use crate::v1;

impl From<Status> for v1::Status {
    fn from(status: Status) -> Self {
        match status {
            Status::Online => Self::Online,
            Status::Idle => Self::Idle,
            Status::Dnd => Self::Dnd,
            Status::Invisible => Self::Invisible,
            Status::Offline => Self::Offline,
        }
    }
}

impl From<v1::Status> for Status {
    fn from(status: v1::Status) -> Self {
        match status {
            v1::Status::Online => Self::Online,
            v1::Status::Idle => Self::Idle,
            v1::Status::Dnd => Self::Dnd,
            v1::Status::Invisible => Self::Invisible,
            v1::Status::Offline => Self::Offline,
        }
    }
}

impl From<&Activity> for v1::Activity {
    fn from(activity: &Activity) -> Self {
        Self {
            name: activity.name.clone(),
            kind: activity.kind.into(),
            state: activity.state.clone(),
            url: activity.url.clone(),
            created_at_ms: activity.created_at_ms,
        }
    }
}

impl TryFrom<v1::Activity> for Activity {
    type Error = Invalid;
    fn try_from(activity: v1::Activity) -> Result<Self, Invalid> {
        Ok(Self {
            name: activity.name,
            kind: activity.kind.try_into().map_err(|_| Invalid("activity.kind"))?,
            state: activity.state,
            url: activity.url,
            created_at_ms: activity.created_at_ms,
        })
    }
}

impl From<&Presence> for v1::Presence {
    fn from(presence: &Presence) -> Self {
        let of = |status| v1::Status::from(status).into();
        let Devices { desktop, mobile, web } = presence.devices;
        let devices = v1::Devices { desktop: of(desktop), mobile: of(mobile), web: of(web) };
        Self {
            status: of(presence.status),
            activities: each(&presence.activities),
            devices: (presence.devices != Devices::default()).then_some(devices),
        }
    }
}

impl TryFrom<v1::Presence> for Presence {
    type Error = Invalid;
    fn try_from(presence: v1::Presence) -> Result<Self, Invalid> {
        let devices = presence.devices.unwrap_or_default();
        Ok(Self {
            status: status(presence.status, "presence.status")?,
            activities: all(presence.activities)?,
            devices: Devices {
                desktop: status(devices.desktop, "presence.devices.desktop")?,
                mobile: status(devices.mobile, "presence.devices.mobile")?,
                web: status(devices.web, "presence.devices.web")?,
            },
        })
    }
}

fn status(number: i32, field: &'static str) -> Result<Status, Invalid> {
    v1::Status::try_from(number).map(Status::from).map_err(|_| Invalid(field))
}
