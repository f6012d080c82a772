//! Which commit made it slower: a search that expects wrong answers.
//!
//! Probabilistic bisection (Horstein 1963): every commit of the range may be the first slow one, all equally likely at first. Each step
//! measures the commit that divides what is believed most evenly, and weighs all commits by how likely the measured change is if it were the
//! one. The search ends when one commit has the wanted probability.

use promptc_store::sql::stats::median;

use super::fault;
use crate::error::EngineError;

/// Smallest standard error of a measured change, in log units: clocks and loops are never better.
const STANDARD_ERROR_MIN: f64 = 1e-3;

/// Share of the steps whose measurement is taken to say nothing: a machine that was disturbed for the whole of a step shifts all of its
/// pairs, and their spread does not show it. So no single step decides.
const DISTURBED: f64 = 0.05;

/// What is believed about the first slow commit of a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Bisection {
    /// Log probability, up to a constant, that each commit is the first slow one.
    log_weights: Vec<f64>,
    /// Change between the ends of the range, in log units.
    effect: f64,
    /// Its standard error.
    effect_error: f64,
}

impl Bisection {
    /// Begins with `commits` candidates, oldest first; the last one is known to be slower than the commit before the first by the centre
    /// of `ends`, log ratios of pairs of both.
    ///
    /// # Errors
    /// No commits, fewer than two pairs, or no change between the ends.
    pub fn new(commits: usize, ends: &[f64]) -> Result<Self, EngineError> {
        match centre_and_error(ends) {
            Some((effect, effect_error)) if commits > 0 && effect.is_finite() && effect != 0.0 => {
                Ok(Self { log_weights: vec![0.0; commits], effect, effect_error })
            }
            _ => Err(fault("a search needs at least one commit and a change between the ends of the range")),
        }
    }

    /// The commit to be measured next: the one that divides what is believed most evenly. The last commit is known to be slow:
    /// measuring it says nothing.
    #[must_use]
    pub fn next(&self) -> usize {
        let mut until = 0.0;
        let mut best = (0, f64::INFINITY);
        let mut probabilities = self.probabilities();
        probabilities.pop();
        for (commit, probability) in probabilities.into_iter().enumerate() {
            until += probability;
            let unevenness = (until - 0.5).abs();
            if unevenness < best.1 {
                best = (commit, unevenness);
            }
        }
        best.0
    }

    /// Takes the log ratios of pairs (the commit against the good end), measured at `commit`.
    pub fn observe(&mut self, commit: usize, log_ratios: &[f64]) {
        self.weigh(log_ratios, |first_slow| first_slow <= commit);
    }

    /// Takes the log ratios of pairs of `commit` against the commit before it.
    pub fn refute(&mut self, commit: usize, log_ratios: &[f64]) {
        self.weigh(log_ratios, |first_slow| first_slow == commit);
    }

    /// Weighs every commit by how likely the ratios are if it were the first slow one: `is_changed` says whether they then show the change.
    fn weigh(&mut self, log_ratios: &[f64], is_changed: impl Fn(usize) -> bool) {
        let Some((centre, error)) = centre_and_error(log_ratios) else { return };
        // A step that says nothing may have found anything within twice the change to both sides.
        let nothing = DISTURBED / (4.0 * self.effect.abs());
        let log_likelihood = |expected: f64, deviation: f64| {
            let distance = (centre - expected) / deviation;
            let normal = (-distance * distance / 2.0).exp() / (deviation * std::f64::consts::TAU.sqrt());
            ((1.0 - DISTURBED) * normal + nothing).ln()
        };
        let same = log_likelihood(0.0, error);
        let changed = log_likelihood(self.effect, error.hypot(self.effect_error));
        for (first_slow, weight) in self.log_weights.iter_mut().enumerate() {
            *weight += if is_changed(first_slow) { changed } else { same };
        }
        let largest = self.log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.log_weights.iter_mut().for_each(|weight| *weight -= largest);
    }

    /// A commit that cannot be built is never the answer by itself: its weight goes to the next one.
    pub fn skip(&mut self, commit: usize) {
        if commit + 1 < self.log_weights.len() {
            let both = ln_sum(self.log_weights[commit], self.log_weights[commit + 1]);
            self.log_weights[commit + 1] = both;
            self.log_weights[commit] = f64::NEG_INFINITY;
        }
    }

    /// Probability of each commit.
    #[must_use]
    pub fn probabilities(&self) -> Vec<f64> {
        let weights: Vec<f64> = self.log_weights.iter().map(|weight| weight.exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    /// The most probable commit with its probability.
    #[must_use]
    pub fn best(&self) -> (usize, f64) {
        let probabilities = self.probabilities();
        let mut best = (0, 0.0);
        for (commit, probability) in probabilities.into_iter().enumerate() {
            if probability > best.1 {
                best = (commit, probability);
            }
        }
        best
    }
}

fn ln_sum(left: f64, right: f64) -> f64 {
    let largest = left.max(right);
    if largest == f64::NEG_INFINITY {
        largest
    } else {
        largest + ((left - largest).exp() + (right - largest).exp()).ln()
    }
}

/// The median of the averages of all pairs of values (Hodges and Lehmann 1963) and its standard error, from the spread of the values
/// themselves: as little moved by a wild value as the median, with a third of its variance less.
fn centre_and_error(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let of_one = |(idx, one): (usize, &f64)| -> Vec<f64> {
        values[idx..].iter().map(|other| f64::midpoint(*one, *other)).collect()
    };
    let mut averages: Vec<f64> = values.iter().enumerate().flat_map(of_one).collect();
    averages.sort_by(f64::total_cmp);
    let centre = median(&averages);
    let variance =
        values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
    // Its variance is pi/3 times the mean's for normal noise.
    let error = (std::f64::consts::FRAC_PI_3 * variance / values.len() as f64).sqrt();
    Some((centre, error.max(STANDARD_ERROR_MIN)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Random;

    fn normal(random: &mut Random) -> f64 {
        let mut uniform = || (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let (first, second) = (uniform().max(1e-300), uniform());
        (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()
    }

    /// (found, steps) of one search among 64 commits with a step of 10 % and this noise of single measurements.
    fn search(seed: u64, noise: f64, pairs: usize) -> (bool, usize) {
        let mut random = Random::new(seed);
        let culprit = (random.next() % 64) as usize;
        let effect = 1.1_f64.ln();
        let ends: Vec<f64> =
            (0..3 * pairs).map(|_| effect + noise * (normal(&mut random) - normal(&mut random))).collect();
        let mut bisection = Bisection::new(64, &ends).unwrap();
        for step in 1..=200 {
            let commit = bisection.next();
            let truth = if commit >= culprit { effect } else { 0.0 };
            let ratios: Vec<f64> =
                (0..pairs).map(|_| truth + noise * (normal(&mut random) - normal(&mut random))).collect();
            bisection.observe(commit, &ratios);
            let (best, probability) = bisection.best();
            if probability >= 0.95 {
                return (best == culprit, step);
            }
        }
        (false, 200)
    }

    #[test]
    fn the_first_slow_commit_is_found_in_spite_of_noise() {
        for (noise, pairs, share_min) in [(0.02, 10, 0.95), (0.2, 60, 0.95)] {
            let found: Vec<(bool, usize)> = (0..200).map(|seed| search(seed, noise, pairs)).collect();
            let right = found.iter().filter(|(is_right, _)| *is_right).count() as f64 / 200.0;
            let steps = found.iter().map(|(_, steps)| steps).sum::<usize>() as f64 / 200.0;
            assert!(right >= share_min && steps <= 14.0, "noise {noise}: {right} right, {steps} steps");
        }
    }

    #[test]
    fn edges_of_the_range() {
        assert!(Bisection::new(0, &[0.1; 6]).is_err() && Bisection::new(4, &[0.0; 6]).is_err());
        assert!(Bisection::new(4, &[0.1]).is_err());
        let one = Bisection::new(1, &[0.1; 6]).unwrap();
        assert_eq!((one.next(), one.best()), (0, (0, 1.0)));
        let mut some = Bisection::new(4, &[0.1; 6]).unwrap();
        some.skip(1);
        assert!(some.probabilities()[1].abs() < 1e-12);
        some.observe(2, &[]);
        some.observe(2, &[0.1, 0.1, 0.1]);
        assert!(some.probabilities()[3] < 0.02);
        some.observe(2, &[0.1, 0.1, 0.1]);
        assert!(some.probabilities()[3] < 1e-4);
    }

    #[test]
    fn a_disturbed_step_is_overruled_by_the_others() {
        let mut bisection = Bisection::new(8, &[0.1; 20]).unwrap();
        // Commit 4 is the first slow one; the first look at commit 5 was disturbed.
        bisection.observe(5, &[0.001, 0.0, -0.001, 0.0]);
        assert!(bisection.best().0 > 5);
        for _ in 0..3 {
            bisection.observe(3, &[0.001, 0.0, -0.001, 0.0]);
            bisection.observe(4, &[0.101, 0.1, 0.099, 0.1]);
        }
        assert_eq!(bisection.best().0, 4, "{:?}", bisection.probabilities());
    }
}
