//! Rules and plans over whole programs: the graphs stay sound, and nothing that means nothing changes a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::check::{Checked, Input, check};
use crate::optimize::columns;
use crate::types::Column;

/// Pages and questions to prompts, as in the main job, with every rule at work.
const CORPUS: &str = r##"edition 2026
param target : ratio = 4x { min = 1x, max = 16x }
source pages : stream<{ path: text, text: text, notes: text }> = jsonl("pages.jsonl") { key = path }
source asks : stream<{ qid: text, question: text, crate: text, answer: text }> = jsonl("asks.jsonl") { key = qid }
tokenizer words { kind = word_punct }
embedder e256 { kind = hashed_ngram, dim = 256, ngrams = [3, 4, 5], seed = 7, normalize = true }
pipeline corpus {
  pages
    |> derive(crate = capture(path, #"^([^/]+)/"#))
    |> filter(crate != null)
    |> compress(text, stages = [structural])
    |> dedup(text, unit = row, jaccard = 0.8)
    -> docs
  docs
    |> chunk(text, by = heading, max = 256tok)
    |> filter(not contains(path, "license"))
    |> embed(text, with = e256) as vec
    -> chunks : stream<{ path: text, crate: text, chunk: u32, text: text, vec: vector<256 @ e256> }>
  docs |> aggregate(by = crate, pages = count()) -> crates
}
index ann on corpus.chunks(vec) { kind = flat }
index bm25 on corpus.chunks(text) { kind = bm25, stem = "en" }
prompt howto(question: text, crates: list<text>, passages: list<text>) within 2048tok {
  system (priority = 100) #"Name the crate."#
  user (priority = 50, min = 512tok, shrink = keep_head) #"{% for p in passages %}[{{ crates[loop.index0] }}] {{ p }}
{% endfor %}"#
  user (priority = 90, max = 128tok, shrink = keep_head) #"Question: {{ question }}"#
}
pipeline pack {
  asks
    |> join(corpus.crates, on = crate, how = semi)
    |> retrieve(question, from = [ann, bm25], fuse = zscore, k = 24) as hits
    |> compress(hits.text, query = question, titles = hits.crate, ratio = target, unit = clause) as passages
    |> assemble(howto, question = question, crates = hits.crate, passages = passages) as prompt
    -> prompts
  prompts |> select(qid, prompt) -> out
  write out to jsonl("out/prompts.jsonl", key = qid)
}
pipeline best {
  asks
    |> retrieve(question, from = bm25, k = 24) as hits
    |> select(qid, crate, top = first(hits.crate))
    |> filter(crate == top)
    -> found
  write found to jsonl("out/found.jsonl", key = qid)
}
"##;

fn checked(text: &str) -> Checked {
    let mut loader = |_: &str, path: &str| Err(format!("no file {path}"));
    let checked = check(Input {
        name: "main.promptc",
        text,
        loader: &mut loader,
        set: BTreeMap::new(),
        environment: &|_| None,
        home: None,
        encoders: &crate::no_encoders,
        deny_warnings: false,
    });
    let shown: Vec<&str> = checked.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert!(!checked.has_errors(), "{shown:#?}");
    checked
}

fn planned(text: &str, rules: Rules, targets: &[&str]) -> Plan {
    let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
    let request = Request { targets: &targets, rules, contents: &|_| None };
    plan(&checked(text).hir, &request).expect("a plan")
}

/// Every column that an operator reads is in its input, with the type that the expression says; keys are columns; names
/// and ids agree.
fn assert_sound(graph: &Graph) {
    for (idx, node) in graph.nodes.iter().enumerate() {
        let name = format!("{} {:?}", op_name(&node.op), node.labels);
        assert_eq!(node.id.0 as usize, idx);
        assert!(node.inputs.iter().all(|input| *input < node.id), "{name}: inputs come first");
        let own: BTreeSet<&String> = node.schema.iter().map(|column| &column.name).collect();
        assert_eq!(own.len(), node.schema.len(), "{name}: columns differ");
        let keys: Vec<&String> = node.key.iter().filter(|key| !own.contains(key)).collect();
        assert!(keys.is_empty() || node.schema.is_empty(), "{name}: keys {keys:?} are no columns");
        let empty: Vec<Column> = Vec::new();
        let given = node.inputs.first().map_or(&empty, |input| &graph.node(*input).schema);
        let mut op = node.op.clone();
        columns::each_op_column(&mut op, &mut |column, ty| {
            let found = given.iter().find(|given| given.name == *column);
            let found = found.unwrap_or_else(|| panic!("{name}: reads {column}, which is not there"));
            assert!(ty.is_unknown() || found.ty == *ty, "{name}: {column} is {}, read as {ty}", found.ty);
        });
        let sources: Vec<&String> = match &node.op {
            Op::Project { columns } | Op::Rename { columns } => columns.iter().map(|(_, old)| old).collect(),
            _ => Vec::new(),
        };
        for source in sources {
            assert!(given.iter().any(|column| column.name == *source), "{name}: takes {source}");
        }
    }
}

#[test]
fn rules_leave_graphs_sound() {
    let targets: [&[&str]; 6] =
        [&[], &["pack.prompts"], &["corpus"], &["corpus.docs", "best.found"], &["ann"], &["+pack.out+"]];
    for targets in targets {
        for rules in [Rules::All, Rules::None] {
            assert_sound(&planned(CORPUS, rules, targets).graph);
        }
    }
}

#[test]
fn the_rules_do_what_they_say_on_a_program() {
    let plan = planned(CORPUS, Rules::All, &[]);
    let find = |name: &str| -> Vec<&Node> {
        plan.graph.nodes.iter().filter(|node| op_name(&node.op) == name).collect()
    };
    let chunk = find("chunk")[0];
    let below = plan.graph.node(chunk.inputs[0]);
    assert_eq!(op_name(&below.op), "filter", "the filter on the path passes chunk");
    for retrieve in find("retrieve") {
        let Op::Retrieve(retrieve) = &retrieve.op else { continue };
        let columns: Vec<&str> = retrieve.columns.iter().map(|column| column.name.as_str()).collect();
        match retrieve.arms.len() {
            2 => assert_eq!((retrieve.k, columns), (24, vec!["path", "crate", "chunk", "text"])),
            _ => assert_eq!((retrieve.k, columns), (1, vec!["path", "crate", "chunk"])),
        }
    }
    assert_eq!(find("scan").len(), 2);
    let notes =
        plan.graph.nodes.iter().filter(|node| node.schema.iter().any(|column| column.name == "notes"));
    assert_eq!(
        notes.map(|node| op_name(&node.op)).collect::<Vec<_>>(),
        ["scan", "derive", "filter", "compress", "dedup"],
        "a named stream keeps its columns: queries and `trace` look at it"
    );
}

#[test]
fn order_comments_and_blanks_leave_no_trace() {
    let plan = planned(CORPUS, Rules::All, &[]);
    let (head, rest) = CORPUS.split_once('\n').expect("a first line");
    let file = crate::syntax::parse(crate::source::SourceId(0), rest, &mut Vec::new());
    let mut items: Vec<&str> = file.items.iter().map(|item| rest[item.span.range()].trim()).collect();
    items.reverse();
    let shuffled = format!("{head}\n{}", items.join("\n// a comment\n\n\n"));
    let again = planned(&shuffled, Rules::All, &[]);
    assert_eq!(again.root, plan.root);
    assert_eq!(again.to_json(), plan.to_json());
    assert_eq!(again.to_bytes(), plan.to_bytes());
}

#[test]
fn a_changed_prompt_changes_no_index() {
    let before = planned(CORPUS, Rules::All, &[]);
    let record = BuildRecord::of(&before, &|_| None);
    let longer = CORPUS.replace("Name the crate.", "Name the crate, please.");
    let changes = classes(&planned(&longer, Rules::All, &[]), Some(&record));
    let differing: Vec<(&str, ChangeClass)> = changes
        .iter()
        .filter(|change| change.class != ChangeClass::Reused)
        .map(|change| (change.reasons.first().map_or("", |_| change.name.as_str()), change.class))
        .collect();
    assert_eq!(differing.len(), 3, "{differing:?}");
    let classes: BTreeSet<ChangeClass> = differing.iter().map(|(_, class)| *class).collect();
    assert_eq!(classes, BTreeSet::from([ChangeClass::Changed, ChangeClass::Indirect]));
}

#[test]
fn what_else_is_used_or_asked_for_changes_no_index() {
    let fp_of = |plan: &Plan, name: &str| {
        let names = plan.node_names();
        plan.fps[names.iter().position(|given| given == name).expect("a node of that name")]
    };
    let all = planned(CORPUS, Rules::All, &[]);
    let with_docs = planned(CORPUS, Rules::All, &["corpus.docs", "pack"]);
    let uses_notes = CORPUS.replace("pages = count())", "pages = count(), longest = max(notes))");
    let more = planned(&uses_notes, Rules::All, &[]);
    let none = planned(CORPUS, Rules::None, &[]);
    for plan in [&with_docs, &more, &none] {
        for name in ["index ann", "index bm25", "corpus.chunks type"] {
            assert_eq!(fp_of(plan, name), fp_of(&all, name), "{name}");
        }
    }
    assert_eq!(none.root, all.root, "rules change no output");
    assert_eq!(fp_of(&none, "corpus.docs/4 dedup"), fp_of(&all, "corpus.docs/4 dedup"));
    assert_eq!(fp_of(&none, "corpus.docs/4 dedup"), fp_of(&with_docs, "corpus.docs/4 dedup"));
}
