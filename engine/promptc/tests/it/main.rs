//! The command from outside: what it prints where, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bench;
mod cli;
mod damage;
mod distill;
mod disturbed;
mod encoders;
#[cfg(target_os = "linux")]
mod failpoints;
mod generated;
mod job;
mod learn;
#[cfg(target_os = "linux")]
mod memory;
mod nearest;
mod pairs;
#[cfg(target_os = "linux")]
mod power_cut;
#[path = "../../../../store/tests/it/reliability_rows.rs"]
mod reliability_rows;
mod report;
mod search;
mod stress;
