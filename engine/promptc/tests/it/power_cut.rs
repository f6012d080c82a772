//! The power goes: what a run acknowledged by its end is on the disk, and what a cut leaves behind can be gone on with.
//!
//! The job runs on an ext4 file system in an image file. A copy of the image while it is mounted holds what was handed to the disk and not
//! what waits in the page cache: what a cut of the power would leave. The copy is mounted, which replays the file system's journal.
//! Every cut has a control: files that nobody synced, some renamed as Lance does, must suffer.
//!
//! Needs the right to mount, and says so where it is not there. Short here; `PROMPTC_TEST_CUTS=200 cargo test --workspace --locked --test it
//! power_cut` is the long form.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use promptc_engine::stress::disk::Disk;

use crate::job::{Job, plain_files};

/// Cuts without `PROMPTC_TEST_CUTS`.
const CUTS: u64 = 3;
const IMAGE_BYTES: u64 = 256 << 20;
/// Cuts after which a new disk is taken: an output keeps its versions.
const CUTS_OF_A_DISK: u64 = 50;

/// A job on a disk of its own. The disk goes first.
struct Place {
    disk: Disk,
    job: Job,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::ext4(&folder.path().join("disk.img"), &folder.path().join("mounted"), IMAGE_BYTES);
        let disk = disk.inspect_err(|refused| eprintln!("skipped: {refused}")).ok()?;
        let home = disk.path().join("job");
        std::fs::create_dir(&home).unwrap();
        Some(Self { disk, job: Job::inside(&home), folder })
    }
}

/// What the disk would hold if the power went now.
fn cut(disk: &Disk, folder: &Path) -> Disk {
    disk.cut(&folder.join("cut.img"), &folder.join("cut")).expect("what one image allowed, another does")
}

fn cuts() -> u64 {
    std::env::var("PROMPTC_TEST_CUTS").ok().map_or(CUTS, |count| count.parse().unwrap())
}

fn promptc(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
        command.env_remove(name);
    }
    command.args(args).current_dir(folder).output().unwrap()
}

fn succeeds(folder: &Path, args: &[&str]) -> String {
    let output = promptc(folder, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}\n{}{said}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The inputs are not the program's to make durable.
fn sync(folder: &Path) {
    assert!(Command::new("sync").arg("-f").arg(folder).status().unwrap().success());
}

/// Copies a dataset as a writer that syncs nothing would write it: each file beside its place, then renamed.
fn copy_without_sync(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_without_sync(&entry.path(), &target);
        } else {
            let aside = target.with_extension("aside");
            std::fs::copy(entry.path(), &aside).unwrap();
            std::fs::rename(&aside, &target).unwrap();
        }
    }
}

/// Files below `one` that are not the same below `other`.
fn lost(one: &Path, other: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(one).unwrap() {
        let entry = entry.unwrap();
        let twin = other.join(entry.file_name());
        count += match entry.path().is_dir() {
            true => lost(&entry.path(), &twin),
            false => {
                usize::from(std::fs::read(entry.path()).unwrap() != std::fs::read(&twin).unwrap_or_default())
            }
        };
    }
    count
}

#[test]
fn a_run_that_ended_survives_a_power_cut() {
    let Some(mut place) = Place::new() else { return };
    let mut unsynced_lost = 0;
    for number in 0..cuts() {
        if number > 0 && number.is_multiple_of(CUTS_OF_A_DISK) {
            place = Place::new().expect("what one disk allowed, another does");
        }
        let Place { disk, job, folder } = &mut place;
        let home = job.folder().to_owned();
        job.change();
        sync(&home);
        job.finish(&home.join(".promptc"), None);
        // The control: a dataset like ours, written by somebody who does not sync.
        let unsynced = disk.path().join(format!("unsynced-{number}"));
        copy_without_sync(&home.join("out/chunks.lance"), &unsynced);
        let cut = cut(disk, folder.path());
        let left = cut.path().join("job");
        assert_eq!(plain_files(&left), job.outputs(), "cut {number}: outputs");
        assert_eq!(lost(&home.join("out"), &left.join("out")), 0, "cut {number}: files of outputs");
        assert_eq!(
            lost(&home.join(".promptc/flows"), &left.join(".promptc/flows")),
            0,
            "cut {number}: streams"
        );
        assert_eq!(
            lost(&home.join(".promptc/vectors"), &left.join(".promptc/vectors")),
            0,
            "cut {number}: Lance"
        );
        assert_eq!(
            lost(&home.join(".promptc/text"), &left.join(".promptc/text")),
            0,
            "cut {number}: Tantivy"
        );
        unsynced_lost += lost(&unsynced, &cut.path().join(format!("unsynced-{number}")));
        // Nothing has to be done again, and nothing is damaged.
        succeeds(&left, &["doctor", "."]);
        let again = succeeds(&left, &["run", "job.promptc", "--yes"]);
        assert!(!again.contains("written:"), "cut {number}: {again}");
        let rows = "SELECT count(*) AS n FROM corpus_chunks";
        let ask = ["query", "job.promptc", "-c", rows, "--format", "csv"];
        assert_eq!(succeeds(&left, &ask), succeeds(&home, &ask), "cut {number}");
        drop(cut);
        std::fs::remove_dir_all(&unsynced).unwrap();
    }
    let lost = [("lost_count", "count", 0.0)];
    crate::reliability_rows::record("power_cut/runs", &[("cuts", cuts())], &lost);
    println!("{} cuts after the end: nothing lost; of files that nobody synced {unsynced_lost} were", cuts());
    assert!(unsynced_lost > 0, "the cuts cut nothing: the test has shown nothing");
}

#[test]
fn a_run_that_was_cut_off_is_gone_on_with() {
    let Some(Place { disk, mut job, folder }) = Place::new() else { return };
    let home = job.folder().to_owned();
    let store = home.join(".promptc");
    let started = Instant::now();
    job.finish(&store, None);
    let usual = started.elapsed();
    let mut cut_short = 0;
    for number in 0..cuts() {
        job.change();
        if number % 2 == 1 {
            std::fs::remove_dir_all(&store).unwrap();
        }
        sync(&home);
        let before = job.outputs();
        let expected = job.undisturbed();
        let mut child = job.start(&store, None);
        let micros = u64::try_from(usual.as_micros()).unwrap() / if number % 2 == 1 { 1 } else { 3 };
        std::thread::sleep(Duration::from_micros(job.random.below(micros)));
        let signal =
            |name: &str| Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        signal("-STOP");
        let cut = cut(&disk, folder.path());
        signal("-CONT");
        child.wait().unwrap();
        let left = cut.path().join("job");
        // Outputs are replaced one by one, each as a whole.
        for (name, bytes) in plain_files(&left) {
            let is_whole = before.get(&name) == Some(&bytes) || expected.get(&name) == Some(&bytes);
            assert!(is_whole, "cut {number}: {} is half written", name.display());
        }
        cut_short += u64::from(plain_files(&left) != expected);
        succeeds(&left, &["run", "job.promptc", "--yes"]);
        assert_eq!(plain_files(&left), expected, "cut {number}");
        succeeds(&left, &["doctor", "."]);
        drop(cut);
    }
    println!("{cut_short} of {} runs were cut off before their end", cuts());
}
