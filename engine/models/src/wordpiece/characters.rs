//! Classes of characters, as the BERT tokenizer of Hugging Face sees them.
//!
//! Its tables are older than the newest Unicode, and models were trained with it: so its answers are kept, character by
//! character, and do not change with a library. `tests/oracle/wordpiece_characters.py` asks it for them.

mod tables;

use std::sync::LazyLock;

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

/// Characters of a page.
const PAGE: usize = 256;

/// Classes by character: pages, of which many are equal.
struct Classes {
    /// Of each page of code points, where it stands in `pages`.
    page_idx: Vec<u16>,
    pages: Vec<[u8; PAGE]>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    let mut flags = vec![0_u8; char::MAX as usize + 1];
    let lists: [(&[u32], u8); 5] = [
        (&tables::REMOVED, REMOVED),
        (&tables::SPACES, SPACE),
        (&tables::IDEOGRAPHS, IDEOGRAPH),
        (&tables::MARKS, MARK),
        (&tables::PUNCTUATION, PUNCTUATION),
    ];
    for (borders, flag) in lists {
        for [begin, end] in borders.as_chunks::<2>().0 {
            flags[*begin as usize..*end as usize].iter_mut().for_each(|flags| *flags |= flag);
        }
    }
    let mut classes = Classes { page_idx: Vec::new(), pages: Vec::new() };
    for page in flags.as_chunks::<PAGE>().0 {
        let known = classes.pages.iter().position(|known| known == page);
        let idx = known.unwrap_or_else(|| {
            classes.pages.push(*page);
            classes.pages.len() - 1
        });
        classes.page_idx.push(idx as u16);
    }
    classes
});

/// The classes of a character, as flags. Cost: two loads; the first call takes a millisecond.
#[inline]
pub(super) fn classes(character: char) -> u8 {
    let code = character as usize;
    let classes = &*CLASSES;
    classes.pages[usize::from(classes.page_idx[code / PAGE])][code % PAGE]
}
