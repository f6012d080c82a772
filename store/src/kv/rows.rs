//! The row cache: what an operator computed for a row, by the key of the row.
//!
//! ```text
//! row key (32 bytes) -> generation u32 LE | crc32 u32 LE | the operator's bytes
//! ```
//!
//! Bounded by bytes. A generation is one build; an entry carries the generation that wrote or last refreshed it. When the
//! live entries exceed the bound, the oldest generations are deleted until less than four fifths of it are used: least
//! recently used, with the precision of some builds. While less than half of the bound is used, ages are not kept. An entry that is gone or damaged is computed again; it is never an
//! error and never wrong data. Does not know what the bytes mean.

use super::{Kv, KvError, META, ROWS};
use crate::failpoint::Site;
use rocksdb::{IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A hit that is at least this many generations old is written again with the current one. Smaller is nearer to true
/// least-recently-used; each step of age costs one write of the row, so at 8 a row used by every build is written by
/// every eighth.
const REFRESH_AFTER_GENERATIONS: u32 = 8;
/// Entries are refreshed from this part of the bound on: half.
const REFRESH_FROM: u64 = 2;
/// Part of the bound that is in use after an eviction, so that evictions are rare.
const KEEP_NUMERATOR: u64 = 4;
const KEEP_DENOMINATOR: u64 = 5;
/// Deletions in one batch of an eviction.
const EVICTION_BATCH_ROWS: usize = 4_096;

const GENERATION_BYTES: usize = 4;
const CRC_BYTES: usize = 4;
const HEADER_BYTES: usize = GENERATION_BYTES + CRC_BYTES;
const META_GENERATION: &str = "rows.generation";
const META_LIVE_BYTES: &str = "rows.live_bytes";

/// What the cache did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheCounts {
    /// Keys found whole.
    pub hits: u64,
    /// Keys not found, damaged ones included.
    pub misses: u64,
    /// Entries that failed their checksum or could not be read; each was answered as a miss.
    pub damaged: u64,
    /// Entries deleted to stay within the bound.
    pub evicted: u64,
    /// Bytes of keys and values that are live, as counted by the cache.
    pub live_bytes: u64,
}

/// The cache of computed rows. Cheap to clone; all clones share one state.
#[derive(Debug, Clone)]
pub struct RowCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kv: Arc<Kv>,
    bound_bytes: u64,
    generation: AtomicU32,
    /// Held while a batch is written, so that the count on disk belongs to the rows on disk.
    live_bytes: Mutex<u64>,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
    evicted: AtomicU64,
}

impl RowCache {
    pub(crate) fn open(kv: Arc<Kv>, bound_bytes: u64) -> Result<Self, KvError> {
        let generation =
            read_meta(&kv, META_GENERATION)?.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        let live_bytes = read_meta(&kv, META_LIVE_BYTES)?.unwrap_or(0);
        let shared = Shared {
            kv,
            bound_bytes,
            generation: AtomicU32::new(generation),
            live_bytes: Mutex::new(live_bytes),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Starts the next generation. Call it once per build, before the first look-up. One unsynced write.
    pub fn advance(&self) -> Result<(), KvError> {
        let shared = &*self.shared;
        shared.kv.check_writable()?;
        let next = shared.generation.load(Ordering::Acquire).saturating_add(1);
        shared.kv.reach(Site::RowsBeforeAdvance)?;
        let mut batch = WriteBatch::default();
        batch.put_cf(shared.kv.now().family(META), META_GENERATION, u64::from(next).to_le_bytes());
        shared.kv.write(batch, WriteOptions::default())?;
        shared.kv.reach(Site::RowsAfterAdvance)?;
        shared.generation.store(next, Ordering::Release);
        Ok(())
    }

    /// The bytes of each key, in the order of `keys`; `None` for a key that is absent, damaged or evicted. One batched
    /// read. Entries of old generations are refreshed on the way.
    pub fn get_many(&self, keys: &[[u8; 32]]) -> Vec<Option<Vec<u8>>> {
        let shared = &*self.shared;
        let kv = &shared.kv;
        let generation = shared.generation.load(Ordering::Acquire);
        // Ages matter when something will have to go; until then a refresh would be a write for nothing.
        let refreshes = !kv.is_read_only && *lock(&shared.live_bytes) >= shared.bound_bytes / REFRESH_FROM;
        let mut stale = Vec::new();
        let mut damaged_count = 0;
        let opened = kv.now();
        let Some(family) = opened.family_if_held(ROWS) else { return vec![None; keys.len()] };
        let found = opened.db.batched_multi_get_cf_opt(family, keys, false, &opened.reading);
        let mut values = Vec::with_capacity(keys.len());
        for (key, result) in keys.iter().zip(found) {
            let value = match result {
                Ok(None) => None,
                Ok(Some(value)) => match decode(key, &value) {
                    Some((written, bytes)) => {
                        if refreshes && generation.saturating_sub(written) >= REFRESH_AFTER_GENERATIONS {
                            stale.push((*key, bytes.to_vec()));
                        }
                        Some(bytes.to_vec())
                    }
                    None => {
                        damaged_count += 1;
                        None
                    }
                },
                Err(_) => {
                    damaged_count += 1;
                    None
                }
            };
            values.push(value);
        }
        let hit_count = values.iter().filter(|value| value.is_some()).count() as u64;
        shared.hits.fetch_add(hit_count, Ordering::Relaxed);
        shared.misses.fetch_add(keys.len() as u64 - hit_count, Ordering::Relaxed);
        shared.damaged.fetch_add(damaged_count, Ordering::Relaxed);
        if !stale.is_empty() {
            // Refreshing is a hint to the eviction; a full disk is reported by the next put.
            let _ = kv.reach(Site::RowsBeforeRefresh).and_then(|()| self.write(&stale, 0));
        }
        values
    }

    /// Stores all rows in one atomic batch; a key that is there is replaced. Survives a kill of the process when it
    /// returns. Evicts when the bound is passed, which reads all entries once.
    pub fn put_many(&self, rows: &[([u8; 32], Vec<u8>)]) -> Result<(), KvError> {
        self.shared.kv.check_writable()?;
        if rows.is_empty() {
            return Ok(());
        }
        let added_bytes = rows.iter().map(|(key, bytes)| entry_bytes(key, bytes.len() + HEADER_BYTES)).sum();
        self.write(rows, added_bytes)
    }

    fn write(&self, rows: &[([u8; 32], Vec<u8>)], added_bytes: u64) -> Result<(), KvError> {
        let shared = &*self.shared;
        let kv = &shared.kv;
        let generation = shared.generation.load(Ordering::Acquire);
        let mut batch = WriteBatch::default();
        let opened = kv.now();
        for (key, bytes) in rows {
            batch.put_cf(opened.family(ROWS), key, encode(key, generation, bytes));
        }
        let mut live_bytes = lock(&shared.live_bytes);
        // A replaced entry counts twice until the next eviction counts anew; the bound errs on the small side.
        let after = live_bytes.saturating_add(added_bytes);
        batch.put_cf(opened.family(META), META_LIVE_BYTES, after.to_le_bytes());
        drop(opened);
        kv.reach(Site::RowsBeforePut)?;
        kv.write(batch, WriteOptions::default())?;
        kv.reach(Site::RowsAfterPut)?;
        *live_bytes = after;
        if after > shared.bound_bytes {
            self.evict(&mut live_bytes)?;
        }
        Ok(())
    }

    /// What the cache did since it was opened.
    pub fn counts(&self) -> CacheCounts {
        let shared = &*self.shared;
        CacheCounts {
            hits: shared.hits.load(Ordering::Relaxed),
            misses: shared.misses.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            evicted: shared.evicted.load(Ordering::Relaxed),
            live_bytes: *lock(&shared.live_bytes),
        }
    }

    /// Counts the live bytes exactly and deletes oldest generations first, within a generation in key order.
    fn evict(&self, live_bytes: &mut u64) -> Result<(), KvError> {
        let shared = &*self.shared;
        let kv = &shared.kv;
        kv.reach(Site::RowsBeforeEvict)?;
        let mut bytes_by_generation = BTreeMap::<u32, u64>::new();
        self.for_each_entry(|_, generation, bytes| {
            *bytes_by_generation.entry(generation).or_default() += bytes;
            Ok(true)
        })?;
        let exact: u64 = bytes_by_generation.values().sum();
        let target = shared.bound_bytes / KEEP_DENOMINATOR * KEEP_NUMERATOR;
        let mut excess = if exact > shared.bound_bytes { exact - target } else { 0 };
        let mut remaining = exact;
        let mut batch = WriteBatch::default();
        let mut batch_rows = 0;
        for (generation, bytes) in bytes_by_generation {
            if excess == 0 {
                break;
            }
            let mut take = bytes.min(excess);
            excess -= take;
            self.for_each_entry(|key, found, bytes| {
                if found == generation {
                    batch.delete_cf(kv.now().family(ROWS), key);
                    batch_rows += 1;
                    remaining = remaining.saturating_sub(bytes);
                    take = take.saturating_sub(bytes);
                    shared.evicted.fetch_add(1, Ordering::Relaxed);
                    if batch_rows >= EVICTION_BATCH_ROWS {
                        kv.write(std::mem::take(&mut batch), WriteOptions::default())?;
                        batch_rows = 0;
                    }
                }
                Ok(take > 0)
            })?;
        }
        batch.put_cf(kv.now().family(META), META_LIVE_BYTES, remaining.to_le_bytes());
        kv.reach(Site::RowsBeforeEvictWrite)?;
        kv.write(batch, WriteOptions::default())?;
        kv.reach(Site::RowsAfterEvict)?;
        *live_bytes = remaining;
        Ok(())
    }

    /// Calls `visit` with key, generation and bytes of each entry in key order until it answers `false`.
    fn for_each_entry(
        &self,
        mut visit: impl FnMut(&[u8], u32, u64) -> Result<bool, KvError>,
    ) -> Result<(), KvError> {
        let kv = &self.shared.kv;
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let opened = kv.now();
        let Some(family) = opened.family_if_held(ROWS) else { return Ok(()) };
        for entry in opened.db.iterator_cf_opt(family, options, IteratorMode::Start) {
            let (key, value) = entry.map_err(|source| kv.error(source))?;
            // An entry too short for a header is damaged: the oldest of all, so that it goes first.
            let generation = value.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            if !visit(&key, generation, entry_bytes(&key, value.len()))? {
                break;
            }
        }
        Ok(())
    }
}

fn entry_bytes(key: &[u8], value_bytes: usize) -> u64 {
    (key.len() + value_bytes) as u64
}

fn encode(key: &[u8; 32], generation: u32, bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + bytes.len());
    value.extend_from_slice(&generation.to_le_bytes());
    value.extend_from_slice(&crc(key, bytes));
    value.extend_from_slice(bytes);
    value
}

/// Generation and bytes of a value, or `None` if it is damaged. The generation is not under the checksum: a wrong one
/// only moves the time of an eviction.
fn decode<'a>(key: &[u8; 32], value: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (generation, rest) = value.split_first_chunk::<GENERATION_BYTES>()?;
    let (sum, bytes) = rest.split_first_chunk::<CRC_BYTES>()?;
    (*sum == crc(key, bytes)).then_some((u32::from_le_bytes(*generation), bytes))
}

/// Checksum of a value under its key: CRC-32 (IEEE) of key and bytes. Every byte of every hit passes through it, beside
/// RocksDB's own checksum of the block that it came from.
fn crc(key: &[u8; 32], bytes: &[u8]) -> [u8; CRC_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}

fn read_meta(kv: &Kv, name: &str) -> Result<Option<u64>, KvError> {
    let opened = kv.now();
    let Some(family) = opened.family_if_held(META) else { return Ok(None) };
    let value = opened.db.get_cf(family, name).map_err(|source| kv.error(source))?;
    Ok(value.and_then(|bytes| bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))))
}

/// A thread that panicked while it held the count left it either before or after one addition; both are usable.
fn lock(mutex: &Mutex<u64>) -> MutexGuard<'_, u64> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> [u8; 32] {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    fn cache(dir: &std::path::Path, bound_bytes: u64) -> RowCache {
        RowCache::open(Kv::open(dir, false, None).unwrap(), bound_bytes).unwrap()
    }

    #[test]
    fn rows_come_back_in_the_order_asked_and_after_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<_> =
            (0..1_000).map(|number| (key(number), vec![number as u8; number as usize % 300])).collect();
        let rows_cache = cache(dir.path(), 1 << 30);
        rows_cache.put_many(&rows).unwrap();
        drop(rows_cache);
        let rows_cache = cache(dir.path(), 1 << 30);
        let asked: Vec<_> = (0..1_100).rev().map(key).collect();
        let found = rows_cache.get_many(&asked);
        for (number, value) in (0..1_100u32).rev().zip(&found) {
            assert_eq!(value.as_ref(), rows.get(number as usize).map(|row| &row.1), "row {number}");
        }
        let counts = rows_cache.counts();
        assert_eq!((counts.hits, counts.misses, counts.damaged), (1_000, 100, 0));
        let expected: usize = rows.iter().map(|row| 32 + HEADER_BYTES + row.1.len()).sum();
        assert_eq!(counts.live_bytes, expected as u64);
    }

    #[test]
    fn damaged_value_is_a_miss_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let rows = cache(dir.path(), 1 << 30);
        rows.put_many(&[(key(1), b"one".to_vec()), (key(2), b"two".to_vec()), (key(3), b"three".to_vec())])
            .unwrap();
        let opened = rows.shared.kv.now();
        let mut flipped = encode(&key(1), 0, b"one");
        *flipped.last_mut().unwrap() ^= 1;
        opened.db.put_cf(opened.family(ROWS), key(1), flipped).unwrap();
        opened.db.put_cf(opened.family(ROWS), key(2), b"short").unwrap();
        // A whole value under a foreign key is damage too.
        opened.db.put_cf(opened.family(ROWS), key(4), encode(&key(3), 0, b"three")).unwrap();
        let found = rows.get_many(&[key(1), key(2), key(3), key(4)]);
        assert_eq!(found, [None, None, Some(b"three".to_vec()), None]);
        assert_eq!(rows.counts().damaged, 3);
    }

    #[test]
    fn oldest_generations_go_first_and_the_bound_holds() {
        let dir = tempfile::tempdir().unwrap();
        let bound_bytes = 200_000;
        let rows = cache(dir.path(), bound_bytes);
        for build in 0..60u32 {
            rows.advance().unwrap();
            let batch: Vec<_> = (0..10).map(|row| (key(build * 10 + row), vec![7; 956])).collect();
            rows.put_many(&batch).unwrap();
            assert!(rows.counts().live_bytes <= bound_bytes);
            // The rows of the first build are used by every build, so they stay although they are the oldest.
            let first: Vec<_> = (0..10).map(key).collect();
            assert!(rows.get_many(&first).iter().all(Option::is_some), "build {build}");
        }
        assert!(rows.counts().evicted > 100);
        let last: Vec<_> = (0..10).map(|row| key(590 + row)).collect();
        assert!(rows.get_many(&last).iter().all(Option::is_some));
        let old: Vec<_> = (0..10).map(|row| key(10 + row)).collect();
        assert!(rows.get_many(&old).iter().all(Option::is_none));
        let mut exact = 0;
        rows.for_each_entry(|_, _, bytes| {
            exact += bytes;
            Ok(true)
        })
        .unwrap();
        assert!(exact <= bound_bytes);
        // Refreshed rows were counted as they are.
        assert!(rows.counts().live_bytes >= exact);
    }

    #[test]
    fn one_build_above_the_bound_is_bounded_too() {
        let dir = tempfile::tempdir().unwrap();
        let rows = cache(dir.path(), 10_000);
        for number in 0..100 {
            rows.put_many(&[(key(number), vec![1; 500])]).unwrap();
            assert!(rows.counts().live_bytes <= 10_000);
        }
    }

    #[test]
    fn replaced_rows_do_not_evict_others_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let rows = cache(dir.path(), 10_000);
        rows.put_many(&[(key(1), vec![1; 1_000])]).unwrap();
        for _ in 0..100 {
            rows.put_many(&[(key(2), vec![2; 1_000])]).unwrap();
        }
        assert_eq!(rows.counts().evicted, 0);
        assert!(rows.get_many(&[key(1)])[0].is_some());
    }

    #[test]
    fn many_threads_share_one_cache() {
        let dir = tempfile::tempdir().unwrap();
        let rows = cache(dir.path(), 1 << 30);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let rows = rows.clone();
                scope.spawn(move || {
                    for round in 0..20 {
                        let number = thread * 100 + round;
                        rows.put_many(&[(key(number), number.to_le_bytes().to_vec())]).unwrap();
                        assert_eq!(rows.get_many(&[key(number)]), [Some(number.to_le_bytes().to_vec())]);
                    }
                });
            }
        });
        assert_eq!(rows.counts().live_bytes, 80 * (32 + HEADER_BYTES as u64 + 4));
    }
}
