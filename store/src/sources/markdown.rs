//! Title and front matter of a Markdown text.
//!
//! The title is the first heading (CommonMark 0.31, sections 4.2 and 4.3) outside fenced and indented code, without its
//! marks; inline markup inside it stays as written. Front matter is a block between two lines `---` at the very start:
//! its lines `key: value` become the map, the indented lines below a key belong to its value.

use std::collections::BTreeMap;

/// Most lines of front matter; without an end within them the text has none.
const FRONT_MATTER_LINES_MAX: usize = 1_000;

/// The text of the first heading; `None` if there is none. An empty heading is passed over.
pub fn title(text: &str) -> Option<String> {
    let body = &text[front_matter_end(text).map_or(0, |(_, after)| after)..];
    let mut fence: Option<(char, usize)> = None;
    let mut is_comment = false;
    let mut paragraph: Vec<&str> = Vec::new();
    for line in body.lines() {
        if is_comment {
            is_comment = !line.contains("-->");
            continue;
        }
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if let Some((mark, length)) = fence {
            let run = content.chars().take_while(|character| *character == mark).count();
            if indent <= 3 && run >= length && content[run..].trim().is_empty() {
                fence = None;
            }
            continue;
        }
        if content.trim().is_empty() {
            paragraph.clear();
            continue;
        }
        // Four blanks or a tab: code, or the continuation of a paragraph.
        if indent > 3 || content.starts_with('\t') {
            if !paragraph.is_empty() {
                paragraph.push(content);
            }
            continue;
        }
        if let Some(opened) = opening_fence(content) {
            fence = Some(opened);
            paragraph.clear();
        } else if content.starts_with("<!--") {
            is_comment = !content.contains("-->");
            paragraph.clear();
        } else if let Some(heading) = atx_heading(content) {
            if !heading.is_empty() {
                return Some(heading.to_owned());
            }
            paragraph.clear();
        } else if is_underline(content) && !paragraph.is_empty() {
            let heading = paragraph.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
            return Some(heading);
        } else if is_block_start(content) {
            paragraph.clear();
        } else {
            paragraph.push(content);
        }
    }
    None
}

/// Opening mark and its length.
fn opening_fence(content: &str) -> Option<(char, usize)> {
    let mark = content.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let length = content.chars().take_while(|character| *character == mark).count();
    let is_fence = length >= 3 && !(mark == '`' && content[length..].contains('`'));
    is_fence.then_some((mark, length))
}

/// Text of `# heading ##`; `None` if the line is no such heading.
fn atx_heading(content: &str) -> Option<&str> {
    let level = content.bytes().take_while(|byte| *byte == b'#').count();
    if !(1..=6).contains(&level) {
        return None;
    }
    let rest = &content[level..];
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim();
    let without = rest.trim_end_matches('#');
    // Closing marks need a blank before them.
    Some(if without.is_empty() || without.ends_with([' ', '\t']) { without.trim_end() } else { rest })
}

fn is_underline(content: &str) -> bool {
    let marks = content.trim_end();
    !marks.is_empty() && (marks.bytes().all(|byte| byte == b'=') || marks.bytes().all(|byte| byte == b'-'))
}

/// Lines that a paragraph does not start with: quotes, list items, tables of HTML and rules.
fn is_block_start(content: &str) -> bool {
    let is_item = |marks: &[char]| {
        content.starts_with(marks) && content[1..].starts_with([' ', '\t'])
            || content.len() == 1 && content.starts_with(marks)
    };
    let digits = content.bytes().take_while(u8::is_ascii_digit).count();
    let is_number = (1..=9).contains(&digits) && content[digits..].starts_with(['.', ')']);
    let is_rule = ['-', '*', '_'].iter().any(|mark| {
        let plain: String = content.chars().filter(|character| !character.is_whitespace()).collect();
        plain.len() >= 3 && plain.chars().all(|character| character == *mark)
    });
    content.starts_with(['>', '<', '|']) || is_item(&['-', '*', '+']) || is_number || is_rule
}

/// The keys and values of the front matter, keys ascending; of a repeated key the last value. Empty if there is none.
pub fn front_matter(text: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    let Some((block, _)) = front_matter_end(text) else { return pairs };
    let mut open: Option<String> = None;
    for line in block.lines() {
        let is_inner = line.starts_with([' ', '\t']) || line.starts_with("- ") || line == "-";
        if is_inner || line.trim().is_empty() {
            if let Some(value) = open.as_ref().and_then(|key| pairs.get_mut(key)) {
                let value: &mut String = value;
                if !line.trim().is_empty() {
                    if !value.is_empty() {
                        value.push('\n');
                    }
                    value.push_str(line.trim());
                }
            }
            continue;
        }
        open = None;
        if line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once(':') else { continue };
        let key = unquote(key.trim()).to_owned();
        if !key.is_empty() {
            let value = unquote(value.trim());
            // The signs of a block text are not part of it.
            let value = if matches!(value, "|" | ">" | "|-" | ">-" | "|+" | ">+") { "" } else { value };
            pairs.insert(key.clone(), value.to_owned());
            open = Some(key);
        }
    }
    pairs
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// The lines between the marks and the byte after them.
fn front_matter_end(text: &str) -> Option<(&str, usize)> {
    let first = text.split_inclusive('\n').next()?;
    if first.trim_end() != "---" || first.starts_with(' ') {
        return None;
    }
    let mut at = first.len();
    for line in text[at..].split_inclusive('\n').take(FRONT_MATTER_LINES_MAX) {
        if matches!(line.trim_end(), "---" | "...") && !line.starts_with(' ') {
            return Some((&text[first.len()..at], at + line.len()));
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_heading_outside_code() {
        let cases = [
            ("# A", Some("A")),
            ("text\n\n### A b ###  \n", Some("A b")),
            ("# C#", Some("C#")),
            ("#A\n\n# B", Some("B")),
            ("####### A", None),
            ("#\n# B", Some("B")),
            ("```\n# code\n```\n# A", Some("A")),
            ("~~~~ sh\n# code\n~~~\n# code\n~~~~\n# A", Some("A")),
            ("    # code\n\nA\n===\n", Some("A")),
            ("A\nb\n---\n", Some("A b")),
            ("A\n\n---\n\nB\n", None),
            ("- item\n---\n# A", Some("A")),
            ("> quote\n===\n# A", Some("A")),
            ("<!--\n# hidden\n-->\n# A", Some("A")),
            ("---\ntitle: x\n---\n# A", Some("A")),
            ("---\n# no end\n", Some("no end")),
            ("# 日本語 \u{1f600}\r\n", Some("日本語 \u{1f600}")),
            ("", None),
            ("=", None),
        ];
        for (text, expected) in cases {
            assert_eq!(title(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn front_matter_pairs() {
        let text = "---\ntitle: \"A: b\"\ntags:\n  - x\n  - y\n# comment\nempty:\nurl: https://a.b/c\nabout: >\n  one\n  two\n---\nbody: no";
        let found: Vec<_> = front_matter(text).into_iter().collect();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = [
            pair("about", "one\ntwo"),
            pair("empty", ""),
            pair("tags", "- x\n- y"),
            pair("title", "A: b"),
            pair("url", "https://a.b/c"),
        ];
        assert_eq!(found, expected);
        for text in ["", "---", "---\na: b", " ---\na: b\n---\n", "a: b\n---\n", "----\na: b\n---\n"] {
            assert!(front_matter(text).is_empty(), "{text:?}");
        }
    }
}
