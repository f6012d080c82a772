//! Blocks of fields: `{ name = value, name { ... } }`.

use pest::iterators::Pair;

use super::ast::{Block, Field, FieldValue, Ident};
use super::grammar::Rule;
use super::items::parts;
use super::parse::Builder;

/// Most fields in one block.
const MAX_FIELDS: usize = 256;

impl Builder<'_> {
    pub(super) fn block(&mut self, pair: Pair<'_, Rule>) -> Block {
        let span = self.span(&pair);
        let mut fields = Vec::new();
        let mut after_bad = false;
        for part in parts(pair) {
            let is_bad = part.as_rule() == Rule::bad_field;
            let field = if is_bad { self.bad_field(&part, after_bad) } else { self.field(part) };
            after_bad = is_bad;
            fields.push(field);
            self.limit(fields.len(), MAX_FIELDS, "fields in one block", fields[fields.len() - 1].span);
        }
        Block { fields, span }
    }

    fn field(&mut self, pair: Pair<'_, Rule>) -> Field {
        let span = self.span(&pair);
        let doc = self.doc_before(span.start as usize);
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let value = parts.part();
        let value = match value.as_rule() {
            Rule::block => FieldValue::Block(self.block(value)),
            _ => FieldValue::Expr(self.expr(value)),
        };
        Field { name, value, doc, span }
    }

    /// A bad field keeps the name it begins with, if any, so that it does not count as missing.
    fn bad_field(&mut self, pair: &Pair<'_, Rule>, after_bad: bool) -> Field {
        let span = self.bad(pair, Rule::field, after_bad);
        let text = &self.text[span.range()];
        let len = text
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(text.len());
        let name = Ident {
            name: text[..len].to_owned(),
            span: crate::source::Span { end: span.start + len as u32, ..span },
        };
        Field { name, value: FieldValue::Bad, doc: None, span }
    }
}
