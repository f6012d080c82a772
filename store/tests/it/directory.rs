//! The store directory: version, lock, kills, damage, garbage.

use crate::support;
use crate::vectors::copy_folder;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use promptc_store::doctor::{self, Severity};
use promptc_store::flows::FlowWriter;
use promptc_store::kv::Durability;
use promptc_store::kv::ledger::{uses_key, uses_value};
use promptc_store::open::{CACHE_BYTES_DEFAULT, OpenError, Store, StoreOptions};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const WRITE: StoreOptions = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
const READ: StoreOptions = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: true };

/// Flips a bit inside each of the files, of which there must be some.
fn flip_a_bit_of_each(files: &[PathBuf]) {
    assert!(!files.is_empty());
    for file in files {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 0x10;
        fs::write(file, bytes).unwrap();
    }
}

/// Opens a store for writing. Another test of this process may start a child just now, which holds the lock of a store that was closed
/// until it becomes another program: so a lock is waited for, a moment.
pub(crate) fn open(dir: &Path) -> Store {
    for _ in 0..100 {
        match Store::open(dir, &WRITE) {
            Err(OpenError::Locked { .. }) => std::thread::sleep(std::time::Duration::from_millis(20)),
            opened => return opened.unwrap(),
        }
    }
    Store::open(dir, &WRITE).unwrap()
}

/// Runs the test `name` of this binary in another process, which finds `PROMPTC_TEST_DIR` set.
pub(crate) fn other_process(name: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("PROMPTC_TEST_DIR", dir)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) fn told_dir() -> Option<std::path::PathBuf> {
    std::env::var_os("PROMPTC_TEST_DIR").map(Into::into)
}

/// Lines that a child wrote after the word `child:`.
fn child_lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| Some(line.split_once("child:")?.1.to_owned()))
}

#[test]
fn store_is_made_once_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/.promptc");
    assert!(matches!(Store::open(&path, &READ), Err(OpenError::Missing { .. })));
    let store = open(&path);
    store.ledger().put_all(&[("a", b"1")]).unwrap();
    fs::write(store.tmp_dir().join("left"), "x").unwrap();
    drop(store);
    let store = open(&path);
    assert_eq!(store.ledger().get("a").unwrap(), Some(b"1".to_vec()));
    assert!(!store.tmp_dir().join("left").exists());
    for folder in [store.flows_dir(), store.vectors_dir(), store.text_dir(), store.tmp_dir()] {
        assert!(folder.is_dir());
    }
    assert!(fs::read_to_string(path.join("FORMAT")).unwrap().starts_with("promptc-store 1\n"));
}

#[test]
fn another_process_holds_the_store() {
    if let Some(dir) = told_dir() {
        let _store = open(&dir);
        println!("child:{}", std::process::id());
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = other_process("directory::another_process_holds_the_store", dir.path());
    let process = child_lines(&mut child).next().unwrap();
    for options in [WRITE, READ] {
        let error = Store::open(dir.path(), &options).unwrap_err();
        assert_eq!(error.code(), "E1001");
        assert!(error.to_string().contains(&format!("process {process}")), "{error}");
    }
    let findings = doctor::check(dir.path());
    assert_eq!((findings[0].code, findings[0].severity), (Some("E1001"), Severity::Warning));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap();
    open(dir.path());
}

#[test]
fn handles_keep_the_lock_and_readers_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let rows = open(dir.path()).rows().clone();
    assert_eq!(Store::open(dir.path(), &WRITE).unwrap_err().code(), "E1001");
    drop(rows);
    let first = Store::open(dir.path(), &READ).unwrap();
    let second = Store::open(dir.path(), &READ).unwrap();
    assert!(first.is_read_only() && second.ledger().put_all(&[("a", b"")]).is_err());
    assert_eq!(Store::open(dir.path(), &WRITE).unwrap_err().code(), "E1001");
}

#[test]
fn other_versions_and_foreign_folders_are_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("FORMAT"), "promptc-store 7\n").unwrap();
    let error = Store::open(dir.path(), &WRITE).unwrap_err();
    assert_eq!(error.code(), "E1002");
    let message = format!("{error} {}", error.help());
    assert!(
        message.contains("format 7") && message.contains("format 1") && message.contains("records"),
        "{message}"
    );
    for text in ["", "something else\n", "promptc-store\n"] {
        fs::write(dir.path().join("FORMAT"), text).unwrap();
        let error = Store::open(dir.path(), &WRITE).unwrap_err();
        assert_eq!(error.code(), "E1003", "{text:?}");
        assert!(error.help().contains("promptc doctor --repair"), "{}", error.help());
    }

    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("thesis.tex"), "x").unwrap();
    let error = Store::open(foreign.path(), &WRITE).unwrap_err();
    assert_eq!(error.code(), "E2501");
    assert!(error.to_string().contains("thesis.tex"));
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1);
    let file = foreign.path().join("thesis.tex");
    assert_eq!(Store::open(&file, &WRITE).unwrap_err().code(), "E2501");
}

fn write_flow(store: &Store, fp: &str) {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5_000));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let mut writer =
        FlowWriter::create(&store.tmp_dir(), &store.flows_dir(), fp, batch.schema(), &[]).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

/// Files of the database whose name `is_wanted`, sorted.
fn database_files(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let names = support::names(&dir.join("kv")).into_iter().filter(|name| is_wanted(name));
    names.map(|name| dir.join("kv").join(name)).collect()
}

#[test]
fn a_database_without_its_own_list_of_files_is_damaged_not_new() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.ledger().put_all(&[("a", b"1")]).unwrap();
    drop(store);
    for prefix in ["CURRENT", "MANIFEST-"] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), copy.path());
        let removed = database_files(copy.path(), |name| name.starts_with(prefix));
        assert!(!removed.is_empty());
        removed.iter().for_each(|file| fs::remove_file(file).unwrap());
        for options in [WRITE, READ] {
            let error = Store::open(copy.path(), &options).unwrap_err();
            assert_eq!(error.code(), "E1003", "{prefix}: {error}");
            assert!(error.help().contains("promptc doctor"), "{}", error.help());
        }
        let findings = doctor::check(copy.path());
        assert!(findings.iter().any(|finding| finding.code == Some("E1003")), "{findings:?}");
    }
}

#[test]
fn a_torn_log_costs_its_last_record_at_most() {
    let row = |number: u64| (row_key(number), number.to_le_bytes().repeat(1_000));
    if let Some(dir) = told_dir() {
        let store = open(&dir);
        write_over_two_logs(&store, row);
        println!("child:done");
        // Closing the store would write everything into tables.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = other_process("directory::a_torn_log_costs_its_last_record_at_most", dir.path());
    assert_eq!(child_lines(&mut child).next().unwrap(), "done");
    child.kill().unwrap();
    child.wait().unwrap();
    let is_log = |name: &str| name.ends_with(".log");
    let mut logs = database_files(dir.path(), is_log);
    logs.retain(|log| fs::metadata(log).unwrap().len() > 0);
    assert!(!logs.is_empty());
    for log in logs.iter().rev().take(2) {
        for cut_bytes in [1, 2, 7, 8, 23, 50] {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(dir.path(), copy.path());
            let file = copy.path().join("kv").join(log.file_name().unwrap());
            let bytes = fs::metadata(&file).unwrap().len();
            fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(bytes - cut_bytes).unwrap();
            let store = open(copy.path());
            let entries = store.ledger().entries("").unwrap();
            let names: Vec<&str> = entries.iter().map(|entry| entry.0.as_str()).collect();
            assert_eq!(names, ["first", "second"], "{log:?} {cut_bytes}");
            let keys: Vec<_> = (0..2_420).map(row_key).collect();
            let found = store.rows().get_many(&keys);
            let missing = found.iter().filter(|value| value.is_none()).count();
            assert!(missing <= 1, "{missing} rows after {cut_bytes} bytes of {log:?}");
            for (number, value) in found.into_iter().enumerate() {
                assert!(value.is_none_or(|value| value == row(number as u64).1), "row {number}");
            }
        }
    }
}

fn write_over_two_logs(store: &Store, row: impl Fn(u64) -> ([u8; 32], Vec<u8>)) {
    store.ledger().put_all(&[("first", b"1")]).unwrap();
    // More than a write buffer: the rows go on in another log, and all families are flushed from the first.
    for number in 0..2_400 {
        store.rows().put_many(&[row(number)]).unwrap();
    }
    store.ledger().put_all(&[("second", b"2")]).unwrap();
    for number in 2_400..2_420 {
        store.rows().put_many(&[row(number)]).unwrap();
    }
}

fn row_key(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

#[test]
fn killed_process_loses_nothing_that_it_was_told_is_kept() {
    if let Some(dir) = told_dir() {
        let store = open(&dir);
        let start = store
            .ledger()
            .get("next")
            .unwrap()
            .map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        for number in start.. {
            let row = (row_key(number), number.to_le_bytes().repeat(100));
            store.rows().put_many(&[row]).unwrap();
            store
                .ledger()
                .put_all(&[("next", &(number + 1).to_le_bytes()), ("twin", &(number + 1).to_le_bytes())])
                .unwrap();
            println!("child:{number}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "directory::killed_process_loses_nothing_that_it_was_told_is_kept";
    for cycle in 0..4u64 {
        let mut child = other_process(name, dir.path());
        let lines = child_lines(&mut child);
        let mut last = 0;
        for line in lines.take(20 + 17 * cycle as usize) {
            last = line.parse::<u64>().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(dir.path());
        let next = store.ledger().get("next").unwrap().unwrap();
        assert!(u64::from_le_bytes(next.clone().try_into().unwrap()) > last, "cycle {cycle}");
        assert_eq!(store.ledger().get("twin").unwrap().unwrap(), next, "half a batch");
        let keys: Vec<_> = (0..=last).map(row_key).collect();
        for (number, value) in store.rows().get_many(&keys).into_iter().enumerate() {
            assert_eq!(value, Some((number as u64).to_le_bytes().repeat(100)), "cycle {cycle}, row {number}");
        }
        assert_eq!(store.rows().counts().damaged, 0);
    }
}

#[test]
fn doctor_names_what_is_missing_and_gc_keeps_what_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ids = [("used", "0"), ("cut", "1"), ("flipped", "2")].map(|(name, digit)| (name, digit.repeat(32)));
    for (_, fp) in &ids {
        write_flow(&store, fp);
    }
    let [used, cut, flipped] = ids.map(|(_, fp)| format!("flows/{fp}.parquet"));
    fs::write(store.flows_dir().join("old.parquet"), b"PAR1....PAR1").unwrap();
    fs::create_dir(store.vectors_dir().join("v.lance")).unwrap();
    fs::create_dir(store.text_dir().join("unused")).unwrap();
    fs::write(store.text_dir().join("unused/segment"), [0; 100]).unwrap();
    let uses = uses_value([used.as_str(), &cut, &flipped, "flows/gone.parquet", "vectors/v.lance"]);
    store.ledger().put_all(&[(&uses_key("p.promptc"), &uses)]).unwrap();
    let bytes = fs::read(dir.path().join(&cut)).unwrap();
    fs::write(dir.path().join(&cut), &bytes[..bytes.len() / 2]).unwrap();
    let mut bytes = fs::read(dir.path().join(&flipped)).unwrap();
    bytes[40] ^= 1;
    fs::write(dir.path().join(&flipped), bytes).unwrap();

    let leftovers = doctor::unreferenced(&store).unwrap();
    let names: Vec<_> =
        leftovers.iter().map(|leftover| leftover.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["old.parquet", "unused"]);
    drop(store);

    let findings = doctor::check(dir.path());
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 3, "{findings:?}");
    for (error, path) in errors.iter().zip([cut.as_str(), &flipped, "flows/gone.parquet"]) {
        assert!(error.subject.ends_with(path), "{error:?}");
    }
    assert!(errors[1].help.contains("--repair") && errors[1].lost.contains("made again"), "{errors:?}");
    assert!(errors.iter().all(|finding| finding.code == Some("E1003") && finding.help.contains("p.promptc")));
    assert!(
        findings
            .iter()
            .any(|finding| finding.severity == Severity::Warning && finding.message.contains("112 bytes"))
    );

    assert_eq!(doctor::remove(&leftovers).unwrap(), 112);
    let store = open(dir.path());
    assert!(doctor::unreferenced(&store).unwrap().is_empty());
    assert!(dir.path().join(&used).exists());
}

#[test]
fn flipped_bits_in_the_database_never_give_wrong_rows() {
    let dir = tempfile::tempdir().unwrap();
    let count = 20_000u64;
    let store = open(dir.path());
    let rows: Vec<_> = (0..count).map(|number| (row_key(number), number.to_le_bytes().repeat(50))).collect();
    store.rows().put_many(&rows).unwrap();
    drop(store);
    let tables: Vec<_> = fs::read_dir(dir.path().join("kv"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "sst"))
        // Those of the rows; the other families have a few hundred bytes.
        .filter(|path| fs::metadata(path).unwrap().len() > 10_000)
        .collect();
    flip_a_bit_of_each(&tables);
    let store = match Store::open(dir.path(), &WRITE) {
        Ok(store) => store,
        Err(error) => {
            assert_eq!(error.code(), "E1003", "{error}");
            return;
        }
    };
    let keys: Vec<_> = (0..count).map(row_key).collect();
    let mut missing = 0;
    for (number, value) in store.rows().get_many(&keys).into_iter().enumerate() {
        match value {
            Some(value) => assert_eq!(value, (number as u64).to_le_bytes().repeat(50)),
            None => missing += 1,
        }
    }
    assert!(missing > 0 && store.rows().counts().damaged == missing, "{missing} missing");
}

fn errors(dir: &Path) -> Vec<doctor::Finding> {
    let is_error = |finding: &doctor::Finding| finding.severity == Severity::Error;
    doctor::check(dir).into_iter().filter(is_error).collect()
}

#[test]
fn a_damaged_row_cache_is_begun_anew_beside_records_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.records().put(b"kept", b"1", Durability::WalFsync).unwrap();
    store.ledger().put_all(&[("build/p", b"record")]).unwrap();
    let rows: Vec<_> = (0..20_000).map(|number| (row_key(number), number.to_le_bytes().repeat(50))).collect();
    store.rows().put_many(&rows).unwrap();
    drop(store);
    let is_large = |path: &PathBuf| fs::metadata(path).unwrap().len() > 10_000;
    let tables: Vec<_> =
        database_files(dir.path(), |name| name.ends_with(".sst")).into_iter().filter(is_large).collect();
    flip_a_bit_of_each(&tables);
    let found = errors(dir.path());
    let expected = Some(doctor::Remedy::BeginAnew(vec!["rows"]));
    assert!(found.len() == 1 && found[0].remedy == expected, "{found:?}");
    assert!(
        found[0].subject.contains("family `rows`") && found[0].lost.contains("computed again"),
        "{found:?}"
    );
    let repaired = doctor::repair(dir.path()).unwrap();
    assert!(repaired.len() == 1 && repaired[0].done.contains("quarantine"), "{repaired:?}");
    assert!(errors(dir.path()).is_empty());
    assert!(dir.path().join("quarantine/1/kv/CURRENT").exists());
    let store = open(dir.path());
    assert_eq!(store.records().get(b"kept").unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.ledger().get("build/p").unwrap(), Some(b"record".to_vec()));
    assert_eq!(store.rows().get_many(&[row_key(3)]), [None]);
    store.rows().put_many(&rows[..10]).unwrap();
    assert_eq!(store.rows().get_many(&[row_key(3)]), [Some(rows[3].1.clone())]);
}

#[test]
fn a_damaged_entry_of_the_ledger_is_forgotten_by_a_repair() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).ledger().put_all(&[("build/p", b"one"), ("build/q", b"two")]).unwrap();
    let families = ["default", "log", "records", "rows", "ledger", "meta"];
    let database =
        rocksdb::DB::open_cf(&rocksdb::Options::default(), dir.path().join("kv"), families).unwrap();
    database.put_cf(database.cf_handle("ledger").unwrap(), "build/p", "12345678other").unwrap();
    drop(database);
    let found = errors(dir.path());
    assert!(found.len() == 1 && found[0].subject.contains("`build/p`"), "{found:?}");
    assert_eq!(doctor::repair(dir.path()).unwrap().len(), 1);
    assert!(errors(dir.path()).is_empty());
    let store = open(dir.path());
    assert_eq!(store.ledger().get("build/p").unwrap(), None);
    assert_eq!(store.ledger().get("build/q").unwrap(), Some(b"two".to_vec()));
}

#[test]
fn a_log_cut_off_is_damage_after_an_orderly_close_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    // Large buffers are written to tables at close, and the log is then empty.
    let store = Store::open_tuned(dir.path(), &WRITE, &crate::records::SMALL).unwrap();
    for number in 0..20_u8 {
        store.records().put(&[number], &[number; 100], Durability::WalFsync).unwrap();
    }
    // What a kill leaves has no mark.
    let killed = tempfile::tempdir().unwrap();
    copy_folder(dir.path(), killed.path());
    drop(store);
    let cut = |dir: &Path| {
        let logs = database_files(dir, |name| name.ends_with(".log"));
        let log = logs.iter().max_by_key(|log| fs::metadata(log).unwrap().len()).unwrap();
        let file = fs::OpenOptions::new().write(true).open(log).unwrap();
        file.set_len(file.metadata().unwrap().len() - 300).unwrap();
    };
    cut(dir.path());
    cut(killed.path());
    for options in [WRITE, READ] {
        let error = Store::open(dir.path(), &options).unwrap_err();
        assert!(error.code() == "E1003" && error.to_string().contains(".log"), "{error}");
        assert!(!error.help().contains("remove"), "{}", error.help());
    }
    let found = errors(dir.path());
    assert!(found[0].lost.contains("20 writes") && found[0].remedy.is_none(), "{found:?}");
    assert!(doctor::repair(dir.path()).unwrap().is_empty());
    let error = Store::open(killed.path(), &WRITE).unwrap_err();
    assert!(error.to_string().contains("it was on the disk up to write 20"), "{error}");
    assert!(errors(killed.path())[0].lost.contains("20 writes"));
    // Without a copy, what is left can be gone on with by whoever says so.
    fs::remove_file(dir.path().join("kv/CLOSED")).unwrap();
    fs::remove_file(dir.path().join("kv/SYNCED")).unwrap();
    let left = open(dir.path()).records().verify().unwrap();
    assert!(left.log_records > 10 && left.log_records < 20, "{left:?}");
}

#[test]
fn a_log_that_ends_before_the_mark_is_damage_after_a_kill_too() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).records().put(b"a", b"1", Durability::WalFsync).unwrap();
    let marked = fs::read(dir.path().join("kv/CLOSED")).unwrap();
    // The control: a log that goes on opens after a kill, whatever the files are then.
    let store = open(dir.path());
    store.records().put(b"b", b"2", Durability::WalFsync).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copy_folder(dir.path(), killed.path());
    drop(store);
    assert_eq!(open(killed.path()).records().last_sequence(), 2);
    // A database of fewer writes under that mark.
    let other = tempfile::tempdir().unwrap();
    // Opened twice, so that its list of files has another name than the one in the mark.
    drop(open(other.path()));
    drop(open(other.path()));
    fs::write(other.path().join("kv/CLOSED"), marked).unwrap();
    let error = Store::open(other.path(), &WRITE).unwrap_err();
    assert!(
        error.to_string().contains("ends at write 0") && error.to_string().contains("to write 1"),
        "{error}"
    );
    // Trying again does not make it right.
    assert_eq!(Store::open(other.path(), &WRITE).unwrap_err().code(), "E1003");
}
