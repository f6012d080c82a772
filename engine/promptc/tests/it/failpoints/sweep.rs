//! Every site with an error, a panic and an abort.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use promptc_engine::store::failpoint::{Control, Site};

use super::library::Library;
use super::place::{Disturbed, Fault, Place, Scenario};
use super::program::Run;
use super::{is_long, random, said, seed};

const ACTIONS: [&str; 3] = ["return", "panic", "abort"];
/// Signal of [`std::process::abort`].
const ABORTED: i32 = 6;

pub(super) const SCENARIOS: [&dyn Scenario; 7] = [
    &Run::First,
    &Run::Next,
    &Run::Repair,
    &Run::Collect,
    &Library::Records,
    &Library::Documents,
    &Library::History,
];

/// One disturbed command and what must follow; in words what does not.
pub(super) fn try_fault(
    place: &mut Place<'_>,
    fault: Fault<'_>,
    ends: impl Fn(&Output) -> Result<(), String>,
) -> Result<Disturbed, String> {
    place.restore();
    let disturbed = place.disturb(fault)?;
    if !disturbed.failed.is_empty() {
        ends(&disturbed.output).map_err(|error| format!("{error}: {}", said(&disturbed.output)))?;
    }
    place.recover(&disturbed.output)?;
    Ok(disturbed)
}

/// How a command may end after a fault at a site.
fn ends(site: Site, action: &str, bears: bool, output: &Output) -> Result<(), String> {
    let text = said(output);
    let is_named = text.contains("error[E") && !text.contains("E2001") && !text.contains("internal");
    match action {
        "return" if (bears || !site.is_needed()) && output.status.success() => Ok(()),
        "return" if output.status.code() == Some(4) && is_named => Ok(()),
        "return" => Err(format!("an error ends with {} and no name", output.status)),
        // The panic's own message names the site; the process ends as one that failed.
        "panic" if text.contains(site.name()) && (!output.status.success() || bears) => Ok(()),
        "panic" => Err(format!("a panic ends with {}", output.status)),
        _ if output.status.signal() == Some(ABORTED) => Ok(()),
        _ => Err(format!("an abort ends with {}", output.status)),
    }
}

/// One site, one action. With threads the last times of a site may not come; then the first is taken.
fn try_site(place: &mut Place<'_>, site: Site, action: &'static str, time: u64) -> Result<(), String> {
    for time in [time, 1] {
        let fault = format!("{}={action}@{time}", site.name());
        let bears = place.scenario.bears(site.name(), action);
        let ends = |output: &Output| ends(site, action, bears, output);
        let disturbed = try_fault(place, &[("FAILPOINTS", &fault)], ends);
        if !disturbed.map_err(|error| format!("{fault}: {error}"))?.failed.is_empty() {
            return Ok(());
        }
    }
    Err(format!("{}={action} is not reached", site.name()))
}

/// The scenarios that reach each site.
fn plan(places: &[Place<'_>]) -> BTreeMap<Site, Vec<usize>> {
    let mut by_site: BTreeMap<Site, Vec<usize>> = BTreeMap::new();
    for (number, place) in places.iter().enumerate() {
        for site in Site::ALL.iter().filter(|site| place.reached.contains_key(site.name())) {
            by_site.entry(*site).or_default().push(number);
        }
    }
    by_site
}

/// Site, action and time of one try, by scenario.
fn tries(places: &[Place<'_>]) -> Vec<Vec<(Site, &'static str, u64)>> {
    let seed = seed();
    println!("seed {seed} (PROMPTC_TEST_SEED)");
    let mut tries = vec![Vec::new(); places.len()];
    for (number, (site, scenarios)) in (0..).zip(plan(places)) {
        let mut random = random(seed, number);
        if is_long() {
            for scenario in scenarios {
                let times = places[scenario].reached[site.name()];
                for action in ACTIONS {
                    tries[scenario].push((site, action, 1));
                    if times > 1 {
                        tries[scenario].push((site, action, 2 + random.below(times - 1)));
                    }
                }
            }
        } else {
            let scenario = scenarios[random.below(scenarios.len() as u64) as usize];
            let time = 1 + random.below(places[scenario].reached[site.name()]);
            tries[scenario].push((site, ACTIONS[random.below(3) as usize], time));
        }
    }
    tries
}

/// Places of all scenarios, prepared side by side.
fn places() -> Vec<Place<'static>> {
    std::thread::scope(|scope| {
        let started = SCENARIOS.map(|scenario| scope.spawn(move || Place::new(scenario)));
        started.map(|thread| thread.join().unwrap()).into_iter().collect()
    })
}

#[test]
fn after_a_fault_at_any_site_the_next_run_ends_as_an_undisturbed_one() {
    let places = places();
    let reached: BTreeSet<Site> = plan(&places).into_keys().collect();
    let missed: Vec<&str> =
        Site::ALL.iter().filter(|site| !reached.contains(site)).map(|site| site.name()).collect();
    assert!(missed.is_empty(), "no scenario reaches {missed:?}");
    let tries = tries(&places);
    let work: Vec<_> = places.into_iter().zip(tries).collect();
    let (complaints, tried) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (mut place, tries) in work {
            let (complaints, tried) = (&complaints, &tried);
            scope.spawn(move || {
                for (site, action, time) in tries {
                    let result = try_site(&mut place, site, action, time);
                    tried.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = result {
                        complaints.lock().unwrap().push(format!("{}: {error}", place.scenario.name()));
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    let (site_count, tried) = (Site::ALL.len(), tried.into_inner());
    println!("{site_count} sites, {tried} faults tried");
    let lost = [("lost_count", "count", complaints.len() as f64)];
    let params = [("sites", site_count as u64), ("faults", tried as u64)];
    crate::reliability_rows::record("failpoints/sweep", &params, &lost);
    assert!(complaints.is_empty(), "{}\n{} of them", complaints.join("\n\n"), complaints.len());
}

/// The control: an order that is broken on purpose is found by the same tries.
#[test]
fn a_broken_order_is_found() {
    for (control, fault) in [
        (Control::NameFirst, "jsonl-before-publish=abort"),
        (Control::RecordFirst, "flow-before-rename=abort"),
        (Control::FlowFirst, "flow-before-seal=abort"),
        (Control::IndexFirst, "documents-after-mark=abort@4"),
    ] {
        let scenario: &dyn Scenario =
            if control == Control::IndexFirst { &Library::Documents } else { &Run::Next };
        let mut place = Place::new(scenario);
        let broken = [("FAILPOINTS", fault), ("FAILPOINTS_CONTROL", control.name())];
        let found = try_fault(&mut place, &broken, |_| Ok(()));
        assert!(found.is_err(), "{} passes", control.name());
        let whole = try_fault(&mut place, &broken[..1], |_| Ok(())).map(|disturbed| disturbed.failed);
        assert_eq!(whole.unwrap().len(), 1, "{fault}");
    }
}
