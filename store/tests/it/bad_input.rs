//! What a store is given and cannot take: bounds, foreign and read-only disks, no inodes, files that go away under it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use promptc_store::doctor::{self, Severity};
use promptc_store::flows::{Flow, FlowWriter};
use promptc_store::kv::{BATCH_OPERATIONS_MAX, Batch, Durability, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use promptc_store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};

use crate::directory::{open, told_dir};
use crate::full_disk::{ends_with, on_a_mount};
use crate::support::names;

const READ: StoreOptions = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: true };
const WRITE: StoreOptions = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };

#[test]
fn keys_and_values_at_their_bounds_come_back_and_beyond_them_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let records = store.records();
    let (long_key, large) = (vec![7; KEY_BYTES_MAX], vec![9; VALUE_BYTES_MAX]);
    for (key, value) in
        [(&b""[..], &b""[..]), (b"", b"1"), (b"empty", b""), (&long_key, b"2"), (b"large", &large)]
    {
        records.put(key, value, Durability::Wal).unwrap();
        assert!(records.get(key).unwrap().as_deref() == Some(value));
    }
    let last = records.last_sequence();
    let (too_long, too_large) = (vec![7; KEY_BYTES_MAX + 1], vec![9; VALUE_BYTES_MAX + 1]);
    assert_eq!(records.put(&too_long, b"", Durability::Wal).unwrap_err().code(), "E1006");
    assert_eq!(records.delete(&too_long, Durability::Wal).unwrap_err().code(), "E1006");
    assert_eq!(records.put(b"a", &too_large, Durability::Wal).unwrap_err().code(), "E1006");
    let mut batch = Batch::new();
    (0..BATCH_OPERATIONS_MAX).for_each(|_| batch.delete(b"gone").unwrap());
    assert_eq!(batch.put(b"a", b"").unwrap_err().code(), "E1006");
    assert_eq!(records.last_sequence(), last);
    records.write(batch, Durability::Wal).unwrap();
    // Never written, and asked for all the same.
    assert_eq!(records.get(&too_long).unwrap(), None);
    drop(store);
    assert_eq!(open(dir.path()).records().verify().unwrap().keys, 4);
}

#[test]
fn a_read_only_disk_is_named_and_can_be_read() {
    if let Some(dir) = told_dir() {
        let error = Store::open(&dir, &WRITE).unwrap_err();
        assert_eq!(error.code(), "E2501", "{error}");
        assert!(error.to_string().contains("Read-only") && error.help().contains("written"), "{error}");
        let store = Store::open(&dir, &READ).unwrap();
        assert_eq!(store.records().get(b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(store.records().put(b"a", b"2", Durability::Wal).unwrap_err().code(), "E2001");
        drop(store);
        assert!(doctor::check(&dir).iter().all(|finding| finding.severity != Severity::Error));
        assert_eq!(Store::open(&dir.join("new"), &WRITE).unwrap_err().code(), "E2501");
        return println!("child:read");
    }
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).records().put(b"a", b"1", Durability::WalFsync).unwrap();
    let name = "bad_input::a_read_only_disk_is_named_and_can_be_read";
    let mount = format!("-o ro,bind {}", dir.path().display());
    // A bind mount becomes read-only by a second step where the first ignores the flag.
    let place = tempfile::tempdir().unwrap();
    let remount = format!("{mount} \"$PROMPTC_TEST_DIR\" && mount -o remount,ro,bind");
    ends_with("child:read", on_a_mount(name, &remount, place.path()));
}

#[test]
fn a_disk_without_inodes_is_named_and_costs_nothing_that_was_acknowledged() {
    if let Some(dir) = told_dir() {
        let store_dir = dir.join("store");
        let store = open(&store_dir);
        store.records().put(b"a", b"1", Durability::WalFsync).unwrap();
        let taken = (0..).map(|number| dir.join(format!("taken-{number}")));
        let taken: Vec<_> = taken.take_while(|path| fs::write(path, "").is_ok()).collect();
        assert!(taken.len() > 3, "{} files fitted", taken.len());
        let flow = || {
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
            let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
            let mut writer =
                FlowWriter::create(&store.tmp_dir(), &store.flows_dir(), "aa", batch.schema(), &[])?;
            writer.write(&batch)?;
            writer.finish()
        };
        assert_eq!(flow().unwrap_err().code(), "E1004");
        assert_eq!(promptc_store::medium::replace(&dir.join("new"), b"x").unwrap_err().code(), "E1004");
        // The log goes on in the file that it has.
        store.records().put(b"b", b"2", Durability::WalFsync).unwrap();
        drop(store);
        let error = Store::open(&store_dir, &WRITE).unwrap_err();
        assert_eq!(error.code(), "E1004", "{error}");
        for path in taken {
            fs::remove_file(path).unwrap();
        }
        let store = open(&store_dir);
        for (key, value) in [(b"a", b"1"), (b"b", b"2")] {
            assert_eq!(store.records().get(key).unwrap(), Some(value.to_vec()));
        }
        store.records().verify().unwrap();
        return println!("child:resumed");
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "bad_input::a_disk_without_inodes_is_named_and_costs_nothing_that_was_acknowledged";
    ends_with("child:resumed", on_a_mount(name, "-t tmpfs -o size=64m,nr_inodes=48 tmpfs", dir.path()));
}

#[test]
fn files_deleted_under_a_running_process_are_no_wrong_answer_and_no_silent_loss() {
    let written = |dir: &Path| {
        let store = open(dir);
        for number in 0..50_u8 {
            store.records().put(&[number], &[number; 100], Durability::WalFsync).unwrap();
        }
        store
    };
    let ends_so = |suffix: &'static str| move |name: &str| name.ends_with(suffix);
    let starts_so = |prefix: &'static str| move |name: &str| name.starts_with(prefix);
    type Choice<'a> = (&'a str, &'a dyn Fn(&str) -> bool);
    let cases: [Choice<'_>; 4] = [
        ("log", &ends_so(".log")),
        ("current", &starts_so("CURRENT")),
        ("manifest", &starts_so("MANIFEST-")),
        ("everything", &|_| true),
    ];
    for (what, is_deleted) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = written(dir.path());
        for name in names(&dir.path().join("kv")).into_iter().filter(|name| is_deleted(name)) {
            fs::remove_file(dir.path().join("kv").join(name)).unwrap();
        }
        for number in 0..50_u8 {
            match store.records().get(&[number]) {
                Ok(value) => assert_eq!(value, Some(vec![number; 100]), "{what}"),
                Err(error) => assert_eq!(error.code(), "E1003", "{what}: {error}"),
            }
        }
        let _ = store.records().put(b"more", b"1", Durability::WalFsync);
        drop(store);
        match Store::open(dir.path(), &WRITE) {
            Err(error) => assert_eq!(error.code(), "E1003", "{what}: {error}"),
            Ok(store) => {
                for number in 0..50_u8 {
                    assert_eq!(store.records().get(&[number]).unwrap(), Some(vec![number; 100]), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_lock_deleted_under_a_running_process_does_not_let_a_second_writer_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fs::write(store.tmp_dir().join("being-written"), "x").unwrap();
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    let error = Store::open(dir.path(), &WRITE).unwrap_err();
    assert_eq!(error.code(), "E1001", "{error}");
    assert!(store.tmp_dir().join("being-written").exists(), "the second one emptied the first one's folder");
    store.records().put(b"a", b"1", Durability::WalFsync).unwrap();
}

#[test]
fn a_flow_deleted_while_it_is_read_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..20_000));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let mut writer =
        FlowWriter::create(&store.tmp_dir(), &store.flows_dir(), "aa", batch.schema(), &[]).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let path = store.flows_dir().join("aa.parquet");
    let flow = Flow::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(flow.load(&["n".to_owned()]).unwrap(), batch);
    assert_eq!(Flow::open(&path).unwrap_err().code(), "E2501");
}

#[test]
fn folders_that_cannot_be_stores_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.as_path(), &file.join("below"), Path::new("/dev/null"), Path::new("/proc/promptc")] {
        let error = Store::open(path, &WRITE).unwrap_err();
        assert_eq!(error.code(), "E2501", "{}: {error}", path.display());
        assert!(!error.help().is_empty());
        let findings = doctor::check(path);
        assert_eq!(findings[0].severity, Severity::Error, "{findings:?}");
        assert!(doctor::repair(path).unwrap().is_empty());
    }
    assert_eq!(fs::read(&file).unwrap(), b"x");
}
