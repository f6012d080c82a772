//! Structural cleaning: bytes that carry no content go, everything else stays in place.
//!
//! ```text
//! text -> comments -> blocks (badges, definitions, repeated headers) -> links -> blanks -> text'
//!           ^-------------------- again while one of the first three removed something -----'
//! ```
//!
//! Each pass reads lines and returns the byte ranges that stay; ranges compose to one map. Outside code fences only;
//! inside a fence nothing changes except trailing blanks. Cleaning a clean text changes nothing. Nothing is parsed
//! into a tree: passes look for a few byte patterns, so that most text is only scanned and copied.

mod blanks;
mod blocks;
mod comments;
mod links;

use super::units::{self, is_blank};
use crate::spans::{self, Piece};

/// Removing one thing may uncover another (a comment inside a comment's remains); each round of passes removes at
/// least a byte. Texts that need more rounds than this are made to need them, and keep what is left.
const ROUNDS_MAX: usize = 64;

/// What happens to the targets of inline links and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// They stay.
    #[default]
    Keep,
    /// Their text stays; they move to a list of their own.
    Side,
    /// Their text stays; they go.
    Drop,
}

/// A cleaned text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean {
    /// The text.
    pub text: String,
    /// Map to the input: everything in the text comes from there.
    pub pieces: Vec<Piece>,
    /// Link targets moved aside, with the output byte at which their text stands.
    pub links: Vec<(u32, String)>,
}

/// Cleans a Markdown or plain text. Cost: two passes and a copy for text without removable parts.
pub fn clean(text: &str, links: Links) -> Clean {
    let mut state = State { clean: None, links: Vec::new() };
    for _ in 0..ROUNDS_MAX {
        let mut removed = state.apply(text, comments::kept);
        removed |= state.apply(text, blocks::kept);
        if links != Links::Keep {
            let found = links::find(state.current(text));
            if let Some(found) = found {
                state.links.extend(found.targets);
                state.links.sort_by_key(|link| link.0);
                state.replace(text, &found.pieces);
                removed = true;
            }
        }
        state.apply(text, blanks::kept);
        if !removed {
            break;
        }
    }
    if links != Links::Side {
        state.links.clear();
    }
    let (text, pieces) = state.clean.unwrap_or_else(|| (text.to_owned(), spans::identity_pieces(text)));
    Clean { text, pieces, links: state.links }
}

/// The text between passes; `None` while it is the input itself.
struct State {
    clean: Option<(String, Vec<Piece>)>,
    links: Vec<(u32, String)>,
}

impl State {
    fn current<'a>(&'a self, input: &'a str) -> &'a str {
        self.clean.as_ref().map_or(input, |(text, _)| text)
    }

    /// Runs a pass; true if it removed something.
    fn apply(&mut self, input: &str, pass: impl Fn(&str) -> Option<Vec<Piece>>) -> bool {
        let Some(pieces) = pass(self.current(input)) else { return false };
        self.replace(input, &pieces);
        true
    }

    fn replace(&mut self, input: &str, pieces: &[Piece]) {
        let text = spans::copy_pieces(self.current(input), pieces);
        let map = match &self.clean {
            Some((_, outer)) => spans::compose_pieces(outer, pieces),
            None => pieces.to_vec(),
        };
        for (at, _) in &mut self.links {
            *at = forward(pieces, *at);
        }
        self.clean = Some((text, map));
    }
}

/// Where input byte `at` stands after a pass; a removed byte stands where the next kept one does.
fn forward(pieces: &[Piece], at: u32) -> u32 {
    let next = pieces.partition_point(|piece| piece.end <= at);
    match pieces.get(next) {
        Some(piece) => piece.at + at.saturating_sub(piece.start),
        None => pieces.last().map_or(0, |piece| piece.at + (piece.end - piece.start)),
    }
}

/// Collects the ranges that stay, given those that go, in order.
struct Cutter {
    pieces: Vec<Piece>,
    from: usize,
    at: u32,
}

impl Cutter {
    fn new() -> Self {
        Self { pieces: Vec::new(), from: 0, at: 0 }
    }

    /// Removes `[start, end)`; both at or after the end of the last removal.
    fn remove(&mut self, start: usize, end: usize) {
        if start >= end {
            return;
        }
        self.keep_until(start);
        self.from = end;
    }

    fn keep_until(&mut self, end: usize) {
        if self.from < end {
            self.pieces.push(Piece { start: self.from as u32, end: end as u32, at: self.at });
            self.at += (end - self.from) as u32;
        }
    }

    /// The ranges that stay, or `None` if nothing was removed.
    fn finish(mut self, len: usize) -> Option<Vec<Piece>> {
        if self.from == 0 {
            return None;
        }
        self.keep_until(len);
        Some(self.pieces)
    }
}

/// Knows, line by line, what lies in a code fence.
struct Fences {
    open: Option<Fence>,
    /// False if the text has no fence at all.
    present: bool,
}

#[derive(Clone, Copy)]
struct Fence {
    mark: (u8, usize),
    /// Opened in a block quote, which ends with the first line without `>`.
    quoted: bool,
}

impl Fences {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let present =
            memchr::memmem::find(bytes, b"```").is_some() || memchr::memmem::find(bytes, b"~~~").is_some();
        Self { open: None, present }
    }

    /// Takes the next line; true if it belongs to a fence, its delimiters included.
    fn step(&mut self, line: &str) -> bool {
        if !self.present {
            return false;
        }
        if let Some(fence) = self.open {
            let trimmed = line.trim();
            if fence.quoted && !trimmed.starts_with('>') {
                self.open = None;
            } else {
                let inner = if fence.quoted { trimmed.trim_start_matches(['>', ' ', '\t']) } else { trimmed };
                if units::fence_close(inner, fence.mark) {
                    self.open = None;
                }
                return true;
            }
        }
        let first = line.bytes().position(|byte| !is_blank(byte)).unwrap_or(line.len());
        if !matches!(line.as_bytes().get(first), Some(b'`' | b'~' | b'>' | b'-' | b'*' | b'+' | b'0'..=b'9'))
        {
            return false;
        }
        let mut inner = line[first..].trim_end();
        let quoted = inner.starts_with('>');
        if quoted {
            inner = inner.trim_start_matches(['>', ' ', '\t']);
        }
        while !inner.is_empty() && units::is_list_item(inner) {
            let marker = inner.find([' ', '\t']).unwrap_or(inner.len());
            inner = inner[marker..].trim_start_matches([' ', '\t']);
        }
        self.open = units::fence_open(inner).map(|mark| Fence { mark, quoted });
        self.open.is_some()
    }
}

/// The end of the line that begins at or contains `start`, without its newline.
fn line_end(text: &str, start: usize) -> usize {
    memchr::memchr(b'\n', &text.as_bytes()[start..]).map_or(text.len(), |len| start + len)
}

/// True if only blanks (and carriage returns) are in these bytes.
fn is_blank_line(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_blank(byte) || byte == b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        let clean = clean(text, Links::Keep);
        assert_eq!(spans::copy_pieces(text, &clean.pieces), clean.text, "the map makes the text");
        assert_eq!(super::clean(&clean.text, Links::Keep).text, clean.text, "cleaning twice: {text:?}");
        clean.text
    }

    #[test]
    fn blanks_newlines_and_carriage_returns() {
        let cases = [
            ("a  b\t c \r\n\r\n\r\n\r\nd", "a b\tc\n\nd"),
            ("    code  here\n\tcode  too", "    code  here\n\tcode  too"),
            ("see `a  b` and  c", "see `a  b` and c"),
            ("```\na  b \n\n\n\nc\n```\n\n\n\nd", "```\na  b\n\n\n\nc\n```\n\nd"),
            ("> ```\n> a  b\n> ```\n> x  y", "> ```\n> a  b\n> ```\n> x y"),
            ("- ```\n  a  b\n  ```\nx  y", "- ```\n  a  b\n  ```\nx y"),
            ("", ""),
            ("\n\n\n", "\n\n"),
            ("é  ü", "é ü"),
        ];
        for (text, expected) in cases {
            assert_eq!(kept(text), expected, "{text:?}");
        }
    }

    #[test]
    fn comments_go_and_code_stays() {
        let cases = [
            ("a <!-- x --> b", "a b"),
            ("a\n<!-- x\ny -->\nb", "a\nb"),
            ("`<!-- x -->` b", "`<!-- x -->` b"),
            ("```\n<!-- x -->\n```", "```\n<!-- x -->\n```"),
            ("a <!-- open", "a <!-- open"),
            ("a <!-- x\ny --> <!-- z -->\nb", "a\nb"),
            ("a <!-- x --> <!-- z -->\n<!-- y -->\nb", "a\nb"),
            ("a <!<!-- x -->-- y --> b", "a b"),
            ("``<!-- x -->`\na  b", "```\na  b"),
        ];
        for (text, expected) in cases {
            assert_eq!(kept(text), expected, "{text:?}");
        }
    }

    #[test]
    fn badges_definitions_and_repeated_headers() {
        let cases = [
            ("# T\n[![a](b)](c) [![d](e)][f]\n\ntext", "# T\n\ntext"),
            ("[![a](b)](c) and text", "[![a](b)](c) and text"),
            ("see [x]\n\n[x]: http://a\n[y]: http://b\n", "see [x]\n\n[x]: http://a\n"),
            ("[^1]: a note\n\n[Y Z]: <b> \"t\"\n\n[y  z][]", "[^1]: a note\n\n[Y Z]: <b> \"t\"\n\n[y z][]"),
            (
                "| a | b |\n|---|---|\n| 1 | 2 |\n| a |  b |\n|---|---|\n| 3 | 4 |",
                "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
            ),
            ("\u{c}Page\nx\n\u{c}Page\ny", "\u{c}Page\nx\ny"),
            ("# A\nx\n\n#  A\ny", "# A\nx\n\ny"),
            ("# A\nx\n## B\n# A\ny", "# A\nx\n## B\n# A\ny"),
        ];
        for (text, expected) in cases {
            assert_eq!(kept(text), expected, "{text:?}");
        }
    }

    #[test]
    fn link_targets_move_aside() {
        let text = "see [the  book](http://a.b/c \"t\") and ![pic](p.png) [![x](y)](z) [ref][r] `[c](d)`";
        let clean = clean(text, Links::Side);
        assert_eq!(clean.text, "see the book and pic x [ref][r] `[c](d)`");
        let found: Vec<(&str, &str)> = clean
            .links
            .iter()
            .map(|(at, target)| (&clean.text[*at as usize..*at as usize + 1], target.as_str()))
            .collect();
        assert_eq!(found, [("t", "http://a.b/c \"t\""), ("p", "p.png"), ("x", "z"), ("x", "y")]);
        let dropped = super::clean(text, Links::Drop);
        assert_eq!((dropped.text, dropped.links.len()), (clean.text, 0));
    }
}
