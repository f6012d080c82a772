//! Classes of characters, as the BERT tokenizer of Hugging Face sees them.
//!
//! Its tables are older than the newest Unicode, and models were trained with it: so its answers are kept, character by
//! character, and do not change with a library. `tests/oracle/wordpiece_characters.py` asks it for them.

mod tables;

use std::sync::LazyLock;

use crate::characters::CharacterTable;

/// Taken out of the text.
pub(super) const REMOVED: u8 = 1;
/// Ends a word.
pub(super) const SPACE: u8 = 2;
/// A word of its own, where ideographs are split.
pub(super) const IDEOGRAPH: u8 = 4;
/// Taken out where accents are stripped.
pub(super) const MARK: u8 = 8;
/// A word of its own.
pub(super) const PUNCTUATION: u8 = 16;

static CLASSES: LazyLock<CharacterTable<u8>> = LazyLock::new(|| {
    let lists: [(&[u32], u8); 5] = [
        (&tables::REMOVED, REMOVED),
        (&tables::SPACES, SPACE),
        (&tables::IDEOGRAPHS, IDEOGRAPH),
        (&tables::MARKS, MARK),
        (&tables::PUNCTUATION, PUNCTUATION),
    ];
    CharacterTable::new(0, &lists, |flags, flag| *flags |= flag)
});

/// The classes of a character, as flags. Cost: two loads; the first call takes a millisecond.
#[inline]
pub(super) fn classes(character: char) -> u8 {
    CLASSES.of(character as usize)
}
