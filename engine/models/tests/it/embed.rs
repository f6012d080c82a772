//! The hashed embedder against a slow reference that follows its definition word by word.

use promptc_models::embed::{EmbedError, HashedNgram, HashedNgramOptions, IdfTable};
use proptest::prelude::*;
use rust_stemmers::{Algorithm, Stemmer};
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;

fn options(dim: u32, seed: u64) -> HashedNgramOptions {
    HashedNgramOptions { dim, ngrams: vec![3, 4, 5], seed, normalize: true }
}

fn words(text: &str) -> Vec<String> {
    let folded: String = text.to_lowercase().nfkc().collect();
    let pattern = regex::Regex::new(r"[\p{L}\p{N}]+").unwrap();
    pattern.find_iter(&folded).map(|found| found.as_str().to_owned()).collect()
}

fn stem(word: &str) -> String {
    Stemmer::create(Algorithm::English).stem(word).into_owned()
}

/// Sums in f64, no memory between words, one feature at a time.
fn reference(text: &str, options: &HashedNgramOptions, collection: Option<&[&str]>) -> Vec<f64> {
    let mut vector = vec![0.0; options.dim as usize];
    let mut key = [0u8; 32];
    for (idx, byte) in key.iter_mut().take(8).enumerate() {
        *byte = (options.seed >> (8 * idx)) as u8;
    }
    let mut add = |feature: &str, weight: f64| {
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(feature.as_bytes());
        let bytes = hasher.finalize();
        let hash = bytes.as_bytes()[..8].iter().rev().fold(0u64, |hash, byte| hash * 256 + u64::from(*byte));
        let sign = if hash >= 1 << 63 { -1.0 } else { 1.0 };
        vector[(hash % u64::from(options.dim)) as usize] += sign * weight;
    };
    for word in words(text) {
        let idf = collection.map_or(1.0, |texts| {
            let holds = |text: &&&str| words(text).iter().any(|other| stem(other) == stem(&word));
            let (count, df) = (texts.len() as f64, texts.iter().filter(holds).count() as f64);
            (1.0 + (count - df + 0.5) / (df + 0.5)).ln()
        });
        add(&stem(&word), idf);
        let marked: Vec<char> = format!("^{word}$").chars().collect();
        for len in &options.ngrams {
            for ngram in marked.windows(usize::from(*len)) {
                add(&ngram.iter().collect::<String>(), 0.3 * idf);
            }
        }
    }
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    if options.normalize && length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

fn embed(embedder: &HashedNgram, text: &str) -> Vec<f32> {
    let mut out = vec![f32::NAN; embedder.dim()];
    embedder.embed(text, &mut embedder.scratch(), &mut out);
    out
}

fn check(text: &str, options: &HashedNgramOptions) {
    let embedder = HashedNgram::new(options.clone(), None).unwrap();
    let found = embed(&embedder, text);
    for (slot, (found, expected)) in found.iter().zip(reference(text, options, None)).enumerate() {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "slot {slot} of {text:?}: {found} {expected}");
    }
}

const TEXTS: [&str; 6] = [
    "The caches are flushed; the cache holds 512 entries.",
    "Running runners ran — naïve CAFÉ, ﬁne ½ Ⅷ 東京タワー!",
    "a I x_y",
    "İstanbul ΟΔΟΣ straße",
    "word word word word",
    "!!! ... \u{301} _",
];

#[test]
fn agrees_with_the_definition() {
    for dim in [8, 256, 1000, 4096] {
        for text in TEXTS {
            check(text, &options(dim, 7));
        }
    }
    check(TEXTS[0], &HashedNgramOptions { ngrams: vec![], ..options(64, u64::MAX) });
    check(TEXTS[0], &HashedNgramOptions { ngrams: vec![1, 2, 32], normalize: false, ..options(64, 0) });
}

#[test]
fn a_collection_weighs_rare_words_more() {
    let collection = ["the cache holds entries", "the caches of the", "the end"];
    let table = IdfTable::fit(collection);
    assert_eq!((table.text_count(), table.frequency("the"), table.frequency("cach")), (3, 3, 2));
    assert!((table.idf("unseen") - (1.0f64 + 3.5 / 0.5).ln()).abs() < 1e-12);
    let options = options(128, 7);
    let embedder = HashedNgram::new(options.clone(), Some(table.clone())).unwrap();
    for text in ["the cached entry", "the", "nothing of it"] {
        let expected = reference(text, &options, Some(&collection));
        for (found, expected) in embed(&embedder, text).iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{text:?}");
        }
    }
    let mut parts = IdfTable::fit(collection[..1].iter().copied());
    parts.merge(IdfTable::fit(collection[1..].iter().copied()));
    assert_eq!(parts, table);
}

#[test]
fn stored_tables_come_back_and_damage_is_found() {
    let table = IdfTable::fit(TEXTS);
    let bytes = table.to_bytes();
    assert_eq!(IdfTable::from_bytes(&bytes), Ok(table));
    for len in 0..bytes.len() {
        assert!(IdfTable::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(IdfTable::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    let mut huge = bytes;
    huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(IdfTable::from_bytes(&huge).is_err());
}

#[test]
fn parameters_are_checked() {
    for dim in [0, 4, 12, 4100, 8192] {
        assert_eq!(HashedNgram::new(options(dim, 1), None).err(), Some(EmbedError::Dim { found: dim }));
    }
    for found in [0, 33] {
        let options = HashedNgramOptions { ngrams: vec![3, found], ..options(8, 1) };
        assert_eq!(HashedNgram::new(options, None).err(), Some(EmbedError::Ngram { found }));
    }
}

#[test]
fn what_is_remembered_does_not_show() {
    let embedder = HashedNgram::new(options(64, 3), None).unwrap();
    let mut scratch = embedder.scratch();
    let mut out = vec![0.0; 64];
    // More words than the memory holds, so that it forgets in between, and words too long to remember.
    for block in 0..20 {
        let text: String = (0..5000).map(|idx| format!("w{} ", block * 5000 + idx)).collect();
        embedder.embed(&text, &mut scratch, &mut out);
        assert_eq!(out, embed(&embedder, &text), "block {block}");
        let long = "x".repeat(65 + block);
        embedder.embed(&long, &mut scratch, &mut out);
        assert_eq!(out, embed(&embedder, &long));
    }
}

#[test]
fn a_memory_is_not_shared_between_embedders() {
    let table = IdfTable::fit(TEXTS);
    let make = |seed, table| HashedNgram::new(options(64, seed), table).unwrap();
    let embedders = [make(1, None), make(2, None), make(2, Some(table)), make(1, None)];
    assert_eq!(embedders[0].identity(), embedders[3].identity());
    let mut scratch = embedders[0].scratch();
    for embedder in &embedders {
        let mut out = vec![0.0; 64];
        embedder.embed(TEXTS[0], &mut scratch, &mut out);
        assert_eq!(out, embed(embedder, TEXTS[0]));
    }
}

#[test]
fn no_words_give_zeros_and_words_give_length_one() {
    let embedder = HashedNgram::new(options(256, 7), None).unwrap();
    assert!(embed(&embedder, "").iter().all(|value| *value == 0.0));
    assert!(embed(&embedder, " ?! ").iter().all(|value| *value == 0.0));
    let length: f64 = embed(&embedder, "some words").iter().map(|value| f64::from(*value).powi(2)).sum();
    assert!((length - 1.0).abs() < 1e-6);
}

#[test]
fn seeds_and_words_make_different_vectors() {
    let vectors: BTreeSet<Vec<u32>> = [("cache", 7), ("cache", 8), ("cash", 7)]
        .map(|(text, seed)| {
            let embedder = HashedNgram::new(options(256, seed), None).unwrap();
            embed(&embedder, text).into_iter().map(f32::to_bits).collect()
        })
        .into();
    assert_eq!(vectors.len(), 3);
}

proptest! {
    #[test]
    fn agrees_with_the_definition_on_any_text(text in any::<String>(), seed in any::<u64>()) {
        check(&text, &options(64, seed));
    }
}
