//! Storage: how fast are reads and writes of the store, at each level of durability?
//!
//! ```text
//! loaded store: point reads cold and hot, ranges, mixed      new stores: puts, batches
//!        '---- for every number of clients, and for every level where something is written ----'
//!                         closed loop for the rate; open loop at a share of it for latencies
//! ```
//!
//! 16-byte keys, values that compress to a quarter, zstd 3, bloom filters of 10 bits, 256 MiB of block cache: the settings in
//! which [`against`] compares with RocksDB's `db_bench`.

pub mod against;
mod data;
mod drive;
mod rows;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use promptc_store::history::{Micros, Noise, NoiseProbe, Summary};
use promptc_store::kv::{Batch, Compression, Durability, GROUP_RECORDS_MAX, Records, Tuning};

use crate::bench::now;
use crate::context::Cancel;
use crate::error::EngineError;
use crate::stress::{empty_folder, open};
use data::{Draw, KEY_BYTES, Values, key, shuffled};
pub use drive::Pacing;
use drive::{Driven, Limit, drive};
pub use rows::rows;
pub use workload::Workload;
use workload::{BATCH, Subject, calls};

/// Bytes of the block cache.
const CACHE_BYTES: usize = 256 << 20;
/// Bytes of a write buffer.
const WRITE_BUFFER_BYTES: usize = 64 << 20;
/// Bytes of a block.
const BLOCK_BYTES: usize = 16 << 10;

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
    /// Longest time of one measurement.
    pub time: Duration,
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
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// Something begins, in words.
    Begins(&'a str),
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
    let values = Values::new(options.value_bytes, options.seed);
    let mut bench = Bench { options, cancel, values, dir, report: StorageReport::default(), listen };
    bench.loaded()?;
    let fills = options.workloads.iter().filter(|workload| workload.fills());
    for workload in fills {
        let hot = Draw::Uniform { count: options.records };
        let folder = bench.dir.join("filled");
        for setting in bench.settings(*workload) {
            bench.both_loops(setting, &folder, true, &hot)?;
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
    report: StorageReport,
    listen: &'a mut dyn FnMut(Happening<'_>),
}

impl Bench<'_> {
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
            options.workloads.iter().copied().filter(|workload| !workload.fills()).collect();
        if workloads.is_empty() {
            return Ok(());
        }
        let folder = self.dir.join("loaded");
        (self.listen)(Happening::Begins(&format!("loading {} records", options.records)));
        load(&folder, options.records, &self.values, self.cancel)?;
        let raw_bytes = options.records as f64 * (KEY_BYTES + options.value_bytes) as f64;
        self.report.saved_ratio = Some(1.0 - folder_bytes(&folder.join("kv"))? as f64 / raw_bytes);
        let hot = Draw::zipf(options.records);
        for workload in workloads {
            for setting in self.settings(workload) {
                self.both_loops(setting, &folder, false, &hot)?;
            }
        }
        remove(&folder)
    }

    /// The closed loop, and where it is asked for the open one at a share of its rate. The store is opened for each, so that
    /// its caches are equal at the start.
    fn both_loops(
        &mut self,
        setting: Setting,
        folder: &Path,
        is_new: bool,
        hot: &Draw,
    ) -> Result<(), EngineError> {
        let mut pacing = Pacing::Closed;
        loop {
            if is_new {
                remove(folder)?;
            }
            let store = open(folder, &TUNING)?;
            let measured =
                self.one(setting, pacing, self.limit(setting.workload, pacing), hot, store.records())?;
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

    fn limit(&self, workload: Workload, pacing: Pacing) -> Limit {
        let per_call = if workload.fills() { workload.records_per_call() } else { 1 };
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
        records: &Records,
    ) -> Result<Measured, EngineError> {
        let Setting { workload, durability, clients } = setting;
        let level = durability.as_str();
        (self.listen)(Happening::Begins(&format!("{}, {level}, {clients} clients", workload.as_str())));
        let subject = Subject {
            records,
            values: &self.values,
            record_count: self.options.records,
            durability,
            seed: self.options.seed,
        };
        let (started_at, probe, before) = (now(), NoiseProbe::begin(), records.counts());
        let make = |client| calls(workload, &subject, hot, client);
        let driven = drive(clients, limit, pacing, self.cancel, make)?;
        let (after, noise) = (records.counts(), probe.end());
        let syncs = after.syncs - before.syncs;
        Ok(Measured {
            workload,
            durability,
            clients,
            pacing,
            latency: rows::summary_of(&driven.latencies),
            records_per_second: rate(driven.records, &driven),
            calls_per_second: rate(driven.latencies.len(), &driven),
            elapsed: driven.elapsed,
            unsent: driven.unsent,
            writes_per_sync: (syncs > 0).then(|| (after.writes - before.writes) as f64 / syncs as f64),
            started_at,
            noise,
        })
    }
}

fn rate(count: u64, driven: &Driven) -> f64 {
    count as f64 / driven.elapsed.as_secs_f64().max(1e-9)
}

/// A store with every record once, its tables merged.
fn load(folder: &Path, records: u64, values: &Values, cancel: &Cancel) -> Result<(), EngineError> {
    let store = open(folder, &TUNING)?;
    let mut batch = Batch::new();
    for (number, record) in (0..).zip(shuffled(records)) {
        batch.put(&key(record), values.at(number))?;
        if batch.len() as u64 == BATCH {
            if cancel.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            store.records().write(std::mem::take(&mut batch), Durability::Wal)?;
        }
    }
    store.records().write(batch, Durability::WalFsync)?;
    store.records().compact()?;
    Ok(())
}

fn remove(folder: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::Program { path: folder.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

/// Bytes of the files in a folder.
fn folder_bytes(folder: &Path) -> Result<u64, EngineError> {
    let io = |source| EngineError::Program { path: folder.to_path_buf(), source };
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(io)? {
        bytes += entry.and_then(|entry| entry.metadata()).map_err(io)?.len();
    }
    Ok(bytes)
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
            time: Duration::from_secs(5),
            open_loop: Some(0.5),
            seed: 1,
        };
        let mut told = 0;
        let mut listen =
            |happening: Happening<'_>| told += u32::from(matches!(happening, Happening::Done(_)));
        let report = run(&options, &Cancel::default(), &mut listen).unwrap();
        // Three loads that read and three that write at two levels, two numbers of clients, two loops.
        assert_eq!((report.measured.len(), told), ((3 + 3 * 2) * 2 * 2, 36));
        assert!(report.measured.iter().all(|measured| measured.latency.n_samples > 0));
        assert!(report.measured.iter().all(|measured| measured.records_per_second > 0.0));
        let synced = report.measured.iter().filter(|measured| measured.writes_per_sync.is_some());
        assert!(synced.clone().all(|measured| measured.durability == Durability::GroupCommit));
        assert_eq!(synced.count(), 3 * 2 * 2);
        assert_eq!(std::fs::read_dir(&options.dir).unwrap().count(), 0);
        let rows = rows(&report, &options);
        assert_eq!(rows.len(), 36 * 2 + 1);
        let ids: std::collections::BTreeSet<_> =
            rows.iter().map(|row| (&row.bench_id, &row.metric, row.attempt)).collect();
        assert_eq!(ids.len(), rows.len(), "every row has a name of its own");
        std::fs::write(options.dir.join("mine"), "x").unwrap();
        assert!(run(&options, &Cancel::default(), &mut |_| {}).is_err());
    }
}
