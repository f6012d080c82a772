//! Near-duplicates against a reference that compares every pair, and against a table that changes.

use promptc_models::dedup::{
    BlockSignature, Decision, MIN_TOKENS, ShingleOptions, SignatureOptions, Unit, blocks, cluster, decode,
    encode, jaccard, shingles, signatures,
};
use promptc_models::tokenize::{Tokenizer, WordPunct};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

fn options(unit: Unit) -> SignatureOptions {
    let shingle = ShingleOptions::new(5, 128).unwrap();
    SignatureOptions { unit, near: true, shingle, min_words: 12 }
}

fn row_signatures(texts: &[String]) -> Vec<BlockSignature> {
    texts.iter().flat_map(|text| signatures(text, &options(Unit::Row))).collect()
}

fn decide(texts: &[String], threshold: f64) -> Vec<Decision> {
    let shingles = |idx: usize| -> Result<_, Infallible> {
        Ok(promptc_models::dedup::shingles(&texts[idx], &options(Unit::Row).shingle))
    };
    cluster(&row_signatures(texts), threshold, shingles).unwrap()
}

/// Words in lower case, the plain way.
fn words(text: &str) -> Vec<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Jaccard of the sets of five-word strings.
fn similarity(left: &str, right: &str) -> f64 {
    let set = |text: &str| -> BTreeSet<String> { words(text).windows(5).map(|run| run.join(" ")).collect() };
    let (left, right) = (set(left), set(right));
    let shared = left.intersection(&right).count();
    shared as f64 / (left.len() + right.len() - shared).max(1) as f64
}

/// Every pair compared, in order, with kept ones only.
fn reference(texts: &[String], threshold: f64) -> Vec<Decision> {
    let folded: Vec<String> = texts
        .iter()
        .map(|text| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let mut decisions: Vec<Decision> = Vec::new();
    for idx in 0..texts.len() {
        let droppable = WordPunct.count(&texts[idx]) >= MIN_TOKENS;
        let kept = |other: &usize| decisions[*other] == Decision::Kept;
        let exact = (0..idx).filter(kept).find(|other| droppable && folded[*other] == folded[idx]);
        let long = |idx: usize| droppable && words(&texts[idx]).len() >= 12;
        let near = (0..idx)
            .filter(kept)
            .find(|other| long(idx) && long(*other) && similarity(&texts[idx], &texts[*other]) >= threshold);
        decisions.push(match (exact, near) {
            (Some(exact), _) => Decision::Exact(exact as u32),
            (None, Some(near)) => Decision::Near(near as u32),
            (None, None) => Decision::Kept,
        });
    }
    decisions
}

/// A small generator without a crate: the tests fix their seeds.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Texts of which most are edited copies of earlier ones.
fn corpus(seed: u64, count: usize, longest: usize) -> Vec<String> {
    let mut random = Random(seed);
    let mut texts: Vec<String> = Vec::new();
    for _ in 0..count {
        let copy = !texts.is_empty() && random.below(3) > 0;
        let mut words: Vec<String> = match copy {
            true => {
                let from = random.below(texts.len());
                texts[from].split(' ').map(str::to_owned).collect()
            }
            false => (0..4 + random.below(longest)).map(|_| format!("w{}", random.below(5000))).collect(),
        };
        for _ in 0..random.below(4) {
            let at = random.below(words.len());
            match random.below(3) {
                0 => words[at] = format!("w{}", random.below(5000)),
                1 => words.insert(at, "Extra".to_owned()),
                _ => words[at] = words[at].to_uppercase(),
            }
        }
        texts.push(words.join(" "));
    }
    texts
}

#[test]
fn agrees_with_every_pair_compared() {
    let (mut blocks, mut near, mut different) = (0, 0, Vec::new());
    for seed in 0..60 {
        let texts = corpus(seed, 60, if seed % 2 == 0 { 40 } else { 300 });
        let found = decide(&texts, 0.8);
        let expected = reference(&texts, 0.8);
        blocks += texts.len();
        near += expected.iter().filter(|decision| matches!(decision, Decision::Near(_))).count();
        different.extend((0..texts.len()).filter(|idx| found[*idx] != expected[*idx]).map(|idx| (seed, idx)));
    }
    assert!(near > 300, "the corpus has too few near-duplicates to say anything: {near} of {blocks}");
    assert!(different.len() * 1000 <= near, "{different:?} of {near} near-duplicates");
}

#[test]
fn every_dropped_block_has_a_similar_kept_one() {
    let texts = corpus(99, 400, 60);
    for (idx, decision) in decide(&texts, 0.8).into_iter().enumerate() {
        match decision {
            Decision::Kept => {}
            Decision::Exact(kept) => assert_eq!(words(&texts[idx]), words(&texts[kept as usize])),
            Decision::Near(kept) => assert!(similarity(&texts[idx], &texts[kept as usize]) >= 0.8),
        }
    }
}

#[test]
fn what_is_kept_is_kept_again() {
    let texts = corpus(5, 300, 60);
    let kept: Vec<String> = texts
        .iter()
        .zip(decide(&texts, 0.8))
        .filter(|(_, decision)| *decision == Decision::Kept)
        .map(|(text, _)| text.clone())
        .collect();
    assert!(kept.len() < texts.len());
    assert!(decide(&kept, 0.8).iter().all(|decision| *decision == Decision::Kept));
}

#[test]
fn short_blocks_stay_and_middle_ones_go_only_if_equal() {
    let texts: Vec<String> = [
        "see also the index",
        "see also the index",
        "one two three four five six seven eight nine",
        "One two  three four five six seven eight nine",
        "one two three four five six seven eight nine ten",
    ]
    .map(str::to_owned)
    .to_vec();
    use Decision::{Exact, Kept};
    assert_eq!(decide(&texts, 0.8), [Kept, Kept, Kept, Exact(2), Kept]);
}

#[test]
fn a_chain_of_small_changes_does_not_drop_its_far_end() {
    let base: Vec<String> = (0..60).map(|idx| format!("word{idx}")).collect();
    let texts: Vec<String> = (0..6)
        .map(|step| {
            let mut words = base.clone();
            for idx in 0..step {
                words[idx * 9 + 5] = format!("changed{idx}");
            }
            words.join(" ")
        })
        .collect();
    let found = decide(&texts, 0.8);
    assert_eq!(found, reference(&texts, 0.8));
    assert_eq!(found[1], Decision::Near(0));
    assert!(found.iter().skip(2).any(|decision| *decision == Decision::Kept), "{found:?}");
}

#[test]
fn many_copies_cost_no_more_than_many_texts() {
    // 20,000 near-copies of one text: quadratic chains would take minutes.
    let texts: Vec<String> = (0..20_000)
        .map(|idx| (0..50).map(|word| format!("word{word} ")).collect::<String>() + &format!("end{idx}"))
        .collect();
    let found = decide(&texts, 0.8);
    assert!(found.iter().skip(1).all(|decision| *decision == Decision::Near(0)));
}

#[test]
fn errors_of_the_callback_come_back() {
    let texts = corpus(5, 50, 60);
    assert_eq!(cluster(&row_signatures(&texts), 0.8, |_| Err("gone")), Err("gone"));
}

#[test]
fn damaged_bytes_are_an_error() {
    let text = corpus(1, 1, 40).remove(0) + "\n\n" + &corpus(2, 1, 40)[0];
    let stored = encode(&signatures(&text, &options(Unit::Block)));
    for len in 0..stored.len() {
        if let Ok(part) = decode(&stored[..len]) {
            assert!(len == 1 || part.len() == 1, "{len} bytes");
        }
    }
    let mut wrong = stored.clone();
    wrong[33..37].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(decode(&wrong).is_err());
}

/// All pairs of similar sets by prefix filtering, which misses none: of two sets with Jaccard at least `t`, each has one
/// of the other's elements among its first `n - ceil(t n) + 1` (Bayardo, Ma, Srikant 2007).
fn every_similar_pair(sets: &[Vec<u64>], threshold: f64) -> Vec<(usize, usize)> {
    let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (idx, set) in sets.iter().enumerate().filter(|(_, set)| !set.is_empty()) {
        let prefix = set.len() - (threshold * set.len() as f64).ceil() as usize + 1;
        let mut candidates = BTreeSet::new();
        for shingle in &set[..prefix] {
            let place = places.entry(*shingle).or_default();
            candidates.extend(place.iter().copied());
            place.push(idx);
        }
        let similar = candidates.into_iter().filter(|other| jaccard(set, &sets[*other]) >= threshold);
        pairs.extend(similar.map(|other| (other, idx)));
    }
    pairs
}

#[test]
fn documentation_saves_what_every_pair_compared_saves() {
    let Some(folder) = crate::data::folder() else { return };
    // Least and most percent of tokens in dropped blocks, without the structural stage.
    for (name, least, most) in
        [("cargo-docs", 19.0, 21.0), ("rust-book", 1.6, 2.6), ("rust-reference", 0.3, 0.8)]
    {
        let lines = std::fs::read_to_string(folder.join(format!("docs/{name}.jsonl"))).unwrap();
        let texts: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|row| row["text"].as_str().unwrap().to_owned())
            .collect();
        let options = options(Unit::Block);
        let (mut parts, mut found) = (Vec::new(), Vec::new());
        for text in &texts {
            let row = signatures(text, &options);
            parts.extend(row.iter().map(|block| &text[block.range.start as usize..block.range.end as usize]));
            found.extend(row);
        }
        let sets: Vec<Vec<u64>> = parts
            .iter()
            .zip(&found)
            .map(|(part, block)| match block.slots.is_empty() || u64::from(block.token_count) < MIN_TOKENS {
                true => Vec::new(),
                false => shingles(part, &options.shingle),
            })
            .collect();
        let decisions = cluster::<Infallible>(&found, 0.8, |idx| Ok(sets[idx].clone())).unwrap();
        let near: Vec<(usize, usize)> = every_similar_pair(&sets, 0.8);
        let kept = |idx: usize| decisions[idx] == Decision::Kept;
        let missed = near.iter().filter(|(before, idx)| kept(*before) && kept(*idx)).count();
        assert!(missed * 1000 <= near.len(), "{name}: {missed} of {} similar pairs both kept", near.len());
        let tokens = |kept: bool| -> f64 {
            let chosen =
                found.iter().zip(&decisions).filter(|(_, decision)| kept == (**decision == Decision::Kept));
            chosen.map(|(block, _)| f64::from(block.token_count)).sum()
        };
        let percent = 100.0 * tokens(false) / (tokens(true) + tokens(false));
        assert!((least..most).contains(&percent), "{name}: {percent:.2} % saved");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A table of cached signatures after any changes decides as a full run over its final rows.
    #[test]
    fn changes_give_what_a_full_run_gives(
        changes in prop::collection::vec((0u8..30, prop::option::weighted(0.8, 0usize..60)), 1..120)
    ) {
        let texts = corpus(7, 60, 30);
        let mut stored: BTreeMap<u8, (String, Vec<u8>)> = BTreeMap::new();
        for (key, text) in &changes {
            match text {
                Some(idx) => {
                    let bytes = encode(&signatures(&texts[*idx], &options(Unit::Row)));
                    stored.insert(*key, (texts[*idx].clone(), bytes));
                }
                None => drop(stored.remove(key)),
            }
        }
        let cached: Vec<BlockSignature> =
            stored.values().flat_map(|(_, bytes)| decode(bytes).unwrap()).collect();
        let rows: Vec<String> = stored.into_values().map(|(text, _)| text).collect();
        prop_assert_eq!(&cached, &row_signatures(&rows));
        prop_assert_eq!(decide(&rows, 0.8), reference(&rows, 0.8));
    }

    #[test]
    fn blocks_hold_everything_that_is_not_blank(text in "([a-z ]{0,6}|```|~~~~|\n|\r\n|\t|é){0,40}") {
        let ranges = blocks(&text);
        let mut reached = 0;
        for range in &ranges {
            prop_assert!(range.start >= reached && range.end > range.start);
            prop_assert!(text[reached..range.start].trim().is_empty());
            reached = range.end;
        }
        prop_assert!(text[reached..].trim().is_empty());
        let found = signatures(&text, &options(Unit::Block));
        prop_assert_eq!(decode(&encode(&found)).unwrap(), found);
    }
}
