//! The voice sessions of this gateway: where each is to be, where it is, and what follows from what happens. Pure.
//!
//! A leg is one session in one guild's voice. What is wanted of it comes from the guild's owner; it is placed on a server,
//! admitted there, and told so. Whatever fails is tried again for as long as it is wanted.

mod moved;
mod servers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_proto::v1;

use crate::api::{Slot, VoiceHeard, VoiceServer, dispatch};
use crate::frame::Dispatch;
pub(crate) use moved::Found;

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Rooms of which it is remembered who is heard. Beyond it all are forgotten until the next change.
const ROOMS: usize = 16_384;

/// A session, in a guild.
pub(crate) type LegKey = (GuildId, String);

/// What is wanted of a leg.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) user: UserId,
    /// A person is told of what is Clarion's own; a bot is not.
    pub(crate) person: bool,
    pub(crate) channel: ChannelId,
    /// Most people in the room; zero for no limit.
    pub(crate) capacity: u32,
    /// Where it should be; empty for anywhere.
    pub(crate) region: String,
    pub(crate) permissions: v1::VoicePermissions,
    pub(crate) traceparent: String,
}

/// A session was let into a room.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) server: v1::VoiceServer,
    pub(crate) admission: v1::AdmitResponse,
    pub(crate) participant: v1::Participant,
    /// What it may do there.
    pub(crate) permissions: v1::VoicePermissions,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    /// Find the server on which a leg is already. Answered by [`Book::found`] with the same turn.
    Find {
        key: LegKey,
        turn: u64,
        wanted: Wanted,
    },
    /// Find a server and be admitted. Answered by [`Book::placed`] with the same turn.
    Place {
        key: LegKey,
        turn: u64,
        wanted: Wanted,
    },
    /// Say what a participant may do. Answered by [`Book::allowed`].
    Allow {
        address: String,
        key: LegKey,
        turn: u64,
        request: v1::AllowRequest,
        before: v1::VoicePermissions,
    },
    /// End a participant's media.
    Dismiss {
        address: String,
        participant: v1::Participant,
    },
    /// Tell the session.
    Push {
        session: String,
        dispatch: Dispatch,
        may_be_lost: bool,
    },
    /// The session is in voice no more: tell the guild's owner.
    Leave {
        key: LegKey,
        user: UserId,
    },
    /// Listen to a server, or stop.
    Attend {
        server: String,
        address: String,
    },
    Unattend {
        server: String,
    },
}

#[derive(Debug)]
struct Leg {
    wanted: Wanted,
    /// Tells an answer from one to an earlier question.
    turn: u64,
    at: At,
    attempts: u32,
}

#[derive(Debug)]
enum At {
    /// It was here already when it came to this gateway: where is asked.
    Finding,
    Placing,
    Waiting {
        until: Instant,
    },
    On {
        server: String,
        said: v1::VoicePermissions,
        saying: bool,
    },
}

#[derive(Debug)]
struct Server {
    address: String,
    url: String,
    region: String,
    /// The router names it.
    listed: bool,
    draining: bool,
    /// It is being listened to, and what it says arrives.
    attending: bool,
    heard: bool,
}

/// All legs and the servers they are on.
#[derive(Debug, Default)]
pub(crate) struct Book {
    legs: HashMap<LegKey, Leg>,
    rooms: HashMap<ChannelId, BTreeSet<LegKey>>,
    servers: BTreeMap<String, Server>,
    /// Who is heard, by room and server.
    slots: HashMap<ChannelId, (String, Vec<v1::SlotHeard>)>,
    turns: u64,
}

impl Book {
    /// The rooms in which sessions are, and on which servers.
    pub(crate) fn rooms(&self) -> BTreeSet<(ChannelId, String)> {
        let on = |leg: &Leg| match &leg.at {
            At::On { server, .. } => Some((leg.wanted.channel, server.clone())),
            At::Finding | At::Placing | At::Waiting { .. } => None,
        };
        self.legs.values().filter_map(on).collect()
    }

    /// The guilds in whose voice a session is.
    pub(crate) fn guilds_of(&self, session: &str) -> Vec<(GuildId, UserId)> {
        let theirs = self.legs.iter().filter(|((_, id), _)| id == session);
        theirs.map(|((guild, _), leg)| (*guild, leg.wanted.user)).collect()
    }

    /// Whether a session is in this room already, in this way.
    pub(crate) fn is_there(&self, key: &LegKey, channel: ChannelId, self_mute: bool, self_deaf: bool) -> bool {
        self.legs.get(key).is_some_and(|leg| {
            let said = &leg.wanted.permissions;
            leg.wanted.channel == channel && (said.self_mute, said.self_deaf) == (self_mute, self_deaf)
        })
    }

    /// What the guild's owner says of a session. `None`: it is in no voice channel any more.
    pub(crate) fn want(&mut self, key: &LegKey, wanted: Option<Wanted>) -> Vec<Do> {
        let Some(wanted) = wanted else { return self.remove(key) };
        let mut out = Vec::new();
        let same_room = self.legs.get(key).is_some_and(|leg| leg.wanted.channel == wanted.channel);
        if same_room {
            if let Some(leg) = self.legs.get_mut(key) {
                leg.wanted = wanted;
            }
            out.extend(self.say_permissions(key));
            return out;
        }
        out.extend(self.remove(key));
        self.rooms.entry(wanted.channel).or_default().insert(key.clone());
        let leg = Leg { wanted, turn: 0, at: At::Placing, attempts: 0 };
        self.legs.insert(key.clone(), leg);
        out.extend(self.place(key));
        out
    }

    /// A session that is there asks for another way to its room.
    pub(crate) fn rejoin(&mut self, key: &LegKey) -> Vec<Do> {
        match self.legs.get(key).map(|leg| &leg.at) {
            Some(At::Finding | At::On { .. } | At::Waiting { .. }) => self.place(key).into_iter().collect(),
            Some(At::Placing) | None => Vec::new(),
        }
    }

    /// An attempt to enter a room has ended.
    pub(crate) fn placed(&mut self, key: &LegKey, turn: u64, result: Option<Admitted>, now: Instant) -> Vec<Do> {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.turn == turn) else {
            return result.map(|admitted| self.superfluous(key, admitted)).unwrap_or_default();
        };
        let channel = leg.wanted.channel;
        let Some(Admitted { server, admission, permissions, .. }) = result else {
            let delay = (FIRST_DELAY * (1 << leg.attempts.min(8))).min(LONGEST_DELAY);
            leg.attempts += 1;
            leg.at = At::Waiting { until: now + delay };
            // Once is enough: until another one is named there is none.
            return if leg.attempts == 1 { vec![nowhere(key, channel)] } else { Vec::new() };
        };
        leg.attempts = 0;
        leg.at = At::On { server: server.instance.clone(), said: permissions, saying: false };
        let person = leg.wanted.person;
        let told = VoiceServer {
            token: &admission.token,
            guild_id: key.0.into(),
            endpoint: Some(&admission.endpoint),
            channel_id: channel.into(),
            session_id: &key.1,
            url: Some(&admission.url),
        };
        let mut out = vec![push(key, dispatch::voice_server_update(&told))];
        out.extend(self.attend(&server));
        if person && let Some((_, slots)) = self.slots.get(&channel).filter(|(at, _)| *at == server.instance) {
            out.push(heard(key, channel, slots));
        }
        out.extend(self.say_permissions(key));
        out
    }

    /// Saying what a participant may do has ended: done, not admitted there, or failed.
    pub(crate) fn allowed(&mut self, key: &LegKey, turn: u64, result: Result<(), NotAllowed>) -> Vec<Do> {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.turn == turn) else { return Vec::new() };
        let At::On { saying, said, .. } = &mut leg.at else { return Vec::new() };
        *saying = false;
        match result {
            Ok(()) => self.say_permissions(key).into_iter().collect(),
            Err(NotAllowed::NotThere) => self.moved(key),
            Err(NotAllowed::Failed(before)) => {
                // Said again at the next tick.
                *said = before;
                Vec::new()
            }
        }
    }

    /// A server says that a participant's media have ended.
    pub(crate) fn left(&mut self, server: &str, left: &v1::ParticipantLeft) -> Vec<Do> {
        let Some(participant) = &left.participant else { return Vec::new() };
        let key = self
            .rooms
            .get(&ChannelId(participant.channel_id))
            .and_then(|keys| keys.iter().find(|(_, session)| *session == participant.session_id).cloned());
        let Some((key, leg)) = key.and_then(|key| Some((key.clone(), self.legs.get(&key)?))) else { return Vec::new() };
        if !matches!(&leg.at, At::On { server: on, .. } if on == server) {
            return Vec::new();
        }
        let user = leg.wanted.user;
        match left.reason.as_str() {
            // It was this gateway's word, and about an earlier admission.
            "dismissed" => Vec::new(),
            "drained" => self.moved(&key),
            _ => {
                self.forget(&key);
                let mut out = vec![Do::Leave { key, user }];
                out.extend(self.unattend());
                out
            }
        }
    }

    /// What is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Do> {
        let due = |leg: &Leg| matches!(leg.at, At::Waiting { until } if until <= now);
        let keys: Vec<LegKey> = self.legs.iter().filter(|(_, leg)| due(leg)).map(|(key, _)| key.clone()).collect();
        let mut out: Vec<Do> = keys.iter().flat_map(|key| self.place(key)).collect();
        let all: Vec<LegKey> = self.legs.keys().cloned().collect();
        out.extend(all.iter().flat_map(|key| self.say_permissions(key)));
        out
    }

    /// When something is due next, if anything is.
    pub(crate) fn due(&self) -> Option<Instant> {
        let until = |leg: &Leg| if let At::Waiting { until } = leg.at { Some(until) } else { None };
        self.legs.values().filter_map(until).min()
    }

    fn place(&mut self, key: &LegKey) -> Option<Do> {
        let leg = self.legs.get_mut(key)?;
        self.turns += 1;
        leg.turn = self.turns;
        leg.at = At::Placing;
        Some(Do::Place { key: key.clone(), turn: leg.turn, wanted: leg.wanted.clone() })
    }

    fn say_permissions(&mut self, key: &LegKey) -> Option<Do> {
        self.say(key, false)
    }

    fn say(&mut self, key: &LegKey, anew: bool) -> Option<Do> {
        let leg = self.legs.get_mut(key)?;
        let At::On { server, said, saying } = &mut leg.at else { return None };
        if *saying || (*said == leg.wanted.permissions && !anew) {
            return None;
        }
        let before = std::mem::replace(said, leg.wanted.permissions);
        *saying = true;
        let address = self.servers.get(server)?.address.clone();
        let request = v1::AllowRequest {
            participant: Some(participant(key, &leg.wanted)),
            permissions: Some(leg.wanted.permissions),
            // In whose name it is said the book does not know.
            ..v1::AllowRequest::default()
        };
        Some(Do::Allow { address, key: key.clone(), turn: leg.turn, request, before })
    }

    /// A leg has to go to another server, or to the same one again.
    fn moved(&mut self, key: &LegKey) -> Vec<Do> {
        let Some(channel) = self.legs.get(key).map(|leg| leg.wanted.channel) else { return Vec::new() };
        let mut out = vec![nowhere(key, channel)];
        out.extend(self.place(key));
        out
    }

    fn remove(&mut self, key: &LegKey) -> Vec<Do> {
        let Some(leg) = self.forget(key) else { return Vec::new() };
        let mut out = Vec::new();
        if let At::On { server, .. } = &leg.at
            && let Some(server) = self.servers.get(server)
        {
            let participant = participant(key, &leg.wanted);
            out.push(Do::Dismiss { address: server.address.clone(), participant });
        }
        out.extend(self.unattend());
        out
    }

    fn forget(&mut self, key: &LegKey) -> Option<Leg> {
        let leg = self.legs.remove(key)?;
        if let Some(keys) = self.rooms.get_mut(&leg.wanted.channel) {
            keys.remove(key);
            if keys.is_empty() {
                self.rooms.remove(&leg.wanted.channel);
            }
        }
        Some(leg)
    }

    /// Whether a session is to be in a room.
    fn wants(&self, key: &LegKey, participant: &v1::Participant) -> bool {
        self.legs.get(key).is_some_and(|leg| leg.wanted.channel.0 == participant.channel_id)
    }

    /// A session was let in that does not want it any more, unless another attempt is about the same room.
    fn superfluous(&self, key: &LegKey, admitted: Admitted) -> Vec<Do> {
        let Admitted { server, participant, .. } = admitted;
        if self.wants(key, &participant) {
            Vec::new()
        } else {
            vec![Do::Dismiss { address: server.address, participant }]
        }
    }
}

/// Why a participant was not told what it may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NotAllowed {
    /// It is not admitted there.
    NotThere,
    /// Nobody knows; this was said before.
    Failed(v1::VoicePermissions),
}

/// A session in a room, as voice servers know it.
pub(super) fn participant(key: &LegKey, wanted: &Wanted) -> v1::Participant {
    v1::Participant { channel_id: wanted.channel.0, user_id: wanted.user.0, session_id: key.1.clone() }
}

fn push(key: &LegKey, dispatch: Dispatch) -> Do {
    Do::Push { session: key.1.clone(), dispatch, may_be_lost: false }
}

fn nowhere(key: &LegKey, channel: ChannelId) -> Do {
    push(key, dispatch::voice_server_update(&VoiceServer::none(key.0, channel, &key.1)))
}

fn heard(key: &LegKey, channel: ChannelId, slots: &[v1::SlotHeard]) -> Do {
    let slots = slots.iter().map(|heard| Slot {
        slot: heard.slot,
        user_id: UserId(heard.user_id).into(),
        speaking: heard.speaking,
    });
    let told = VoiceHeard { guild_id: key.0.into(), channel_id: channel.into(), slots: slots.collect() };
    Do::Push { session: key.1.clone(), dispatch: dispatch::voice_heard(&told), may_be_lost: true }
}
