//! Interleaved pairs of two executables, as long as more of them could decide.

use std::collections::BTreeMap;

use promptc_store::history::{BuildInfo, Micros, NoiseProbe, ResultRow, SampleRow, Side, bench_id};
use promptc_store::sql::stats::paired_test;

use super::executable::Executable;
use super::judge::{Judged, Rule, judge};
use super::slice::{Observation, Quantity, Slice, Slicing, in_short, observe};
use super::{Random, fault};
use crate::context::Cancel;
use crate::error::EngineError;

/// What is measured, and how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Pairs before the first look.
    pub pairs: u32,
    /// Pairs after which nothing is measured further.
    pub pairs_max: u32,
    /// Limits of the verdict; the level is divided by the number of looks.
    pub rule: Rule,
    /// Decides which side comes first.
    pub seed: u64,
}

impl Plan {
    /// Numbers of pairs after which is looked: every `pairs` up to the most.
    fn looks(&self) -> Vec<u32> {
        let step = self.pairs.max(1);
        let mut looks: Vec<u32> =
            (1..).map(|look| look * step).take_while(|&count| count < self.pairs_max).collect();
        looks.push(self.pairs_max.max(step));
        looks
    }

    /// The limits of each look.
    #[must_use]
    pub fn rule_of_look(&self) -> Rule {
        Rule { alpha: self.rule.alpha / self.looks().len() as f64, ..self.rule }
    }
}

/// What a measurement says while it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Title of the benchmark.
    pub title: &'a str,
    /// Pairs of it that are measured.
    pub pairs: u32,
    /// Benchmarks that are decided.
    pub decided: usize,
    /// Benchmarks in all.
    pub benchmarks: usize,
}

/// The pairs of one benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Name of the bench target.
    pub target: String,
    /// criterion's title.
    pub title: String,
    /// What was compared.
    pub quantity: Quantity,
    /// Base and candidate, per iteration, in the order taken.
    pub pairs: Vec<(f64, f64)>,
    /// Wall times in nanoseconds beside the times of the processor; empty of other quantities.
    pub walls: Vec<(f64, f64)>,
    /// Code hashes of base and candidate.
    pub code: (String, String),
    /// How base and candidate say they were built; none of a bench that says nothing.
    pub told: (Option<BuildInfo>, Option<BuildInfo>),
    /// Why it could not be measured.
    pub error: Option<String>,
    /// Why there is nothing to compare: a side has no subject for it.
    pub skipped: Option<String>,
    /// The last verdict; none for unchanged code and for what could not be measured.
    pub judged: Option<Judged>,
    /// The verdict is of the wall times: the processor is as busy as before, but more time passes.
    pub waits: bool,
}

impl Measured {
    /// Whether both sides are the same code, so that there is nothing to measure.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.code.0 == self.code.1
    }

    /// The same pairs with a second side that is worse by a factor.
    #[must_use]
    pub fn slowed(&self, factor: f64) -> Self {
        let mut slowed = self.clone();
        let factor = if self.quantity.direction > 0 { factor.recip() } else { factor };
        slowed.pairs.iter_mut().chain(&mut slowed.walls).for_each(|pair| pair.1 *= factor);
        slowed
    }

    /// Adds a pair. Two sides, or two slices, that measure different things have no ratio.
    fn add(&mut self, base: Observation, cand: Observation) {
        let is_first = self.pairs.is_empty();
        self.told = (base.build, cand.build);
        if base.quantity != cand.quantity || !is_first && base.quantity != self.quantity {
            let (one, other) = (&base.quantity.metric, &cand.quantity.metric);
            self.error =
                Some(format!("one side measures {one}, the other {other}, before {}", self.quantity.metric));
            return;
        }
        self.quantity = base.quantity;
        self.pairs.push((base.value, cand.value));
        self.walls.extend(base.wall_ns.zip(cand.wall_ns));
    }

    fn without_pairs(&self) -> Self {
        Self { pairs: Vec::new(), walls: Vec::new(), judged: None, waits: false, ..self.clone() }
    }

    /// The wall times as a benchmark of their own, which informs.
    fn wall(&self) -> Option<Self> {
        let quantity = Quantity { direction: 0, ..Quantity::default() };
        (!self.walls.is_empty()).then(|| Self { quantity, pairs: self.walls.clone(), ..self.clone() })
    }

    /// Whether a further pair can be measured.
    fn is_measurable(&self) -> bool {
        self.error.is_none() && self.skipped.is_none()
    }

    fn is_open(&self) -> bool {
        self.is_measurable() && self.judged.is_none_or(|judged| judged.is_open())
    }
}

/// What the second side is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Against<'a> {
    /// Another build: equal code is not measured.
    Another,
    /// The same build, measured until the verdicts of a second side that is slower by these factors are known too.
    Itself(&'a [f64]),
}

/// Measures `benchmarks` (a target's two executables and a title) until each is decided or has the most pairs.
///
/// # Errors
/// Only a cancelled caller: a benchmark that fails is part of the result.
pub fn measure(
    benchmarks: &[(&Executable, &Executable, String)],
    plan: &Plan,
    slicing: &Slicing,
    against: Against<'_>,
    cancel: &Cancel,
    report: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Measured>, EngineError> {
    let mut random = Random::new(plan.seed);
    let mut all: Vec<Measured> = benchmarks
        .iter()
        .map(|(base, cand, title)| Measured {
            target: base.target.clone(),
            title: title.clone(),
            quantity: Quantity::default(),
            pairs: Vec::new(),
            walls: Vec::new(),
            code: (base.code_hash.clone(), cand.code_hash.clone()),
            told: (None, None),
            error: None,
            skipped: None,
            judged: None,
            waits: false,
        })
        .collect();
    let (looks, rule) = (plan.looks(), plan.rule_of_look());
    let mut open: Vec<bool> =
        all.iter().map(|one| !one.is_unchanged() || against != Against::Another).collect();
    for &look in &looks {
        for idx in 0..all.len() {
            if !open[idx] {
                continue;
            }
            let (base, cand, title) = &benchmarks[idx];
            while all[idx].pairs.len() < look as usize && all[idx].is_measurable() {
                if cancel.is_cancelled() {
                    return Err(EngineError::Interrupted);
                }
                let decided = open.iter().filter(|is_open| !**is_open).count();
                let pairs = all[idx].pairs.len() as u32;
                report(Progress { title, pairs, decided, benchmarks: all.len() });
                match pair(base, cand, title, slicing, random.coin()) {
                    Ok((Slice::Observed(base), Slice::Observed(cand))) => all[idx].add(*base, *cand),
                    Ok((Slice::Observed(_), Slice::Skipped(why))) => {
                        all[idx].error = Some(format!("the newer side leaves it out: {why}"));
                    }
                    Ok((Slice::Skipped(why), _)) => all[idx].skipped = Some(why),
                    Err(error) => all[idx].error = Some(error.to_string()),
                }
            }
        }
        judge_all(&mut all, rule)?;
        open = still_open(&all, plan, against)?;
    }
    Ok(all)
}

/// What is known of how the executables of a run were built: what each bench says of itself, else what its executable and cargo say,
/// as far as all of them agree. `measured` are the `benchmarks` in the same order.
#[must_use]
pub fn build_of(benchmarks: &[(&Executable, &Executable, String)], measured: &[Measured]) -> BuildInfo {
    let mut builds: BTreeMap<&std::path::Path, BuildInfo> = BTreeMap::new();
    for ((base, cand, _), one) in benchmarks.iter().zip(measured) {
        for (executable, told) in [(base, &one.told.0), (cand, &one.told.1)] {
            let build = builds.entry(&executable.path).or_insert_with(|| executable.build.clone());
            if let Some(told) = told {
                *build = told.clone().or(build);
            }
        }
    }
    builds.into_values().reduce(|all, build| all.common(&build)).unwrap_or_default()
}

/// The benchmarks of which more pairs could change a verdict that is asked for.
fn still_open(all: &[Measured], plan: &Plan, against: Against<'_>) -> Result<Vec<bool>, EngineError> {
    let may_open = |one: &Measured| one.is_measurable() && !one.pairs.is_empty();
    let Against::Itself(factors) = against else {
        return Ok(all.iter().map(|one| may_open(one) && one.is_open()).collect());
    };
    let mut open = vec![false; all.len()];
    for &factor in [1.0].iter().chain(factors) {
        let slowed: Vec<Measured> = all.iter().map(|one| one.slowed(factor)).collect();
        for (open, seen) in open.iter_mut().zip(judge_in_looks(&slowed, plan)?) {
            *open |= may_open(&seen) && seen.is_open();
        }
    }
    Ok(open)
}

/// What the looks of `plan` would have said of pairs that are all there: a benchmark that is decided at a look keeps the pairs of that
/// look.
///
/// # Errors
/// Observations that are no positive numbers.
pub fn judge_in_looks(all: &[Measured], plan: &Plan) -> Result<Vec<Measured>, EngineError> {
    let mut seen: Vec<Measured> = all.iter().map(Measured::without_pairs).collect();
    let (looks, rule) = (plan.looks(), plan.rule_of_look());
    for look in looks {
        for (seen, one) in seen.iter_mut().zip(all) {
            if seen.is_open() {
                seen.pairs = one.pairs.iter().copied().take(look as usize).collect();
                seen.walls = one.walls.iter().copied().take(look as usize).collect();
            }
        }
        judge_all(&mut seen, rule)?;
    }
    Ok(seen)
}

fn pair(
    base: &Executable,
    cand: &Executable,
    title: &str,
    slicing: &Slicing,
    is_base_first: bool,
) -> Result<(Slice, Slice), EngineError> {
    if is_base_first {
        let of_base = observe(base, title, slicing)?;
        Ok((of_base, observe(cand, title, slicing)?))
    } else {
        let of_cand = observe(cand, title, slicing)?;
        Ok((observe(base, title, slicing)?, of_cand))
    }
}

fn judge_all(all: &mut [Measured], rule: Rule) -> Result<(), EngineError> {
    let measured: Vec<usize> =
        (0..all.len()).filter(|&idx| all[idx].error.is_none() && !all[idx].pairs.is_empty()).collect();
    let benchmarks: Vec<(&[(f64, f64)], i8)> =
        measured.iter().map(|&idx| (all[idx].pairs.as_slice(), all[idx].quantity.direction)).collect();
    let judged = judge(&benchmarks, rule).map_err(|error| fault(error.to_string()))?;
    let count = measured.len() as f64;
    for (idx, judged) in measured.into_iter().zip(judged) {
        let one = &mut all[idx];
        let waiting = if judged.verdict == "regression" { None } else { waiting(one, rule, count)? };
        (one.waits, one.judged) = (waiting.is_some(), waiting.or(Some(judged)));
    }
    Ok(())
}

/// The verdict that more time passes although the processor spends no more. Wall times are noisier, so it is only given when it is
/// clear (Bonferroni's correction for all benchmarks of the run), and their doubts are nobody's.
fn waiting(one: &Measured, rule: Rule, count: f64) -> Result<Option<Judged>, EngineError> {
    if one.walls.len() != one.pairs.len() {
        return Ok(None);
    }
    let test = paired_test(&one.walls, -1).map_err(|error| fault(error.to_string()))?;
    let q = (test.p * count).min(1.0);
    let is_clear = test.rel > rule.min_effect && q <= rule.alpha;
    Ok(is_clear.then_some(Judged { test, q, verdict: "regression" }))
}

/// The rows of the history of what was measured, and of what could not be. Both sides of a pair stand at one index of the samples.
/// `second` is the side of the candidate: [`Side::Candidate`], or [`Side::Same`] for one build against itself.
#[must_use]
pub fn rows(
    measured: &[Measured],
    suite: &str,
    second: Side,
    params: &BTreeMap<String, String>,
    started_at: Micros,
    probe: &NoiseProbe,
) -> (Vec<ResultRow>, Vec<SampleRow>) {
    let (mut results, mut samples) = (Vec::new(), Vec::new());
    let noise = probe.end();
    for one in measured.iter().flat_map(|one| [Some(one.clone()), one.wall()]).flatten() {
        let sides = [(Side::Base, &one.code.0), (second, &one.code.1)];
        for (side, code) in sides {
            let values: Vec<f64> =
                one.pairs.iter().map(|pair| if side == Side::Base { pair.0 } else { pair.1 }).collect();
            let summary = in_short(&values, 0);
            let is_measured = one.error.is_none() && !values.is_empty();
            let unchanged = one.is_unchanged() && values.is_empty() && one.error.is_none();
            let left_out = one.skipped.clone().or_else(|| unchanged.then(|| "unchanged code".to_owned()));
            results.push(ResultRow {
                side,
                pair_id: Some(bench_id(&one.title)),
                suite: suite.to_owned(),
                bench_id: bench_id(&one.title),
                params: params.clone(),
                metric: one.quantity.metric.clone(),
                unit: one.quantity.unit.clone(),
                direction: one.quantity.direction,
                iters_total: values.len() as u64,
                value: if is_measured { summary.median } else { None },
                summary,
                status: match (is_measured, &left_out) {
                    (true, _) => promptc_store::history::Status::Ok,
                    (false, Some(_)) => promptc_store::history::Status::Skipped,
                    (false, None) => promptc_store::history::Status::Failed,
                },
                error: match (is_measured, left_out) {
                    (true, _) => None,
                    (false, Some(why)) => Some(why),
                    (false, None) => Some(one.error.clone().unwrap_or_else(|| "not measured".to_owned())),
                },
                code_hash: Some(code.clone()),
                started_at,
                noise: noise.clone(),
                ..ResultRow::default()
            });
            if is_measured {
                samples.push(SampleRow {
                    side,
                    bench_id: bench_id(&one.title),
                    metric: one.quantity.metric.clone(),
                    iters: vec![1; values.len()],
                    values,
                    ..SampleRow::default()
                });
            }
        }
    }
    (results, samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmeasured() -> Measured {
        Measured {
            target: "t".into(),
            title: "t".into(),
            quantity: Quantity::default(),
            pairs: vec![],
            walls: vec![],
            code: ("a".into(), "b".into()),
            told: (None, None),
            error: None,
            skipped: None,
            judged: None,
            waits: false,
        }
    }

    #[test]
    fn looks_come_after_every_so_many_pairs() {
        let plan = |pairs, pairs_max| Plan { pairs, pairs_max, rule: Rule::default(), seed: 0 };
        assert_eq!(plan(20, 60).looks(), [20, 40, 60]);
        assert_eq!(plan(20, 50).looks(), [20, 40, 50]);
        assert_eq!(plan(20, 20).looks(), [20]);
        assert_eq!(plan(20, 5).looks(), [20]);
    }

    #[test]
    fn looks_over_pairs_that_are_there_stop_where_they_decide() {
        let mut random = Random::new(5);
        let mut noise = |share: f64| (share * (random.next() as f64 / u64::MAX as f64 - 0.5)).exp();
        let clear: Vec<(f64, f64)> = (0..60).map(|_| (100.0 * noise(0.02), 120.0 * noise(0.02))).collect();
        let noisy: Vec<(f64, f64)> = (0..60).map(|_| (100.0 * noise(2.0), 100.0 * noise(2.0))).collect();
        let one = |pairs| Measured { pairs, ..unmeasured() };
        let plan = Plan { pairs: 20, pairs_max: 60, rule: Rule::default(), seed: 0 };
        let seen = judge_in_looks(&[one(clear), one(noisy)], &plan).unwrap();
        let outcome = |one: &Measured| (one.pairs.len(), one.judged.map(|judged| judged.verdict));
        assert_eq!(outcome(&seen[0]), (20, Some("regression")));
        assert_eq!(outcome(&seen[1]), (60, Some("cannot_tell")));
    }

    #[test]
    fn sides_that_measure_different_things_are_an_error() {
        let observation = |metric: &str| Observation {
            quantity: Quantity { metric: metric.into(), unit: "ns".into(), direction: -1 },
            value: 1.0,
            wall_ns: None,
            build: None,
        };
        let mut one = unmeasured();
        one.add(observation("cpu_ns"), observation("cpu_ns"));
        assert_eq!((one.quantity.metric.as_str(), one.pairs.len()), ("cpu_ns", 1));
        one.add(observation("cpu_ns"), observation("wall_ns"));
        assert!(one.error.is_some() && one.pairs.len() == 1);
    }

    #[test]
    fn a_side_that_waits_is_slower_although_its_processor_is_not() {
        let mut random = Random::new(4);
        let mut noise = || (0.04 * (random.next() as f64 / u64::MAX as f64 - 0.5)).exp();
        let mut pairs = |factor: f64| -> Vec<(f64, f64)> {
            (0..20).map(|_| (100.0 * noise(), 100.0 * factor * noise())).collect()
        };
        let one = Measured {
            target: "t".into(),
            title: "t".into(),
            quantity: Quantity { metric: "cpu_ns".into(), unit: "ns".into(), direction: -1 },
            pairs: pairs(1.0),
            walls: pairs(1.3),
            code: ("a".into(), "b".into()),
            told: (None, None),
            error: None,
            skipped: None,
            judged: None,
            waits: false,
        };
        let mut all = [one.clone(), Measured { walls: pairs(1.0), ..one }];
        judge_all(&mut all, Rule::default()).unwrap();
        let verdict = |one: &Measured| (one.waits, one.judged.unwrap().verdict);
        assert_eq!(all.each_ref().map(verdict), [(true, "regression"), (false, "no_change")]);
        let (results, samples) =
            rows(&all, "kernels", Side::Candidate, &BTreeMap::new(), 5, &NoiseProbe::begin());
        let metrics: Vec<(&str, i8)> =
            results.iter().map(|row| (row.metric.as_str(), row.direction)).collect();
        assert_eq!(metrics[..4], [("cpu_ns", -1), ("cpu_ns", -1), ("wall_ns", 0), ("wall_ns", 0)]);
        assert_eq!(samples.len(), 8);
    }

    #[test]
    fn one_build_against_itself_is_open_until_a_slower_one_is_decided() {
        let mut random = Random::new(3);
        let mut noise = || (0.1 * (random.next() as f64 / u64::MAX as f64 - 0.5)).exp();
        let one = Measured {
            quantity: Quantity { metric: "throughput".into(), unit: "1/s".into(), direction: 1 },
            pairs: (0..20).map(|_| (100.0 * noise(), 100.0 * noise())).collect(),
            code: ("a".into(), "a".into()),
            ..unmeasured()
        };
        let plan = Plan { pairs: 20, pairs_max: 60, rule: Rule::default(), seed: 0 };
        let open = |factors: &[f64]| {
            still_open(std::slice::from_ref(&one), &plan, Against::Itself(factors)).unwrap()[0]
        };
        assert!(!open(&[1.5]) && open(&[1.05]));
        assert_eq!(
            judge_in_looks(&[one.slowed(1.5)], &plan).unwrap()[0].judged.unwrap().verdict,
            "regression"
        );
    }

    #[test]
    fn the_build_of_a_run_is_what_all_its_executables_share() {
        let text = |text: &str| Some(text.to_owned());
        let executable = |path: &str, build: BuildInfo| Executable {
            target: "t".into(),
            path: path.into(),
            folder: "/".into(),
            code_hash: path.into(),
            build,
        };
        let compiled = BuildInfo { rustc_version: text("r1"), opt_level: text("3"), ..BuildInfo::default() };
        let base = executable("/base", BuildInfo { opt_level: text("2"), ..compiled.clone() });
        let cand = executable("/cand", compiled.clone());
        let benchmarks = [(&base, &cand, "t".to_owned())];
        let both = build_of(&benchmarks, &[unmeasured()]);
        assert_eq!(both, BuildInfo { opt_level: None, ..compiled.clone() });
        // What a bench says of itself counts more than what is seen from outside, and stays where another slice says nothing.
        let says = BuildInfo { opt_level: text("2"), lto: text("fat"), ..BuildInfo::default() };
        let told = Measured { told: (Some(says.clone()), Some(says)), ..unmeasured() };
        let benchmarks = [(&base, &cand, "t".to_owned()), (&base, &cand, "u".to_owned())];
        let both = build_of(&benchmarks, &[told, unmeasured()]);
        assert_eq!(both, BuildInfo { opt_level: text("2"), lto: text("fat"), ..compiled });
    }

    #[test]
    fn rows_of_a_pair_stand_at_one_index() {
        let measured = Measured {
            target: "t".into(),
            title: "Group/f/1".into(),
            quantity: Quantity::default(),
            pairs: vec![(1.0, 2.0), (3.0, 4.0)],
            walls: vec![],
            code: ("a".into(), "b".into()),
            told: (None, None),
            error: None,
            skipped: None,
            judged: None,
            waits: false,
        };
        let failed = Measured { pairs: vec![], error: Some("gone".into()), ..measured.clone() };
        let probe = NoiseProbe::begin();
        let (results, samples) =
            rows(&[measured, failed], "kernels", Side::Candidate, &BTreeMap::new(), 5, &probe);
        assert_eq!(results.len(), 4);
        let absent = Measured { pairs: vec![], skipped: Some("no subject".into()), ..unmeasured() };
        let (left_out, _) =
            rows(&[absent], "kernels", Side::Candidate, &BTreeMap::new(), 5, &NoiseProbe::begin());
        assert!(left_out.iter().all(|row| row.status == promptc_store::history::Status::Skipped));
        assert_eq!(left_out[0].error.as_deref(), Some("no subject"));
        assert_eq!((samples[0].values.clone(), samples[1].values.clone()), (vec![1.0, 3.0], vec![2.0, 4.0]));
        assert_eq!(results[0].bench_id, "group/f/1");
        assert_eq!((results[3].value, results[3].error.as_deref()), (None, Some("gone")));
    }
}
