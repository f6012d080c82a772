//! The built-in tokenizer against the regular expression that defines it.

use promptc_models::tokenize::{Tokenizer, WordPunct};
use proptest::prelude::*;
use std::sync::OnceLock;

fn by_regex(text: &str) -> Vec<(u32, u32)> {
    // `\w` and `\s` as Python's `re` has them, spelled out: letters, numbers, underscore; white space and U+001C..U+001F.
    static PATTERN: OnceLock<regex::Regex> = OnceLock::new();
    let pattern =
        PATTERN.get_or_init(|| regex::Regex::new(r"[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s\x1c-\x1f]").unwrap());
    pattern.find_iter(text).map(|found| (found.start() as u32, found.end() as u32)).collect()
}

fn check(text: &str) {
    let mut found = Vec::new();
    WordPunct.boundaries(text, &mut found);
    assert_eq!(found, by_regex(text), "{text:?}");
    assert_eq!(WordPunct.count(text), found.len() as u64, "{text:?}");
}

proptest! {
    #[test]
    fn agrees_with_the_regex_on_any_text(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn agrees_with_the_regex_on_mixed_text(text in "([a-zA-Z0-9_]{0,12}[ .,;\n\t\u{1c}\u{a0}é東²½٣ऄ\u{301}\u{200d}😀—]{0,2}){0,60}") {
        check(&text);
    }
}

#[test]
fn every_character_has_the_class_of_the_regex() {
    let mut text = String::new();
    for page in 0..0x1100u32 {
        text.clear();
        for character in (page << 8..(page + 1) << 8).filter_map(char::from_u32) {
            text.push('!');
            text.push(character);
        }
        check(&text);
    }
}
