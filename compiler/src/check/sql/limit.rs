//! How deep a statement may be: parsers and planners of SQL recurse over operators, and a stack has an end.
//!
//! Tokens are counted before anything is parsed, by the tokenizer, which does not recurse. Every token that can deepen
//! the tree counts: operators, opening brackets, and the words of [`OPERATORS`]. Texts and comments count nothing.

use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

/// Most operators, opening brackets and `CASE`s in a statement.
pub(crate) const MAX_SQL_OPERATORS: usize = 500;

/// Words that deepen the tree of a statement.
const OPERATORS: [Keyword; 29] = [
    Keyword::ALL,
    Keyword::AND,
    Keyword::ANY,
    Keyword::AT,
    Keyword::BETWEEN,
    Keyword::CASE,
    Keyword::COLLATE,
    Keyword::DIV,
    Keyword::ELSE,
    Keyword::EXCEPT,
    Keyword::EXISTS,
    Keyword::ILIKE,
    Keyword::IN,
    Keyword::INTERSECT,
    Keyword::INTERVAL,
    Keyword::IS,
    Keyword::JOIN,
    Keyword::LIKE,
    Keyword::MINUS,
    Keyword::NOT,
    Keyword::NOTNULL,
    Keyword::OR,
    Keyword::OVERLAPS,
    Keyword::PRIOR,
    Keyword::REGEXP,
    Keyword::RLIKE,
    Keyword::SIMILAR,
    Keyword::UNION,
    Keyword::XOR,
];

/// Whether an SQL text is shallow enough to be parsed and planned without overflowing a stack. Text that has no tokens,
/// as one with an open quote, is left to the parser to report. Cost: one pass over the text.
///
/// # Errors
///
/// The words for the user, when a statement of the text has more than 500 operators, opening brackets and `CASE`s.
pub fn sql_limit(text: &str) -> Result<(), String> {
    let dialect = GenericDialect {};
    let Ok(tokens) = Tokenizer::new(&dialect, text).tokenize() else { return Ok(()) };
    let mut count = 0;
    for token in &tokens {
        match token {
            Token::SemiColon => count = 0,
            token if deepens(token) => count += 1,
            _ => {}
        }
        if count > MAX_SQL_OPERATORS {
            return Err(format!(
                "SQL is too deep: more than {MAX_SQL_OPERATORS} operators, brackets and `CASE`s in one statement"
            ));
        }
    }
    Ok(())
}

/// Whether a token can make the tree of a statement deeper. What is not known to be flat counts.
fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => OPERATORS.contains(&word.keyword),
        Token::EOF
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::TripleSingleQuotedString(_)
        | Token::TripleDoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DoubleQuotedByteStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::RParen
        | Token::RBracket
        | Token::RBrace => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_statements_are_refused_however_long() {
        let shapes: [(&str, &str, &str); 7] = [
            ("SELECT 1", " + 1", ""),
            ("SELECT a FROM t WHERE a = 1", " OR a = 1", ""),
            ("SELECT ", "(", "1"),
            ("SELECT ", "CASE WHEN a THEN 1 ELSE ", "2"),
            ("SELECT 1", " UNION ALL SELECT 1", ""),
            ("SELECT a", "::int", ""),
            ("SELECT ", "- ", "1"),
        ];
        for terms in [3_000, 20_000, 200_000] {
            for (head, middle, tail) in shapes {
                let text = format!("{head}{}{tail}", middle.repeat(terms));
                let refused = sql_limit(&text).expect_err(middle);
                assert!(refused.starts_with("SQL is too deep"), "{refused}");
            }
        }
    }

    #[test]
    fn texts_comments_and_lists_are_not_deep() {
        let marks = "+ (".repeat(2_000);
        let columns: Vec<String> = (0..2_000).map(|idx| format!("t.c{idx}")).collect();
        for text in [
            format!("SELECT '{marks}' /* {marks} */ FROM t"),
            format!("SELECT {} FROM t", columns.join(", ")),
            "SELECT 1 + 1;".repeat(1_000),
            format!("SELECT 'open {marks}"),
        ] {
            assert_eq!(sql_limit(&text), Ok(()), "{}", &text[..40]);
        }
        assert_eq!(sql_limit(&format!("SELECT 1{}", " + 1".repeat(MAX_SQL_OPERATORS))), Ok(()));
    }
}
