//! Prompts, tests, benches and gates as `check` hands them on: what the engine and the bench area get.

use std::collections::BTreeMap;

use promptc_compiler::diagnostic::{Code, Diagnostic};
use promptc_compiler::fingerprint::op_name;
use promptc_compiler::op::{Op, Piece, Shrink, Value};
use promptc_compiler::{Checked, Input, check};

fn checked(text: &str) -> Checked {
    let mut loader = |_: &str, path: &str| Err(format!("no import of {path} in a test"));
    let environment = |_: &str| None;
    check(Input {
        name: "t.promptc",
        text,
        loader: &mut loader,
        set: BTreeMap::new(),
        environment: &environment,
        home: None,
        encoders: &promptc_compiler::no_encoders,
        deny_warnings: false,
    })
}

fn codes(diagnostics: &[Diagnostic]) -> Vec<&'static str> {
    diagnostics.iter().map(|found| found.code.text()).collect()
}

/// Checks a text that must have no findings.
fn clean(text: &str) -> Checked {
    let found = checked(text);
    assert_eq!(found.diagnostics, [], "{text}");
    found
}

const ASKS: &str = r##"edition 2026
// allow(W0201)
param least : u32 = 1
source asks : stream<{ qid: text, ok: bool, note: text?, tags: list<text>, at: { line: u32, text: text } }> = jsonl("a.jsonl") { key = qid }
source more : stream<{ qid: text, n: u32 }> = jsonl("m.jsonl") { key = qid }
pipeline p {
  asks |> filter(ok) -> rows
  rows |> join(more, on = qid) -> both
  write both to jsonl("out.jsonl", key = qid)
}
"##;

#[test]
fn a_test_has_a_graph_of_its_own_with_rows_for_files() {
    let text = format!(
        "{ASKS}test t for p {{
  given asks = [row(qid = \"a\", ok = true, tags = [\"x\"], at = row(line = 3, text = \"z\"))]
  expect count(rows) == least
  expect rows.ok and len(rows.tags) > 0
  expect p.both.n != 1
}}
"
    );
    let hir = clean(&text).hir;
    let [test] = hir.tests.as_slice() else { panic!("{:?}", hir.tests) };
    assert_eq!((test.name.as_str(), test.target.as_str()), ("t", "p"));
    let rows: Vec<&Vec<Vec<Value>>> = test
        .graph
        .nodes
        .iter()
        .filter_map(|node| if let Op::Rows { rows } = &node.op { Some(rows) } else { None })
        .collect();
    let text_value = |text: &str| Value::Text(text.to_owned());
    let record =
        Value::Record(vec![("line".to_owned(), Value::Int(3)), ("text".to_owned(), text_value("z"))]);
    let given =
        vec![text_value("a"), Value::Bool(true), Value::Null, Value::List(vec![text_value("x")]), record];
    assert_eq!(
        rows,
        [&vec![given], &Vec::new()],
        "given rows in the order of the columns; other sources are empty"
    );
    assert!(test.graph.nodes.iter().all(|node| !matches!(node.op, Op::Scan(_) | Op::Write(_))), "no files");
    for (idx, node) in test.graph.nodes.iter().enumerate() {
        assert_eq!(node.id.0 as usize, idx);
        assert!(node.inputs.iter().all(|input| input.0 < node.id.0), "topological");
    }
    let expects: Vec<(&str, bool)> =
        test.expects.iter().map(|expect| (expect.stream.as_str(), expect.is_aggregate)).collect();
    assert_eq!(expects, [("p.rows", true), ("p.rows", false), ("p.both", false)]);
    let shown: Vec<&str> = test.expects[1].shown.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(shown, ["rows.ok", "len(rows.tags)"]);
    assert!(test.expects.iter().all(|expect| test.graph.stream(&expect.stream).is_some()));
}

#[test]
fn wrong_tests_are_refused() {
    let cases = [
        ("given asks = [row(qid = \"a\")] expect count(rows) == 1", "E0207"),
        ("given asks = [row(qid = 1, ok = true)] expect count(rows) == 1", "E0303"),
        ("given asks = [row(qid = \"a\", okay = true)] expect count(rows) == 1", "E0203"),
        ("given asks = [row(\"a\")] expect count(rows) == 1", "E0302"),
        ("given asks = [1] expect count(rows) == 1", "E0303"),
        ("given asks = 1 expect count(rows) == 1", "E0303"),
        ("given more = [] given more = [] expect count(rows) == 1", "E0202"),
        ("given rows = [] expect count(rows) == 1", "E0605"),
        ("expect 1 == 1", "E0604"),
        ("expect least == 1", "E0604"),
        ("expect rows.ok and both.n == 1", "E0604"),
        ("expect rows.nope", "E0203"),
        ("expect rowz.ok", "E0201"),
        ("expect rows.qid", "E0303"),
        ("expect count(rows) == 1 and rows.ok", "E0303"),
    ];
    for (body, code) in cases {
        let found = checked(&format!("{ASKS}test t for p {{ {body} }}\n"));
        assert_eq!(codes(&found.diagnostics), [code], "{body}: {:?}", found.diagnostics);
        assert!(found.hir.tests.is_empty(), "{body}");
    }
}

fn bench(fields: &str) -> Checked {
    checked(&format!("{ASKS}bench b {{ {fields} }}\n"))
}

#[test]
fn a_bench_gives_typed_metrics_with_directions() {
    let found = bench(
        "run = p.rows, data = asks, metrics { share_ok = mean(ok), p99 = p99(latency), n = count() } better { share_ok = higher } repeat = 3, record = history(\"h\")",
    );
    assert_eq!(found.diagnostics, []);
    let [bench] = found.hir.benches.as_slice() else { panic!("{:?}", found.hir.benches) };
    let metrics: Vec<(String, i8)> = bench
        .metrics
        .iter()
        .map(|(name, expr, direction)| (format!("{name}: {}", expr.ty), *direction))
        .collect();
    let named = |name: &str, direction: i8| (name.to_owned(), direction);
    assert_eq!(metrics, [named("share_ok: share", 1), named("p99: duration", -1), named("n: i64", 0)]);
    assert_eq!((bench.run.as_deref(), bench.data.as_deref()), (Some("p.rows"), Some("asks")));
    assert_eq!((bench.repeat, bench.warm_up, bench.suite.as_deref()), (3, 1, Some("h")));
}

#[test]
fn wrong_benches_are_refused() {
    let record = "record = history(\"h\")";
    let cases = [
        ("data = asks, metrics { n = count() }", "E0207"),
        ("run = p.rows, metrics { n = count() }", "E0207"),
        ("run = p.rows, data = asks", "E0207"),
        ("run = p.rows, data = asks, metrics { }", "E0207"),
        ("run = p.rows, data = more, metrics { n = count() }", "E0604"),
        ("run = p.rows, data = p.rows, metrics { n = count() }", "E0209"),
        ("run = p.rows, data = asks, metrics { n = collect(qid) }", "E0603"),
        ("run = p.rows, data = asks, metrics { n = len(qid) }", "E0603"),
        ("run = p.rows, data = asks, metrics { Nope = count() }", "E0106"),
        ("run = p.rows, data = asks, metrics { n = count(), n = count() }", "E0202"),
        ("run = p.rows, data = asks, metrics { n = count() } better { m = higher }", "E0206"),
        ("run = p.rows, data = asks, metrics { n = count() } better { n = highest }", "E0205"),
        ("run = p.rows, data = asks, metrics { n = count() }, where = note", "E0303"),
        ("run = p.nope, data = asks, metrics { n = count() }", "E0201"),
    ];
    for (fields, code) in cases {
        let found = bench(&format!("{fields} {record}"));
        assert_eq!(codes(&found.diagnostics), [code], "{fields}: {:?}", found.diagnostics);
    }
}

fn gate(body: &str) -> Vec<Diagnostic> {
    checked(&format!(
        "{ASKS}bench b {{ run = p.rows, data = asks, metrics {{ share_ok = mean(ok) }}, record = history(\"h\") }}\n\
         gate g on b {{ {body} }}\n"
    ))
    .diagnostics
}

#[test]
fn gates_see_result_columns_and_params() {
    let sql = r##"sql #"SELECT avg(value) AS v, count(*) AS n FROM current"#"##;
    let cases: [(&str, &[&str]); 8] = [
        ("require n < 5 or v >= 0.5", &[]),
        ("require n >= least", &[]),
        ("require v", &["E0303"]),
        ("require w > 1", &["E0601"]),
        ("require v > 0 on pass { keep(\"stable\") }", &[]),
        ("require v > 0 on pass { tag(\"stable\") }", &["E0302"]),
        ("require v > 0 on pass { publish(asks) }", &["E0209"]),
        ("require v > 0 on fail { stop() }", &["E0608"]),
    ];
    for (body, expected) in cases {
        let found = gate(&format!("{sql} {body}"));
        assert_eq!(codes(&found), expected, "{body}: {found:?}");
    }
}

#[test]
fn a_gate_needs_a_recorded_bench() {
    let text = format!(
        "{ASKS}bench b {{ run = p.rows, data = asks, metrics {{ n = count() }} }}\n\
         gate g on b {{ sql #\"SELECT avg(value) AS v FROM current\"# require v > 0 }}\n"
    );
    assert_eq!(codes(&checked(&text).diagnostics), ["W0601", "E0207"]);
}

#[test]
fn queries_read_streams_by_three_names_and_tables_of_the_history() {
    let cases: [(&str, &[&str]); 6] = [
        ("SELECT qid FROM asks JOIN p_rows USING (qid)", &[]),
        ("SELECT count(*) FROM \"p.rows\"", &[]),
        ("SELECT metric, now() FROM results", &[]),
        ("SELECT qid FROM askz", &["E0201"]),
        ("SELECT qidd FROM asks", &["E0607"]),
        ("DROP TABLE asks", &["E0607"]),
    ];
    for (sql, expected) in cases {
        let found = checked(&format!("{ASKS}query q = sql #\"{sql}\"#\n")).diagnostics;
        assert_eq!(codes(&found), expected, "{sql}: {found:?}");
    }
}

const ANSWER: &str = r##"edition 2026
source asks : stream<{ qid: text, q: text, pages: list<text> }> = jsonl("a.jsonl") { key = qid }
prompt answer(q: text, pages: list<text>) within 64tok {
  system (priority = 100) #"Answer only from the passages."#
  user (min = 16tok, shrink = compress(query = q, ratio = 1x..8x, unit = clause)) #"{% for p in pages %}{{ p }} {% endfor %}"#
  user (priority = 90, max = 24tok, shrink = keep_head, when = len(q) > 0) #"Question: {{ q }}"#
}
"##;

#[test]
fn a_prompt_is_handed_on_with_its_attributes() {
    let text =
        format!("{ANSWER}pipeline p {{ asks |> assemble(answer, q = q, pages = pages) as prompt -> out }}\n");
    let hir = clean(&text).hir;
    let assemble =
        hir.graph.nodes.iter().find_map(|node| if let Op::Assemble(op) = &node.op { Some(op) } else { None });
    let prompt = &assemble.expect("an assemble").prompt;
    assert_eq!(prompt.budget_tokens, 64);
    assert_eq!(prompt.messages.iter().map(|message| message.priority).collect::<Vec<_>>(), [100, 50, 90]);
    assert_eq!(prompt.messages[1].min_tokens, 16);
    let Shrink::Compress { query: Some(_), ratio_min, ratio_max, unit, keep } = &prompt.messages[1].shrink
    else {
        panic!("{:?}", prompt.messages[1].shrink)
    };
    assert_eq!((*ratio_min, *ratio_max, unit.as_str(), keep.len()), (1.0, 8.0, "clause", 0));
    assert!(matches!(prompt.messages[1].template.as_slice(), [Piece::For { .. }]));
    assert_eq!((prompt.messages[2].max_tokens, &prompt.messages[2].shrink), (Some(24), &Shrink::KeepHead));
    assert!(prompt.messages[2].when.is_some());
}

#[test]
fn a_rendering_counts_as_fixed_text() {
    let render = |render: &str| {
        let text = format!(
            "{ANSWER}pipeline p {{ asks |> assemble(answer, q = q, pages = pages{render}) as prompt -> out }}\n"
        );
        codes(&checked(&text.replace("within 64tok", "within 40tok")).diagnostics)
    };
    assert_eq!(render(""), Vec::<&str>::new());
    // Three messages with eleven tokens each, beside 8 fixed ones and 16 that are promised.
    assert_eq!(render(", render = chatml"), ["E0503"]);
}

#[test]
fn budgets_are_proved_or_warned_of() {
    let cases: [(&str, &[&str]); 9] = [
        ("within 8tok { user (max = 4tok) #\"a b {{ q }}\"# }", &[]),
        ("within 8tok { user (max = 7tok) #\"a b {{ q }}\"# }", &["W0501"]),
        ("within 8tok { user #\"a b {{ q }}\"# }", &["W0501"]),
        ("within 8tok { user (shrink = drop) #\"a b {{ q }}\"# }", &[]),
        ("within 1tok { user (shrink = drop) #\"a b {{ q }}\"# }", &["E0503"]),
        ("within 8tok { user (shrink = kep_head) #\"{{ q }}\"# }", &["E0205"]),
        ("within 8x { user (shrink = drop) #\"{{ q }}\"# }", &["E0304"]),
        ("within 64tok { user (shrink = compress(query = q)) #\"{{ q }}\"# }", &["E0207"]),
        ("within 64tok { user (shrink = compress(ratio = 4x)) #\"{{ q }}\"# }", &["E0505"]),
    ];
    for (body, expected) in cases {
        let found = checked(&format!("edition 2026\nprompt a(q: text) {body}\n")).diagnostics;
        assert_eq!(codes(&found), expected, "{body}: {found:?}");
    }
}

#[test]
fn comments_silence_warnings_on_the_next_line_only() {
    let cases: [(&str, &[&str]); 5] = [
        ("// allow(W0201)\nparam k : u32 = 1\n", &[]),
        ("// allow(W0404, W0201)\nparam k : u32 = 1\n", &[]),
        ("// allow(W0404)\nparam k : u32 = 1\n", &["W0201"]),
        ("// allow(W0201)\n\nparam k : u32 = 1\n", &["W0201"]),
        ("// allow(E0304)\nparam k : tok = 4x\n", &["E0304"]),
    ];
    for (text, expected) in cases {
        assert_eq!(codes(&checked(&format!("edition 2026\n{text}")).diagnostics), expected, "{text}");
    }
}

const LEARN: &str = r##"edition 2026
tokenizer words { kind = word_punct }
model base { arch = decoder, init = seed(1), shape = "tiny", context = 64tok, tokenizer = words }
source runs : stream<{ id: u32, q: text, a: text, r: f32 }> = jsonl("r.jsonl") { key = id }
embedder e256 { kind = hashed_ngram, dim = 256, seed = 7 }
trajectory t from runs { episode = [id], steps = q, state = q, action = a, reward = r, advantage = reward - mean(reward, over = id), split = by(id, train = 80%, test = 20%, seed = 1) }
adapter micro on base { kind = micro_lora, rank = 2, targets = [q_proj, v_proj] }
"##;

#[test]
fn declarations_of_later_areas_are_checked() {
    let learn = "learn micro from t.train { objective = imitate(advantage > 0), steps = 20, batch = 1, lr = 1e-2, seed = 11 }";
    let cases: [(&str, &[&str]); 24] = [
        (learn, &[]),
        (
            "learn micro from t { objective = imitate(advantage > 0), steps = 20, batch = 1, lr = 1e-2, seed = 11 }",
            &["E0401"],
        ),
        (
            "learn micro from t.train { objective = imitate(advantage > 0), batch = 1, lr = 1e-2, seed = 11 }",
            &["E0207"],
        ),
        (
            "learn micro from t.train { objective = imitate(advantage > 0), steps = 1, epochs = 1, batch = 1, lr = 1e-2, seed = 11 }",
            &["E0311"],
        ),
        (
            "learn micro from t.train { objective = imitate(advantage), steps = 1, batch = 1, lr = 1e-2, seed = 11 }",
            &["E0303"],
        ),
        (
            "learn micro from t.train { objective = mimic(advantage > 0), steps = 1, batch = 1, lr = 1e-2, seed = 11 }",
            &["E0205"],
        ),
        (
            "learn micro from t.train { objective = imitate(nope > 0), steps = 1, batch = 1, lr = 1e-2, seed = 11 }",
            &["E0203"],
        ),
        (
            "learn e999 from t.train { objective = imitate(advantage > 0), steps = 1, batch = 1, lr = 1e-2, seed = 11 }",
            &["E0201"],
        ),
        (
            "patterns bank from t.train { embed = e256, k = 8, seed = 1, keep = advantage > 0, merge = 0.85 }",
            &[],
        ),
        ("patterns bank from t.train { embed = e256, k = 0, seed = 1 }", &["E0502"]),
        (
            "adapter slow on base { kind = base_lora, rank = 8, targets = [q_proj], protect = ewc(lambda = 1000.0, fisher = t.train, seed = 11) }",
            &[],
        ),
        (
            "adapter slow on base { kind = base_lora, rank = 8, targets = [q_proj], protect = ewc(lambda = 1000.0, fisher = t.test, seed = 11) }",
            &["E0401"],
        ),
        ("adapter slow on base { kind = base_lora, rank = 8, targets = [q_prj] }", &["E0205"]),
        (
            "model far { arch = remote, endpoint = \"http://localhost\", record = \"r\", context = 64tok, tokenizer = words }",
            &[],
        ),
        ("model near { arch = decoder, context = 64tok, tokenizer = words }", &["E0207"]),
        (
            "model near { arch = decoder, file = \"m\", blake3 = \"xyz\", context = 64tok, tokenizer = words }",
            &["E0303"],
        ),
        (
            "diffusion f on base { adapters = [use(micro, steps = 0..3), use(micro, steps = 4..7)], seed = 1 }",
            &[],
        ),
        (
            "diffusion f on base { adapters = [use(micro, steps = 0..3), use(micro, steps = 5..7)], seed = 1 }",
            &["E0504"],
        ),
        (
            "federation f for micro { clients = id, rounds = 3, aggregate = trimmed(10%), sparsify = 10%, seed = 1 }",
            &["E0311"],
        ),
        (
            "federation f for micro { clients = id, rounds = 3, privacy = dp(1.0, 0.1, 1.0), secure = true, seed = 1 }",
            &[],
        ),
        ("recursion r { task = sudoku, arch = mlp, seed = 1 }", &[]),
        ("recursion r { task = sudoku, arch = mlp }", &["E0404"]),
        ("dynamics d on base { context = runs.q, fallback = kv, max_kl = 0.1 }", &[]),
        (
            "service s { bind = \"127.0.0.1:80\", routes = [base], limits { inflight = 8 } auth = token_file(\"t\") }",
            &[],
        ),
    ];
    for (text, expected) in cases {
        let found = checked(&format!("{LEARN}{text}\n")).diagnostics;
        assert_eq!(codes(&found), expected, "{text}: {found:?}");
    }
}

#[test]
fn a_learned_adapter_may_be_compared_and_its_gate_names_subjects() {
    let bench = "bench b { subject = micro, against = [base], data = t.test, metrics { nll = mean(nll(action)) }, record = history(\"h\") }
gate g on b { sql #\"SELECT avg(value) AS v FROM current WHERE subject IN ('micro', 'base') AND metric = 'nll'\"# require v > 0 on pass { publish(micro) } }\n";
    assert_eq!(codes(&checked(&format!("{LEARN}{bench}")).diagnostics), [Code::W0202.text()]);
    let learn = "learn micro from t.train { objective = reinforce(advantage), epochs = 2, batch = 1, lr = 1e-2, seed = 11 }\n";
    clean(&format!("{LEARN}{learn}{bench}"));
}

#[test]
fn a_bench_carries_its_operators_with_the_measured_rows_in_place() {
    let text = r##"edition 2026
source asks : stream<{ qid: text, n: i64 }> = jsonl("a.jsonl") { key = qid, split = by(qid, train = 50%, test = 50%, seed = 3) }
source more : stream<{ mid: text }> = jsonl("m.jsonl") { key = mid }
pipeline p { asks |> derive(m = n + 1) -> rows }
pipeline other { more |> derive(m = 1) -> rows write rows to jsonl("o.jsonl", key = mid) }
bench b { run = p.rows, data = asks.test, where = n > 2, limit = 7, sample = 50%, cache = warm, metrics { n = count() }, record = history("h") }
bench whole { run = p.rows, data = asks, metrics { n = count() }, record = history("h") }
"##;
    let found = checked(text);
    assert_eq!(found.diagnostics, []);
    let [bench, whole] = found.hir.benches.as_slice() else { panic!("{:?}", found.hir.benches) };
    let measured = bench.measured.as_ref().unwrap();
    let mut chain = vec![measured.run];
    while let Some(input) = measured.graph.node(*chain.last().unwrap()).inputs.first() {
        assert!(input < chain.last().unwrap(), "inputs come first");
        chain.push(*input);
    }
    let shown: Vec<&str> = chain.iter().map(|id| op_name(&measured.graph.node(*id).op)).collect();
    assert_eq!(shown, ["derive", "limit", "sample", "filter", "split_part", "scan"]);
    assert_eq!(chain[1], measured.data);
    assert_eq!(measured.graph.stream("p.rows"), Some(measured.run));
    assert!(measured.graph.stream("more").is_none(), "what the run does not read is left out");
    let fields: Vec<&str> = bench.restricted.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        (fields, bench.is_warm, bench.subjects.as_slice()),
        (vec!["where", "limit", "sample"], true, &["rows".to_owned()][..])
    );
    let measured = whole.measured.as_ref().unwrap();
    assert_eq!(measured.graph.nodes.len(), 2);
    assert_eq!(op_name(&measured.graph.node(measured.data).op), "scan");
}

#[test]
fn requirements_are_typed_even_where_the_sql_column_is_not() {
    let text = format!(
        "{ASKS}bench b {{ run = p.rows, data = asks, metrics {{ share_ok = mean(ok) }}, record = history(\"h\") }}\n\
         gate g on b {{ sql #\"SELECT theil_sen(at, value)['p'] AS p, count(*) AS n FROM current\"#\n\
         require p < 0.05 or n < 3 on pass {{ keep(\"stable\") }} }}\n"
    );
    let found = checked(&text);
    assert_eq!(found.diagnostics, []);
    let [gate] = found.hir.gates.as_slice() else { panic!("{:?}", found.hir.gates) };
    assert_eq!(gate.conditions.len(), 1);
    assert!(!gate.conditions[0].ty.is_unknown(), "{:?}", gate.conditions[0]);
    let [action] = gate.outcomes.as_slice() else { panic!("{:?}", gate.outcomes) };
    assert_eq!(
        (action.on_pass, action.name.as_str(), action.label.as_deref()),
        (true, "keep", Some("stable"))
    );
}
