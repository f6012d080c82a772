//! Type expressions.

use pest::iterators::Pair;

use super::ast::{Type, TypeKind};
use super::grammar::Rule;
use super::items::parts;
use super::parse::Builder;
use crate::diagnostic::{Code, Diagnostic};

impl Builder<'_> {
    pub(super) fn ty(&mut self, pair: Pair<'_, Rule>) -> Type {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let kind = self.type_kind(parts.part());
        Type { kind, optional: parts.next().is_some(), span }
    }

    fn type_kind(&mut self, pair: Pair<'_, Rule>) -> TypeKind {
        let rule = pair.as_rule();
        if rule == Rule::path {
            return TypeKind::Named(self.path(pair));
        }
        let mut parts = parts(pair);
        match rule {
            Rule::stream => TypeKind::Stream(Box::new(self.ty(parts.part()))),
            Rule::listt => TypeKind::List(Box::new(self.ty(parts.part()))),
            Rule::mapt => TypeKind::Map(Box::new(self.ty(parts.part())), Box::new(self.ty(parts.part()))),
            Rule::tokens => TypeKind::Tokens(self.path(parts.part())),
            Rule::enumt => TypeKind::Enum(parts.map(|text| self.text_value(&text)).collect()),
            Rule::record => TypeKind::Record(parts.map(|formal| self.formal(formal)).collect()),
            _ => self.vector(parts),
        }
    }

    fn vector(&mut self, mut parts: super::items::Parts<'_>) -> TypeKind {
        let int = parts.part();
        let dim_span = self.span(&int);
        let dim = int.as_str().parse().unwrap_or_else(|_| {
            let message = format!("vector of {} dimensions", int.as_str());
            self.diagnostics.push(Diagnostic::new(Code::E0501, message, dim_span, "more than 2^64"));
            u64::MAX
        });
        let (mut element, mut space) = (None, None);
        for part in parts {
            match part.as_rule() {
                Rule::ident => element = Some(self.ident(&part)),
                _ => space = Some(self.path(part)),
            }
        }
        TypeKind::Vector { dim, dim_span, element, space }
    }
}
