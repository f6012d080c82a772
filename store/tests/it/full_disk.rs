//! A full disk: a named error, reads go on, and after an opening with room everything is there and writes go on.

use crate::directory::{open, told_dir};
use promptc_store::kv::Durability;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Room of the file system.
const DISK_BYTES: u64 = 64 << 20;
/// Bytes of the file that is deleted when the disk is full.
const BALLAST_BYTES: usize = 28 << 20;

/// Runs the test `name` of this binary on a small file system of its own, which ends with it. `None` where the system does
/// not let this user mount one.
fn on_a_small_disk(name: &str) -> Option<Output> {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={DISK_BYTES} tmpfs \"$PROMPTC_TEST_DIR\" || exit 77; exec \"$0\" --exact {name} --nocapture"
    );
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(std::env::current_exe().unwrap()).env("PROMPTC_TEST_DIR", dir.path());
    let output = command.output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_refused = output.status.code() == Some(77) || said.contains("unshare:");
    (!is_refused).then_some(output)
}

#[test]
fn a_full_disk_is_named_and_costs_nothing_that_was_acknowledged() {
    if let Some(dir) = told_dir() {
        return fill_and_free(&dir);
    }
    match on_a_small_disk("full_disk::a_full_disk_is_named_and_costs_nothing_that_was_acknowledged") {
        Some(output) => {
            let (shown, said) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && shown.contains("child:resumed"), "{shown}{said}");
        }
        None => eprintln!("skipped: this user may not mount a file system"),
    }
}

fn fill_and_free(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let store = open(&dir.join("store"));
    let records = store.records();
    let value = |number: u32| number.to_le_bytes().repeat(16 << 10);
    let mut acknowledged = Vec::new();
    let error = (0_u32..10_000).find_map(|number| {
        let level = if number % 2 == 0 { Durability::Wal } else { Durability::GroupCommit };
        let result = records.put(&number.to_be_bytes(), &value(number), level);
        acknowledged.extend(result.is_ok().then_some(number));
        result.err()
    });
    assert_eq!(error.expect("the disk is full before").code(), "E1004");
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let all_are_there = || {
        for number in &acknowledged {
            assert_eq!(records.get(&number.to_be_bytes()).unwrap(), Some(value(*number)), "{number}");
        }
    };
    all_are_there();
    // RocksDB does not go on by itself here, although it says so of such errors; opening again is what helps.
    fs::remove_file(&ballast).unwrap();
    all_are_there();
    drop(store);
    let store = open(&dir.join("store"));
    store.records().verify().unwrap();
    store.records().put(b"resumed", b"1", Durability::WalFsync).unwrap();
    println!("child:resumed");
    for number in acknowledged {
        assert_eq!(store.records().get(&number.to_be_bytes()).unwrap(), Some(value(number)), "{number}");
    }
}
