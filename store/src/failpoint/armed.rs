//! Failpoints of a test: one fault per process, set before anything else happens.

use super::{Control, Site};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a site does when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Return,
    Panic,
    Abort,
}

/// What this process was told.
#[derive(Debug, Default)]
struct Plan {
    /// The site, what it does, and at which time of being reached, from 1.
    fault: Option<(Site, Action, u64)>,
    /// Number of the call that fails, from 1.
    call: Option<u64>,
    control: Option<Control>,
    trace: Option<File>,
}

static PLAN: OnceLock<Plan> = OnceLock::new();
/// How often the site of the fault was reached.
static REACHED: AtomicU64 = AtomicU64::new(0);
/// Calls on files so far.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The error number of a device that fails.
const EIO: i32 = 5;

/// Reads `FAILPOINTS`, `FAILPOINTS_CALL`, `FAILPOINTS_CONTROL` and `FAILPOINTS_TRACE` through `variable`. The first call of
/// a process counts.
///
/// # Errors
/// A text that names no site, action, number, control or writable file.
pub fn arm(variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let plan = Plan {
        fault: variable("FAILPOINTS").map(|text| parse(&text)).transpose()?,
        call: variable("FAILPOINTS_CALL").map(|text| number(&text)).transpose()?,
        control: variable("FAILPOINTS_CONTROL").map(|text| control(&text)).transpose()?,
        trace: variable("FAILPOINTS_TRACE").map(|path| open(&path)).transpose()?,
    };
    let _ = PLAN.set(plan);
    Ok(())
}

fn parse(text: &str) -> Result<(Site, Action, u64), String> {
    let wrong = || format!("FAILPOINTS: `{text}` is not <site>=return|panic|abort[@<time>]");
    let (name, action) = text.split_once('=').ok_or_else(wrong)?;
    let (action, time) = match action.split_once('@') {
        Some((action, time)) => (action, number(time)?),
        None => (action, 1),
    };
    let site = Site::ALL.iter().copied().find(|site| site.name() == name).ok_or_else(wrong)?;
    let action = match action {
        "return" => Action::Return,
        "panic" => Action::Panic,
        "abort" => Action::Abort,
        _ => return Err(wrong()),
    };
    Ok((site, action, time))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("failpoints: `{text}` is not a number"))
}

fn control(text: &str) -> Result<Control, String> {
    let found = Control::ALL.into_iter().find(|control| control.name() == text);
    found.ok_or_else(|| format!("FAILPOINTS_CONTROL: no `{text}`"))
}

fn open(path: &str) -> Result<File, String> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|error| format!("FAILPOINTS_TRACE: {path}: {error}"))
}

/// The program is at `site`. Goes on, or fails as [`arm`] was told.
///
/// # Errors
/// The error of the armed site.
///
/// # Panics
/// If the armed site says so; it may also end the process.
pub fn reach(site: Site) -> io::Result<()> {
    let Some(plan) = PLAN.get() else { return Ok(()) };
    trace(plan, site.name());
    let Some((_, action, time)) = plan.fault.filter(|(armed, ..)| *armed == site) else { return Ok(()) };
    if REACHED.fetch_add(1, Ordering::Relaxed) + 1 != time {
        return Ok(());
    }
    trace(plan, &format!("failed {}", site.name()));
    match action {
        Action::Return => Err(io::Error::other(format!("failpoint {}", site.name()))),
        Action::Panic => panic!("failpoint {}", site.name()),
        Action::Abort => std::process::abort(),
    }
}

/// A call on a file is about to be made.
///
/// # Errors
/// EIO for the call that [`arm`] was told of.
pub(crate) fn call(action: &'static str, path: &Path) -> io::Result<()> {
    let Some(plan) = PLAN.get() else { return Ok(()) };
    let Some(failing) = plan.call else {
        trace(plan, &format!("call {action} {}", path.display()));
        return Ok(());
    };
    if CALLS.fetch_add(1, Ordering::Relaxed) + 1 != failing {
        return Ok(());
    }
    trace(plan, &format!("failed call {failing}: {action} {}", path.display()));
    Err(io::Error::from_raw_os_error(EIO))
}

/// Whether this process breaks that order.
#[must_use]
pub fn is_broken(control: Control) -> bool {
    PLAN.get().is_some_and(|plan| plan.control == Some(control))
}

/// One line, in one call, so that lines of threads do not mix.
fn trace(plan: &Plan, line: &str) {
    if let Some(mut file) = plan.trace.as_ref() {
        // A trace that cannot be written is missed by the test that reads it.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_text() {
        assert_eq!(parse("flow-before-sync=panic"), Ok((Site::FlowBeforeSync, Action::Panic, 1)));
        assert_eq!(parse("flow-before-sync=abort@3"), Ok((Site::FlowBeforeSync, Action::Abort, 3)));
        for wrong in [
            "",
            "flow-before-sync",
            "flow-before-sync=stop",
            "no-such-site=abort",
            "flow-before-sync=abort@x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_tell_sites_apart() {
        let names: std::collections::BTreeSet<&str> = Site::ALL.iter().map(|site| site.name()).collect();
        assert_eq!(names.len(), Site::ALL.len());
    }
}
