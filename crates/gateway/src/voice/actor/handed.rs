//! Sessions in voice that go on at other gateways: what is still to be done for them here.

use std::time::{Duration, Instant};

use clarion_model::id::UserId;
use clarion_proto::v1;

use super::{Actor, Do, LegKey};

/// How long a session that was handed over has to come to its next gateway, and how long its leaving may then take.
const COMES_WITHIN: Duration = Duration::from_secs(10);
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// A session that was in voice here and goes on elsewhere.
pub(super) struct HandedOver {
    user: UserId,
    /// When the next step is due: that it leaves, unless it is another gateway's by then; and that it is forgotten.
    due: Instant,
    leaving: bool,
    /// Where its media is.
    media: Option<(String, v1::Participant)>,
}

impl Actor {
    /// A session goes on elsewhere: nothing of its calls ends, unless it comes nowhere.
    pub(super) fn hand_over(&mut self, session: &str) {
        let asked = self.asking.iter_mut().filter(|((_, id), _)| id == session);
        asked.for_each(|(_, next)| *next = None);
        let due = Instant::now() + COMES_WITHIN;
        for (guild, user) in self.book.guilds_of(session) {
            let key = (guild, session.to_owned());
            let (media, what) = self.book.let_go(&key);
            self.act(what);
            self.handed.insert(key, HandedOver { user, due, leaving: false, media });
        }
    }

    /// Sessions that were handed over leave, if no other gateway has them by now.
    pub(super) fn let_go_of_late(&mut self, now: Instant) {
        let late = self.handed.iter_mut().filter(|(_, gone)| gone.due <= now && !gone.leaving);
        let late: Vec<(LegKey, UserId)> = late
            .map(|(key, gone)| {
                (gone.leaving, gone.due) = (true, now + LEAVES_WITHIN);
                (key.clone(), gone.user)
            })
            .collect();
        late.into_iter().for_each(|(key, user)| self.leave(key, user, true));
        self.handed.retain(|_, gone| gone.due > now);
    }

    /// A session that was handed over has left, and its next gateway may not have come to know of it.
    pub(super) fn end_media(&mut self, key: &LegKey) {
        if let Some((address, participant)) = self.handed.get_mut(key).and_then(|gone| gone.media.take()) {
            self.act_one(Do::Dismiss { address, participant });
        }
    }
}
