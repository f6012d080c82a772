//! Storage: how fast are reads and writes of the store, at each level of durability?
//!
//! ```text
//! loaded store: point reads cold and hot, ranges, reads beside a writer, mixed
//! its own loaded store: deletes, then merging      new stores: puts, batches (at synced levels: synced writes), searches
//!                                                              among documents beside a writer
//!        '---- for every number of clients, and for every level where something is written ----'
//!                         closed loop for the rate; open loop at a share of it for latencies
//! ```
//!
//! 16-byte keys, values that compress to a quarter, zstd 3, bloom filters of 10 bits, 384 MiB of memory, of which blocks and write
//! buffers share 320: the settings in which [`against`] compares with RocksDB's `db_bench`.

pub mod against;
mod data;
mod documents;
mod drive;
mod rows;
mod stores;
mod whole_micros;
mod workload;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use promptc_store::history::{Micros, Noise, NoiseProbe, Summary};
use promptc_store::kv::{Compression, Durability, GROUP_RECORDS_MAX, Records, Tuning};
use promptc_store::open::Store;

use crate::bench::now;
use crate::context::Cancel;
use crate::error::EngineError;
use crate::stress::{empty_folder, open, open_bounded};
use data::{Draw, KEY_BYTES, Values};
use documents::{Collection, document_count};
pub use drive::Pacing;
use drive::{Driven, Limit, drive};
pub use rows::rows;
use stores::{load, remove, resident, table_bytes};
pub use workload::Workload;
use workload::{DELETED_OF, Start, Subject, calls, expect_count, write_until};

/// Bytes for blocks, as [`Tuning::block_cache_bytes`] has them.
const CACHE_BYTES: usize = 256 << 20;
/// Bytes of a write buffer.
const WRITE_BUFFER_BYTES: usize = 64 << 20;
/// Bytes of a block.
const BLOCK_BYTES: usize = 16 << 10;

/// Bytes of a key of the row cache.
const ROW_KEY_BYTES: usize = 32;
/// The row cache has room for one of so many rows.
const CACHED_OF: u64 = 5;
/// A call that takes longer is counted as a stall: above what a sync of this disk takes when nothing else is at it.
pub const STALL: Duration = Duration::from_millis(10);

/// What a store here may hold in memory.
pub const MEMORY_BYTES: usize = TUNING.memory_bytes();

/// The settings of all stores here.
const TUNING: Tuning = Tuning {
    block_cache_bytes: CACHE_BYTES,
    write_buffer_bytes: WRITE_BUFFER_BYTES,
    block_bytes: BLOCK_BYTES,
    compression: Compression::Zstd,
    group_records: GROUP_RECORDS_MAX,
    group_wait: Duration::from_millis(2),
};

/// What to measure.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// An empty or new folder for the stores.
    pub dir: PathBuf,
    /// Records of a store; puts and batches write as many at most.
    pub records: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Numbers of clients.
    pub clients: Vec<usize>,
    /// Levels of durability.
    pub durability: Vec<Durability>,
    /// Kinds of load.
    pub workloads: Vec<Workload>,
    /// A file or folder that the values are cut from; none: synthetic ones.
    pub values: Option<PathBuf>,
    /// Longest time of one measurement.
    pub time: Duration,
    /// Longest time of the whole run; measurements that would begin after it are left out.
    pub total: Option<Duration>,
    /// Share of the closed loop's rate at which the open loop calls; none: only the closed loop.
    pub open_loop: Option<f64>,
    /// Of everything that is drawn.
    pub seed: u64,
}

/// One measurement.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The load.
    pub workload: Workload,
    /// The level; of loads that only read the one that the records were written with.
    pub durability: Durability,
    /// Clients at once.
    pub clients: usize,
    /// Closed or open loop.
    pub pacing: Pacing,
    /// Latencies of the calls in nanoseconds.
    pub latency: Summary,
    /// Records a second.
    pub records_per_second: f64,
    /// Calls a second.
    pub calls_per_second: f64,
    /// Time.
    pub elapsed: Duration,
    /// Calls that took longer than [`STALL`].
    pub stalls: u64,
    /// Bytes of the database's files afterwards, those not yet merged included.
    pub disk_bytes: u64,
    /// These over the bytes that the same records have when they are merged, where the number of records is known.
    pub space_amplification: Option<f64>,
    /// Writes a second of the writer beside the readers.
    pub beside_per_second: Option<f64>,
    /// Merging the tables afterwards.
    pub merge: Option<Duration>,
    /// Most memory of this process that no file stands behind, looked at twice a second; none where the system does not tell.
    pub resident_bytes: Option<u64>,
    /// Share of the rows that the row cache had.
    pub hit_rate: Option<f64>,
    /// Median of a closed loop in microseconds, counted as `db_bench` counts.
    pub median_as_db_bench_us: Option<f64>,
    /// Calls of an open loop that were due and not made.
    pub unsent: u64,
    /// Writes per sync, where there were syncs.
    pub writes_per_sync: Option<f64>,
    /// When it began.
    pub started_at: Micros,
    /// What disturbed it.
    pub noise: Noise,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct StorageReport {
    /// In the order measured.
    pub measured: Vec<Measured>,
    /// Share by which the loaded store is smaller than its keys and values.
    pub saved_ratio: Option<f64>,
    /// Measurements that were left out because the time of the run was over.
    pub left_out: u64,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// Something begins, in words.
    Begins(&'a str),
    /// It goes on; so many calls were made.
    Runs(&'a str, u64),
    /// A measurement is done.
    Done(&'a Measured),
}

/// Measures everything and tells `listen` what happens. The folder is empty afterwards.
///
/// # Errors
/// The folder is not empty, a store fails, or Ctrl-C.
pub fn run(
    options: &StorageOptions,
    cancel: &Cancel,
    listen: &mut dyn FnMut(Happening<'_>),
) -> Result<StorageReport, EngineError> {
    if options.records == 0 {
        return Err(EngineError::Unknown("no record: ask for at least one".to_owned()));
    }
    let dir = empty_folder(&options.dir)?;
    let mut bench = Bench::new(options, cancel, dir, listen)?;
    bench.loaded()?;
    for workload in options.workloads.iter().filter(|workload| workload.start() != Start::Kept) {
        let hot = Draw::zipf(options.records);
        let folder = bench.dir.join("own");
        for setting in bench.settings(*workload) {
            bench.both_loops(setting, &folder, &hot)?;
        }
        remove(&folder)?;
    }
    Ok(bench.report)
}

/// One cell of the table.
#[derive(Debug, Clone, Copy)]
struct Setting {
    workload: Workload,
    durability: Durability,
    clients: usize,
}

struct Bench<'a> {
    options: &'a StorageOptions,
    cancel: &'a Cancel,
    values: Values,
    dir: PathBuf,
    began: Instant,
    report: StorageReport,
    listen: &'a mut dyn FnMut(Happening<'_>),
}

impl<'a> Bench<'a> {
    fn new(
        options: &'a StorageOptions,
        cancel: &'a Cancel,
        dir: PathBuf,
        listen: &'a mut dyn FnMut(Happening<'_>),
    ) -> Result<Self, EngineError> {
        let values = match &options.values {
            Some(path) => Values::of_files(path, options.value_bytes)?,
            None => Values::new(options.value_bytes, options.seed),
        };
        let (began, report) = (Instant::now(), StorageReport::default());
        Ok(Self { options, cancel, values, dir, began, report, listen })
    }

    /// Every level where something is written, with every number of clients.
    fn settings(&self, workload: Workload) -> Vec<Setting> {
        let levels = if workload.writes() { self.options.durability.as_slice() } else { &[Durability::Wal] };
        let clients = &self.options.clients;
        let all = levels.iter().flat_map(|level| clients.iter().map(move |clients| (*level, *clients)));
        all.map(|(durability, clients)| Setting { workload, durability, clients }).collect()
    }

    /// Loads a store and measures what reads it.
    fn loaded(&mut self) -> Result<(), EngineError> {
        let options = self.options;
        let workloads: Vec<Workload> =
            options.workloads.iter().copied().filter(|workload| workload.start() == Start::Kept).collect();
        if workloads.is_empty() {
            return Ok(());
        }
        let folder = self.dir.join("loaded");
        (self.listen)(Happening::Begins(&format!("loading {} records", options.records)));
        load(&folder, options.records, &self.values, self.cancel)?;
        let raw_bytes = options.records as f64 * (KEY_BYTES + options.value_bytes) as f64;
        let merged_bytes = table_bytes(&folder)?;
        self.report.saved_ratio = Some(1.0 - merged_bytes as f64 / raw_bytes);
        let hot = Draw::zipf(options.records);
        for workload in workloads {
            for setting in self.settings(workload) {
                self.both_loops(setting, &folder, &hot)?;
            }
        }
        for measured in &mut self.report.measured {
            measured.space_amplification = Some(measured.disk_bytes as f64 / merged_bytes as f64);
        }
        remove(&folder)
    }

    /// The closed loop, and where it is asked for the open one at a share of its rate. The store is opened for each, so that
    /// its caches are equal at the start.
    fn both_loops(&mut self, setting: Setting, folder: &Path, hot: &Draw) -> Result<(), EngineError> {
        let mut pacing = Pacing::Closed;
        loop {
            if self.options.total.is_some_and(|total| self.began.elapsed() >= total) {
                self.report.left_out += 1;
                return Ok(());
            }
            let start = setting.workload.start();
            if start != Start::Kept {
                remove(folder)?;
            }
            if start == Start::Loaded {
                load(folder, self.options.records, &self.values, self.cancel)?;
            }
            let store = self.open(folder, setting.workload)?;
            let limit = self.limit(setting.workload, pacing);
            let mut measured = self.one(setting, pacing, limit, hot, &store)?;
            measured.disk_bytes = table_bytes(folder)?;
            if start == Start::Loaded {
                self.merge(&mut measured, store.records(), folder)?;
            }
            drop(store);
            (self.listen)(Happening::Done(&measured));
            let open_rate = self.options.open_loop.map(|share| measured.calls_per_second * share);
            self.report.measured.push(measured);
            match (pacing, open_rate) {
                (Pacing::Closed, Some(per_second)) => pacing = Pacing::Open { per_second },
                _ => return Ok(()),
            }
        }
    }

    fn open(&self, folder: &Path, workload: Workload) -> Result<Store, EngineError> {
        if workload != Workload::RowCache {
            return open(folder, &TUNING);
        }
        let all_bytes = self.options.records * (ROW_KEY_BYTES + self.options.value_bytes) as u64;
        open_bounded(folder, &TUNING, (all_bytes / CACHED_OF).max(1))
    }

    /// Merges the tables after deletes, which brings the space back, and counts what is left.
    fn merge(
        &mut self,
        measured: &mut Measured,
        records: &Records,
        folder: &Path,
    ) -> Result<(), EngineError> {
        (self.listen)(Happening::Begins("merging what the deletes left"));
        let began = Instant::now();
        records.compact()?;
        measured.merge = Some(began.elapsed());
        measured.space_amplification = Some(measured.disk_bytes as f64 / table_bytes(folder)?.max(1) as f64);
        expect_count(records, self.options.records - u64::from(measured.latency.n_samples))
    }

    fn limit(&self, workload: Workload, pacing: Pacing) -> Limit {
        let per_call = match workload.start() {
            Start::Empty => workload.records_per_call(),
            Start::Loaded => DELETED_OF,
            Start::Kept => 1,
        };
        let (calls, time) = ((self.options.records / per_call).max(1), self.options.time);
        match pacing {
            Pacing::Closed => Limit { calls, time },
            Pacing::Open { per_second } => {
                let due = ((per_second * time.as_secs_f64()) as u64).max(1);
                // Twice the time, so that a stall near the end is seen whole.
                Limit { calls: calls.min(due), time: time * 2 }
            }
        }
    }

    fn one(
        &mut self,
        setting: Setting,
        pacing: Pacing,
        limit: Limit,
        hot: &Draw,
        store: &Store,
    ) -> Result<Measured, EngineError> {
        let Setting { workload, durability, clients } = setting;
        let (records, rows) = (store.records(), store.rows());
        let what = format!("{}, {}, {clients} clients", workload.as_str(), durability.as_str());
        (self.listen)(Happening::Begins(&what));
        let options = self.options;
        let open =
            |by| Collection::open(store, by, document_count(options.records), &self.values, self.cancel);
        let collection = workload.searched_by().map(open).transpose()?;
        let subject = Subject {
            records,
            rows,
            collection: collection.as_ref(),
            values: &self.values,
            record_count: self.options.records,
            durability,
            seed: self.options.seed,
        };
        let (started_at, probe, before) = (now(), NoiseProbe::begin(), records.counts());
        let make = |client| calls(workload, &subject, hot, client);
        let cancel = self.cancel;
        let mut resident_bytes = None;
        let mut tell = |calls| {
            resident_bytes = resident_bytes.max(resident());
            (self.listen)(Happening::Runs(&what, calls));
        };
        let mut beside = None;
        let driven = if workload.has_writer() {
            let (driven, writes) =
                beside_a_writer(&subject, || drive(clients, limit, pacing, cancel, make, &mut tell))?;
            beside = Some(rate(writes, &driven));
            driven
        } else {
            drive(clients, limit, pacing, cancel, make, &mut tell)?
        };
        let (after, noise) = (records.counts(), probe.end());
        let syncs = after.syncs - before.syncs;
        Ok(Measured {
            workload,
            durability,
            clients,
            pacing,
            latency: self::rows::summary_of(&driven.latencies),
            records_per_second: rate(driven.records, &driven),
            calls_per_second: rate(driven.latencies.len(), &driven),
            elapsed: driven.elapsed,
            stalls: self::rows::stalls(&driven.latencies),
            disk_bytes: 0,
            space_amplification: None,
            beside_per_second: beside,
            merge: None,
            resident_bytes: resident_bytes.max(resident()),
            hit_rate: (workload == Workload::RowCache).then(|| {
                let counts = rows.counts();
                counts.hits as f64 / (counts.hits + counts.misses).max(1) as f64
            }),
            median_as_db_bench_us: driven.whole_micros.median(),
            unsent: driven.unsent,
            writes_per_sync: (syncs > 0).then(|| (after.writes - before.writes) as f64 / syncs as f64),
            started_at,
            noise,
        })
    }
}

/// Drives the readers while one more thread writes, and answers how many writes it made.
fn beside_a_writer(
    subject: &Subject<'_>,
    readers: impl FnOnce() -> Result<Driven, EngineError>,
) -> Result<(Driven, u64), EngineError> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (begun, has_begun) = channel();
        let stop_writer = &stop;
        let writer = scope.spawn(move || write_until(subject, begun, stop_writer));
        let _ = has_begun.recv();
        let driven = readers();
        stop.store(true, Ordering::Relaxed);
        let writes = writer.join().map_err(|_| EngineError::internal("the writer", "it panicked"))??;
        Ok((driven?, writes))
    })
}

fn rate(count: u64, driven: &Driven) -> f64 {
    count as f64 / driven.elapsed.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_is_measured_at_every_level_with_every_number_of_clients() {
        let dir = tempfile::tempdir().unwrap();
        let options = StorageOptions {
            dir: dir.path().join("new"),
            records: 300,
            value_bytes: 100,
            clients: vec![1, 3],
            durability: vec![Durability::Wal, Durability::GroupCommit],
            workloads: Workload::ALL.to_vec(),
            values: None,
            time: Duration::from_secs(5),
            total: None,
            open_loop: Some(0.5),
            seed: 1,
        };
        let mut told = 0;
        let mut listen =
            |happening: Happening<'_>| told += u32::from(matches!(happening, Happening::Done(_)));
        let report = run(&options, &Cancel::default(), &mut listen).unwrap();
        // Four loads of one level and seven that write at two, two numbers of clients, two loops.
        assert_eq!((report.measured.len(), told), ((4 + 7 * 2) * 2 * 2, 72));
        assert!(report.measured.iter().all(|measured| measured.latency.n_samples > 0));
        assert!(report.measured.iter().all(|measured| measured.records_per_second > 0.0));
        // Documents sync the log at every level before an index is committed.
        let has_documents = |measured: &&Measured| measured.workload.searched_by().is_some();
        let plain = report.measured.iter().filter(|measured| !has_documents(measured));
        let synced = plain.filter(|measured| measured.writes_per_sync.is_some());
        assert!(synced.clone().all(|measured| measured.durability == Durability::GroupCommit));
        assert_eq!(synced.count(), 5 * 2 * 2);
        for measured in &report.measured {
            let is_filled = measured.workload.start() == Start::Empty;
            assert_eq!(measured.space_amplification.is_none(), is_filled, "{measured:?}");
            assert_eq!(measured.merge.is_some(), measured.workload == Workload::DeleteCompact);
            assert!(cfg!(not(target_os = "linux")) || measured.resident_bytes.is_some_and(|bytes| bytes > 0));
            assert_eq!(measured.hit_rate.is_some(), measured.workload == Workload::RowCache);
            assert!(
                measured.disk_bytes > 0 && measured.hit_rate.is_none_or(|rate| rate > 0.2),
                "{measured:?}"
            );
        }
        assert_eq!(std::fs::read_dir(&options.dir).unwrap().count(), 0);
        let rows = rows(&report, &options);
        // Latency, rate, stalls, size and memory of each; amplification where the store was loaded; merging; writers beside readers
        // and searches; hit rates; the share that is saved.
        assert_eq!(rows.len(), 72 * 5 + (72 - 4 * 8 - 4) + 8 + 3 * 8 + 4 + 1);
        let ids: std::collections::BTreeSet<_> =
            rows.iter().map(|row| (&row.bench_id, &row.metric, row.attempt)).collect();
        assert_eq!(ids.len(), rows.len(), "every row has a name of its own");
        std::fs::write(options.dir.join("mine"), "x").unwrap();
        assert!(run(&options, &Cancel::default(), &mut |_| {}).is_err());
        let options = StorageOptions { dir: dir.path().join("late"), total: Some(Duration::ZERO), ..options };
        let late = run(&options, &Cancel::default(), &mut |_| {}).unwrap();
        assert_eq!((late.measured.len(), late.left_out), (0, 36));
    }
}
