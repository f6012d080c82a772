//! Templates: what is read of them, and where mistakes are shown.

use super::*;
use crate::source::SourceId;

/// A raw string whose value begins at byte 100 of the program.
fn raw(value: &str) -> Text {
    let span = Span::new(SourceId(0), 98, 100 + value.len() + 2);
    Text { value: value.to_owned(), span, marks: 1, offsets: vec![(0, 100)] }
}

fn formals() -> Vec<Column> {
    let column = |name: &str, ty: Type| Column { name: name.to_owned(), ty };
    let hit = Type::Record(vec![column("text", Type::Text), column("score", Type::F64)]);
    vec![
        column("question", Type::Text),
        column("passages", Type::List(Box::new(Type::Text))),
        column("hits", Type::List(Box::new(hit))),
    ]
}

fn read(value: &str) -> (Template, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let template = parse_template(&raw(value), &formals(), &mut diagnostics);
    (template, diagnostics)
}

#[test]
fn pieces_keep_text_as_written_and_nest() {
    let value = "Q: {{ question | trim | default(\"a\\\"}}\") }}\n{% for p in passages %}{% if loop.first %}[{{ hits[loop.index0].text }}]{% else %} {{p}}{% endif %}{% endfor %} {\"json\": {}}";
    let (template, diagnostics) = read(value);
    assert_eq!(diagnostics, []);
    let path = |root: &str, steps: Vec<SlotStep>| SlotPath { root: root.to_owned(), steps };
    let filter = |name: &str, argument: Option<&str>| Filter {
        name: name.to_owned(),
        argument: argument.map(str::to_owned),
    };
    let loop_path = |name: &str| path("loop", vec![SlotStep::Field(name.to_owned())]);
    let title = vec![SlotStep::IndexBy(loop_path("index0")), SlotStep::Field("text".to_owned())];
    let expected = vec![
        Piece::Text("Q: ".to_owned()),
        Piece::Slot {
            path: path("question", vec![]),
            filters: vec![filter("trim", None), filter("default", Some("a\"}}"))],
        },
        Piece::Text("\n".to_owned()),
        Piece::For {
            item: "p".to_owned(),
            list: path("passages", vec![]),
            body: vec![Piece::If {
                condition: loop_path("first"),
                body: vec![
                    Piece::Text("[".to_owned()),
                    Piece::Slot { path: path("hits", title), filters: vec![] },
                    Piece::Text("]".to_owned()),
                ],
                otherwise: vec![
                    Piece::Text(" ".to_owned()),
                    Piece::Slot { path: path("p", vec![]), filters: vec![] },
                ],
            }],
        },
        Piece::Text(" {\"json\": {}}".to_owned()),
    ];
    assert_eq!(template.pieces, expected);
    assert_eq!(template.used, formals().into_iter().map(|formal| formal.name).collect());
    assert!(template.has_slots);
    assert_eq!(template.fixed_tokens, 2 + 8, "`Q`, `:` and the marks of the closing text");
}

#[test]
fn a_message_without_slots_is_fixed_and_takes_its_longer_branch() {
    let (template, _) = read("a b{% if question %} c{% else %} d e{% endif %}");
    assert!(!template.has_slots);
    assert_eq!(template.fixed_tokens, 4);
    let (template, _) = read("a {{ question }}{% if question %} c{% else %} d e{% endif %}");
    assert_eq!(template.fixed_tokens, 1);
}

#[test]
fn errors_have_their_code_and_place() {
    let cases = [
        ("a {{ question", Code::E0109, "{{", "opened here"),
        ("{{ question }", Code::E0109, "}", "expected `}}`"),
        ("{% for p in passages %}x", Code::E0109, "{%", "never closed"),
        ("x{% endif %}", Code::E0109, "{% endif %}", "nothing is open"),
        ("{% if question %}{% endfor %}", Code::E0109, "{% endfor %}", "`{% endif %}`"),
        ("{% macro x %}", Code::E0109, "macro", "expected for"),
        ("{{ question | uper }}", Code::E0109, "uper", "upper"),
        ("{{ question | trim(\"x\") }}", Code::E0109, "(\"x\")", "remove"),
        ("{{ question(1) }}", Code::E0109, "(", "path or a filter"),
        ("{{ questoin }}", Code::E0204, "questoin", "neither"),
        ("{{ loop.index }}", Code::E0204, "loop", "outside"),
        ("{% for h in hits %}{{ h.txt }}{% endfor %}", Code::E0204, "txt", "no such field"),
        ("{{ passages }}", Code::E0303, " passages ", "single value"),
        ("{% for c in question %}{% endfor %}", Code::E0303, "question", "not a list"),
        ("{{ question[0] }}", Code::E0303, "[0]", "not a list"),
        ("{{ passages[question] }}", Code::E0303, "question", "not an integer"),
        ("{{ passages | upper }}", Code::E0303, "upper", "applied to list<text>"),
    ];
    for (value, code, marked, label) in cases {
        let (_, diagnostics) = read(value);
        let [diagnostic] = diagnostics.as_slice() else { panic!("{value}: {diagnostics:?}") };
        assert_eq!(diagnostic.code, code, "{value}");
        let range = diagnostic.primary.span.start as usize - 100..diagnostic.primary.span.end as usize - 100;
        assert_eq!(&value[range], marked, "{value}");
        assert!(diagnostic.primary.text.contains(label), "{value}: {}", diagnostic.primary.text);
    }
}

#[test]
fn nesting_has_a_limit() {
    let (_, diagnostics) = read(&"{% if question %}".repeat(NESTING_LIMIT + 1));
    assert_eq!(diagnostics.iter().map(|found| found.code).collect::<Vec<_>>(), [Code::E0501]);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_panic(value in "(\\{\\{|\\}\\}|\\{%|%\\}|for|if|end|in|loop|[ .|a-zé\\[\\](\"]){0,24}") {
        let (template, diagnostics) = read(&value);
        proptest::prop_assert!(!template.pieces.is_empty() || !diagnostics.is_empty() || value.is_empty());
    }
}
