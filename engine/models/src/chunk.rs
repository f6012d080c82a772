//! Chunks: where is a long text cut for an index?
//!
//! ```text
//!  text ─ markdown::blocks ─▶ leaves under heading paths ─ split ─▶ atoms, none above `max` but kept code and tables
//!                                                            └─ pack ─▶ chunks: runs of atoms, with overlap
//! ```
//! Every chunk is one contiguous byte range of the input, so its text is the input's bytes and nothing else; overlap
//! is the same range begun earlier. Together the chunks hold every byte that is not blank. It knows nothing of rows,
//! keys or embeddings.
//!
//! # Decisions
//! `by = paragraph` makes a chunk of every paragraph, list or other outermost block (headings go with what follows
//! them), and `min` is what joins small ones; filling chunks up to `max` is done only inside a piece that is too
//! large. A chunk's text is never prefixed by its heading path: the path is a column, and bytes of a chunk always
//! have a source. `fixed` knows no pieces: windows of `max` tokens run across headings.

mod pack;
mod split;

use crate::markdown::{BlockKind, blocks};
use crate::spans::Piece;
use crate::tokenize::Tokenizer;
use pack::Packer;
use split::Splitter;
use std::ops::Range;

/// Where a new chunk begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// At every heading.
    Heading,
    /// At every outermost block: paragraph, list, table, fence.
    Paragraph,
    /// At every sentence.
    Sentence,
    /// After every `max_tokens` tokens.
    Fixed,
}

/// How a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOptions {
    /// Where a new chunk begins.
    pub by: By,
    /// Most tokens of a chunk; 0 counts as 1.
    pub max_tokens: u64,
    /// A chunk with fewer tokens joins its predecessor under the same heading, if both fit into `max_tokens`.
    pub min_tokens: u64,
    /// A chunk begins with the last whole sentences of its predecessor under the same heading, up to this many tokens
    /// and to `max_tokens` together. Below `max_tokens`.
    pub overlap_tokens: u64,
    /// Never cut inside fenced code: a larger block becomes a chunk of its own.
    pub keep_code: bool,
    /// Never cut inside a table.
    pub keep_tables: bool,
    /// `heading` is the path of headings joined by ` > `, or else the nearest one alone.
    pub breadcrumbs: bool,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where its bytes stand in the input: one piece at 0.
    pub pieces: Vec<Piece>,
    /// Its bytes, without blanks around.
    pub text: String,
    /// Tokens of `text`; above `max_tokens` only for one kept block.
    pub tokens: u64,
    /// Headings above its first byte that is neither overlap nor heading; `None` before the first heading.
    pub heading: Option<String>,
}

/// Cuts a text. Empty and blank texts give none. Cost: parsing the blocks and locating the tokens, once each.
///
/// # Panics
/// With a text of 4 GiB or more; callers bound texts where they enter.
pub fn chunk(text: &str, options: &ChunkOptions, tokenizer: &dyn Tokenizer) -> Vec<Chunk> {
    assert!(u32::try_from(text.len()).is_ok(), "texts are shorter than 4 GiB");
    let outline = Outline::of(text, options);
    if outline.leaves.is_empty() {
        return Vec::new();
    }
    let tokens = TokenIndex::of(text, tokenizer);
    let splitter = Splitter::new(text, options, &tokens);
    let mut packer = Packer::new(text, options, tokenizer, &tokens, &splitter, &outline.sections);
    match options.by {
        By::Heading => {
            for section in outline.leaves.chunk_by(|one, other| one.section == other.section) {
                packer.piece(section);
            }
        }
        By::Paragraph => {
            for piece in outline.pieces() {
                packer.piece(piece);
            }
        }
        By::Sentence => {
            for piece in outline.pieces() {
                packer.sentences(piece);
            }
        }
        By::Fixed => packer.windows(&outline.leaves),
    }
    packer.finish()
}

/// A block, as far as cutting is concerned.
#[derive(Debug, Clone)]
struct Leaf {
    range: Range<usize>,
    cut: Cut,
    /// Position in [`Outline::sections`].
    section: usize,
    group: u32,
    /// Level of a heading; 0 for what is none.
    level: u8,
}

impl Leaf {
    fn is_heading(&self) -> bool {
        self.level > 0
    }
}

/// How a leaf that is too large is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Not at all.
    Never,
    /// At lines: code and tables.
    Lines,
    /// At sentences.
    Sentences,
}

/// What stands under one heading.
struct Section {
    start: usize,
    heading: Option<String>,
    /// False if the next heading follows at once.
    has_body: bool,
}

/// Leaves and the headings above them.
struct Outline {
    leaves: Vec<Leaf>,
    sections: Vec<Section>,
}

impl Outline {
    fn of(text: &str, options: &ChunkOptions) -> Self {
        let mut sections = vec![Section { start: 0, heading: None, has_body: false }];
        let mut path: Vec<(u8, String)> = Vec::new();
        let mut leaves = Vec::new();
        for block in blocks(text) {
            let (cut, level) = match block.kind {
                BlockKind::Code if options.keep_code => (Cut::Never, 0),
                BlockKind::Table if options.keep_tables => (Cut::Never, 0),
                BlockKind::Code | BlockKind::Table => (Cut::Lines, 0),
                BlockKind::Heading { level, text } => {
                    path.retain(|(above, _)| *above < level);
                    path.push((level, text));
                    let heading = heading_of(&path, options.breadcrumbs);
                    sections.push(Section { start: block.range.start, heading, has_body: false });
                    (Cut::Sentences, level)
                }
                BlockKind::Item | BlockKind::Paragraph | BlockKind::Other => (Cut::Sentences, 0),
            };
            let section = sections.len() - 1;
            sections[section].has_body |= level == 0;
            leaves.push(Leaf { range: block.range, cut, section, group: block.group, level });
        }
        Self { leaves, sections }
    }

    /// Runs of leaves of one outermost block. A heading goes with what follows it, and with a deeper heading that
    /// follows at once: the path of the whole is then that of its last heading.
    fn pieces(&self) -> impl Iterator<Item = &[Leaf]> {
        self.leaves.chunk_by(|one, other| match (one.is_heading(), other.is_heading()) {
            (true, true) => other.level > one.level,
            (true, false) => true,
            (false, true) => false,
            (false, false) => one.group == other.group,
        })
    }
}

/// The path, or the nearest heading; empty ones are left out.
fn heading_of(path: &[(u8, String)], breadcrumbs: bool) -> Option<String> {
    let mut texts = path.iter().map(|(_, text)| text.as_str()).filter(|text| !text.is_empty());
    if !breadcrumbs {
        return texts.next_back().map(str::to_owned);
    }
    let joined = texts.collect::<Vec<_>>().join(" > ");
    (!joined.is_empty()).then_some(joined)
}

/// Tokens of the whole text, so that the tokens of a range are a difference of two positions.
struct TokenIndex {
    bounds: Vec<(u32, u32)>,
}

impl TokenIndex {
    fn of(text: &str, tokenizer: &dyn Tokenizer) -> Self {
        let mut bounds = Vec::new();
        tokenizer.boundaries(text, &mut bounds);
        Self { bounds }
    }

    /// Number of the first token that ends after a byte.
    fn first_after(&self, byte: usize) -> usize {
        self.bounds.partition_point(|(_, end)| *end as usize <= byte)
    }

    /// Number of tokens that begin before a byte.
    fn count_before(&self, byte: usize) -> usize {
        self.bounds.partition_point(|(start, _)| (*start as usize) < byte)
    }

    /// Tokens that share a byte with the range; 0 for an empty one.
    fn count(&self, range: &Range<usize>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        self.count_before(range.end).saturating_sub(self.first_after(range.start)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::WordPunct;

    fn options(by: By, max_tokens: u64) -> ChunkOptions {
        ChunkOptions {
            by,
            max_tokens,
            min_tokens: 0,
            overlap_tokens: 0,
            keep_code: true,
            keep_tables: true,
            breadcrumbs: true,
        }
    }

    fn texts(text: &str, options: &ChunkOptions) -> Vec<String> {
        chunk(text, options, &WordPunct).into_iter().map(|chunk| chunk.text).collect()
    }

    const PAGE: &str =
        "Intro here.\n\n# One\n\nFirst par.\n\nSecond par.\n\n## Two\n\n- a b\n- c d\n\nEnd.\n\n# Three\n";

    #[test]
    fn headings_begin_chunks_and_name_them() {
        let chunks = chunk(PAGE, &options(By::Heading, 100), &WordPunct);
        let found: Vec<(Option<&str>, &str)> =
            chunks.iter().map(|chunk| (chunk.heading.as_deref(), chunk.text.as_str())).collect();
        assert_eq!(
            found,
            [
                (None, "Intro here."),
                (Some("One"), "# One\n\nFirst par.\n\nSecond par."),
                (Some("One > Two"), "## Two\n\n- a b\n- c d\n\nEnd."),
                (Some("Three"), "# Three"),
            ]
        );
        let plain = ChunkOptions { breadcrumbs: false, ..options(By::Heading, 100) };
        assert_eq!(chunk(PAGE, &plain, &WordPunct)[2].heading.as_deref(), Some("Two"));
    }

    #[test]
    fn paragraphs_take_their_heading_along() {
        assert_eq!(
            texts(PAGE, &options(By::Paragraph, 100)),
            [
                "Intro here.",
                "# One\n\nFirst par.",
                "Second par.",
                "## Two\n\n- a b\n- c d",
                "End.",
                "# Three",
            ]
        );
    }

    #[test]
    fn headings_in_a_row_go_down_together() {
        let text = "# A\n\n## B\n\ntext\n\n# C\n\n# D\n\nmore";
        for breadcrumbs in [true, false] {
            let options = ChunkOptions { breadcrumbs, ..options(By::Paragraph, 100) };
            let chunks = chunk(text, &options, &WordPunct);
            let found: Vec<&str> = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
            assert_eq!(found, ["# A\n\n## B\n\ntext", "# C", "# D\n\nmore"]);
            let path = if breadcrumbs { "A > B" } else { "B" };
            assert_eq!(chunks[0].heading.as_deref(), Some(path));
        }
    }

    #[test]
    fn small_chunks_join_under_the_same_heading_while_they_fit() {
        let joined = ChunkOptions { min_tokens: 4, ..options(By::Paragraph, 100) };
        assert_eq!(
            texts(PAGE, &joined),
            [
                "Intro here.",
                "# One\n\nFirst par.\n\nSecond par.",
                "## Two\n\n- a b\n- c d\n\nEnd.",
                "# Three",
            ]
        );
        let tight = ChunkOptions { min_tokens: 4, ..options(By::Paragraph, 7) };
        assert_eq!(texts("A b c d.\n\nE f g.\n\nH i.", &tight), ["A b c d.", "E f g.\n\nH i."]);
    }

    #[test]
    fn large_pieces_are_cut_by_paragraph_then_sentence_then_token() {
        let text = "# H\n\nOne two. Three four.\n\nFive six seven eight nine ten.\n\nEleven.";
        assert_eq!(
            texts(text, &options(By::Heading, 8)),
            ["# H\n\nOne two. Three four.", "Five six seven eight nine ten.", "Eleven."]
        );
        assert_eq!(
            texts(text, &options(By::Heading, 5)),
            ["# H\n\nOne two.", "Three four.", "Five six seven eight nine", "ten.\n\nEleven."]
        );
    }

    #[test]
    fn overlap_repeats_whole_sentences_under_the_same_heading() {
        let text = "One a. Two b. Three c.\n\nFour d.\n\n# H\n\nFive e. Six f.\n\nSeven g.";
        let overlap = ChunkOptions { overlap_tokens: 4, ..options(By::Paragraph, 20) };
        assert_eq!(
            texts(text, &overlap),
            ["One a. Two b. Three c.", "Three c.\n\nFour d.", "# H\n\nFive e. Six f.", "Six f.\n\nSeven g."]
        );
        let wide = ChunkOptions { overlap_tokens: 6, ..options(By::Sentence, 9) };
        assert_eq!(
            texts("One a. Two b. Three c. Four d.", &wide),
            ["One a.", "One a. Two b.", "One a. Two b. Three c.", "Two b. Three c. Four d."]
        );
    }

    #[test]
    fn kept_blocks_are_never_cut() {
        let code = "```\nlet a = 1;\nlet b = 2;\n```";
        let text = format!("Before it.\n\n{code}\n\nAfter it.");
        for by in [By::Heading, By::Paragraph, By::Sentence, By::Fixed] {
            let found = chunk(&text, &options(by, 6), &WordPunct);
            let parts: Vec<&str> = found.iter().map(|chunk| chunk.text.as_str()).collect();
            assert_eq!(parts, ["Before it.", code, "After it."], "{by:?}");
            assert_eq!(found[1].tokens, 16);
            let cut = ChunkOptions { keep_code: false, ..options(by, 8) };
            assert!(chunk(&text, &cut, &WordPunct).iter().all(|chunk| chunk.tokens <= 8), "{by:?}");
        }
    }

    #[test]
    fn windows_are_exactly_full() {
        let text: String = (0..25).map(|idx| format!("w{idx} ")).collect();
        let sizes: Vec<u64> =
            chunk(&text, &options(By::Fixed, 10), &WordPunct).iter().map(|chunk| chunk.tokens).collect();
        assert_eq!(sizes, [10, 10, 5]);
    }

    #[test]
    fn blank_texts_have_no_chunks() {
        for text in ["", " \n\t\n", "\r\n\r\n"] {
            assert_eq!(chunk(text, &options(By::Paragraph, 10), &WordPunct), []);
        }
    }
}
