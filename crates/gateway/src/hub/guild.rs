//! A guild's replica with the sessions that are in it: what each event of its log makes them see. Pure.

mod listed;
mod missed;
mod structure;
mod voice;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use clarion_model::event::{GuildEvent, Transient};
use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::message::{Message, MessageView};
use clarion_model::presence::Presence;
use clarion_model::time::Timestamp;
use clarion_observability::metric::ChannelType;

use super::encode;
use super::follow::Follow;
use super::seats::Seat;
use super::watched::Watched;
use crate::api::dispatch;
use crate::frame::Dispatch;
use crate::intents::Intents;
use crate::outbox::Receipt;
use crate::shard::{Variant, Variants};
use crate::visibility::{Audience, Cohort, Listener, Listeners, Need, cohorts_of, is_public};

/// A followed guild.
#[derive(Debug)]
pub(super) struct GuildEntry {
    pub(super) follow: Follow,
    pub(super) state: Option<Arc<GuildState>>,
    /// Sessions are not let in until it is known who is there.
    pub(super) is_held: bool,
    /// Of a large guild: some who were there when that was asked last, and when that was.
    pub(super) listed: BTreeMap<UserId, Arc<Presence>>,
    pub(super) sampled_at: Option<Instant>,
    sampled_upto: usize,
    /// Of whom sessions are to hear.
    watched: BTreeSet<UserId>,
    /// Of a large guild: which sessions asked for whom.
    subscribers: HashMap<UserId, Vec<Seat>>,
    /// Since when nobody needs it.
    pub(super) idle_since: Option<Instant>,
    listeners: Listeners,
    by_user: HashMap<UserId, Vec<Seat>>,
    /// Sessions whose users' accounts list the guild, before the guild lists them.
    expected: Listeners,
    audience: Audience,
    voices: voice::Voices,
}

/// One dispatch and who gets it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) name: &'static str,
    pub(super) cohorts: Arc<[Cohort]>,
    pub(super) variants: Variants,
    pub(super) exceptions: Vec<(Seat, Variant)>,
    pub(super) receipt: Option<Receipt>,
    /// Names a new message.
    pub(super) message: Option<(Option<GuildId>, ChannelId, MessageId)>,
}

/// A session that is in the guild now, with what it is to be told.
pub(super) type Joined = (Seat, Option<Dispatch>);

impl Outgoing {
    /// The same for everybody.
    fn plain(name: &'static str, cohorts: Arc<[Cohort]>, dispatch: Dispatch) -> Self {
        let variants = Variants::default().with(Variant::Full, dispatch);
        Self { name, cohorts, variants, exceptions: Vec::new(), receipt: None, message: None }
    }
}

impl GuildEntry {
    /// A guild that nothing is known of.
    pub(super) fn new() -> Self {
        Self {
            follow: Follow::new(),
            state: None,
            is_held: false,
            listed: BTreeMap::new(),
            sampled_at: None,
            sampled_upto: 0,
            watched: BTreeSet::new(),
            subscribers: HashMap::new(),
            idle_since: None,
            listeners: Listeners::new(),
            by_user: HashMap::new(),
            expected: Listeners::new(),
            audience: Audience::default(),
            voices: voice::Voices::default(),
        }
    }

    /// Whether any session needs the guild.
    pub(super) fn is_needed(&self) -> bool {
        !self.listeners.is_empty() || !self.expected.is_empty()
    }

    /// The sessions in the guild or about to be.
    pub(super) fn seats(&self) -> Vec<Seat> {
        self.listeners.keys().chain(self.expected.keys()).copied().collect()
    }

    /// A session whose user's account lists the guild. Once the guild lists the user, too, the session is in.
    pub(super) fn expect(&mut self, seat: Seat, listener: Listener, presences: &Watched) -> Option<Joined> {
        self.idle_since = None;
        if self.listeners.contains_key(&seat) {
            return None;
        }
        self.expected.insert(seat, listener);
        self.admit(seat, presences)
    }

    /// Lets in those who were waiting for the guild's state.
    pub(super) fn admit_all(&mut self, presences: &Watched) -> Vec<Joined> {
        let expected: Vec<_> = self.expected.keys().copied().collect();
        expected.into_iter().filter_map(|seat| self.admit(seat, presences)).collect()
    }

    /// A session is in the guild that was told of it before.
    pub(super) fn adopt(&mut self, seat: Seat, listener: Listener) {
        self.idle_since = None;
        self.listeners.insert(seat, listener);
        self.by_user.entry(listener.user).or_default().push(seat);
        self.audience.forget_listeners();
    }

    /// Those who are to be told of the guild once it is known.
    pub(super) fn kept_waiting(&self) -> impl Iterator<Item = Seat> {
        let is_known = self.state.is_some() && !self.is_held;
        self.expected.keys().copied().filter(move |_| !is_known)
    }

    /// Whether a session is in the guild.
    pub(super) fn has(&self, seat: Seat) -> bool {
        self.listeners.contains_key(&seat)
    }

    /// A session is out of the guild. Answers the dispatch that says so, if it was in.
    pub(super) fn leave(&mut self, seat: Seat, guild: GuildId) -> Option<Dispatch> {
        self.expected.remove(&seat);
        let listener = self.drop_listener(seat)?;
        listener.intents.contains(Intents::GUILDS).then(|| dispatch::guild_delete(guild))
    }

    /// Takes a snapshot; `None`: there is no such guild.
    pub(super) fn replace(&mut self, state: Option<GuildState>) {
        self.state = state.map(Arc::new);
        self.audience = Audience::default();
    }

    /// Applies an event of the log. What sessions are told comes in the order in which they are to be told.
    pub(super) fn apply(&mut self, event: &GuildEvent, at: Timestamp) -> Vec<Outgoing> {
        let Some(state) = self.state.clone() else { return Vec::new() };
        match event {
            GuildEvent::MessageCreate(view) | GuildEvent::MessageUpdate(view) => {
                drop(state);
                self.change(event);
                let created = matches!(event, GuildEvent::MessageCreate(_));
                self.message(view, created, at).into_iter().collect()
            }
            GuildEvent::MessageDelete { channel_id, id } => {
                let dispatch = || dispatch::message_delete(Some(state.guild.id), *channel_id, *id);
                self.in_channel("MESSAGE_DELETE", *channel_id, Intents::GUILD_MESSAGES, dispatch)
            }
            GuildEvent::ReactionAdd(change) => {
                let dispatch = || dispatch::reaction_add(change, Some(&state));
                self.in_channel("MESSAGE_REACTION_ADD", change.channel_id, Intents::GUILD_MESSAGE_REACTIONS, dispatch)
            }
            GuildEvent::ReactionRemove(change) => {
                let dispatch = || dispatch::reaction_remove(change, Some(state.guild.id));
                let need = Intents::GUILD_MESSAGE_REACTIONS;
                self.in_channel("MESSAGE_REACTION_REMOVE", change.channel_id, need, dispatch)
            }
            _ => self.restructure(&state, event),
        }
    }

    /// Takes what rides beside the log.
    pub(super) fn ride(&mut self, event: &Transient) -> Vec<Outgoing> {
        let Some(state) = self.state.clone() else { return Vec::new() };
        match event {
            Transient::Typing { channel_id, user_id, at } => {
                let dispatch = || dispatch::typing_start(*channel_id, *user_id, *at, Some(&state));
                self.in_channel("TYPING_START", *channel_id, Intents::GUILD_MESSAGE_TYPING, dispatch)
            }
            Transient::Voice { state, .. } => self.voice(state),
        }
    }

    fn message(&mut self, view: &MessageView, created: bool, at: Timestamp) -> Option<Outgoing> {
        let state = self.state.clone()?;
        let message = &view.message;
        let need = Need { channel: Some(message.channel_id), intents: Intents::GUILD_MESSAGES, content: true };
        let cohorts = self.audience.of(&state, &self.listeners, need);
        if cohorts.is_empty() {
            return None;
        }
        let with_nonce = created && message.nonce.is_some();
        let exceptions: BTreeMap<Seat, Variant> = concerned(view)
            .filter_map(|user| self.by_user.get(&user))
            .flatten()
            .filter_map(|seat| Some((*seat, variant_for(self.listeners.get(seat)?, view, with_nonce))))
            .collect();
        let name = if created { "MESSAGE_CREATE" } else { "MESSAGE_UPDATE" };
        let stripped = cohorts.iter().any(|c| !c.stripped.is_empty()).then_some(Variant::Stripped);
        let needed = [Variant::Full].into_iter().chain(stripped).chain(exceptions.values().copied());
        let variants = needed.fold(Variants::default(), |made, variant| match made.has(variant) {
            true => made,
            false => made.with(variant, encode::message(created, view, &state, variant)),
        });
        let public = is_public(&state, message.channel_id);
        let channel = if public { ChannelType::Public } else { ChannelType::Private };
        Some(Outgoing {
            name,
            cohorts,
            variants,
            exceptions: exceptions.into_iter().collect(),
            receipt: created.then_some(Receipt { at, channel }),
            message: created.then_some((Some(state.guild.id), message.channel_id, message.id)),
        })
    }

    fn in_channel(
        &mut self,
        name: &'static str,
        channel: ChannelId,
        intents: Intents,
        dispatch: impl FnOnce() -> Dispatch,
    ) -> Vec<Outgoing> {
        self.tell_those(name, Need { channel: Some(channel), intents, content: false }, dispatch)
    }

    fn tell_all(&mut self, name: &'static str, intents: Intents, dispatch: impl FnOnce() -> Dispatch) -> Vec<Outgoing> {
        self.tell_those(name, Need { channel: None, intents, content: false }, dispatch)
    }

    fn tell_those(&mut self, name: &'static str, need: Need, dispatch: impl FnOnce() -> Dispatch) -> Vec<Outgoing> {
        let Some(state) = &self.state else { return Vec::new() };
        let cohorts = self.audience.of(state, &self.listeners, need);
        if cohorts.is_empty() {
            return Vec::new();
        }
        vec![Outgoing::plain(name, cohorts, dispatch())]
    }

    fn tell_seats(&self, name: &'static str, seats: Vec<Seat>, dispatch: Dispatch) -> Option<Outgoing> {
        (!seats.is_empty()).then(|| Outgoing::plain(name, cohorts_of(seats), dispatch))
    }

    fn admit(&mut self, seat: Seat, presences: &Watched) -> Option<Joined> {
        let state = self.state.as_ref().filter(|_| !self.is_held)?;
        let listener = self.expected.get(&seat).copied()?;
        if !state.members.contains_key(&listener.user) {
            return None;
        }
        let told = listener
            .intents
            .contains(Intents::GUILDS)
            .then(|| encode::guild_create(state, listener, &self.there(presences), self.voices.all()));
        self.expected.remove(&seat);
        self.adopt(seat, listener);
        Some((seat, told))
    }

    fn drop_listener(&mut self, seat: Seat) -> Option<Listener> {
        let listener = self.listeners.remove(&seat)?;
        if let Some(seats) = self.by_user.get_mut(&listener.user) {
            seats.retain(|s| *s != seat);
            if seats.is_empty() {
                self.by_user.remove(&listener.user);
            }
        }
        self.audience.forget_listeners();
        Some(listener)
    }

    fn change(&mut self, event: &GuildEvent) {
        if let Some(state) = &mut self.state {
            Arc::make_mut(state).apply(event);
        }
    }
}

/// Whoever reads a message, or the one it answers, whatever they asked for: who wrote it and who is mentioned.
fn concerned(view: &MessageView) -> impl Iterator<Item = UserId> {
    let messages = [Some(&view.message), view.referenced.as_deref().map(|answered| &answered.message)];
    messages.into_iter().flatten().flat_map(|said| said.mentions.iter().chain([&said.author]).map(|user| user.id))
}

/// The encoding of a message for one of the concerned.
fn variant_for(listener: &Listener, view: &MessageView, with_nonce: bool) -> Variant {
    let (user, asked) = (listener.user, listener.intents.contains(Intents::MESSAGE_CONTENT));
    let reads =
        |said: &Message| asked || said.author.id == user || said.mentions.iter().any(|mentioned| mentioned.id == user);
    let answered = view.referenced.as_deref().is_none_or(|answered| reads(&answered.message));
    let nonce = with_nonce && view.message.author.id == user;
    match (reads(&view.message), answered) {
        (true, true) if nonce => Variant::Author,
        (true, true) => Variant::Full,
        (true, false) if nonce => Variant::AuthorAlone,
        (true, false) => Variant::FullAlone,
        (false, true) => Variant::Answered,
        (false, false) => Variant::Stripped,
    }
}
