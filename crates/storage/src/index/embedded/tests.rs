//! What tantivy has to be helped with.

use clarion_model::id::{ChannelId, GuildId, MessageId};
use tantivy::query::TermQuery;
use tantivy::schema::IndexRecordOption;
use tantivy::{Term, collector::Count};

use super::write::apply;
use super::*;
use crate::index::{Change, Document};

fn said(id: u64, content: &str) -> Document {
    let (id, channel, guild) = (MessageId(id), ChannelId(1), Some(GuildId(1)));
    Document { id, channel, guild, content: content.into(), marks: Vec::new() }
}

/// A merge that begins with the first change after a restart must not lose what that change removes: the message would be
/// found twice, as it was and as it is.
#[tokio::test]
async fn the_first_change_after_an_opening_is_not_lost_in_a_merge() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { path: folder.path().into(), min_free: 0, ..Config::default() };
    let index = Embedded::create(folder.path(), &config).unwrap();
    index.commit((1..6).map(|id| Change::Add(said(id, "old"))).collect()).await.unwrap();
    index.commit((11..16).map(|id| Change::Add(said(id, "old"))).collect()).await.unwrap();
    let segments = |index: &Embedded| -> Vec<_> {
        let mut metas = lock(&index.writer).index().searchable_segment_metas().unwrap();
        metas.sort_by_key(tantivy::SegmentMeta::num_deleted_docs);
        metas.into_iter().map(|meta| meta.id()).collect()
    };
    // The last commit removed something from one of the segments and nothing from the other.
    index.commit(vec![Change::Delete(MessageId(12))]).await.unwrap();
    drop(index);

    let index = Embedded::open(folder.path(), &config).unwrap();
    let both = segments(&index);
    assert_eq!(both.len(), 2);
    {
        let mut writer = lock(&index.writer);
        apply(&mut writer, &index.fields, vec![Change::Put(said(11, "new"))]).unwrap();
        writer.merge(&both).wait().unwrap();
        writer.commit().unwrap();
    }
    index.reader.reload().unwrap();
    let of = Term::from_field_u64(index.fields.id, 11);
    let found = index.reader.searcher().search(&TermQuery::new(of, IndexRecordOption::Basic), &Count).unwrap();
    assert_eq!(found, 1);
}
