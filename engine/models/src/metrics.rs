//! Quality of an answer or a ranking, against what is right.
//!
//! Plain functions over texts and lists; every one is 0 (or false) at worst and 1 (or true) at best. Positions count
//! from 0 in lists and ranks from 1 in formulas. Nothing here averages over queries.

use crate::tokenize::word_ranges;
use promptc_kernels::Kernels;
use std::collections::{BTreeMap, BTreeSet};

/// True if `gold` is among the first `depth` elements.
pub fn hit_at<T: PartialEq>(list: &[T], gold: &T, depth: usize) -> bool {
    list.iter().take(depth).any(|found| found == gold)
}

/// True if `gold` stands at a position of `list` whose `kept` text is not empty. Positions beyond `kept` count as
/// empty.
pub fn hit_in<T: PartialEq, S: AsRef<str>>(list: &[T], kept: &[S], gold: &T) -> bool {
    list.iter().zip(kept).any(|(found, text)| found == gold && !text.as_ref().is_empty())
}

/// `1 / rank` of the first element equal to `gold`; 0 if there is none.
pub fn reciprocal_rank<T: PartialEq>(list: &[T], gold: &T) -> f64 {
    list.iter().position(|found| found == gold).map_or(0.0, |position| 1.0 / (position + 1) as f64)
}

/// Share of the distinct `gold` elements among the first `depth` elements; 0 without gold.
pub fn recall_at<T: Ord>(list: &[T], gold: &[T], depth: usize) -> f64 {
    let gold: BTreeSet<&T> = gold.iter().collect();
    let found: BTreeSet<&T> = list.iter().take(depth).filter(|id| gold.contains(id)).collect();
    if gold.is_empty() { 0.0 } else { found.len() as f64 / gold.len() as f64 }
}

/// Normalised discounted cumulative gain of the first `depth` elements, as `trec_eval` has it (`ndcg_cut`): gain is
/// the relevance itself (negative counts as 0), discount `log2(rank + 1)`; the ideal orders all judged elements. An
/// element that the list repeats counts once, at its first place. 0 if nothing is relevant.
pub fn ndcg<T: Ord>(list: &[T], relevance: &BTreeMap<T, i32>, depth: usize) -> f64 {
    let discounted = |gain: i32, position: usize| f64::from(gain.max(0)) / ((position + 2) as f64).log2();
    let mut seen = BTreeSet::new();
    let mut found = 0.0;
    for (position, id) in list.iter().take(depth).enumerate() {
        if seen.insert(id) {
            found += discounted(relevance.get(id).copied().unwrap_or(0), position);
        }
    }
    let mut gains: Vec<i32> = relevance.values().copied().collect();
    gains.sort_unstable_by(|left, right| right.cmp(left));
    let ideal: f64 =
        gains.into_iter().take(depth).enumerate().map(|(position, gain)| discounted(gain, position)).sum();
    if ideal > 0.0 { found / ideal } else { 0.0 }
}

/// Cosine of the angle between two vectors, -1 to 1; 0 if one of them is zero or empty, since it points nowhere; NaN if a
/// component is not finite. The same bits on every processor, since results are kept and compared. Cost: one pass.
///
/// # Panics
/// If the lengths differ.
pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    Kernels::PORTABLE.cosine_f32(left, right)
}

/// True if any answer that is not blank occurs in the text, both in lower case.
pub fn string_survives<S: AsRef<str>>(text: &str, answers: &[S]) -> bool {
    let text = text.to_lowercase();
    answers.iter().any(|answer| {
        let answer = answer.as_ref().trim().to_lowercase();
        !answer.is_empty() && text.contains(&answer)
    })
}

/// True if prediction and some answer are equal after normalisation (SQuAD: lower case, punctuation removed, articles
/// `a an the` removed, blanks to one).
pub fn exact_match<S: AsRef<str>>(prediction: &str, answers: &[S]) -> bool {
    let prediction = normalised(prediction);
    answers.iter().any(|answer| normalised(answer.as_ref()) == prediction)
}

/// Best harmonic mean of precision and recall of words, counted with repeats, over the answers (SQuAD F1). If the
/// prediction or an answer has no words, 1 if neither has any, else 0.
pub fn word_f1<S: AsRef<str>>(prediction: &str, answers: &[S]) -> f64 {
    let prediction = normalised(prediction);
    answers.iter().map(|answer| f1_of(&prediction, &normalised(answer.as_ref()))).fold(0.0, f64::max)
}

fn f1_of(prediction: &[String], answer: &[String]) -> f64 {
    if prediction.is_empty() || answer.is_empty() {
        return f64::from(u8::from(prediction.is_empty() && answer.is_empty()));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in answer {
        *counts.entry(word).or_default() += 1;
    }
    let mut shared = 0usize;
    for word in prediction {
        if let Some(left) = counts.get_mut(word.as_str()).filter(|left| **left > 0) {
            *left -= 1;
            shared += 1;
        }
    }
    harmonic(shared, prediction.len(), answer.len())
}

/// Words of an answer as the SQuAD evaluation compares them: punctuation is removed, not replaced by a blank.
fn normalised(text: &str) -> Vec<String> {
    let plain: String =
        text.to_lowercase().chars().filter(|character| !character.is_ascii_punctuation()).collect();
    plain.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).map(str::to_owned).collect()
}

/// Longest pair of word sequences that [`rouge_l`] compares exactly: bounds its cost to about a second.
const ROUGE_CELLS: usize = 1 << 30;

/// ROUGE-L (Lin 2004) with equal weight of precision and recall: words are runs of letters and digits in lower case,
/// and the longest common subsequence is measured against both. 0 if either has no words. Cost: product of the word
/// counts over 64; `None` above about 2^30 of these cells.
pub fn rouge_l(prediction: &str, reference: &str) -> Option<f64> {
    let words =
        |text: &str| -> Vec<String> { word_ranges(text).map(|range| text[range].to_lowercase()).collect() };
    let (prediction, reference) = (words(prediction), words(reference));
    if prediction.is_empty() || reference.is_empty() {
        return Some(0.0);
    }
    let blocks = reference.len().div_ceil(64);
    if prediction.len().checked_mul(blocks).is_none_or(|cells| cells > ROUGE_CELLS) {
        return None;
    }
    let shared = common_subsequence(&prediction, &reference);
    Some(harmonic(shared, prediction.len(), reference.len()))
}

/// Length of the longest common subsequence, 64 positions of `right` at a time (Hyyrö 2004: a zero bit in the row
/// vector is a position at which the length grows).
fn common_subsequence(left: &[String], right: &[String]) -> usize {
    let blocks = right.len().div_ceil(64);
    let mut places: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (position, word) in (0u32..).zip(right) {
        places.entry(word).or_default().push(position);
    }
    let mut row = vec![u64::MAX; blocks];
    let mut matches = vec![0u64; blocks];
    for word in left {
        let Some(positions) = places.get(word.as_str()) else { continue };
        for position in positions {
            matches[*position as usize / 64] |= 1 << (position % 64);
        }
        let mut carry = false;
        for (bits, found) in row.iter_mut().zip(&matches) {
            let hit = *bits & found;
            let (sum, first) = bits.overflowing_add(hit);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first || second;
            *bits = sum | (*bits & !found);
        }
        for position in positions {
            matches[*position as usize / 64] = 0;
        }
    }
    if !right.len().is_multiple_of(64) {
        row[blocks - 1] |= u64::MAX << (right.len() % 64);
    }
    row.iter().map(|bits| bits.count_zeros() as usize).sum()
}

/// Harmonic mean of `shared / one` and `shared / other`.
fn harmonic(shared: usize, one: usize, other: usize) -> f64 {
    2.0 * shared as f64 / (one + other) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positions_and_recall() {
        let list = ["a", "b", "c", "b"];
        assert!(hit_at(&list, &"b", 2) && !hit_at(&list, &"b", 1) && !hit_at(&list, &"x", 9));
        assert_eq!(reciprocal_rank(&list, &"b"), 0.5);
        assert_eq!(reciprocal_rank(&list, &"x"), 0.0);
        assert_eq!(recall_at(&list, &["b", "x", "b"], 4), 0.5);
        assert_eq!(recall_at(&list, &["c", "a"], 2), 0.5);
        assert_eq!(recall_at(&list, &[], 2), 0.0);
        assert!(hit_in(&list, &["", "text"], &"b"));
        assert!(!hit_in(&list, &["text", ""], &"b"));
        assert!(!hit_in(&list, &["text"], &"b"));
    }

    #[test]
    fn ndcg_by_hand() {
        let relevance = BTreeMap::from([("a", 2), ("b", 1), ("c", 0), ("d", -1)]);
        // Found: b at rank 1, a at rank 3. Ideal: a, b.
        let expected = (1.0 + 2.0 / 2.0) / (2.0 + 1.0 / 3f64.log2());
        assert!((ndcg(&["b", "x", "a", "d"], &relevance, 10) - expected).abs() < 1e-12);
        assert!((ndcg(&["b", "x", "a"], &relevance, 2) - 1.0 / (2.0 + 1.0 / 3f64.log2())).abs() < 1e-12);
        assert_eq!(ndcg(&["a", "b"], &relevance, 10), 1.0);
        assert_eq!(ndcg(&["a", "a"], &relevance, 1), 1.0);
        assert!(ndcg(&["a", "a"], &relevance, 2) < 1.0, "a repeated hit counts once");
        assert_eq!(ndcg(&["a"], &BTreeMap::from([("a", 0)]), 10), 0.0);
    }

    #[test]
    fn answers() {
        assert!(string_survives("It holds 512 Entries.", &["nine", "512 entries"]));
        assert!(!string_survives("It holds 512.", &["", " ", "513"]));
        assert!(exact_match("The  Cat's!", &["cats"]));
        assert!(!exact_match("cats", &["a dog", ""]));
        assert!((word_f1("the red cat sat", &["red cats", "cat red"]) - 0.8).abs() < 1e-12);
        assert_eq!(word_f1("cat cat", &["cat"]), 2.0 / 3.0);
        assert_eq!(word_f1("the", &["a"]), 1.0);
        assert_eq!(word_f1("", &["cat"]), 0.0);
    }

    #[test]
    fn cosines_by_hand() {
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 1.0], &[-1.0, -1.0]), -1.0);
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5_f64.sqrt()).abs() < 1e-15);
        assert_eq!((cosine(&[0.0, 0.0], &[1.0, 1.0]), cosine(&[], &[])), (0.0, 0.0));
        assert!(cosine(&[f32::INFINITY], &[1.0]).is_nan());
    }

    #[test]
    fn rouge_by_hand() {
        // Lin 2004: police killed the gunman / police kill the gunman: 3 of 4 on both sides.
        assert_eq!(rouge_l("police kill the gunman", "Police killed the gunman."), Some(0.75));
        assert_eq!(rouge_l("the gunman kill police", "police killed the gunman"), Some(0.5));
        assert_eq!(rouge_l("", "x"), Some(0.0));
    }

    fn plain(left: &[String], right: &[String]) -> usize {
        let mut table = vec![vec![0; right.len() + 1]; left.len() + 1];
        for (row, one) in left.iter().enumerate() {
            for (column, other) in right.iter().enumerate() {
                table[row + 1][column + 1] = match one == other {
                    true => table[row][column] + 1,
                    false => table[row][column + 1].max(table[row + 1][column]),
                };
            }
        }
        table[left.len()][right.len()]
    }

    proptest! {
        #[test]
        fn common_subsequence_agrees_with_the_table(
            left in prop::collection::vec("[a-d]", 0..200), right in prop::collection::vec("[a-d]", 0..200)
        ) {
            prop_assert_eq!(common_subsequence(&left, &right), plain(&left, &right));
        }
    }
}
