//! `promptc bench bisect`: which commit made a benchmark slower.

use std::path::{Path, PathBuf};

use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::measure::{
    Against, Bisection, Checkout, Executable, Plan, Rule, build_commit, checkout, first_parents, titles,
};
use serde::{Deserialize, Serialize};

use super::pair::{Measuring, SliceTimes};
use crate::cli::{Common, Outcome};
use crate::exit::Exit;

/// Commits of the posterior that are printed when the search ends without an answer.
const SHOWN: usize = 8;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench bisect dot_f32_avx2/256 --good v0.1 --bad HEAD -- --bench kernels

Every step measures one commit against the good one; a search that was ended goes on where it was.
Exit: 0 found, 5 the budget is spent and no commit has the wanted probability.")]
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
    effect: Option<f64>,
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
    let effect = match state.effect {
        Some(effect) => effect,
        None => {
            eprintln!("{} commits; measuring the ends", commits.len());
            let ends = ratios(&base, &checkout(&args.project, &state.bad)?, args, &measuring)?;
            let effect = median(&ends);
            if effect.abs() < (1.0 + args.effect).ln() {
                println!("between the ends it changed by {:.1} % only", effect.exp_m1() * 100.0);
                return Ok(Exit::Undecided);
            }
            state.effect = Some(effect);
            save(&path, &state)?;
            effect
        }
    };
    eprintln!("between the ends it changed by {:.1} %", effect.exp_m1() * 100.0);
    let mut bisection = Bisection::new(commits.len(), effect)?;
    state.steps.iter().for_each(|(commit, found)| apply(&mut bisection, *commit, found.as_deref()));
    while bisection.best().1 < args.confidence && state.steps.len() < args.steps as usize {
        let commit = bisection.next();
        let found = step(&commits[commit], &base, args, &measuring)?;
        apply(&mut bisection, commit, found.as_deref());
        let (best, probability) = bisection.best();
        eprintln!(
            "step {}: {}; most likely {} with {:.0} %",
            state.steps.len() + 1,
            &commits[commit][..10],
            &commits[best][..10],
            probability * 100.0
        );
        state.steps.push((commit, found));
        save(&path, &state)?;
    }
    let (best, probability) = bisection.best();
    if probability >= args.confidence {
        println!("{} is the first slow commit, with {:.1} %", commits[best], probability * 100.0);
        let _ = std::fs::remove_file(&path);
        return Ok(Exit::Ok);
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

fn ratios(
    base: &Executable,
    commit: &Checkout,
    args: &BisectArgs,
    measuring: &Measuring,
) -> Result<Vec<f64>, EngineError> {
    let cand = subject(commit, args)?;
    let plan = Plan { pairs: args.pairs, pairs_max: args.pairs, rule: Rule::default(), seed: 7 };
    let measured = measuring.measure(&[(base, &cand, args.title.clone())], &plan, Against::Itself(&[]))?;
    match measured.into_iter().next() {
        Some(one) if one.error.is_none() => {
            Ok(one.pairs.iter().map(|(base, cand)| (cand / base).ln()).collect())
        }
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
    promptc_engine::store::medium::replace(path, &text).map_err(crate::cli::fmt::medium)?;
    Ok(())
}
