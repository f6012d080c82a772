//! Packing atoms into chunks, one after the other, with what each takes over from the one before it.

use super::split::Splitter;
use super::{Chunk, ChunkOptions, Cut, Leaf, Section, TokenIndex};
use crate::spans::Piece;
use crate::tokenize::Tokenizer;
use std::ops::Range;

/// Collects chunks from the start of a text to its end.
pub(super) struct Packer<'a> {
    text: &'a str,
    tokenizer: &'a dyn Tokenizer,
    tokens: &'a TokenIndex,
    splitter: &'a Splitter<'a>,
    sections: &'a [Section],
    max_tokens: u64,
    min_tokens: u64,
    overlap_tokens: u64,
    drafts: Vec<Draft>,
}

/// A chunk before its text is copied.
struct Draft {
    /// With overlap.
    range: Range<usize>,
    /// Start without overlap.
    body_start: usize,
    /// One block that must not be cut.
    whole: bool,
}

impl<'a> Packer<'a> {
    pub(super) fn new(
        text: &'a str,
        options: &ChunkOptions,
        tokenizer: &'a dyn Tokenizer,
        tokens: &'a TokenIndex,
        splitter: &'a Splitter<'a>,
        sections: &'a [Section],
    ) -> Self {
        let max_tokens = options.max_tokens.max(1);
        Self {
            text,
            tokenizer,
            tokens,
            splitter,
            sections,
            max_tokens,
            min_tokens: options.min_tokens,
            overlap_tokens: options.overlap_tokens.min(max_tokens - 1),
            drafts: Vec::new(),
        }
    }

    /// A run of leaves: one chunk if it fits, else as few as hold its atoms in order.
    pub(super) fn piece(&mut self, leaves: &[Leaf]) {
        let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else { return };
        let whole = first.range.start..last.range.end;
        if self.tokens.count(&whole) <= self.max_tokens {
            self.push(whole, leaves.len() == 1 && first.cut == Cut::Never);
            return;
        }
        let mut atoms = Vec::new();
        for leaf in leaves {
            self.splitter.atoms(leaf, &mut atoms);
        }
        self.pack(&atoms);
    }

    /// A run of leaves, a chunk for every sentence; headings stay with the sentence after them if both fit.
    pub(super) fn sentences(&mut self, leaves: &[Leaf]) {
        let mut atoms = Vec::new();
        let mut heading_start: Option<usize> = None;
        for leaf in leaves {
            if leaf.is_heading() {
                heading_start.get_or_insert(leaf.range.start);
            }
            let first = atoms.len();
            self.splitter.sentence_atoms(leaf, &mut atoms);
            if leaf.is_heading() {
                continue;
            }
            if let Some(start) = heading_start.take() {
                let joined = start..atoms[first].end;
                if self.tokens.count(&joined) <= self.max_tokens {
                    atoms.splice(..=first, [joined]);
                }
            }
        }
        for atom in atoms {
            let whole = self.tokens.count(&atom) > self.max_tokens;
            self.push(atom, whole);
        }
    }

    /// Fills chunks with atoms in order.
    fn pack(&mut self, atoms: &[Range<usize>]) {
        let mut idx = 0;
        while idx < atoms.len() {
            let start = atoms[idx].start;
            let reserved = self.tokens.count(&(self.overlap_start(start, self.overlap_tokens)..start));
            let room = self.max_tokens.saturating_sub(reserved).max(1);
            let mut end = atoms[idx].end;
            let whole = self.tokens.count(&atoms[idx]) > self.max_tokens;
            idx += 1;
            while !whole && idx < atoms.len() && self.tokens.count(&(start..atoms[idx].end)) <= room {
                end = atoms[idx].end;
                idx += 1;
            }
            self.push(start..end, whole);
        }
    }

    /// Windows of as many tokens as fit, across leaves and headings, but not into a block that must not be cut.
    pub(super) fn windows(&mut self, leaves: &[Leaf]) {
        let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else { return };
        let mut kept =
            leaves.iter().filter(|leaf| leaf.cut == Cut::Never).map(|leaf| leaf.range.clone()).peekable();
        let (mut start, text_end) = (first.range.start, last.range.end);
        while start < text_end {
            let reserved = self.tokens.count(&(self.overlap_start(start, self.overlap_tokens)..start));
            let room = usize::try_from(self.max_tokens.saturating_sub(reserved).max(1)).unwrap_or(usize::MAX);
            let token = self.tokens.first_after(start).saturating_add(room);
            let mut end =
                self.tokens.bounds.get(token).map_or(text_end, |(start, _)| *start as usize).min(text_end);
            while kept.next_if(|range| range.end <= start).is_some() {}
            let inside = kept.clone().find(|range| range.end > end || range.start >= end);
            if let Some(range) = inside.filter(|range| range.start < end) {
                end = if range.start > start { range.start } else { range.end };
            }
            let body = self.splitter.trimmed(start..end);
            let whole = self.tokens.count(&body) > self.max_tokens;
            if !body.is_empty() {
                self.push(body, whole);
            }
            start = self.skip_blanks(end.max(start + 1));
        }
    }

    fn skip_blanks(&self, byte: usize) -> usize {
        let byte = (byte..=self.text.len())
            .find(|byte| self.text.is_char_boundary(*byte))
            .unwrap_or(self.text.len());
        let rest = &self.text[byte..];
        self.text.len() - rest.trim_start().len()
    }

    /// Adds a chunk, or joins it to the last one if it is small and both fit.
    fn push(&mut self, body: Range<usize>, whole: bool) {
        let body = self.splitter.trimmed(body);
        let count = self.tokens.count(&body);
        if let Some(last) = self.drafts.last_mut()
            && count < self.min_tokens
            && last.range.end > self.sections[section_at(self.sections, body.start)].start
            && self.tokens.count(&(last.range.start..body.end)) <= self.max_tokens
        {
            last.range.end = body.end;
            return;
        }
        let room = self.max_tokens.saturating_sub(count).min(self.overlap_tokens);
        let start = self.overlap_start(body.start, room);
        self.drafts.push(Draft { range: start..body.end, body_start: body.start, whole });
    }

    /// Earliest start of a sentence of the last chunk, under the heading of `start`, from which at most `most` tokens
    /// stand before `start`; `start` itself without any.
    fn overlap_start(&self, start: usize, most: u64) -> usize {
        let Some(last) = self.drafts.last().filter(|_| most > 0) else { return start };
        let earliest = last.range.start.max(self.sections[section_at(self.sections, start)].start);
        let starts = self.splitter.starts_in(earliest..last.range.end.min(start));
        let first = starts.partition_point(|from| self.tokens.count(&(*from as usize..start)) > most);
        starts.get(first).map_or(start, |from| *from as usize)
    }

    /// The chunks, with their texts and exact token counts.
    pub(super) fn finish(self) -> Vec<Chunk> {
        let mut chunks = Vec::with_capacity(self.drafts.len());
        for draft in &self.drafts {
            self.emit(draft.range.clone(), draft.body_start, draft.whole, &mut chunks);
        }
        chunks
    }

    /// Copies one chunk. Tokens of a part need not be tokens of the whole for every tokenizer; a chunk that is above
    /// the limit for that reason loses its overlap, and is then halved.
    fn emit(&self, range: Range<usize>, body_start: usize, whole: bool, chunks: &mut Vec<Chunk>) {
        let text = &self.text[range.clone()];
        let tokens = self.tokenizer.count(text);
        if tokens > self.max_tokens && !whole {
            if range.start < body_start {
                return self.emit(body_start..range.end, body_start, whole, chunks);
            }
            let (first, last) = (self.tokens.first_after(range.start), self.tokens.count_before(range.end));
            let middle = self.tokens.bounds.get(first + last.saturating_sub(first) / 2);
            let middle =
                middle.map_or(range.start, |(start, _)| *start as usize).clamp(range.start, range.end);
            let halves = [range.start..middle, middle..range.end];
            let halves = halves.map(|half| self.splitter.trimmed(half));
            if halves.iter().all(|half| !half.is_empty()) {
                for half in halves {
                    self.emit(half.clone(), half.start, whole, chunks);
                }
                return;
            }
        }
        let piece = Piece { start: range.start as u32, end: range.end as u32, at: 0 };
        let mut section = section_at(self.sections, body_start);
        while !self.sections[section].has_body
            && self.sections.get(section + 1).is_some_and(|next| next.start < range.end)
        {
            section += 1;
        }
        let heading = self.sections[section].heading.clone();
        chunks.push(Chunk { pieces: vec![piece], text: text.to_owned(), tokens, heading });
    }
}

/// Position of the section that holds a byte.
fn section_at(sections: &[Section], byte: usize) -> usize {
    sections.partition_point(|section| section.start <= byte).saturating_sub(1)
}
