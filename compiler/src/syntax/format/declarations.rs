//! Declarations: on one line, or broken at their blocks and values.

use super::super::ast::{
    Block, Expr, Field, FieldValue, FromKeyword, Item, ItemKind, OnKeyword, PlainKeyword, Stage, Type,
};
use super::Printer;
use super::align::{FORM, MARK};
use super::wrap::fits;

/// The keyword of a declaration.
pub(super) fn keyword(item: &Item) -> &'static str {
    match &item.kind {
        ItemKind::Import { .. } => "import",
        ItemKind::Param { .. } => "param",
        ItemKind::Type { .. } => "type",
        ItemKind::Source { .. } => "source",
        ItemKind::Plain { keyword, .. } => match keyword {
            PlainKeyword::Tokenizer => "tokenizer",
            PlainKeyword::Embedder => "embedder",
            PlainKeyword::Model => "model",
            PlainKeyword::Scorer => "scorer",
            PlainKeyword::Recursion => "recursion",
            PlainKeyword::Bench => "bench",
            PlainKeyword::Service => "service",
        },
        ItemKind::Index { .. } => "index",
        ItemKind::On { keyword, .. } => match keyword {
            OnKeyword::Adapter => "adapter",
            OnKeyword::Dynamics => "dynamics",
            OnKeyword::Diffusion => "diffusion",
        },
        ItemKind::From { keyword, .. } => match keyword {
            FromKeyword::Trajectory => "trajectory",
            FromKeyword::Patterns => "patterns",
            FromKeyword::Learn => "learn",
        },
        ItemKind::Federation { .. } => "federation",
        ItemKind::Prompt { .. } => "prompt",
        ItemKind::Pipeline { .. } => "pipeline",
        ItemKind::Query { .. } => "query",
        ItemKind::Gate { .. } => "gate",
        ItemKind::Test { .. } => "test",
        ItemKind::Bad => "",
    }
}

/// The text without the marks of [`super::align`].
fn without_marks(text: &str) -> String {
    let text = text.rsplit(FORM).next().unwrap_or(text);
    let mut pieces = text.split(MARK);
    let first = pieces.next().unwrap_or("").to_owned();
    pieces.fold(first, |all, piece| all + piece.get(1..).unwrap_or(""))
}

impl Printer<'_> {
    /// Whether a block may stand on one line: it was written so, and holds no comment.
    fn is_one_line_block(&self, block: &Block) -> bool {
        let is_small = block.fields.is_empty() || !self.text[block.span.range()].contains('\n');
        is_small && !self.has_comments(block.span)
    }

    /// A declaration on one line, with marks for alignment, if it may stand so.
    pub(super) fn one_line(&self, item: &Item) -> Option<String> {
        if self.has_comments(item.span) {
            return None;
        }
        let mut line = format!("{FORM}{0}{FORM}{0} ", keyword(item));
        line.push_str(&self.header(item)?);
        if let Some(block) = block_of(item) {
            if !self.is_one_line_block(block) {
                return None;
            }
            line.push_str(&format!(" {MARK}{{{}", self.flat.block(block)));
        }
        fits(&without_marks(&line), 0).then_some(line)
    }

    /// What stands between the keyword and the block, on one line with marks; `None` for declarations with bodies.
    fn header(&self, item: &Item) -> Option<String> {
        let flat = self.flat;
        Some(match &item.kind {
            ItemKind::Import { path, alias: None } => flat.string(path),
            ItemKind::Import { path, alias: Some(alias) } => {
                format!("{} as {}", flat.string(path), alias.name)
            }
            ItemKind::Param { name, ty, default, .. } => {
                format!("{} {MARK}:: {} {MARK}== {}", name.name, flat.ty(ty), flat.expr(default))
            }
            ItemKind::Type { name, ty } => format!("{} {MARK}== {}", name.name, flat.ty(ty)),
            ItemKind::Source { name, ty, call, .. } => {
                format!("{} {MARK}:: {} {MARK}== {}", name.name, flat.ty(ty), flat.call(call))
            }
            ItemKind::Plain { name, .. } => name.name.clone(),
            ItemKind::Index { name, on, column, .. } => {
                format!("{} {MARK}oon {}({})", name.name, on.text(), column.name)
            }
            ItemKind::On { name, on, .. } => format!("{} {MARK}oon {}", name.name, on.text()),
            ItemKind::From { name, from, .. } => format!("{} {MARK}ofrom {}", name.name, from.text()),
            ItemKind::Federation { name, target, .. } => {
                format!("{} {MARK}ofor {}", name.name, target.text())
            }
            ItemKind::Query { name, sql } => format!("{} {MARK}== sql {}", name.name, flat.string(sql)),
            ItemKind::Pipeline { name, stages } => {
                let [stage] = stages.as_slice() else { return None };
                if self.text[item.span.range()].contains('\n')
                    || matches!(stage, Stage::Flow(flow) if flow.steps.len() > 1)
                {
                    return None;
                }
                format!("{} {{ {} }}", name.name, self.flat_stage(stage)?)
            }
            ItemKind::Prompt { .. } | ItemKind::Gate { .. } | ItemKind::Test { .. } | ItemKind::Bad => {
                return None;
            }
        })
    }

    /// A declaration on several lines.
    pub(super) fn broken(&self, item: &Item) {
        let word = keyword(item);
        match &item.kind {
            ItemKind::Param { name, ty, default, block } => {
                self.typed(&format!("{word} {} : ", name.name), ty, |column| self.expr(default, column));
                self.optional_block(block.as_ref());
            }
            ItemKind::Source { name, ty, call, block } => {
                self.typed(&format!("{word} {} : ", name.name), ty, |column| self.call(call, column));
                self.optional_block(block.as_ref());
            }
            ItemKind::Type { name, ty } => {
                let head = format!("{word} {} = ", name.name);
                self.line(0, &head);
                self.push(&self.ty(ty, head.len()));
            }
            ItemKind::Prompt { name, formals, within, messages } => {
                self.prompt(&name.name, formals, within, messages)
            }
            ItemKind::Pipeline { name, stages } => self.pipeline(item.span, &name.name, stages),
            ItemKind::Gate { .. } => self.gate(item),
            ItemKind::Test { .. } => self.test(item),
            ItemKind::Bad => self.verbatim(item.span.start as usize, item.span.end as usize),
            _ => {
                let header = self.header(item).unwrap_or_default();
                self.line(0, &without_marks(&format!("{word} {header}")));
                if let Some(block) = block_of(item) {
                    self.block(block, 0);
                }
            }
        }
    }

    /// `head type = value`, where the type and the value may wrap.
    fn typed(&self, head: &str, ty: &Type, value: impl Fn(usize) -> String) {
        self.line(0, head);
        let ty = self.ty(ty, head.len());
        self.push(&ty);
        self.push(" = ");
        let out = self.out.borrow();
        let column = out[out.rfind('\n').map_or(0, |at| at + 1)..].chars().count();
        drop(out);
        let value = value(column);
        self.push(&value);
    }

    fn optional_block(&self, block: Option<&Block>) {
        if let Some(block) = block {
            self.block(block, 0);
        }
    }

    /// A block behind what was written: on the same line if it may, else one field per line.
    fn block(&self, block: &Block, indent: usize) {
        let flat = self.flat.block(block);
        let column = {
            let out = self.out.borrow();
            out[out.rfind('\n').map_or(0, |at| at + 1)..].chars().count()
        };
        if self.is_one_line_block(block) && fits(&flat, column + 1) {
            self.push(&format!(" {flat}"));
            return;
        }
        self.open(block.span.start);
        for (idx, field) in block.fields.iter().enumerate() {
            self.before_part(field.span.start, indent + 2, idx == 0);
            self.field(field, indent + 2);
            self.line_end(field.span.end);
        }
        self.close(block.span.end, indent);
    }

    fn field(&self, field: &Field, indent: usize) {
        let name = &field.name.name;
        match &field.value {
            FieldValue::Expr(expr) => {
                let flat = self.flat.expr(expr);
                if !self.has_comments(expr.span) && fits(&flat, indent + name.len() + 3) {
                    self.line(indent, &format!("{FORM}field{FORM}{name} {MARK}== {flat}"));
                } else {
                    self.line_indent.set(indent);
                    let value = self.expr(expr, indent + name.len() + 3);
                    self.line(indent, &format!("{name} = {value}"));
                }
            }
            FieldValue::Block(block) => {
                self.line(indent, name);
                self.block(block, indent);
            }
            FieldValue::Bad => self.line(indent, &self.text[field.span.range()]),
        }
    }

    // --- bodies in braces -------------------------------------------------------------------------------------------

    /// ` {` behind what was written, with the comment behind it.
    pub(super) fn open(&self, at: u32) {
        self.push(" {");
        self.line_end(at + 1);
    }

    /// Empty lines and comments before a part of a body.
    pub(super) fn before_part(&self, start: u32, indent: usize, is_first: bool) {
        if self.next_comment().is_some_and(|(_, span)| span.start < start) {
            self.own_comments(start, indent, is_first);
        } else if !is_first && self.had_empty_line(start) {
            self.empty_line();
        }
    }

    /// The comments before a closing brace, and the brace.
    pub(super) fn close(&self, end: u32, indent: usize) {
        self.own_comments(end - 1, indent + 2, false);
        self.line(indent, "}");
        self.written.set(self.written.get().max(end));
    }

    /// A value behind a keyword on a line of its own.
    pub(super) fn clause(&self, keyword: &str, indent: usize, value: &Expr) {
        self.line_indent.set(indent);
        let value = self.expr(value, indent + keyword.len() + 1);
        self.line(indent, &format!("{keyword} {value}"));
    }
}

fn block_of(item: &Item) -> Option<&Block> {
    match &item.kind {
        ItemKind::Param { block, .. } | ItemKind::Source { block, .. } => block.as_ref(),
        ItemKind::Plain { block, .. }
        | ItemKind::Index { block, .. }
        | ItemKind::On { block, .. }
        | ItemKind::From { block, .. }
        | ItemKind::Federation { block, .. } => Some(block),
        _ => None,
    }
}
