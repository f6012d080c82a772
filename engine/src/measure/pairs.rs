//! Interleaved pairs of two executables, as long as more of them could decide.

use std::collections::BTreeMap;

use promptc_store::history::{Micros, NoiseProbe, ResultRow, SampleRow, Side, bench_id};

use super::executable::Executable;
use super::judge::{Judged, Rule, judge};
use super::slice::{Slicing, in_short, observe};
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
    /// Base and candidate, in nanoseconds per iteration, in the order taken.
    pub pairs: Vec<(f64, f64)>,
    /// Code hashes of base and candidate.
    pub code: (String, String),
    /// Why it could not be measured.
    pub error: Option<String>,
    /// The last verdict; none for unchanged code and for what could not be measured.
    pub judged: Option<Judged>,
}

impl Measured {
    /// Whether both sides are the same code, so that there is nothing to measure.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.code.0 == self.code.1
    }
}

/// Measures `benchmarks` (a target's two executables and a title) until each is decided or has the most pairs. With `is_same`, equal
/// code is measured too: one build against itself.
///
/// # Errors
/// Only a cancelled caller: a benchmark that fails is part of the result.
pub fn measure(
    benchmarks: &[(&Executable, &Executable, String)],
    plan: &Plan,
    slicing: &Slicing,
    is_same: bool,
    cancel: &Cancel,
    report: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Measured>, EngineError> {
    let mut random = Random::new(plan.seed);
    let mut all: Vec<Measured> = benchmarks
        .iter()
        .map(|(base, cand, title)| Measured {
            target: base.target.clone(),
            title: title.clone(),
            pairs: Vec::new(),
            code: (base.code_hash.clone(), cand.code_hash.clone()),
            error: None,
            judged: None,
        })
        .collect();
    let looks = plan.looks();
    let rule = Rule { alpha: plan.rule.alpha / looks.len() as f64, ..plan.rule };
    for &look in &looks {
        for idx in 0..all.len() {
            let is_open = all[idx].judged.is_none_or(|judged| judged.is_open());
            if all[idx].error.is_some() || !is_open || (all[idx].is_unchanged() && !is_same) {
                continue;
            }
            let (base, cand, title) = &benchmarks[idx];
            while all[idx].pairs.len() < look as usize && all[idx].error.is_none() {
                if cancel.is_cancelled() {
                    return Err(EngineError::Interrupted);
                }
                let decided =
                    all.iter().filter(|one| one.judged.is_some_and(|judged| !judged.is_open())).count();
                let pairs = all[idx].pairs.len() as u32;
                report(Progress { title, pairs, decided, benchmarks: all.len() });
                match pair(base, cand, title, slicing, random.coin()) {
                    Ok(pair) => all[idx].pairs.push(pair),
                    Err(error) => all[idx].error = Some(error.to_string()),
                }
            }
        }
        judge_all(&mut all, rule)?;
    }
    Ok(all)
}

/// What the looks of `plan` would have said of pairs that are all there: a benchmark that is decided at a look keeps the pairs of that
/// look.
///
/// # Errors
/// Observations that are no positive numbers.
pub fn judge_in_looks(all: &[Measured], plan: &Plan) -> Result<Vec<Measured>, EngineError> {
    let mut seen: Vec<Measured> =
        all.iter().map(|one| Measured { pairs: Vec::new(), judged: None, ..one.clone() }).collect();
    let looks = plan.looks();
    let rule = Rule { alpha: plan.rule.alpha / looks.len() as f64, ..plan.rule };
    for look in looks {
        for (seen, one) in seen.iter_mut().zip(all) {
            if seen.judged.is_none_or(|judged| judged.is_open()) {
                seen.pairs = one.pairs.iter().copied().take(look as usize).collect();
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
) -> Result<(f64, f64), EngineError> {
    if is_base_first {
        let base_ns = observe(base, title, slicing)?;
        Ok((base_ns, observe(cand, title, slicing)?))
    } else {
        let cand_ns = observe(cand, title, slicing)?;
        Ok((observe(base, title, slicing)?, cand_ns))
    }
}

fn judge_all(all: &mut [Measured], rule: Rule) -> Result<(), EngineError> {
    let measured: Vec<usize> =
        (0..all.len()).filter(|&idx| all[idx].error.is_none() && !all[idx].pairs.is_empty()).collect();
    let benchmarks: Vec<(&[(f64, f64)], i8)> =
        measured.iter().map(|&idx| (all[idx].pairs.as_slice(), -1)).collect();
    let judged = judge(&benchmarks, rule).map_err(|error| fault(error.to_string()))?;
    for (idx, judged) in measured.into_iter().zip(judged) {
        all[idx].judged = Some(judged);
    }
    Ok(())
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
    for one in measured {
        let sides = [(Side::Base, &one.code.0), (second, &one.code.1)];
        for (side, code) in sides {
            let values: Vec<f64> =
                one.pairs.iter().map(|pair| if side == Side::Base { pair.0 } else { pair.1 }).collect();
            let summary = in_short(&values, 0);
            let is_measured = one.error.is_none() && !values.is_empty();
            let unchanged = one.is_unchanged() && values.is_empty() && one.error.is_none();
            results.push(ResultRow {
                side,
                pair_id: Some(bench_id(&one.title)),
                suite: suite.to_owned(),
                bench_id: bench_id(&one.title),
                params: params.clone(),
                metric: "wall_ns".to_owned(),
                unit: "ns".to_owned(),
                direction: -1,
                iters_total: values.len() as u64,
                value: if is_measured { summary.median } else { None },
                summary,
                status: match (is_measured, unchanged) {
                    (true, _) => promptc_store::history::Status::Ok,
                    (false, true) => promptc_store::history::Status::Skipped,
                    (false, false) => promptc_store::history::Status::Failed,
                },
                error: match (is_measured, unchanged) {
                    (true, _) => None,
                    (false, true) => Some("unchanged code".to_owned()),
                    (false, false) => Some(one.error.clone().unwrap_or_else(|| "not measured".to_owned())),
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
                    metric: "wall_ns".to_owned(),
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
        let one = |pairs| Measured {
            target: "t".into(),
            title: "t".into(),
            pairs,
            code: ("a".into(), "a".into()),
            error: None,
            judged: None,
        };
        let plan = Plan { pairs: 20, pairs_max: 60, rule: Rule::default(), seed: 0 };
        let seen = judge_in_looks(&[one(clear), one(noisy)], &plan).unwrap();
        let outcome = |one: &Measured| (one.pairs.len(), one.judged.map(|judged| judged.verdict));
        assert_eq!(outcome(&seen[0]), (20, Some("regression")));
        assert_eq!(outcome(&seen[1]), (60, Some("cannot_tell")));
    }

    #[test]
    fn rows_of_a_pair_stand_at_one_index() {
        let measured = Measured {
            target: "t".into(),
            title: "Group/f/1".into(),
            pairs: vec![(1.0, 2.0), (3.0, 4.0)],
            code: ("a".into(), "b".into()),
            error: None,
            judged: None,
        };
        let failed = Measured { pairs: vec![], error: Some("gone".into()), ..measured.clone() };
        let probe = NoiseProbe::begin();
        let (results, samples) =
            rows(&[measured, failed], "kernels", Side::Candidate, &BTreeMap::new(), 5, &probe);
        assert_eq!(results.len(), 4);
        assert_eq!((samples[0].values.clone(), samples[1].values.clone()), (vec![1.0, 3.0], vec![2.0, 4.0]));
        assert_eq!(results[0].bench_id, "group/f/1");
        assert_eq!((results[3].value, results[3].error.as_deref()), (None, Some("gone")));
    }
}
