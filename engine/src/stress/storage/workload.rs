//! What the clients do.

use promptc_store::kv::{Batch, Durability, Records};

use super::data::{Draw, Values, key};
use crate::error::EngineError;
use crate::measure::Random;
use crate::stress::fault;

/// Records of a batch and of a range.
pub(super) const BATCH: u64 = 100;

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
}

impl Workload {
    /// All, in the order in which they run.
    pub const ALL: [Self; 6] = [
        Self::PointReadCold,
        Self::PointReadHot,
        Self::Range,
        Self::Mixed,
        Self::FillSingle,
        Self::FillBatch,
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
            Self::FillSingle | Self::PointReadCold | Self::PointReadHot => 1,
        }
    }

    /// Whether it begins with an empty store.
    pub(super) fn fills(self) -> bool {
        matches!(self, Self::FillSingle | Self::FillBatch)
    }

    /// Whether it writes, so that levels of durability differ.
    pub(super) fn writes(self) -> bool {
        self.fills() || self == Self::Mixed
    }
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) records: &'a Records,
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
        Workload::PointReadCold => get(subject, uniform.next(&mut random)),
        Workload::PointReadHot => get(subject, hot.next(&mut random)),
        Workload::Range => range(subject, uniform.next(&mut random)),
        Workload::Mixed => match random.below(100) {
            0..50 => get(subject, uniform.next(&mut random)),
            50..95 => put(subject, uniform.next(&mut random), number),
            _ => range(subject, uniform.next(&mut random)),
        },
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
