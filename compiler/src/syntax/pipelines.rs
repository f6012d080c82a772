//! Pipelines: flows, steps, writes; and queries.

use pest::iterators::Pair;

use super::ast::{Flow, Ident, ItemKind, Stage, Step};
use super::grammar::Rule;
use super::items::parts;
use super::parse::Builder;
use crate::source::Span;

impl Builder<'_> {
    pub(super) fn pipeline(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let mut stages = Vec::new();
        let mut after_bad = false;
        for part in parts {
            let rule = part.as_rule();
            stages.push(match rule {
                Rule::write => self.write(part),
                Rule::flow => Stage::Flow(self.flow(part)),
                _ => self.bad_stage(&part, after_bad),
            });
            after_bad = rule == Rule::bad_stage;
        }
        ItemKind::Pipeline { name, stages }
    }

    fn write(&mut self, pair: Pair<'_, Rule>) -> Stage {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        Stage::Write { stream: self.path(parts.part()), sink: self.call(parts.part()), span }
    }

    fn flow(&mut self, pair: Pair<'_, Rule>) -> Flow {
        let span = self.span(&pair);
        let doc = self.doc_before(span.start as usize);
        let mut parts = parts(pair).peekable();
        let first = parts.next().expect("a flow has an operand");
        let operand = self.operand(first);
        let mut steps: Vec<Step> = Vec::new();
        while let Some(part) = parts.next_if(|part| matches!(part.as_rule(), Rule::step | Rule::bad_step)) {
            let after_bad = steps.last().is_some_and(|step| step.call.is_none());
            let step = if part.as_rule() == Rule::step {
                self.step(part)
            } else {
                Step { span: self.bad(&part, Rule::step, after_bad), call: None, alias: None }
            };
            steps.push(step);
        }
        let name = self.ident(&parts.next().expect("a flow has a name"));
        Flow { operand, steps, name, ty: parts.next().map(|ty| self.ty(ty)), doc, span }
    }

    fn step(&mut self, pair: Pair<'_, Rule>) -> Step {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        Step {
            call: Some(self.call(parts.part())),
            alias: parts.next().map(|alias| self.ident(&alias)),
            span,
        }
    }

    fn bad_stage(&mut self, pair: &Pair<'_, Rule>, after_bad: bool) -> Stage {
        let rule = if pair.as_str().starts_with("write") && pair.as_str()[5..].starts_with([' ', '\n']) {
            Rule::write
        } else {
            Rule::strict_flow
        };
        let span = self.bad(pair, rule, after_bad);
        Stage::Bad { name: self.name_after_arrow(span), span }
    }

    /// The name after the last arrow of a bad stage.
    fn name_after_arrow(&self, span: Span) -> Option<Ident> {
        let text = &self.text[span.range()];
        let arrow = text.rfind("->")? + 2;
        let start = arrow + text[arrow..].find(|character: char| !character.is_whitespace())?;
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let len = text[start..].find(|character| !is_part(character)).unwrap_or(text.len() - start);
        let begin = span.start as usize + start;
        let first = text[start..].chars().next()?;
        let is_name = first.is_ascii_alphabetic() || first == '_';
        is_name.then(|| Ident {
            name: text[start..start + len].to_owned(),
            span: Span::new(self.source, begin, begin + len),
        })
    }

    pub(super) fn query(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        ItemKind::Query { name: self.name(&mut parts), sql: self.text_value(&parts.part()) }
    }
}
