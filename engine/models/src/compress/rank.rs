//! One scoring pass over a row, whose cut can be moved.
//!
//! [`Ranking::new`] cleans, splits and scores; [`Ranking::cut`] selects under a cap and writes the output with its
//! map. A prompt message that must shrink again only calls `cut` again.

use super::keep::Required;
use super::layout::Layout;
use super::score::{self, CorpusStats};
use super::scorer::{Example, FEATURE_COUNT};
use super::select::{self, Selection, Unit as Part};
use super::structural::{self, Clean};
use super::token::{self, TokenScores};
use super::{Compressed, Options, Select, Target, Unit, agnostic};
use crate::spans::{self, Piece};
use crate::tokenize::Tokenizer;

/// Gap mark between sentences and clauses.
const GAP: &str = " … ";
/// Gap mark between passages.
const PASSAGE_GAP: &str = "\n";

/// One row to compress.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// Its texts; they share one budget.
    pub texts: &'a [&'a str],
    /// Titles aligned with the texts.
    pub titles: Option<&'a [&'a str]>,
    /// What the row will be asked.
    pub query: Option<&'a str>,
    /// Vector scores aligned with the texts, fused into the passage score by reciprocal rank.
    pub similarities: Option<&'a [f64]>,
}

/// A scored row.
pub struct Ranking {
    cleans: Vec<Clean>,
    parts: Vec<Part>,
    scores: Vec<f64>,
    order: Vec<u32>,
    required: Required,
    tokens: Option<TokenScores>,
    tokens_in: u64,
    tokens_clean: u64,
    gap: String,
    gap_tokens: u64,
}

impl Ranking {
    /// Cleans, splits and scores a row.
    pub fn new(
        row: &Row<'_>,
        options: &Options,
        tokenizer: &dyn Tokenizer,
        stats: Option<&dyn CorpusStats>,
    ) -> Self {
        let cleans = clean_all(row.texts, options);
        let tokens_in = row.texts.iter().map(|text| tokenizer.count(text)).sum();
        let tokens_clean = match options.stages.structural {
            true => cleans.iter().map(|clean| tokenizer.count(&clean.text)).sum(),
            false => tokens_in,
        };
        let default_gap = if options.finest() == Unit::Passage { PASSAGE_GAP } else { GAP };
        let gap = options.gap.clone().unwrap_or_else(|| default_gap.to_owned());
        let gap_tokens = tokenizer.count(&gap);
        let mut ranking = Self {
            cleans,
            parts: Vec::new(),
            scores: Vec::new(),
            order: Vec::new(),
            required: Required::default(),
            tokens: None,
            tokens_in,
            tokens_clean,
            gap,
            gap_tokens,
        };
        if options.target == Target::None {
            return ranking;
        }
        if row.query.is_some() || options.select.is_some() {
            ranking.rank(row, options, tokenizer, stats);
        }
        if options.stages.token || options.unit == Unit::Token {
            ranking.tokens = Some(TokenScores::new(
                options.keep,
                tokenizer,
                ranking.cleans.iter().map(|clean| clean.text.as_str()),
                stats,
            ));
        }
        ranking
    }

    /// Tokens of the input texts.
    pub fn tokens_in(&self) -> u64 {
        self.tokens_in
    }

    /// The units in reading order, with their scores in [`Ranking::scores`]; empty if nothing is selected.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The score of every unit.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The cleaned texts that units point into.
    pub fn cleaned(&self) -> impl Iterator<Item = &str> {
        self.cleans.iter().map(|clean| clean.text.as_str())
    }

    /// Everything, cleaned.
    pub fn whole(&self) -> Compressed {
        Compressed {
            texts: self.cleans.iter().map(|clean| clean.text.clone()).collect(),
            pieces: self.cleans.iter().map(|clean| clean.pieces.clone()).collect(),
            links: self.cleans.iter().map(|clean| clean.links.clone()).collect(),
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_clean,
            keep_unmet: 0,
            over_ratio: false,
        }
    }

    /// The best units under `cap` tokens. Cost: O(units) plus writing the output; no scoring.
    pub fn cut(&self, cap: u64, tokenizer: &dyn Tokenizer) -> Compressed {
        if self.tokens_clean <= cap {
            return self.whole();
        }
        // The token stage may take the last quarter.
        let unit_cap =
            if self.tokens.is_some() { (cap as f64 * token::RATIO_MAX).floor() as u64 } else { cap };
        let (mut ranges, keep_unmet) = if self.parts.is_empty() {
            (self.whole_ranges(), 0)
        } else {
            let selection = self.select(unit_cap, tokenizer);
            (self.ranges(&selection), selection.unmet(&self.parts, &self.required))
        };
        if let Some(tokens) = &self.tokens {
            tokens.drop_lowest(&mut ranges, cap, self.gap_tokens);
        }
        let mut compressed = self.write(&ranges, tokenizer);
        compressed.keep_unmet = keep_unmet;
        compressed.over_ratio = compressed.tokens_out > cap;
        compressed
    }

    /// First-fit, then the lowest units go while the written output has more tokens than the cap: tokenizers of
    /// subwords may count a joined text differently from its parts.
    fn select(&self, cap: u64, tokenizer: &dyn Tokenizer) -> Selection {
        let mut selection = select::first_fit(
            &self.parts,
            self.cleans.len(),
            &self.order,
            cap,
            self.gap_tokens,
            &self.required,
        );
        loop {
            let tokens_out = self.write(&self.ranges(&selection), tokenizer).tokens_out;
            if tokens_out <= cap || selection.count() <= 1 {
                return selection;
            }
            let mut over = tokens_out - cap;
            for &idx in self.order.iter().rev() {
                if over == 0 || selection.count() <= 1 {
                    break;
                }
                if selection.kept[idx as usize] {
                    over = over.saturating_sub(u64::from(self.parts[idx as usize].tokens).max(1));
                    selection.drop_unit(&self.parts, idx as usize, self.gap_tokens);
                }
            }
        }
    }

    fn whole_ranges(&self) -> Vec<Vec<Range>> {
        let whole = |clean: &Clean| match clean.text.len() as u32 {
            0 => Vec::new(),
            end => vec![Range { start: 0, end, joiner: Joiner::Gap, block: false }],
        };
        self.cleans.iter().map(whole).collect()
    }

    /// Kept byte ranges per text; neighbouring units become one range with the blanks between them.
    fn ranges(&self, selection: &Selection) -> Vec<Vec<Range>> {
        let mut ranges: Vec<Vec<Range>> = vec![Vec::new(); self.cleans.len()];
        let mut previous: Option<usize> = None;
        for (idx, part) in self.parts.iter().enumerate().filter(|(idx, _)| selection.kept[*idx]) {
            let list = &mut ranges[part.text as usize];
            match list.last_mut() {
                Some(last) if previous == idx.checked_sub(1) => {
                    last.end = part.end;
                    last.block = part.block;
                }
                Some(last) => {
                    let joiner = if last.block || part.block { Joiner::GapLine } else { Joiner::Gap };
                    list.push(Range { start: part.start, end: part.end, joiner, block: part.block });
                }
                None => list.push(Range {
                    start: part.start,
                    end: part.end,
                    joiner: Joiner::Gap,
                    block: part.block,
                }),
            }
            previous = Some(idx);
        }
        ranges
    }

    /// Writes ranges of the cleaned texts, with what stands between them, and maps them to the input.
    fn write(&self, ranges: &[Vec<Range>], tokenizer: &dyn Tokenizer) -> Compressed {
        let mut compressed = Compressed {
            texts: Vec::with_capacity(ranges.len()),
            pieces: Vec::with_capacity(ranges.len()),
            links: Vec::with_capacity(ranges.len()),
            tokens_in: self.tokens_in,
            tokens_out: 0,
            keep_unmet: 0,
            over_ratio: false,
        };
        for (clean, ranges) in self.cleans.iter().zip(ranges) {
            let mut text = String::new();
            let mut pieces = Vec::with_capacity(ranges.len());
            for (idx, range) in ranges.iter().enumerate() {
                match range.joiner {
                    _ if idx == 0 => {}
                    Joiner::Gap => text.push_str(&self.gap),
                    Joiner::GapLine => {
                        text.push('\n');
                        text.push_str(self.gap.trim_matches([' ', '\n']));
                        text.push('\n');
                    }
                    Joiner::Blank => text.push(' '),
                    Joiner::None => {}
                }
                spans::push_piece(
                    &mut pieces,
                    Piece { start: range.start, end: range.end, at: text.len() as u32 },
                );
                text.push_str(&clean.text[range.start as usize..range.end as usize]);
            }
            compressed.links.push(move_links(&clean.links, &pieces));
            compressed.pieces.push(spans::compose_pieces(&clean.pieces, &pieces));
            compressed.tokens_out += tokenizer.count(&text);
            compressed.texts.push(text);
        }
        compressed
    }

    /// Splits the cleaned texts and orders their units.
    fn rank(
        &mut self,
        row: &Row<'_>,
        options: &Options,
        tokenizer: &dyn Tokenizer,
        stats: Option<&dyn CorpusStats>,
    ) {
        let layout = Layout::new(&self.cleans, options, tokenizer);
        let scores = match (row.query, options.select) {
            (Some(query), _) => {
                let counted = layout.counted(&self.cleans, row, query, stats);
                layout.query_scores(&self.cleans, row, &counted, options)
            }
            (None, select) => {
                let texts: Vec<&str> = layout
                    .parts
                    .iter()
                    .map(|part| &self.cleans[part.text as usize].text[part.start as usize..part.end as usize])
                    .collect();
                match select {
                    Some(Select::TextRank) => agnostic::textrank(&texts, stats),
                    Some(Select::Mmr) => agnostic::mmr(&texts, stats),
                    Some(Select::Lead) | None => agnostic::lead(texts.len()),
                }
            }
        };
        self.order = score::order(&scores);
        self.scores = scores;
        self.required = layout.required(&self.cleans, options);
        self.parts = layout.parts;
    }
}

/// The features of a row's sentences, one row of numbers each, with the text and byte range of each sentence in the
/// input as far as the structural stage left it ([`Ranking::cleaned`] text). Empty without a query.
pub fn sentence_features(
    row: &Row<'_>,
    options: &Options,
    tokenizer: &dyn Tokenizer,
    stats: Option<&dyn CorpusStats>,
) -> Vec<SentenceFeatures> {
    let Some(query) = row.query else { return Vec::new() };
    let options = Options { unit: Unit::Sentence, ..options.clone() };
    let cleans = clean_all(row.texts, &options);
    let layout = Layout::new(&cleans, &options, tokenizer);
    let features = layout.features(&cleans, row, &layout.counted(&cleans, row, query, stats));
    let sentences = layout.sentence_texts.iter().zip(&layout.sentences);
    sentences
        .zip(features)
        .map(|((&text, sentence), features)| SentenceFeatures {
            text,
            source: spans::compose_pieces(
                &cleans[text as usize].pieces,
                &[Piece { start: sentence.start, end: sentence.end, at: 0 }],
            ),
            features,
        })
        .collect()
}

/// A sentence of a row as the linear scorer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceFeatures {
    /// Index of its text.
    pub text: u32,
    /// Its bytes in the input text.
    pub source: Vec<Piece>,
    /// Its features.
    pub features: [f64; FEATURE_COUNT],
}

/// A training example: the row's sentences, with those as gold that contain one of `answers` (case-folded). `None`
/// if no sentence does, or without a query: such rows are skipped and counted by the caller.
pub fn example(
    row: &Row<'_>,
    answers: &[&str],
    options: &Options,
    tokenizer: &dyn Tokenizer,
    stats: Option<&dyn CorpusStats>,
) -> Option<Example> {
    let folded: Vec<String> =
        answers.iter().map(|answer| answer.to_lowercase()).filter(|answer| !answer.is_empty()).collect();
    let sentences = sentence_features(row, options, tokenizer, stats);
    let is_gold = |sentence: &SentenceFeatures| {
        let text = spans::copy_pieces(row.texts[sentence.text as usize], &sentence.source).to_lowercase();
        folded.iter().any(|answer| text.contains(answer))
    };
    let gold: Vec<usize> = (0..sentences.len()).filter(|&idx| is_gold(&sentences[idx])).collect();
    let features = sentences.into_iter().map(|sentence| sentence.features).collect();
    (!gold.is_empty()).then_some(Example { features, gold })
}

fn clean_all(texts: &[&str], options: &Options) -> Vec<Clean> {
    let clean = |text: &&str| match options.stages.structural {
        true => structural::clean(text, options.links),
        false => Clean { text: (*text).to_owned(), pieces: spans::identity_pieces(text), links: Vec::new() },
    };
    texts.iter().map(clean).collect()
}

/// A kept range of a cleaned text and what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) joiner: Joiner,
    /// True if its last unit stands on lines of its own.
    pub(crate) block: bool,
}

/// What stands between two kept ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joiner {
    /// The gap mark.
    Gap,
    /// The gap mark on a line of its own.
    GapLine,
    /// A blank, so that two tokens do not become one.
    Blank,
    /// Nothing: the range brings its own blank.
    None,
}

/// Link targets whose text is still there, at their new place.
fn move_links(links: &[(u32, String)], pieces: &[Piece]) -> Vec<(u32, String)> {
    let moved = |at: u32| {
        let piece = pieces.iter().find(|piece| piece.start <= at && at < piece.end)?;
        Some(piece.at + (at - piece.start))
    };
    links.iter().filter_map(|(at, target)| Some((moved(*at)?, target.clone()))).collect()
}
