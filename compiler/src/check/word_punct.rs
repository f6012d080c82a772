//! Token counts of the built-in tokenizer, for the static rules of prompts.
//!
//! A token is a maximal run of word characters or one character that is neither word nor blank, the classes being
//! those of Python's `\w+|[^\w\s]`. The compiler counts fixed text only, so a regular expression is fast enough; it
//! knows nothing of the tokenizer that the engine runs, and a test of the engine holds the two equal.

use std::sync::OnceLock;

use regex::Regex;

/// Number of tokens of `text`: 0 for empty or blank text. Cost: one pass.
#[must_use]
pub(crate) fn count(text: &str) -> u64 {
    static TOKEN: OnceLock<Regex> = OnceLock::new();
    let token = TOKEN.get_or_init(|| {
        // Python's `\s` also holds U+001C to U+001F, which Unicode white space does not.
        Regex::new(r"[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s\x1c-\x1f]")
            .expect("invariant: the pattern is a constant that compiles")
    });
    token.find_iter(text).count() as u64
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn words_and_single_marks_are_tokens() {
        for (text, tokens) in [
            ("", 0),
            (" \n\t", 0),
            ("Answer only from the passages.", 6),
            ("a_b1 …!", 3),
            ("naïve café", 2),
            ("e\u{301}", 2),
            ("漢字かな", 1),
            ("½ ²x", 2),
            ("a\u{1c}b", 2),
        ] {
            assert_eq!(count(text), tokens, "{text:?}");
        }
    }
}
