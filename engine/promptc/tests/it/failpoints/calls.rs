//! The n-th call on a file answers EIO, for n = 1, 2, ... until a command ends without having made so many.

use std::process::Output;

use super::place::{Place, Scenario};
use super::sweep::{SCENARIOS, try_fault};
use super::{is_long, random, said, seed};

/// Calls of each scenario in the short form.
const TRIES: u64 = 8;
/// More calls than any of these commands makes.
const CALLS_MAX: u64 = 100_000;

/// A command whose call failed ends well, if it can do without, or with a name.
fn ends(output: &Output) -> Result<(), String> {
    let text = said(output);
    let is_named = text.contains("error[E") && !text.contains("E2001") && !text.contains("internal");
    match output.status.code() {
        Some(0) => Ok(()),
        Some(2 | 4) if is_named => Ok(()),
        _ => Err(format!("ends with {} and no name", output.status)),
    }
}

/// Calls tried, and complaints.
fn all_calls(scenario: &'static dyn Scenario) -> (u64, Vec<String>) {
    let mut place = Place::new(scenario);
    let stride = if is_long() { 1 } else { (place.calls / TRIES).max(1) };
    let mut call = 1 + random(seed(), 0).below(stride);
    let (mut tried, mut complaints) = (0, Vec::new());
    while call < CALLS_MAX {
        let number = call.to_string();
        match try_fault(&mut place, &[("FAILPOINTS_CALL", &number)], ends) {
            Ok(disturbed) if disturbed.failed.is_empty() => break,
            Ok(_) => {}
            Err(error) => complaints.push(format!("{}: call {call}: {error}", scenario.name())),
        }
        tried += 1;
        call += stride;
    }
    assert!(call < CALLS_MAX, "{}: no run passes", scenario.name());
    println!("{}: {tried} calls failed, the last {}", scenario.name(), call.saturating_sub(stride));
    (tried, complaints)
}

#[test]
fn after_any_failed_call_the_next_run_ends_as_an_undisturbed_one() {
    println!("seed {} (PROMPTC_TEST_SEED)", seed());
    let done = std::thread::scope(|scope| {
        let started = SCENARIOS.map(|scenario| scope.spawn(move || all_calls(scenario)));
        started.map(|thread| thread.join().unwrap())
    });
    let tried: u64 = done.iter().map(|(tried, _)| tried).sum();
    let complaints: Vec<String> = done.into_iter().flat_map(|(_, complaints)| complaints).collect();
    assert!(tried > 0, "no call failed: the test has shown nothing");
    let lost = [("lost_count", "count", complaints.len() as f64)];
    crate::reliability_rows::record("failpoints/nth_call", &[("calls", tried)], &lost);
    assert!(complaints.is_empty(), "{}\n{} of them", complaints.join("\n\n"), complaints.len());
}
