//! One scoring pass over a row, whose cut can be moved.
//!
//! [`Ranking::new`] cleans, splits and scores; [`Ranking::cut`] selects under a cap and writes the output with its
//! map. A prompt message that must shrink again only calls `cut` again.

use super::keep::{self, Required, Subject};
use super::score::{self, Counts, CorpusStats, QueryWords};
use super::scorer::{self, Scorer};
use super::select::{self, Selection, Unit as Part};
use super::structural::{self, Clean};
use super::token::{self, TokenScores};
use super::units::{self, Kind, Sentence};
use super::{Compressed, Options, Select, Target, Unit, agnostic};
use crate::spans::{self, Piece};
use crate::tokenize::Tokenizer;

/// Gap mark between sentences and clauses.
pub const GAP: &str = " … ";
/// Gap mark between passages.
pub const PASSAGE_GAP: &str = "\n";

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
    gap: String,
    gap_tokens: u64,
}

impl Ranking {
    /// Cleans, splits and scores a row.
    pub fn new(row: &Row<'_>, options: &Options, tokenizer: &dyn Tokenizer, stats: Option<&dyn CorpusStats>) -> Self {
        let cleans: Vec<Clean> = row
            .texts
            .iter()
            .map(|text| match options.stages.structural {
                true => structural::clean(text, options.links),
                false => Clean { text: (*text).to_owned(), pieces: spans::identity_pieces(text), links: Vec::new() },
            })
            .collect();
        let tokens_in = row.texts.iter().map(|text| tokenizer.count(text)).sum();
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
            ranking.tokens = Some(TokenScores::new(options.keep, tokenizer, ranking.cleans.iter().map(|clean| clean.text.as_str()), stats));
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
    pub fn whole(&self, tokenizer: &dyn Tokenizer) -> Compressed {
        let tokens_out = self.cleans.iter().map(|clean| tokenizer.count(&clean.text)).sum();
        Compressed {
            texts: self.cleans.iter().map(|clean| clean.text.clone()).collect(),
            pieces: self.cleans.iter().map(|clean| clean.pieces.clone()).collect(),
            links: self.cleans.iter().map(|clean| clean.links.clone()).collect(),
            tokens_in: self.tokens_in,
            tokens_out,
            keep_unmet: 0,
            over_ratio: false,
        }
    }

    /// The best units under `cap` tokens. Cost: O(units) plus writing the output; no scoring.
    pub fn cut(&self, cap: u64, tokenizer: &dyn Tokenizer) -> Compressed {
        let whole = self.whole(tokenizer);
        if whole.tokens_out <= cap {
            return whole;
        }
        // The token stage may take the last quarter.
        let unit_cap = if self.tokens.is_some() { (cap as f64 * token::RATIO_MAX).floor() as u64 } else { cap };
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
        let mut selection =
            select::first_fit(&self.parts, self.cleans.len(), &self.order, cap, self.gap_tokens, &self.required);
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
                None => list.push(Range { start: part.start, end: part.end, joiner: Joiner::Gap, block: part.block }),
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
                spans::push_piece(&mut pieces, Piece { start: range.start, end: range.end, at: text.len() as u32 });
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
    fn rank(&mut self, row: &Row<'_>, options: &Options, tokenizer: &dyn Tokenizer, stats: Option<&dyn CorpusStats>) {
        let layout = Layout::new(&self.cleans, options, tokenizer);
        let scores = match (row.query, options.select) {
            (Some(query), _) => layout.query_scores(&self.cleans, row, query, options, stats),
            (None, select) => {
                let texts: Vec<&str> = layout
                    .parts
                    .iter()
                    .map(|part| &self.cleans[part.text as usize].text[part.start as usize..part.end as usize])
                    .collect();
                match select {
                    Some(Select::TextRank) => agnostic::textrank(&texts),
                    Some(Select::Mmr) => agnostic::mmr(&texts),
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

/// The units of a row on every level.
struct Layout {
    sentences: Vec<Sentence>,
    sentence_texts: Vec<u32>,
    sentence_passages: Vec<u32>,
    passage_texts: Vec<u32>,
    /// First part of every sentence (or the parts are passages).
    first_parts: Vec<u32>,
    parts: Vec<Part>,
    unit: Unit,
}

impl Layout {
    fn new(cleans: &[Clean], options: &Options, tokenizer: &dyn Tokenizer) -> Self {
        let unit = options.finest();
        let mut layout = Self {
            sentences: Vec::new(),
            sentence_texts: Vec::new(),
            sentence_passages: Vec::new(),
            passage_texts: Vec::new(),
            first_parts: Vec::new(),
            parts: Vec::new(),
            unit,
        };
        for (text_idx, clean) in cleans.iter().enumerate() {
            units::sentences(&clean.text, &mut layout.sentences);
            layout.sentence_texts.resize(layout.sentences.len(), text_idx as u32);
        }
        let mut clauses = Vec::new();
        let mut sentence_tokens = Vec::with_capacity(layout.sentences.len());
        for (idx, sentence) in layout.sentences.iter().enumerate() {
            let text_idx = layout.sentence_texts[idx];
            let text = &cleans[text_idx as usize].text;
            layout.first_parts.push(layout.parts.len() as u32);
            let part = |start: u32, end: u32, tokens: u32| Part {
                text: text_idx,
                start,
                end,
                tokens,
                sentence: idx as u32,
                block: sentence.kind.is_block(),
            };
            let count = |start: u32, end: u32| tokenizer.count(&text[start as usize..end as usize]) as u32;
            match sentence.kind {
                Kind::Prose if unit == Unit::Clause => {
                    clauses.clear();
                    units::clauses(text, sentence.start, sentence.end, options.keep.code, tokenizer, &mut clauses);
                    layout.parts.extend(clauses.iter().map(|clause| part(clause.start, clause.end, clause.tokens)));
                }
                Kind::Table if options.keep.tables => {
                    let rows = keep::table_rows(text, *sentence);
                    layout.parts.extend(rows.iter().map(|&(start, end)| part(start, end, count(start, end))));
                }
                _ => layout.parts.push(part(sentence.start, sentence.end, count(sentence.start, sentence.end))),
            }
            let first = *layout.first_parts.last().expect("invariant: pushed above") as usize;
            sentence_tokens.push(layout.parts[first..].iter().map(|part| part.tokens).sum::<u32>());
        }
        layout.group(cleans.len(), &sentence_tokens);
        if unit == Unit::Passage {
            layout.parts = layout.passage_parts(&sentence_tokens);
        }
        layout
    }

    /// Passages: the texts of a list, or packed sentences of a single text.
    fn group(&mut self, texts: usize, sentence_tokens: &[u32]) {
        if texts == 1 {
            let starts = units::passages(sentence_tokens.iter().copied());
            self.passage_texts = vec![0; starts.len()];
            self.sentence_passages = (0..self.sentences.len())
                .map(|idx| (starts.partition_point(|&start| start <= idx) - 1) as u32)
                .collect();
        } else {
            self.passage_texts = (0..texts as u32).collect();
            self.sentence_passages = self.sentence_texts.clone();
        }
    }

    fn passage_parts(&self, sentence_tokens: &[u32]) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for (idx, sentence) in self.sentences.iter().enumerate() {
            let passage = self.sentence_passages[idx];
            match parts.last_mut() {
                Some(last) if last.sentence == passage => {
                    last.end = sentence.end;
                    last.tokens += sentence_tokens[idx];
                }
                _ => parts.push(Part {
                    text: self.sentence_texts[idx],
                    start: sentence.start,
                    end: sentence.end,
                    tokens: sentence_tokens[idx],
                    sentence: passage,
                    block: false,
                }),
            }
        }
        parts
    }

    fn required(&self, cleans: &[Clean], options: &Options) -> Required {
        if options.keep.is_empty() || self.unit == Unit::Passage {
            return Required::default();
        }
        let ranges: Vec<(u32, u32)> = self.parts.iter().map(|part| (part.start, part.end)).collect();
        let subjects = self.sentences.iter().enumerate().map(|(idx, sentence)| {
            let (first, end) = self.parts_of(idx);
            Subject {
                text: &cleans[self.sentence_texts[idx] as usize].text,
                text_idx: self.sentence_texts[idx],
                sentence: *sentence,
                first_unit: first as u32,
                units: &ranges[first..end],
            }
        });
        keep::required(subjects, options.keep)
    }

    /// The parts of a sentence.
    fn parts_of(&self, sentence: usize) -> (usize, usize) {
        let end = self.first_parts.get(sentence + 1).map_or(self.parts.len(), |&end| end as usize);
        (self.first_parts[sentence] as usize, end)
    }

    /// Scores of the parts against a query.
    fn query_scores(
        &self,
        cleans: &[Clean],
        row: &Row<'_>,
        query: &str,
        options: &Options,
        stats: Option<&dyn CorpusStats>,
    ) -> Vec<f64> {
        let query_words = QueryWords::new(query);
        let width = query_words.words().len();
        let slice = |text: u32, start: u32, end: u32| &cleans[text as usize].text[start as usize..end as usize];

        let mut part_counts = Counts::new(width);
        let mut sentence_counts = Counts::new(width);
        if self.unit == Unit::Passage {
            for (sentence, &text) in self.sentences.iter().zip(&self.sentence_texts) {
                sentence_counts.push_text(&query_words, slice(text, sentence.start, sentence.end));
            }
        } else {
            for part in &self.parts {
                part_counts.push_text(&query_words, slice(part.text, part.start, part.end));
            }
            for idx in 0..self.sentences.len() {
                let (first, end) = self.parts_of(idx);
                sentence_counts.push_empty();
                sentence_counts.extend_parts(&part_counts, first..end);
            }
        }
        let passages = self.passage_scores(&query_words, &sentence_counts, row, stats);
        if self.unit == Unit::Passage {
            return self.parts.iter().map(|part| passages[part.sentence as usize]).collect();
        }

        let idf = sentence_counts.idf(&query_words, stats);
        let bm25 = sentence_counts.bm25(&idf, score::SENTENCE_K1, score::SENTENCE_B);
        let coverage = sentence_counts.coverage(&idf);
        let mut scores = match &options.scorer {
            Scorer::Lexical => {
                let mut scores = score::lexical(&bm25, &coverage, &self.sentence_texts);
                if options.stages.passage && self.passage_texts.len() > 1 {
                    for (score, &passage) in scores.iter_mut().zip(&self.sentence_passages) {
                        *score += score::PASSAGE_WEIGHT * passages[passage as usize];
                    }
                }
                scores
            }
            Scorer::Linear(weights) => {
                let context = scorer::Context {
                    query,
                    query_words: &query_words,
                    idf: &idf,
                    bm25: &bm25,
                    coverage: &coverage,
                    counts: &sentence_counts,
                    passages: &passages,
                    sentence_passages: &self.sentence_passages,
                    sentence_texts: &self.sentence_texts,
                    titles: &self.passage_titles(row),
                };
                let texts = self.sentences.iter().zip(&self.sentence_texts);
                let scored: Vec<(&str, u32)> = texts
                    .enumerate()
                    .map(|(idx, (sentence, &text))| {
                        let (first, end) = self.parts_of(idx);
                        let tokens = self.parts[first..end].iter().map(|part| part.tokens).sum();
                        (slice(text, sentence.start, sentence.end), tokens)
                    })
                    .collect();
                let values = scorer::scores(&scorer::features(&context, &scored), weights);
                if self.unit == Unit::Clause { scorer::min_max(&values) } else { values }
            }
        };
        if self.unit == Unit::Clause {
            let bm25 = score::norm(&part_counts.bm25(&idf, score::SENTENCE_K1, score::SENTENCE_B));
            let texts: Vec<u32> = self.parts.iter().map(|part| part.text).collect();
            let own = score::smooth(&bm25, &texts, score::CLAUSE_SMOOTHING);
            return self.parts.iter().zip(&own).map(|(part, own)| scores[part.sentence as usize] + score::CLAUSE_WEIGHT * own).collect();
        }
        if self.parts.len() != scores.len() {
            scores = self.parts.iter().map(|part| scores[part.sentence as usize]).collect();
        }
        scores
    }

    /// Title of every passage.
    fn passage_titles<'a>(&self, row: &Row<'a>) -> Vec<&'a str> {
        let title = |text: &u32| row.titles.and_then(|titles| titles.get(*text as usize)).copied().unwrap_or("");
        self.passage_texts.iter().map(title).collect()
    }

    /// Normalised passage scores.
    fn passage_scores(&self, query: &QueryWords, sentences: &Counts, row: &Row<'_>, stats: Option<&dyn CorpusStats>) -> Vec<f64> {
        let mut counts = Counts::new(query.words().len());
        let mut next = 0;
        for (passage, title) in self.passage_titles(row).into_iter().enumerate() {
            let first = next;
            while self.sentence_passages.get(next).is_some_and(|&other| other as usize == passage) {
                next += 1;
            }
            counts.push_empty();
            counts.extend_parts(sentences, first..next);
            counts.extend_text(query, title, score::TITLE_WEIGHT);
        }
        let idf = counts.idf(query, stats);
        let scores = counts.bm25(&idf, score::PASSAGE_K1, counts.passage_b());
        match row.similarities {
            Some(similarities) if similarities.len() == scores.len() && row.texts.len() == scores.len() => {
                score::norm(&score::fuse(&scores, similarities))
            }
            _ => score::norm(&scores),
        }
    }
}
