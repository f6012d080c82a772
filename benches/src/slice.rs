//! A bench as one side of a pair.
//!
//! `promptc bench pair` starts a bench once for every observation, for one benchmark, with `PROMPTC_BENCH_SLICE` set. A bench that
//! knows the variable records no run, measures the time of its processor where it works on one thread alone (a neighbour that takes
//! the processor away then does not count), and leaves `slice.json` in criterion's folder:
//!
//! ```json
//! {"clock": "cpu", "wall_per_cpu": 1.02, "build": {"opt_level": "3", "lto": "fat"},
//!  "measurements": [{"title": "a/b", "metric": "throughput", "unit": "1/s", "direction": 1, "values": [2.5]}]}
//! ```
//!
//! `wall_per_cpu` is the time that passed over the time that the processor spent, in all that criterion measured: a build that waits
//! where the other works shows there.
//!
//! `build` is how the bench was built, by the names of the history's columns: nobody else knows all of it.
//!
//! Benches of other projects do not know it; what is compared then are criterion's wall times.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement as Measure, ValueFormatter, WallTime};

use crate::built::built;
use crate::measurement::{Measurement, Outcome};

/// Variable that asks for a slice.
pub const SLICE_VARIABLE: &str = "PROMPTC_BENCH_SLICE";
/// What a slice leaves in criterion's folder.
pub const SLICE_FILE: &str = "slice.json";

/// What criterion measured of this process so far, in nanoseconds.
static PASSED_NS: AtomicU64 = AtomicU64::new(0);
static SPENT_NS: AtomicU64 = AtomicU64::new(0);

/// Whether this process is a slice.
#[must_use]
pub fn is_slice() -> bool {
    std::env::var_os(SLICE_VARIABLE).is_some_and(|value| !value.is_empty())
}

/// criterion's clock: wall time, or the time that the processor spent on this thread.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    is_processor: bool,
}

impl Clock {
    /// Wall time.
    pub const WALL: Self = Self { is_processor: false };

    /// The clock of a bench that works on one thread: the processor's in a slice.
    #[must_use]
    pub fn of_one_thread() -> Self {
        Self { is_processor: is_slice() }
    }

    /// Its name in `slice.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self.is_processor { "cpu" } else { "wall" }
    }
}

/// When a measurement began.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// By the wall.
    Wall(Instant),
    /// By this thread's processor, and by the wall.
    Processor(ThreadTime, Instant),
}

impl Measure for Clock {
    type Intermediate = Start;
    type Value = Duration;

    fn start(&self) -> Start {
        let now = Instant::now();
        if self.is_processor { Start::Processor(ThreadTime::now(), now) } else { Start::Wall(now) }
    }

    fn end(&self, start: Start) -> Duration {
        match start {
            Start::Wall(start) => start.elapsed(),
            Start::Processor(start, wall) => {
                let spent = start.elapsed();
                PASSED_NS.fetch_add(wall.elapsed().as_nanos() as u64, Ordering::Relaxed);
                SPENT_NS.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
                spent
            }
        }
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Writes what the bench itself measured, and the clock that criterion used, into criterion's folder.
///
/// # Errors
/// A message for a folder that cannot be written.
pub(crate) fn leave(folder: &Path, clock: Clock, measurements: &[Measurement]) -> Result<(), String> {
    let shown: Vec<serde_json::Value> = measurements
        .iter()
        .filter_map(|one| {
            let Outcome::Measured(values) = &one.outcome else { return None };
            Some(serde_json::json!({
                "title": one.title, "metric": one.metric, "unit": one.unit, "direction": one.direction, "values": values,
            }))
        })
        .collect();
    let skipped: Vec<serde_json::Value> = measurements
        .iter()
        .filter_map(|one| {
            let Outcome::Skipped(reason) = &one.outcome else { return None };
            Some(serde_json::json!({ "title": one.title, "reason": reason }))
        })
        .collect();
    let (passed, spent) = (PASSED_NS.load(Ordering::Relaxed), SPENT_NS.load(Ordering::Relaxed));
    let wall_per_cpu = (spent > 0).then(|| passed as f64 / spent as f64);
    let slice = serde_json::json!({
        "clock": clock.name(), "wall_per_cpu": wall_per_cpu, "measurements": shown, "skipped": skipped,
        "build": built(),
    });
    let path = folder.join(SLICE_FILE);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, slice.to_string()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_does_not_count_sleep() {
        let sleep = |clock: Clock| {
            let start = clock.start();
            std::thread::sleep(Duration::from_millis(30));
            clock.end(start)
        };
        assert!(sleep(Clock { is_processor: true }) < Duration::from_millis(15));
        assert!(sleep(Clock::WALL) >= Duration::from_millis(30));
    }

    #[test]
    fn a_slice_leaves_what_was_measured() {
        let folder = std::env::temp_dir().join(format!("promptc-slice-{}", std::process::id()));
        let measured =
            [Measurement::new("a/b", "throughput", vec![2.5]), Measurement::skipped("a/c", "wall_ns", "why")];
        leave(&folder, Clock::WALL, &measured).unwrap();
        let text = std::fs::read_to_string(folder.join(SLICE_FILE)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let slice: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(slice["clock"], "wall");
        assert_eq!(slice["build"]["opt_level"], env!("PROMPTC_BUILD_OPT_LEVEL"));
        assert_eq!(slice["measurements"].as_array().unwrap().len(), 1);
        assert_eq!(slice["measurements"][0]["values"][0], 2.5);
        assert_eq!(slice["skipped"], serde_json::json!([{ "title": "a/c", "reason": "why" }]));
    }
}
