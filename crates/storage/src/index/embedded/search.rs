//! Searching: a query becomes tantivy's, restricted first of all to the channels that the asker may read.
//!
//! What fits best is judged by nothing but what is searched: how rare a word is, is counted within the channels of the
//! query. Else the order of what one may read would tell of what one may not.

use std::ops::{Bound, RangeInclusive};

use clarion_model::id::{ChannelId, MessageId};
use tantivy::collector::{Count, DocSetCollector, TopDocs};
use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, BoostQuery, ConstScoreQuery, FuzzyTermQuery, InvertedIndexRangeQuery, Occur,
    PhraseQuery, Query as Matcher, RangeQuery, TermQuery, TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption, Value};
use tantivy::{DocAddress, Order, Searcher, TantivyDocument, Term};

use super::schema::{self, Fields, ID, PROGRESS};
use super::write::of_channel;
use super::{Embedded, blocking, failed};
use crate::index::progress::ProgressRow;
use crate::index::{Change, Clause, Found, Hit, Index, IndexError, Progress, Query, Size, Sort};

/// More channels than these are looked up at once instead of one beside the other.
const UNION: usize = 16;
/// How long a message is taken to be on the average, in words. Counting would cost more than it tells.
const WORDS: u64 = 12;

const EXACT: f32 = 2.0;
const BEGINNING: f32 = 0.5;
const TYPO: f32 = 0.25;

#[async_trait::async_trait]
impl Index for Embedded {
    async fn progress(&self) -> Result<Vec<Progress>, IndexError> {
        let (searcher, fields) = (self.reader.searcher(), self.fields);
        blocking(move || {
            let all = TermQuery::new(fields.mark(PROGRESS), IndexRecordOption::Basic);
            let found = searcher.search(&all, &DocSetCollector).map_err(failed)?;
            let read = |address: DocAddress| -> Result<Progress, IndexError> {
                let document: TantivyDocument = searcher.doc(address).map_err(failed)?;
                let row = document.get_first(fields.progress).and_then(|value| value.as_bytes());
                let row = row.and_then(|bytes| <ProgressRow as prost::Message>::decode(bytes).ok());
                row.and_then(ProgressRow::read).ok_or_else(|| IndexError::Lost("its progress is damaged".into()))
            };
            found.into_iter().map(read).collect()
        })
        .await
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), IndexError> {
        self.commit(changes).await
    }

    async fn search(&self, query: Query) -> Result<Found, IndexError> {
        let (searcher, fields) = (self.reader.searcher(), self.fields);
        blocking(move || search(&searcher, &fields, &query)).await
    }

    async fn count(&self, channel: ChannelId, upto: MessageId) -> Result<u64, IndexError> {
        let (searcher, fields) = (self.reader.searcher(), self.fields);
        blocking(move || {
            let count = of_channel(&fields, channel, 0..=upto.0).count(&searcher).map_err(failed)?;
            Ok(count as u64)
        })
        .await
    }

    async fn ids(
        &self,
        channel: ChannelId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<MessageId>, IndexError> {
        let (searcher, fields) = (self.reader.searcher(), self.fields);
        blocking(move || {
            let rising = TopDocs::with_limit(limit.max(1)).order_by_fast_field::<u64>(ID, Order::Asc);
            let found = searcher.search(&of_channel(&fields, channel, range), &rising).map_err(failed)?;
            Ok(found.into_iter().filter_map(|(id, _)| id).take(limit).map(MessageId).collect())
        })
        .await
    }

    async fn check(&self) -> Result<(), IndexError> {
        Self::look(&self.path)
    }

    async fn size(&self) -> Result<Size, IndexError> {
        let (searcher, fields, path) = (self.reader.searcher(), self.fields, self.path.clone());
        blocking(move || {
            let keys = TermQuery::new(fields.mark(PROGRESS), IndexRecordOption::Basic);
            let keys = keys.count(&searcher).map_err(failed)? as u64;
            Ok(Size { messages: searcher.num_docs().saturating_sub(keys), bytes: Self::bytes(&path) })
        })
        .await
    }
}

fn search(searcher: &Searcher, fields: &Fields, query: &Query) -> Result<Found, IndexError> {
    if query.channels.is_empty() || query.text.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Found::default());
    }
    let filter = filter(fields, query);
    let mut parts: Vec<(Occur, Box<dyn Matcher>)> =
        vec![(Occur::Must, Box::new(ConstScoreQuery::new(Box::new(filter.clone()), 0.0)))];
    for clause in query.text.iter().flatten() {
        parts.push((Occur::Must, matcher(fields.text, clause)));
    }
    let matching = BooleanQuery::new(parts);
    let wanted = TopDocs::with_limit(query.limit.max(1)).and_offset(query.offset);
    let (total, addresses) = match query.sort {
        Sort::Best => {
            let visible =
                Visible { searcher, text: fields.text, total: filter.count(searcher).map_err(failed)?, filter };
            let by_fit = (Count, wanted.order_by_score());
            let found = searcher.search_with_statistics_provider(&matching, &by_fit, &visible).map_err(failed)?;
            (found.0, found.1.into_iter().map(|(_, address)| address).collect::<Vec<_>>())
        }
        Sort::Newest | Sort::Oldest => {
            let order = if query.sort == Sort::Newest { Order::Desc } else { Order::Asc };
            let by_time = (Count, wanted.order_by_fast_field::<u64>(ID, order));
            let found = searcher.search(&matching, &by_time).map_err(failed)?;
            (found.0, found.1.into_iter().map(|(_, address)| address).collect())
        }
    };
    let hits = addresses.into_iter().take(query.limit).map(|address| hit(searcher, address));
    Ok(Found { total: total as u64, hits: hits.collect::<Result<_, _>>()? })
}

fn hit(searcher: &Searcher, address: DocAddress) -> Result<Hit, IndexError> {
    let columns = searcher.segment_reader(address.segment_ord).fast_fields();
    let value = |name| -> Result<u64, IndexError> {
        let column = columns.u64(name).map_err(failed)?;
        column.first(address.doc_id).ok_or_else(|| IndexError::Lost("a message has no id".into()))
    };
    Ok(Hit { channel: ChannelId(value(schema::CHANNEL)?), id: MessageId(value(ID)?) })
}

/// All but the text.
fn filter(fields: &Fields, query: &Query) -> BooleanQuery {
    let channels: Vec<Term> =
        query.channels.iter().map(|channel| Term::from_field_u64(fields.channel, channel.0)).collect();
    let mut parts: Vec<(Occur, Box<dyn Matcher>)> = vec![(Occur::Must, any(channels))];
    for marks in &query.with {
        parts.push((Occur::Must, any(marks.iter().map(|mark| fields.mark(mark)).collect())));
    }
    for mark in &query.without {
        parts.push((Occur::MustNot, any(vec![fields.mark(mark)])));
    }
    if query.after.is_some() || query.before.is_some() {
        let bound = |id: Option<MessageId>| {
            id.map_or(Bound::Unbounded, |id| Bound::Excluded(Term::from_field_u64(fields.id, id.0)))
        };
        parts.push((Occur::Must, Box::new(RangeQuery::new(bound(query.after), bound(query.before)))));
    }
    BooleanQuery::new(parts)
}

/// What has one of the terms.
fn any(terms: Vec<Term>) -> Box<dyn Matcher> {
    if terms.len() > UNION {
        return Box::new(TermSetQuery::new(terms));
    }
    let each = terms.into_iter().map(|term| Box::new(TermQuery::new(term, IndexRecordOption::Basic)) as _);
    Box::new(BooleanQuery::union(each.collect()))
}

fn matcher(field: Field, clause: &Clause) -> Box<dyn Matcher> {
    match clause {
        Clause::Phrase { words, slop } => {
            let words = words.iter().map(|(at, word)| (*at, Term::from_field_text(field, word))).collect();
            Box::new(BoostQuery::new(Box::new(PhraseQuery::new_with_offset_and_slop(words, *slop)), EXACT))
        }
        Clause::Word { text, prefix, typo } => {
            let term = Term::from_field_text(field, text);
            let exact = TermQuery::new(term.clone(), IndexRecordOption::WithFreqs);
            let mut ways: Vec<Box<dyn Matcher>> = vec![Box::new(BoostQuery::new(Box::new(exact), EXACT))];
            if *prefix {
                let end = Term::from_field_text(field, &format!("{text}\u{10ffff}"));
                let longer = InvertedIndexRangeQuery::new(Bound::Included(term.clone()), Bound::Excluded(end));
                ways.push(Box::new(BoostQuery::new(Box::new(longer), BEGINNING)));
            }
            if *typo {
                ways.push(Box::new(BoostQuery::new(Box::new(FuzzyTermQuery::new(term, 1, true)), TYPO)));
            }
            Box::new(BooleanQuery::union(ways))
        }
    }
}

/// How rare words are among what is searched.
struct Visible<'a> {
    searcher: &'a Searcher,
    text: Field,
    filter: BooleanQuery,
    total: usize,
}

impl Bm25StatisticsProvider for Visible<'_> {
    fn total_num_tokens(&self, _: Field) -> tantivy::Result<u64> {
        Ok(self.total_num_docs()? * WORDS)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.total.max(1) as u64)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let all = self.total_num_docs()?;
        if term.field() != self.text {
            return Ok(all);
        }
        let with: Box<dyn Matcher> = Box::new(TermQuery::new(term.clone(), IndexRecordOption::Basic));
        let both = BooleanQuery::intersection(vec![Box::new(self.filter.clone()), with]);
        Ok((both.count(self.searcher)? as u64).min(all))
    }
}
