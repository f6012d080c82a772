//! Atoms: the ranges that chunks are packed from.
//!
//! A leaf that fits is one atom. A larger one gives its sentences (or lines), and a larger sentence runs of tokens, so
//! that no atom is above the limit but a block that must not be cut.

use super::{ChunkOptions, Cut, Leaf, TokenIndex};
use crate::compress::units::{Sentence, sentences};
use std::ops::Range;

/// Cuts leaves into atoms.
pub(super) struct Splitter<'a> {
    text: &'a str,
    max_tokens: u64,
    tokens: &'a TokenIndex,
    /// Starts of the sentences of the whole text, ascending.
    starts: Vec<u32>,
}

impl<'a> Splitter<'a> {
    pub(super) fn new(text: &'a str, options: &ChunkOptions, tokens: &'a TokenIndex) -> Self {
        let mut units = Vec::new();
        sentences(text, &mut units);
        let starts = units.iter().map(|unit| unit.start).collect();
        Self { text, max_tokens: options.max_tokens.max(1), tokens, starts }
    }

    /// Starts of sentences in a range of bytes.
    pub(super) fn starts_in(&self, range: Range<usize>) -> &[u32] {
        let first = self.starts.partition_point(|start| (*start as usize) < range.start);
        let last = self.starts.partition_point(|start| (*start as usize) < range.end);
        &self.starts[first..last.max(first)]
    }

    /// Atoms of a leaf.
    pub(super) fn atoms(&self, leaf: &Leaf, out: &mut Vec<Range<usize>>) {
        if leaf.cut == Cut::Never || self.tokens.count(&leaf.range) <= self.max_tokens {
            out.push(leaf.range.clone());
            return;
        }
        self.sentence_atoms(leaf, out);
    }

    /// Atoms of a leaf that is cut at every sentence (or line, or not at all) in any case.
    pub(super) fn sentence_atoms(&self, leaf: &Leaf, out: &mut Vec<Range<usize>>) {
        let cuts: Vec<usize> = match leaf.cut {
            Cut::Never => Vec::new(),
            Cut::Lines => {
                let lines = self.text[leaf.range.clone()].match_indices('\n');
                lines.map(|(idx, _)| leaf.range.start + idx + 1).collect()
            }
            Cut::Sentences => self.sentence_cuts(&leaf.range),
        };
        let mut start = leaf.range.start;
        for end in cuts.into_iter().chain([leaf.range.end]) {
            let range = self.trimmed(start..end);
            start = end;
            if range.is_empty() {
                continue;
            }
            match leaf.cut != Cut::Never && self.tokens.count(&range) > self.max_tokens {
                true => self.token_atoms(range, out),
                false => out.push(range),
            }
        }
    }

    /// Starts of sentences inside a leaf, its own start left out. A list item is one sentence to the splitter of
    /// sentences, so its text is read again without its mark.
    fn sentence_cuts(&self, range: &Range<usize>) -> Vec<usize> {
        let inner = self.starts_in(range.start + 1..range.end);
        if !inner.is_empty() {
            return inner.iter().map(|start| *start as usize).collect();
        }
        let content = &self.text[range.clone()];
        let mark = content.find(|character: char| character.is_alphanumeric()).unwrap_or(0);
        let mark = match content[mark..].split_once(['.', ')']) {
            // The number of an ordered item.
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                content.len() - rest.len()
            }
            _ => mark,
        };
        let mut units: Vec<Sentence> = Vec::new();
        sentences(&content[mark..], &mut units);
        units.iter().skip(1).map(|unit| range.start + mark + unit.start as usize).collect()
    }

    /// Runs of at most `max_tokens` tokens.
    fn token_atoms(&self, range: Range<usize>, out: &mut Vec<Range<usize>>) {
        let step = usize::try_from(self.max_tokens).unwrap_or(usize::MAX);
        let (first, last) = (self.tokens.first_after(range.start), self.tokens.count_before(range.end));
        let mut start = range.start;
        let mut token = first;
        while token < last {
            token = token.saturating_add(step);
            let end = match token < last {
                true => self.tokens.bounds[token].0 as usize,
                false => range.end,
            };
            let part = self.trimmed(start..end);
            if !part.is_empty() {
                out.push(part);
            }
            start = end;
        }
    }

    /// The range without blanks around.
    pub(super) fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        let part = &self.text[range.clone()];
        let start = range.start + part.len() - part.trim_start().len();
        start..start + part.trim().len()
    }
}
