//! The frame of every text of a program: its edition, and blanks that do not belong in code.

use super::context::Context;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::CommentKind;

/// The editions that this compiler knows, newest last.
const EDITIONS: [u64; 1] = [2026];

/// E0107 for editions that are not known.
pub(super) fn check_editions(ctx: &mut Context<'_>) {
    let newest = EDITIONS[EDITIONS.len() - 1];
    let program = ctx.program;
    for edition in program.modules.iter().filter_map(|module| module.file.edition.as_ref()) {
        if EDITIONS.contains(&edition.year) {
            continue;
        }
        let written = ctx.sources().snippet(edition.span).rsplit(char::is_whitespace).next().unwrap_or("");
        let span = Span { start: edition.span.end - written.len() as u32, ..edition.span };
        let known = EDITIONS.map(|year| year.to_string()).join(", ");
        let unknown = Diagnostic::new(
            Code::E0107,
            format!("unknown edition `{written}`"),
            span,
            "not known to this compiler",
        );
        ctx.report(
            unknown
                .note(format!("editions: {known}"))
                .help(format!("write `edition {newest}`"))
                .fix(span, newest.to_string()),
        );
    }
}

/// W0101 for texts without an edition.
pub(super) fn warn_missing(ctx: &mut Context<'_>) {
    let program = ctx.program;
    for module in program.modules.iter().filter(|module| module.file.edition.is_none()) {
        let source = module.file.source;
        let text = &program.sources.get(source).text;
        // The doc text of the file stays at its top.
        let docs = module.file.comments.iter().take_while(|comment| comment.kind == CommentKind::File);
        let doc_end = docs.last().map_or(0, |doc| doc.span.end as usize);
        let at = if doc_end == 0 {
            0
        } else {
            text[doc_end..].find('\n').map_or(text.len(), |end| doc_end + end + 1)
        };
        let place = Span::new(source, at, at);
        let line_break = if at == 0 || text[..at].ends_with('\n') { "" } else { "\n" };
        let warning = Diagnostic::new(Code::W0101, "no edition given", place, "the newest one is taken");
        let edition = format!("{line_break}edition 2026\n");
        ctx.report(warning.help("begin the file with `edition 2026`").fix(place, edition));
    }
}

/// W0102 for tabs and carriage returns in code: one for all of a kind, since the formatter replaces them together.
pub(super) fn warn_blanks(ctx: &mut Context<'_>) {
    let program = ctx.program;
    for module in &program.modules {
        let source = module.file.source;
        let text = &program.sources.get(source).text;
        let strays = stray_blanks(text);
        for (character, name, replacement) in [(b'\t', "tab", " "), (b'\r', "carriage return", "")] {
            let found: Vec<usize> =
                strays.iter().copied().filter(|at| text.as_bytes()[*at] == character).collect();
            let Some(first) = found.first() else { continue };
            let span = Span::new(source, *first, first + 1);
            let label =
                if found.len() == 1 { name.to_owned() } else { format!("the first of {}", found.len()) };
            let warning = Diagnostic::new(Code::W0102, format!("{name} in code"), span, label);
            let warning = warning.help("`promptc fmt` replaces it");
            ctx.report(if found.len() == 1 { warning.fix(span, replacement) } else { warning });
        }
    }
}

/// Offsets of tabs and carriage returns outside of comments and strings.
fn stray_blanks(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        at += match bytes[at] {
            b'\t' | b'\r' => {
                found.push(at);
                1
            }
            b'/' if rest.starts_with("//") => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            b'"' => 1 + plain_string_len(&bytes[at + 1..]),
            b'#' => {
                let marks = rest.bytes().take_while(|byte| *byte == b'#').count();
                let open = format!("{}\"", "#".repeat(marks));
                let close = format!("\"{}", "#".repeat(marks));
                match rest.strip_prefix(open.as_str()).and_then(|body| body.find(&close)) {
                    Some(end) => open.len() + end + close.len(),
                    None => marks,
                }
            }
            // All other cases end on ASCII, so every step ends on a character.
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    found
}

/// Bytes up to and with the closing quote, or to the end of the line.
fn plain_string_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\n' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::stray_blanks;

    #[test]
    fn tabs_in_strings_and_comments_are_not_code() {
        let cases: [(&str, &[usize]); 4] = [
            ("a\tb \"\t\" #\"\t\"# // \t\n\té", &[1, 19]),
            ("\"open\t\n\t##\"\t\"# \t\"##\t", &[7, 19]),
            ("a // x\r\nb\r\n", &[6, 9]),
            ("\"\\é\"\t", &[5]),
        ];
        for (text, expected) in cases {
            assert_eq!(stray_blanks(text), expected, "{text:?}");
        }
    }
}
