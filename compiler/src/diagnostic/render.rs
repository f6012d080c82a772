//! Diagnostics for people: the human format of the language reference, plain or coloured.
//!
//! ```text
//! error[E0201]: unknown embedder `e265`
//!  --> hello.promptc:4:41
//! 4 | pipeline p { docs |> embed(text, with = e265) as vec -> out }
//!   |                                         ^^^^ not declared
//!   = help: did you mean `e256`?
//! ```
//!
//! Marks stand under the columns that a terminal shows: a tab takes four, wide characters two, combining marks none.
//! Control and direction-changing characters of the program are shown as U+FFFD, so a program cannot drive the terminal.
//!
//! # Decisions
//! Renderer: `annotate-snippets` 0.12 and `miette` were weighed by these criteria: our diagnostic type stays free of the
//! renderer's types; two labels in two files; tabs, wide characters and empty spans right; output without colour stable
//! for snapshots; dependencies; lines of glue. Both put an empty `|` line before the first source line (`miette` also
//! draws boxes) and give no setting to leave it out, so neither prints the format above, which the golden files of the
//! corpus hold byte for byte. This file needs no dependency and is about as long as the glue to either would be.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::source::{SourceFile, SourceId, SourceMap, Span};

use super::{Diagnostic, Label, Severity};

/// Most diagnostics shown per file; a broken file yields follow-ups that help no one.
pub const SHOWN_PER_FILE: usize = 50;

/// Lines wider than this are shown in part, around the first mark: a program may be one line of 4 MiB.
const LINE_COLUMNS: usize = 240;
/// Columns shown before the first mark of a line that is shown in part.
const LEAD_COLUMNS: usize = 60;
const TAB_COLUMNS: usize = 4;

/// Whether the text carries ANSI colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone, stable for snapshots.
    Plain,
    /// With ANSI escapes for a terminal.
    Color,
}

/// All diagnostics, ordered by file and place, an empty line between them. Beyond [`SHOWN_PER_FILE`] of a file only
/// their number is given. Empty for no diagnostics.
#[must_use]
pub fn render_all(diagnostics: &[Diagnostic], sources: &SourceMap, style: Style) -> String {
    let mut by_file: BTreeMap<SourceId, Vec<&Diagnostic>> = BTreeMap::new();
    for diagnostic in diagnostics {
        by_file.entry(diagnostic.primary.span.source).or_default().push(diagnostic);
    }
    let mut blocks = Vec::new();
    for (source, mut found) in by_file {
        found.sort_by_key(|diagnostic| (diagnostic.primary.span.start, diagnostic.primary.span.end));
        blocks.extend(found.iter().take(SHOWN_PER_FILE).map(|diagnostic| render(diagnostic, sources, style)));
        if found.len() > SHOWN_PER_FILE {
            let name = file_of(sources, source).map_or("the program", |file| file.name.as_str());
            blocks.push(format!("... and {} more in {name}\n", found.len() - SHOWN_PER_FILE));
        }
    }
    blocks.join("\n")
}

/// The last line of a listing: `2 errors, 1 warning`; nothing if there are no diagnostics.
#[must_use]
pub fn summary(diagnostics: &[Diagnostic]) -> Option<String> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let counted = |count: usize, noun: &str| match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{count} {noun}s")),
    };
    let parts = [counted(errors, "error"), counted(diagnostics.len() - errors, "warning")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// One diagnostic, each line ended by a line break and free of blanks at its end.
#[must_use]
pub fn render(diagnostic: &Diagnostic, sources: &SourceMap, style: Style) -> String {
    let paint = Paint { style, severity: diagnostic.severity };
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let head = paint.severity(&format!("{severity}[{}]", diagnostic.code.text()));
    let mut lines = vec![format!("{head}: {}", paint.bold(&clean(&diagnostic.message)))];

    let files = marks_by_file(diagnostic, sources);
    let largest = files.iter().flat_map(|(_, marks)| marks.keys()).max().copied().unwrap_or(1);
    let gutter = largest.to_string().len();
    for (idx, (span, marks)) in files.iter().enumerate() {
        let Some(file) = file_of(sources, span.source) else { continue };
        let (line, column) = file.line_column(span.start);
        let arrow = if idx == 0 { "-->" } else { ":::" };
        lines.push(format!("{:gutter$}{} {}:{line}:{column}", "", paint.frame(arrow), file.name));
        push_lines(&mut lines, file, marks, gutter, &paint);
    }
    let attached = diagnostic.notes.iter().map(|text| ("note", text));
    for (kind, text) in attached.chain(diagnostic.helps.iter().map(|text| ("help", text))) {
        for (idx, part) in text.lines().enumerate() {
            let start =
                if idx == 0 { format!("{} {}:", paint.frame("="), paint.bold(kind)) } else { " ".repeat(7) };
            lines.push(format!("{:gutter$} {start} {}", "", clean(part)));
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A stretch of one line to underline, in columns of the shown line from 0.
struct Mark {
    start: usize,
    len: usize,
    text: String,
    is_primary: bool,
}

type LineMarks = BTreeMap<u32, Vec<Mark>>;

/// Marks by line, for each file: the primary label's file first, then the others in order of their first label.
fn marks_by_file(diagnostic: &Diagnostic, sources: &SourceMap) -> Vec<(Span, LineMarks)> {
    let mut files: Vec<(Span, LineMarks)> = Vec::new();
    let labels = std::iter::once((&diagnostic.primary, true));
    for (label, is_primary) in labels.chain(diagnostic.secondary.iter().map(|label| (label, false))) {
        let Some(file) = file_of(sources, label.span.source) else { continue };
        let at = files.iter().position(|(span, _)| span.source == label.span.source).unwrap_or_else(|| {
            files.push((label.span, LineMarks::new()));
            files.len() - 1
        });
        for (line, mark) in marks_of(label, is_primary, file) {
            files[at].1.entry(line).or_default().push(mark);
        }
    }
    files
}

/// One mark for a label within a line; two for a longer one, at its first and last line, the words at the last.
fn marks_of(label: &Label, is_primary: bool, file: &SourceFile) -> Vec<(u32, Mark)> {
    let (first, _) = file.line_column(label.span.start);
    let (mut last, end_column) = file.line_column(label.span.end.max(label.span.start));
    // A span that takes in a line break ends on the line that it breaks.
    if last > first && end_column == 1 {
        last -= 1;
    }
    let mark = |line: u32, from: u32, to: u32, text: &str| {
        let shown = file.line(line);
        let offset = |at: u32| (at.saturating_sub(file.line_start(line)) as usize).min(shown.len());
        let (start, end) = (columns_before(shown, offset(from)), columns_before(shown, offset(to)));
        let len = end.saturating_sub(start).max(1);
        (line, Mark { start, len, text: clean(text), is_primary })
    };
    if first == last {
        return vec![mark(first, label.span.start, label.span.end, &label.text)];
    }
    let indent = file.line(last).len() - file.line(last).trim_start().len();
    vec![
        mark(first, label.span.start, u32::MAX, ""),
        mark(last, file.line_start(last) + indent as u32, label.span.end, &label.text),
    ]
}

fn push_lines(lines: &mut Vec<String>, file: &SourceFile, marks: &LineMarks, gutter: usize, paint: &Paint) {
    let mut previous = None;
    for (number, marks) in marks {
        if previous.is_some_and(|previous: u32| previous + 1 < *number) {
            lines.push(paint.frame("..."));
        }
        previous = Some(*number);
        let first = marks.iter().map(|mark| mark.start).min().unwrap_or(0);
        let excerpt = Excerpt::of(file.line(*number), first);
        let number = paint.frame(&format!("{number:>gutter$} |"));
        lines.push(format!("{number} {}", excerpt.text));
        for mark in marks {
            let sign = if mark.is_primary { "^" } else { "-" };
            let start = excerpt.place(mark.start);
            let len = (excerpt.place(mark.start + mark.len) - start).max(1);
            let marked = paint.mark(&format!("{} {}", sign.repeat(len), mark.text), mark.is_primary);
            lines.push(format!("{} {:start$}{marked}", paint.frame(&format!("{:gutter$} |", "")), ""));
        }
    }
}

/// What is shown of a line: all of it, or a window that begins at column `cut`.
struct Excerpt {
    text: String,
    cut: usize,
    columns: usize,
}

impl Excerpt {
    fn of(line: &str, first_mark: usize) -> Excerpt {
        let total = columns_before(line, line.len());
        let cut = if total > LINE_COLUMNS { first_mark.saturating_sub(LEAD_COLUMNS) } else { 0 };
        let mut text = String::new();
        let mut column = 0;
        for character in line.chars() {
            if column >= cut + LINE_COLUMNS {
                break;
            }
            if column >= cut {
                push_shown(&mut text, character);
            }
            column += columns_of(character);
        }
        if cut > 0 {
            text.insert(0, '…');
        }
        if column < total {
            text.push('…');
        }
        Excerpt { text, cut, columns: LINE_COLUMNS }
    }

    /// Where a column of the line stands in the excerpt.
    fn place(&self, column: usize) -> usize {
        let lead = usize::from(self.cut > 0);
        column.saturating_sub(self.cut).min(self.columns) + lead
    }
}

fn file_of(sources: &SourceMap, id: SourceId) -> Option<&SourceFile> {
    sources.iter().nth(id.0 as usize).map(|(_, file)| file)
}

fn columns_before(line: &str, offset: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < offset).map(|(_, character)| columns_of(character)).sum()
}

/// Columns that a terminal gives a character; ranges of Unicode 16, UAX #11 (wide) and general category Mn, Me, Cf,
/// taken whole where a block is of one kind. Rare scripts may be a column off; the text itself is never changed.
fn columns_of(character: char) -> usize {
    match character as u32 {
        0x09 => TAB_COLUMNS,
        0x00..=0x2ff => 1,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0x6d6..=0x6dc => 0,
        0x900..=0x902 | 0x93c | 0x941..=0x948 | 0x94d | 0xe31 | 0xe34..=0xe3a | 0xe47..=0xe4e => 0,
        0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x200b..=0x200d
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f | 0x231a..=0x231b | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xa960..=0xa97f => 2,
        0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x1fa70..=0x1faff | 0x20000..=0x3fffd => {
            2
        }
        0xe0100..=0xe01ef => 0,
        _ => 1,
    }
}

/// Whether a terminal would act on the character rather than show it.
fn is_hidden_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_shown(text: &mut String, character: char) {
    match character {
        '\t' => text.extend(std::iter::repeat_n(' ', TAB_COLUMNS)),
        character if is_hidden_control(character) => text.push('\u{fffd}'),
        character => text.push(character),
    }
}

fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|character| push_shown(&mut shown, character));
    shown
}

/// Colours as rustc gives them: red or yellow for the finding, blue for the frame and other places.
struct Paint {
    style: Style,
    severity: Severity,
}

impl Paint {
    fn with(&self, escape: &str, text: &str) -> String {
        let mut painted = String::with_capacity(text.len() + 16);
        let text = text.trim_end();
        let written = match self.style {
            Style::Plain => painted.write_str(text),
            Style::Color => write!(painted, "\u{1b}[{escape}m{text}\u{1b}[0m"),
        };
        written.expect("invariant: writing to a string does not fail");
        painted
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn frame(&self, text: &str) -> String {
        self.with("1;34", text)
    }

    fn severity(&self, text: &str) -> String {
        self.with(if self.severity == Severity::Error { "1;31" } else { "1;33" }, text)
    }

    fn mark(&self, text: &str, is_primary: bool) -> String {
        if is_primary { self.severity(text) } else { self.frame(text) }
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
