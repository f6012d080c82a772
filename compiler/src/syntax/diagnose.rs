//! From text that a catch-all rule took to a diagnostic: what was expected where, and a change that helps.
//!
//! The text is parsed once more, by the rule that should have accepted it. pest then knows the furthest place that any
//! rule reached, and which rules could have gone on from there.

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

use super::grammar::{ALWAYS_POSSIBLE, PromptcParser, RULE_NAMES, Rule, is_catch_all};
use super::lexer::{Lexer, Token, TokenKind};
use super::scan::{ITEM_KEYWORDS, Scan};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};

/// How much text after the start of a bad part is looked at. Longer declarations with a mistake beyond it get the
/// diagnostic E0102 without a place.
const MAX_SNIPPET_BYTES: usize = 64 << 10;

/// Where the grammar stopped, and what could have followed.
struct Stop {
    at: usize,
    expected: Vec<&'static str>,
}

/// The diagnostic for a bad part at `start` that `rule` should have accepted; `None` if its place was reported before.
/// Cost: one parse of the part.
pub(super) fn explain(source: SourceId, scan: &Scan, rule: Rule, start: usize) -> Option<Diagnostic> {
    let is_reported = |at: usize| scan.reported.iter().any(|range| range.contains(&at));
    let snippet = snippet(scan, start);
    let Some(stop) = stop_of(rule, snippet) else {
        if is_reported(start) {
            return None;
        }
        let first = Lexer::new(&scan.masked, start).next().map_or(start, |token| token.end);
        return Some(Diagnostic::new(
            Code::E0102,
            "declaration not understood",
            Span::new(source, start, first),
            "from here",
        ));
    };
    let at = start + stop.at;
    let found = found_at(source, scan, start, at);
    if is_reported(at) || is_reported(found.span.start as usize) {
        return None;
    }
    let mut expected = join(&stop.expected);
    if rule == Rule::field && stop.expected == ["`=`", "`{`"] {
        expected.push_str(" after field name");
    }
    let first = stop.expected.first().copied().unwrap_or("something else");
    let label = format!("expected {first}");
    // Where no declaration begins, nothing is known of what was meant.
    let code = if rule == Rule::item && stop.at == 0 { Code::E0102 } else { Code::E0101 };
    let mut diagnostic =
        Diagnostic::new(code, format!("expected {expected}, found {}", found.text), found.span, label);
    if stop.expected.iter().any(|name| matches!(*name, "`)`" | "`]`"))
        && let Some(opened) = innermost_open(&scan.masked, start, found.span.start as usize)
    {
        diagnostic = diagnostic.label(Span::new(source, opened, opened + 1), "opened here");
    }
    if found.text == "`edition`" {
        diagnostic = diagnostic.note("`edition` is the first item of a file");
    }
    Some(advise(diagnostic, scan, rule, start, &found, &stop))
}

/// The last bracket between `start` and `at` that is not closed before `at`, if it stands on another line than `at`.
fn innermost_open(text: &str, start: usize, at: usize) -> Option<usize> {
    let mut open = Vec::new();
    for token in Lexer::new(text, start).take_while(|token| token.start < at) {
        match &text[token.start..token.end] {
            "(" | "[" => open.push(token.start),
            ")" | "]" => drop(open.pop()),
            _ => {}
        }
    }
    open.pop().filter(|opened| text[*opened..at].contains('\n'))
}

fn snippet(scan: &Scan, start: usize) -> &str {
    let text = &scan.masked[start..];
    let mut end = text.find('\u{1}').map_or(text.len(), |at| at + 1).min(MAX_SNIPPET_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Where `rule` stops in a text, or `None` if it accepts it (or as much of it as it needs).
fn stop_of(rule: Rule, text: &str) -> Option<Stop> {
    let error = PromptcParser::parse(rule, text).err()?;
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let ErrorVariant::ParsingError { positives, .. } = error.variant else { return None };
    let mut expected: Vec<&'static str> = Vec::new();
    for (rule, name) in RULE_NAMES {
        if positives.contains(rule) && !expected.contains(name) {
            expected.push(name);
        }
    }
    if expected.iter().any(|name| !ALWAYS_POSSIBLE.contains(name)) {
        expected.retain(|name| !ALWAYS_POSSIBLE.contains(name));
    }
    // A value may be a string, a name or a number: one word is enough.
    if expected.contains(&"a value") || expected.contains(&"an argument") {
        expected.retain(|name| !matches!(*name, "a string" | "a raw string" | "a name" | "`(`"));
    }
    if expected.contains(&"a type") {
        expected.retain(|name| *name != "a name");
    }
    if expected.len() > 1 {
        expected.retain(|name| *name != "`(`");
    }
    Some(Stop { at, expected })
}

fn join(names: &[&str]) -> String {
    match names {
        [] => "something else".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The token that stands where something else was expected.
struct Found {
    text: String,
    span: Span,
    token: Option<Token>,
}

fn found_at(source: SourceId, scan: &Scan, start: usize, at: usize) -> Found {
    let masked = &scan.masked;
    let end = masked[at..].find('\u{1}').map_or(masked.len(), |len| at + len);
    if let Some(b' ' | b'\n') = masked.as_bytes().get(at)
        && masked[..at].ends_with('.')
    {
        return Found { text: "a blank".to_owned(), span: Span::new(source, at, at + 1), token: None };
    }
    let is_code = |token: &Token| token.kind != TokenKind::Comment;
    if let Some(token) = Lexer::new(&masked[..end], at).find(is_code) {
        let shown: String = masked[token.start..token.end].chars().take(40).collect();
        let text = match masked.as_bytes()[token.start] {
            2 => "the end of the block".to_owned(),
            _ if token.kind == TokenKind::Illegal => "text that is not understood".to_owned(),
            _ if matches!(token.kind, TokenKind::Text { .. }) => "a string".to_owned(),
            _ if matches!(token.kind, TokenKind::Raw { .. }) => "a raw string".to_owned(),
            _ => format!("`{shown}`"),
        };
        let span = Span::new(source, token.start, token.end);
        return Found { text, span, token: Some(token) };
    }
    let last = Lexer::new(&masked[..at], start).filter(is_code).last().map_or(start, |token| token.end);
    let is_last = end + 1 >= masked.len();
    let text = if is_last { "the end of the file" } else { "the next declaration" };
    Found { text: text.to_owned(), span: Span::new(source, last, last), token: None }
}

/// Adds a help and an edit if there is a small change that makes the bad part well formed: this is tried, not guessed.
fn advise(
    diagnostic: Diagnostic,
    scan: &Scan,
    rule: Rule,
    start: usize,
    found: &Found,
    stop: &Stop,
) -> Diagnostic {
    let snippet = snippet(scan, start);
    let at = found.span.start as usize - start;
    let (head, tail) = snippet.split_at(at.min(snippet.len()));
    let word = found
        .token
        .filter(|token| token.kind == TokenKind::Word)
        .map(|token| &scan.masked[token.start..token.end]);
    let mut words: Vec<&str> =
        stop.expected.iter().flat_map(|name| name.split('`').skip(1).step_by(2)).collect();
    if stop.expected == ["a declaration"] {
        words.extend(ITEM_KEYWORDS.iter().filter(|keyword| **keyword != "edition"));
    }
    if let Some(word) = word {
        let close = words.iter().find(|expected| expected.len() > 1 && is_near(word, expected));
        if let Some(expected) = close
            && accepts(rule, &format!("{head}{expected}{}", &tail[word.len()..]), at + expected.len())
        {
            return diagnostic.help(format!("did you mean `{expected}`?")).fix(found.span, *expected);
        }
    }
    if stop.expected == ["a declaration"] {
        return diagnostic;
    }
    if let (Some(unit), Some(number)) = (word, number_before(head))
        && UNITS.contains(&unit)
        && accepts(rule, &format!("{}{tail}", head.trim_end()), head.trim_end().len() + unit.len())
    {
        let blanks =
            Span { start: (start + head.trim_end().len()) as u32, end: found.span.start, ..found.span };
        return diagnostic.help(format!("write `{number}{unit}`")).fix(blanks, "");
    }
    if rule == Rule::message && found.token.is_some_and(|token| matches!(token.kind, TokenKind::Text { .. }))
    {
        return diagnostic.help("the text of a message stands between marks: write `#\"...\"#`");
    }
    for expected in words.iter().take(6) {
        let blank = if *expected == "," && !head.ends_with(' ') { "" } else { " " };
        let inserted = if head.ends_with([' ', '\n']) || *expected == "," { "" } else { " " };
        let inserted = format!("{inserted}{expected}{blank}");
        if accepts(rule, &format!("{head}{inserted}{tail}"), at + inserted.trim_end().len()) {
            let place = Span { end: found.span.start, ..found.span };
            return written(diagnostic, head, &inserted, found, scan, expected).fix(place, inserted.clone());
        }
    }
    diagnostic
}

/// Units that are written to their number without a blank.
const UNITS: [&str; 12] = ["tok", "x", "ns", "us", "ms", "s", "min", "h", "B", "KiB", "MiB", "GiB"];

/// The number without a unit that a text ends with, blanks between.
fn number_before(head: &str) -> Option<&str> {
    let written = head.trim_end_matches([' ', '\n']);
    let digits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_');
    let number = &written[written.trim_end_matches(digits).len()..];
    let is_plain = number.starts_with(|first: char| first.is_ascii_digit())
        && number.ends_with(|last: char| last.is_ascii_digit());
    (is_plain && written.len() < head.len()).then_some(number)
}

/// The help for an insertion: the whole field if it is one, else the token.
fn written(
    diagnostic: Diagnostic,
    head: &str,
    inserted: &str,
    found: &Found,
    scan: &Scan,
    expected: &str,
) -> Diagnostic {
    let value = found.token.filter(|_| expected == "=").map(|token| &scan.masked[token.start..token.end]);
    match value {
        Some(value) if !head.trim().contains([' ', '\n']) => {
            diagnostic.help(format!("write `{}{inserted}{value}`", head.trim_start()))
        }
        _ => diagnostic.help(format!("add `{expected}` before it")),
    }
}

/// Whether `rule` accepts a text, without catch-alls, at least up to an offset.
fn accepts(rule: Rule, text: &str, at_least: usize) -> bool {
    let Ok(mut pairs) = PromptcParser::parse(rule, text) else { return false };
    let Some(pair) = pairs.next() else { return false };
    pair.as_span().end() >= at_least && !pair.into_inner().flatten().any(|pair| is_catch_all(pair.as_rule()))
}

/// Optimal string alignment distance of at most 2 over case-folded words, at most 1 under four letters.
fn is_near(word: &str, expected: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (word.to_lowercase().chars().collect(), expected.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return false;
    }
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()] <= if expected.len() < 4 { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_counts_transpositions_once() {
        assert!(is_near("pipleine", "pipeline"));
        assert!(is_near("form", "from"));
        assert!(!is_near("do", "to_") && !is_near("xy", "on"));
    }
}
