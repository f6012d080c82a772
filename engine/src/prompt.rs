//! Prompts: templates rendered with the lineage of every byte, and fitted under a token budget.
//!
//! ```text
//! values of a row --render--> messages with segments --fit--> messages under the budget --join--> prompt + lineage
//! ```
//!
//! A [`Segment`](render::Segment) says where bytes come from: fixed text, a formal, or a byte range of a source document. Shrinking a
//! message maps its segments, so the lineage of the result covers it completely.

pub mod fit;
pub mod render;
pub mod value;

/// The byte at which the token with this number begins, counted by `word_punct` from 0.
#[must_use]
pub fn token_start(text: &str, token: usize) -> Option<usize> {
    let mut tokens = Vec::new();
    promptc_models::tokenize::Tokenizer::boundaries(&promptc_models::tokenize::WordPunct, text, &mut tokens);
    tokens.get(token).map(|(start, _)| *start as usize)
}
