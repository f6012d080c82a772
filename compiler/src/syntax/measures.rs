//! Gates and tests.

use pest::iterators::Pair;

use super::ast::{Given, ItemKind, Outcome};
use super::grammar::Rule;
use super::items::parts;
use super::parse::Builder;

impl Builder<'_> {
    pub(super) fn gate(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let on = self.path(parts.part());
        let sql = self.text_value(&parts.part());
        let (mut requires, mut outcomes) = (Vec::new(), Vec::new());
        let mut after_bad = false;
        for part in parts {
            let rule = part.as_rule();
            match rule {
                Rule::require => {
                    requires.push(self.expr(part.into_inner().next().expect("`require` has a value")))
                }
                Rule::outcome => outcomes.push(self.outcome(part)),
                Rule::bad_require => drop(self.bad(&part, Rule::require, after_bad)),
                _ => drop(self.bad(&part, Rule::outcome, after_bad)),
            }
            after_bad = !matches!(rule, Rule::require | Rule::outcome);
        }
        ItemKind::Gate { name, on, sql, requires, outcomes }
    }

    fn outcome(&mut self, pair: Pair<'_, Rule>) -> Outcome {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let on_pass = parts.part().as_str() == "pass";
        Outcome { on_pass, calls: parts.map(|call| self.call(call)).collect(), span }
    }

    pub(super) fn test(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let target = self.path(parts.part());
        let (mut givens, mut expects) = (Vec::new(), Vec::new());
        let mut after_bad = false;
        for part in parts {
            let rule = part.as_rule();
            match rule {
                Rule::given => givens.push(self.given(part)),
                Rule::expect => {
                    expects.push(self.expr(part.into_inner().next().expect("`expect` has a value")))
                }
                Rule::bad_given => drop(self.bad(&part, Rule::given, after_bad)),
                _ => drop(self.bad(&part, Rule::expect, after_bad)),
            }
            after_bad = !matches!(rule, Rule::given | Rule::expect);
        }
        ItemKind::Test { name, target, givens, expects }
    }

    fn given(&mut self, pair: Pair<'_, Rule>) -> Given {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        Given { stream: self.path(parts.part()), rows: self.expr(parts.part()), span }
    }
}
