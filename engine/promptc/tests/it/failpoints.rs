//! Failpoints: the program fails at every place of the table, and the next run ends as if nothing had happened.
//!
//! ```text
//! folder as prepared --disturbed command--> what it left --the same command--> the outputs of an undisturbed one
//!                      (error, panic, abort      |                                 a whole store, nothing temporary
//!                       at one site, or EIO      '-- acknowledged records are there,
//!                       at the n-th call)            every output is the old or the new one
//! ```
//!
//! Short here: every site with one of its three faults, chosen by a seed, and every so many calls. The long form is
//! `PROMPTC_TEST_FAILPOINTS=all cargo test --workspace --locked --test it failpoints`.
//!
//! Knows nothing of what a site is for: what must hold afterwards is the same for all of them.

mod calls;
mod documents;
mod library;
mod place;
mod program;
mod registry;
mod sweep;

use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::job::Random;

/// After so long a command is taken to hang: one takes a second on a busy machine, and a disk that is synced beside it may stop it
/// for a minute.
const HANGS_AFTER: Duration = Duration::from_secs(240);
/// Time between two looks at a running command.
const PAUSE: Duration = Duration::from_millis(2);

/// Whether everything is tried.
fn is_long() -> bool {
    std::env::var("PROMPTC_TEST_FAILPOINTS").is_ok_and(|form| form == "all")
}

/// The seed of this run: `PROMPTC_TEST_SEED`, or another one each day, so that the short form gets round.
fn seed() -> u64 {
    let given = std::env::var("PROMPTC_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    given.unwrap_or(since.as_secs() / 86_400)
}

fn random(seed: u64, number: u64) -> Random {
    Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number))
}

/// The binary, undisturbed and on one thread.
fn promptc(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
        command.env_remove(name);
    }
    command.args(["--threads", "1"]).current_dir(folder);
    command
}

/// Runs a command to its end; none if it hangs.
fn finish(mut command: Command) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
    // Into files and not pipes: nobody reads while it runs.
    let streams = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
    let mut child = streams.spawn().unwrap();
    let started = Instant::now();
    let status: ExitStatus = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() > HANGS_AFTER => {
                child.kill().unwrap();
                child.wait().unwrap();
                return None;
            }
            None => std::thread::sleep(PAUSE),
        }
    };
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    Some(Output { status, stdout: read("out"), stderr: read("err") })
}

/// What a command said to people.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
