//! Writing: changes become operations of one commit, after which readers see them.

use std::ops::{Bound, RangeInclusive};

use clarion_model::id::{ChannelId, GuildId};
use tantivy::indexer::UserOperation;
use tantivy::query::{BooleanQuery, Occur, Query, RangeQuery, TermQuery, TermSetQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{IndexWriter, Term};

use super::schema::{Fields, key_mark};
use super::{Embedded, blocking, failed, lock};
use crate::index::{Change, IndexError};

impl Embedded {
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), IndexError> {
        let (writer, reader, fields) = (self.writer.clone(), self.reader.clone(), self.fields);
        let (path, min_free) = (self.path.clone(), self.min_free);
        blocking(move || {
            Self::look(&path)?;
            if !Self::has_room(&path, min_free) {
                return Err(IndexError::Full("its disk is nearly full".into()));
            }
            let mut writer = lock(&writer);
            let written = apply(&mut writer, &fields, changes).and_then(|()| writer.commit().map(|_| ()));
            if let Err(error) = written {
                // Nothing of it may come with the next commit.
                if let Err(error) = writer.rollback().and_then(|_| begin(&writer)) {
                    return Err(IndexError::Lost(error.to_string()));
                }
                Self::look(&path)?;
                return Err(failed(error));
            }
            reader.reload().map_err(failed)
        })
        .await
    }
}

/// Before the first change of a writer that was opened or rolled back: uses up the number of the last commit.
///
/// tantivy gives changes numbers from that of the last commit on, that one included. A merge then takes the first of them
/// for a part of that commit: segments from which the commit removed something are passed over, as up to date, and what
/// they are merged into is taken to have it. A removal would be lost.
pub(super) fn begin(writer: &IndexWriter) -> tantivy::Result<()> {
    writer.run(Vec::<UserOperation>::new()).map(drop)
}

pub(super) fn apply(writer: &mut IndexWriter, fields: &Fields, changes: Vec<Change>) -> tantivy::Result<()> {
    for change in changes {
        match change {
            Change::Add(message) => {
                writer.add_document(fields.document(&message))?;
            }
            Change::Put(message) => {
                writer.delete_term(Term::from_field_u64(fields.id, message.id.0));
                writer.add_document(fields.document(&message))?;
            }
            Change::Delete(id) => {
                writer.delete_term(Term::from_field_u64(fields.id, id.0));
            }
            Change::Clear(channel, ids) => {
                writer.delete_query(Box::new(of_channel(fields, channel, ids)))?;
            }
            Change::Keep(guild, channels) => {
                writer.delete_query(Box::new(elsewhere(fields, guild, channels)))?;
            }
            Change::Progress(progress) => {
                writer.delete_term(fields.mark(&key_mark(progress.key)));
                writer.add_document(fields.progress_document(&progress))?;
            }
        }
    }
    Ok(())
}

/// The messages of a channel whose ids lie in a range.
pub(super) fn of_channel(fields: &Fields, channel: ChannelId, ids: RangeInclusive<u64>) -> BooleanQuery {
    let channel = TermQuery::new(Term::from_field_u64(fields.channel, channel.0), IndexRecordOption::Basic);
    if ids == (0..=u64::MAX) {
        return BooleanQuery::intersection(vec![Box::new(channel)]);
    }
    let bound = |id| Bound::Included(Term::from_field_u64(fields.id, id));
    let ids = RangeQuery::new(bound(*ids.start()), bound(*ids.end()));
    BooleanQuery::intersection(vec![Box::new(channel), Box::new(ids)])
}

/// The messages of a guild that lie in none of these channels.
fn elsewhere(fields: &Fields, guild: GuildId, channels: Vec<ChannelId>) -> BooleanQuery {
    let guild = TermQuery::new(Term::from_field_u64(fields.guild, guild.0), IndexRecordOption::Basic);
    let mut parts: Vec<(Occur, Box<dyn Query>)> = vec![(Occur::Must, Box::new(guild))];
    if !channels.is_empty() {
        let kept = channels.into_iter().map(|channel| Term::from_field_u64(fields.channel, channel.0));
        parts.push((Occur::MustNot, Box::new(TermSetQuery::new(kept))));
    }
    BooleanQuery::new(parts)
}
