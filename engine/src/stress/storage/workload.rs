//! What the clients do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use promptc_store::kv::{Batch, Durability, Records, RowCache};

use super::data::{Draw, Shuffled, Values, key};
use super::documents::{Collection, SearchedBy};
use crate::error::EngineError;
use crate::measure::Random;
use crate::stress::fault;

/// Records of a batch and of a range.
pub(super) const BATCH: u64 = 100;
/// One of so many records is deleted.
pub(super) const DELETED_OF: u64 = 2;

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// A put of one record, keys in no order, into a new store.
    FillSingle,
    /// A batch of 100 puts into a new store.
    FillBatch,
    /// A get, every record as likely; the store was just opened, so its caches are empty, and those of the system are not.
    PointReadCold,
    /// A get, by Zipf's law with exponent .99.
    PointReadHot,
    /// 100 neighbours from a record that is as likely as any.
    Range,
    /// 50 % gets, 45 % puts, 5 % ranges.
    Mixed,
    /// Gets, every record as likely, while one more writer puts without a pause.
    ReadWhileWriting,
    /// Deletes of every second record in no order; then the tables are merged, which is timed by itself.
    DeleteCompact,
    /// Rows of the row cache by Zipf's law, as embeddings of texts that repeat; what is not there is computed, here drawn, and put.
    /// The cache has room for a fifth of them.
    RowCache,
    /// Searches for words among documents, while one more writer appends documents and brings the index up to the log.
    TextSearch,
    /// The same for the nearest vectors.
    VectorSearch,
}

/// What a measurement begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The store that holds every record, as the measurement before left it.
    Kept,
    /// A store that holds every record, made for it.
    Loaded,
    /// A store with nothing in it.
    Empty,
}

impl Workload {
    /// All, in the order in which they run.
    pub const ALL: [Self; 11] = [
        Self::PointReadCold,
        Self::PointReadHot,
        Self::Range,
        Self::ReadWhileWriting,
        Self::Mixed,
        Self::DeleteCompact,
        Self::FillSingle,
        Self::FillBatch,
        Self::RowCache,
        Self::TextSearch,
        Self::VectorSearch,
    ];

    /// Its name in the history and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FillSingle => "fill_single",
            Self::FillBatch => "fill_batch_100",
            Self::PointReadCold => "point_read_cold",
            Self::PointReadHot => "point_read_hot",
            Self::Range => "range_100",
            Self::Mixed => "mixed",
            Self::ReadWhileWriting => "read_while_writing",
            Self::DeleteCompact => "delete_compact",
            Self::RowCache => "row_cache_zipf",
            Self::TextSearch => "text_append_search",
            Self::VectorSearch => "vector_append_search",
        }
    }

    /// The load that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.as_str() == text)
    }

    /// Records that a call handles; of `mixed` on average, rounded.
    #[must_use]
    pub fn records_per_call(self) -> u64 {
        match self {
            Self::FillBatch | Self::Range => BATCH,
            Self::Mixed => 6,
            Self::FillSingle
            | Self::PointReadCold
            | Self::PointReadHot
            | Self::ReadWhileWriting
            | Self::DeleteCompact
            | Self::RowCache
            | Self::TextSearch
            | Self::VectorSearch => 1,
        }
    }

    pub(super) fn start(self) -> Start {
        match self {
            Self::FillSingle | Self::FillBatch | Self::RowCache | Self::TextSearch | Self::VectorSearch => {
                Start::Empty
            }
            Self::DeleteCompact => Start::Loaded,
            _ => Start::Kept,
        }
    }

    /// Whether it writes at the levels that are asked for. The row cache has one of its own.
    pub(super) fn writes(self) -> bool {
        !matches!(self, Self::PointReadCold | Self::PointReadHot | Self::Range | Self::RowCache)
    }
}

impl Workload {
    /// What it searches documents by, if it does.
    pub(super) fn searched_by(self) -> Option<SearchedBy> {
        match self {
            Self::TextSearch => Some(SearchedBy::Text),
            Self::VectorSearch => Some(SearchedBy::Vectors),
            _ => None,
        }
    }

    /// Whether one more writer writes while the clients read.
    pub(super) fn has_writer(self) -> bool {
        self == Self::ReadWhileWriting || self.searched_by().is_some()
    }
}

/// Calls after which the row cache counts a build: ages are told apart by builds, and old ones go first.
const CALLS_OF_A_BUILD: u64 = 1_000;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) records: &'a Records,
    pub(super) rows: &'a RowCache,
    /// Of a load that searches documents.
    pub(super) collection: Option<&'a Collection<'a>>,
    pub(super) values: &'a Values,
    pub(super) record_count: u64,
    pub(super) durability: Durability,
    pub(super) seed: u64,
}

/// A client's calls. Which record a point read asks for is drawn by `hot`.
pub(super) fn calls<'a>(
    workload: Workload,
    subject: &'a Subject<'a>,
    hot: &'a Draw,
    client: usize,
) -> impl FnMut(u64) -> Result<u64, EngineError> + use<'a> {
    let mut random = Random::new(subject.seed ^ (client as u64 + 1).wrapping_mul(0x9e37_79b9));
    let uniform = Draw::Uniform { count: subject.record_count };
    let order = Shuffled::new(subject.record_count);
    move |number| match workload {
        Workload::FillSingle => put(subject, uniform.next(&mut random), number),
        Workload::FillBatch => {
            let mut batch = Batch::new();
            for record in 0..BATCH {
                let value = subject.values.at(number * BATCH + record);
                batch.put(&key(uniform.next(&mut random)), value)?;
            }
            subject.records.write(batch, subject.durability)?;
            Ok(BATCH)
        }
        Workload::DeleteCompact => {
            // The places of the order that are even; every record is met once.
            subject.records.delete(&key(order.at(number * DELETED_OF)), subject.durability)?;
            Ok(1)
        }
        Workload::PointReadCold | Workload::ReadWhileWriting => get(subject, uniform.next(&mut random)),
        Workload::PointReadHot => get(subject, hot.next(&mut random)),
        Workload::RowCache => {
            if client == 0 && number.is_multiple_of(CALLS_OF_A_BUILD) {
                subject.rows.advance()?;
            }
            row(subject, hot.next(&mut random))
        }
        Workload::TextSearch | Workload::VectorSearch => match subject.collection {
            Some(collection) => collection.search(&mut random),
            None => Err(EngineError::internal("stress", "a search without documents")),
        },
        Workload::Range => range(subject, uniform.next(&mut random)),
        Workload::Mixed => match random.below(100) {
            0..50 => get(subject, uniform.next(&mut random)),
            50..95 => put(subject, uniform.next(&mut random), number),
            _ => range(subject, uniform.next(&mut random)),
        },
    }
}

/// Puts one record after the other, each as likely, until it is told to stop, and answers how many. Says when the first is done.
pub(super) fn write_until(
    subject: &Subject<'_>,
    begun: Sender<()>,
    stop: &AtomicBool,
) -> Result<u64, EngineError> {
    if let Some(collection) = subject.collection {
        return collection.write_until(subject.durability, subject.seed, begun, stop);
    }
    let mut random = Random::new(subject.seed);
    let uniform = Draw::Uniform { count: subject.record_count };
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += put(subject, uniform.next(&mut random), count)?;
        if count == 1 {
            // Whoever waits hears of an error by the end of the channel.
            let _ = begun.send(());
        }
    }
    Ok(count)
}

/// Compares the number of records with what must be left.
pub(super) fn expect_count(records: &Records, expected: u64) -> Result<(), EngineError> {
    let mut found = 0;
    let count = |_: &[u8], _: &[u8]| {
        found += 1;
        true
    };
    records.range(b"", None, count)?;
    let message = format!("{found} records are there, expected {expected}");
    if found == expected {
        Ok(())
    } else {
        Err(fault(message, "this is a fault; please report it with the seed"))
    }
}

fn put(subject: &Subject<'_>, record: u64, number: u64) -> Result<u64, EngineError> {
    subject.records.put(&key(record), subject.values.at(number), subject.durability)?;
    Ok(1)
}

fn get(subject: &Subject<'_>, record: u64) -> Result<u64, EngineError> {
    match subject.records.get(&key(record))? {
        Some(_) => Ok(1),
        None => Err(missing(record)),
    }
}

/// The row of a text, out of the cache or into it.
fn row(subject: &Subject<'_>, record: u64) -> Result<u64, EngineError> {
    let key = *blake3::hash(&record.to_le_bytes()).as_bytes();
    if subject.rows.get_many(&[key]) == [None] {
        subject.rows.put_many(&[(key, subject.values.at(record).to_vec())])?;
    }
    Ok(1)
}

fn range(subject: &Subject<'_>, from: u64) -> Result<u64, EngineError> {
    let from = from.min(subject.record_count.saturating_sub(BATCH));
    let expected = BATCH.min(subject.record_count);
    let (mut count, mut bytes) = (0, 0);
    subject.records.range(&key(from), None, |_, value| {
        count += 1;
        bytes += value.len();
        count < expected
    })?;
    std::hint::black_box(bytes);
    if count == expected { Ok(count) } else { Err(missing(from + count)) }
}

fn missing(record: u64) -> EngineError {
    fault(
        format!("record {record} was written and is not there"),
        "this is a loss; please report it with the seed",
    )
}
