//! The block structure of a Markdown text, as byte ranges of the source.
//!
//! ```text
//!  source ── front_matter ──▶ (key, value) pairs, where the body begins
//!     └───── blocks ────────▶ Heading | Code | Table | Item | Paragraph | Other, in order, disjoint, whole lines
//! ```
//! Parsing is `pulldown-cmark`'s; this module turns its events into a flat list of leaves. Containers (lists, quotes)
//! appear only as the group that their leaves share. Every byte that is not blank is in exactly one block, so that
//! whoever cuts a text by blocks loses nothing. Plain text is Markdown that has paragraphs only. It knows nothing of
//! tokens and does not interpret inline markup, except to read the text of a heading.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, OffsetIter, Options, Parser, Tag, TagEnd};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockKind {
    /// An ATX or setext heading: level 1 to 6, and its text without markup.
    Heading {
        /// 1 to 6.
        level: u8,
        /// Text without markup; inner line breaks are one blank. May be empty.
        text: String,
    },
    /// A fenced code block with its fences. Indented code is a paragraph, since plain text indents freely.
    Code,
    /// A table with its header.
    Table,
    /// A list item, or a further paragraph of one; nested items are blocks of their own.
    Item,
    /// A paragraph, indented code, or any text that Markdown gives no other name.
    Paragraph,
    /// HTML, a rule, a link definition, front matter.
    Other,
}

/// A leaf of the block structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Bytes of the source: from the start of a line to the end of the block's last line that is not blank, without
    /// the line end.
    pub range: Range<usize>,
    /// Number of the outermost block that it belongs to: all leaves of one list or one quote share it. Ascending.
    pub group: u32,
}

/// Front matter: what stands between `---` lines at the top of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontMatter {
    /// `key: value` lines. Values are trimmed and lose one pair of quotes; lines that go on a value (indented, or
    /// items of a list) are appended after a line feed. The last value of a repeated key counts.
    pub entries: BTreeMap<String, String>,
    /// Byte at which the body begins; 0 without front matter.
    pub body_start: usize,
}

/// Reads YAML front matter of the form `key: value`. A text has none unless its first line is `---`, a later line is
/// `---` or `...`, and at least one line between is a pair. Cost: one pass over the front matter, or over the text if
/// the closing line is missing.
pub fn front_matter(text: &str) -> FrontMatter {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_start_matches('\u{feff}').trim_end() == "---")
    else {
        return FrontMatter::default();
    };
    let mut matter = FrontMatter { entries: BTreeMap::new(), body_start: first.len() };
    let mut key: Option<String> = None;
    for line in lines {
        matter.body_start += line.len();
        let content = line.trim_end();
        if content == "---" || content == "..." {
            let closed = !matter.entries.is_empty();
            return if closed { matter } else { FrontMatter::default() };
        }
        let trimmed = content.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let continues = trimmed.len() < content.len() || trimmed.starts_with("- ") || trimmed == "-";
        match (continues, key.as_ref(), content.split_once(':')) {
            (true, Some(key), _) => {
                let value = matter.entries.entry(key.clone()).or_default();
                if !value.is_empty() {
                    value.push('\n');
                }
                value.push_str(trimmed);
            }
            (false, _, Some((name, value))) if !name.trim().is_empty() => {
                let name = unquoted(name.trim()).to_owned();
                matter.entries.insert(name.clone(), unquoted(value.trim()).to_owned());
                key = Some(name);
            }
            // A line that is no pair: this is a rule and a text, not front matter.
            _ => return FrontMatter::default(),
        }
    }
    FrontMatter::default()
}

/// The value without one pair of equal quotes around it.
fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)))
        .unwrap_or(value)
}

/// Text of the first heading that is not empty, front matter left aside; `None` if there is none. Cost: as [`blocks`].
pub fn title(text: &str) -> Option<String> {
    let body = front_matter(text).body_start;
    let mut events = events(&text[body..]);
    while let Some((event, _)) = events.next() {
        if let Event::Start(Tag::Heading { .. }) = event {
            let text = heading_text(&mut events).0;
            if !text.is_empty() {
                return Some(text);
            }
        }
    }
    None
}

/// Leaves of the block structure, in order of the source. Blank text has none. Any UTF-8 is Markdown, so nothing
/// fails. Cost: linear for real texts; memory about the size of the source while parsing.
pub fn blocks(text: &str) -> Vec<Block> {
    let body = front_matter(text).body_start;
    let mut tiles = Tiles { text, blocks: Vec::new(), group: 0 };
    if body > 0 {
        tiles.push(BlockKind::Other, 0..body);
        tiles.group += 1;
    }
    let marks = marks(&text[body..], body);
    let mut reached = body;
    for (idx, mark) in marks.iter().enumerate() {
        let start = line_start(text, mark.range.start).max(reached);
        let next =
            marks.get(idx + 1).map_or(text.len(), |next| line_start(text, next.range.start)).max(start);
        tiles.push(BlockKind::Paragraph, reached..start);
        // A block ends at its last line, or where the next one (its child, for an item) begins.
        let end = line_end(text, mark.range.end.clamp(start, text.len())).min(next);
        if tiles.group != mark.group {
            tiles.group = mark.group;
        }
        tiles.push(mark.kind.clone(), start..end);
        reached = end.max(start);
    }
    tiles.push(BlockKind::Paragraph, reached..text.len());
    tiles.blocks
}

/// Where a leaf was seen by the parser.
struct Mark {
    kind: BlockKind,
    range: Range<usize>,
    group: u32,
}

fn events(body: &str) -> OffsetIter<'_> {
    Parser::new_ext(body, Options::ENABLE_TABLES).into_offset_iter()
}

/// Leaves in order of their starts; ranges are shifted by `base`.
fn marks(body: &str, base: usize) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut depth = 0usize;
    let mut item_depth = 0usize;
    let mut group = 0;
    let mut events = events(body);
    while let Some((event, range)) = events.next() {
        let mut range = range.start + base..range.end + base;
        let outermost = depth == 0;
        let kind = match event {
            Event::Start(tag) if is_block(&tag) => {
                group += u32::from(outermost);
                depth += 1;
                item_depth += usize::from(matches!(tag, Tag::Item));
                match tag {
                    Tag::Heading { level, .. } => {
                        let (text, end) = heading_text(&mut events);
                        depth -= 1;
                        range.end = range.end.max(end + base);
                        Some(BlockKind::Heading { level: level_number(level), text })
                    }
                    Tag::CodeBlock(CodeBlockKind::Fenced(_)) => Some(BlockKind::Code),
                    Tag::Table(_) => Some(BlockKind::Table),
                    Tag::HtmlBlock => Some(BlockKind::Other),
                    Tag::Item => Some(BlockKind::Item),
                    Tag::Paragraph | Tag::CodeBlock(_) if item_depth > 0 => Some(BlockKind::Item),
                    Tag::Paragraph | Tag::CodeBlock(_) => Some(BlockKind::Paragraph),
                    _ => None,
                }
            }
            Event::End(tag) if is_block_end(&tag) => {
                depth = depth.saturating_sub(1);
                item_depth -= usize::from(matches!(tag, TagEnd::Item));
                None
            }
            Event::Rule => {
                group += u32::from(outermost);
                Some(BlockKind::Other)
            }
            _ => None,
        };
        let Some(kind) = kind else { continue };
        // The first paragraph of an item stands on the item's own line: one block.
        if let Some(last) = marks.last()
            && last.kind == BlockKind::Item
            && !body[last.range.start - base..range.start.max(last.range.start) - base].contains('\n')
        {
            let last = marks.last_mut().expect("invariant: just seen");
            if kind != BlockKind::Item {
                last.kind = kind;
            }
            last.range.end = last.range.end.max(range.end);
            continue;
        }
        marks.push(Mark { kind, range, group });
    }
    marks
}

/// True for the tags that [`marks`] counts as open blocks.
fn is_block(tag: &Tag<'_>) -> bool {
    is_block_end(&tag.to_end())
}

fn is_block_end(tag: &TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::CodeBlock
            | TagEnd::HtmlBlock
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::Table
    )
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// Consumes a heading up to its end; its text, and the end of its range.
fn heading_text(events: &mut OffsetIter<'_>) -> (String, usize) {
    let mut text = String::new();
    let mut end = 0;
    for (event, range) in events.by_ref() {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            Event::End(TagEnd::Heading(_)) => {
                end = range.end;
                break;
            }
            _ => {}
        }
    }
    (text.trim().to_owned(), end)
}

/// Collects blocks and trims their blank lines.
struct Tiles<'a> {
    text: &'a str,
    blocks: Vec<Block>,
    group: u32,
}

impl Tiles<'_> {
    fn push(&mut self, kind: BlockKind, range: Range<usize>) {
        let part = &self.text[range.clone()];
        let kept = part.trim_end();
        if kept.trim_start().is_empty() {
            return;
        }
        // Blank lines before the first line go; its indent stays.
        let lead = part.len() - part.trim_start().len();
        let skip = part[..lead].rfind('\n').map_or(0, |idx| idx + 1);
        let range = range.start + skip..range.start + kept.len();
        self.blocks.push(Block { kind, range, group: self.group });
    }
}

/// Start of the line that holds a byte.
fn line_start(text: &str, idx: usize) -> usize {
    memchr::memrchr(b'\n', &text.as_bytes()[..idx]).map_or(0, |found| found + 1)
}

/// End of the line that holds the last byte before `idx`, past its line feed.
fn line_end(text: &str, idx: usize) -> usize {
    if idx > 0 && text.as_bytes()[idx - 1] == b'\n' {
        return idx;
    }
    memchr::memchr(b'\n', &text.as_bytes()[idx..]).map_or(text.len(), |found| idx + found + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(String, &str)> {
        let name = |kind: &BlockKind| match kind {
            BlockKind::Heading { level, text } => format!("h{level} {text}"),
            other => format!("{other:?}").to_lowercase(),
        };
        blocks(text).iter().map(|block| (name(&block.kind), &text[block.range.clone()])).collect()
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(String, &str)> =
            expected.iter().map(|(kind, part)| ((*kind).to_owned(), *part)).collect();
        assert_eq!(kinds(text), expected, "{text:?}");
    }

    #[test]
    fn headings_of_both_kinds() {
        check(
            "# A `b` *c* #\ntext\n\nTwo\nlines\n===\n\n###\n",
            &[
                ("h1 A b c", "# A `b` *c* #"),
                ("paragraph", "text"),
                ("h1 Two lines", "Two\nlines\n==="),
                ("h3 ", "###"),
            ],
        );
    }

    #[test]
    fn code_tables_html_and_rules() {
        check(
            "```rust\n# no heading\n\nlet x;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<div>\nx\n</div>\n\n---\nend",
            &[
                ("code", "```rust\n# no heading\n\nlet x;\n```"),
                ("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
                ("other", "<div>\nx\n</div>"),
                ("other", "---"),
                ("paragraph", "end"),
            ],
        );
        check("~~~\nnever closed\n\n# x\n", &[("code", "~~~\nnever closed\n\n# x")]);
    }

    #[test]
    fn items_are_leaves_and_share_the_group_of_their_list() {
        let text = "before\n\n- one\n  goes on\n- two\n  - nested\n\n  ```\n  code\n  ```\n- three\n\n  more\n\nafter\n";
        check(
            text,
            &[
                ("paragraph", "before"),
                ("item", "- one\n  goes on"),
                ("item", "- two"),
                ("item", "  - nested"),
                ("code", "  ```\n  code\n  ```"),
                ("item", "- three"),
                ("item", "  more"),
                ("paragraph", "after"),
            ],
        );
        let groups: Vec<u32> = blocks(text).iter().map(|block| block.group).collect();
        assert_eq!(groups, [1, 2, 2, 2, 2, 2, 2, 3]);
    }

    #[test]
    fn quotes_definitions_and_line_ends_lose_nothing() {
        check(
            "> quoted\n> more\n>\n> last\n\n[a]: http://x\n\n[a]\r\n\r\nend\r\n",
            &[
                ("paragraph", "> quoted\n> more"),
                ("paragraph", ">"),
                ("paragraph", "> last"),
                ("paragraph", "[a]: http://x"),
                ("paragraph", "[a]"),
                ("paragraph", "end"),
            ],
        );
    }

    #[test]
    fn front_matter_needs_pairs_and_a_close() {
        let text = "---\ntitle: \"A: b\"\ntags:\n  - x\n  - y\n# note\nempty:\n---\n# Head\n";
        let matter = front_matter(text);
        let entries: Vec<(&str, &str)> =
            matter.entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(entries, [("empty", ""), ("tags", "- x\n- y"), ("title", "A: b")]);
        assert_eq!(&text[matter.body_start..], "# Head\n");
        assert_eq!(title(text).as_deref(), Some("Head"));
        assert_eq!(blocks(text)[0].kind, BlockKind::Other);
        for none in [
            "",
            "---",
            "---\na: b\n",
            "---\nno pair\n---\n",
            "---\n---\n",
            " ---\na: b\n---\n",
            "a: b\n---\n",
        ] {
            assert_eq!(front_matter(none), FrontMatter::default(), "{none:?}");
        }
    }

    #[test]
    fn title_is_the_first_heading_with_text() {
        assert_eq!(title("text\n\n#\n\nReal\n---\n# Later").as_deref(), Some("Real"));
        assert_eq!(title("- # In a list\n").as_deref(), Some("In a list"));
        assert_eq!(title("no heading"), None);
        assert_eq!(title(""), None);
    }
}
