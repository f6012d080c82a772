//! The formatter: a syntax tree and its comments back to text, in the one form that the language reference gives.
//!
//! A part stands on one line if it fits and holds no comment; otherwise it is broken in the way of its kind. Blocks also
//! stay broken if they were written so. Declarations with syntax errors are copied as they are.
//!
//! ```text
//! File --Printer: lines with marks--> align --> text
//! ```

use std::cell::{Cell, RefCell};

use super::ast::{CommentKind, File, Item, ItemKind};
use super::lexer::{Lexer, TokenKind};
use super::parse::parse;
use crate::diagnostic::Severity;
use crate::source::Span;
use align::{INNER_BREAK, MARK};
use flat::Flat;

mod align;
mod bodies;
mod declarations;
mod flat;
mod wrap;

/// Formats a program; `file` must have been parsed from `text`. Formatting twice changes nothing more, and the result
/// parses to an equal tree. A text with control characters, or one that passes a limit of the parser, is given back
/// unchanged. Cost: two more parses, to know where the syntax
/// errors are and that the form is stable.
#[must_use]
pub fn format(file: &File, text: &str) -> String {
    let mut formatted = format_once(file, text);
    // A comment in the middle of a value goes to the end of a line, and what was broken for it may be joined then.
    for _ in 0..MAX_ROUNDS {
        let again = format_once(file, &formatted);
        if again == formatted {
            break;
        }
        formatted = again;
    }
    formatted
}

/// Most times that a text is formatted again, so that comments come to rest.
const MAX_ROUNDS: usize = 4;

fn format_once(file: &File, text: &str) -> String {
    let mut diagnostics = Vec::new();
    let reparsed = parse(file.source, text, &mut diagnostics);
    let errors: Vec<u32> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .flat_map(|diagnostic| {
            diagnostic.secondary.iter().map(|label| label.span).chain([diagnostic.primary.span])
        })
        .flat_map(|span| [span.start, span.end.max(span.start + 1) - 1])
        .collect();
    let is_unread = matches!(reparsed.items.as_slice(), [item] if item.kind == ItemKind::Bad && item.span.range() == (0..text.len()));
    if text.contains(['\u{1}', '\u{2}', INNER_BREAK]) || is_unread {
        return text.to_owned();
    }
    let printer = Printer::new(&reparsed, text);
    printer.print(&reparsed, &errors)
}

/// Prints one file. Comments are handed out once each, in order.
struct Printer<'a> {
    text: &'a str,
    flat: Flat<'a>,
    comments: Vec<(Span, CommentKind)>,
    taken: RefCell<Vec<bool>>,
    /// All comments before this one are printed.
    cursor: Cell<usize>,
    out: RefCell<String>,
    /// Indentation of the line that is being written.
    line_indent: Cell<usize>,
    /// End of the last part that was written, in the source.
    written: Cell<u32>,
}

impl<'a> Printer<'a> {
    fn new(file: &File, text: &'a str) -> Self {
        let comments: Vec<_> = file.comments.iter().map(|comment| (comment.span, comment.kind)).collect();
        Self {
            text,
            flat: Flat { text },
            taken: RefCell::new(vec![false; comments.len()]),
            comments,
            cursor: Cell::new(0),
            out: RefCell::new(String::new()),
            line_indent: Cell::new(0),
            written: Cell::new(0),
        }
    }

    fn print(&self, file: &File, errors: &[u32]) -> String {
        let head = file
            .edition
            .as_ref()
            .map(|edition| edition.span)
            .filter(|edition| file.items.first().is_none_or(|item| edition.start < item.span.start));
        self.stray_tokens(
            0,
            head.or(file.items.first().map(|item| item.span))
                .map_or(self.text.len(), |span| span.start as usize),
        );
        if let Some(edition) = head {
            self.own_comments(edition.start, 0, false);
            let year = self.text[edition.range()].split_whitespace().last().unwrap_or("");
            self.line(0, &format!("edition {year}"));
            self.line_end(edition.end);
        }
        let mut previous: Option<(&Item, bool)> = None;
        for (idx, item) in file.items.iter().enumerate() {
            let next = file.items.get(idx + 1).map_or(self.text.len(), |next| next.span.start as usize);
            let end = self.last_token(item.span.start as usize, next);
            let printed = self.written.get() as usize;
            if (item.span.start as usize) < printed {
                // An open string reaches over the declarations that the parser found in it.
                if end > printed {
                    self.verbatim(printed, end);
                }
                continue;
            }
            let is_bad = end != item.span.end as usize
                || errors.iter().any(|at| (item.span.start..=end as u32).contains(at));
            let is_first = previous.is_none() && head.is_none();
            let line = if is_bad { None } else { self.one_line(item) };
            let joins = previous
                .is_some_and(|(other, one_line)| one_line && line.is_some() && same_keyword(other, item));
            self.before_item(item.span.start, is_first, joins);
            match &line {
                _ if is_bad => self.verbatim(item.span.start as usize, end),
                Some(line) => self.line(0, line),
                None => self.broken(item),
            }
            self.written.set(end as u32);
            self.line_end(end as u32);
            previous = Some((item, line.is_some()));
        }
        self.own_comments(self.text.len() as u32, 0, false);
        let out = align::align(&self.out.borrow());
        let out = out.trim_start_matches('\n');
        if out.is_empty() { String::new() } else { format!("{}\n", out.trim_end()) }
    }

    /// Empty lines and comments before a declaration.
    fn before_item(&self, start: u32, is_first: bool, joins: bool) {
        let has_comments = self.next_comment().is_some_and(|(_, span)| span.start < start);
        if has_comments {
            if !is_first {
                self.empty_line();
            }
            self.own_comments(start, 0, true);
        } else if !is_first && (!joins || self.had_empty_line(start)) {
            self.empty_line();
        }
    }

    /// Tokens before the first declaration, which only a text with errors has.
    fn stray_tokens(&self, start: usize, end: usize) {
        let first = Lexer::new(&self.text[..end], start).find(|token| token.kind != TokenKind::Comment);
        if let Some(first) = first.filter(|token| !self.text[token.start..].starts_with('\u{feff}')) {
            let last = self.last_token(first.start, end);
            self.own_comments(first.start as u32, 0, false);
            self.verbatim(first.start, last);
        }
    }

    /// The end of the last token that begins in a range, comments excluded; `from` if there is none.
    fn last_token(&self, from: usize, to: usize) -> usize {
        let tokens = Lexer::new(self.text, from).take_while(|token| token.start < to);
        tokens.filter(|token| token.kind != TokenKind::Comment).last().map_or(from, |token| token.end)
    }

    /// Copies a part of the text, with its comments.
    fn verbatim(&self, start: usize, end: usize) {
        for (idx, (span, _)) in self.comments.iter().enumerate() {
            if (start..end).contains(&(span.start as usize)) {
                self.taken.borrow_mut()[idx] = true;
            }
        }
        let copied = self.text[start..end].replace("\r\n", "\n");
        self.line(0, &copied.replace('\n', INNER_BREAK.encode_utf8(&mut [0; 4])));
        self.written.set(end as u32);
    }

    // --- lines ----------------------------------------------------------------------------------------------------

    /// Begins a line.
    fn line(&self, indent: usize, text: &str) {
        let mut out = self.out.borrow_mut();
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&" ".repeat(indent));
        out.push_str(text);
        self.line_indent.set(indent);
    }

    fn push(&self, text: &str) {
        self.out.borrow_mut().push_str(text);
    }

    /// An empty line, unless there is one or nothing was written.
    fn empty_line(&self) {
        let mut out = self.out.borrow_mut();
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
    }

    /// Whether the source has an empty line before an offset, after what was written last.
    fn had_empty_line(&self, start: u32) -> bool {
        let before = &self.text[..start as usize];
        let blanks = &before[before.trim_end().len()..];
        blanks.matches('\n').count() > 1
    }

    // --- comments -------------------------------------------------------------------------------------------------

    fn next_comment(&self) -> Option<(usize, Span)> {
        let taken = self.taken.borrow();
        let idx = self.cursor.get() + taken[self.cursor.get()..].iter().position(|taken| !taken)?;
        self.cursor.set(idx);
        Some((idx, self.comments[idx].0))
    }

    fn has_comments(&self, span: Span) -> bool {
        let first = self.comments.partition_point(|(comment, _)| comment.start < span.start);
        self.comments.get(first).is_some_and(|(comment, _)| comment.start < span.end)
    }

    /// A comment as printed. A doc comment that documents nothing becomes a plain one, lest it documents what follows.
    fn comment_text(&self, idx: usize, documents: bool) -> String {
        let (span, kind) = self.comments[idx];
        self.taken.borrow_mut()[idx] = true;
        let text = self.text[span.range()].trim_end().replace('\t', "  ");
        if kind == CommentKind::Doc && !documents { format!("//{}", &text[3..]) } else { text }
    }

    /// The comments of a range that were not printed.
    fn take_comments(&self, start: u32, end: u32) -> Vec<String> {
        let first = self.comments.partition_point(|(comment, _)| comment.start < start);
        let last = self.comments.partition_point(|(comment, _)| comment.start < end);
        let left: Vec<usize> = (first..last).filter(|idx| !self.taken.borrow()[*idx]).collect();
        left.into_iter().map(|idx| self.comment_text(idx, self.is_alone(idx))).collect()
    }

    /// Whether a comment is the first of its line.
    fn is_alone(&self, idx: usize) -> bool {
        let before = &self.text[..self.comments[idx].0.start as usize];
        before[before.rfind('\n').map_or(0, |at| at + 1)..].trim().is_empty()
    }

    /// The comment behind a part on the same line, with nothing but a comma between.
    fn take_trailing(&self, end: u32, limit: u32) -> Option<String> {
        let idx = self.comments.partition_point(|(comment, _)| comment.start < end);
        let (span, _) = *self.comments.get(idx).filter(|(span, _)| span.start < limit)?;
        let between = &self.text[end as usize..span.start as usize];
        let is_near = between.chars().all(|character| matches!(character, ' ' | '\t' | ','));
        (is_near && !self.taken.borrow()[idx]).then(|| self.comment_text(idx, true))
    }

    /// Puts the comment behind a part at the end of the line.
    fn line_end(&self, end: u32) {
        if let Some(comment) = self.take_trailing(end, u32::MAX) {
            self.push(&format!("  {MARK}/{comment}"));
        }
        self.written.set(self.written.get().max(end));
    }

    /// Comments on lines of their own, with the empty lines between them, up to an offset.
    fn own_comments(&self, before: u32, indent: usize, leading: bool) {
        let mut first = leading;
        while let Some((idx, span)) = self.next_comment().filter(|(_, span)| span.start < before) {
            if !first && self.had_empty_line(span.start) {
                self.empty_line();
            }
            first = false;
            let documents = self.is_alone(idx) && span.start >= self.written.get();
            let text = self.comment_text(idx, documents);
            self.line(indent, &text);
        }
        if self.had_empty_line(before)
            && !self.out.borrow().is_empty()
            && (before as usize) < self.text.len()
            && self.follows_comment()
        {
            self.empty_line();
        }
    }

    /// Whether the line that was written last is a comment.
    fn follows_comment(&self) -> bool {
        let out = self.out.borrow();
        out[out.rfind('\n').map_or(0, |at| at + 1)..].trim_start().starts_with("//")
    }
}

fn same_keyword(first: &Item, second: &Item) -> bool {
    declarations::keyword(first) == declarations::keyword(second)
}
