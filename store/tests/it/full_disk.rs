//! A full disk: a named error, reads go on, and with room again writes go on in the same process, with all that was
//! acknowledged. Full of bytes, which RocksDB gets over by itself; full of files, where the database is opened again.

use crate::directory::{open, told_dir};
use promptc_store::kv::{Durability, KvError};
use promptc_store::open::Store;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of the file that is deleted when the disk is full.
const BALLAST_BYTES: usize = 28 << 20;
/// Tries before a store counts as one that does not go on: ten minutes on a machine that does nothing else.
const TRIES: u32 = 6_000;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Runs the test `name` of this binary on a file system of its own, which ends with it: `mount` are the arguments of the command
/// before its place, which is `dir`. `None` where the system does not let this user mount one.
pub(crate) fn on_a_mount(name: &str, mount: &str, dir: &Path) -> Option<Output> {
    let script =
        format!("mount {mount} \"$PROMPTC_TEST_DIR\" || exit 77; exec \"$0\" --exact {name} --nocapture");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(std::env::current_exe().unwrap()).env("PROMPTC_TEST_DIR", dir);
    let output = command.output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_refused = output.status.code() == Some(77) || said.contains("unshare:");
    (!is_refused).then_some(output)
}

/// In the parent runs `name` on a small disk; in the child runs `test` there.
fn in_a_child(name: &str, options: &str, test: fn(&Path)) {
    if let Some(dir) = told_dir() {
        return test(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("-t tmpfs -o {options} tmpfs");
    ends_with("child:resumed", on_a_mount(&format!("full_disk::{name}"), &mount, dir.path()));
}

/// The run on a mount succeeded and said these words at its end, or could not be tried.
pub(crate) fn ends_with(words: &str, output: Option<Output>) {
    let Some(output) = output else { return eprintln!("skipped: this user may not mount a file system") };
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && shown.contains(words), "{shown}{said}");
    shown.lines().filter(|line| line.starts_with("child:")).for_each(|line| println!("{line}"));
}

fn value(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(16 << 10)
}

/// Writes until the disk is full and answers what was acknowledged, and the error.
fn fill(store: &Store) -> (Vec<u32>, KvError) {
    let mut acknowledged = Vec::new();
    let error = (0_u32..10_000).find_map(|number| {
        let level = if number % 2 == 0 { Durability::Wal } else { Durability::GroupCommit };
        let result = store.records().put(&number.to_be_bytes(), &value(number), level);
        acknowledged.extend(result.is_ok().then_some(number));
        result.err()
    });
    (acknowledged, error.expect("the disk is full before"))
}

fn all_are_there(store: &Store, acknowledged: &[u32]) {
    for number in acknowledged {
        let found = store.records().get(&number.to_be_bytes()).unwrap();
        assert_eq!(found, Some(value(*number)), "{number}");
    }
}

/// The file that RocksDB logs to is made anew by every opening.
fn opening(dir: &Path) -> u64 {
    fs::metadata(dir.join("store/kv/LOG")).unwrap().ino()
}

/// Makes the disk small, fills it, frees it, and writes again until it is acknowledged, while somebody reads all the time.
/// Answers whether the database was open all the time.
fn fill_and_free(dir: &Path, shrink: impl FnOnce(), free: impl FnOnce()) -> bool {
    let store = open(&dir.join("store"));
    let first_opening = opening(dir);
    shrink();
    let (mut acknowledged, error) = fill(&store);
    assert_eq!(error.code(), "E1004");
    assert!(
        error.to_string().contains("bytes were to be written, ") && error.to_string().contains("are free"),
        "{error}"
    );
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    all_are_there(&store, &acknowledged);
    let again = |level| store.records().put(b"again", b"1", level);
    assert_eq!(again(Durability::Wal).unwrap_err().code(), "E1004", "it goes on as little as before");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut scans = 0;
            while !is_done.load(Ordering::Relaxed) {
                let mut count = 0;
                let visit = |_: &[u8], _: &[u8]| {
                    count += 1;
                    true
                };
                store.records().range(b"", None, visit).unwrap();
                assert!(count >= acknowledged.len(), "{count}");
                scans += 1;
            }
            scans
        });
        free();
        let freed = Instant::now();
        let resumed = (0..TRIES).any(|_| {
            let result = again(Durability::WalFsync);
            if let Err(error) = &result {
                assert_eq!(error.code(), "E1004", "{error}");
                std::thread::sleep(BETWEEN_TRIES);
            }
            result.is_ok()
        });
        is_done.store(true, Ordering::Relaxed);
        let scans: u32 = reader.join().unwrap();
        assert!(resumed && scans > 0);
        println!("child:resumed after {} ms, {scans} scans meanwhile", freed.elapsed().as_millis());
    });
    let is_same = opening(dir) == first_opening;
    for number in 10_000..10_030_u32 {
        store.records().put(&number.to_be_bytes(), &value(number), Durability::Wal).unwrap();
        acknowledged.push(number);
    }
    all_are_there(&store, &acknowledged);
    store.records().verify().unwrap();
    drop(store);
    let store = open(&dir.join("store"));
    store.records().verify().unwrap();
    all_are_there(&store, &acknowledged);
    assert_eq!(store.records().get(b"again").unwrap(), Some(b"1".to_vec()));
    is_same
}

#[test]
fn a_full_disk_is_named_and_costs_nothing_that_was_acknowledged() {
    let name = "a_full_disk_is_named_and_costs_nothing_that_was_acknowledged";
    in_a_child(name, "size=64m", |dir| {
        let ballast = dir.join("ballast");
        let is_same = fill_and_free(
            dir,
            || fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap(),
            || fs::remove_file(&ballast).unwrap(),
        );
        assert!(is_same, "RocksDB goes on by itself");
    });
}

#[test]
fn a_disk_without_free_files_is_named_and_costs_nothing_that_was_acknowledged() {
    let name = "a_disk_without_free_files_is_named_and_costs_nothing_that_was_acknowledged";
    in_a_child(name, "size=256m,nr_inodes=200", |dir| {
        let ballast: Vec<PathBuf> = (0..1_000).map(|number| dir.join(format!("ballast-{number}"))).collect();
        let is_same = fill_and_free(
            dir,
            || assert!(ballast.iter().any(|path| fs::write(path, b"").is_err())),
            || ballast.iter().for_each(|path| drop(fs::remove_file(path))),
        );
        assert!(!is_same, "RocksDB does not go on after a log file that could not be made");
    });
}
