//! Bodies of prompts, pipelines, gates and tests.

use super::super::ast::{Expr, Flow, Formal, Item, ItemKind, Message, Outcome, Role, Stage, Step};
use super::Printer;
use super::align::INNER_BREAK;
use super::wrap::{WIDTH, fits};
use crate::source::Span;

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

impl Printer<'_> {
    pub(super) fn prompt(&self, name: &str, formals: &[Formal], within: &Expr, messages: &[Message]) {
        let head = format!("prompt {name}(");
        self.line(0, &head);
        let end = formals.last().map_or(within.span.start, |formal| formal.ty.span.end);
        let start = formals.first().map_or(end, |formal| formal.name.span.start);
        let formals = self.formals(formals, Span { start, end, ..within.span }, head.len());
        self.push(&formals);
        self.push(&format!(") within {}", self.flat.expr(within)));
        let brace = self.text[within.span.end as usize..].find('{').unwrap_or(0);
        self.open(within.span.end + brace as u32);
        for (idx, message) in messages.iter().enumerate() {
            self.before_part(message.span.start, 2, idx == 0);
            self.message(message, 2);
            self.line_end(message.span.end);
        }
        self.close_item(messages.last().map_or(within.span.end, |message| message.span.end));
    }

    fn message(&self, message: &Message, indent: usize) {
        let mut head = format!("{:<6} ", role(message.role));
        if !message.attributes.is_empty() {
            let span =
                Span { start: message.role_span.end, end: message.template.span.start, ..message.span };
            let attributes = self.attributes(&message.attributes, span, indent + head.len() + 1);
            head.push_str(&format!("({attributes})"));
        }
        let template = self.flat.string(&message.template);
        let first = template.split(INNER_BREAK).next().unwrap_or("").chars().count();
        let width = head.rsplit('\n').next().unwrap_or("").chars().count();
        let width = if head.contains('\n') { width } else { width + indent };
        if message.attributes.is_empty() {
            self.line(indent, &format!("{head}{template}"));
        } else if width + 1 + first <= WIDTH {
            self.line(indent, &format!("{head} {template}"));
        } else {
            self.line(indent, &head);
            self.line(indent + 7, &template);
        }
    }

    /// The closing brace of a declaration: the first one after an offset, comments passed over.
    fn close_item(&self, after: u32) {
        let tokens = super::Lexer::new(self.text, after as usize);
        let brace = tokens
            .filter(|token| token.kind != super::TokenKind::Comment)
            .find(|token| &self.text[token.start..token.end] == "}");
        self.close(brace.map_or(after + 1, |token| token.end as u32), 0);
    }

    pub(super) fn pipeline(&self, span: Span, name: &str, stages: &[Stage]) {
        self.line(0, &format!("pipeline {name}"));
        let brace = self.text[span.range()].find('{').unwrap_or(0);
        self.open(span.start + brace as u32);
        for (idx, stage) in stages.iter().enumerate() {
            let place = match stage {
                Stage::Flow(flow) => flow.span,
                Stage::Write { span, .. } | Stage::Bad { span, .. } => *span,
            };
            self.before_part(place.start, 2, idx == 0);
            self.stage(stage, 2);
            self.line_end(place.end);
        }
        self.close(span.end, 0);
    }

    /// A stage on one line; `None` for text that is none.
    pub(super) fn flat_stage(&self, stage: &Stage) -> Option<String> {
        match stage {
            Stage::Flow(flow) => {
                let steps: Option<String> =
                    flow.steps.iter().map(|step| Some(format!(" |> {}", self.flat_step(step)?))).collect();
                let ty = flow.ty.as_ref().map_or(String::new(), |ty| format!(" : {}", self.flat.ty(ty)));
                Some(format!("{}{} -> {}{ty}", self.flat.expr(&flow.operand), steps?, flow.name.name))
            }
            Stage::Write { stream, sink, .. } => {
                Some(format!("write {} to {}", stream.text(), self.flat.call(sink)))
            }
            Stage::Bad { .. } => None,
        }
    }

    fn flat_step(&self, step: &Step) -> Option<String> {
        let alias = step.alias.as_ref().map_or(String::new(), |alias| format!(" as {}", alias.name));
        Some(format!("{}{alias}", self.flat.call(step.call.as_ref()?)))
    }

    fn stage(&self, stage: &Stage, indent: usize) {
        self.line_indent.set(indent);
        match stage {
            Stage::Flow(flow) => self.flow(flow, indent),
            Stage::Write { stream, sink, .. } => {
                let head = format!("write {} to ", stream.text());
                let sink = self.call(sink, indent + head.len());
                self.line(indent, &format!("{head}{sink}"));
            }
            Stage::Bad { span, .. } => self.verbatim(span.start as usize, span.end as usize),
        }
    }

    fn flow(&self, flow: &Flow, indent: usize) {
        let flat = self.flat_stage(&Stage::Flow(flow.clone()));
        if let Some(flat) =
            flat.filter(|flat| flow.steps.len() <= 1 && !self.has_comments(flow.span) && fits(flat, indent))
        {
            self.line(indent, &flat);
            return;
        }
        let operand = self.expr(&flow.operand, indent);
        self.line(indent, &operand);
        self.line_end(flow.operand.span.end);
        for step in &flow.steps {
            self.own_comments(step.span.start, indent + 2, false);
            self.line_indent.set(indent + 2);
            let alias = step.alias.as_ref().map_or(String::new(), |alias| format!(" as {}", alias.name));
            let call = match &step.call {
                Some(call) => format!("|> {}{alias}", self.call(call, indent + 5)),
                None => self.text[step.span.range()].to_owned(),
            };
            self.line(indent + 2, &call);
            self.line_end(step.span.end);
        }
        self.own_comments(flow.name.span.start, indent + 2, false);
        let mut last = format!("-> {}", flow.name.name);
        if let Some(ty) = &flow.ty {
            let column = indent + 2 + last.len() + 3;
            last.push_str(&format!(" : {}", self.ty(ty, column)));
        }
        self.line(indent + 2, &last);
    }

    pub(super) fn gate(&self, item: &Item) {
        let ItemKind::Gate { name, on, sql, requires, outcomes } = &item.kind else { return };
        self.line(0, &format!("gate {} on {}", name.name, on.text()));
        let brace = self.text[on.span.end as usize..].find('{').unwrap_or(0);
        self.open(on.span.end + brace as u32);
        self.before_part(sql.span.start, 2, true);
        self.line(2, &format!("sql {}", self.flat.string(sql)));
        self.line_end(sql.span.end);
        for require in requires {
            self.before_part(self.keyword_start(require.span.start, "require"), 2, false);
            self.clause("require", 2, require);
            self.line_end(require.span.end);
        }
        for outcome in outcomes {
            self.before_part(outcome.span.start, 2, false);
            self.outcome(outcome, 2);
            self.line_end(outcome.span.end);
        }
        self.close(item.span.end, 0);
    }

    fn outcome(&self, outcome: &Outcome, indent: usize) {
        let head = if outcome.on_pass { "on pass" } else { "on fail" };
        let calls: Vec<String> = outcome.calls.iter().map(|call| self.flat.call(call)).collect();
        let flat = if calls.is_empty() {
            format!("{head} {{ }}")
        } else {
            format!("{head} {{ {} }}", calls.join(" "))
        };
        let was_one_line = calls.is_empty() || !self.text[outcome.span.range()].contains('\n');
        if was_one_line && !self.has_comments(outcome.span) && fits(&flat, indent) {
            self.line(indent, &flat);
            return;
        }
        self.line(indent, head);
        let brace = self.text[outcome.span.range()].find('{').unwrap_or(0);
        self.open(outcome.span.start + brace as u32);
        for (idx, call) in outcome.calls.iter().enumerate() {
            self.before_part(call.span.start, indent + 2, idx == 0);
            let written = self.call(call, indent + 2);
            self.line(indent + 2, &written);
            self.line_end(call.span.end);
        }
        self.close(outcome.span.end, indent);
    }

    pub(super) fn test(&self, item: &Item) {
        let ItemKind::Test { name, target, givens, expects } = &item.kind else { return };
        self.line(0, &format!("test {} for {}", name.name, target.text()));
        let brace = self.text[target.span.end as usize..].find('{').unwrap_or(0);
        self.open(target.span.end + brace as u32);
        for (idx, given) in givens.iter().enumerate() {
            self.before_part(given.span.start, 2, idx == 0);
            self.clause(&format!("given {} =", given.stream.text()), 2, &given.rows);
            self.line_end(given.span.end);
        }
        for (idx, expect) in expects.iter().enumerate() {
            self.before_part(
                self.keyword_start(expect.span.start, "expect"),
                2,
                idx == 0 && givens.is_empty(),
            );
            self.clause("expect", 2, expect);
            self.line_end(expect.span.end);
        }
        self.close(item.span.end, 0);
    }

    /// Where the keyword before an offset stands.
    fn keyword_start(&self, before: u32, keyword: &str) -> u32 {
        self.text[..before as usize].rfind(keyword).map_or(before, |at| at as u32)
    }
}
