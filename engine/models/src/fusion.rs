//! Fusion: one ranking from the candidates of several indexes.
//!
//! Each list holds the candidates of one index, best first, each id once; scores are finite. The result holds every
//! candidate once, by score descending, ties by id ascending. Nothing here knows where scores come from or how many
//! hits a caller keeps.
//!
//! # Decisions
//! Rank fusion (RRF; Cormack, Clarke, Büttcher 2009) loses quality when one retriever is much weaker than the other;
//! the sum of standardised scores over the union does not, so `zscore` is the default of the language.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

pub mod weights;

/// A candidate after fusion.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<Id> {
    /// The candidate.
    pub id: Id,
    /// Its score: comparable within one result only.
    pub score: f64,
    /// Its rank from 1 in each list; `None` where it is missing.
    pub ranks: Vec<Option<u32>>,
    /// What each list adds to the score; of [`max`], the score in the list, or negative infinity where it is missing.
    pub parts: Vec<f64>,
}

/// Why lists could not be fused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FusionError {
    /// There must be one weight per list.
    Weights {
        /// Number of lists.
        lists: usize,
        /// Number of weights.
        weights: usize,
    },
}

impl fmt::Display for FusionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights { lists, weights } => {
                write!(out, "{weights} weights found for {lists} indexes, expected one for each")
            }
        }
    }
}

impl std::error::Error for FusionError {}

/// Weighted sum of standardised scores: each list is shifted and scaled to mean 0 and standard deviation 1 over its own
/// candidates; a missing candidate counts as the lowest of the list. A list whose scores are all equal, and an empty one, adds 0
/// to every candidate. Cost: O(n log n) in candidates.
///
/// # Errors
/// [`FusionError::Weights`] unless there is one weight per list.
pub fn zscore<Id: Ord + Clone>(
    lists: &[&[(Id, f64)]],
    weights: &[f64],
) -> Result<Vec<Fused<Id>>, FusionError> {
    zscore_of_all(lists, &vec![[].as_slice(); lists.len()], weights)
}

/// As [`zscore`], with what each list would have scored candidates of other lists that it does not hold (`others`, one for each
/// list): these count in its mean and deviation, and have no rank. Nothing is then guessed: a list that is cut sooner does not
/// judge the candidates of the others more harshly.
///
/// # Errors
/// [`FusionError::Weights`] unless there is one weight per list.
///
/// # Panics
/// If there are not as many `others` as lists.
pub fn zscore_of_all<Id: Ord + Clone>(
    lists: &[&[(Id, f64)]],
    others: &[&[(Id, f64)]],
    weights: &[f64],
) -> Result<Vec<Fused<Id>>, FusionError> {
    if lists.len() != weights.len() {
        return Err(FusionError::Weights { lists: lists.len(), weights: weights.len() });
    }
    assert_eq!(lists.len(), others.len(), "scores of others for each list");
    let scales: Vec<Scale> = lists.iter().zip(others).map(|(list, others)| Scale::of(list, others)).collect();
    let known: Vec<BTreeMap<&Id, f64>> =
        others.iter().map(|others| others.iter().map(|(id, score)| (id, *score)).collect()).collect();
    Ok(fuse(lists, total, |list_idx, id, place| {
        let score = place.map(|(score, _)| score).or_else(|| known[list_idx].get(id).copied());
        scales[list_idx].apply(score) * weights[list_idx]
    }))
}

/// Sum over lists of `1 / (constant + rank)`, ranks from 1; a list without the candidate adds nothing. 60 is the usual
/// constant. Cost: O(n log n) in candidates.
pub fn rrf<Id: Ord + Clone>(lists: &[&[(Id, f64)]], constant: f64) -> Vec<Fused<Id>> {
    fuse(lists, total, |_, _, place| place.map_or(0.0, |(_, rank)| 1.0 / (constant + f64::from(rank))))
}

/// Highest score of any list: for indexes whose scores mean the same, such as two columns of one embedding space.
/// Cost: O(n log n) in candidates.
pub fn max<Id: Ord + Clone>(lists: &[&[(Id, f64)]]) -> Vec<Fused<Id>> {
    let greatest = |parts: &[f64]| parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    fuse(lists, greatest, |_, _, place| place.map_or(f64::NEG_INFINITY, |(score, _)| score))
}

/// Weighted sum of the scores as they are; a missing candidate adds nothing. For indexes whose scores share a scale.
///
/// # Errors
/// [`FusionError::Weights`] unless there is one weight per list.
pub fn weighted<Id: Ord + Clone>(
    lists: &[&[(Id, f64)]],
    weights: &[f64],
) -> Result<Vec<Fused<Id>>, FusionError> {
    if lists.len() != weights.len() {
        return Err(FusionError::Weights { lists: lists.len(), weights: weights.len() });
    }
    Ok(fuse(lists, total, |list_idx, _, place| place.map_or(0.0, |(score, _)| weights[list_idx] * score)))
}

fn total(parts: &[f64]) -> f64 {
    parts.iter().sum()
}

/// Mean, deviation and lowest score of a list.
struct Scale {
    mean: f64,
    deviation: f64,
    lowest: f64,
}

impl Scale {
    fn of<Id>(list: &[(Id, f64)], others: &[(Id, f64)]) -> Self {
        let scores = || list.iter().chain(others).map(|(_, score)| *score);
        let count = (list.len() + others.len()).max(1) as f64;
        let mean = scores().sum::<f64>() / count;
        let variance = scores().map(|score| (score - mean) * (score - mean)).sum::<f64>() / count;
        let lowest = scores().fold(f64::INFINITY, f64::min);
        let highest = scores().fold(f64::NEG_INFINITY, f64::max);
        // Equal scores whose mean rounds have a tiny deviation that would blow up to whole units.
        let deviation = if lowest < highest { variance.sqrt() } else { 0.0 };
        Self { mean, deviation, lowest }
    }

    fn apply(&self, score: Option<f64>) -> f64 {
        match self.deviation > 0.0 {
            true => (score.unwrap_or(self.lowest) - self.mean) / self.deviation,
            false => 0.0,
        }
    }
}

/// Score and rank of a candidate in one list, if it is there.
type Place = Option<(f64, u32)>;

/// Union of the lists: `part` is what a list adds to a candidate by its place there, `join` makes one score of the parts. Of an id
/// that a list repeats the first counts.
fn fuse<Id: Ord + Clone>(
    lists: &[&[(Id, f64)]],
    join: impl Fn(&[f64]) -> f64,
    part: impl Fn(usize, &Id, Place) -> f64,
) -> Vec<Fused<Id>> {
    let mut places: BTreeMap<&Id, Vec<Place>> = BTreeMap::new();
    for (list_idx, list) in lists.iter().enumerate() {
        for ((id, score), rank) in list.iter().zip(1u32..) {
            let place = places.entry(id).or_insert_with(|| vec![None; lists.len()]);
            place[list_idx].get_or_insert((*score, rank));
        }
    }
    let mut fused: Vec<Fused<Id>> = places
        .into_iter()
        .map(|(id, places)| {
            let parts: Vec<f64> =
                places.iter().enumerate().map(|(idx, place)| part(idx, id, *place)).collect();
            let ranks = places.iter().map(|place| place.map(|(_, rank)| rank)).collect();
            Fused { id: id.clone(), score: join(&parts), ranks, parts }
        })
        .collect();
    sort(&mut fused);
    fused
}

/// Score descending, ties by id ascending; a zero has no sign here.
fn sort<Id: Ord>(fused: &mut [Fused<Id>]) {
    let by_score = |left: f64, right: f64| right.partial_cmp(&left).unwrap_or_else(|| right.total_cmp(&left));
    fused.sort_by(|left, right| match by_score(left.score, right.score) {
        Ordering::Equal => left.id.cmp(&right.id),
        unequal => unequal,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids<Id: Clone>(fused: &[Fused<Id>]) -> Vec<Id> {
        fused.iter().map(|candidate| candidate.id.clone()).collect()
    }

    #[test]
    fn zscore_by_hand() {
        // Left: mean 2, deviation sqrt(2/3). Right: mean 15, deviation 5.
        let left = [("a", 3.0), ("b", 2.0), ("c", 1.0)];
        let right = [("d", 20.0), ("a", 10.0)];
        let fused = zscore(&[&left, &right], &[1.0, 2.0]).expect("one weight for each list");
        let unit = (1.5f64).sqrt();
        // d: -unit + 2; a: unit - 2; b: 0 - 2; c: -unit - 2.
        assert_eq!(ids(&fused), ["d", "a", "b", "c"]);
        for (candidate, expected) in fused.iter().zip([2.0 - unit, unit - 2.0, -2.0, -unit - 2.0]) {
            assert!((candidate.score - expected).abs() < 1e-12, "{candidate:?}");
        }
        assert_eq!(fused[1].ranks, [Some(1), Some(2)]);
        assert_eq!(fused[0].ranks, [None, Some(1)]);
    }

    #[test]
    fn known_scores_of_missing_candidates_take_the_place_of_a_guess() {
        // With all scores known: left has mean 2, right 12.5; one deviation of each is sqrt(1.25) and sqrt(31.25).
        let (left, left_others) = ([("a", 3.5), ("b", 2.5)], [("c", 1.5), ("d", 0.5)]);
        let (right, right_others) = ([("d", 20.0), ("c", 15.0)], [("a", 10.0), ("b", 5.0)]);
        let fused = zscore_of_all(&[&left, &right], &[&left_others, &right_others], &[1.0, 1.0]).unwrap();
        let (l, r) = (1.25f64.sqrt(), 31.25f64.sqrt());
        let expected = [("a", 1.5 / l - 2.5 / r), ("d", -1.5 / l + 7.5 / r)];
        for (id, score) in expected {
            let found = fused.iter().find(|candidate| candidate.id == id).unwrap();
            assert!((found.score - score).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(fused.iter().find(|candidate| candidate.id == "a").unwrap().ranks, [Some(1), None]);
        let guessed = zscore(&[&left, &right], &[1.0, 1.0]).unwrap();
        assert_eq!(guessed, zscore_of_all(&[&left, &right], &[&[], &[]], &[1.0, 1.0]).unwrap());
    }

    #[test]
    fn equal_scores_and_empty_lists_add_nothing() {
        let equal = [("b", 0.1), ("a", 0.1), ("c", 0.1)];
        let empty: [(&str, f64); 0] = [];
        let fused = zscore(&[&equal, &empty], &[1.0, 1.0]).expect("one weight for each list");
        assert_eq!(ids(&fused), ["a", "b", "c"]);
        assert!(fused.iter().all(|candidate| candidate.score == 0.0));
        assert_eq!(zscore::<&str>(&[], &[]), Ok(vec![]));
        assert_eq!(zscore(&[&equal], &[]), Err(FusionError::Weights { lists: 1, weights: 0 }));
    }

    #[test]
    fn rrf_and_max_by_hand() {
        let left = [("a", 9.0), ("b", 8.0)];
        let right = [("b", 0.9), ("c", 0.8)];
        let fused = rrf(&[&left, &right], 60.0);
        assert_eq!(ids(&fused), ["b", "a", "c"]);
        assert_eq!(fused[0].score, 1.0 / 62.0 + 1.0 / 61.0);
        assert_eq!(fused[2].score, 1.0 / 62.0);
        let fused = max(&[&left, &right]);
        assert_eq!(ids(&fused), ["a", "b", "c"]);
        assert_eq!(fused[1].score, 8.0);
    }

    fn lists() -> impl Strategy<Value = Vec<Vec<(u8, f64)>>> {
        let list = prop::collection::btree_map(any::<u8>(), -50i32..50, 0..20).prop_map(|scores| {
            let mut list: Vec<(u8, f64)> =
                scores.into_iter().map(|(id, score)| (id, f64::from(score) / 4.0)).collect();
            list.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
            list
        });
        prop::collection::vec(list, 0..4)
    }

    proptest! {
        #[test]
        fn results_are_ordered_unions(lists in lists()) {
            let views: Vec<&[(u8, f64)]> = lists.iter().map(Vec::as_slice).collect();
            let weights = vec![1.0; views.len()];
            let mut union: Vec<u8> = lists.iter().flatten().map(|(id, _)| *id).collect();
            union.sort_unstable();
            union.dedup();
            for fused in [zscore(&views, &weights).expect("one weight for each list"), rrf(&views, 60.0), max(&views)] {
                let ordered = fused.windows(2).all(|pair| {
                    pair[0].score > pair[1].score || pair[0].score == pair[1].score && pair[0].id < pair[1].id
                });
                prop_assert!(ordered);
                let mut found = ids(&fused);
                found.sort_unstable();
                prop_assert_eq!(found, union.clone());
            }
        }

        #[test]
        fn one_list_keeps_its_order(lists in lists()) {
            for list in &lists {
                let order: Vec<u8> = list.iter().map(|(id, _)| *id).collect();
                prop_assert_eq!(ids(&zscore(&[list], &[2.0]).expect("one weight for each list")), order.clone());
                prop_assert_eq!(ids(&rrf(&[list], 60.0)), order.clone());
                prop_assert_eq!(ids(&max(&[list])), order);
            }
        }

        #[test]
        fn zscore_ignores_shift_and_scale(lists in lists()) {
            let views: Vec<&[(u8, f64)]> = lists.iter().map(Vec::as_slice).collect();
            let moved: Vec<Vec<(u8, f64)>> = lists
                .iter()
                .map(|list| list.iter().map(|(id, score)| (*id, score * 8.0 + 64.0)).collect())
                .collect();
            let moved: Vec<&[(u8, f64)]> = moved.iter().map(Vec::as_slice).collect();
            let weights = vec![1.0; views.len()];
            let by_id = |lists: &[&[(u8, f64)]]| -> BTreeMap<u8, f64> {
                zscore(lists, &weights).expect("one weight for each list").into_iter().map(|fused| (fused.id, fused.score)).collect()
            };
            for ((_, one), (_, other)) in by_id(&views).into_iter().zip(by_id(&moved)) {
                prop_assert!((one - other).abs() < 1e-9);
            }
        }
    }
}
