//! What later commands must know of the latest ones, while these are on their way and a little longer.
//!
//! A command's subject is read from the store some time before the command is decided. In between at most
//! [`WINDOW`] other commands are decided; as more than those are remembered here, what is remembered here wins over what
//! was read, and both together are exact.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::Position;
use clarion_model::message::{MessageView, Nonce};

/// Most commands of a key that are between the read of their subject and their end.
pub(crate) const WINDOW: usize = 128;

/// By whom and where a nonce was used. A number is the same as its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct NonceKey(ChannelId, UserId, String);

/// Subjects of the latest commands.
#[derive(Debug)]
pub(super) struct Recent {
    messages: Latest<(ChannelId, MessageId), Option<MessageView>>,
    nonces: Latest<NonceKey, Used>,
    /// Purges: where, whose, and the last message that each took; with the first.
    purges: Latest<(ChannelId, UserId, MessageId), MessageId>,
}

/// A nonce that was used a moment ago.
#[derive(Debug, Clone)]
pub(super) struct Used {
    /// The entry that makes the message.
    pub(super) position: Position,
    /// The message as it was made.
    pub(super) view: MessageView,
}

/// The latest entries of a map, a bounded number of them.
#[derive(Debug)]
struct Latest<K, V> {
    values: HashMap<K, (u64, V)>,
    order: VecDeque<(u64, K)>,
    count: u64,
}

impl NonceKey {
    pub(super) fn new(channel: ChannelId, author: UserId, nonce: &Nonce) -> Self {
        let text = match nonce {
            Nonce::Text(text) => text.clone(),
            Nonce::Number(number) => number.to_string(),
        };
        Self(channel, author, text)
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { messages: Latest::new(), nonces: Latest::new(), purges: Latest::new() }
    }
}

impl Recent {
    /// The message as the latest command leaves it, or as it was read.
    pub(super) fn message(&self, channel: ChannelId, id: MessageId, read: Option<MessageView>) -> Option<MessageView> {
        let view = match self.messages.get(&(channel, id)) {
            Some(latest) => latest.clone(),
            None => read,
        };
        view.filter(|view| !self.is_purged(channel, view.message.author.id, id))
    }

    /// Whether the latest commands took a message of an author away.
    pub(super) fn is_gone(&self, channel: ChannelId, author: UserId, id: MessageId) -> bool {
        matches!(self.messages.get(&(channel, id)), Some(None)) || self.is_purged(channel, author, id)
    }

    /// A command takes away all that an author said in a channel from one message to another.
    pub(super) fn purge(&mut self, channel: ChannelId, author: UserId, first: MessageId, last: MessageId) {
        self.purges.put((channel, author, last), first);
    }

    fn is_purged(&self, channel: ChannelId, author: UserId, id: MessageId) -> bool {
        let took = |((place, whose, last), (_, first)): (&(ChannelId, UserId, MessageId), &(u64, MessageId))| {
            (*place, *whose) == (channel, author) && (*first..=*last).contains(&id)
        };
        self.purges.values.iter().any(took)
    }

    /// A command leaves a message so; `None` when it deletes it. What it refers to is not kept.
    pub(super) fn touch(&mut self, channel: ChannelId, id: MessageId, view: Option<&MessageView>) {
        let bare = view.map(|view| MessageView {
            message: view.message.clone(),
            reactions: view.reactions.clone(),
            referenced: None,
        });
        self.messages.put((channel, id), bare);
    }

    pub(super) fn nonce(&self, key: &NonceKey) -> Option<&Used> {
        self.nonces.get(key)
    }

    pub(super) fn use_nonce(&mut self, key: NonceKey, used: Used) {
        self.nonces.put(key, used);
    }
}

impl<K: Hash + Eq + Clone, V> Latest<K, V> {
    const KEPT: usize = 2 * WINDOW;

    fn new() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), count: 0 }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    fn put(&mut self, key: K, value: V) {
        self.count += 1;
        self.values.insert(key.clone(), (self.count, value));
        self.order.push_back((self.count, key));
        if self.order.len() > Self::KEPT
            && let Some((count, key)) = self.order.pop_front()
            && self.values.get(&key).is_some_and(|(latest, _)| *latest == count)
        {
            self.values.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_no_more() {
        let mut latest = Latest::new();
        latest.put(0, "old");
        for i in 1..=Latest::<i32, &str>::KEPT as i32 {
            if i == 5 {
                latest.put(0, "again");
            }
            latest.put(i, "new");
        }
        assert_eq!(latest.get(&0), Some(&"again"));
        assert_eq!(latest.get(&1), None);
        assert!(latest.values.len() <= Latest::<i32, &str>::KEPT);
    }
}
