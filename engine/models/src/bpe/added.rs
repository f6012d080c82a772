//! Tokens that are found in a text as it stands, before it is cut: the end of a text, the turns of a conversation.

use super::split::blank_before;

/// Such a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddedToken {
    pub(super) content: String,
    pub(super) id: u32,
    /// It takes the blanks before it along.
    pub(super) lstrip: bool,
    /// It is looked for behind those that are not.
    pub(super) normalized: bool,
    /// It is no part of a text.
    pub(super) special: bool,
}

/// Tokens that are looked for in one pass: of those that begin at one place the longest is found.
pub(super) struct Pass {
    /// The longest first.
    tokens: Vec<AddedToken>,
    /// Which bytes one begins with.
    starts: Box<[bool; 256]>,
}

/// A token in a text, with the blanks that it takes along.
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) id: u32,
}

impl Pass {
    pub(super) fn new(tokens: impl Iterator<Item = AddedToken>) -> Self {
        let mut tokens: Vec<AddedToken> = tokens.collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.content.len()));
        let mut starts = Box::new([false; 256]);
        for token in &tokens {
            starts[usize::from(token.content.as_bytes()[0])] = true;
        }
        Self { tokens, starts }
    }

    /// The first one at or behind `start`.
    pub(super) fn find(&self, text: &[u8], start: usize) -> Option<Found> {
        if self.tokens.is_empty() {
            return None;
        }
        let mut at = start;
        loop {
            at += text[at..].iter().position(|byte| self.starts[usize::from(*byte)])?;
            let found = self.tokens.iter().find(|token| text[at..].starts_with(token.content.as_bytes()));
            let Some(token) = found else {
                at += 1;
                continue;
            };
            let mut first = at;
            while token.lstrip
                && let Some(width) = blank_before(&text[start..first])
            {
                first -= width;
            }
            return Some(Found { start: first, end: at + token.content.len(), id: token.id });
        }
    }
}
