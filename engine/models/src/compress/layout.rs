//! The units of a row on every level, and their scores against a query.
//!
//! ```text
//! parts (what is selected) --first_parts--> sentences --sentence_passages--> passages --passage_texts--> texts
//! ```
//!
//! Words are counted once, in the smallest units; sentences and passages add those counts up.

use super::keep::{self, Required, Subject};
use super::score::{self, CorpusStats, Counts, QueryWords};
use super::scorer::{self, FEATURE_COUNT, Scorer};
use super::select::Unit as Part;
use super::structural::Clean;
use super::units::{self, Kind, Sentence};
use super::{Options, Row, Unit};
use crate::tokenize::Tokenizer;

/// The units of a row on every level, in reading order.
pub(crate) struct Layout {
    pub(crate) sentences: Vec<Sentence>,
    pub(crate) sentence_texts: Vec<u32>,
    sentence_passages: Vec<u32>,
    passage_texts: Vec<u32>,
    /// First part of every sentence (or the parts are passages).
    first_parts: Vec<u32>,
    pub(crate) parts: Vec<Part>,
    unit: Unit,
}

/// A query's words counted in the units of a row, and what follows from the counts alone.
pub(crate) struct Counted<'a> {
    query: &'a str,
    words: QueryWords,
    /// Counts of the parts; none where passages are selected.
    parts: Counts,
    sentences: Counts,
    /// Inverse document frequency of each query word, over sentences.
    idf: Vec<f64>,
    /// Normalised scores of the passages.
    passages: Vec<f64>,
}

impl Layout {
    pub(crate) fn new(cleans: &[Clean], options: &Options, tokenizer: &dyn Tokenizer) -> Self {
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
                    units::clauses(
                        text,
                        sentence.start,
                        sentence.end,
                        options.keep.code,
                        tokenizer,
                        &mut clauses,
                    );
                    layout
                        .parts
                        .extend(clauses.iter().map(|clause| part(clause.start, clause.end, clause.tokens)));
                }
                Kind::Table if options.keep.tables => {
                    let rows = keep::table_rows(text, *sentence);
                    layout.parts.extend(rows.iter().map(|&(start, end)| part(start, end, count(start, end))));
                }
                _ => {
                    layout.parts.push(part(sentence.start, sentence.end, count(sentence.start, sentence.end)))
                }
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
            let tokens: u64 = sentence_tokens.iter().map(|&tokens| u64::from(tokens)).sum();
            let is_long = tokens >= u64::from(units::LONG_TEXT_TOKENS_MIN) || self.unit == Unit::Passage;
            let starts = if !is_long && tokens > 0 {
                vec![0]
            } else {
                units::passages(sentence_tokens.iter().copied())
            };
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

    pub(crate) fn required(&self, cleans: &[Clean], options: &Options) -> Required {
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

    /// Counts the query's words in every unit, once for all scores.
    pub(crate) fn counted<'a>(
        &self,
        cleans: &[Clean],
        row: &Row<'_>,
        query: &'a str,
        stats: Option<&dyn CorpusStats>,
    ) -> Counted<'a> {
        let words = QueryWords::new(query);
        let (parts, sentences) = self.counts(cleans, &words);
        let passages = self.passage_scores(&words, &sentences, row, stats);
        let idf = sentences.idf(&words, stats);
        Counted { query, words, parts, sentences, idf, passages }
    }

    /// Scores of the parts against a query.
    pub(crate) fn query_scores(
        &self,
        cleans: &[Clean],
        row: &Row<'_>,
        counted: &Counted<'_>,
        options: &Options,
    ) -> Vec<f64> {
        let Counted { idf, passages, .. } = counted;
        if self.unit == Unit::Passage {
            return self.parts.iter().map(|part| passages[part.sentence as usize]).collect();
        }
        let sentences = match &options.scorer {
            Scorer::Lexical => {
                let bm25 = counted.sentences.bm25(idf, score::SENTENCE_K1, score::SENTENCE_B);
                let coverage = counted.sentences.coverage(idf);
                let mut scores = score::lexical(&bm25, &coverage, &self.sentence_texts);
                if options.stages.passage && self.passage_texts.len() > 1 {
                    for (score, &passage) in scores.iter_mut().zip(&self.sentence_passages) {
                        *score += score::PASSAGE_WEIGHT * passages[passage as usize];
                    }
                }
                scores
            }
            Scorer::Linear(weights) => {
                let scores = scorer::scores(&self.features(cleans, row, counted), weights);
                if self.unit == Unit::Clause { scorer::min_max(&scores) } else { scores }
            }
        };
        let of_sentence = self.parts.iter().map(|part| sentences[part.sentence as usize]);
        if self.unit == Unit::Sentence {
            return of_sentence.collect();
        }
        let bm25 = score::norm(&counted.parts.bm25(idf, score::SENTENCE_K1, score::SENTENCE_B));
        let texts: Vec<u32> = self.parts.iter().map(|part| part.text).collect();
        let own = score::smooth(&bm25, &texts, score::CLAUSE_SMOOTHING);
        of_sentence.zip(&own).map(|(sentence, own)| sentence + score::CLAUSE_WEIGHT * own).collect()
    }

    /// The linear scorer's features of every sentence.
    pub(crate) fn features(
        &self,
        cleans: &[Clean],
        row: &Row<'_>,
        counted: &Counted<'_>,
    ) -> Vec<[f64; FEATURE_COUNT]> {
        let sentences: Vec<(&str, u32)> = (0..self.sentences.len())
            .map(|idx| {
                let (first, end) = self.parts_of(idx);
                let tokens = self.parts[first..end].iter().map(|part| part.tokens).sum();
                (self.sentence_text(cleans, idx), tokens)
            })
            .collect();
        scorer::features(&scorer::Context {
            query: counted.query,
            query_words: &counted.words,
            idf: &counted.idf,
            counts: &counted.sentences,
            sentences: &sentences,
            sentence_texts: &self.sentence_texts,
            sentence_passages: &self.sentence_passages,
            passages: &counted.passages,
            titles: &self.passage_titles(row),
        })
    }

    /// Word counts of the parts and of the sentences; where passages are selected there are none of parts.
    fn counts(&self, cleans: &[Clean], query_words: &QueryWords) -> (Counts, Counts) {
        let mut parts = Counts::new(query_words.words().len());
        let mut sentences = Counts::new(query_words.words().len());
        if self.unit == Unit::Passage {
            for idx in 0..self.sentences.len() {
                sentences.push_text(query_words, self.sentence_text(cleans, idx));
            }
            return (parts, sentences);
        }
        for part in &self.parts {
            parts.push_text(
                query_words,
                &cleans[part.text as usize].text[part.start as usize..part.end as usize],
            );
        }
        for idx in 0..self.sentences.len() {
            let (first, end) = self.parts_of(idx);
            sentences.push_empty();
            sentences.extend_parts(&parts, first..end);
        }
        (parts, sentences)
    }

    fn sentence_text<'a>(&self, cleans: &'a [Clean], idx: usize) -> &'a str {
        let sentence = self.sentences[idx];
        &cleans[self.sentence_texts[idx] as usize].text[sentence.start as usize..sentence.end as usize]
    }

    /// Title of every passage.
    fn passage_titles<'a>(&self, row: &Row<'a>) -> Vec<&'a str> {
        let title =
            |text: &u32| row.titles.and_then(|titles| titles.get(*text as usize)).copied().unwrap_or("");
        self.passage_texts.iter().map(title).collect()
    }

    /// Normalised passage scores.
    fn passage_scores(
        &self,
        query: &QueryWords,
        sentences: &Counts,
        row: &Row<'_>,
        stats: Option<&dyn CorpusStats>,
    ) -> Vec<f64> {
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
