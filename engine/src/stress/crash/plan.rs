//! What a cycle does, and every operation of it, from the seed alone: parent and child draw the same.

use std::time::Duration;

use promptc_store::kv::{Batch, Compression, Durability, KvError, Tuning};

use super::hazard::Hazard;
use crate::measure::Random;

/// Keys that all writers share: few, so that writers meet on them and states of many cycles fit into memory.
const KEY_COUNT: u64 = 512;
/// Operations of the largest batch.
const BATCH_OPERATIONS: u64 = 48;
/// Milliseconds from which and before which the child is killed.
const KILL_AFTER_MS: (u64, u64) = (5, 500);

/// One cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) durability: Durability,
    pub(super) tuning: Tuning,
    pub(super) writer_count: u64,
    pub(super) kill_after: Duration,
    /// The time counts from the start of the process and not from its first word: then kills fall into opening as well.
    pub(super) kills_opening: bool,
    /// The cycle begins a new store.
    pub(super) is_fresh: bool,
    /// One more writer appends documents and brings their indexes up to the log.
    pub(super) has_documents: bool,
}

impl Plan {
    /// Whether the level promises to survive the hazard. Where it does not, what is left must be whole all the same.
    pub(super) fn promises(&self, hazard: Hazard) -> bool {
        match hazard {
            Hazard::PowerCut => self.durability.is_synced(),
            Hazard::Kill | Hazard::FullDisk => self.durability != Durability::None,
        }
    }

    /// A disk that is full is the only thing that hinders.
    pub(super) fn draw(seed: u64, cycle: u64, hazard: Hazard) -> Self {
        let mut plan = Self::draw_kill(seed, cycle);
        match hazard {
            Hazard::Kill | Hazard::PowerCut => {}
            Hazard::FullDisk => {
                plan.kills_opening = false;
                if plan.durability == Durability::None {
                    plan.durability = Durability::Wal;
                }
            }
        }
        plan
    }

    fn draw_kill(seed: u64, cycle: u64) -> Self {
        let mut random = random_of(seed, &[cycle]);
        let pick =
            |random: &mut Random, choices: &[usize]| choices[random.below(choices.len() as u64) as usize];
        // Twice as often what promises something, so that a run shows what it is for.
        let levels = [
            Durability::None,
            Durability::Wal,
            Durability::Wal,
            Durability::GroupCommit,
            Durability::GroupCommit,
            Durability::WalFsync,
        ];
        let compressions = [Compression::None, Compression::Lz4, Compression::Zstd];
        let (first, end) = KILL_AFTER_MS;
        Self {
            durability: levels[random.below(levels.len() as u64) as usize],
            tuning: Tuning {
                block_cache_bytes: pick(&mut random, &[1 << 20, 8 << 20, 64 << 20]),
                write_buffer_bytes: pick(&mut random, &[128 << 10, 1 << 20, 16 << 20]),
                block_bytes: pick(&mut random, &[1 << 10, 4 << 10, 16 << 10]),
                compression: compressions[random.below(3) as usize],
                group_records: pick(&mut random, &[1, 16, 256]),
                group_wait: Duration::from_micros(pick(&mut random, &[0, 500, 2_000]) as u64),
            },
            writer_count: pick(&mut random, &[1, 2, 8]) as u64,
            kill_after: Duration::from_millis(first + random.below(end - first)),
            kills_opening: random.below(8) == 0,
            is_fresh: cycle == 0 || random.below(16) == 0,
            has_documents: random.coin(),
        }
    }
}

/// One write of a writer: the key and its new value, or `None` for a delete; several make a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Operation {
    /// The write with this number of a writer.
    pub(super) fn draw(seed: u64, cycle: u64, writer: u64, number: u64) -> Self {
        let mut random = random_of(seed, &[cycle, writer, number]);
        let change_count = match random.below(100) {
            0..75 => 1,
            _ => 2 + random.below(BATCH_OPERATIONS - 1),
        };
        let change = |_| {
            let key = key(random.below(KEY_COUNT));
            let is_put = random.below(5) != 0;
            (key, is_put.then(|| value(&mut random)))
        };
        Self { changes: (0..change_count).map(change).collect() }
    }

    pub(super) fn batch(&self) -> Result<Batch, KvError> {
        let mut batch = Batch::new();
        for (key, value) in &self.changes {
            match value {
                Some(value) => batch.put(key, value)?,
                None => batch.delete(key)?,
            }
        }
        Ok(batch)
    }
}

/// Keys of 0 to 40 bytes; the first is empty.
fn key(number: u64) -> Vec<u8> {
    if number == 0 {
        return Vec::new();
    }
    let padding = (number * 7 % 36) as usize;
    format!("{number:04x}{:.>padding$}", "").into_bytes()
}

/// Mostly short, seldom longer than several blocks, once in thirty empty; half of them compress well.
fn value(random: &mut Random) -> Vec<u8> {
    let bytes = match random.below(1_000) {
        0..33 => 0,
        33..500 => 1 + random.below(64),
        500..950 => 64 + random.below(1_024),
        950..998 => 1_024 + random.below(7 << 10),
        _ => 8_192 + random.below(56 << 10),
    } as usize;
    let pattern_words = if random.coin() { 2 } else { usize::MAX };
    let mut value = Vec::with_capacity(bytes + 8);
    while value.len() < bytes {
        if value.len() / 8 >= pattern_words {
            value.extend_from_within(value.len() - pattern_words * 8..);
        } else {
            value.extend_from_slice(&random.next().to_le_bytes());
        }
    }
    value.truncate(bytes);
    value
}

pub(super) fn random_of(seed: u64, path: &[u64]) -> Random {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    for number in path {
        hasher.update(&number.to_le_bytes());
    }
    let hash = *hasher.finalize().as_bytes();
    Random::new(hash.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_from_the_seed_and_differ() {
        assert_eq!(Plan::draw(1, 2, Hazard::Kill), Plan::draw(1, 2, Hazard::Kill));
        assert_eq!(Operation::draw(1, 2, 3, 4), Operation::draw(1, 2, 3, 4));
        let operations: Vec<_> = (0..400).map(|number| Operation::draw(1, 2, 3, number)).collect();
        assert!(operations.iter().any(|operation| operation.changes.len() > 1));
        let changes: Vec<_> = operations.iter().flat_map(|operation| &operation.changes).collect();
        assert!(
            changes.iter().any(|(key, _)| key.is_empty()) && changes.iter().any(|(_, put)| put.is_none())
        );
        let values: Vec<&Vec<u8>> = changes.iter().filter_map(|(_, put)| put.as_ref()).collect();
        assert!(
            values.iter().any(|value| value.is_empty()) && values.iter().any(|value| value.len() > 8_192)
        );
        assert!(operations.iter().all(|operation| operation.batch().is_ok()));
        let plans: Vec<Plan> = (0..60).map(|cycle| Plan::draw(1, cycle, Hazard::Kill)).collect();
        for level in Durability::ALL {
            assert!(plans.iter().any(|plan| plan.durability == level), "{level:?}");
        }
        for plan in plans {
            assert_eq!(plan.promises(Hazard::PowerCut), plan.durability.is_synced());
            assert_eq!(plan.promises(Hazard::Kill), plan.durability != Durability::None);
        }
    }

    #[test]
    fn keys_are_different() {
        let keys: std::collections::BTreeSet<_> = (0..KEY_COUNT).map(key).collect();
        assert_eq!(keys.len() as u64, KEY_COUNT);
    }
}
