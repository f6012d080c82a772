//! Tokens of a program text, for everything that looks at text beside the grammar: the scan for characters, strings
//! and brackets before parsing, and the word that a diagnostic calls "found".
//!
//! Any text has tokens: what the language does not know is [`TokenKind::Illegal`]. No blanks are reported.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or keyword.
    Word,
    /// A number with what is written to it, unit included.
    Number,
    /// A string; `closed` is false if the line ends before it does.
    Text { closed: bool },
    /// A raw string; `closed` is false if the file ends before it does.
    Raw { closed: bool },
    /// From `//` to the end of the line.
    Comment,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// Any other token of the language.
    Punctuation,
    /// Characters that the language does not know, or a word with such characters.
    Illegal,
}

/// A token: bytes `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Iterates over the tokens of a text. Cost: one pass over the bytes.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Begins at a byte offset, which must be a character boundary outside strings and comments.
    pub(super) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The length of a word at the start of `rest`, and whether it holds a character outside ASCII.
    fn word(&self) -> (usize, bool) {
        let mut foreign = false;
        let len = self.text[self.at..]
            .char_indices()
            .find(|(_, character)| {
                foreign |= !character.is_ascii() && character.is_alphanumeric();
                !(character.is_alphanumeric() || *character == '_')
            })
            .map_or(self.text.len() - self.at, |(len, _)| len);
        (len, foreign)
    }

    fn number(&self) -> (usize, TokenKind) {
        let bytes = self.rest();
        let mut probe = Lexer { text: self.text, at: self.at };
        let (mut len, mut foreign) = probe.word();
        if bytes.get(len) == Some(&b'.') && bytes.get(len + 1).is_some_and(u8::is_ascii_digit) {
            probe.at = self.at + len + 1;
            let (more, also) = probe.word();
            (len, foreign) = (len + 1 + more, foreign | also);
        }
        let exponent =
            matches!(bytes.get(len - 1), Some(b'e')) && matches!(bytes.get(len), Some(b'+' | b'-'));
        if exponent && bytes.get(len + 1).is_some_and(u8::is_ascii_digit) {
            probe.at = self.at + len + 1;
            let (more, also) = probe.word();
            (len, foreign) = (len + 1 + more, foreign | also);
        }
        if bytes.get(len) == Some(&b'%') {
            len += 1;
        }
        (len, if foreign { TokenKind::Illegal } else { TokenKind::Number })
    }

    fn string(&self) -> (usize, TokenKind) {
        let bytes = self.rest();
        let mut len = 1;
        while let Some(byte) = bytes.get(len) {
            match byte {
                b'"' => return (len + 1, TokenKind::Text { closed: true }),
                b'\n' => break,
                b'\\' if bytes.get(len + 1).is_some_and(|next| !matches!(next, b'\n' | b'\r')) => len += 2,
                b'\r' if bytes.get(len + 1) == Some(&b'\n') => break,
                _ => len += 1,
            }
        }
        (len.min(bytes.len()), TokenKind::Text { closed: false })
    }

    fn raw_or_marks(&self) -> (usize, TokenKind) {
        let bytes = self.rest();
        let marks = bytes.iter().take_while(|byte| **byte == b'#').count();
        if marks > 3 {
            return (marks - 3, TokenKind::Illegal);
        }
        if bytes.get(marks) != Some(&b'"') {
            return (marks, TokenKind::Illegal);
        }
        let close = &"\"###"[..=marks];
        let body = self.at + marks + 1;
        match self.text[body..].find(close) {
            Some(len) => (marks + 1 + len + close.len(), TokenKind::Raw { closed: true }),
            None => (bytes.len(), TokenKind::Raw { closed: false }),
        }
    }

    fn punctuation(&self) -> (usize, TokenKind) {
        let bytes = self.rest();
        if let Some(b"|>" | b"->" | b"==" | b"!=" | b"<=" | b">=" | b"..") = bytes.get(..2) {
            return (2, TokenKind::Punctuation);
        }
        match bytes[0] {
            b'(' | b'[' | b'{' => (1, TokenKind::Open),
            b')' | b']' | b'}' => (1, TokenKind::Close),
            b'<' | b'>' | b',' | b':' | b'=' | b'.' | b'+' | b'-' | b'*' | b'/' | b'?' | b'@' => {
                (1, TokenKind::Punctuation)
            }
            b'&' | b'|' => (1 + usize::from(bytes.get(1) == Some(&bytes[0])), TokenKind::Illegal),
            _ => (self.text[self.at..].chars().next().map_or(1, char::len_utf8), TokenKind::Illegal),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let blanks =
            self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        self.at += blanks;
        let first = self.text[self.at..].chars().next()?;
        let (len, kind) = match first {
            '/' if self.rest().starts_with(b"//") => {
                let len = self
                    .rest()
                    .iter()
                    .position(|byte| matches!(byte, b'\n' | 1 | 2))
                    .unwrap_or(self.rest().len());
                let carriage = usize::from(self.rest()[..len].ends_with(b"\r"));
                (len - carriage, TokenKind::Comment)
            }
            '"' => self.string(),
            '#' => self.raw_or_marks(),
            _ if first.is_ascii_digit() => self.number(),
            _ if first.is_alphanumeric() || first == '_' => {
                let (len, foreign) = self.word();
                (len, if foreign { TokenKind::Illegal } else { TokenKind::Word })
            }
            _ => self.punctuation(),
        };
        let start = self.at;
        self.at += len;
        Some(Token { kind, start, end: self.at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(TokenKind, &str)> {
        Lexer::new(text, 0).map(|token| (token.kind, &text[token.start..token.end])).collect()
    }

    #[test]
    fn numbers_keep_units_fractions_and_exponents() {
        let words: Vec<_> =
            tokens("1..5 1.5e-3 80% 4x..8x 1_000tok a.b").into_iter().map(|(_, text)| text).collect();
        assert_eq!(words, ["1", "..", "5", "1.5e-3", "80%", "4x", "..", "8x", "1_000tok", "a", ".", "b"]);
    }

    #[test]
    fn strings_end_at_the_line_and_raw_strings_at_their_marks() {
        assert_eq!(
            tokens("\"a\\\"b\" \"c\n#\"x\"# ##\"y\"#\"## #\"z"),
            [
                (TokenKind::Text { closed: true }, "\"a\\\"b\""),
                (TokenKind::Text { closed: false }, "\"c"),
                (TokenKind::Raw { closed: true }, "#\"x\"#"),
                (TokenKind::Raw { closed: true }, "##\"y\"#\"##"),
                (TokenKind::Raw { closed: false }, "#\"z"),
            ]
        );
    }

    #[test]
    fn words_outside_ascii_are_one_illegal_token() {
        assert_eq!(tokens("naïve;"), [(TokenKind::Illegal, "naïve"), (TokenKind::Illegal, ";")]);
    }
}
