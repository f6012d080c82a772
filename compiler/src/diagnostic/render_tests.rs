use super::*;
use crate::diagnostic::Code;

fn one_file(text: &str) -> SourceMap {
    let mut sources = SourceMap::default();
    sources.add(SourceFile::new("a.promptc", text));
    sources
}

fn at(text: &str, part: &str) -> Span {
    let start = text.find(part).unwrap();
    Span::new(SourceId(0), start, start + part.len())
}

fn check(text: &str, diagnostic: &Diagnostic, expected: &str) {
    let shown = render(diagnostic, &one_file(text), Style::Plain);
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn the_golden_form() {
    let text = "edition 2026\n\n\npipeline p { docs |> embed(text, with = e265) as vec -> out }\n";
    let diagnostic =
        Diagnostic::new(Code::E0201, "unknown embedder `e265`", at(text, "e265"), "not declared")
            .note("why")
            .help("did you mean `e256`?");
    let expected = "\
error[E0201]: unknown embedder `e265`
 --> a.promptc:4:41
4 | pipeline p { docs |> embed(text, with = e265) as vec -> out }
  |                                         ^^^^ not declared
  = note: why
  = help: did you mean `e256`?
";
    check(text, &diagnostic, expected);
}

#[test]
fn line_numbers_are_right_aligned_and_gaps_shown() {
    let text = "one\n".to_owned() + &"x\n".repeat(9) + "eleven\n";
    let diagnostic = Diagnostic::new(Code::W0201, "m", at(&text, "eleven"), "")
        .label(at(&text, "one"), "first\nhere")
        .note("a\nb");
    let expected = "\
warning[W0201]: m
  --> a.promptc:11:1
 1 | one
   | --- first\u{fffd}here
...
11 | eleven
   | ^^^^^^
   = note: a
           b
";
    check(&text, &diagnostic, expected);
}

#[test]
fn tabs_wide_characters_and_combining_marks_keep_marks_in_place() {
    let text = "\t漢字 e\u{301} \u{1b}[31m here";
    let diagnostic = Diagnostic::new(Code::E0106, "m", at(text, "here"), "x");
    let expected = "\
error[E0106]: m
 --> a.promptc:1:14
1 |     漢字 e\u{301} \u{fffd}[31m here
  |                  ^^^^ x
";
    check(text, &diagnostic, expected);
    let wide = Diagnostic::new(Code::E0106, "m", at(text, "漢字"), "");
    let expected = "\
error[E0106]: m
 --> a.promptc:1:2
1 |     漢字 e\u{301} \u{fffd}[31m here
  |     ^^^^
";
    check(text, &wide, expected);
}

#[test]
fn empty_spans_and_the_end_of_the_file_get_one_mark() {
    let diagnostic = Diagnostic::new(Code::E0101, "m", Span::new(SourceId(0), 4, 4), "end");
    check("abc\n", &diagnostic, "error[E0101]: m\n --> a.promptc:2:1\n2 |\n  | ^ end\n");
    let empty = Diagnostic::new(Code::E0101, "m", Span::default(), "");
    check("", &empty, "error[E0101]: m\n --> a.promptc:1:1\n1 |\n  | ^\n");
}

#[test]
fn spans_over_lines_mark_the_first_and_the_last() {
    let text = "a {\n  b\n  c\n} d\n";
    let diagnostic = Diagnostic::new(Code::E0102, "m", Span::new(SourceId(0), 2, 13), "all of it");
    let expected = "\
error[E0102]: m
 --> a.promptc:1:3
1 | a {
  |   ^
...
4 | } d
  | ^ all of it
";
    check(text, &diagnostic, expected);
    let with_break = Diagnostic::new(Code::E0102, "m", Span::new(SourceId(0), 6, 8), "b");
    check(text, &with_break, "error[E0102]: m\n --> a.promptc:2:3\n2 |   b\n  |   ^ b\n");
}

#[test]
fn labels_in_two_files() {
    let mut sources = one_file("use b\n");
    let other = sources.add(SourceFile::new("b.promptc", "\n\n\n\n\n\n\n\n\nparam b\n"));
    let diagnostic = Diagnostic::new(Code::E0202, "m", Span::new(SourceId(0), 4, 5), "second")
        .label(Span::new(other, 15, 16), "first");
    let expected = "\
error[E0202]: m
  --> a.promptc:1:5
 1 | use b
   |     ^ second
  ::: b.promptc:10:7
10 | param b
   |       - first
";
    assert_eq!(render(&diagnostic, &sources, Style::Plain), expected);
}

#[test]
fn a_source_that_is_not_there_leaves_the_message() {
    let diagnostic = Diagnostic::new(Code::E0208, "unknown parameter `x`", Span::default(), "").help("y");
    let shown = render(&diagnostic, &SourceMap::default(), Style::Plain);
    assert_eq!(shown, "error[E0208]: unknown parameter `x`\n  = help: y\n");
}

#[test]
fn a_very_long_line_is_shown_around_the_mark() {
    let text = "é".repeat(100_000) + "here" + &"b".repeat(100_000);
    let shown =
        render(&Diagnostic::new(Code::E0101, "m", at(&text, "here"), "x"), &one_file(&text), Style::Plain);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[2].chars().count() < 260, "{}", lines[2].len());
    let column = |line: &str, part: &str| line[..line.find(part).unwrap()].chars().count();
    assert_eq!(column(lines[2], "here"), column(lines[3], "^^^^ x"));
}

#[test]
fn at_most_fifty_of_a_file_are_shown_in_order_of_place() {
    let text = "x".repeat(60);
    let diagnostics: Vec<Diagnostic> = (0..60)
        .rev()
        .map(|at| Diagnostic::new(Code::E0101, format!("m{at:02}"), Span::new(SourceId(0), at, at + 1), ""))
        .collect();
    let shown = render_all(&diagnostics, &one_file(&text), Style::Plain);
    assert_eq!(shown.matches("error[E0101]").count(), 50);
    assert!(shown.starts_with("error[E0101]: m00\n"));
    assert!(shown.ends_with("\n\n... and 10 more in a.promptc\n"), "{shown}");
    assert_eq!(summary(&diagnostics).as_deref(), Some("60 errors"));
    assert_eq!(summary(&[]), None);
}

#[test]
fn colour_changes_nothing_but_escapes() {
    let text = "a bc\n";
    let diagnostic = Diagnostic::new(Code::W0101, "m", at(text, "bc"), "x").help("h");
    let sources = one_file(text);
    let mut colored = render(&diagnostic, &sources, Style::Color);
    assert!(colored.contains("\u{1b}[1;33m^^ x\u{1b}[0m"), "{colored:?}");
    for escape in ["\u{1b}[1;33m", "\u{1b}[1;34m", "\u{1b}[1m", "\u{1b}[0m"] {
        colored = colored.replace(escape, "");
    }
    assert_eq!(colored, render(&diagnostic, &sources, Style::Plain));
}
