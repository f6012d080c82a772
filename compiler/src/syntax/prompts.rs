//! Prompts: formals and messages.

use pest::iterators::Pair;

use super::ast::{Formal, ItemKind, Message, Role};
use super::grammar::Rule;
use super::items::parts;
use super::parse::Builder;

impl Builder<'_> {
    pub(super) fn prompt(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair).peekable();
        let name = self.ident(&parts.next().expect("a prompt has a name"));
        let mut formals = Vec::new();
        while let Some(part) = parts.next_if(|part| part.as_rule() == Rule::formal) {
            formals.push(self.formal(part));
        }
        let within = self.expr(parts.next().expect("a prompt has a budget"));
        let mut messages = Vec::new();
        let mut after_bad = false;
        for part in parts {
            let is_bad = part.as_rule() == Rule::bad_message;
            if is_bad {
                self.bad(&part, Rule::message, after_bad);
            } else {
                messages.push(self.message(part));
            }
            after_bad = is_bad;
        }
        ItemKind::Prompt { name, formals, within, messages }
    }

    pub(super) fn formal(&mut self, pair: Pair<'_, Rule>) -> Formal {
        let doc = self.doc_before(pair.as_span().start());
        let mut parts = parts(pair);
        Formal { name: self.name(&mut parts), ty: self.ty(parts.part()), doc }
    }

    fn message(&mut self, pair: Pair<'_, Rule>) -> Message {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let keyword = parts.part();
        let role = match keyword.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => Role::Tool,
        };
        let role_span = self.span(&keyword);
        let mut attributes = Vec::new();
        let mut part = parts.part();
        while part.as_rule() == Rule::arg {
            attributes.push(self.argument(part));
            part = parts.part();
        }
        Message { role, role_span, attributes, template: self.text_value(&part), span }
    }
}
