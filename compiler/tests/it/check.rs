//! What `check` accepts, what it makes of it, and what it says about the rest.

use std::collections::BTreeMap;

use promptc_compiler::diagnostic::{Code, Diagnostic};
use promptc_compiler::graph::{Effect, Graph};
use promptc_compiler::op::{ExprKind, Op, Value};
use promptc_compiler::types::{Column, Type};
use promptc_compiler::{Checked, Input, check};

/// Sources that the programs of these tests read.
const HEAD: &str = r#"edition 2026
type Page = { id: text, title: text?, text: text, n: i64, grade: f64, tags: list<text>, kind: enum("a", "b"), at: timestamp }
source docs : stream<Page> = jsonl("d.jsonl") { key = id }
source asks : stream<{ qid: text, q: text, doc: text }> = jsonl("a.jsonl") { key = qid, split = by(doc, train = 80%, test = 20%, seed = 3) }
embedder e { kind = hashed_ngram, dim = 64, seed = 7 }
tokenizer words { kind = word_punct }
"#;

/// Checks a program with imports and values from outside.
fn check_with(
    text: &str,
    imports: &[(&str, &str)],
    set: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> Checked {
    let find = |pairs: &[(&str, &str)], name: &str| {
        pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let mut loader = |_: &str, path: &str| {
        find(imports, path).map(|text| (path.to_owned(), text)).ok_or_else(|| "no such file".to_owned())
    };
    check(Input {
        name: "main.promptc",
        text,
        loader: &mut loader,
        set: set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        environment: &|name| find(environment, name),
        home: Some("/home/user".to_owned()),
        encoders: &promptc_compiler::no_encoders,
        deny_warnings: false,
    })
}

fn check_text(text: &str) -> Checked {
    check_with(text, &[], &[], &[])
}

/// The program after [`HEAD`].
fn check_body(body: &str) -> Checked {
    check_text(&format!("{HEAD}{body}"))
}

fn shown(checked: &Checked) -> Vec<String> {
    let show = |diagnostic: &Diagnostic| {
        let (line, column) =
            checked.sources.get(diagnostic.primary.span.source).line_column(diagnostic.primary.span.start);
        format!("{} {line}:{column} {}", diagnostic.code.text(), diagnostic.message)
    };
    checked.diagnostics.iter().map(show).collect()
}

fn errors(checked: &Checked) -> Vec<String> {
    shown(checked).into_iter().filter(|text| text.starts_with('E')).collect()
}

fn codes(checked: &Checked) -> Vec<Code> {
    let errors = checked.diagnostics.iter().map(|diagnostic| diagnostic.code);
    errors.filter(|code| code.text().starts_with('E')).collect()
}

fn stream<'g>(graph: &'g Graph, name: &str) -> &'g promptc_compiler::graph::Node {
    let id = graph.stream(name).unwrap_or_else(|| panic!("stream {name} of {:?}", graph.streams));
    graph.node(id)
}

fn columns(schema: &[Column]) -> String {
    schema.iter().map(|column| format!("{}: {}", column.name, column.ty)).collect::<Vec<_>>().join(", ")
}

/// The flow `p.out` of the steps over `docs`: columns and key.
fn after(steps: &str) -> (String, String) {
    let checked =
        check_body(&format!("pipeline p {{ docs |> select(id, text, n, tags) |> {steps} -> out }}"));
    assert_eq!(errors(&checked), Vec::<String>::new(), "{steps}");
    let node = stream(&checked.hir.graph, "p.out");
    (columns(&node.schema), node.key.join(", "))
}

#[test]
fn operators_give_the_columns_and_keys_of_the_language() {
    const START: &str = "id: text, text: text, n: i64, tags: list<text>";
    let cases: &[(&str, &str, &str)] = &[
        ("limit(3)", START, "id"),
        ("sort([n, id], desc = true)", START, "id"),
        ("distinct(n)", START, "id"),
        ("sample(10%, seed = 1)", START, "id"),
        ("sample(n = 5, seed = 1)", START, "id"),
        ("filter(n > 3 and contains(text, \"a\"))", START, "id"),
        ("select(n)", "n: i64, ~id: text", "~id"),
        ("select(id, m = n * 2)", "id: text, m: i64", "id"),
        ("derive(id = lower(id))", "id: text, text: text, n: i64, tags: list<text>, ~id: text", "~id"),
        ("rename(key = id)", "key: text, text: text, n: i64, tags: list<text>", "key"),
        (
            "explode(tags) as tag",
            "id: text, text: text, n: i64, tags: list<text>, tag: text, tags_idx: u32",
            "id, tags_idx",
        ),
        ("explode(tags)", "id: text, text: text, n: i64, tags: text, tags_idx: u32", "id, tags_idx"),
        ("aggregate(by = n, pages = count(), all = collect(id))", "n: i64, pages: i64, all: list<text>", "n"),
        ("aggregate(by = [], m = mean(n), c = count())", "m: f64?, c: i64", ""),
        (
            "chunk(text, max = 64tok)",
            "id: text, text: text, n: i64, tags: list<text>, text_spans: list<span>, text_tokens: tok, chunk: u32, heading: text?",
            "id, chunk",
        ),
        (
            "compress(text) as short",
            "id: text, text: text, n: i64, tags: list<text>, short: text, short_spans: list<span>, short_tokens_in: tok, short_tokens_out: tok",
            "id",
        ),
        (
            "compress(tags, query = text, ratio = 2x, keep = [names], links = side)",
            "id: text, text: text, n: i64, tags: list<text>, tags_spans: list<list<span>>, tags_tokens_in: tok, \
             tags_tokens_out: tok, tags_links: list<text>, tags_keep_unmet: u32",
            "id",
        ),
        ("dedup(text)", "id: text, text: text, n: i64, tags: list<text>, copies: list<text>", "id"),
        (
            "dedup(text, unit = block)",
            "id: text, text: text, n: i64, tags: list<text>, text_spans: list<span>, copies: list<text>",
            "id",
        ),
        (
            "embed(text, with = e) as vec",
            "id: text, text: text, n: i64, tags: list<text>, vec: vector<64 @ e>",
            "id",
        ),
        (
            "embed(tags, with = e) as v",
            "id: text, text: text, n: i64, tags: list<text>, v: list<vector<64 @ e>>",
            "id",
        ),
        ("join(asks, on = id, right_on = doc, how = semi)", START, "id"),
        (
            "join(asks, on = id, right_on = doc, how = left)",
            "id: text, text: text, n: i64, tags: list<text>, qid: text?, q: text?, doc: text?",
            "id, qid",
        ),
        ("sql(#\"SELECT id, n FROM input\"#, key = id)", "id: text, n: i64", "id"),
    ];
    for (steps, expected, key) in cases {
        assert_eq!(after(steps), ((*expected).to_owned(), (*key).to_owned()), "{steps}");
    }
}

#[test]
fn retrieve_inserts_the_embedder_and_gives_hits_without_vectors() {
    let body = r#"
pipeline corpus { docs |> select(id, text) |> embed(text, with = e) as vec -> out }
index ann on corpus.out(vec) { kind = hnsw, seed = 1 }
index bm on corpus.out(text) { kind = bm25 }
pipeline pack { asks |> retrieve(q, from = [ann, bm], k = 5, filter = id != "x", per = id) as hits -> out }
"#;
    let checked = check_body(body);
    assert_eq!(errors(&checked), Vec::<String>::new());
    let node = stream(&checked.hir.graph, "pack.out");
    let hits = "list<{ id: text, text: text, score: f64, rank: u32, found_by: list<text> }>";
    assert_eq!(columns(&node.schema), format!("qid: text, q: text, doc: text, hits: {hits}"));
    let Op::Retrieve(retrieve) = &node.op else { panic!("{:?}", node.op) };
    assert_eq!(node.inputs.len(), 3);
    assert!(retrieve.arms[0].embed.is_some() && retrieve.arms[1].embed.is_none());
    assert_eq!(retrieve.per.as_deref(), Some("id"));
}

#[test]
fn assemble_takes_the_spans_that_belong_to_an_argument() {
    let body = r##"
prompt ask(question: text, passages: list<text>) within 512tok {
  system #"Answer."#
  user (min = 64tok, shrink = keep_head) #"{% for p in passages %}{{ p }}{% endfor %}"#
  user (shrink = keep_head) #"{{ question }}"#
}
pipeline corpus { docs |> select(id, text) |> chunk(text, max = 64tok) -> out }
index bm on corpus.out(text) { kind = bm25 }
pipeline pack {
  asks |> retrieve(q, from = bm) as hits |> assemble(ask, question = q, passages = hits.text) as prompt -> direct
  asks |> retrieve(q, from = bm) as hits |> compress(hits.text, query = q, ratio = 2x) as kept
       |> assemble(ask, question = q, passages = kept) as prompt -> shorter
}
"##;
    let checked = check_body(body);
    assert_eq!(errors(&checked), Vec::<String>::new());
    for (name, is_column) in [("pack.direct", false), ("pack.shorter", true)] {
        let Op::Assemble(assemble) = &stream(&checked.hir.graph, name).op else { panic!("{name}") };
        assert!(assemble.args[0].2.is_none(), "a question has no spans");
        let spans = assemble.args[1].2.as_ref().expect("passages have spans");
        assert_eq!(matches!(&spans.kind, ExprKind::Column(column) if column == "kept_spans"), is_column);
        assert_eq!(spans.ty.to_string(), "list<list<span>>");
    }
}

#[test]
fn expressions_have_the_types_of_the_language() {
    let cases: &[(&str, &str)] = &[
        ("n + 1", "i64"),
        ("grade / 2", "f64"),
        ("n > 3 and title != null", "bool"),
        ("title == \"x\"", "bool?"),
        ("lower(title)", "text?"),
        ("coalesce(title, text)", "text"),
        ("coalesce(title, null)", "text?"),
        ("if(n > 0, 1, 2)", "i64"),
        ("if(n > 0, text, null)", "text?"),
        ("len(text) + len(tags)", "i64"),
        ("first(tags)", "text?"),
        ("sum([1, 2])", "i64"),
        ("max(n, 3)", "i64"),
        ("kind == \"a\"", "bool"),
        ("text in [\"a\", \"b\"]", "bool"),
        ("\"a\" in tags", "bool"),
        ("capture(text, \"(a+)\")", "text?"),
        ("tokens_of(text)", "tok"),
        ("tokens_of(text) / tokens_of(id)", "ratio"),
        ("tokens_of(text) * 80%", "tok"),
        ("tokens_of(text) / 4x", "tok"),
        ("50% * 10s", "duration"),
        ("10s / 2", "duration"),
        ("2x * 3x", "ratio"),
        ("bytes_of(text) / 1KiB", "ratio"),
        ("string_survives(tags, text)", "bool"),
        ("hit_at(tags, id, 3)", "bool"),
        ("reciprocal_rank(tags, id)", "f64"),
        ("mean(n, over = kind)", "f64"),
        ("n - max(n, over = kind)", "i64"),
        ("not (n in [1, 2])", "bool"),
        ("concat(id, \"-\", title)", "text?"),
        ("split_text(text, \" \")", "list<text>"),
        ("docs.n", "i64"),
    ];
    for (expr, expected) in cases {
        let checked = check_body(&format!("pipeline p {{ docs |> derive(x = {expr}) -> out }}"));
        assert_eq!(errors(&checked), Vec::<String>::new(), "{expr}");
        let node = stream(&checked.hir.graph, "p.out");
        let found = node.schema.iter().find(|column| column.name == "x").map(|column| column.ty.to_string());
        assert_eq!(found.as_deref(), Some(*expected), "{expr}");
    }
}

#[test]
fn wrong_expressions_have_one_code_each() {
    use Code::*;
    let cases: &[(&str, Code)] = &[
        ("n + text", E0303),
        ("n + 4x", E0304),
        ("tokens_of(text) > 3", E0304),
        ("1s + 1KiB", E0304),
        ("10s * 10s", E0304),
        ("missing", E0203),
        ("tags.name", E0303),
        ("e", E0209),
        ("nosuch(text)", E0206),
        ("len(text, text)", E0302),
        ("count()", E0303),
        ("lower(n)", E0303),
        ("not n", E0303),
        ("n == text", E0303),
        ("tags == tags", E0303),
        ("matches(text, \"(\")", E0312),
        ("matches(text, id)", E0314),
        ("kind == \"c\"", E0205),
        ("1..3", E0303),
        ("env(\"A\", \"b\")", E0314),
        ("if(n, 1, 2)", E0303),
        ("[1, text]", E0303),
        ("null", E0303),
        ("99999999999999999999999", E0303),
    ];
    let mut wrong = Vec::new();
    for (expr, code) in cases {
        let checked =
            check_body(&format!("pipeline p {{ docs |> derive(x = {expr}) |> filter(x > y) -> out }}"));
        let expected = if *expr == "99999999999999999999999" { vec![E0203] } else { vec![*code] };
        if codes(&checked) != expected {
            wrong.push(format!("{expr}: {:?}", shown(&checked)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn wrong_steps_have_one_code_each() {
    use Code::*;
    let cases: &[(&str, Code)] = &[
        ("chnk(text)", E0206),
        ("chunk(txt)", E0203),
        ("chunk(n)", E0303),
        ("chunk(text, by = headings)", E0205),
        ("chunk(text, max = 64)", E0304),
        ("chunk(text, max = 64tok, overlap = 64tok)", E0504),
        ("chunk(text, max = n)", E0314),
        ("chunk(text, size = 3)", E0206),
        ("chunk(text, max = 1tok, max = 2tok)", E0202),
        ("chunk()", E0207),
        ("chunk(text) |> chunk(text)", E0202),
        ("compress(text, query = q)", E0203),
        ("compress(text, query = title)", E0207),
        ("compress(text, query = title, ratio = 2x, budget = 3tok)", E0311),
        ("compress(text, query = title, ratio = 0.5x)", E0504),
        ("compress(text, stages = [clause, passage], query = title, ratio = 2x)", E0313),
        ("compress(text, stages = [structural, token], ratio = 3x)", E0505),
        ("compress(text, stages = [sentence], ratio = 3x)", E0207),
        ("compress(tags, ratio = 2x, query = text, unit = word)", E0205),
        ("embed(text, with = e)", E0207),
        ("embed(text, with = docs) as v", E0209),
        ("embed(text, with = f) as v", E0201),
        ("embed(n, with = e) as v", E0303),
        ("retrieve(text, from = nowhere) as h", E0201),
        ("assemble(e, a = text) as x", E0209),
        ("select(nothing)", E0203),
        ("select()", E0302),
        ("derive(n)", E0302),
        ("derive(a = 1, a = 2)", E0202),
        ("filter(n)", E0303),
        ("rename(text = n)", E0202),
        ("explode(text)", E0303),
        ("join(asks, on = id)", E0203),
        ("join(asks, on = n, right_on = q)", E0303),
        ("join(docs, on = id)", E0202),
        ("join(e, on = id)", E0209),
        ("union(asks)", E0303),
        ("sort(tags)", E0303),
        ("limit(0 - 1)", E0502),
        ("limit(many)", E0201),
        ("aggregate(by = n, m = text)", E0303),
        ("aggregate(m = count())", E0207),
        ("distinct(nothing)", E0203),
        ("sample(10%)", E0404),
        ("sample(10%, n = 3, seed = 1)", E0311),
        ("sample(seed = 1)", E0207),
        ("sample(120%, seed = 1)", E0502),
        ("dedup(text) as x", E0206),
        ("sql(#\"SELECT nothing FROM input\"#)", E0607),
        ("generate(text, with = e, max = 4tok) as x", E0209),
    ];
    let mut wrong = Vec::new();
    for (steps, code) in cases {
        // The step after it would be wrong too, if anything were known of its stream.
        let checked = check_body(&format!("pipeline p {{ docs |> {steps} |> filter(unheard_of) -> out }}"));
        let found = codes(&checked);
        if found != [*code] {
            wrong.push(format!("{steps}: expected {code:?}, found {:?}", shown(&checked)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn declared_types_project_and_keep_keys_hidden() {
    let checked = check_body("pipeline p { docs -> out : stream<{ n: i64, title: text?, text: text? }> }");
    assert_eq!(errors(&checked), Vec::<String>::new());
    let node = stream(&checked.hir.graph, "p.out");
    assert_eq!(columns(&node.schema), "n: i64, title: text?, text: text?, ~id: text");
    assert_eq!(node.key, ["~id"]);
    let hidden = check_body(
        "pipeline p { docs -> out : stream<{ n: i64 }> }\npipeline q { p.out |> filter(id != \"\") -> out }",
    );
    assert_eq!(codes(&hidden), [Code::E0203]);
    for (ty, code) in [
        ("stream<{ n: text }>", Code::E0303),
        ("stream<{ n: tok }>", Code::E0304),
        ("stream<{ title: text }>", Code::E0307),
        ("stream<{ m: i64 }>", Code::E0203),
        ("list<text>", Code::E0303),
    ] {
        let checked = check_body(&format!("pipeline p {{ docs -> out : {ty} }}"));
        assert_eq!(codes(&checked), [code], "{ty}");
    }
}

#[test]
fn filter_narrows_top_level_conjuncts() {
    let flow = |condition: &str| {
        let text = format!("pipeline p {{ docs |> filter({condition}) -> out : stream<{{ title: text }}> }}");
        codes(&check_body(&text))
    };
    assert_eq!(flow("title != null"), []);
    assert_eq!(flow("n > 0 and (null != title and n < 9)"), []);
    assert_eq!(flow("title != null or n > 0"), [Code::E0307]);
    assert_eq!(flow("not (title == null)"), [Code::E0307]);
}

#[test]
fn spaces_are_equal_by_parameters_not_by_name() {
    let body = |second: &str| {
        format!(
            "embedder f {{ {second} }}\n\
             pipeline p {{ docs |> embed(text, with = e) as a |> embed(text, with = f) as b -> out }}\n\
             pipeline q {{ p.out |> derive(c = cosine(a, b)) -> out }}"
        )
    };
    assert_eq!(codes(&check_body(&body("seed = 7, dim = 64, kind = hashed_ngram"))), []);
    assert_eq!(codes(&check_body(&body("kind = hashed_ngram, dim = 64, seed = 8"))), [Code::E0301]);
}

#[test]
fn params_take_values_from_outside_within_their_bounds() {
    let text = "edition 2026\nparam k : u32 = 3 { min = 1, max = 9 }\nparam r : ratio = 4x\nparam d : text = env(\"D\", \"~/x\")\n\
                source docs : stream<{ id: text }> = jsonl(path(d, \"a.jsonl\"))\npipeline p { docs |> limit(k) -> out }";
    let value = |set: &[(&str, &str)], environment: &[(&str, &str)]| {
        let checked = check_with(text, &[], set, environment);
        let params =
            checked.hir.params.iter().map(|param| (param.name.clone(), param.value.clone(), param.is_set));
        (codes(&checked), params.collect::<Vec<_>>(), checked)
    };
    let (found, params, checked) = value(&[], &[]);
    assert_eq!(found, []);
    assert_eq!(params[0], ("k".to_owned(), Value::Int(3), false));
    let Op::Scan(scan) = &stream(&checked.hir.graph, "docs").op else { panic!("a scan") };
    assert_eq!(scan.path, "/home/user/x/a.jsonl");
    let (found, params, checked) = value(&[("k", "5"), ("r", "2.5x")], &[("D", "data")]);
    assert_eq!(found, []);
    assert_eq!(params[0].1, Value::Int(5));
    assert_eq!(params[1].1, Value::Float(2.5));
    assert_eq!((&params[2].1, params[2].2), (&Value::Text("data".to_owned()), true));
    let Op::Limit { rows } = stream(&checked.hir.graph, "p.out").op else { panic!("a limit") };
    assert_eq!(rows, 5);
    assert_eq!(value(&[("k", "50")], &[]).0, [Code::E0502]);
    assert_eq!(value(&[("k", "many")], &[]).0, [Code::E0303]);
    assert_eq!(value(&[("r", "2")], &[]).0, [Code::E0303]);
    assert_eq!(value(&[("j", "5")], &[]).0, [Code::E0208]);
}

#[test]
fn params_that_need_each_other_are_one_cycle() {
    let checked = check_text("edition 2026\nparam a : u32 = b\nparam b : u32 = c + 1\nparam c : u32 = a\n");
    assert_eq!(codes(&checked), [Code::E0402], "{:?}", shown(&checked));
    let chained = check_text("edition 2026\nparam a : u32 = b * 2\nparam b : u32 = 4\n");
    assert_eq!(chained.hir.params[0].value, Value::Int(8));
}

#[test]
fn imports_are_names_of_their_own_and_not_transitive() {
    let lib = "edition 2026\nparam k : u32 = 2\nsource docs : stream<{ id: text }> = jsonl(\"d.jsonl\")\n\
               pipeline p { docs |> limit(k) -> out }";
    let middle = "edition 2026\nimport \"lib.promptc\"\npipeline m { lib.p.out -> out }";
    let imports = [("lib.promptc", lib), ("middle.promptc", middle)];
    let main = |body: &str| check_with(&format!("edition 2026\n{body}"), &imports, &[], &[]);
    let checked = main(
        "import \"middle.promptc\" as mid\nimport \"lib.promptc\" as lib\npipeline q { lib.docs |> limit(lib.k) -> a\n mid.m.out -> b }",
    );
    assert_eq!(errors(&checked), Vec::<String>::new());
    assert!(
        checked.hir.graph.stream("mid.lib.docs").is_some() || checked.hir.graph.stream("lib.docs").is_some()
    );
    assert_eq!(codes(&main("import \"middle.promptc\" as mid\npipeline q { lib.docs -> a }")), [Code::E0201]);
    assert_eq!(
        codes(&main("import \"lib.promptc\" as docs\nsource docs : stream<{ id: text }> = jsonl(\"x\")")),
        [Code::E0202]
    );
    // A lost import is one finding, however often it is used.
    assert_eq!(
        codes(&main("import \"lost.promptc\"\npipeline q { lost.a.b |> limit(lost.k) -> a\n lost.c -> b }")),
        [Code::E0201]
    );
    let cyclic = [
        ("a.promptc", "edition 2026\nimport \"b.promptc\""),
        ("b.promptc", "edition 2026\nimport \"a.promptc\""),
    ];
    let checked = check_with("edition 2026\nimport \"a.promptc\"", &cyclic, &[], &[]);
    assert_eq!(codes(&checked), [Code::E0402]);
}

#[test]
fn order_of_declarations_leaves_no_trace() {
    let parts = [
        "param k : u32 = 2",
        "pipeline p { docs |> embed(text, with = e) as vec |> limit(k) -> out }",
        "index ann on p.out(vec) { kind = flat }",
        "pipeline q { asks.train |> retrieve(q, from = ann) as hits -> found\n  write found to jsonl(\"o.jsonl\", key = qid) }",
    ];
    let forward = check_body(&parts.join("\n"));
    let mut reversed: Vec<&str> = HEAD.lines().skip(1).collect();
    reversed.extend(parts);
    reversed.reverse();
    let backward = check_text(&format!("edition 2026\n{}", reversed.join("\n")));
    assert_eq!(errors(&forward), Vec::<String>::new());
    assert_eq!(errors(&backward), Vec::<String>::new());
    let nodes = |checked: &Checked| serde_json::to_string(&checked.hir.graph.nodes).expect("serialises");
    assert_eq!(nodes(&forward), nodes(&backward));
}

#[test]
fn nodes_stand_after_their_inputs_with_classes_and_effects() {
    let checked = check_body(
        "pipeline p { asks.test |> sample(10%, seed = 4) |> sort(q) -> out\n write out to csv(\"o.csv\") }",
    );
    assert_eq!(errors(&checked), Vec::<String>::new());
    let graph = &checked.hir.graph;
    for (idx, node) in graph.nodes.iter().enumerate() {
        assert_eq!(node.id.0 as usize, idx);
        assert!(node.inputs.iter().all(|input| (input.0 as usize) < idx));
    }
    let effects: Vec<Effect> =
        graph.nodes.iter().filter(|node| !matches!(node.op, Op::Scan(_))).map(|node| node.effect).collect();
    assert!(effects.contains(&Effect::Seeded) && effects.contains(&Effect::Sink));
    assert_eq!(graph.outputs.len(), 1);
    let Op::SplitPart { from, to, seed, .. } = &stream(graph, "asks.test").op else { panic!("a part") };
    assert_eq!((*from, *to, *seed), (0.8, 1.0, 3));
}

#[test]
fn edits_make_the_diagnostic_go_away() {
    let bodies = [
        "pipeline p { dcs |> limit(1) -> out }",
        "pipeline p { docs |> chunk(txt) -> out }",
        "pipeline p { docs |> chunk(text, by = headings) -> out }",
        "pipeline p { docs |> chnk(text) -> out }",
        "pipeline p { docs |> sample(10%) -> out }",
        "pipeline p { docs |> derive(x = starts_wth(text, \"a\")) -> out }",
        "pipeline p { docs |> embed(text, with = e) as v -> out }\nindex i on p.out(v) { kind = hnsw }",
        "pipeline p { docs -> out }\npipeline q { p.ot -> out }",
        "embedder f { kind = hashed_ngram, sed = 1, dim = 64, seed = 7 }",
    ];
    for body in bodies {
        let text = format!("{HEAD}{body}");
        let checked = check_text(&text);
        let error = checked.diagnostics.iter().find(|diagnostic| diagnostic.code.text().starts_with('E'));
        let edit = error
            .and_then(|error| error.edit.clone())
            .unwrap_or_else(|| panic!("{body}: {:?}", shown(&checked)));
        let mut edited = text.clone();
        edited.replace_range(edit.span.range(), &edit.replacement);
        let again = check_text(&edited);
        let is_gone = !codes(&again).contains(&error.expect("found above").code);
        // A misspelt field that is also given right is then given twice.
        assert!(is_gone, "{body}: {edited}");
    }
}

#[test]
fn long_chains_in_any_order_and_long_cycles_end() {
    let chain = |count: usize, last: &str| {
        let mut text = HEAD.to_owned();
        for idx in 0..count {
            text.push_str(&format!("pipeline p{idx} {{ p{}.out |> limit(1) -> out }}\n", idx + 1));
        }
        text + &format!("pipeline p{count} {{ {last} -> out }}\n")
    };
    assert_eq!(errors(&check_text(&chain(2000, "docs"))), Vec::<String>::new());
    let cycle = check_text(&chain(1000, "p0.out"));
    assert!(matches!(codes(&cycle).as_slice(), [Code::E0402 | Code::E0501, ..]), "{:?}", codes(&cycle));
    let types: String = (0..1000).map(|idx| format!("type T{idx} = list<T{}>\n", idx + 1)).collect();
    assert_eq!(
        errors(&check_text(&format!("edition 2026\n{types}type T1000 = text\n"))),
        Vec::<String>::new()
    );
    let params: String = (0..1000).map(|idx| format!("param a{idx} : u32 = a{}\n", idx + 1)).collect();
    assert_eq!(
        errors(&check_text(&format!("edition 2026\n{params}param a1000 : u32 = 1\n"))),
        Vec::<String>::new()
    );
}

#[test]
fn sources_say_what_they_cannot_give() {
    use Code::*;
    let cases: &[(&str, Code)] = &[
        ("source s : stream<{ path: text, body: text }> = markdown(\"*.md\")", E0203),
        ("source s : stream<{ path: text, title: text }> = markdown(\"*.md\")", E0307),
        ("source s : stream<{ path: text, bytes: text }> = text(\"*.md\")", E0303),
        ("source s : stream<{ a: text }> = jsonl(\"x\")", E0207),
        ("source s : stream<{ a: text? }> = jsonl(\"x\") { key = a }", E0307),
        ("source s : stream<{ a: list<text> }> = jsonl(\"x\") { key = a }", E0303),
        ("source s : stream<{ id: text, l: list<text> }> = csv(\"x\")", E0303),
        ("source s : stream<{ id: text }> = jsonln(\"x\")", E0205),
        ("source s : stream<{ id: text }> = squad(\"x\")", E0207),
        ("source s : text = jsonl(\"x\")", E0303),
        (
            "source s : stream<{ id: text }> = jsonl(\"x\") { split = by(id, train = 50%, test = 40%, seed = 1) }",
            E0310,
        ),
        ("source s : stream<{ id: text }> = jsonl(\"x\") { split = by(id, train = 50%, test = 50%) }", E0404),
        ("source s : stream<{ id: text }> = jsonl(\"x\") { max_bytes = 3 }", E0304),
        ("source s : stream<{ id: text }> = jsonl(\"x\") { bad_row = skip }", E0206),
        ("embedder s { kind = hashed_ngram, dim = 60, seed = 1 }", E0502),
        ("embedder s { kind = hashed_ngram }", E0207),
        ("type s = { a: s }", E0403),
        ("type s = txt", E0201),
        ("type s = vector<256 @ docs>", E0209),
        ("pipeline s { docs -> a\n docs -> a }", E0202),
        ("pipeline s { b -> a\n docs -> b }", E0201),
        ("pipeline s { docs -> a\n write a to csv(\"x\") }", E0303),
        ("pipeline s { docs -> a\n write a to file(\"x\") }", E0205),
        ("pipeline s { asks.dev -> a }", E0201),
        ("index s on docs(text) { kind = flat }", E0303),
        ("index s on docs(text) { kind = bm25, probes = 3 }", E0206),
        ("index chunk on docs(text) { kind = bm25 }", E0108),
    ];
    let mut wrong = Vec::new();
    for (body, code) in cases {
        let checked = check_body(body);
        if codes(&checked) != [*code] {
            wrong.push(format!("{body}: expected {code:?}, found {:?}", shown(&checked)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn fitted_embedders_are_artifacts_that_their_users_read() {
    let body = "embedder f { kind = hashed_ngram, dim = 64, seed = 1, weight = idf, fit = docs.text }\n\
                pipeline p { docs |> embed(text, with = f) as v -> out }\nindex i on p.out(v) { kind = flat }\n\
                pipeline q { asks |> retrieve(q, from = i) as hits -> out }";
    let checked = check_body(body);
    assert_eq!(errors(&checked), Vec::<String>::new());
    let graph = &checked.hir.graph;
    let fit = graph.artifacts.iter().find(|(name, _)| name == "f").map(|(_, id)| *id).expect("an artifact");
    assert!(stream(graph, "p.out").inputs.contains(&fit));
    assert_eq!(stream(graph, "q.out").inputs.last(), Some(&fit));
    let circular = "embedder f { kind = hashed_ngram, dim = 64, seed = 1, weight = idf, fit = p.out.text }\n\
                    pipeline p { docs |> embed(text, with = f) as v -> out }";
    assert_eq!(codes(&check_body(circular)), [Code::E0402]);
}

#[test]
fn later_operators_are_typed_but_marked() {
    let body = "model m { arch = decoder, init = seed(1), shape = \"tiny\", context = 64tok, tokenizer = words }\n\
                pipeline p { docs |> generate(text, with = m, max = 8tok) as y -> out }";
    let checked = check_body(body);
    assert_eq!(errors(&checked), Vec::<String>::new());
    let node = stream(&checked.hir.graph, "p.out");
    assert!(matches!(&node.op, Op::Unavailable { area, .. } if area == "runtime"));
    assert!(node.schema.iter().any(|column| column.name == "y_nll" && column.ty == Type::F64));
}
