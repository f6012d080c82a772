//! The look at the characters before parsing: comments, characters that are not allowed, strings that do not end,
//! and the limits that protect the parser.
//!
//! The result is a *masked* text of the same length (but for the closing marks of an open raw string, which are
//! appended): what the scan has reported is replaced by something harmless, so that the grammar reports it no second
//! time. All offsets of the masked text are offsets of the original. Values are always read from the original.

use std::ops::Range;

use super::ast::{Comment, CommentKind};
use super::lexer::{Lexer, Token, TokenKind};
use super::literals::escape_len;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};

/// Longest program text in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// Most brackets and type arguments inside each other.
pub const MAX_NESTING: usize = 64;
/// Longest identifier in bytes.
pub const MAX_IDENT_BYTES: usize = 64;
/// Most diagnostics that one parse gives; texts that are no programs at all would give one per character.
pub const MAX_SYNTAX_DIAGNOSTICS: usize = 1000;

/// Keywords that begin a declaration.
pub const ITEM_KEYWORDS: [&str; 25] = [
    "edition",
    "import",
    "param",
    "type",
    "source",
    "tokenizer",
    "embedder",
    "model",
    "scorer",
    "recursion",
    "bench",
    "service",
    "index",
    "adapter",
    "dynamics",
    "diffusion",
    "trajectory",
    "patterns",
    "learn",
    "federation",
    "prompt",
    "pipeline",
    "query",
    "gate",
    "test",
];

/// Stands for the end of the declaration that a string without an end is in.
const UNKNOWN_END: usize = usize::MAX - 1;

/// What the scan found.
pub(super) struct Scan {
    /// The text for the grammar.
    pub(super) masked: String,
    /// All comments.
    pub(super) comments: Vec<Comment>,
    /// Places where the grammar's complaints would only repeat what is reported already.
    pub(super) reported: Vec<Range<usize>>,
    /// Offsets of declaration keywords in column 0, ascending.
    pub(super) item_starts: Vec<usize>,
    /// Whether a limit was passed that makes parsing unsafe.
    pub(super) too_large: bool,
}

struct Scanner<'a> {
    source: SourceId,
    text: &'a str,
    masked: Vec<u8>,
    /// Marks that an open raw string lacks.
    tail: &'static str,
    scan: Scan,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// Open brackets; `<` stands for the argument of a type.
    open: Vec<u8>,
    previous: Option<Token>,
    before: Option<Token>,
    /// End of the last text in single quotes: what is inside is no code.
    quoted_to: usize,
}

/// Scans a text. Cost: one pass, and one copy of the text.
pub(super) fn scan(source: SourceId, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Scan {
    let empty = Scan {
        masked: String::new(),
        comments: Vec::new(),
        reported: Vec::new(),
        item_starts: Vec::new(),
        too_large: true,
    };
    if text.len() > MAX_FILE_BYTES {
        let message = format!("file of {} bytes, the limit is {MAX_FILE_BYTES}", text.len());
        diagnostics.push(Diagnostic::new(Code::E0501, message, Span::new(source, 0, 0), "file too large"));
        return empty;
    }
    let mut scanner = Scanner {
        source,
        text,
        masked: text.as_bytes().to_vec(),
        tail: "",
        scan: Scan { too_large: false, ..empty },
        diagnostics,
        open: Vec::new(),
        previous: None,
        before: None,
        quoted_to: 0,
    };
    let body = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    scanner.blank(0..body);
    for token in Lexer::new(text, body) {
        scanner.take(token);
        // With so many faults the text is no program; what follows is not checked, so it must not be parsed either.
        scanner.scan.too_large |= scanner.diagnostics.len() >= MAX_SYNTAX_DIAGNOSTICS;
        if scanner.scan.too_large {
            break;
        }
    }
    scanner.finish()
}

impl Scanner<'_> {
    fn finish(mut self) -> Scan {
        for range in &mut self.scan.reported {
            if range.end == UNKNOWN_END {
                let idx = self.scan.item_starts.partition_point(|start| *start <= range.start);
                range.end = self.scan.item_starts.get(idx).copied().unwrap_or(usize::MAX);
            }
        }
        self.masked.extend_from_slice(self.tail.as_bytes());
        self.scan.masked = String::from_utf8(self.masked).expect("masks replace whole characters by ASCII");
        self.scan
    }

    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.source, range.start, range.end)
    }

    fn blank(&mut self, range: Range<usize>) {
        self.masked[range].fill(b' ');
    }

    fn take(&mut self, token: Token) {
        if token.start < self.quoted_to {
            return;
        }
        match token.kind {
            TokenKind::Comment => return self.comment(token),
            TokenKind::Word => self.word(token),
            TokenKind::Text { closed } => self.string(token, closed),
            TokenKind::Raw { closed: false } => self.open_raw(token),
            TokenKind::Open => self.open(token),
            TokenKind::Close => self.close(token),
            TokenKind::Punctuation => self.punctuation(token),
            TokenKind::Illegal => return self.illegal(token),
            TokenKind::Number | TokenKind::Raw { closed: true } => {}
        }
        self.before = self.previous.replace(token);
    }

    fn comment(&mut self, token: Token) {
        let text = &self.text[token.start..token.end];
        let kind = match text {
            _ if text.starts_with("////") => CommentKind::Line,
            _ if text.starts_with("///") => CommentKind::Doc,
            _ if text.starts_with("//!") && self.previous.is_none() => CommentKind::File,
            _ => CommentKind::Line,
        };
        self.scan.comments.push(Comment { span: self.span(token.start..token.end), kind });
    }

    fn word(&mut self, token: Token) {
        if token.end - token.start > MAX_IDENT_BYTES {
            let message =
                format!("name of {} bytes, the limit is {MAX_IDENT_BYTES}", token.end - token.start);
            self.diagnostics.push(Diagnostic::new(
                Code::E0501,
                message,
                self.span(token.start..token.end),
                "name too long",
            ));
        }
        if is_item_start(self.text, token.start) {
            self.scan.item_starts.push(token.start);
        }
        // Two words in a row are no type, so what looked like `list<` was a comparison.
        if self.previous.is_some_and(|previous| matches!(previous.kind, TokenKind::Word | TokenKind::Close)) {
            self.end_types();
        }
    }

    fn end_types(&mut self) {
        while self.open.last() == Some(&b'<') {
            self.open.pop();
        }
    }

    fn push(&mut self, bracket: u8, at: usize) {
        self.open.push(bracket);
        if self.open.len() > MAX_NESTING {
            let message = format!("nesting of more than {MAX_NESTING} levels");
            self.diagnostics.push(Diagnostic::new(
                Code::E0501,
                message,
                self.span(at..at + 1),
                "one level too deep",
            ));
            self.scan.too_large = true;
        }
    }

    fn open(&mut self, token: Token) {
        self.push(self.text.as_bytes()[token.start], token.start);
    }

    fn close(&mut self, token: Token) {
        self.end_types();
        let opening = match self.text.as_bytes()[token.start] {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        // A brace closes what was left open inside it; an unmatched one closes nothing.
        if self.open.last() == Some(&opening) {
            self.open.pop();
        } else if opening == b'{'
            && let Some(idx) = self.open.iter().rposition(|open| *open == b'{')
        {
            self.open.truncate(idx);
        }
    }

    fn punctuation(&mut self, token: Token) {
        match &self.text[token.start..token.end] {
            "<" => {
                let word = self.previous.filter(|previous| previous.kind == TokenKind::Word);
                let name = word.map_or("", |word| &self.text[word.start..word.end]);
                if matches!(name, "stream" | "list" | "map" | "tokens" | "vector") {
                    self.push(b'<', token.start);
                }
            }
            ">" | ">=" => {
                if self.open.last() == Some(&b'<') {
                    self.open.pop();
                }
            }
            "," | ":" | "." | "?" | "@" => {}
            _ => self.end_types(),
        }
        if self.text.as_bytes()[token.start] == b'!' && token.end - token.start == 1 {
            self.illegal(token);
        }
    }

    /// E0103. The mask ends the string where the line ends, but before closing brackets and commas.
    fn string(&mut self, token: Token, closed: bool) {
        self.escapes(token);
        if closed {
            return;
        }
        let body = &self.text[token.start + 1..token.end];
        let body = body.trim_end_matches([' ', '\t', ')', ']', '}', ',']);
        let end = token.start + 1 + body.len();
        let mut diagnostic = Diagnostic::new(
            Code::E0103,
            "string is not terminated",
            self.span(token.start..end),
            "the line ends before the string",
        )
        .help("close it with `\"`, or use a raw string `#\"...\"#` for several lines");
        // With brackets inside nobody can tell where the text was to end.
        if !body.ends_with('\\') && !body.contains(['(', ')', '[', ']', '{', '}']) {
            diagnostic = diagnostic.fix(self.span(end..end), "\"");
        }
        self.diagnostics.push(diagnostic);
        self.blank(token.start + 1..end);
        if end - token.start >= 2 {
            self.masked[end - 1] = b'"';
        } else {
            self.masked[token.start] = b'0';
        }
        // The end of the declaration is put in when all declarations are known.
        self.scan.reported.push(token.start..UNKNOWN_END);
    }

    /// E0105.
    fn escapes(&mut self, token: Token) {
        let text = &self.text[token.start..token.end];
        let mut at = 1;
        while let Some(found) = text[at..].find('\\') {
            at += found;
            let (len, known) = escape_len(&text[at..]);
            if known.is_none() && at + len < text.len() {
                let span = self.span(token.start + at..token.start + at + len);
                let written = &text[at..at + len];
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::E0105,
                        format!("unknown escape `{written}`"),
                        span,
                        "not an escape of this language",
                    )
                    .note("the escapes are `\\\"`, `\\\\`, `\\n`, `\\t`, `\\r` and `\\u{1F600}`")
                    .help(format!("write `\\{written}` for the characters themselves"))
                    .fix(Span { end: span.start, ..span }, "\\"),
                );
            }
            at += len;
        }
    }

    /// E0104: the string takes the rest of the file, and its marks are appended to the masked text.
    fn open_raw(&mut self, token: Token) {
        let text = &self.text[token.start..];
        let marks = text.bytes().take_while(|byte| *byte == b'#').count();
        let opening = self.span(token.start..token.start + marks + 1);
        let message = "raw string is not terminated";
        self.diagnostics.push(Diagnostic::new(Code::E0104, message, opening, "opened here and never closed"));
        self.tail = ["\"#", "\"##", "\"###"][marks - 1];
        self.scan.reported.push(token.start..usize::MAX);
    }

    /// Whether no name touches a token.
    fn stands_apart(&self, token: &Token) -> bool {
        let is_name =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let before = token.start.checked_sub(1).and_then(|at| self.masked.get(at));
        !is_name(before) && !is_name(self.masked.get(token.end))
    }

    /// E0106 for a text in single quotes, which is masked as the text that was meant.
    fn single_quoted(&mut self, range: Range<usize>) {
        let body = &self.text[range.start + 1..range.end - 1];
        let message = "character `'` (APOSTROPHE) is not allowed here";
        let span = self.span(range.clone());
        let diagnostic = Diagnostic::new(Code::E0106, message, span, "texts stand between `\"`");
        self.diagnostics
            .push(diagnostic.help(format!("write `\"{body}\"`")).fix(span, format!("\"{body}\"")));
        self.masked[range.start + 1..range.end - 1].fill(b'_');
        self.masked[range.start] = b'"';
        self.masked[range.end - 1] = b'"';
        let token = Token { kind: TokenKind::Text { closed: true }, start: range.start, end: range.end };
        self.before = self.previous.replace(token);
        self.quoted_to = range.end;
    }

    /// The place of a text in single quotes that begins at an offset, on one line and without marks of its own.
    fn single_quotes(&self, start: usize) -> Option<Range<usize>> {
        let body = self.text[start..].strip_prefix('\'')?;
        let len = body.find(['\'', '"', '\\', '#', '\n', '\r', '\t'])?;
        (body[len..].starts_with('\'') && !body[..len].contains("//")).then(|| start..start + len + 2)
    }

    /// E0106, once per word or run of characters.
    fn illegal(&mut self, token: Token) {
        if let Some(quoted) = self.single_quotes(token.start) {
            return self.single_quoted(quoted);
        }
        let text = &self.text[token.start..token.end];
        let legal = |character: &char| character.is_ascii_alphanumeric() || *character == '_';
        let (at, character) =
            text.char_indices().find(|(_, character)| !legal(character)).unwrap_or((0, ' '));
        let name = match (unicode_names2::name(character), character) {
            (Some(name), _) => format!(" ({name})"),
            (None, '\0'..='\u{1f}' | '\u{7f}') => " (a control character)".to_owned(),
            (None, _) => String::new(),
        };
        let shown = if character.is_control() {
            character.escape_unicode().to_string()
        } else {
            character.to_string()
        };
        let message = format!("character `{shown}`{name} is not allowed here");
        let start = token.start + at;
        let span = self.span(start..start + character.len_utf8());
        let diagnostic = Diagnostic::new(Code::E0106, message, span, "not part of the language");
        let diagnostic = advise(diagnostic, text, self.span(token.start..token.end));
        self.diagnostics.push(diagnostic);
        let is_word = text.chars().any(char::is_alphanumeric);
        let mask = match text {
            // As loose and as long; only beside a name it would become a part of it.
            "&&" | "||" if self.stands_apart(&token) => b"or",
            "&&" | "||" => b"+ ",
            "%" => b"* ",
            _ if is_word && text.starts_with(|first: char| first.is_ascii_digit()) => b"00",
            _ if is_word => b"__",
            _ => b"  ",
        };
        for (idx, byte) in self.masked[token.start..token.end].iter_mut().enumerate() {
            if mask == b"00" || !(byte.is_ascii_alphanumeric() && is_word) {
                *byte = mask[idx.min(1)];
            }
        }
        let line_start = self.text[..token.start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[token.end..].find('\n').map_or(self.text.len(), |len| token.end + len);
        self.scan.reported.push(line_start..line_end + 1);
        self.before = self.previous.replace(token);
    }
}

/// What to write instead of a character of another language, where that is known.
fn advise(diagnostic: Diagnostic, text: &str, span: Span) -> Diagnostic {
    let (help, replacement) = match text {
        "&&" | "&" => ("write `and`", " and "),
        "||" => ("write `or`", " or "),
        "!" => ("write `not`", "not "),
        "|" => ("write `|>`", "|>"),
        ";" => ("declarations and fields need no separator", ""),
        "\u{a0}" | "\u{2007}" | "\u{202f}" | "\u{3000}" => ("write a blank", " "),
        "−" | "–" | "—" => ("write `-`", "-"),
        "'" | "`" | "“" | "”" | "‘" | "’" => return diagnostic.help("texts stand between `\"`"),
        _ => return diagnostic,
    };
    diagnostic.help(help).fix(span, replacement)
}

/// Whether a declaration begins at an offset: a keyword in column 0 with what may follow it.
fn is_item_start(text: &str, at: usize) -> bool {
    if at > 0 && text.as_bytes()[at - 1] != b'\n' {
        return false;
    }
    let rest = &text[at..];
    let len = rest.find(|character: char| !character.is_ascii_lowercase()).unwrap_or(rest.len());
    let after = rest[len..].trim_start_matches([' ', '\t']);
    ITEM_KEYWORDS.contains(&&rest[..len])
        && after.len() < rest.len() - len
        && after.starts_with(|first: char| first.is_ascii_alphanumeric() || matches!(first, '_' | '"'))
}
