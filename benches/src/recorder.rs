//! From a bench to the history.
//!
//! ```text
//! start ── arguments, scale, counters of the machine
//!   |  criterion measures, or the bench itself does and `add`s
//! finish ── criterion's new files + what was added + what is absent ── rows, environment, git, code hash ── one run in Parquet
//! ```
//!
//! A bench target is one run of the history. Nothing is done inside a timed region: everything here happens before the first and
//! after the last measurement, and the disturbances are those of the whole target. Only what is in the list of benches is
//! recorded. `--list`, `--test` and profiling record nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use criterion::Criterion;

use crate::arguments::{Arguments, Mode};
use crate::catalog::{self, Bench};
use crate::context::Scale;
use crate::measurement::{Measurement, Outcome};
use crate::place;
use crate::slice::{self, Clock};

#[cfg(feature = "history")]
mod history;
#[cfg(not(feature = "history"))]
#[path = "recorder/no_history.rs"]
mod history;
mod table;

/// Exit code of a wrong argument or setting, as the command line has it.
const USAGE: i32 = 2;

/// One bench target while it runs.
#[derive(Debug)]
pub struct Recorder {
    bench: &'static Bench,
    arguments: Arguments,
    scale: Scale,
    started: SystemTime,
    probe: history::Probe,
    params: BTreeMap<String, String>,
    criterion: Option<PathBuf>,
    clock: Clock,
    measurements: Vec<Measurement>,
}

impl Recorder {
    /// Begins the bench of this name. Ends the process with code 2 and a message for an argument or a setting that is wrong.
    ///
    /// # Panics
    /// If the name is not in the list of benches.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let bench = catalog::bench(name).expect("invariant: every bench stands in the list");
        let read =
            || -> Result<_, String> { Ok((Arguments::from_environment()?, Scale::from_environment()?)) };
        match read() {
            Ok((arguments, scale)) => Self::new(bench, arguments, scale),
            Err(message) => {
                eprintln!("error: {message}");
                std::process::exit(USAGE)
            }
        }
    }

    fn new(bench: &'static Bench, arguments: Arguments, scale: Scale) -> Self {
        let params = BTreeMap::from([("scale".to_owned(), scale.name().to_owned())]);
        let (started, probe) = (SystemTime::now(), history::Probe::begin());
        Self {
            bench,
            arguments,
            scale,
            started,
            probe,
            params,
            criterion: None,
            clock: Clock::WALL,
            measurements: Vec::new(),
        }
    }

    /// How large the work is to be.
    #[must_use]
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// A param of every row of this target: what changes the work and is in no title, as `threads` or `data`.
    pub fn param(&mut self, key: &str, value: impl ToString) {
        self.params.insert(key.to_owned(), value.to_string());
    }

    /// criterion with the arguments of this process, for a bench that works on one thread. What is new in its folder at the end is
    /// recorded.
    pub fn criterion(&mut self) -> Criterion<Clock> {
        let folder = place::criterion_folder();
        self.criterion = Some(folder.clone());
        self.clock = Clock::of_one_thread();
        Criterion::default().with_measurement(self.clock).output_directory(&folder).configure_from_args()
    }

    /// Whether a measurement that the bench takes itself is asked for. Under `--list` the answer is no, and its title is printed.
    #[must_use]
    pub fn wants(&self, title: &str) -> bool {
        let is_included = self.arguments.includes(title);
        if is_included && self.arguments.mode() == Mode::List {
            println!("{title}: benchmark");
        }
        is_included && self.arguments.mode() != Mode::List
    }

    /// How often a bench repeats what it measures itself: this often, or once where it only shows that it works.
    #[must_use]
    pub fn rounds(&self, rounds: usize) -> usize {
        if self.arguments.mode() == Mode::Test { 1 } else { rounds }
    }

    /// Adds what the bench measured itself.
    pub fn add(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    /// Records the run and says where; prints what the bench measured itself beside what is promised. The code is 1 if rows could
    /// not be recorded or a measurement failed.
    #[must_use]
    pub fn finish(mut self) -> ExitCode {
        let absent = self.absent();
        match self.arguments.mode() {
            Mode::List => {
                absent.iter().for_each(|measurement| println!("{}: benchmark", measurement.title));
                return ExitCode::SUCCESS;
            }
            Mode::Measure if slice::is_slice() => {
                self.measurements.extend(absent);
                return match slice::leave(&place::criterion_folder(), self.clock, &self.measurements) {
                    Ok(()) => self.code(),
                    Err(message) => {
                        eprintln!("error: {message}");
                        ExitCode::FAILURE
                    }
                };
            }
            Mode::Test | Mode::Unrecorded => {
                print!("{}", table::text(&self.measurements, &absent));
                return self.code();
            }
            Mode::Measure => print!("{}", table::text(&self.measurements, &absent)),
        }
        self.measurements.extend(absent);
        match history::write(&self) {
            Ok(message) => {
                eprintln!("{message}");
                self.code()
            }
            Err(message) => {
                eprintln!("error: {}: not recorded: {message}", self.bench.name);
                ExitCode::FAILURE
            }
        }
    }

    fn code(&self) -> ExitCode {
        let has_failed = self.measurements.iter().any(|one| matches!(one.outcome, Outcome::Failed(_)));
        if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// What was asked for and has no subject in this build.
    fn absent(&self) -> Vec<Measurement> {
        let mut absent = Vec::new();
        for group in self.bench.groups {
            let Some(reason) = group.absent else { continue };
            let titles = group.each().into_iter().filter(|title| self.arguments.includes(title));
            absent.extend(titles.map(|title| Measurement::skipped(title, group.metric, reason)));
        }
        absent
    }
}

/// The whole of a bench whose subject is not in this build: it takes every argument that a bench takes, says what is missing, and
/// records `skipped` rows.
#[must_use]
pub fn absent(name: &str) -> ExitCode {
    Recorder::start(name).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(name: &str, arguments: &[&str]) -> Recorder {
        let arguments = Arguments::parse(arguments.iter().map(|argument| (*argument).to_owned())).unwrap();
        Recorder::new(catalog::bench(name).unwrap(), arguments, Scale::Quick)
    }

    #[test]
    fn what_is_absent_is_said_and_never_measured() {
        let absent = recorder("weight_dynamics", &["--bench"]).absent();
        assert_eq!(absent.len(), 6);
        for measurement in &absent {
            assert!(
                matches!(&measurement.outcome, Outcome::Skipped(reason) if reason.contains("not in this build"))
            );
        }
        let one =
            recorder("weight_dynamics", &["--bench", "--save-baseline", "main", "convergence/512"]).absent();
        assert_eq!(
            one.iter().map(|one| one.title.as_str()).collect::<Vec<_>>(),
            ["weight_dynamics/convergence/512"]
        );
        assert!(recorder("kernels", &["--bench"]).absent().is_empty());
    }

    #[test]
    fn a_filter_and_a_trial_shorten_the_work() {
        let some = recorder("storage_performance", &["--bench", "mixed"]);
        assert!(
            some.wants("storage_performance/mixed/1kb")
                && !some.wants("storage_performance/single_write/1kb")
        );
        assert_eq!(some.rounds(9), 9);
        let trial = recorder("storage_performance", &["--test"]);
        assert_eq!((trial.rounds(9), trial.wants("storage_performance/mixed/1kb")), (1, true));
    }

    #[test]
    fn a_failure_is_an_exit_code() {
        let mut recorder = recorder("kernels", &["--test"]);
        assert_eq!(format!("{:?}", recorder.code()), format!("{:?}", ExitCode::SUCCESS));
        recorder.add(Measurement::failed("kernels", "wall_ns", "why"));
        assert_eq!(format!("{:?}", recorder.finish()), format!("{:?}", ExitCode::FAILURE));
    }
}
