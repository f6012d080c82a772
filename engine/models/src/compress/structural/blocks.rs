//! Whole lines that go: badge paragraphs, unused link definitions, repeated headers.

use std::collections::BTreeSet;

use super::{Cutter, Fences, is_blank, is_blank_line, line_end};
use crate::compress::units;
use crate::spans::Piece;

/// The ranges that stay; `None` if all does.
pub(super) fn kept(text: &str) -> Option<Vec<Piece>> {
    let mut lines = Walk {
        text,
        fences: Fences::new(text),
        before: Before::Boundary,
        heading: None,
        table_header: None,
        page_header: None,
        definitions: Vec::new(),
        removed: Vec::new(),
        bar: None,
    };
    let mut start = 0;
    while start < text.len() {
        start = lines.take(start);
    }
    let Walk { mut removed, definitions, .. } = lines;
    if !definitions.is_empty() {
        let used = used_labels(text, &definitions);
        let unused = definitions.iter().filter(|definition| !used.contains(&definition.label));
        removed.extend(unused.map(|definition| (definition.start, definition.next)));
        removed.sort_unstable();
    }
    let mut cutter = Cutter::new();
    for (start, end) in removed {
        cutter.remove(start, end);
    }
    cutter.finish(text.len())
}

/// What stands above a line, as far as paragraphs care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Start of text, blank line, heading, or end of a fence: a paragraph may begin.
    Boundary,
    /// A link definition: another may follow.
    Definition,
    /// A line of a paragraph or table.
    Text,
}

struct Definition {
    start: usize,
    next: usize,
    label: String,
}

struct Walk<'a> {
    text: &'a str,
    fences: Fences,
    before: Before,
    heading: Option<String>,
    table_header: Option<String>,
    page_header: Option<String>,
    definitions: Vec<Definition>,
    removed: Vec<(usize, usize)>,
    /// The next `|`, once looked for; the end of the text if there is none.
    bar: Option<usize>,
}

impl Walk<'_> {
    /// Takes the line at `start`, perhaps with lines after it; returns where the next one begins.
    fn take(&mut self, start: usize) -> usize {
        let text = self.text;
        let end = line_end(text, start);
        let next = (end + 1).min(text.len());
        let line = &text[start..end];
        if self.fences.step(line) {
            self.before = Before::Boundary;
            return next;
        }
        let trimmed = trimmed(line);
        let before = std::mem::replace(&mut self.before, Before::Text);
        match trimmed.as_bytes().first() {
            None => self.before = Before::Boundary,
            Some(b'\x0c') => return self.page(start, end, next),
            Some(b'#') if units::is_heading(trimmed) => {
                self.before = Before::Boundary;
                if repeats(&mut self.heading, trimmed) {
                    self.removed.push((start, next));
                }
            }
            Some(b'[') if trimmed.starts_with("[![") && before != Before::Text => {
                if let Some(paragraph_end) = self.badges(start) {
                    self.removed.push((start, paragraph_end));
                    self.before = Before::Boundary;
                    return paragraph_end;
                }
            }
            Some(b'[') if before != Before::Text => {
                if let Some(label) = definition_label(trimmed) {
                    self.definitions.push(Definition { start, next, label });
                    self.before = Before::Definition;
                }
            }
            Some(_) if end < text.len() && self.next_bar(start) < end => {
                let rule_end = line_end(text, next);
                if next < text.len() && units::is_table_rule(text[next..rule_end].trim_end_matches('\r')) {
                    let after = (rule_end + 1).min(text.len());
                    if repeats(&mut self.table_header, trimmed) {
                        self.removed.push((start, after));
                    }
                    return after;
                }
            }
            Some(_) => {}
        }
        next
    }

    /// The first `|` at or after `start`.
    fn next_bar(&mut self, start: usize) -> usize {
        match self.bar {
            Some(bar) if bar >= start => bar,
            _ => {
                let bytes = &self.text.as_bytes()[start..];
                let bar = memchr::memchr(b'|', bytes).map_or(self.text.len(), |offset| start + offset);
                self.bar = Some(bar);
                bar
            }
        }
    }

    /// A line that begins with a form feed opens a page; its first line with content is the page's header.
    fn page(&mut self, start: usize, end: usize, next: usize) -> usize {
        let text = self.text;
        self.before = Before::Boundary;
        let (mut line_start, mut line_stop) = (start, end);
        while line_start < text.len() {
            if line_start > start && text.as_bytes()[line_start] == b'\x0c' {
                return next;
            }
            let content = text[line_start..line_stop].trim_matches([' ', '\t', '\r', '\x0c']);
            let after = (line_stop + 1).min(text.len());
            if !content.is_empty() {
                // A page that begins with a fence has no header.
                if units::fence_open(content).is_none() && repeats(&mut self.page_header, content) {
                    self.removed.push((start, after));
                    return after;
                }
                return next;
            }
            line_start = after;
            line_stop = line_end(text, line_start);
        }
        next
    }

    /// The end of the paragraph at `start` if it consists of badges only.
    fn badges(&self, start: usize) -> Option<usize> {
        let mut line_start = start;
        while line_start < self.text.len() {
            let end = line_end(self.text, line_start);
            let line = &self.text[line_start..end];
            if is_blank_line(line.as_bytes()) || units::is_heading(line.trim()) {
                break;
            }
            if !is_badge_line(line.trim()) {
                return None;
            }
            line_start = (end + 1).min(self.text.len());
        }
        Some(line_start)
    }
}

/// A line without blanks and carriage returns at its ends.
fn trimmed(line: &str) -> &str {
    let is_visible = |byte: &u8| !is_blank(*byte) && *byte != b'\r';
    let bytes = line.as_bytes();
    match (bytes.iter().position(is_visible), bytes.iter().rposition(is_visible)) {
        (Some(first), Some(last)) => &line[first..=last],
        _ => "",
    }
}

/// True if `line`, blanks normalised, equals the one remembered; remembers it otherwise.
fn repeats(remembered: &mut Option<String>, line: &str) -> bool {
    let normal = normalised(line);
    if remembered.as_ref() == Some(&normal) {
        return true;
    }
    *remembered = Some(normal);
    false
}

fn normalised(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// True if a line is one or more `[![alt](image)](link)`, targets inline or by reference.
fn is_badge_line(line: &str) -> bool {
    let mut rest = line;
    while !rest.is_empty() {
        let Some(after) = badge(rest) else { return false };
        rest = after.trim_start();
    }
    !line.is_empty()
}

fn badge(text: &str) -> Option<&str> {
    let alt = text.strip_prefix("[!")?;
    let image = bracketed(alt, '[', ']')?;
    let after_image = target(image)?;
    target(after_image.strip_prefix(']')?)
}

/// What follows `(...)` or `[...]`.
fn target(text: &str) -> Option<&str> {
    bracketed(text, '(', ')').or_else(|| bracketed(text, '[', ']'))
}

/// What follows a balanced pair of brackets at the start of `text`.
fn bracketed(text: &str, open: char, close: char) -> Option<&str> {
    let mut depth = 0;
    for (idx, character) in text.char_indices() {
        if character == open {
            depth += 1;
        } else if character == close {
            depth -= 1;
            if depth == 0 {
                return Some(&text[idx + 1..]);
            }
        }
        if depth == 0 {
            return None;
        }
    }
    None
}

/// The folded label of a line `[label]: target "title"`; footnotes are content and have none.
fn definition_label(line: &str) -> Option<String> {
    let close = line.find(']')?;
    let label = &line[1..close];
    let rest = line[close + 1..].strip_prefix(':')?.trim_start_matches([' ', '\t']);
    if label.trim().is_empty() || label.starts_with('^') || label.contains('[') || rest.is_empty() {
        return None;
    }
    let target_len = if rest.starts_with('<') {
        rest.find('>')? + 1
    } else {
        rest.find([' ', '\t']).unwrap_or(rest.len())
    };
    let title = rest[target_len..].trim_matches([' ', '\t']);
    let is_title = title.len() >= 2
        && matches!(
            (title.as_bytes()[0], title.as_bytes()[title.len() - 1]),
            (b'"', b'"') | (b'\'', b'\'') | (b'(', b')')
        );
    (title.is_empty() || is_title).then(|| folded(label))
}

/// Labels match without regard to case and runs of white space.
fn folded(label: &str) -> String {
    normalised(label).to_lowercase()
}

/// Every `[label]` of the text that is not the head of a definition.
fn used_labels(text: &str, definitions: &[Definition]) -> BTreeSet<String> {
    let bytes = text.as_bytes();
    let heads: BTreeSet<usize> = definitions
        .iter()
        .map(|definition| definition.start + text[definition.start..definition.next].find('[').unwrap_or(0))
        .collect();
    let mut used = BTreeSet::new();
    let mut open: Vec<usize> = Vec::new();
    for idx in memchr::memchr2_iter(b'[', b']', bytes) {
        if bytes[idx] == b'[' {
            open.push(idx);
            // Unclosed brackets are forgotten, so that the search stays linear.
            if open.len() > 8 {
                open.remove(0);
            }
        } else if let Some(start) = open.pop()
            && !heads.contains(&start)
            && idx - start <= LABEL_BYTES_MAX
        {
            used.insert(folded(&text[start + 1..idx]));
        }
    }
    used
}

/// Longest label of a link reference (CommonMark: 999 characters), in bytes.
const LABEL_BYTES_MAX: usize = 4000;
