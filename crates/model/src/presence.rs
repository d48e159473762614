//! Whether somebody is there, and what they say they do. Several words about one user make one: the strongest counts.

/// A user's status, as a client sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// There.
    Online,
    /// There, away from the keys.
    Idle,
    /// There, not to be disturbed.
    Dnd,
    /// There, not to be seen: others see offline.
    Invisible,
    /// Not there.
    #[default]
    Offline,
}

/// What kind of device a session is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// A program on a computer.
    Desktop,
    /// A telephone or tablet.
    Mobile,
    /// A browser, or a bot.
    #[default]
    Web,
}

/// The status on each kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Devices {
    /// On computers.
    pub desktop: Status,
    /// On telephones.
    pub mobile: Status,
    /// In browsers, and of bots.
    pub web: Status,
}

/// Something a user says they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What, up to 128 characters.
    pub name: String,
    /// The API's number for the kind (0 playing, 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing).
    pub kind: u8,
    /// The text of a custom status.
    pub state: Option<String>,
    /// A link, for streaming.
    pub url: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// Status and activities together. The default is offline and doing nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    /// The status.
    pub status: Status,
    /// The activities, newest first.
    pub activities: Vec<Activity>,
    /// The status by kind of device.
    pub devices: Devices,
}

/// Most activities of one user.
pub const ACTIVITIES: usize = 5;

impl Status {
    /// Who is there on one device and away on another is there; who wants quiet says so for all devices. Who wants not to
    /// be seen says so for that device alone: a forgotten one does not hide who says that they are there on another.
    pub fn strength(self) -> u8 {
        match self {
            Status::Offline => 0,
            Status::Invisible => 1,
            Status::Idle => 2,
            Status::Online => 3,
            Status::Dnd => 4,
        }
    }

    /// The stronger of two.
    pub fn stronger(self, other: Self) -> Self {
        if other.strength() > self.strength() { other } else { self }
    }

    /// What others see.
    pub fn shown(self) -> Self {
        if self == Status::Invisible { Status::Offline } else { self }
    }
}

impl Devices {
    /// One kind of device.
    pub fn one(device: Device, status: Status) -> Self {
        let mut devices = Self::default();
        *devices.of(device) = status;
        devices
    }

    /// The status on a kind of device.
    pub fn of(&mut self, device: Device) -> &mut Status {
        match device {
            Device::Desktop => &mut self.desktop,
            Device::Mobile => &mut self.mobile,
            Device::Web => &mut self.web,
        }
    }

    fn each(self, other: Self, f: impl Fn(Status, Status) -> Status) -> Self {
        Self {
            desktop: f(self.desktop, other.desktop),
            mobile: f(self.mobile, other.mobile),
            web: f(self.web, other.web),
        }
    }
}

impl Presence {
    /// What several words about one user come to. Activities are those of the strongest words first, each once, and none
    /// of words that are not to be seen.
    pub fn merge<'a>(words: impl IntoIterator<Item = &'a Presence>) -> Self {
        let mut words: Vec<&Presence> = words.into_iter().collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.status.strength()));
        let mut merged = Self::default();
        for word in words {
            merged.status = merged.status.stronger(word.status);
            merged.devices = merged.devices.each(word.devices, Status::stronger);
            if word.status.shown() == Status::Offline {
                continue;
            }
            for activity in &word.activities {
                let is_same = |known: &Activity| (known.kind, &known.name) == (activity.kind, &activity.name);
                if merged.activities.len() < ACTIVITIES && !merged.activities.iter().any(is_same) {
                    merged.activities.push(activity.clone());
                }
            }
        }
        merged
    }

    /// What others see of it.
    pub fn shown(mut self) -> Self {
        self.status = self.status.shown();
        self.devices = self.devices.each(Devices::default(), |own, _| own.shown());
        if self.status == Status::Offline {
            self.activities = Vec::new();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(device: Device, status: Status, activities: &[&str]) -> Presence {
        let activity =
            |name: &&str| Activity { name: (*name).to_owned(), kind: 0, state: None, url: None, created_at_ms: 1 };
        Presence {
            status,
            activities: activities.iter().map(activity).collect(),
            devices: Devices::one(device, status),
        }
    }

    #[test]
    fn the_strongest_word_counts() {
        let weak_to_strong = [Status::Offline, Status::Invisible, Status::Idle, Status::Online, Status::Dnd];
        for (n, weak) in weak_to_strong.iter().enumerate() {
            for strong in &weak_to_strong[n..] {
                assert_eq!((weak.stronger(*strong), strong.stronger(*weak)), (*strong, *strong));
            }
        }
        let both =
            [word(Device::Mobile, Status::Idle, &["a", "b"]), word(Device::Desktop, Status::Online, &["b", "c"])];
        let merged = Presence::merge(&both);
        assert_eq!(merged.status, Status::Online);
        assert_eq!(merged.devices, Devices { desktop: Status::Online, mobile: Status::Idle, web: Status::Offline });
        assert_eq!(merged.activities.iter().map(|a| &a.name[..]).collect::<Vec<_>>(), ["b", "c", "a"]);
    }

    #[test]
    fn who_wants_not_to_be_seen_on_one_device_shows_nothing_of_it() {
        let hidden = word(Device::Web, Status::Invisible, &["secret"]);
        let alone = Presence::merge([&hidden]);
        assert_eq!((alone.status, alone.clone().shown()), (Status::Invisible, Presence::default()));
        let both = Presence::merge([&hidden, &word(Device::Mobile, Status::Idle, &[])]).shown();
        assert_eq!((both.status, both.activities.len()), (Status::Idle, 0));
        assert_eq!(both.devices, Devices::one(Device::Mobile, Status::Idle));
    }
}
