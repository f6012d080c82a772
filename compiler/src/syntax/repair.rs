//! Marks for the second parse of a text that is not well formed: where declarations begin, and where a block that was
//! left open was meant to end, by its indentation.
//!
//! Only texts whose braces do not balance between two declarations are looked at; the first line that is indented no
//! deeper than the line that opened a block ends it. A closing brace too many is found the same way: the lines after it
//! are indented deeper than the block they would belong to.

use std::ops::Range;

use super::lexer::{Lexer, Token, TokenKind};
use super::scan::Scan;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};

/// Most braces that are repaired in one declaration; a text with more is no program with a slip.
const MAX_REPAIRS: usize = 4;

/// A block that is open while the lines are read.
struct OpenBlock {
    token: Token,
    /// Indentation of the line that opened it.
    indent: usize,
    /// Indentation of its first line, if the brace was the last token of its line.
    content: Option<usize>,
    last_on_line: bool,
    /// The first line that is indented deeper than the first one.
    deeper: Option<usize>,
}

/// What is wrong with the braces of a declaration.
enum Fault {
    /// A block should have ended after the token that ends here, before this offset.
    Missing { opened: Token, after: usize, before: usize, indent: usize },
    /// This closing brace closes too much.
    Stray { at: usize },
    /// This closing brace closes too much, since the line at `from` is indented as in a block that nothing opens.
    Unopened { from: usize, at: usize },
}

/// Puts the marks into the masked text of `scan`, and reports the braces that do not balance. A block that is open at
/// the end of its declaration is given back with the range of the declaration: it is worth a diagnostic only if nothing
/// else there is.
pub(super) fn repair(
    source: SourceId,
    scan: &mut Scan,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(Range<usize>, Diagnostic)> {
    let mut left_open = Vec::new();
    let mut masked = std::mem::take(&mut scan.masked).into_bytes();
    let starts: Vec<usize> = scan.item_starts.iter().copied().filter(|at| *at > 0).collect();
    let ends = starts.iter().copied().chain([masked.len()]);
    let begins = [0].into_iter().chain(starts.iter().copied());
    for (begin, end) in begins.zip(ends) {
        for _ in 0..MAX_REPAIRS {
            let chunk = std::str::from_utf8(&masked[..end]).expect("masks are ASCII");
            let Some(fault) = find_fault(chunk, begin) else { break };
            let stop = match &fault {
                Fault::Missing { before, .. } => *before,
                Fault::Stray { at } => *at,
                Fault::Unopened { from, .. } => *from,
            };
            if !scan
                .reported
                .iter()
                .any(|range| range.contains(&(stop.max(begin + 1) - 1)) || range.contains(&begin))
            {
                let mut diagnostic = describe(source, &fault, chunk);
                if stop == end && end < masked.len() {
                    diagnostic =
                        diagnostic.label(Span::new(source, end, end + 1), "the next declaration begins here");
                }
                match fault {
                    Fault::Missing { before, .. } if before == end => {
                        left_open.push((begin..end, diagnostic))
                    }
                    _ => diagnostics.push(diagnostic),
                }
            }
            match fault {
                Fault::Missing { after, before, .. } if before < end => {
                    let Some(mark) = place_of_mark(&masked, after..before) else { break };
                    let start = end_of_marks(&masked, after..before);
                    masked[start..mark].fill(b' ');
                    masked[mark] = 2;
                }
                Fault::Missing { .. } => break,
                Fault::Stray { at } | Fault::Unopened { at, .. } => masked[at] = b' ',
            }
        }
    }
    for at in starts {
        masked[at - 1] = 1;
    }
    masked.push(1);
    scan.masked = String::from_utf8(masked).expect("marks are ASCII");
    left_open
}

/// Where a mark that closes a block can stand between two tokens: in place of the line break, or, behind the mark of a block that ends
/// there too, of a blank of the indentation. `None` if there is no room.
fn place_of_mark(masked: &[u8], between: Range<usize>) -> Option<usize> {
    let start = end_of_marks(masked, between.clone());
    let free = &masked[start..between.end];
    let line_break = free.iter().rposition(|byte| *byte == b'\n');
    let place = line_break.or_else(|| free.iter().position(|byte| matches!(byte, b' ' | b'\t')));
    place.map(|place| start + place)
}

/// Behind the last mark between two tokens, or their beginning.
fn end_of_marks(masked: &[u8], between: Range<usize>) -> usize {
    let last = masked[between.clone()].iter().rposition(|byte| *byte == 2);
    last.map_or(between.start, |at| between.start + at + 1)
}

/// The balance of the braces of a text, and the first fault that indentation shows.
fn find_fault(text: &str, begin: usize) -> Option<Fault> {
    let mut balance = 0_i64;
    for token in Lexer::new(text, begin) {
        match (token.kind, text.as_bytes()[token.start]) {
            (TokenKind::Open, b'{') => balance += 1,
            (TokenKind::Close, b'}') | (_, 2) => balance -= 1,
            _ => {}
        }
    }
    if balance == 0 { None } else { locate(text, begin, balance > 0) }
}

fn locate(text: &str, begin: usize, missing: bool) -> Option<Fault> {
    let mut blocks: Vec<OpenBlock> = Vec::new();
    let mut parens = 0_i64;
    let mut after = begin;
    let mut line_indent = 0;
    let mut lone_close = None;
    let mut tokens = Lexer::new(text, begin).filter(|token| token.kind != TokenKind::Comment).peekable();
    while let Some(token) = tokens.next() {
        let byte = text.as_bytes()[token.start];
        if byte == 2 {
            blocks.pop();
            continue;
        }
        let (first_on_line, indent) = line_start(text, token.start);
        let last_on_line = tokens.peek().is_none_or(|next| text[token.end..next.start].contains('\n'));
        let closes = token.kind == TokenKind::Close && byte == b'}';
        if first_on_line {
            line_indent = indent;
            if let Some(block) = blocks.last_mut().filter(|block| block.last_on_line) {
                let ends_here = if closes { indent < block.indent } else { indent <= block.indent };
                if missing && ends_here {
                    return Some(Fault::Missing {
                        opened: block.token,
                        after,
                        before: token.start,
                        indent: block.indent,
                    });
                }
                if !missing && closes && indent > block.indent {
                    let at = token.start;
                    return Some(
                        block.deeper.map_or(Fault::Stray { at }, |from| Fault::Unopened { from, at }),
                    );
                }
                let content = *block.content.get_or_insert(indent);
                if let Some(at) =
                    lone_close.take().filter(|_| !missing && !closes && parens == 0 && indent > content)
                {
                    return Some(Fault::Stray { at });
                }
                if indent > content && parens == 0 && token.kind == TokenKind::Word {
                    block.deeper.get_or_insert(token.start);
                }
            }
        }
        lone_close = (closes && first_on_line && last_on_line).then_some(token.start);
        match (token.kind, byte) {
            (TokenKind::Open, b'{') => {
                blocks.push(OpenBlock {
                    token,
                    indent: line_indent,
                    content: None,
                    last_on_line,
                    deeper: None,
                });
                parens = 0;
            }
            (TokenKind::Close, b'}') => {
                parens = 0;
                blocks.pop();
            }
            (TokenKind::Open, _) => parens += 1,
            (TokenKind::Close, _) => parens -= 1,
            _ => {}
        }
        after = token.end;
    }
    let block = blocks.pop().filter(|_| missing)?;
    Some(Fault::Missing { opened: block.token, after, before: text.len(), indent: block.indent })
}

/// Whether only blanks stand before an offset on its line, and how many.
fn line_start(text: &str, at: usize) -> (bool, usize) {
    let bytes = &text.as_bytes()[..at];
    let blanks = bytes.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let before = bytes.len() - blanks;
    (before == 0 || matches!(bytes[before - 1], b'\n' | 2), blanks)
}

fn describe(source: SourceId, fault: &Fault, text: &str) -> Diagnostic {
    match fault {
        Fault::Missing { opened, after, before, indent } => {
            let found = match Lexer::new(text, *before).next() {
                Some(token) => format!("`{}`", &text[token.start..token.end]),
                None => "the end of the declaration".to_owned(),
            };
            let place = Span::new(source, *after, *after);
            let closing = format!("\n{}}}", " ".repeat(*indent));
            Diagnostic::new(Code::E0101, format!("expected `}}`, found {found}"), place, "expected `}`")
                .label(Span::new(source, opened.start, opened.end), "block opened here")
                .help("close the block")
                .fix(place, closing)
        }
        Fault::Unopened { from, at } => {
            let found = Lexer::new(text, *from).next().map_or("", |token| &text[token.start..token.end]);
            let place = Span::new(source, *from, from + found.len());
            let message = format!("expected `{{` of a block, found `{found}`");
            Diagnostic::new(Code::E0101, message, place, "indented as if in a block")
                .label(Span::new(source, *at, at + 1), "closes more than is open")
                .help("add the line that opens the block, or remove the `}`")
        }
        Fault::Stray { at } => {
            let place = Span::new(source, *at, at + 1);
            Diagnostic::new(
                Code::E0101,
                "expected a field or a declaration, found `}`",
                place,
                "closes too much",
            )
            .note("the lines after it are indented as if the block went on")
            .help("remove this `}`")
            .fix(place, "")
        }
    }
}
