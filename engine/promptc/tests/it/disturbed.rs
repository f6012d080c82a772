//! Runs that are killed or interrupted at random moments: the next run ends as if nothing had happened.
//!
//! Short here; `PROMPTC_TEST_KILLS=200 cargo test --workspace --locked --test it disturbed` is the long form.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::job::Job;

/// Cycles without `PROMPTC_TEST_KILLS`.
const CYCLES: u64 = 5;

/// Hidden files of writers under a folder.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().contains(".tmp-") {
                found.push(path);
            } else if path.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

fn cycles() -> u64 {
    std::env::var("PROMPTC_TEST_KILLS").ok().map_or(CYCLES, |count| count.parse().unwrap())
}

#[test]
fn after_a_kill_the_next_run_ends_as_an_undisturbed_one() {
    let mut job = Job::new();
    let store = job.folder().join(".promptc");
    job.finish(&store, None);
    let (mut cut_short, mut cycle) = (0, 0);
    while cycle < cycles() || cut_short == 0 && cycle < 10 * cycles() {
        job.change();
        let is_first_run = cycle % 2 == 1;
        if is_first_run {
            std::fs::remove_dir_all(&store).unwrap();
        }
        let started = Instant::now();
        let expected = job.undisturbed();
        // A run that only computes what changed takes a part of that.
        let usual = started.elapsed() / if is_first_run { 1 } else { 4 };
        let mut child = job.start(&store, None);
        let micros = u64::try_from(usual.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(job.random.below(micros)));
        child.kill().unwrap();
        child.wait().unwrap();
        let left = job.outputs();
        cut_short += u64::from(left != expected);
        for (name, bytes) in &left {
            assert!(!bytes.is_empty(), "{} is half written", name.display());
        }
        job.finish(&store, None);
        assert_eq!(job.outputs(), expected, "cycle {cycle}");
        assert_eq!(temporaries(&job.folder().join("out")), Vec::<PathBuf>::new());
        cycle += 1;
    }
    println!("{cut_short} of {cycle} runs were killed before their end");
    assert!(cut_short > 0, "no kill came in time: the test has shown nothing");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_soon_leaves_no_temporary_file_and_costs_nothing() {
    let mut job = Job::new();
    let store = job.folder().join(".promptc");
    let started = Instant::now();
    job.finish(&store, None);
    let whole = started.elapsed();
    let (mut interrupted, mut slowest) = (0, Duration::ZERO);
    for cycle in 0..cycles() {
        job.change();
        let before = job.outputs();
        std::fs::remove_dir_all(&store).unwrap();
        let child = job.start(&store, None);
        // Not before the listener stands: what comes earlier is the shell's kind of end.
        let micros = u64::try_from(whole.as_micros()).unwrap();
        std::thread::sleep(Duration::from_millis(60) + Duration::from_micros(job.random.below(micros)));
        let asked = Instant::now();
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if sent.success() && output.status.code() == Some(130) {
            interrupted += 1;
            slowest = slowest.max(asked.elapsed());
            assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
            assert_eq!(temporaries(job.folder()), Vec::<PathBuf>::new());
            if output.stdout.is_empty() && job.outputs() != before {
                // Outputs are replaced one by one, each as a whole.
                let after = job.undisturbed();
                for (name, bytes) in job.outputs() {
                    assert!(before.get(&name) == Some(&bytes) || after.get(&name) == Some(&bytes));
                }
            }
        }
        job.finish(&store, None);
        assert_eq!(job.outputs(), job.undisturbed(), "cycle {cycle}");
    }
    println!("{interrupted} of {} runs interrupted, the slowest after {slowest:?}", cycles());
}
