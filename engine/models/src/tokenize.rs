//! Tokenizers: how many tokens a text is, and where they begin and end.
//!
//! A token is a byte range of the text; ranges are in order, disjoint and on UTF-8 boundaries. Blanks may lie
//! between tokens. This module knows nothing of vocabularies or ids.

/// Counts and locates tokens. Implementations are pure: the same text has the same tokens.
pub trait Tokenizer: Send + Sync {
    /// Number of tokens in `text`; 0 for empty or blank text. Cost: one pass.
    fn count(&self, text: &str) -> u64;

    /// Appends the byte ranges `(start, end)` of the tokens of `text` to `out`, in order.
    fn boundaries(&self, text: &str, out: &mut Vec<(u32, u32)>);
}

/// The built-in tokenizer: maximal runs of word characters, or one character that is neither word nor blank
/// (`\w+|[^\w\s]`, Unicode-aware).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordPunct;

/// A word character: alphanumeric or the underscore.
fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

impl Tokenizer for WordPunct {
    fn count(&self, text: &str) -> u64 {
        let mut count = 0;
        let mut inside = false;
        for character in text.chars() {
            let word = is_word(character);
            if word && !inside || !word && !character.is_whitespace() {
                count += 1;
            }
            inside = word;
        }
        count
    }

    fn boundaries(&self, text: &str, out: &mut Vec<(u32, u32)>) {
        let mut start = None;
        for (idx, character) in text.char_indices() {
            if is_word(character) {
                start.get_or_insert(idx as u32);
                continue;
            }
            if let Some(start) = start.take() {
                out.push((start, idx as u32));
            }
            if !character.is_whitespace() {
                out.push((idx as u32, (idx + character.len_utf8()) as u32));
            }
        }
        if let Some(start) = start {
            out.push((start, text.len() as u32));
        }
    }
}
