//! The log and its records: against a map, over reopens, torn logs, threads.

use crate::directory::open;
use crate::support;
use crate::vectors::copy_folder;
use promptc_store::kv::{Batch, Compression, Durability, Records, Tuning, VALUE_BYTES_MAX};
use promptc_store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Small buffers, so that a few writes reach tables.
pub(crate) const SMALL: Tuning = Tuning {
    block_cache_bytes: 1 << 20,
    write_buffer_bytes: 64 << 10,
    block_bytes: 1 << 10,
    compression: Compression::Zstd,
    group_records: 4,
    group_wait: Duration::from_millis(1),
};

fn open_small(dir: &Path) -> Store {
    let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
    Store::open_tuned(dir, &options, &SMALL).unwrap()
}

fn all(records: &Records) -> Model {
    let mut found = Model::new();
    let insert = |key: &[u8], value: &[u8]| found.insert(key.to_vec(), value.to_vec()).is_none();
    records.range(b"", None, insert).unwrap();
    found
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(Vec<u8>, Option<Vec<u8>>)>, Durability),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys, so that they meet; some are prefixes of others, one is empty.
    let key = prop::collection::vec(0_u8..3, 0..3);
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (1_usize..20_000).prop_map(|bytes| vec![7; bytes]),
    ];
    let change = (key, prop::option::weighted(0.7, value));
    let level = prop::sample::select(Durability::ALL.to_vec());
    let write =
        (prop::collection::vec(change, 1..6), level).prop_map(|(changes, level)| Step::Write(changes, level));
    prop::collection::vec(prop_oneof![12 => write, 1 => Just(Step::Reopen)], 1..60)
}

fn batch(changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(key, value).unwrap(),
            None => batch.delete(key).unwrap(),
        }
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn records_are_a_map_that_survives_being_closed(steps in steps(), bounds in (0_u8..3, 0_u8..4)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open_small(dir.path());
        let mut model = Model::new();
        let mut last = 0;
        for step in steps {
            match step {
                Step::Write(changes, level) => {
                    let batch = batch(&changes);
                    let expected = batch.clone();
                    let ack = store.records().write(batch, level).unwrap();
                    prop_assert_eq!(ack.sequence, last + 1);
                    prop_assert_eq!(ack.crc, expected.crc_at(ack.sequence));
                    last = ack.sequence;
                    let keys: Vec<Vec<u8>> = changes.iter().map(|change| change.0.clone()).collect();
                    for (key, value) in changes {
                        match value {
                            Some(value) => model.insert(key, value),
                            None => model.remove(&key),
                        };
                    }
                    for key in keys {
                        let found = store.records().get(&key).unwrap();
                        prop_assert_eq!(found.as_ref(), model.get(&key));
                    }
                }
                Step::Reopen => {
                    drop(store);
                    store = open_small(dir.path());
                    prop_assert_eq!(store.records().last_sequence(), last);
                }
            }
        }
        let records = store.records();
        prop_assert_eq!(&all(records), &model);
        for (key, value) in &model {
            let found = records.get(key).unwrap();
            prop_assert_eq!(found.as_ref(), Some(value));
        }
        prop_assert_eq!(records.get(b"never").unwrap(), None);
        let (start, end) = (vec![bounds.0], vec![bounds.1]);
        let mut part = Model::new();
        records.range(&start, Some(&end), |key, value| part.insert(key.to_vec(), value.to_vec()).is_none()).unwrap();
        let expected: Model = model.iter().filter(|(key, _)| **key >= start && **key < end)
            .map(|(key, value)| (key.clone(), value.clone())).collect();
        prop_assert_eq!(part, expected);
        let verified = records.verify().unwrap();
        prop_assert_eq!((verified.log_records, verified.gaps, verified.keys), (last, 0, model.len() as u64));
    }
}

#[test]
fn the_largest_value_and_the_empty_one_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large: Vec<u8> = (0..VALUE_BYTES_MAX).map(|at| ((at * 31) >> 3) as u8).collect();
    store.records().put(b"large", &large, Durability::Wal).unwrap();
    store.records().put(b"", b"", Durability::Wal).unwrap();
    let error = store.records().put(b"larger", &vec![0; VALUE_BYTES_MAX + 1], Durability::Wal).unwrap_err();
    assert_eq!(error.code(), "E1006");
    drop(store);
    let store = open(dir.path());
    assert!(store.records().get(b"large").unwrap().unwrap() == large);
    assert_eq!(store.records().get(b"").unwrap(), Some(Vec::new()));
    assert_eq!(store.records().get(b"larger").unwrap(), None);
}

#[test]
fn a_range_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..20_u8 {
        store.records().put(&[number], b"", Durability::None).unwrap();
    }
    let mut seen = Vec::new();
    let visit = |key: &[u8], _: &[u8]| {
        seen.push(key[0]);
        seen.len() < 5
    };
    store.records().range(&[3], None, visit).unwrap();
    assert_eq!(seen, [3, 4, 5, 6, 7]);
}

/// Name of the log that an open store writes. A copy of the folder is then what a kill at this moment leaves: closing would
/// write everything into tables.
fn log_file(dir: &Path) -> String {
    let logs = support::names(&dir.join("kv")).into_iter().filter(|name| name.ends_with(".log"));
    let log = logs.max_by_key(|name| fs::metadata(dir.join("kv").join(name)).unwrap().len()).unwrap();
    assert!(fs::metadata(dir.join("kv").join(&log)).unwrap().len() > 0);
    log
}

/// Of writes that nobody synced.
#[test]
fn a_torn_log_costs_whole_writes_from_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..10_u8 {
        let pair = [(vec![number], Some(vec![number; 100])), (vec![number, 1], Some(vec![number; 50]))];
        store.records().write(batch(&pair), Durability::Wal).unwrap();
    }
    let log = log_file(dir.path());
    let mut survived = Vec::new();
    for cut_bytes in [1, 50, 150, 300, 700, 1_500] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), copy.path());
        let file = fs::OpenOptions::new().write(true).open(copy.path().join("kv").join(&log)).unwrap();
        let bytes = file.metadata().unwrap().len();
        file.set_len(bytes - cut_bytes).unwrap();
        let store = open(copy.path());
        let verified = store.records().verify().unwrap();
        assert_eq!((verified.gaps, verified.keys), (0, verified.log_records * 2), "{cut_bytes} bytes");
        let next = store.records().put(b"next", b"", Durability::Wal).unwrap();
        assert_eq!(next.sequence, verified.log_records + 1);
        survived.push(verified.log_records);
    }
    assert!(survived.is_sorted_by(|more, less| more >= less) && survived[0] == 9, "{survived:?}");
    assert!(*survived.last().unwrap() < 7, "{survived:?}");
}

#[test]
fn a_flipped_bit_in_the_log_never_gives_another_value() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..40_u8 {
        store.records().put(&[number], &[number; 64], Durability::WalFsync).unwrap();
    }
    let log = log_file(dir.path());
    let whole = fs::read(dir.path().join("kv").join(&log)).unwrap();
    let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
    let mut refused = 0;
    for part in 1..20 {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), copy.path());
        let mut bytes = whole.clone();
        let at = bytes.len() * part / 20;
        bytes[at] ^= 1;
        fs::write(copy.path().join("kv").join(&log), bytes).unwrap();
        match Store::open(copy.path(), &options) {
            Err(error) => {
                assert_eq!(error.code(), "E1003", "byte {at}: {error}");
                refused += 1;
            }
            Ok(store) => {
                store.records().verify().unwrap();
                for (key, value) in all(store.records()) {
                    assert_eq!(value, [key[0]; 64], "byte {at}");
                }
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn many_writers_share_syncs_and_every_acknowledged_write_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let records = store.records();
    let (writer_count, writes) = (16_u8, 40_u8);
    let mut sequences: Vec<u64> = std::thread::scope(|scope| {
        let writer = |writer: u8| {
            scope.spawn(move || {
                let put = |number: u8| {
                    // Levels differ, so groups of one level meet those of others.
                    let level = if number % 8 == 7 { Durability::Wal } else { Durability::GroupCommit };
                    records.put(&[writer, number], &[writer; 200], level).unwrap().sequence
                };
                (0..writes).map(put).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..writer_count).map(writer).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    sequences.sort_unstable();
    let total = u64::from(writer_count) * u64::from(writes);
    assert_eq!(sequences, (1..=total).collect::<Vec<_>>());
    let counts = records.counts();
    assert_eq!(counts.writes, total);
    // Alone each would have its own; 35 of 40 are synced.
    assert!(counts.syncs < total * 35 / 40, "{counts:?}");
    let verified = records.verify().unwrap();
    assert_eq!((verified.log_records, verified.keys), (total, total));
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.records().verify().unwrap(), verified);
}

#[test]
fn the_doctor_compares_records_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.records().put(b"a", b"1", Durability::Wal).unwrap();
    drop(store);
    let findings = promptc_store::doctor::check(dir.path());
    let found = findings.iter().find(|finding| finding.subject == "records").unwrap();
    assert_eq!(found.severity, promptc_store::doctor::Severity::Info);
    assert!(found.message.starts_with("1 records are what 1 writes"), "{}", found.message);
}

/// A store whose process did not close it: fifty records that were synced, then fifty in the log's end that nobody synced.
fn left_behind(dir: &Path) -> std::path::PathBuf {
    let (live, left) = (dir.join("live"), dir.join("left"));
    let store = open(&live);
    let value = |number: u32| number.to_le_bytes().repeat(256);
    for number in 0..50_u32 {
        store.records().put(&number.to_be_bytes(), &value(number), Durability::GroupCommit).unwrap();
    }
    for number in 50..100_u32 {
        store.records().put(&number.to_be_bytes(), &value(number), Durability::Wal).unwrap();
    }
    copy_folder(&live, &left);
    left
}

/// Zeroes a sector of RocksDB's log, at this part of its length.
fn tear(store: &Path, part: f64) {
    let logs = fs::read_dir(store.join("kv")).unwrap().map(|entry| entry.unwrap().path());
    let log = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let log = log.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let sector = (end as f64 * part) as usize / 512 * 512;
    bytes[sector..sector + 512].fill(0);
    fs::write(log, bytes).unwrap();
}

#[test]
fn a_hole_that_a_power_cut_left_takes_what_nobody_synced() {
    let dir = tempfile::tempdir().unwrap();
    let left = left_behind(dir.path());
    tear(&left, 0.8);
    let store = open(&left);
    let last = store.records().last_sequence();
    assert!((50..100).contains(&last), "{last}");
    assert!(store.notice().unwrap().contains("power cut"));
    let verified = store.records().verify().unwrap();
    assert_eq!((verified.log_records, verified.keys), (last, last));
    store.records().put(b"next", b"1", Durability::GroupCommit).unwrap();
    drop(store);
    assert_eq!(open(&left).notice(), None);
}

#[test]
fn a_hole_in_what_was_synced_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let left = left_behind(dir.path());
    tear(&left, 0.2);
    let files = |left: &Path| support::names(&left.join("kv"));
    let before = files(&left);
    let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
    let error = Store::open(&left, &options).unwrap_err();
    assert_eq!(error.code(), "E1003", "{error}");
    let logs =
        |names: Vec<String>| names.into_iter().filter(|name| name.ends_with(".log")).collect::<Vec<_>>();
    assert_eq!(logs(files(&left)), logs(before), "what can still be read is there");
    // The control: without the bound it would have been opened, and forty records be gone without a word.
    fs::remove_file(left.join("kv/SYNCED")).unwrap();
    assert!(open(&left).records().last_sequence() < 50);
}

#[test]
fn a_log_that_was_cut_off_before_what_was_synced_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let left = left_behind(dir.path());
    let logs = fs::read_dir(left.join("kv")).unwrap().map(|entry| entry.unwrap().path());
    for log in logs.filter(|path| path.extension().is_some_and(|ending| ending == "log")) {
        let bytes = fs::read(&log).unwrap();
        fs::write(&log, &bytes[..bytes.len() / 5]).unwrap();
    }
    let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
    let error = Store::open(&left, &options).unwrap_err();
    assert!(error.to_string().contains("it was on the disk up to write 50"), "{error}");
}
