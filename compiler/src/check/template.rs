//! Templates of prompt messages: text with slots, loops and conditions, typed against the prompt's formals.
//!
//! ```text
//! #"{% for p in passages %}- {{ p | trim }}{% endfor %}"#  -->  For { item: p, body: [Text, Slot] }
//! ```
//!
//! Places are byte offsets in the text's value and are mapped to the program by [`Text::span_of`]. A template that
//! does not parse costs one E0109; unknown variables and wrong types are reported each and do not stop the parse.
//! This module knows nothing of messages, budgets or rendering.

use std::collections::BTreeSet;

use super::word_punct;
use crate::diagnostic::{Code, Diagnostic};
use crate::op::{Filter, Piece, SlotPath, SlotStep};
use crate::resolve::suggest::{nearest, suggest};
use crate::source::Span;
use crate::syntax::ast::Text;
use crate::types::{Column, Type};

/// Names of the filters that a slot may use.
pub(crate) const FILTERS: [&str; 7] = ["upper", "lower", "trim", "length", "join", "tojson", "default"];

/// Most `for` and `if` inside each other, as for all nesting of the language.
const NESTING_LIMIT: usize = 64;

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Template {
    /// The pieces in order; what was read before the error, if there is one.
    pub(crate) pieces: Vec<Piece>,
    /// Formals that occur; all of them after an error, so that none is reported as unused.
    pub(crate) used: BTreeSet<String>,
    /// Whether a value can appear in it.
    pub(crate) has_slots: bool,
    /// Tokens of the text that is always there, counted piece by piece with `word_punct`. Where a slot touches a word
    /// the rendered text can have fewer tokens, never more.
    pub(crate) fixed_tokens: u64,
}

/// Reads the template of a message over `formals` and reports what is wrong with it. Cost: one pass.
pub(crate) fn parse_template(text: &Text, formals: &[Column], diagnostics: &mut Vec<Diagnostic>) -> Template {
    let mut parser =
        Parser { text, formals, locals: Vec::new(), used: BTreeSet::new(), at: 0, depth: 0, diagnostics };
    let (pieces, failed) = match parser.body(None) {
        Ok((pieces, _)) => (pieces, false),
        Err(diagnostic) => {
            parser.diagnostics.push(*diagnostic);
            (Vec::new(), true)
        }
    };
    let used = if failed { formals.iter().map(|formal| formal.name.clone()).collect() } else { parser.used };
    let has_slots = failed || pieces.iter().any(holds_slot);
    let fixed_tokens = pieces.iter().map(|piece| fixed_tokens(piece, has_slots)).sum();
    Template { pieces, used, has_slots, fixed_tokens }
}

fn holds_slot(piece: &Piece) -> bool {
    match piece {
        Piece::Text(_) => false,
        Piece::Slot { .. } | Piece::For { .. } => true,
        Piece::If { body, otherwise, .. } => body.iter().chain(otherwise).any(holds_slot),
    }
}

/// Text outside slots, loops and conditions; a message without slots is fixed as a whole, so there the longer branch of
/// a condition counts.
fn fixed_tokens(piece: &Piece, has_slots: bool) -> u64 {
    match piece {
        Piece::Text(text) => word_punct::count(text),
        Piece::If { body, otherwise, .. } if !has_slots => {
            let sum = |pieces: &[Piece]| pieces.iter().map(|piece| fixed_tokens(piece, false)).sum::<u64>();
            sum(body).max(sum(otherwise))
        }
        Piece::Slot { .. } | Piece::For { .. } | Piece::If { .. } => 0,
    }
}

/// A tag between `{%` and `%}`.
enum Tag {
    For { item: String, list: SlotPath, item_ty: Type },
    EndFor,
    If { condition: SlotPath },
    Else,
    EndIf,
}

/// The block that a body belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Opened {
    For(usize),
    If(usize),
}

impl Opened {
    fn shown(self) -> (&'static str, &'static str, usize) {
        match self {
            Opened::For(at) => ("for", "endfor", at),
            Opened::If(at) => ("if", "endif", at),
        }
    }
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

struct Parser<'a> {
    text: &'a Text,
    formals: &'a [Column],
    /// Items of the loops that are open, innermost last.
    locals: Vec<(String, Type)>,
    used: BTreeSet<String>,
    at: usize,
    depth: usize,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text.value[self.at..]
    }

    fn span(&self, start: usize, end: usize) -> Span {
        self.text.span_of(start, end)
    }

    fn error<T>(&self, start: usize, end: usize, message: &str, label: &str) -> Parsed<T> {
        let message = format!("template error: {message}");
        Err(Box::new(Diagnostic::new(Code::E0109, message, self.span(start, end), label)))
    }

    /// Reads pieces up to the tag that closes `opened`, which is given back; to the end without one.
    fn body(&mut self, opened: Option<Opened>) -> Parsed<(Vec<Piece>, Option<Tag>)> {
        let mut pieces = Vec::new();
        loop {
            let rest = self.rest();
            let literal = ["{{", "{%"].iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
            if literal > 0 {
                pieces.push(Piece::Text(rest[..literal].to_owned()));
                self.at += literal;
            }
            let start = self.at;
            if self.rest().is_empty() {
                let Some(opened) = opened else { return Ok((pieces, None)) };
                let (word, end_word, at) = opened.shown();
                let message = format!("`{word}` has no `{{% {end_word} %}}`");
                return self.error(at, at + 2, &message, "opened here and never closed");
            }
            self.at += 2;
            if self.text.value[start..].starts_with("{{") {
                pieces.push(self.slot(start)?);
                continue;
            }
            let tag = self.tag(start)?;
            match (tag, opened) {
                (Tag::For { item, list, item_ty }, _) => {
                    pieces.push(self.for_piece(start, item, list, item_ty)?)
                }
                (Tag::If { condition }, _) => pieces.push(self.if_piece(start, condition)?),
                (Tag::EndFor, Some(Opened::For(_))) => return Ok((pieces, Some(Tag::EndFor))),
                (tag @ (Tag::Else | Tag::EndIf), Some(Opened::If(_))) => return Ok((pieces, Some(tag))),
                (tag, opened) => return self.misplaced(start, &tag, opened),
            }
        }
    }

    fn misplaced<T>(&self, start: usize, tag: &Tag, opened: Option<Opened>) -> Parsed<T> {
        let word = match tag {
            Tag::EndFor => "endfor",
            Tag::Else => "else",
            _ => "endif",
        };
        let label = match opened {
            Some(opened) => format!("expected `{{% {} %}}`", opened.shown().1),
            None => "nothing is open here".to_owned(),
        };
        self.error(start, self.at, &format!("`{word}` closes nothing"), &label)
    }

    fn deeper(&mut self, start: usize) -> Parsed<()> {
        self.depth += 1;
        if self.depth <= NESTING_LIMIT {
            return Ok(());
        }
        let message = format!("template is nested deeper than {NESTING_LIMIT}");
        Err(Box::new(Diagnostic::new(
            Code::E0501,
            message,
            self.span(start, start + 2),
            "one level too many",
        )))
    }

    fn for_piece(&mut self, start: usize, item: String, list: SlotPath, item_ty: Type) -> Parsed<Piece> {
        self.deeper(start)?;
        self.locals.push((item.clone(), item_ty));
        let (body, _) = self.body(Some(Opened::For(start)))?;
        self.locals.pop();
        self.depth -= 1;
        Ok(Piece::For { item, list, body })
    }

    fn if_piece(&mut self, start: usize, condition: SlotPath) -> Parsed<Piece> {
        self.deeper(start)?;
        let (body, closing) = self.body(Some(Opened::If(start)))?;
        let otherwise = match closing {
            Some(Tag::Else) => {
                let else_end = self.at;
                let (otherwise, closing) = self.body(Some(Opened::If(start)))?;
                if matches!(closing, Some(Tag::Else)) {
                    return self.error(else_end, self.at, "`else` comes twice", "second `else` of one `if`");
                }
                otherwise
            }
            _ => Vec::new(),
        };
        self.depth -= 1;
        Ok(Piece::If { condition, body, otherwise })
    }

    /// After `{%`.
    fn tag(&mut self, start: usize) -> Parsed<Tag> {
        self.blanks();
        let word_start = self.at;
        let word = self.word();
        let tag = match word {
            "for" => self.for_tag(start)?,
            "if" => {
                let (condition, _) = self.path(start)?;
                Tag::If { condition }
            }
            "endfor" => Tag::EndFor,
            "else" => Tag::Else,
            "endif" => Tag::EndIf,
            "" => return self.unexpected(start, "`for`, `if`, `else`, `endfor` or `endif`"),
            "elif" => {
                return self.error(
                    word_start,
                    self.at,
                    "`elif` is not part of templates",
                    "nest an `if` in `else`",
                );
            }
            other => {
                let message = format!("unknown tag `{other}`");
                return self.error(word_start, self.at, &message, "expected for, if, else, endfor or endif");
            }
        };
        self.close(start, "%}")?;
        Ok(tag)
    }

    fn for_tag(&mut self, start: usize) -> Parsed<Tag> {
        self.blanks();
        let item_start = self.at;
        let item = self.word().to_owned();
        if item.is_empty() {
            return self.unexpected(start, "the name of the loop's item");
        }
        if item == "loop" {
            return self.error(
                item_start,
                self.at,
                "`loop` cannot be the item",
                "stands for the loop itself",
            );
        }
        self.blanks();
        if self.word() != "in" {
            return self.error(item_start, self.at, "`for` without `in`", "expected `for item in path`");
        }
        self.blanks();
        let list_start = self.at;
        let (list, ty) = self.path(start)?;
        let item_ty = match ty.required() {
            Type::List(element) => (**element).clone(),
            Type::Unknown => Type::Unknown,
            other => {
                let span = self.span(list_start, self.at);
                let message = format!("`for` needs a list, found {other}");
                self.diagnostics.push(Diagnostic::new(Code::E0303, message, span, "not a list"));
                Type::Unknown
            }
        };
        Ok(Tag::For { item, list, item_ty })
    }

    /// After `{{`.
    fn slot(&mut self, start: usize) -> Parsed<Piece> {
        let (path, mut ty) = self.path(start)?;
        let mut filters = Vec::new();
        loop {
            self.blanks();
            if !self.rest().starts_with('|') {
                break;
            }
            self.at += 1;
            let (filter, out) = self.filter(start, &ty)?;
            filters.push(filter);
            ty = out;
        }
        let path_end = self.at;
        self.close(start, "}}")?;
        if matches!(
            ty.required(),
            Type::List(_) | Type::Record(_) | Type::Map(..) | Type::Span | Type::Message
        ) {
            let message = format!("a slot prints one value, found {ty}");
            let diagnostic =
                Diagnostic::new(Code::E0303, message, self.span(start + 2, path_end), "not a single value");
            self.diagnostics
                .push(diagnostic.help("loop over it with `for`, or add `| join(\", \")` or `| tojson`"));
        }
        Ok(Piece::Slot { path, filters })
    }

    /// After `|`: one filter on a value of type `ty`, and the type of its result.
    fn filter(&mut self, start: usize, ty: &Type) -> Parsed<(Filter, Type)> {
        self.blanks();
        let name_start = self.at;
        let name = self.word().to_owned();
        if name.is_empty() {
            return self.unexpected(start, "the name of a filter");
        }
        let name_end = self.at;
        if !FILTERS.contains(&name.as_str()) {
            let message = format!("template error: unknown filter `{name}`");
            let span = self.span(name_start, name_end);
            let label = format!("expected one of {}", FILTERS.join(", "));
            let diagnostic = Diagnostic::new(Code::E0109, message, span, label);
            return Err(Box::new(suggest(diagnostic, &name, span, FILTERS)));
        }
        let argument = self.argument(start)?;
        match (name.as_str(), &argument) {
            ("default", None) => {
                return self.error(name_start, self.at, "`default` needs a text", "add `(\"...\")`");
            }
            ("join" | "default", _) | (_, None) => {}
            (_, Some(_)) => {
                return self.error(name_end, self.at, &format!("`{name}` takes no argument"), "remove this");
            }
        }
        let found = ty.required();
        let (fits, expected, out) = match name.as_str() {
            "upper" | "lower" | "trim" => (matches!(found, Type::Text | Type::Enum(_)), "a text", Type::Text),
            "length" => {
                (matches!(found, Type::Text | Type::List(_) | Type::Map(..)), "a text or a list", Type::U64)
            }
            "join" => (
                matches!(found, Type::List(element) if is_scalar(element.required())),
                "a list of texts",
                Type::Text,
            ),
            "default" => (true, "", found.clone()),
            _ => (true, "", Type::Text),
        };
        if !fits && !found.is_unknown() {
            let message = format!("filter `{name}` needs {expected}, found {ty}");
            let span = self.span(name_start, name_end);
            self.diagnostics.push(Diagnostic::new(Code::E0303, message, span, format!("applied to {ty}")));
        }
        Ok((Filter { name, argument }, out))
    }

    /// `("text")` or nothing. The text is as in a program: `\"`, `\\`, `\n` and `\t` are escapes.
    fn argument(&mut self, start: usize) -> Parsed<Option<String>> {
        self.blanks();
        if !self.rest().starts_with('(') {
            return Ok(None);
        }
        self.at += 1;
        self.blanks();
        let quote_start = self.at;
        let quote = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => return self.unexpected(start, "a quoted text"),
        };
        self.at += 1;
        let mut value = String::new();
        let mut chars = self.rest().char_indices();
        loop {
            match chars.next() {
                None | Some((_, '\n')) => {
                    return self.error(
                        quote_start,
                        quote_start + 1,
                        "text is not closed",
                        "opened here and never closed",
                    );
                }
                Some((offset, character)) if character == quote => {
                    self.at += offset + 1;
                    break;
                }
                Some((offset, '\\')) => match chars.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some(escaped @ ('"' | '\'' | '\\')) => value.push(escaped),
                    _ => {
                        let place = self.at + offset;
                        return self.error(
                            place,
                            place + 1,
                            "unknown escape",
                            "expected \\n, \\t, \\\" or \\\\",
                        );
                    }
                },
                Some((_, character)) => value.push(character),
            }
        }
        self.blanks();
        if !self.rest().starts_with(')') {
            return self.unexpected(start, "`)`");
        }
        self.at += 1;
        Ok(Some(value))
    }

    /// A path and the type of its value.
    fn path(&mut self, start: usize) -> Parsed<(SlotPath, Type)> {
        self.blanks();
        let root_start = self.at;
        let root = self.word().to_owned();
        if root.is_empty() {
            return self.unexpected(start, "a variable");
        }
        let mut ty = self.root_type(&root, root_start);
        let mut steps = Vec::new();
        loop {
            if self.rest().starts_with('.') {
                self.at += 1;
                let name_start = self.at;
                let name = self.word().to_owned();
                if name.is_empty() {
                    return self.unexpected(start, "a field after `.`");
                }
                ty = self.field_type(&ty, &name, root_start, name_start);
                steps.push(SlotStep::Field(name));
            } else if self.rest().starts_with('[') {
                let bracket = self.at;
                self.at += 1;
                steps.push(self.index(start)?);
                ty = self.element_type(&ty, bracket);
            } else if self.rest().starts_with('(') {
                return self.error(
                    self.at,
                    self.at + 1,
                    "templates have no calls",
                    "expected a path or a filter",
                );
            } else {
                return Ok((SlotPath { root, steps }, ty));
            }
        }
    }

    /// After `[`.
    fn index(&mut self, start: usize) -> Parsed<SlotStep> {
        self.blanks();
        let digits_len = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let index_start = self.at;
        let step = if digits_len > 0 {
            self.at += digits_len;
            match self.text.value[index_start..self.at].parse() {
                Ok(number) => SlotStep::Index(number),
                Err(_) => {
                    return self.error(
                        index_start,
                        self.at,
                        "index is too large",
                        "expected a 64-bit number",
                    );
                }
            }
        } else {
            let (path, ty) = self.path(start)?;
            if !matches!(ty, Type::Int { .. } | Type::Unknown) {
                let span = self.span(index_start, self.at);
                let message = format!("an index is an integer, found {ty}");
                self.diagnostics.push(Diagnostic::new(Code::E0303, message, span, "not an integer"));
            }
            SlotStep::IndexBy(path)
        };
        self.blanks();
        if !self.rest().starts_with(']') {
            return self.unexpected(start, "`]`");
        }
        self.at += 1;
        Ok(step)
    }

    fn root_type(&mut self, root: &str, root_start: usize) -> Type {
        if let Some((_, ty)) = self.locals.iter().rev().find(|(name, _)| name == root) {
            return ty.clone();
        }
        if root == "loop" && !self.locals.is_empty() {
            let field = |name: &str, ty: Type| Column { name: name.to_owned(), ty };
            let (index, truth) = (Type::U32, Type::Bool);
            return Type::Record(vec![
                field("index", index.clone()),
                field("index0", index),
                field("first", truth.clone()),
                field("last", truth),
            ]);
        }
        if let Some(formal) = self.formals.iter().find(|formal| formal.name == root) {
            self.used.insert(root.to_owned());
            return formal.ty.clone();
        }
        let label = if root == "loop" { "outside of `for`" } else { "neither a formal nor a loop's item" };
        let span = self.span(root_start, self.at);
        let diagnostic =
            Diagnostic::new(Code::E0204, format!("unknown template variable `{root}`"), span, label);
        let formals = self.formals.iter().map(|formal| formal.name.as_str());
        let names: Vec<&str> = self.locals.iter().map(|(name, _)| name.as_str()).chain(formals).collect();
        self.diagnostics.push(suggest(diagnostic, root, span, names.iter().copied()));
        // The near name is what was meant, so it is not reported as unused as well.
        let near = nearest(root, names).into_iter().map(str::to_owned).collect::<Vec<_>>();
        self.used
            .extend(near.into_iter().filter(|name| self.formals.iter().any(|formal| formal.name == *name)));
        Type::Unknown
    }

    fn field_type(&mut self, ty: &Type, name: &str, root_start: usize, name_start: usize) -> Type {
        let columns = match ty.required() {
            Type::Unknown => return Type::Unknown,
            Type::Record(columns) => columns.clone(),
            Type::Message => {
                ["role", "content"].map(|name| Column { name: name.to_owned(), ty: Type::Text }).to_vec()
            }
            Type::Map(key, value) if **key == Type::Text => return value.as_ref().clone().optional(),
            // A step through a list of records maps, as in expressions.
            Type::List(element)
                if matches!(element.required(), Type::Record(_) | Type::Message | Type::Unknown) =>
            {
                let field = self.field_type(&element.clone(), name, root_start, name_start);
                return Type::List(Box::new(field));
            }
            _ => Vec::new(),
        };
        if let Some(column) = columns.iter().find(|column| column.name == name) {
            let field = column.ty.clone();
            return if ty.is_optional() { field.optional() } else { field };
        }
        let shown = &self.text.value[root_start..self.at];
        let message = format!("unknown template variable `{shown}`");
        let label =
            if columns.is_empty() { format!("{ty} has no fields") } else { "no such field".to_owned() };
        let span = self.span(name_start, self.at);
        let mut diagnostic = Diagnostic::new(Code::E0204, message, span, label);
        if !columns.is_empty() {
            let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
            diagnostic = diagnostic.note(format!("fields: {}", names.join(", ")));
            diagnostic = suggest(diagnostic, name, span, names);
        }
        self.diagnostics.push(diagnostic);
        Type::Unknown
    }

    fn element_type(&mut self, ty: &Type, bracket: usize) -> Type {
        match ty.required() {
            Type::Unknown => Type::Unknown,
            // An index past the end gives null.
            Type::List(element) => element.as_ref().clone().optional(),
            other => {
                let message = format!("only a list has an index, found {other}");
                let span = self.span(bracket, self.at);
                self.diagnostics.push(Diagnostic::new(Code::E0303, message, span, "not a list"));
                Type::Unknown
            }
        }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// An identifier at the place; empty if there is none.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        let len = match rest.bytes().next() {
            Some(byte) if is_start(byte) => {
                rest.bytes().take_while(|byte| is_start(*byte) || byte.is_ascii_digit()).count()
            }
            _ => 0,
        };
        self.at += len;
        &rest[..len]
    }

    fn close(&mut self, start: usize, mark: &str) -> Parsed<()> {
        self.blanks();
        if self.rest().starts_with(mark) {
            self.at += mark.len();
            return Ok(());
        }
        self.unexpected(start, &format!("`{mark}`"))
    }

    fn unexpected<T>(&self, start: usize, expected: &str) -> Parsed<T> {
        match self.rest().chars().next() {
            None => {
                let mark = &self.text.value[start..start + 2];
                self.error(
                    start,
                    start + 2,
                    &format!("`{mark}` is not closed"),
                    "opened here and never closed",
                )
            }
            Some(found) => {
                let message = format!("expected {expected}, found `{}`", found.escape_debug());
                self.error(self.at, self.at + found.len_utf8(), &message, &format!("expected {expected}"))
            }
        }
    }
}

fn is_scalar(ty: &Type) -> bool {
    !matches!(
        ty,
        Type::List(_) | Type::Record(_) | Type::Map(..) | Type::Vector { .. } | Type::Span | Type::Message
    )
}

#[cfg(test)]
mod tests;
