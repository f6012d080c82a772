//! How long do reads and writes of the store take, and how durable are they when they are answered?
//!
//! Records of 1 kB; one client unless the title says otherwise; every call is timed by itself.
//!
//! | title | what | durable |
//! |---|---|---|
//! | `single_write` | one record into the row cache | `wal`: after a kill of the process |
//! | `batch_100` | 100 records in one batch | `wal` |
//! | `point_read_hot`, `point_read_cold` | one record; cold: the store was just opened, so its caches are empty, not the system's | `wal` |
//! | `mixed` | reads and writes in turn | `wal` |
//! | `range_100` | 100 neighbours of the ledger | `wal_fsync` |
//! | `synced_write` | one entry of the ledger, by 1 and by 64 writers at once | `wal_fsync`: after a power cut |
//! | `space` | share that the files are smaller than the records | `wal` |

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use promptc_benches::measurement::times_ns;
use promptc_benches::{Measurement, Recorder, fixtures};
use promptc_store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};

/// Bytes of a record.
const RECORD_BYTES: usize = 1_000;
/// Records in the store before reads are measured: quick, full.
const RECORDS: (usize, usize) = (20_000, 1_000_000);
/// Calls that are timed: quick, full.
const CALLS: (usize, usize) = (2_000, 100_000);
/// Synced writes that are timed: quick, full.
const SYNCED_CALLS: (usize, usize) = (200, 5_000);
/// Records of a batch and of a range.
const BATCH: usize = 100;
/// Writers at once.
const WRITERS: usize = 64;
/// Different records; more repeat.
const TEXTS: usize = 1_000;
/// Seed of the records.
const SEED: u64 = 7;

/// The records and the place of the store.
struct Subject {
    folder: tempfile::TempDir,
    records: Vec<Vec<u8>>,
    record_count: usize,
    calls: usize,
    synced_calls: usize,
}

fn open(folder: &Path) -> Store {
    let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
    Store::open(folder, &options).expect("a new store in a temporary folder opens")
}

fn key(idx: usize) -> [u8; 32] {
    *blake3::hash(&idx.to_le_bytes()).as_bytes()
}

impl Subject {
    fn record(&self, idx: usize) -> ([u8; 32], Vec<u8>) {
        (key(idx), self.records[idx % TEXTS].clone())
    }

    /// Records from `first` on, in batches.
    fn fill(&self, store: &Store, first: usize, count: usize) {
        for start in (first..first + count).step_by(BATCH) {
            let rows: Vec<_> = (start..start + BATCH).map(|idx| self.record(idx)).collect();
            store.rows().put_many(&rows).expect("the records fit on the disk");
        }
    }

    /// Number of an existing record that is far from the last one.
    fn somewhere(&self, call: usize) -> usize {
        call.wrapping_mul(7_919) % self.record_count
    }
}

/// Latency of every call, and records a second over groups of 100 calls, of 10 where a call holds many records.
fn record(recorder: &mut Recorder, title: &str, durability: &'static str, per_call: usize, times: Vec<f64>) {
    let rate = |group: &[f64]| (group.len() * per_call) as f64 * 1e9 / group.iter().sum::<f64>();
    let group = if per_call == 1 { 100 } else { 10 };
    let rates: Vec<f64> = times.chunks(group).map(rate).collect();
    let total = Duration::from_nanos(times.iter().sum::<f64>() as u64);
    let latency = Measurement::new(title, "wall_ns", times);
    let throughput = Measurement::new(title, "throughput", rates);
    for measurement in [latency, throughput] {
        recorder.add(measurement.param("clients", 1).within(total).durable(durability));
    }
}

fn writes(recorder: &mut Recorder, subject: &Subject, store: &Store) {
    let calls = recorder.rounds(subject.calls);
    let title = "storage_performance/single_write/1kb";
    if recorder.wants(title) {
        let times = times_ns(calls, |call| {
            store
                .rows()
                .put_many(&[subject.record(subject.record_count + call)])
                .expect("a record is written")
        });
        record(recorder, title, "wal", 1, times);
    }
    let title = "storage_performance/batch_100/1kb";
    if recorder.wants(title) {
        let batches: Vec<Vec<_>> = (0..TEXTS / BATCH)
            .map(|batch| (0..BATCH).map(|idx| subject.record(batch * BATCH + idx)).collect())
            .collect();
        let times = times_ns(calls.div_ceil(10), |call| {
            store.rows().put_many(&batches[call % batches.len()]).expect("a batch is written")
        });
        record(recorder, title, "wal", BATCH, times);
    }
    let title = "storage_performance/mixed/1kb";
    if recorder.wants(title) {
        let times = times_ns(calls, |call| {
            let idx = subject.somewhere(call);
            if call % 2 == 0 {
                assert!(store.rows().get_many(&[key(idx)])[0].is_some(), "record {idx} is there");
            } else {
                store.rows().put_many(&[subject.record(idx)]).expect("a record is written");
            }
        });
        record(recorder, title, "wal", 1, times);
    }
}

fn reads(recorder: &mut Recorder, subject: &Subject, store: &Store, title: &str) {
    if !recorder.wants(title) {
        return;
    }
    let times = times_ns(recorder.rounds(subject.calls), |call| {
        let idx = subject.somewhere(call);
        assert!(store.rows().get_many(&[key(idx)])[0].is_some(), "record {idx} is there");
    });
    record(recorder, title, "wal", 1, times);
}

fn ledger(recorder: &mut Recorder, subject: &Subject, store: &Store) {
    let title = "storage_performance/range_100/1kb";
    if recorder.wants(title) {
        let names: Vec<String> =
            (0..TEXTS).map(|idx| format!("range/{:02}/{:02}", idx / BATCH, idx % BATCH)).collect();
        let entries: Vec<(&str, &[u8])> =
            names.iter().map(String::as_str).zip(subject.records.iter().map(Vec::as_slice)).collect();
        store.ledger().put_all(&entries).expect("the entries fit on the disk");
        let times = times_ns(recorder.rounds(subject.synced_calls), |call| {
            let found = store.ledger().entries(&format!("range/{:02}/", call % (TEXTS / BATCH)));
            assert_eq!(found.expect("the entries are read").len(), BATCH);
        });
        record(recorder, title, "wal_fsync", BATCH, times);
    }
    let title = "storage_performance/synced_write/1_writer";
    if recorder.wants(title) {
        let times = times_ns(recorder.rounds(subject.synced_calls), |call| {
            let entry: [(&str, &[u8]); 1] = [(&format!("one/{call}"), &subject.records[call % TEXTS])];
            store.ledger().put_all(&entry).expect("an entry is written");
        });
        record(recorder, title, "wal_fsync", 1, times);
    }
    let title = "storage_performance/synced_write/64_writers";
    if recorder.wants(title) {
        many_writers(recorder, subject, store, title);
    }
}

/// Each writer waits for its own entry; the store may sync the entries of several together.
fn many_writers(recorder: &mut Recorder, subject: &Subject, store: &Store, title: &str) {
    let calls = recorder.rounds(subject.synced_calls.div_ceil(8));
    let start = Instant::now();
    let times: Vec<f64> = std::thread::scope(|scope| {
        let writer = |writer: usize| {
            scope.spawn(move || {
                times_ns(calls, |call| {
                    let entry: [(&str, &[u8]); 1] =
                        [(&format!("many/{writer}/{call}"), &subject.records[call % TEXTS])];
                    store.ledger().put_all(&entry).expect("an entry is written");
                })
            })
        };
        let threads: Vec<_> = (0..WRITERS).map(writer).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a writer does not panic")).collect()
    });
    let elapsed = start.elapsed();
    // One call of each writer is not timed, but takes its part of the time.
    let rate = (WRITERS * (calls + 1)) as f64 / elapsed.as_secs_f64();
    let latency = Measurement::new(title, "wall_ns", times);
    let throughput = Measurement::new(title, "throughput", vec![rate]);
    for measurement in [latency, throughput] {
        recorder.add(measurement.param("clients", WRITERS).within(elapsed).durable("wal_fsync"));
    }
}

/// Bytes of all files below a folder.
fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the store's folder is read").flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("storage_performance");
    let scale = recorder.scale();
    let texts = fixtures::texts(TEXTS, RECORD_BYTES, SEED);
    let subject = Subject {
        folder: tempfile::tempdir().expect("a temporary folder"),
        records: texts.into_iter().map(String::into_bytes).collect(),
        record_count: recorder.rounds(scale.pick(RECORDS.0, RECORDS.1)).next_multiple_of(BATCH),
        calls: scale.pick(CALLS.0, CALLS.1),
        synced_calls: scale.pick(SYNCED_CALLS.0, SYNCED_CALLS.1),
    };
    recorder.param("data", "generated");
    recorder.param("seed", SEED);
    recorder.param("record_bytes", RECORD_BYTES);
    recorder.param("record_count", subject.record_count);
    let folder = subject.folder.path().join("store");
    let store = open(&folder);
    subject.fill(&store, 0, subject.record_count);
    // Closing writes the buffers to files.
    drop(store);
    let title = "storage_performance/space/1kb";
    if recorder.wants(title) {
        let raw = (subject.record_count * (RECORD_BYTES + 32)) as f64;
        let share = 1.0 - disk_bytes(&folder) as f64 / raw;
        recorder.add(Measurement::new(title, "saved_ratio", vec![share]).durable("wal"));
    }
    let store = open(&folder);
    reads(&mut recorder, &subject, &store, "storage_performance/point_read_cold/1kb");
    reads(&mut recorder, &subject, &store, "storage_performance/point_read_hot/1kb");
    writes(&mut recorder, &subject, &store);
    ledger(&mut recorder, &subject, &store);
    drop(store);
    recorder.finish()
}
