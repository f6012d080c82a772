//! `promptc bench bisect`: which commit made a benchmark slower.

use std::path::{Path, PathBuf};

use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::measure::{
    Against, Bisection, Checkout, Executable, Measured, Plan, Rule, build_commit, checkout, first_parents,
    titles,
};
use serde::{Deserialize, Serialize};

use super::pair::{Measuring, SliceTimes};
use crate::cli::{Common, Outcome};
use crate::exit::Exit;

/// Looks at the ends, and at an answer, before they count as undecided.
const LOOKS: u32 = 5;
/// Commits of the posterior that are printed when the search ends without an answer.
const SHOWN: usize = 8;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench bisect dot_f32_avx2/256 --good v0.1 --bad HEAD -- --bench kernels

The ends are measured first: without a change for the worse that is beyond doubt nothing is searched for. Every step measures one
commit against the good one, and the answer is measured against the commit before it. A search that was ended goes on where it was.
Exit: 0 found, 5 the ends do not differ, or no commit has the wanted probability after all steps.")]
pub(super) struct BisectArgs {
    /// Title of the benchmark, as `--list` prints it
    title: String,
    /// A commit that was fast
    #[arg(long, value_name = "COMMIT")]
    good: String,
    /// A later commit that is slow
    #[arg(long, value_name = "COMMIT", default_value = "HEAD")]
    bad: String,
    /// Folder of the cargo project
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Pairs of one step
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(6..=400))]
    pairs: u32,
    /// Steps after which the search ends
    #[arg(long, value_name = "N", default_value_t = 40)]
    steps: u32,
    /// Probability at which a commit is the answer
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    confidence: f64,
    /// Smallest change between the ends that is worth a search
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    effect: f64,
    /// Arguments for `cargo bench --no-run`
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// What a search has measured; kept beside the checked out commits, so that an interrupted search goes on.
#[derive(Serialize, Deserialize, PartialEq, Clone, Default)]
struct State {
    title: String,
    good: String,
    bad: String,
    /// Log ratios of the ends; none before they are known to differ.
    ends: Option<Vec<f64>>,
    /// Commit and the log ratios measured there; none for a commit that does not build.
    steps: Vec<(usize, Option<Vec<f64>>)>,
}

pub(super) fn bisect(args: &BisectArgs, common: &Common) -> Outcome {
    let good = checkout(&args.project, &args.good)?;
    let bad = checkout(&args.project, &args.bad)?;
    let commits = first_parents(&args.project, &good.sha, &bad.sha)?;
    let path = good.folder.with_file_name("bisect.json");
    let fresh = State { title: args.title.clone(), good: good.sha.clone(), bad: bad.sha, ..State::default() };
    let mut state = load(&path).filter(|old| old.is_of(&fresh)).unwrap_or(fresh);
    let measuring = Measuring::begin(common, SliceTimes::default())?;
    let base = subject(&good, args)?;
    let ends = match state.ends.clone() {
        Some(ends) => ends,
        None => {
            eprintln!("{} commits; measuring the ends", commits.len());
            let ends = compared(&base, &checkout(&args.project, &state.bad)?, args, &measuring)?;
            if ends.verdict != SLOWER {
                println!("between the ends {}", ends.said());
                return Ok(Exit::Undecided);
            }
            eprintln!("between the ends {}", ends.said());
            state.ends = Some(ends.log_ratios);
            save(&path, &state)?;
            state.ends.clone().unwrap_or_default()
        }
    };
    let mut bisection = Bisection::new(commits.len(), &ends)?;
    state.steps.iter().for_each(|(commit, found)| apply(&mut bisection, *commit, found.as_deref()));
    loop {
        let (best, probability) = bisection.best();
        if probability >= args.confidence {
            let before = if best == 0 { &state.good } else { &commits[best - 1] };
            let base = subject(&checkout(&args.project, before)?, args)?;
            let answer = compared(&base, &checkout(&args.project, &commits[best])?, args, &measuring)?;
            if answer.verdict == SLOWER {
                let percent = probability * 100.0;
                println!("{} is the first slow commit, with {percent:.1} %", commits[best]);
                println!("against the commit before it {}", answer.said());
                let _ = std::fs::remove_file(&path);
                return Ok(Exit::Ok);
            }
            eprintln!("{} against the commit before it {}", &commits[best][..10], answer.said());
            bisection.refute(best, &answer.log_ratios);
        }
        if state.steps.len() >= args.steps as usize {
            break;
        }
        let commit = bisection.next();
        let found = step(&commits[commit], &base, args, &measuring)?;
        apply(&mut bisection, commit, found.as_deref());
        let (best, probability) = bisection.best();
        let change = found.as_deref().map_or(0.0, |found| median(found).exp_m1() * 100.0);
        eprintln!(
            "step {}: {} changed by {change:+.1} %; most likely {} with {:.0} %",
            state.steps.len() + 1,
            &commits[commit][..10],
            &commits[best][..10],
            probability * 100.0
        );
        state.steps.push((commit, found));
        save(&path, &state)?;
    }
    println!("cannot tell after {} steps; the most likely commits:", state.steps.len());
    let mut all: Vec<(usize, f64)> = bisection.probabilities().into_iter().enumerate().collect();
    all.sort_by(|left, right| right.1.total_cmp(&left.1));
    for (commit, probability) in all.into_iter().take(SHOWN) {
        println!("{:5.1} %  {}", probability * 100.0, commits[commit]);
    }
    Ok(Exit::Undecided)
}

impl State {
    fn is_of(&self, other: &Self) -> bool {
        (&self.title, &self.good, &self.bad) == (&other.title, &other.good, &other.bad)
    }
}

/// Log ratios at a commit; none if it does not build, which is said and passed over.
fn step(
    sha: &str,
    base: &Executable,
    args: &BisectArgs,
    measuring: &Measuring,
) -> Result<Option<Vec<f64>>, EngineError> {
    let commit = checkout(&args.project, sha)?;
    match ratios(base, &commit, args, measuring) {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::Interrupted) => Err(EngineError::Interrupted),
        Err(error) => {
            eprintln!("{}: {error}; passed over", &sha[..10]);
            Ok(None)
        }
    }
}

fn apply(bisection: &mut Bisection, commit: usize, found: Option<&[f64]>) {
    match found {
        Some(ratios) => bisection.observe(commit, ratios),
        None => bisection.skip(commit),
    }
}

/// The executable of a commit that holds the benchmark.
fn subject(commit: &Checkout, args: &BisectArgs) -> Result<Executable, EngineError> {
    for executable in build_commit(commit, &args.cargo)? {
        if titles(&executable, Some(&args.title))?.contains(&args.title) {
            return Ok(executable);
        }
    }
    Err(EngineError::Unknown(format!("{} has no benchmark `{}`", &commit.sha[..10], args.title)))
}

/// The verdict that a search is about.
const SLOWER: &str = "regression";

/// Two commits, measured until it is clear whether one is slower.
struct Compared {
    log_ratios: Vec<f64>,
    verdict: &'static str,
    /// Relative change, positive is worse, with its interval.
    change: (f64, f64, f64),
}

impl Compared {
    fn said(&self) -> String {
        let (rel, low, high) = self.change;
        let what = match self.verdict {
            SLOWER => "it got worse",
            "improvement" => "it got better",
            "no_change" => "it did not change",
            _ => "it cannot be told whether it changed (a quieter machine or more `--pairs` help)",
        };
        let pairs = self.log_ratios.len();
        format!("{what}: {:+.1} %, {:+.1} to {:+.1} %, {pairs} pairs", rel * 100.0, low * 100.0, high * 100.0)
    }
}

fn compared(
    base: &Executable,
    commit: &Checkout,
    args: &BisectArgs,
    measuring: &Measuring,
) -> Result<Compared, EngineError> {
    let rule = Rule { min_effect: args.effect, ..Rule::default() };
    let plan = Plan { pairs: args.pairs, pairs_max: args.pairs * LOOKS, rule, seed: 7 };
    let measured = measured(base, commit, args, measuring, &plan)?;
    let judged = measured.judged;
    Ok(Compared {
        log_ratios: log_ratios(&measured),
        verdict: judged.map_or("cannot_tell", |judged| judged.verdict),
        change: judged.map_or((0.0, -1.0, f64::INFINITY), |judged| {
            (judged.test.rel, judged.test.ci_low, judged.test.ci_high)
        }),
    })
}

fn log_ratios(measured: &Measured) -> Vec<f64> {
    measured.pairs.iter().map(|(base, cand)| (cand / base).ln()).collect()
}

fn ratios(
    base: &Executable,
    commit: &Checkout,
    args: &BisectArgs,
    measuring: &Measuring,
) -> Result<Vec<f64>, EngineError> {
    let plan = Plan { pairs: args.pairs, pairs_max: args.pairs, rule: Rule::default(), seed: 7 };
    measured(base, commit, args, measuring, &plan).map(|measured| log_ratios(&measured))
}

fn measured(
    base: &Executable,
    commit: &Checkout,
    args: &BisectArgs,
    measuring: &Measuring,
    plan: &Plan,
) -> Result<Measured, EngineError> {
    let cand = subject(commit, args)?;
    let measured = measuring.measure(&[(base, &cand, args.title.clone())], plan, Against::Itself(&[]))?;
    match measured.into_iter().next() {
        Some(one) if one.error.is_none() && !one.pairs.is_empty() => Ok(one),
        one => {
            let message = one.and_then(|one| one.error).unwrap_or_else(|| "not measured".to_owned());
            Err(EngineError::Row { code: "E2103", message })
        }
    }
}

fn median(values: &[f64]) -> f64 {
    promptc_engine::store::history::summary(values, 0).median.unwrap_or(0.0)
}

fn load(path: &Path) -> Option<State> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn save(path: &Path, state: &State) -> Result<(), EngineError> {
    let text = serde_json::to_vec(state).map_err(|error| EngineError::internal("bisect", error))?;
    promptc_engine::store::medium::replace(path, &text).map_err(promptc_engine::store_errors::medium)?;
    Ok(())
}
