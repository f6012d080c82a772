//! The pest parser of `grammar/promptc.pest`, and what its rules are called in diagnostics.

#![expect(missing_docs, reason = "the derive macro documents the rules, but not the items around them")]

use pest_derive::Parser;

/// The parser that pest derives from the grammar.
#[derive(Parser)]
#[grammar = "../../grammar/promptc.pest"]
pub struct PromptcParser;

/// How a rule is called in "expected ...", in the order in which they are listed there. Rules of equal name are listed
/// once. A rule that is not in the table is never expected by a user: catch-alls and parts of the lexical rules.
pub(super) const RULE_NAMES: &[(Rule, &str)] = &[
    (Rule::item, "a declaration"),
    (Rule::edition, "a declaration"),
    (Rule::import, "a declaration"),
    (Rule::param, "a declaration"),
    (Rule::typedecl, "a declaration"),
    (Rule::source, "a declaration"),
    (Rule::plain, "a declaration"),
    (Rule::plain_keyword, "a declaration"),
    (Rule::indexdecl, "a declaration"),
    (Rule::ondecl, "a declaration"),
    (Rule::on_keyword, "a declaration"),
    (Rule::fromdecl, "a declaration"),
    (Rule::from_keyword, "a declaration"),
    (Rule::fordecl, "a declaration"),
    (Rule::prompt, "a declaration"),
    (Rule::pipeline, "a declaration"),
    (Rule::query, "a declaration"),
    (Rule::gate, "a declaration"),
    (Rule::test, "a declaration"),
    (Rule::write, "a stage"),
    (Rule::flow, "a stage"),
    (Rule::strict_flow, "a stage"),
    (Rule::message, "a message"),
    (Rule::role, "`system`, `user`, `assistant` or `tool`"),
    (Rule::require, "`require`"),
    (Rule::outcome, "`on pass` or `on fail`"),
    (Rule::verdict, "`pass` or `fail`"),
    (Rule::given, "`given`"),
    (Rule::expect, "`expect`"),
    (Rule::field, "a field"),
    (Rule::formal, "a name with its type"),
    (Rule::arg, "an argument"),
    (Rule::eq, "`=`"),
    (Rule::colon, "`:`"),
    (Rule::kw_on, "`on`"),
    (Rule::kw_from, "`from`"),
    (Rule::kw_for, "`for`"),
    (Rule::kw_to, "`to`"),
    (Rule::kw_within, "`within`"),
    (Rule::kw_sql, "`sql`"),
    (Rule::comma, "`,`"),
    (Rule::pipe, "`|>`"),
    (Rule::step, "`|>`"),
    (Rule::arrow, "`->`"),
    (Rule::open_brace, "`{`"),
    (Rule::block, "`{`"),
    (Rule::open_paren, "`(`"),
    (Rule::arguments, "`(`"),
    (Rule::less, "`<`"),
    (Rule::at, "`@`"),
    (Rule::close_brace, "`}`"),
    (Rule::close_paren, "`)`"),
    (Rule::close_square, "`]`"),
    (Rule::greater, "`>`"),
    (Rule::kw_as, "`as`"),
    (Rule::ty, "a type"),
    (Rule::stream, "a type"),
    (Rule::listt, "a type"),
    (Rule::mapt, "a type"),
    (Rule::vector, "a type"),
    (Rule::tokens, "a type"),
    (Rule::enumt, "a type"),
    (Rule::record, "a type"),
    (Rule::call, "a call"),
    (Rule::expr, "a value"),
    (Rule::reference, "a value"),
    (Rule::constant, "a value"),
    (Rule::list, "a value"),
    (Rule::paren, "a value"),
    (Rule::open_square, "a value"),
    (Rule::not_op, "a value"),
    (Rule::negate_op, "a value"),
    (Rule::number, "a value"),
    (Rule::string, "a string"),
    (Rule::raw, "a raw string"),
    (Rule::int, "a whole number"),
    (Rule::ident, "a name"),
    (Rule::path, "a name"),
    (Rule::or_op, "an operator"),
    (Rule::and_op, "an operator"),
    (Rule::compare_op, "an operator"),
    (Rule::range_op, "an operator"),
    (Rule::add_op, "an operator"),
    (Rule::multiply_op, "an operator"),
    (Rule::question, "`?`"),
    (Rule::EOI, "the end of the file"),
];

/// What may always follow a value or a type: listed only if nothing else was expected.
pub(super) const ALWAYS_POSSIBLE: [&str; 3] = ["an operator", "`?`", "`as`"];

/// Whether a rule is a catch-all: what it accepts is not well formed.
#[must_use]
pub fn is_catch_all(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::bad_item
            | Rule::bad_stage
            | Rule::bad_step
            | Rule::bad_field
            | Rule::bad_message
            | Rule::bad_require
            | Rule::bad_outcome
            | Rule::bad_given
            | Rule::bad_expect
    )
}
