//! Only what changed runs again, and the result is that of a full run.

use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::report::NodeState;
use promptc_engine::store::open::{Store, StoreOptions};

use crate::fixture::{Fixture, operator, stage};

/// Runs in a fresh store and compares all outputs with those of the store that has a history.
fn equals_a_full_run(fixture: &mut Fixture) {
    let incremental = fixture.outputs();
    fixture.store = ".fresh".into();
    let _ = std::fs::remove_dir_all(fixture.path().join(".fresh"));
    std::fs::remove_dir_all(fixture.path().join("out")).unwrap();
    fixture.run().unwrap();
    assert_eq!(incremental, fixture.outputs());
    fixture.store = ".promptc".into();
}

#[test]
fn a_second_run_does_nothing() {
    let fixture = Fixture::documents();
    let first = fixture.run().unwrap();
    assert!(!first.is_idle());
    assert_eq!(stage(&first, "pack.prompts").rows, 2);
    let second = fixture.run().unwrap();
    assert!(second.is_idle(), "{:#?}", second.nodes);
}

#[test]
fn comments_blanks_order_and_names_run_nothing() {
    let fixture = Fixture::documents();
    fixture.run().unwrap();
    let text = fixture.read("program.promptc");
    let text = text
        .replace("pipeline corpus {", "// the corpus\n\n\npipeline corpus {")
        .replace("    |> ", "   |>   ");
    fixture.write("program.promptc", text);
    assert!(fixture.run().unwrap().is_idle());
}

#[test]
fn one_changed_document_computes_its_own_rows() {
    let mut fixture = Fixture::documents();
    fixture.run().unwrap();
    fixture.write("docs/b.md", "# Index\n\nThe index is rebuilt on Sundays only, at noon.\n");
    let report = fixture.run().unwrap();
    let compress = operator(&report, "compress");
    assert_eq!((compress.reused, compress.computed), (2, 1));
    let chunk = operator(&report, "chunk");
    assert_eq!((chunk.reused, chunk.computed), (2, 1));
    let embed = operator(&report, "embed");
    assert_eq!((embed.reused, embed.computed), (2, 1));
    let chunks = stage(&report, "corpus.chunks");
    assert_eq!((chunks.rows, chunks.reused, chunks.computed, chunks.deleted), (3, 2, 1, 0));
    let words = stage(&report, "words");
    assert_eq!((words.reused, words.computed, words.deleted), (2, 1, 0));
    equals_a_full_run(&mut fixture);
}

#[test]
fn added_and_deleted_documents_touch_their_own_rows() {
    let mut fixture = Fixture::documents();
    fixture.run().unwrap();
    fixture.write("docs/d.md", "# Dogs\n\nDogs bark at the cache of the neighbour.\n");
    fixture.remove("docs/sub/c.md");
    let report = fixture.run().unwrap();
    let chunks = stage(&report, "corpus.chunks");
    assert_eq!((chunks.rows, chunks.reused, chunks.computed, chunks.deleted), (3, 2, 1, 1));
    let ann = stage(&report, "ann");
    assert_eq!((ann.reused, ann.computed, ann.deleted), (2, 1, 1));
    equals_a_full_run(&mut fixture);
}

#[test]
fn a_new_question_leaves_the_indexes_alone() {
    let fixture = Fixture::documents();
    fixture.run().unwrap();
    let asks = fixture.read("asks.jsonl") + "{\"qid\":\"q3\",\"question\":\"Do cats hunt?\"}\n";
    fixture.write("asks.jsonl", asks);
    let report = fixture.run().unwrap();
    for name in ["words", "ann"] {
        let index = stage(&report, name);
        assert_eq!((index.state, index.computed, index.deleted), (NodeState::Reused, 0, 0), "{name}");
    }
    assert_eq!(stage(&report, "pack.prompts").rows, 3);
}

#[test]
fn few_rows_search_an_approximate_index_too() {
    let fixture = Fixture::documents();
    let program = fixture.read("program.promptc").replace("{ kind = flat }", "{ kind = hnsw, seed = 7 }");
    fixture.write("program.promptc", program);
    fixture.run().unwrap();
    fixture.write("asks.jsonl", "{\"qid\":\"q9\",\"question\":\"Do cats hunt?\"}\n");
    assert_eq!(stage(&fixture.run().unwrap(), "pack.prompts").rows, 1);
}

#[test]
fn many_edits_equal_full_runs() {
    let mut fixture = Fixture::documents();
    fixture.run().unwrap();
    let texts = [
        "# Cache\n\nThe cache holds 512 entries.\n\nOlder entries are evicted first.\n",
        "The cache holds 1024 entries now, and they are all warm.\n",
        "",
        "# 缓存\n\n缓存有512个条目。旧条目先被淘汰。\n",
    ];
    for round in 0..6 {
        let name = ["docs/a.md", "docs/b.md", "docs/new.md"][round % 3];
        fixture.write(name, texts[(round * 7 + 3) % texts.len()]);
        fixture.run().unwrap();
        equals_a_full_run(&mut fixture);
    }
}

#[test]
fn a_deleted_output_is_written_again_and_an_untouched_one_is_not() {
    let fixture = Fixture::documents();
    fixture.run().unwrap();
    let before = fixture.outputs();
    fixture.remove("out/prompts.jsonl");
    let report = fixture.run().unwrap();
    assert!(!report.is_idle());
    assert_eq!(stage(&report, "pack.prompts").state, NodeState::Reused);
    assert_eq!(before, fixture.outputs());
}

#[test]
fn an_interrupted_run_leaves_outputs_alone_and_the_next_one_finishes() {
    let fixture = Fixture::documents();
    fixture.run().unwrap();
    let before = fixture.outputs();
    fixture.write("docs/b.md", "# Index\n\nSomething else entirely about the index.\n");
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(matches!(fixture.run_with(&fixture.options(), cancel), Err(EngineError::Interrupted)));
    assert_eq!(before, fixture.outputs());
    fixture.run().unwrap();
    assert!(fixture.run().unwrap().is_idle());
}

const GRAPH: &str = r#"edition 2026
source notes : stream<{ id: u32, text: text }> = jsonl("notes.jsonl") { key = id }
source asks  : stream<{ qid: text, question: text }> = jsonl("asks.jsonl") { key = qid }
embedder hashed { kind = hashed_ngram, dim = 32, seed = 1 }
pipeline corpus { notes |> embed(text, with = hashed) as v -> rows }
index near on corpus.rows(v) { kind = hnsw, seed = 7 }
pipeline find {
  asks |> retrieve(question, from = near, k = 3) as hits -> found
  write found to jsonl("out/found.jsonl", key = qid)
}
"#;

/// The links of graphs that the store keeps, by name.
fn kept_graphs(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    let options = StoreOptions { cache_bytes: 1 << 30, read_only: false };
    let store = Store::open(&fixture.path().join(&fixture.store), &options).unwrap();
    store.ledger().entries("graph-part/").unwrap()
}

#[test]
fn links_of_a_graph_are_kept_while_they_are_those_of_the_rows() {
    let mut fixture = Fixture::new(GRAPH);
    let notes = |salt: usize| -> String {
        let note =
            |id| format!("{{\"id\":{id},\"text\":\"note {} of shelf {}\"}}\n", id * 7919 + salt, id % 37);
        (0..1_200_usize).map(note).collect()
    };
    let ask = |fixture: &Fixture, qid: &str, shelf: usize| {
        let line = format!("{{\"qid\":\"{qid}\",\"question\":\"note 4242 of shelf {shelf}\"}}\n");
        fixture.write("asks.jsonl", line);
    };
    fixture.write("notes.jsonl", notes(1));
    ask(&fixture, "q1", 5);
    fixture.run().unwrap();
    let first = kept_graphs(&fixture);
    assert_eq!(first.len(), 1, "one part");
    assert!(first[0].1.len() > 1_200 * 16, "{}", first[0].1.len());
    // What is not a graph of these rows is not believed, and replaced.
    let options = StoreOptions { cache_bytes: 1 << 30, read_only: false };
    let store = Store::open(&fixture.path().join(&fixture.store), &options).unwrap();
    store.ledger().put_memos(&[(first[0].0.as_str(), &first[0].1[..9_000])]).unwrap();
    drop(store);
    ask(&fixture, "q2", 6);
    fixture.run().unwrap();
    assert_eq!(kept_graphs(&fixture), first, "made again, with the same links");
    ask(&fixture, "q3", 7);
    fixture.run().unwrap();
    equals_a_full_run(&mut fixture);
    // Other rows, another graph in the place of the old one.
    fixture.write("notes.jsonl", notes(2));
    fixture.run().unwrap();
    let second = kept_graphs(&fixture);
    assert!(second.len() == 1 && second[0].0 == first[0].0 && second[0].1 != first[0].1);
    // Another `ef` takes the same links.
    fixture.write("program.promptc", GRAPH.replace("seed = 7", "seed = 7, ef = 90"));
    fixture.run().unwrap();
    assert_eq!(kept_graphs(&fixture), second);
    equals_a_full_run(&mut fixture);
}
