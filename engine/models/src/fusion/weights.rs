//! Weights of a fusion by standardised scores, learned from queries whose relevant documents are known.
//!
//! ```text
//! fused candidates of a query ──lesson──▶ those that can be among the first ten ──fit──▶ weights, and what they gain on other queries
//! ```
//!
//! The weights are those under which the relevant candidates are likeliest, if a candidate is drawn by the softmax of its score (the
//! likelihood of ListNet; Cao et al. 2007). They are taken only if, fitted to four fifths of the queries, they gain more than one
//! standard error in nDCG@10 over equal weights on the last fifth, for each fifth in turn (the rule of one standard error; Breiman et
//! al. 1984). So they can be taken by chance, but then they are near to what equal weights do.
//!
//! # Decisions
//! A search for the weights with the highest nDCG itself was tried: nDCG jumps, so the best of many weights on few queries is mostly
//! luck. On 145 claims of SciFact over words, the shipped encoder and hashed words its weights gained 0.003 +- 0.011 on held-out folds,
//! those of the likelihood 0.019 +- 0.015, and 0.020 on the 155 claims that neither had seen.

use std::cmp::Ordering;

use super::Fused;

/// Places that count.
pub const DEPTH: usize = 10;

/// Parts that the queries are cut into, each judged by weights chosen on the others.
pub const FOLDS: u64 = 5;

/// Fewest queries whose weights can be judged.
pub const LESSONS_MIN: usize = 20;

/// Most steps of the ascent.
const STEPS: usize = 200;

/// A gain below it is rounding.
const LEAST: f64 = 1e-9;

/// One query with its candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// What each list adds to a candidate at weight 1; candidate after candidate.
    parts: Vec<f64>,
    /// Which relevant document a candidate is.
    relevant: Vec<Option<u32>>,
    lists: usize,
    /// Relevant documents in all, found or not.
    wanted: usize,
    /// Decides the fold, and the order of the lessons.
    seed: u64,
}

/// Weights with what they gain.
#[derive(Debug, Clone, PartialEq)]
pub struct FusionWeights {
    /// One for each list, 0 or more; they add up to the number of lists.
    pub weights: Vec<f64>,
    /// Mean gain in nDCG@10 over equal weights on queries that they were not chosen on.
    pub gain: f64,
    /// Standard error of the gain.
    pub error: f64,
    /// Whether they are the learned ones; else they are equal.
    pub is_learned: bool,
}

impl Lesson {
    /// A query from what [`super::zscore_of_all`] makes of it with weights of 1. `document` is the number of the relevant document that
    /// a candidate is, `wanted` how many there are; equal `seed`s share a fold. Candidates that ten others beat in every list are
    /// dropped, since no weights bring them among the first ten. `None` if nothing is wanted.
    ///
    /// Cost: candidates times those that are kept.
    pub fn new<Id>(
        fused: &[Fused<Id>],
        document: impl Fn(&Id) -> Option<u32>,
        wanted: usize,
        seed: u64,
    ) -> Option<Self> {
        let lists = fused.first()?.parts.len();
        let mut kept: Vec<&Fused<Id>> = Vec::new();
        // Fused candidates stand by their sum, so what beats one stands before it.
        for candidate in fused {
            let beats = |other: &&&Fused<Id>| {
                other.parts.iter().zip(&candidate.parts).all(|(other, own)| other >= own)
            };
            if kept.iter().filter(beats).take(DEPTH).count() < DEPTH {
                kept.push(candidate);
            }
        }
        let relevant: Vec<Option<u32>> = kept.iter().map(|candidate| document(&candidate.id)).collect();
        let parts = kept.iter().flat_map(|candidate| candidate.parts.iter().copied()).collect();
        (wanted > 0).then_some(Self { parts, relevant, lists, wanted, seed })
    }

    /// A query for which no index has a candidate.
    pub fn empty(lists: usize, wanted: usize, seed: u64) -> Self {
        Self { parts: Vec::new(), relevant: Vec::new(), lists, wanted, seed }
    }

    /// An order that does not depend on how the lessons came: sums over them are then equal to the last bit.
    fn order(&self, other: &Self) -> Ordering {
        let bits = |lesson: &Self| lesson.parts.iter().map(|part| part.to_bits()).collect::<Vec<_>>();
        let found = |lesson: &Self| lesson.relevant.iter().map(Option::is_some).collect::<Vec<_>>();
        let by_seed = (self.seed, self.wanted).cmp(&(other.seed, other.wanted));
        by_seed.then_with(|| bits(self).cmp(&bits(other))).then_with(|| found(self).cmp(&found(other)))
    }

    /// nDCG@10 with these weights. Equal scores stand as in the lesson.
    fn quality(&self, weights: &[f64]) -> f64 {
        let score =
            |parts: &[f64]| parts.iter().zip(weights).map(|(part, weight)| part * weight).sum::<f64>();
        let scores: Vec<f64> = self.parts.chunks_exact(self.lists).map(score).collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let by_score =
            |left: &usize, right: &usize| scores[*right].total_cmp(&scores[*left]).then(left.cmp(right));
        if order.len() > DEPTH {
            order.select_nth_unstable_by(DEPTH - 1, by_score);
            order.truncate(DEPTH);
        }
        order.sort_unstable_by(by_score);
        let mut seen: Vec<u32> = Vec::new();
        let mut found = 0.0;
        for (place, candidate) in order.into_iter().enumerate() {
            if let Some(document) = self.relevant[candidate].filter(|document| !seen.contains(document)) {
                seen.push(document);
                found += discount(place);
            }
        }
        found / (0..self.wanted.min(DEPTH)).map(discount).sum::<f64>()
    }
}

fn discount(place: usize) -> f64 {
    1.0 / ((place + 2) as f64).log2()
}

/// Weights for so many lists. Fewer than [`LESSONS_MIN`] lessons, or lessons of one fold, leave them equal, with a gain of 0.
///
/// Cost: some hundred passes over the candidates of all lessons.
#[must_use]
pub fn fit(lessons: &[Lesson], lists: usize) -> FusionWeights {
    let mut lessons: Vec<&Lesson> = lessons.iter().collect();
    lessons.sort_by(|left, right| left.order(right));
    let equal = vec![1.0; lists];
    let mut gains = Vec::with_capacity(lessons.len());
    if lessons.len() >= LESSONS_MIN {
        for fold in 0..FOLDS {
            let (held, others): (Vec<&Lesson>, Vec<&Lesson>) =
                lessons.iter().partition(|lesson| lesson.seed % FOLDS == fold);
            if held.is_empty() || others.is_empty() {
                continue;
            }
            let weights = search(&others, lists);
            gains.extend(held.iter().map(|lesson| lesson.quality(&weights) - lesson.quality(&equal)));
        }
    }
    let (gain, error) = mean_and_error(&gains);
    let is_learned = gain > error && gain > LEAST;
    let weights = if is_learned { search(&lessons, lists) } else { equal };
    FusionWeights { weights, gain, error, is_learned }
}

/// The mean, and its standard error; of fewer than two values, 0 and 0.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    if values.len() < 2 {
        return (0.0, 0.0);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// The weights of highest likelihood: relevant candidates are drawn by the softmax of their scores. Projected gradient ascent from equal
/// weights, each step halved until it climbs. The scale of the weights says how sure the scores are, and is dropped at the end.
fn search(lessons: &[&Lesson], lists: usize) -> Vec<f64> {
    let mut weights = vec![1.0; lists];
    let (mut best, mut slope) = likelihood(lessons, &weights);
    let mut step = 1.0;
    for _ in 0..STEPS {
        let tried: Vec<f64> =
            weights.iter().zip(&slope).map(|(weight, slope)| (weight + step * slope).max(0.0)).collect();
        let (found, next) = likelihood(lessons, &tried);
        if found > best {
            let gain = found - best;
            (weights, best, slope) = (tried, found, next);
            step *= 2.0;
            if gain < LEAST {
                break;
            }
        } else {
            step /= 2.0;
        }
    }
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 {
        weights.iter_mut().for_each(|weight| *weight *= lists as f64 / sum);
    } else {
        weights.fill(1.0);
    }
    weights
}

/// Mean log-likelihood of the relevant candidates, each query counting once, with its slope by each weight.
fn likelihood(lessons: &[&Lesson], weights: &[f64]) -> (f64, Vec<f64>) {
    let lists = weights.len();
    let (mut total, mut slope) = (0.0, vec![0.0; lists]);
    let mut taught = 0u32;
    for lesson in lessons {
        let relevant = lesson.relevant.iter().flatten().count() as f64;
        if relevant == 0.0 {
            continue;
        }
        taught += 1;
        let rows = || lesson.parts.chunks_exact(lists);
        let scores: Vec<f64> = rows().map(|parts| dot(parts, weights)).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        for ((parts, score), relevance) in rows().zip(&scores).zip(&lesson.relevant) {
            let wanted = if relevance.is_some() { 1.0 / relevant } else { 0.0 };
            total += wanted * (score - highest - sum.ln());
            let share = wanted - (score - highest).exp() / sum;
            slope.iter_mut().zip(parts).for_each(|(slope, part)| *slope += share * part);
        }
    }
    let count = f64::from(taught.max(1));
    slope.iter_mut().for_each(|slope| *slope /= count);
    (total / count, slope)
}

fn dot(parts: &[f64], weights: &[f64]) -> f64 {
    parts.iter().zip(weights).map(|(part, weight)| part * weight).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fusion::zscore;
    use crate::metrics::ndcg;
    use proptest::prelude::*;

    /// A number from 0 to 1 that looks drawn.
    fn noise(seed: u64) -> f64 {
        let mixed =
            (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (seed >> 7)).wrapping_mul(0xD134_2543_DE82_EF95);
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Queries over 40 documents: the relevant one stands out in each of the lists by its strength.
    fn lessons(queries: std::ops::Range<u64>, strengths: [f64; 2]) -> Vec<Lesson> {
        let lesson = |query: u64| {
            let list = |salt: u64, bonus: f64| -> Vec<(u32, f64)> {
                let score = |document: u32| {
                    let base = noise(query * 1_000 + salt * 100_000_007 + u64::from(document));
                    (document, base + if document == 7 { bonus } else { 0.0 })
                };
                let mut list: Vec<(u32, f64)> = (0..40).map(score).collect();
                list.sort_by(|left, right| right.1.total_cmp(&left.1));
                list
            };
            let (first, second) = (list(1, strengths[0]), list(2, strengths[1]));
            let fused = zscore(&[&first, &second], &[1.0, 1.0]).unwrap();
            Lesson::new(&fused, |document| (*document == 7).then_some(0), 1, query)
        };
        queries.filter_map(lesson).collect()
    }

    fn mean(lessons: &[Lesson], weights: &[f64]) -> f64 {
        lessons.iter().map(|lesson| lesson.quality(weights)).sum::<f64>() / lessons.len() as f64
    }

    #[test]
    fn a_list_of_noise_loses_its_weight() {
        let learned = fit(&lessons(0..200, [0.5, 0.0]), 2);
        assert!(learned.is_learned && learned.gain > 2.0 * learned.error, "{learned:?}");
        assert!(learned.weights[1] < 0.2 * learned.weights[0], "{learned:?}");
        assert!((learned.weights.iter().sum::<f64>() - 2.0).abs() < 1e-12);
        let fresh = lessons(1_000..1_400, [0.5, 0.0]);
        let gain = mean(&fresh, &learned.weights) - mean(&fresh, &[1.0, 1.0]);
        assert!((gain - learned.gain).abs() < 3.0 * learned.error, "{gain} is not as foretold: {learned:?}");
    }

    #[test]
    fn lists_that_are_equally_good_keep_their_quality() {
        for start in 0..20 {
            let taught = lessons(start * 100..start * 100 + 60, [0.4, 0.4]);
            let found = fit(&taught, 2);
            let fresh = lessons(10_000..10_400, [0.4, 0.4]);
            let loss = mean(&fresh, &[1.0, 1.0]) - mean(&fresh, &found.weights);
            assert!(loss < 0.02, "{loss}: {found:?}");
        }
    }

    #[test]
    fn the_order_of_the_lessons_does_not_show() {
        let mut taught = lessons(0..120, [0.5, 0.1]);
        let found = fit(&taught, 2);
        assert!(found.is_learned);
        for turn in 1..20 {
            taught.rotate_left(7 * turn % 120);
            taught.swap(turn, 119 - turn);
            assert_eq!(fit(&taught, 2), found, "bit for bit");
        }
    }

    #[test]
    fn few_lessons_teach_nothing() {
        let found = fit(&lessons(0..LESSONS_MIN as u64 - 1, [0.5, 0.0]), 2);
        assert_eq!(found, FusionWeights { weights: vec![1.0; 2], gain: 0.0, error: 0.0, is_learned: false });
        assert_eq!(fit(&[], 3).weights, [1.0; 3]);
        assert_eq!(Lesson::new::<u32>(&[], |_| Some(0), 1, 0), None);
    }

    fn lists() -> impl Strategy<Value = Vec<Vec<(u8, f64)>>> {
        let list = prop::collection::btree_map(any::<u8>(), -9i32..9, 1..60)
            .prop_map(|scores| scores.into_iter().map(|(id, score)| (id, f64::from(score))).collect());
        prop::collection::vec(list, 2..4)
    }

    proptest! {
        /// What is dropped changes no quality: that of the lesson is that of all candidates in order.
        #[test]
        fn quality_is_that_of_all_candidates(
            lists in lists(),
            wanted in prop::collection::btree_set(any::<u8>(), 1..9),
            weights in prop::collection::vec(1u32..9, 3),
        ) {
            let views: Vec<&[(u8, f64)]> = lists.iter().map(Vec::as_slice).collect();
            let weights: Vec<f64> = weights.iter().take(lists.len()).map(|weight| f64::from(*weight) / 4.0).collect();
            let fused = zscore(&views, &vec![1.0; lists.len()]).unwrap();
            let number = |id: &u8| wanted.iter().position(|wanted| wanted == id).map(|place| place as u32);
            let lesson = Lesson::new(&fused, number, wanted.len(), 0);
            let score = |hit: &Fused<u8>| hit.parts.iter().zip(&weights).map(|(part, weight)| part * weight).sum::<f64>();
            let mut order: Vec<usize> = (0..fused.len()).collect();
            order.sort_by(|left, right| score(&fused[*right]).total_cmp(&score(&fused[*left])).then(left.cmp(right)));
            let list: Vec<u8> = order.into_iter().map(|place| fused[place].id).collect();
            let grades: BTreeMap<u8, i32> = wanted.iter().map(|id| (*id, 1)).collect();
            let expected = ndcg(&list, &grades, DEPTH);
            match lesson {
                Some(lesson) => prop_assert!((lesson.quality(&weights) - expected).abs() < 1e-12),
                None => prop_assert!(false, "a lesson with documents is one"),
            }
        }
    }
}
