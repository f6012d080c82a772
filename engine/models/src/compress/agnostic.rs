//! Ranking without a query: TextRank, maximal marginal relevance, lead.
//!
//! For summaries and diversity; none of them keeps the answers to a question. Vectors are idf-weighted word counts,
//! idf from the corpus statistics if given, else over the units at hand.

use std::collections::BTreeMap;

use super::score::CorpusStats;
use crate::words;

/// Damping of TextRank.
pub const DAMPING: f64 = 0.85;
/// Iterations of TextRank.
pub const ITERATIONS: usize = 25;
/// Words in more units than this connect everything and are ignored; it also bounds the graph.
pub const WORD_UNITS_MAX: usize = 60;
/// Share of relevance against novelty in MMR.
pub const LAMBDA: f64 = 0.7;

/// Earlier units first.
pub fn lead(units: usize) -> Vec<f64> {
    (0..units).map(|idx| -(idx as f64)).collect()
}

/// TextRank (Mihalcea and Tarau 2004) over the graph of unit similarities: cosine of idf-weighted word vectors,
/// damping 0.85, 25 iterations. Cost: O(words · 60²) for the graph, then 25 passes over its edges.
pub fn textrank(units: &[&str], stats: Option<&dyn CorpusStats>) -> Vec<f64> {
    let edges = similarities(&vectors(units, stats));
    let totals: Vec<f64> = edges.iter().map(|edges| edges.iter().map(|(_, weight)| weight).sum()).collect();
    let count = units.len().max(1) as f64;
    let mut ranks = vec![1.0 / count; units.len()];
    for _ in 0..ITERATIONS {
        ranks = edges
            .iter()
            .map(|edges| {
                let inflow: f64 = edges
                    .iter()
                    .map(|&(other, weight)| weight / totals[other as usize] * ranks[other as usize])
                    .sum();
                (1.0 - DAMPING) / count + DAMPING * inflow
            })
            .collect();
    }
    ranks
}

/// Maximal marginal relevance (Carbonell and Goldstein 1998) to the centroid, lambda 0.7: the score of a unit is the
/// reverse of the place at which it is picked. Cost: O(units²).
pub fn mmr(units: &[&str], stats: Option<&dyn CorpusStats>) -> Vec<f64> {
    let vectors = vectors(units, stats);
    let edges = similarities(&vectors);
    let relevance = centroid_similarities(&vectors);
    let mut redundancy = vec![0.0_f64; units.len()];
    let mut scores = vec![0.0; units.len()];
    let mut left: Vec<usize> = (0..units.len()).collect();
    while !left.is_empty() {
        let value = |idx: usize| LAMBDA * relevance[idx] - (1.0 - LAMBDA) * redundancy[idx];
        let mut best = 0;
        for place in 1..left.len() {
            if value(left[place]) > value(left[best]) {
                best = place;
            }
        }
        // `remove` keeps the order, on which ties depend.
        let picked = left.remove(best);
        scores[picked] = (left.len() + 1) as f64;
        for &(other, weight) in &edges[picked] {
            redundancy[other as usize] = redundancy[other as usize].max(weight);
        }
    }
    scores
}

/// Unit-length word vectors, as sorted `(word id, weight)`; ids count from 0 in order of the words.
fn vectors(units: &[&str], stats: Option<&dyn CorpusStats>) -> Vec<Vec<(u32, f64)>> {
    let mut ids: BTreeMap<String, u32> = BTreeMap::new();
    let mut frequencies: Vec<u32> = Vec::new();
    let mut rows: Vec<BTreeMap<u32, u32>> = Vec::with_capacity(units.len());
    for unit in units {
        let mut row = BTreeMap::new();
        words::for_each_word(unit, |word| {
            let id = match ids.get(word) {
                Some(&id) => id,
                None => {
                    let id = frequencies.len() as u32;
                    ids.insert(word.to_owned(), id);
                    frequencies.push(0);
                    id
                }
            };
            *row.entry(id).or_insert(0) += 1;
        });
        row.keys().for_each(|&id| frequencies[id as usize] += 1);
        rows.push(row);
    }
    let mut idf: Vec<f64> =
        frequencies.iter().map(|&frequency| words::idf(units.len() as u64, u64::from(frequency))).collect();
    if let Some(stats) = stats {
        for (word, &id) in &ids {
            idf[id as usize] = words::idf(stats.document_count(), stats.document_frequency(word));
        }
    }
    let weigh = |row: BTreeMap<u32, u32>| {
        let mut vector: Vec<(u32, f64)> =
            row.into_iter().map(|(id, count)| (id, f64::from(count) * idf[id as usize])).collect();
        let length = vector.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        if length > 0.0 {
            vector.iter_mut().for_each(|(_, weight)| *weight /= length);
        }
        vector
    };
    rows.into_iter().map(weigh).collect()
}

/// Cosine of every pair that shares a word of at most [`WORD_UNITS_MAX`] units: sorted lists per unit.
fn similarities(vectors: &[Vec<(u32, f64)>]) -> Vec<Vec<(u32, f64)>> {
    let mut postings: BTreeMap<u32, Vec<(u32, f64)>> = BTreeMap::new();
    for (idx, vector) in vectors.iter().enumerate() {
        for &(word, weight) in vector {
            postings.entry(word).or_default().push((idx as u32, weight));
        }
    }
    let mut sums = vec![0.0_f64; vectors.len()];
    let mut touched: Vec<u32> = Vec::new();
    let mut lists = Vec::with_capacity(vectors.len());
    for (idx, vector) in vectors.iter().enumerate() {
        for (word, weight) in vector {
            let Some(posting) = postings.get(word).filter(|posting| posting.len() <= WORD_UNITS_MAX) else {
                continue;
            };
            for &(other, other_weight) in posting.iter().filter(|(other, _)| *other as usize != idx) {
                if sums[other as usize] <= 0.0 {
                    touched.push(other);
                }
                sums[other as usize] += weight * other_weight;
            }
        }
        touched.sort_unstable();
        touched.dedup();
        lists.push(touched.iter().map(|&other| (other, std::mem::take(&mut sums[other as usize]))).collect());
        touched.clear();
    }
    lists
}

/// Cosine of every vector to the sum of all.
fn centroid_similarities(vectors: &[Vec<(u32, f64)>]) -> Vec<f64> {
    let mut centroid: BTreeMap<u32, f64> = BTreeMap::new();
    for &(word, weight) in vectors.iter().flatten() {
        *centroid.entry(word).or_default() += weight;
    }
    let length = centroid.values().map(|weight| weight * weight).sum::<f64>().sqrt();
    let cosine = |vector: &Vec<(u32, f64)>| -> f64 {
        let dot: f64 =
            vector.iter().map(|(word, weight)| weight * centroid.get(word).copied().unwrap_or(0.0)).sum();
        if length > 0.0 { dot / length } else { 0.0 }
    };
    vectors.iter().map(cosine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_that_shares_most_is_central() {
        let units = ["red apple tree", "blue ocean wave", "red apple ocean", "unrelated words here"];
        let ranks = textrank(&units, None);
        let best = (0..4).max_by(|&left, &right| ranks[left].total_cmp(&ranks[right]));
        assert_eq!(best, Some(2));
        let total: f64 = ranks.iter().sum();
        assert!(total <= 1.0 + 1e-9, "ranks are a sub-probability: {total}");
    }

    #[test]
    fn mmr_prefers_a_new_unit_to_a_repeated_one() {
        let units = ["red apple tree", "red apple tree", "blue ocean wave", "blue ocean sky"];
        let scores = mmr(&units, None);
        assert_eq!(scores[0], 4.0, "{scores:?}");
        assert!(scores[2] > scores[1] && scores[3] > scores[1], "{scores:?}");
    }

    #[test]
    fn no_units_no_scores() {
        assert!(textrank(&[], None).is_empty() && mmr(&[], None).is_empty() && lead(0).is_empty());
        assert_eq!(textrank(&["", ""], None).len(), 2);
    }
}
