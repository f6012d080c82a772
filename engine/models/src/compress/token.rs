//! The token stage: the least surprising tokens go, up to 1.25x.
//!
//! Self-information of a token is `-ln(count / N)`, minus 3 for punctuation, with counts of the corpus statistics or
//! of the row. At 1.25x exact answers survive in 84 of 100 cases, at 2x in 67, which is why the stage stops early.

use std::borrow::Cow;
use std::collections::HashMap;

use super::keep::{self, KeepSet};
use super::rank::{Joiner, Range};
use super::score::CorpusStats;
use super::units::{self, Kind};
use crate::tokenize::Tokenizer;

/// The most that dropping tokens may shrink a text without a language model.
pub const RATIO_MAX: f64 = 1.25;

/// What a punctuation token loses.
const PUNCTUATION_MALUS: f64 = 3.0;

/// A token of a cleaned text with its self-information.
#[derive(Debug, Clone, Copy)]
struct Token {
    start: u32,
    end: u32,
    score: f64,
    protected: bool,
}

/// The tokens of a row's cleaned texts, scored.
pub struct TokenScores {
    texts: Vec<Vec<Token>>,
    /// Per text, for every token whether white space precedes it and follows it.
    sources: Vec<String>,
}

impl TokenScores {
    /// Scores every token; tokens that `keep` protects never go. Cost: two passes and a map of the row's tokens.
    pub(crate) fn new<'a>(
        keep: KeepSet,
        tokenizer: &dyn Tokenizer,
        texts: impl Iterator<Item = &'a str>,
        stats: Option<&dyn CorpusStats>,
    ) -> Self {
        let sources: Vec<String> = texts.map(str::to_owned).collect();
        let mut boundaries = Vec::new();
        let mut ids: Vec<Vec<(u32, u32, u32)>> = Vec::with_capacity(sources.len());
        let mut words: HashMap<Cow<'_, str>, u32> = HashMap::new();
        let mut counts: Vec<u64> = Vec::new();
        let mut names: Vec<Cow<'_, str>> = Vec::new();
        for text in &sources {
            boundaries.clear();
            tokenizer.boundaries(text, &mut boundaries);
            let mut row = Vec::with_capacity(boundaries.len());
            for &(start, end) in &boundaries {
                let token = folded(&text[start as usize..end as usize]);
                let id = *words.entry(token).or_insert_with_key(|token| {
                    names.push(token.clone());
                    counts.push(0);
                    (counts.len() - 1) as u32
                });
                counts[id as usize] += 1;
                row.push((start, end, id));
            }
            ids.push(row);
        }
        let here: u64 = counts.iter().sum();
        let information: Vec<f64> = names
            .iter()
            .zip(&counts)
            .map(|(name, &count)| {
                // A token that the corpus lacks counts as one that occurred once.
                let (count, total) = match stats {
                    Some(stats) if stats.token_count() > 0 => {
                        (stats.token_frequency(name).max(1), stats.token_count())
                    }
                    _ => (count, here),
                };
                let punctuation =
                    !name.chars().any(|character| character.is_alphanumeric() || character == '_');
                -(count as f64 / total as f64).ln() - if punctuation { PUNCTUATION_MALUS } else { 0.0 }
            })
            .collect();
        let texts = sources
            .iter()
            .zip(ids)
            .map(|(text, ids)| {
                let protected = protected(text, keep);
                let mut next = 0;
                ids.into_iter()
                    .map(|(start, end, id)| {
                        while protected.get(next).is_some_and(|&(_, protected_end)| protected_end <= start) {
                            next += 1;
                        }
                        let protected =
                            protected.get(next).is_some_and(|&(protected_start, _)| protected_start < end);
                        Token { start, end, score: information[id as usize], protected }
                    })
                    .collect()
            })
            .collect();
        Self { texts, sources }
    }

    /// Drops the lowest tokens inside `ranges` until `cap` tokens are left or [`RATIO_MAX`] is reached; ranges are
    /// split where tokens went. Gap marks between ranges are counted with `gap_tokens`.
    pub(crate) fn drop_lowest(&self, ranges: &mut [Vec<Range>], cap: u64, gap_tokens: u64) {
        let mut inside: Vec<(f64, u32, u32)> = Vec::new();
        let mut gaps = 0;
        for (text, list) in ranges.iter().enumerate() {
            gaps += list.len().saturating_sub(1) as u64 * gap_tokens;
            for range in list {
                let tokens = &self.texts[text];
                let first = tokens.partition_point(|token| token.start < range.start);
                let end = tokens.partition_point(|token| token.start < range.end);
                inside.extend((first..end).map(|idx| (tokens[idx].score, text as u32, idx as u32)));
            }
        }
        let total = inside.len() as u64 + gaps;
        let floor = (total as f64 / RATIO_MAX).floor() as u64;
        let excess = total.saturating_sub(cap.max(floor)) as usize;
        inside.retain(|&(_, text, idx)| !self.texts[text as usize][idx as usize].protected);
        // Of equal tokens the earlier ones stay, as everywhere in selection.
        if (1..inside.len()).contains(&excess) {
            inside.select_nth_unstable_by(excess, |left, right| {
                left.0.total_cmp(&right.0).then((right.1, right.2).cmp(&(left.1, left.2)))
            });
        }
        let mut dropped: Vec<Vec<bool>> = self.texts.iter().map(|tokens| vec![false; tokens.len()]).collect();
        for &(_, text, idx) in inside.iter().take(excess) {
            dropped[text as usize][idx as usize] = true;
        }
        for (text, list) in ranges.iter_mut().enumerate() {
            *list = list.iter().flat_map(|range| self.split(text, range, &dropped[text])).collect();
        }
    }

    /// A range without its dropped tokens: runs of kept tokens, each with one blank of the source before it where the
    /// source has one.
    fn split(&self, text: usize, range: &Range, dropped: &[bool]) -> Vec<Range> {
        let tokens = &self.texts[text];
        let first = tokens.partition_point(|token| token.start < range.start);
        let end = tokens.partition_point(|token| token.start < range.end);
        let mut runs: Vec<Range> = Vec::new();
        let mut broken = true;
        for idx in first..end {
            if dropped[idx] {
                broken = true;
                continue;
            }
            let token = tokens[idx];
            match runs.last_mut() {
                Some(last) if !broken => last.end = token.end,
                Some(last) => {
                    let (start, joiner) = self.blank_between(text, last, token.start);
                    runs.push(Range { start, end: token.end, joiner, block: range.block });
                }
                None => runs.push(Range {
                    start: token.start,
                    end: token.end,
                    joiner: range.joiner,
                    block: range.block,
                }),
            }
            broken = false;
        }
        runs
    }

    /// Where the next run begins: at the blank before its first token; or right there after the blank that follows
    /// the last run; or, where the source has neither, behind a synthetic blank.
    fn blank_between(&self, text: usize, last: &mut Range, start: u32) -> (u32, Joiner) {
        let source = &self.sources[text];
        let before = source[last.end as usize..start as usize].chars().next_back();
        if let Some(blank) = before.filter(|character| character.is_whitespace()) {
            return (start - blank.len_utf8() as u32, Joiner::None);
        }
        let after = source[last.end as usize..start as usize].chars().next();
        if let Some(blank) = after.filter(|character| character.is_whitespace()) {
            last.end += blank.len_utf8() as u32;
            return (start, Joiner::None);
        }
        (start, Joiner::Blank)
    }
}

/// The lower-case form; nothing is copied if the token is one already and of ASCII.
fn folded(token: &str) -> Cow<'_, str> {
    match token.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        true => Cow::Borrowed(token),
        false => Cow::Owned(token.to_lowercase()),
    }
}

/// Sorted disjoint byte ranges that must not lose a token.
fn protected(text: &str, keep: KeepSet) -> Vec<(u32, u32)> {
    if keep.is_empty() {
        return Vec::new();
    }
    let mut sentences = Vec::new();
    units::sentences(text, &mut sentences);
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut marks = Vec::new();
    for sentence in sentences {
        let whole = match sentence.kind {
            Kind::Code => keep.code,
            Kind::Table => keep.tables,
            Kind::Heading => keep.headings,
            Kind::Prose | Kind::Item => false,
        };
        if whole {
            ranges.push((sentence.start, sentence.end));
            continue;
        }
        let slice = &text[sentence.start as usize..sentence.end as usize];
        marks.clear();
        keep::marks(slice, true, keep, &mut marks);
        if keep.code {
            code_spans(slice, &mut marks);
        }
        ranges.extend(marks.iter().map(|(start, end)| (sentence.start + start, sentence.start + end)));
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Appends the inline code spans of a sentence.
fn code_spans(sentence: &str, out: &mut Vec<(u32, u32)>) {
    let bytes = sentence.as_bytes();
    let mut idx = 0;
    while let Some(offset) = memchr::memchr(b'`', &bytes[idx..]) {
        let start = idx + offset;
        let end = units::code_span_end(bytes, start);
        if bytes[end - 1] == b'`' {
            out.push((start as u32, end as u32));
        }
        idx = end;
    }
}
