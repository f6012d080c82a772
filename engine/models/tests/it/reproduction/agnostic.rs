//! What compression without a query saves and costs: lossless cleaning, and retrieval over shortened documents.

use std::collections::BTreeMap;

use super::{Report, docs, sentence_stats};
use crate::data;
use promptc_models::compress::{
    Links, Options, Ranking, Row, Select, Target, Unit, ratio_cap, score, structural,
};
use promptc_models::dedup;
use promptc_models::tokenize::{Tokenizer, WordPunct};
use promptc_models::words;

/// nDCG@10 of BM25 (k1 0.9, b 0.4) over texts for the SciFact test queries.
fn ndcg(texts: &[String], queries: &[(String, Vec<usize>)]) -> f64 {
    let mut postings: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
    let mut lengths = Vec::new();
    for (idx, text) in texts.iter().enumerate() {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        words::for_each_word(text, |word| *counts.entry(word.to_owned()).or_default() += 1.0);
        lengths.push(counts.values().sum::<f64>());
        counts.into_iter().for_each(|(word, count)| postings.entry(word).or_default().push((idx, count)));
    }
    let mean = lengths.iter().sum::<f64>() / lengths.len() as f64;
    let mut total = 0.0;
    for (query, relevant) in queries {
        let mut scores = vec![0.0; texts.len()];
        for word in words::distinct_words(query) {
            let Some(posting) = postings.get(&word) else { continue };
            let idf = words::idf(texts.len() as u64, posting.len() as u64);
            posting.iter().for_each(|&(idx, count)| {
                scores[idx] += words::bm25_term(idf, count, 0.9, 0.4, lengths[idx] / mean)
            });
        }
        let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
        let order = score::order(&scores);
        let found: f64 = order
            .iter()
            .take(10)
            .enumerate()
            .filter(|(_, idx)| relevant.contains(&(**idx as usize)))
            .map(|(rank, _)| gain(rank))
            .sum();
        total += found / (0..relevant.len().min(10)).map(gain).sum::<f64>();
    }
    100.0 * total / queries.len() as f64
}

#[test]
fn retrieval_over_compressed_documents() {
    let Some(folder) = data::folder() else { return };
    let (documents, queries) = data::scifact_retrieval(&folder);
    let full: Vec<String> = documents.iter().map(|(title, text)| format!("{title} {text}")).collect();
    let stats = sentence_stats(documents.iter().map(|(_, text)| text.as_str()));
    let mut report = Report::default();
    report.compare("SciFact nDCG@10, full text", &[ndcg(&full, &queries)], &[66.6], 1.0);
    for (select, name, reference) in
        [(Select::Lead, "lead", [61.0, 52.3]), (Select::TextRank, "TextRank", [57.7, 55.4])]
    {
        // Documents of an index need no gap marks.
        let options = Options {
            gap: Some(String::new()),
            select: Some(select),
            ..Options::with_query(Unit::Sentence, Target::Ratio(2.0))
        };
        let found = [2.0, 4.0].map(|ratio| {
            let shorter = |(title, text): &(String, String)| {
                let row = Row { texts: &[text], titles: None, query: None, similarities: None };
                let ranking = Ranking::new(&row, &options, &WordPunct, Some(&stats));
                let out = ranking.cut(ratio_cap(ranking.tokens_in(), ratio), &WordPunct);
                format!("{title} {}", out.texts[0])
            };
            ndcg(&documents.iter().map(shorter).collect::<Vec<_>>(), &queries)
        });
        report.compare(&format!("SciFact nDCG@10, {name} at 2x and 4x"), &found, &reference, 1.0);
    }
}

/// Text that survives cleaning and the removal of repeated blocks, per collection.
#[test]
fn lossless_savings() {
    let Some(folder) = data::folder() else { return };
    let shingle = dedup::ShingleOptions::new(5, 128).unwrap();
    let options = dedup::SignatureOptions { unit: dedup::Unit::Block, near: true, shingle, min_words: 12 };
    let mut report = Report::default();
    let sets = [
        ("docs/rust-book.jsonl", 3.8),
        ("docs/rust-reference.jsonl", 1.5),
        ("docs/cargo-docs.jsonl", 20.6),
        ("prompts/fabric-patterns.jsonl", 9.6),
    ];
    for (file, reference) in sets {
        let texts = docs(&folder, file);
        let total: u64 = texts.iter().map(|text| WordPunct.count(text)).sum();
        let cleaned: Vec<String> =
            texts.iter().map(|text| structural::clean(text, Links::Keep).text).collect();
        let clean: u64 = cleaned.iter().map(|text| WordPunct.count(text)).sum();
        let mut signatures = Vec::new();
        let mut blocks = Vec::new();
        for text in &cleaned {
            for signature in dedup::signatures(text, &options) {
                blocks.push(&text[signature.range.start as usize..signature.range.end as usize]);
                signatures.push(signature);
            }
        }
        let shingles = |idx: usize| -> Result<_, std::convert::Infallible> {
            Ok(dedup::shingles(blocks[idx], &options.shingle))
        };
        let decisions = dedup::cluster(&signatures, 0.8, shingles).unwrap();
        let kept = decisions.iter().zip(&blocks).filter(|(decision, _)| **decision == dedup::Decision::Kept);
        let left: u64 = kept.map(|(_, block)| WordPunct.count(block)).sum();
        let saved = |tokens: u64| 100.0 * (1.0 - tokens as f64 / total as f64);
        println!("{file}: structural alone saves {:.2} % of {total} tokens", saved(clean));
        report.compare(file, &[saved(left)], &[reference], 1.0);
    }
}
