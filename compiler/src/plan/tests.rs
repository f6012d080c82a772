use super::*;
use crate::graph::test_graphs::*;
use crate::hir;
use crate::op::{self, Expr};
use crate::types::Type;

/// `docs |> chunk -> p.chunks |> derive(columns) -> p.out`, written; the title is not read by the chunks.
fn program(max_tokens: u64, derived: &[&str]) -> Hir {
    let mut builder = Builder::new();
    let docs = builder.scan("docs", &["id", "title", "text"]);
    let chunks = builder.chunk(docs, "text", "text");
    builder.name("p.chunks", chunks);
    if let Op::Chunk(chunk) = &mut builder.graph.nodes[1].op {
        chunk.max_tokens = max_tokens;
    }
    let mut columns =
        column_names(&builder.graph, chunks).iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    columns.extend(derived.iter().map(|name| (*name).to_owned()));
    let exprs: Vec<(String, Expr)> =
        derived.iter().map(|name| ((*name).to_owned(), column_expr("title"))).collect();
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let out = builder.node(Op::Derive { columns: exprs }, &[chunks], &names, Class::RowWise);
    builder.name("p.out", out);
    let kept = ["id", "text", "chunk", "a"].map(|name| (name.to_owned(), name.to_owned())).to_vec();
    let last =
        builder.node(Op::Project { columns: kept }, &[out], &["id", "text", "chunk", "a"], Class::RowWise);
    builder.name("p.last", last);
    builder.write(last, "out.jsonl");
    Hir { graph: builder.graph, ..Hir::default() }
}

fn planned_with(hir: &Hir, targets: &[&str], content: Option<u8>) -> Plan {
    let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
    let contents =
        |_: &Scan| content.map(|byte| Content { hash: Fp([byte; 32]), rows: Some(20), bytes: 100 });
    plan(hir, &Request { targets: &targets, rules: Rules::All, contents: &contents }).unwrap()
}

fn planned(hir: &Hir) -> Plan {
    planned_with(hir, &[], Some(1))
}

fn record(plan: &Plan) -> BuildRecord {
    BuildRecord::of(plan, &|id| plan.rows[id.0 as usize].map(|rows| rows.count))
}

/// The classes by node name, of those that are not reused.
fn differing(now: &Plan, before: &Plan) -> Vec<String> {
    let changes = classes(now, Some(&record(before)));
    let differing = changes.iter().filter(|change| change.class != ChangeClass::Reused);
    let mut lines: Vec<String> =
        differing.map(|change| format!("{} {}", change.name, change.class)).collect();
    lines.sort();
    lines
}

#[test]
fn the_order_of_declarations_leaves_no_trace() {
    let build = |is_reversed: bool| {
        let mut builder = Builder::new();
        let mut names = ["docs", "asks", "more"];
        if is_reversed {
            names.reverse();
        }
        for name in names {
            let scan = builder.scan(name, &["id", "text"]);
            let few = builder.limit(scan, name.len() as u64);
            builder.name(&format!("p.{name}"), few);
            builder.write(few, name);
        }
        for node in &mut builder.graph.nodes {
            node.labels.retain(|label| !label.starts_with('n'));
        }
        Hir { graph: builder.graph, ..Hir::default() }
    };
    let (forward, backward) = (planned_with(&build(false), &[], None), planned_with(&build(true), &[], None));
    assert_eq!(forward.to_bytes(), backward.to_bytes());
    assert_eq!(forward.root, backward.root);
    assert_eq!(forward.to_json(), backward.to_json());
    assert_eq!(record(&forward).to_text(), record(&backward).to_text());
    let value: serde_json::Value = serde_json::from_str(&forward.to_json()).unwrap();
    assert_eq!(value["nodes"].as_array().unwrap().len(), 9);
}

#[test]
fn every_cause_has_its_class() {
    let base = planned(&program(512, &["a"]));
    assert_eq!(differing(&base, &base), [""; 0]);

    let smaller = planned(&program(256, &["a"]));
    assert_eq!(
        differing(&smaller, &base),
        ["n4 indirect", "p.chunks changed", "p.last indirect", "p.out indirect"]
    );
    let edited = planned_with(&program(512, &["a"]), &[], Some(2));
    let expected = ["docs data", "n4 indirect", "p.chunks indirect", "p.last indirect", "p.out indirect"];
    assert_eq!(differing(&edited, &base), expected);

    let mut renamed = program(512, &["a"]);
    renamed.graph.nodes[1].labels = vec!["p.parts".to_owned()];
    renamed.graph.streams[1].0 = "p.parts".to_owned();
    assert_eq!(differing(&planned(&renamed), &base), ["p.parts metadata"]);

    let mut without = program(512, &["a"]);
    let target = without.graph.streams[1].0.clone();
    without.graph.outputs.clear();
    let fewer = planned_with(&without, &[&target], Some(1));
    assert_eq!(differing(&fewer, &base), ["n4 removed", "p.last removed", "p.out removed"]);
    let added = differing(&base, &fewer);
    assert_eq!(added, ["n4 new", "p.last new", "p.out new"]);
    assert!(classes(&base, None).iter().all(|change| change.class == ChangeClass::New));

    let mut newer = program(512, &["a"]);
    newer.graph.nodes[2].version = 2;
    assert!(differing(&planned(&newer), &base).contains(&"p.out changed".to_owned()));
}

#[test]
fn new_columns_widen_and_stop_where_only_the_old_ones_are_read() {
    let base = planned_with(&program(512, &["a"]), &["p.out", "p.last"], Some(1));
    let wider = planned_with(&program(512, &["a", "b"]), &["p.out", "p.last"], Some(1));
    assert_eq!(differing(&wider, &base), ["p.out widened"]);
    let edited = planned_with(&program(512, &["a", "b"]), &["p.out", "p.last"], Some(2));
    assert_eq!(
        differing(&edited, &base),
        ["docs data", "p.chunks indirect", "p.last indirect", "p.out changed"]
    );
}

#[test]
fn an_explanation_leads_to_the_cause() {
    let (base, smaller) = (planned(&program(512, &["a"])), planned(&program(256, &["a"])));
    let explained = explain(&smaller, Some(&record(&base)), "p/out.jsonl").unwrap().to_string();
    let expected = "\
n4: indirect
  input `p.last` is indirect
p.last: indirect
  input `p.out` is indirect
p.out: indirect
  input `p.chunks` is changed
p.chunks: changed
  parameter `max_tokens` 512 -> 256
";
    assert_eq!(explained, expected);
    let edited = planned_with(&program(512, &["a"]), &[], Some(2));
    let explained = explain(&edited, Some(&record(&base)), "docs").unwrap().to_string();
    assert_eq!(explained, "docs: data\n  files of `docs.jsonl` 010101010101 -> 020202020202\n");
    assert!(explain(&base, None, "nothing").unwrap_err().contains(&"p.out".to_owned()));
}

#[test]
fn a_lock_reads_back_and_names_the_first_difference() {
    let (base, smaller) = (planned(&program(512, &["a"])), planned(&program(256, &["a"])));
    let text = record(&base).to_text();
    let lock = BuildRecord::parse(&text).unwrap();
    assert_eq!(lock, record(&base));
    assert_eq!(lock.to_text(), text);
    assert_eq!(lock.first_difference(&record(&base)), None);
    let difference = lock.first_difference(&record(&smaller)).unwrap();
    assert_eq!(difference, "`p.chunks` differs: parameter `max_tokens` 512 -> 256");
    let edited = record(&planned_with(&program(512, &["a"]), &[], Some(2)));
    assert_eq!(lock.first_difference(&edited).unwrap(), "`docs` differs: files of `docs.jsonl`");
    let fewer = record(&planned_with(&program(512, &["a"]), &["p.last"], Some(1)));
    assert_eq!(lock.first_difference(&fewer).unwrap(), "`n4` is in the lock, but not in the program");

    let later = text.replace("\"format\": 1", "\"format\": 2");
    assert_eq!(BuildRecord::parse(&later).unwrap_err(), "lock has format 2, this compiler reads format 1");
    assert!(BuildRecord::parse("{").unwrap_err().starts_with("lock is not JSON"));
    assert!(BuildRecord::parse("{\"format\": 1}").unwrap_err().starts_with("lock is damaged"));
}

#[test]
fn two_locks_differ_by_meaning() {
    let param = |value: i64| hir::Param {
        name: "size".to_owned(),
        ty: Type::I64,
        value: op::Value::Int(value),
        is_set: false,
        doc: None,
    };
    let with = |hir: Hir, value: i64| Hir { params: vec![param(value)], ..hir };
    let old = record(&planned(&with(program(512, &["a"]), 512)));
    let new = record(&planned_with(&with(program(256, &["a"]), 256), &["p.last"], Some(2)));
    assert_eq!(lock::diff(&old, &old), [""; 0]);
    let expected = [
        "param size: 512 -> 256",
        "files: docs",
        "p.chunks: parameter `max_tokens` 512 -> 256",
        "removed: n4",
        "output removed: p/out.jsonl",
    ];
    assert_eq!(lock::diff(&old, &new), expected);
}

#[test]
fn operators_of_missing_areas_are_refused_only_if_a_target_needs_them() {
    let mut hir = program(512, &["a"]);
    let mut builder = Builder { graph: hir.graph };
    let op = Op::Unavailable { area: "runtime".to_owned(), what: "generate".to_owned() };
    let missing = builder.same(op, NodeId(0), Class::RowWise);
    builder.name("p.answers", missing);
    hir.graph = builder.graph;
    planned(&hir);
    let (targets, contents) = (["p.answers".to_owned()], |_: &Scan| None);
    let request = Request { targets: &targets, rules: Rules::All, contents: &contents };
    let Err(PlanError::Unavailable(found)) = plan(&hir, &request) else { panic!("refused") };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, Code::E2002);
    assert_eq!(found[0].message, "`generate` needs the area `runtime`, which is not in this build");
    let targets = ["p.answer".to_owned()];
    let Err(PlanError::UnknownTarget(unknown)) = plan(&hir, &Request { targets: &targets, ..request }) else {
        panic!("unknown")
    };
    assert_eq!(unknown.suggestions, ["p.answers"]);
}

#[test]
fn the_table_reads_from_sources_to_targets() {
    let (base, smaller) = (planned(&program(512, &["a"])), planned(&program(256, &["a"])));
    let record = record(&base);
    let expected = "\
class     node      operator                            rows
reused    docs      scan jsonl docs.jsonl                 20
changed   p.chunks  chunk by = paragraph, max = 256tok     ?
indirect  p.out     derive a                               ?
indirect  p.last    project id, text, chunk, a             ?
indirect  n4        write jsonl out.jsonl                  ?

5 nodes: 1 changed, 3 indirect, 1 reused
";
    let shown = show::show(&smaller, &classes(&smaller, Some(&record)), Some(&record));
    assert_eq!(shown, expected, "\n{shown}");
}
