//! Parsing: any text becomes a file, with `Bad` parts and diagnostics where it is not well formed.
//!
//! A well-formed text is parsed once. Otherwise the text is marked ([`super::repair`]) and parsed a second time, and
//! each part that a catch-all rule took is explained ([`super::diagnose`]); parts beside each other count as one.

use pest::Parser;
use pest::iterators::Pair;

use super::ast::{Comment, CommentKind, Edition, File, Ident, Item, ItemKind, Path};
use super::diagnose::explain;
use super::grammar::{PromptcParser, Rule};
use super::repair::repair;
use super::scan::{MAX_SYNTAX_DIAGNOSTICS, Scan, scan};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};

/// Most declarations in one file.
const MAX_ITEMS: usize = 10_000;
/// Most imports in one file.
const MAX_IMPORTS: usize = 256;

/// Parses a program text. Never fails: what is not understood is a `Bad` part of the file and has a diagnostic.
///
/// `diagnostics` gets E0101 to E0106, E0110 and E0501, in the order of their places; which editions are known and whether
/// there are tabs is checked later. Cost: linear in the
/// text; about 1 ms for 200 lines in a build with `opt-level = 1`.
#[must_use]
pub fn parse(source: SourceId, text: &str, diagnostics: &mut Vec<Diagnostic>) -> File {
    let mut found = Vec::new();
    let mut scan = scan(source, text, &mut found);
    let file = if scan.too_large {
        unread(source, text, &scan)
    } else {
        parse_scanned(source, text, &mut scan, &mut found)
    };
    found.sort_by_key(|diagnostic| (diagnostic.primary.span.start, diagnostic.code));
    found.truncate(MAX_SYNTAX_DIAGNOSTICS);
    diagnostics.append(&mut found);
    file
}

/// The file of a text that is too large to be looked at.
fn unread(source: SourceId, text: &str, scan: &Scan) -> File {
    let item = Item { span: Span::new(source, 0, text.len()), doc: None, kind: ItemKind::Bad };
    File { source, edition: None, doc: None, items: vec![item], comments: scan.comments.clone() }
}

fn parse_scanned(source: SourceId, text: &str, scan: &mut Scan, diagnostics: &mut Vec<Diagnostic>) -> File {
    let mut first = Builder::new(source, text, scan);
    let file = first.file();
    if !first.saw_bad {
        diagnostics.append(&mut first.diagnostics);
        return file;
    }
    let left_open = repair(source, scan, diagnostics);
    let mut second = Builder::new(source, text, scan);
    let file = second.file();
    diagnostics.append(&mut second.diagnostics);
    for (range, diagnostic) in left_open {
        if !diagnostics
            .iter()
            .any(|other| other.code <= Code::E0110 && range.contains(&(other.primary.span.start as usize)))
        {
            diagnostics.push(diagnostic);
        }
    }
    file
}

/// Builds the tree from pest's pairs.
pub(super) struct Builder<'a> {
    pub(super) source: SourceId,
    pub(super) text: &'a str,
    pub(super) scan: &'a Scan,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Operators between the root and the expression at hand; bounds the depth of the tree.
    pub(super) operators: usize,
    /// Whether a raw string without an end is in the item at hand: its value would be the rest of the file.
    pub(super) open_raw: bool,
    /// Whether a catch-all rule took a part of the text.
    saw_bad: bool,
}

impl<'a> Builder<'a> {
    fn new(source: SourceId, text: &'a str, scan: &'a Scan) -> Self {
        Self { source, text, scan, diagnostics: Vec::new(), operators: 0, open_raw: false, saw_bad: false }
    }

    fn file(&mut self) -> File {
        let masked = &self.scan.masked;
        let mut file = File {
            source: self.source,
            edition: None,
            doc: self.file_doc(),
            items: Vec::new(),
            comments: self.scan.comments.clone(),
        };
        let Ok(mut pairs) = PromptcParser::parse(Rule::file, masked) else {
            // The catch-all rule of the file accepts any text, so this is an empty text at worst.
            self.saw_bad = true;
            return file;
        };
        let pairs = pairs.next().map(Pair::into_inner).into_iter().flatten();
        let mut imports = 0;
        let mut after_bad = false;
        for pair in pairs {
            match pair.as_rule() {
                Rule::edition => file.edition = Some(self.edition(pair)),
                Rule::item => {
                    let item = self.item(pair);
                    imports += usize::from(matches!(item.kind, ItemKind::Import { .. }));
                    self.limit(imports, MAX_IMPORTS, "imports", item.span);
                    file.items.push(item);
                    self.limit(
                        file.items.len(),
                        MAX_ITEMS,
                        "declarations",
                        file.items[file.items.len() - 1].span,
                    );
                    after_bad = false;
                }
                Rule::bad_item
                    if file.edition.is_none()
                        && pair.as_str().starts_with("edition")
                        && !file.items.is_empty() =>
                {
                    file.edition = self.late_edition(&pair, &file.items[0]);
                }
                Rule::bad_item => {
                    let said = self.diagnostics.len();
                    let span = self.bad(&pair, Rule::item, after_bad);
                    if let (Some(edition), Some(last)) = (&file.edition, self.diagnostics.get_mut(said))
                        && pair.as_str().starts_with("edition")
                    {
                        *last = last.clone().label(edition.span, "the edition of this file");
                    }
                    let doc = self.doc_before(span.start as usize);
                    file.items.push(Item { span, doc, kind: ItemKind::Bad });
                    after_bad = true;
                }
                _ => {}
            }
        }
        file
    }

    fn edition(&mut self, pair: Pair<'_, Rule>) -> Edition {
        let span = self.span(&pair);
        let year_span = pair.into_inner().next().map_or(span, |int| self.span(&int));
        let year = self.text[year_span.range()].parse().unwrap_or(u64::MAX);
        Edition { year, span }
    }

    /// An `edition` after the first declaration still counts, but the declaration before it is reported.
    fn late_edition(&mut self, pair: &Pair<'_, Rule>, before: &Item) -> Option<Edition> {
        self.saw_bad = true;
        let edition = PromptcParser::parse(Rule::edition, pair.as_str()).ok()?.next()?;
        let start = pair.as_span().start();
        let span = Span::new(self.source, start, start + edition.as_span().end());
        let text = &self.text[before.span.range()];
        let word = text
            .split(|character: char| !character.is_ascii_alphanumeric())
            .next()
            .unwrap_or("")
            .len()
            .max(1);
        let first = Span { end: before.span.start + word as u32, ..before.span };
        if !self.scan.reported.iter().any(|range| range.contains(&(first.start as usize))) {
            let message = format!("expected `edition` first, found `{}`", &self.text[first.range()]);
            let diagnostic = Diagnostic::new(Code::E0101, message, first, "stands before the edition");
            self.diagnostics
                .push(diagnostic.label(span, "the edition").help("`edition` is the first item of a file"));
        }
        let year =
            edition.into_inner().next().and_then(|year| year.as_str().parse().ok()).unwrap_or(u64::MAX);
        Some(Edition { year, span })
    }

    /// The span of a pair. Pairs never reach beyond the text, but for the marks appended to it.
    pub(super) fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        Span::new(self.source, span.start().min(self.text.len()), span.end().min(self.text.len()))
    }

    /// A bad part: explains it unless the part beside it was bad as well. Gives its span without blanks around.
    pub(super) fn bad(&mut self, pair: &Pair<'_, Rule>, good: Rule, is_next_to_bad: bool) -> Span {
        self.saw_bad = true;
        let span = self.span(pair);
        let written = self.text[span.range()].trim_end().len();
        let span = Span { end: span.start + written as u32, ..span };
        if !is_next_to_bad && self.diagnostics.len() < MAX_SYNTAX_DIAGNOSTICS {
            self.diagnostics.extend(explain(self.source, self.scan, good, pair.as_span().start()));
        }
        span
    }

    /// E0501, once, when a count passes its limit.
    pub(super) fn limit(&mut self, count: usize, most: usize, name: &str, span: Span) {
        if count == most + 1 {
            let message = format!("more than {most} {name}");
            self.diagnostics.push(Diagnostic::new(Code::E0501, message, span, "one too many"));
        }
    }

    pub(super) fn ident(&self, pair: &Pair<'_, Rule>) -> Ident {
        Ident { name: pair.as_str().to_owned(), span: self.span(pair) }
    }

    pub(super) fn path(&self, pair: Pair<'_, Rule>) -> Path {
        let span = self.span(&pair);
        Path { segments: pair.into_inner().map(|ident| self.ident(&ident)).collect(), span }
    }

    fn file_doc(&self) -> Option<String> {
        let comments = self.scan.comments.iter().filter(|comment| comment.kind == CommentKind::File);
        self.join_doc(comments)
    }

    /// The text of the `///` lines directly before an offset.
    pub(super) fn doc_before(&self, start: usize) -> Option<String> {
        let comments = &self.scan.comments;
        let end = comments.partition_point(|comment| (comment.span.start as usize) < start);
        let mut first = end;
        let mut next = start;
        while let Some(comment) = first.checked_sub(1).and_then(|idx| comments.get(idx)) {
            let range = comment.span.range();
            let line = self.text[..range.start].rfind('\n').map_or(0, |at| at + 1);
            let is_alone = self.text[line..range.start].trim().is_empty();
            if comment.kind != CommentKind::Doc || !is_alone || !self.text[range.end..next].trim().is_empty()
            {
                break;
            }
            next = range.start;
            first -= 1;
        }
        self.join_doc(comments[first..end].iter())
    }

    fn join_doc<'c>(&self, comments: impl Iterator<Item = &'c Comment>) -> Option<String> {
        let lines: Vec<&str> = comments
            .map(|comment| &self.text[comment.span.range()][3..])
            .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
            .collect();
        if lines.is_empty() { None } else { Some(lines.join("\n")) }
    }
}
