//! `promptc bench pair` and `promptc bench aa`: two builds, or one build twice, measured in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use clap::Args;
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::measure::{
    Against, Checkout, Executable, Judged, Measured, Plan, Rule, Slicing, build, build_commit, build_of,
    checkout, judge_in_looks, measure, rows, titles,
};
use promptc_engine::store::history::{
    Environment, History, NoiseProbe, Run, Side, VerdictRow, bench_id, git_state, new_run_id,
};
use promptc_engine::store_errors;

use super::Scratch;
use crate::cli::history::{Place, now};
use crate::cli::query::Format;
use crate::cli::{Common, Outcome, run};
use crate::exit::Exit;
use crate::show;

/// Gate under which the verdicts stand.
const GATE: &str = "paired";

/// What both verbs take.
#[derive(Args)]
struct Subject {
    /// Only benchmarks whose title contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Folder of the cargo project
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Pairs before the first look
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(6..=400))]
    pairs: u32,
    /// Pairs after which a benchmark stays undecided
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(6..=400))]
    max_pairs: u32,
    /// Time of a slice before its first sample, in ms
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    warm_up: u64,
    /// Time of a slice for its ten samples, in ms
    #[arg(long, value_name = "MS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    measure: u64,
    /// Decides which side of a pair comes first
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Suite of the rows
    #[arg(long, value_name = "NAME", default_value = "kernels")]
    suite: String,
    /// Largest corrected probability of a false alarm
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = parse_probability)]
    alpha: f64,
    /// Smallest relative change that matters
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = parse_probability)]
    min_effect: f64,
    /// How verdicts are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    place: Place,
}

fn parse_probability(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| *value > 0.0 && *value < 1.0);
    value.ok_or_else(|| "expected a number between 0 and 1".to_owned())
}

impl Subject {
    fn plan(&self, seed: u64) -> Plan {
        let rule = Rule { min_effect: self.min_effect, alpha: self.alpha };
        Plan { pairs: self.pairs, pairs_max: self.max_pairs.max(self.pairs), rule, seed }
    }

    fn slices(&self) -> SliceTimes {
        SliceTimes {
            warm_up: Duration::from_millis(self.warm_up),
            measure: Duration::from_millis(self.measure),
        }
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench pair HEAD~1 --filter dot_f32 -- --bench kernels
  promptc bench pair main my-branch --project ../crate --suite crate -- --features fast
  promptc bench pair --base-exe old/kernels --cand-exe new/kernels

Exit: 0 nothing got worse, 3 a regression, 4 a benchmark could not be measured, 5 something could not be decided.")]
pub(super) struct PairArgs {
    /// The older commit
    #[arg(required_unless_present = "base_exe")]
    base: Option<String>,
    /// The newer commit; default: the work tree as it is
    cand: Option<String>,
    /// A built bench of the older side, instead of a commit
    #[arg(long, value_name = "FILE", requires = "cand_exe", conflicts_with = "base")]
    base_exe: Option<PathBuf>,
    /// A built bench of the newer side
    #[arg(long, value_name = "FILE", requires = "base_exe")]
    cand_exe: Option<PathBuf>,
    #[command(flatten)]
    subject: Subject,
    /// End with 0 instead of 5 where something could not be decided
    #[arg(long)]
    undecided_ok: bool,
    /// Arguments for `cargo bench --no-run`
    #[arg(last = true)]
    cargo: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench aa --filter dot_f32 --runs 10 -- --bench kernels
  promptc bench aa --inject 1.05,1.10,1.20 -- --bench kernels

Every run writes verdicts with purpose `aa`, and with purpose `power` for each injected factor.")]
pub(super) struct SameArgs {
    /// Runs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Factors by which every observation of the second side is multiplied before judging
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', default_value = "1.05,1.10,1.20")]
    inject: Vec<f64>,
    /// A built bench, instead of building the project's
    #[arg(long, value_name = "FILE")]
    exe: Option<PathBuf>,
    #[command(flatten)]
    subject: Subject,
    /// Arguments for `cargo bench --no-run`
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// How long a slice warms up and measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct SliceTimes {
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
}

impl Default for SliceTimes {
    fn default() -> Self {
        Self { warm_up: Duration::from_millis(100), measure: Duration::from_millis(60) }
    }
}

/// Two executables and the title of a benchmark in both.
type Benchmark<'a> = (&'a Executable, &'a Executable, String);

pub(super) fn pair(args: &PairArgs, common: &Common) -> Outcome {
    let subject = &args.subject;
    let (base, cand, cand_folder) = sides(args)?;
    let benchmarks = common_benchmarks(&base, &cand, subject.filter.as_deref())?;
    let measuring = Measuring::begin(common, subject.slices())?;
    let mut run = new_run(&cand_folder);
    let probe = NoiseProbe::begin();
    let measured = measuring.measure(&benchmarks, &subject.plan(subject.seed), Against::Another)?;
    let (results, samples) =
        rows(&measured, &subject.suite, Side::Candidate, &params(subject), run.started_at, &probe);
    (run.results, run.samples) = (results, samples);
    mark(&mut run, &subject.plan(subject.seed));
    if let Some(Checkout { sha, .. }) =
        args.base.as_deref().map(|base| checkout(&subject.project, base)).transpose()?
    {
        run.results.iter_mut().for_each(|row| {
            row.tags.insert("base_sha".to_owned(), sha.clone());
        });
    }
    let verdicts = verdict_rows(&run.id, &measured, "gate", None);
    let environment = Environment::capture(&build_of(&benchmarks, &measured));
    record(subject, common, &environment, run, verdicts)?;
    let batch = table(&measured)?;
    show::print_batches(&batch.schema(), &[batch], subject.format)?;
    Ok(exit(&measured, args.undecided_ok))
}

pub(super) fn same(args: &SameArgs, common: &Common) -> Outcome {
    let subject = &args.subject;
    if let Some(factor) = args.inject.iter().find(|factor| !factor.is_finite() || **factor <= 0.0) {
        return Err(EngineError::Unknown(format!("--inject {factor}: expected factors above 0, as 1.10")));
    }
    let executables = match &args.exe {
        Some(path) => vec![open(path, &subject.project)?],
        None => build(&subject.project, &args.cargo)?,
    };
    let benchmarks = common_benchmarks(&executables, &executables, subject.filter.as_deref())?;
    let measuring = Measuring::begin(common, subject.slices())?;
    // A change at the limit of what matters is seldom decided, so that nobody waits for it.
    let clear = |factor: &f64| (factor - 1.0).abs() > 1.9 * subject.min_effect;
    let waited_for: Vec<f64> = args.inject.iter().copied().filter(clear).collect();
    let mut tally: BTreeMap<String, Tally> = BTreeMap::new();
    let mut all_measured = true;
    for number in 0..args.runs {
        eprintln!("run {} of {}", number + 1, args.runs);
        let mut run = new_run(&subject.project);
        let probe = NoiseProbe::begin();
        let seed = subject.seed.wrapping_add(u64::from(number));
        let plan = subject.plan(seed);
        let measured = measuring.measure(&benchmarks, &plan, Against::Itself(&waited_for))?;
        let (results, samples) =
            rows(&measured, &subject.suite, Side::Same, &params(subject), run.started_at, &probe);
        (run.results, run.samples) = (results, samples);
        mark(&mut run, &plan);
        for row in &mut run.results {
            row.tags.insert("purpose".to_owned(), "aa".to_owned());
        }
        let judged = judge_in_looks(&measured, &plan)?;
        let mut verdicts = verdict_rows(&run.id, &judged, "aa", None);
        tally.entry("as it is".to_owned()).or_default().add(&judged);
        for &factor in &args.inject {
            let slowed: Vec<Measured> = measured.iter().map(|one| one.slowed(factor)).collect();
            let slowed = judge_in_looks(&slowed, &plan)?;
            verdicts.extend(verdict_rows(&run.id, &slowed, "power", Some(factor - 1.0)));
            tally.entry(format!("x {factor:.2}")).or_default().add(&slowed);
        }
        let environment = Environment::capture(&build_of(&benchmarks, &measured));
        record(subject, common, &environment, run, verdicts)?;
        let errors: Vec<&String> = measured.iter().filter_map(|one| one.error.as_ref()).collect();
        if let Some(first) = errors.first() {
            eprintln!("{} benchmarks could not be measured; the first: {first}", errors.len());
            all_measured = false;
        }
    }
    let batch = tallies(&tally)?;
    show::print_batches(&batch.schema(), &[batch], subject.format)?;
    Ok(if all_measured { Exit::Ok } else { Exit::Run })
}

/// The executables of both sides, and the folder of the candidate.
fn sides(args: &PairArgs) -> Result<(Vec<Executable>, Vec<Executable>, PathBuf), EngineError> {
    let project = &args.subject.project;
    if let (Some(base), Some(cand)) = (&args.base_exe, &args.cand_exe) {
        return Ok((vec![open(base, project)?], vec![open(cand, project)?], project.clone()));
    }
    let missing = || EngineError::Unknown("name the older commit, as `promptc bench pair HEAD~1`".to_owned());
    let base = checkout(project, args.base.as_deref().ok_or_else(missing)?)?;
    eprintln!("building {}", &base.sha[..10]);
    let base = build_commit(&base, &args.cargo)?;
    eprintln!("building {}", args.cand.as_deref().unwrap_or("the work tree"));
    match &args.cand {
        Some(commit) => {
            let cand = checkout(project, commit)?;
            Ok((base, build_commit(&cand, &args.cargo)?, cand.folder))
        }
        None => Ok((base, build(project, &args.cargo)?, project.clone())),
    }
}

/// One name for both sides, since the files may be called anything.
fn open(path: &Path, project: &Path) -> Result<Executable, EngineError> {
    Executable::open("bench", path, project)
}

/// Benchmarks that both sides have; what only one has is said.
fn common_benchmarks<'a>(
    base: &'a [Executable],
    cand: &'a [Executable],
    filter: Option<&str>,
) -> Result<Vec<Benchmark<'a>>, EngineError> {
    let mut found = Vec::new();
    for cand in cand {
        let Some(base) = base.iter().find(|base| base.target == cand.target) else {
            eprintln!("bench `{}` is only in the newer build", cand.target);
            continue;
        };
        let old = titles(base, filter)?;
        for title in titles(cand, filter)? {
            if old.contains(&title) {
                found.push((base, cand, title));
            } else {
                eprintln!("benchmark `{title}` is only in the newer build");
            }
        }
    }
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for (_, _, title) in &found {
        if let Some(other) = names.insert(bench_id(title), title).filter(|other| other != title) {
            let message = format!(
                "benchmarks `{other}` and `{title}` would both be `{}` in the history: rename one of them, or leave one out \
                 with --filter",
                bench_id(title)
            );
            return Err(EngineError::Row { code: "E2102", message });
        }
    }
    if found.is_empty() {
        let message = match filter {
            Some(filter) => format!("no benchmark of both builds has `{filter}` in its title"),
            None => "the builds have no benchmark in common".to_owned(),
        };
        return Err(EngineError::Unknown(message));
    }
    Ok(found)
}

/// The scratch folder and the listener for Ctrl-C.
pub(super) struct Measuring {
    scratch: Scratch,
    times: SliceTimes,
    cancel: Cancel,
}

impl Measuring {
    pub(super) fn begin(common: &Common, times: SliceTimes) -> Result<Self, EngineError> {
        let scratch = Scratch::new()?;
        let cancel = Cancel::default();
        let removed = scratch.0.clone();
        run::stop_on_interrupt(cancel.clone(), super::progress::listener(common), move || {
            let _ = std::fs::remove_dir_all(removed);
        })?;
        Ok(Self { scratch, times, cancel })
    }

    pub(super) fn measure(
        &self,
        benchmarks: &[Benchmark<'_>],
        plan: &Plan,
        against: Against<'_>,
    ) -> Result<Vec<Measured>, EngineError> {
        let slicing = Slicing::new(self.times.warm_up, self.times.measure, self.scratch.0.clone());
        let mut last = (String::new(), u32::MAX);
        let mut report = |progress: promptc_engine::measure::Progress<'_>| {
            let step = progress.pairs / 10;
            if last.0 != progress.title || last.1 != step {
                last = (progress.title.to_owned(), step);
                eprintln!(
                    "{} of {} decided; `{}`: {} pairs",
                    progress.decided, progress.benchmarks, progress.title, progress.pairs
                );
            }
        };
        let measured = measure(benchmarks, plan, &slicing, against, &self.cancel, &mut report);
        if let Err(EngineError::Interrupted) = &measured {
            eprintln!("nothing of this measurement is recorded");
        }
        measured
    }
}

/// Says in every row with which limits its last look judged, for the gate that judges the run again.
fn mark(run: &mut Run, plan: &Plan) {
    let rule = plan.rule_of_look();
    for row in &mut run.results {
        row.tags.insert("alpha".to_owned(), rule.alpha.to_string());
        row.tags.insert("min_effect".to_owned(), rule.min_effect.to_string());
    }
}

fn new_run(folder: &Path) -> Run {
    Run { id: new_run_id(SystemTime::now()), started_at: now(), git: git_state(folder), ..Run::default() }
}

fn params(subject: &Subject) -> BTreeMap<String, String> {
    let slices = format!("{} ms after {} ms", subject.measure, subject.warm_up);
    [("slices", slices), ("order_seed", subject.seed.to_string())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn record(
    subject: &Subject,
    common: &Common,
    environment: &Environment,
    mut run: Run,
    verdicts: Vec<VerdictRow>,
) -> Result<(), EngineError> {
    run.env_id = environment.id();
    let history: History = subject.place.open(&subject.project, common)?;
    history.check_clock(now()).map_err(store_errors::history)?;
    history.write(&run, environment).map_err(store_errors::history)?;
    history.append_verdicts(&verdicts).map_err(store_errors::history)?;
    eprintln!("recorded as run {} in {}", run.id, history.dir().display());
    Ok(())
}

/// One row per benchmark, and the summary row of the run.
fn verdict_rows(
    run_id: &str,
    measured: &[Measured],
    purpose: &str,
    injected_rel: Option<f64>,
) -> Vec<VerdictRow> {
    let common = VerdictRow {
        gate_id: GATE.to_owned(),
        run_id: run_id.to_owned(),
        purpose: purpose.to_owned(),
        injected_rel,
        decided_at: now(),
        ..VerdictRow::default()
    };
    let mut verdicts: Vec<VerdictRow> = measured
        .iter()
        .filter(|one| one.skipped.is_none())
        .map(|one| {
            let side = |of: fn(&(f64, f64)) -> f64| {
                let pairs = if one.waits { &one.walls } else { &one.pairs };
                let values: Vec<f64> = pairs.iter().map(of).collect();
                promptc_engine::store::history::summary(&values, 0).median
            };
            let test = one.judged.map(|judged| judged.test);
            VerdictRow {
                bench_id: Some(bench_id(&one.title)),
                metric: Some(if one.waits { "wall_ns".to_owned() } else { one.quantity.metric.clone() }),
                base: side(|pair| pair.0),
                cand: side(|pair| pair.1),
                rel: test.map(|test| test.rel),
                ci_low: test.map(|test| test.ci_low).filter(|low| low.is_finite()),
                ci_high: test.map(|test| test.ci_high).filter(|high| high.is_finite()),
                p: test.map(|test| test.p),
                q: one.judged.map(|judged| judged.q),
                verdict: verdict(one).to_owned(),
                needed_pairs: test.map(|test| test.needed_pairs),
                pair_count: test.map(|test| test.pair_count),
                reason: reason(one),
                ..common.clone()
            }
        })
        .collect();
    let any = |wanted: &str| measured.iter().any(|one| verdict(one) == wanted);
    let summary = match (any("regression"), any("cannot_tell")) {
        (true, _) => "fail",
        (false, true) => "unknown",
        (false, false) => "pass",
    };
    verdicts.push(VerdictRow { verdict: summary.to_owned(), ..common });
    verdicts
}

fn verdict(one: &Measured) -> &'static str {
    match &one.judged {
        Some(Judged { verdict, .. }) => verdict,
        None if one.skipped.is_some() => "skipped",
        None if one.is_unchanged() && one.error.is_none() => "no_change",
        None => "cannot_tell",
    }
}

fn reason(one: &Measured) -> Option<String> {
    match (&one.error, &one.judged) {
        (Some(error), _) => Some(error.clone()),
        (None, None) if one.skipped.is_some() => one.skipped.clone(),
        (None, None) => Some("unchanged code".to_owned()),
        (None, Some(_)) if one.waits => {
            Some("the processor is as busy as before, but more time passes".to_owned())
        }
        (None, Some(judged)) if judged.is_open() => {
            Some(format!("{} pairs in all would decide", judged.test.needed_pairs))
        }
        _ => None,
    }
}

/// What could not be measured weighs most, then regressions, then what could not be decided.
fn exit(measured: &[Measured], undecided_ok: bool) -> Exit {
    if measured.iter().any(|one| one.error.is_some()) {
        Exit::Run
    } else if measured.iter().any(|one| verdict(one) == "regression") {
        Exit::Failed
    } else if measured.iter().any(|one| verdict(one) == "cannot_tell") && !undecided_ok {
        Exit::Undecided
    } else {
        Exit::Ok
    }
}

fn table(measured: &[Measured]) -> Result<RecordBatch, EngineError> {
    let number = |of: &dyn Fn(&Judged) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter(measured.iter().map(|one| one.judged.as_ref().map(of))))
    };
    let texts = |of: &dyn Fn(&Measured) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(measured.iter().map(of)))
    };
    let percent = |value: f64| (value * 1e4).round() / 1e2;
    Ok(RecordBatch::try_from_iter(vec![
        ("bench_id", texts(&|one| bench_id(&one.title))),
        ("change_percent", number(&|judged| percent(judged.test.rel))),
        ("low", number(&|judged| percent(judged.test.ci_low))),
        ("high", number(&|judged| percent(judged.test.ci_high))),
        ("q", number(&|judged| judged.q)),
        (
            "pairs",
            Arc::new(UInt32Array::from_iter_values(measured.iter().map(|one| one.pairs.len() as u32)))
                as ArrayRef,
        ),
        ("verdict", texts(&|one| verdict(one).to_owned())),
        ("remark", texts(&|one| reason(one).unwrap_or_default())),
    ])?)
}

/// How often each verdict was given.
#[derive(Default)]
struct Tally {
    runs: u32,
    runs_with_regression: u32,
    benchmarks: u32,
    by_verdict: BTreeMap<&'static str, u32>,
}

impl Tally {
    fn add(&mut self, measured: &[Measured]) {
        self.runs += 1;
        self.runs_with_regression += u32::from(measured.iter().any(|one| verdict(one) == "regression"));
        self.benchmarks += measured.len() as u32;
        for one in measured {
            *self.by_verdict.entry(verdict(one)).or_default() += 1;
        }
    }
}

fn tallies(tally: &BTreeMap<String, Tally>) -> Result<RecordBatch, EngineError> {
    let counts = |of: &dyn Fn(&Tally) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(tally.values().map(of)))
    };
    let given = |tally: &Tally, verdict: &str| tally.by_verdict.get(verdict).copied().unwrap_or(0);
    Ok(RecordBatch::try_from_iter(vec![
        ("second_side", Arc::new(StringArray::from_iter_values(tally.keys())) as ArrayRef),
        ("runs", counts(&|tally| tally.runs)),
        ("runs_with_regression", counts(&|tally| tally.runs_with_regression)),
        ("benchmarks", counts(&|tally| tally.benchmarks)),
        ("regression", counts(&|tally| given(tally, "regression"))),
        ("improvement", counts(&|tally| given(tally, "improvement"))),
        ("no_change", counts(&|tally| given(tally, "no_change"))),
        ("cannot_tell", counts(&|tally| given(tally, "cannot_tell"))),
    ])?)
}
