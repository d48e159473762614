//! Every statement of the store, prepared once. Values are bound, so a template has no literals and may be logged.

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};

/// Rows a page of a long answer has.
const PAGE: i32 = 500;

/// A statement, and what it says of itself.
pub(super) struct Statement {
    pub(super) prepared: PreparedStatement,
    pub(super) template: &'static str,
}

/// What a statement does, which decides how it may be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Reads, or writes what it has written before when it is sent again.
    Idempotent,
    /// Compares and sets: sent once.
    Cas,
}

macro_rules! statements {
    ($($name:ident: $kind:ident, $template:literal;)*) => {
        /// The statements by name.
        pub(super) struct Statements { $(pub(super) $name: Statement,)* }

        impl Statements {
            pub(super) async fn prepare(session: &Session) -> Result<Self, PrepareError> {
                Ok(Self { $($name: Statement::prepare(session, Kind::$kind, $template).await?,)* })
            }
        }
    };
}

statements! {
    // Slots.
    slot: Idempotent, "SELECT slot, epoch, owner FROM slots WHERE part = ? AND slot = ?";
    slots: Idempotent, "SELECT slot, epoch, owner FROM slots WHERE part = ?";
    slot_raise: Cas, "UPDATE slots SET epoch = ?, owner = ? WHERE part = ? AND slot = ? IF epoch = ?";

    // Logs.
    seals: Idempotent,
        "SELECT epoch, after_epoch, after_offset, last_id, stamp, trimmed_epoch, trimmed_offset, WRITETIME(trimmed_offset) AS trimmed_stamp FROM seals WHERE kind = ? AND id = ?";
    put_seal: Idempotent,
        "INSERT INTO seals (kind, id, epoch, after_epoch, after_offset, last_id, stamp) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    log_newest: Idempotent,
        "SELECT offset, stamp, last_id, applied_epoch, applied_offset FROM logs WHERE kind = ? AND id = ? AND epoch = ? ORDER BY epoch DESC, offset DESC LIMIT 1";
    log_at: Idempotent,
        "SELECT offset, stamp, last_id, applied_epoch, applied_offset FROM logs WHERE kind = ? AND id = ? AND epoch = ? AND offset = ?";
    log_after: Idempotent,
        "SELECT epoch, offset, stamp, body FROM logs WHERE kind = ? AND id = ? AND (epoch, offset) > (?, ?)";
    put_log: Idempotent,
        "INSERT INTO logs (kind, id, epoch, offset, stamp, last_id, applied_epoch, applied_offset, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    put_trimmed: Idempotent,
        "UPDATE seals USING TIMESTAMP ? SET trimmed_epoch = ?, trimmed_offset = ? WHERE kind = ? AND id = ?";
    delete_log_epochs: Idempotent, "DELETE FROM logs USING TIMESTAMP ? WHERE kind = ? AND id = ? AND epoch < ?";
    delete_log: Idempotent,
        "DELETE FROM logs USING TIMESTAMP ? WHERE kind = ? AND id = ? AND epoch = ? AND offset <= ?";
    delete_seals: Idempotent, "DELETE FROM seals USING TIMESTAMP ? WHERE kind = ? AND id = ? AND epoch < ?";

    log_keys: Idempotent, "SELECT DISTINCT kind, id FROM seals";
    growth: Idempotent, "SELECT at, kind, id FROM growth WHERE part = ? AND minute = ? AND at >= ?";
    put_growth: Idempotent, "INSERT INTO growth (part, minute, at, kind, id) VALUES (?, ?, ?, ?, ?)";

    // Messages.
    message: Idempotent, "SELECT id, body FROM messages WHERE channel = ? AND bucket = ? AND id = ?";
    messages_upto: Idempotent,
        "SELECT id, body FROM messages WHERE channel = ? AND bucket = ? AND id <= ? ORDER BY id DESC LIMIT ?";
    messages_count: Idempotent,
        "SELECT COUNT(*) FROM messages WHERE channel = ? AND bucket = ? AND id <= ?";
    messages_after: Idempotent,
        "SELECT id, body FROM messages WHERE channel = ? AND bucket = ? AND id > ? ORDER BY id ASC LIMIT ?";
    put_message: Idempotent,
        "INSERT INTO messages (channel, bucket, id, body) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    delete_message: Idempotent,
        "DELETE FROM messages USING TIMESTAMP ? WHERE channel = ? AND bucket = ? AND id = ?";
    buckets_upto: Idempotent,
        "SELECT bucket FROM buckets WHERE channel = ? AND bucket <= ? ORDER BY bucket DESC LIMIT ?";
    buckets_from: Idempotent,
        "SELECT bucket FROM buckets WHERE channel = ? AND bucket >= ? ORDER BY bucket ASC LIMIT ?";
    put_bucket: Idempotent, "INSERT INTO buckets (channel, bucket) VALUES (?, ?) USING TIMESTAMP ?";
    reactions: Idempotent,
        "SELECT message, emoji_id, user, name, place FROM reactions WHERE channel = ? AND bucket = ? AND message >= ? AND message <= ?";
    put_reaction: Idempotent,
        "INSERT INTO reactions (channel, bucket, message, emoji_id, emoji_text, user, name, place) VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_reaction: Idempotent,
        "DELETE FROM reactions USING TIMESTAMP ? WHERE channel = ? AND bucket = ? AND message = ? AND emoji_id = ? AND emoji_text = ? AND user = ?";
    delete_reactions: Idempotent,
        "DELETE FROM reactions USING TIMESTAMP ? WHERE channel = ? AND bucket = ? AND message = ?";
    nonce: Idempotent, "SELECT message, at FROM nonces WHERE channel = ? AND author = ? AND nonce = ?";
    put_nonce: Idempotent,
        "INSERT INTO nonces (channel, author, nonce, message, at) VALUES (?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?";

    // Guilds, accounts, routes.
    state: Idempotent, "SELECT part, sub, body FROM states WHERE kind = ? AND id = ?";
    put_state: Idempotent,
        "INSERT INTO states (kind, id, part, sub, body) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_state: Idempotent,
        "DELETE FROM states USING TIMESTAMP ? WHERE kind = ? AND id = ? AND part = ? AND sub = ?";
    delete_states: Idempotent,
        "DELETE FROM states USING TIMESTAMP ? WHERE kind = ? AND id = ? AND part = ? AND sub >= ? AND sub <= ?";
    route: Idempotent, "SELECT kind, id FROM routes WHERE channel = ?";
    put_route: Idempotent, "INSERT INTO routes (channel, kind, id) VALUES (?, ?, ?) USING TIMESTAMP ?";
    delete_route: Idempotent, "DELETE FROM routes USING TIMESTAMP ? WHERE channel = ?";
}

impl Statement {
    async fn prepare(session: &Session, kind: Kind, template: &'static str) -> Result<Self, PrepareError> {
        let mut prepared = session.prepare(template).await?;
        prepared.set_page_size(PAGE);
        prepared.set_is_idempotent(kind != Kind::Cas);
        prepared.set_consistency(Consistency::Quorum);
        prepared.set_serial_consistency(Some(SerialConsistency::Serial));
        Ok(Self { prepared, template })
    }
}
