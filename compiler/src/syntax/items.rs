//! Declarations, but for the bodies of prompts, pipelines, gates and tests.

use pest::iterators::{Pair, Pairs};

use super::ast::{FromKeyword, Ident, Item, ItemKind, OnKeyword, PlainKeyword};
use super::grammar::Rule;
use super::parse::Builder;

/// The parts of a pair without punctuation and contextual keywords.
pub(super) struct Parts<'i> {
    pairs: Pairs<'i, Rule>,
}

impl<'i> Iterator for Parts<'i> {
    type Item = Pair<'i, Rule>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pairs.find(|pair| !is_token(pair.as_rule()))
    }
}

impl<'i> Parts<'i> {
    /// The next part, where the grammar says that there is one.
    pub(super) fn part(&mut self) -> Pair<'i, Rule> {
        self.next().expect("the grammar requires this part")
    }
}

/// The parts of a pair.
pub(super) fn parts(pair: Pair<'_, Rule>) -> Parts<'_> {
    Parts { pairs: pair.into_inner() }
}

fn is_token(rule: Rule) -> bool {
    use Rule as R;
    matches!(
        rule,
        R::eq
            | R::colon
            | R::comma
            | R::open_brace
            | R::close_brace
            | R::open_paren
            | R::close_paren
            | R::open_square
            | R::close_square
            | R::less
            | R::greater
            | R::at
            | R::arrow
            | R::pipe
            | R::kw_as
            | R::kw_on
            | R::kw_from
            | R::kw_for
            | R::kw_to
            | R::kw_within
            | R::kw_sql
    )
}

impl Builder<'_> {
    pub(super) fn item(&mut self, pair: Pair<'_, Rule>) -> Item {
        let span = self.span(&pair);
        let doc = self.doc_before(span.start as usize);
        let pair = pair.into_inner().next().expect("an item has one form");
        let kind = match pair.as_rule() {
            Rule::import => self.import(pair),
            Rule::param => self.param(pair),
            Rule::typedecl => self.type_declaration(pair),
            Rule::source => self.source(pair),
            Rule::plain => self.plain(pair),
            Rule::indexdecl => self.index(pair),
            Rule::ondecl => self.on_model(pair),
            Rule::fromdecl => self.learned(pair),
            Rule::fordecl => self.federation(pair),
            Rule::prompt => self.prompt(pair),
            Rule::pipeline => self.pipeline(pair),
            Rule::query => self.query(pair),
            Rule::gate => self.gate(pair),
            Rule::test => self.test(pair),
            _ => ItemKind::Bad,
        };
        let kind = if std::mem::take(&mut self.open_raw) { ItemKind::Bad } else { kind };
        Item { span, doc, kind }
    }

    /// The next part, which is a name.
    pub(super) fn name(&self, parts: &mut Parts<'_>) -> Ident {
        self.ident(&parts.part())
    }

    fn import(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let path = self.text_value(&parts.part());
        ItemKind::Import { path, alias: parts.next().map(|alias| self.ident(&alias)) }
    }

    fn param(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let ty = self.ty(parts.part());
        let default = self.expr(parts.part());
        ItemKind::Param { name, ty, default, block: parts.next().map(|block| self.block(block)) }
    }

    fn type_declaration(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        ItemKind::Type { name: self.name(&mut parts), ty: self.ty(parts.part()) }
    }

    fn source(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let ty = self.ty(parts.part());
        let call = self.call(parts.part());
        ItemKind::Source { name, ty, call, block: parts.next().map(|block| self.block(block)) }
    }

    fn plain(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let first = parts.part();
        let keyword = match first.as_str() {
            "tokenizer" => PlainKeyword::Tokenizer,
            "embedder" => PlainKeyword::Embedder,
            "model" => PlainKeyword::Model,
            "scorer" => PlainKeyword::Scorer,
            "recursion" => PlainKeyword::Recursion,
            "bench" => PlainKeyword::Bench,
            _ => PlainKeyword::Service,
        };
        let keyword_span = self.span(&first);
        ItemKind::Plain {
            keyword,
            keyword_span,
            name: self.name(&mut parts),
            block: self.block(parts.part()),
        }
    }

    fn index(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let on = self.path(parts.part());
        ItemKind::Index { name, on, column: self.name(&mut parts), block: self.block(parts.part()) }
    }

    fn on_model(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let first = parts.part();
        let keyword = match first.as_str() {
            "adapter" => OnKeyword::Adapter,
            "dynamics" => OnKeyword::Dynamics,
            _ => OnKeyword::Diffusion,
        };
        let keyword_span = self.span(&first);
        let name = self.name(&mut parts);
        let on = self.path(parts.part());
        ItemKind::On { keyword, keyword_span, name, on, block: self.block(parts.part()) }
    }

    fn learned(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let first = parts.part();
        let keyword = match first.as_str() {
            "trajectory" => FromKeyword::Trajectory,
            "patterns" => FromKeyword::Patterns,
            _ => FromKeyword::Learn,
        };
        let keyword_span = self.span(&first);
        let name = self.name(&mut parts);
        let from = self.path(parts.part());
        ItemKind::From { keyword, keyword_span, name, from, block: self.block(parts.part()) }
    }

    fn federation(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = parts(pair);
        let name = self.name(&mut parts);
        let target = self.path(parts.part());
        ItemKind::Federation { name, target, block: self.block(parts.part()) }
    }
}
