//! Documents: the log, the text index and the vector index agree whatever ends the process between their commits.

use crate::directory::open;
use promptc_store::doctor::{Finding, Severity, check};
use promptc_store::documents::{Derived, Document, DocumentParams, Documents, Found, Step, trim};
use promptc_store::kv::{Durability, LOG_RECORDS_KEPT};
use promptc_store::open::{Store, StoreOptions};
use promptc_store::text::TextParams;
use promptc_store::vectors::Metric;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const DIM: usize = 4;
const NAME: &str = "notes";
/// What tells the test binary that it is the process to be killed: `folder seed step`.
const CHILD: &str = "PROMPTC_TEST_DOCUMENTS_CHILD";
/// Kills of the test between commits; the long form has 500.
const KILLS: &str = "PROMPTC_TEST_KILLS";

fn params() -> DocumentParams {
    let text = TextParams { stem: Some("en".into()), ..TextParams::default() };
    DocumentParams { text: Some(text), vectors: Some((Metric::Cosine, DIM)) }
}

/// The next number of a SplitMix64 sequence.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

const WORDS: [&str; 12] =
    ["log", "index", "truth", "cut", "power", "write", "synced", "vector", "word", "kill", "store", "commit"];

/// A document of few words, so that queries meet several of them.
fn document(number: u64, version: u64) -> Document {
    let mut state = number << 32 | version;
    let word = |state: &mut u64| WORDS[(next(state) % WORDS.len() as u64) as usize];
    let words: Vec<&str> = (0..3 + next(&mut state) % 9).map(|_| word(&mut state)).collect();
    let vector = (0..DIM).map(|_| (next(&mut state) % 2_001) as f32 / 1_000.0 - 1.0).collect();
    Document { id: format!("doc-{number}"), text: words.join(" "), vector }
}

fn queries(documents: &Documents) -> Vec<Found> {
    let mut found = Vec::new();
    for (idx, word) in WORDS.iter().enumerate() {
        let query = format!("{word} {}", WORDS[(idx + 5) % WORDS.len()]);
        found.push(documents.search_text(&query, 7, 0).unwrap());
        let vector: Vec<f32> = (0..DIM).map(|place| ((idx * 3 + place) % 5) as f32 - 2.0).collect();
        found.push(documents.search_vectors(&vector, 7, 0).unwrap());
    }
    found
}

/// Ids and bits of the scores of all queries.
fn answers(documents: &Documents) -> Vec<(String, u64)> {
    let hits = queries(documents).into_iter().flat_map(|found| found.hits);
    hits.map(|hit| (hit.document.id, hit.score.to_bits())).collect()
}

async fn create(store: &Store) -> Documents {
    Documents::create(store, NAME, params()).await.unwrap()
}

#[tokio::test]
async fn what_was_appended_is_found_after_it_was_applied() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut documents = create(&store).await;
    let [first, second] = [document(1, 0), document(2, 0)];
    let ack = documents.append(&[first.clone(), second], Durability::GroupCommit).unwrap();
    let word = first.text.split(' ').next().unwrap();
    assert_eq!(documents.search_text(word, 3, 0).unwrap().hits, []);
    let error = documents.search_text(word, 3, ack.sequence).unwrap_err();
    assert_eq!(error.code(), "E1007");
    assert!(error.to_string().contains("text stands at write 0, asked for 2"), "{error}");
    assert_eq!(documents.apply(&mut |_| ()).await.unwrap(), ack.sequence);
    let found = documents.search_text(word, 3, ack.sequence).unwrap();
    assert!(found.hits.iter().any(|hit| hit.document == first));
    assert_eq!(found.watermark, ack.sequence);
    let nearest = documents.search_vectors(&first.vector, 1, ack.sequence).unwrap();
    assert_eq!(nearest.hits[0].document, first);
    // Deleted after the watermark: not answered although the index still has it.
    documents.delete(&["doc-1"], Durability::Wal).unwrap();
    assert!(documents.search_vectors(&first.vector, 1, 0).unwrap().hits.is_empty());
    documents.apply(&mut |_| ()).await.unwrap();
    assert_eq!(documents.search_vectors(&first.vector, 1, 0).unwrap().hits[0].document.id, "doc-2");
    assert_eq!(documents.verify().unwrap().documents, 1);
    assert_eq!(documents.notices(), &[] as &[String]);
}

#[tokio::test]
async fn what_a_collection_does_not_take_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["", "a/b", "..", "Notes", &"a".repeat(65)] {
        assert_eq!(Documents::create(&store, name, params()).await.unwrap_err().code(), "E2103", "{name}");
    }
    assert_eq!(Documents::open(&store, NAME).await.unwrap_err().code(), "E2101");
    let documents = create(&store).await;
    assert_eq!(Documents::open(&store, NAME).await.unwrap_err().code(), "E2501");
    let good = document(1, 0);
    let refused = [
        Document { id: String::new(), ..good.clone() },
        Document { id: "x".repeat(1_025), ..good.clone() },
        Document { vector: vec![1.0; DIM + 1], ..good.clone() },
        Document { vector: vec![], ..good.clone() },
        Document { vector: vec![f32::NAN; DIM], ..good.clone() },
    ];
    for wrong in refused {
        let error = documents.append(&[good.clone(), wrong], Durability::Wal).unwrap_err();
        assert_eq!(error.code(), "E2103");
    }
    assert_eq!(documents.count().unwrap(), 0);
    let large = Document { text: "x".repeat(16 << 20), ..good };
    assert_eq!(documents.append(&[large], Durability::Wal).unwrap_err().code(), "E1006");
    assert_eq!(documents.search_vectors(&[1.0], 1, 0).unwrap_err().code(), "E2103");
    drop(documents);
    let other = DocumentParams { text: None, ..params() };
    assert_eq!(Documents::create(&store, NAME, other.clone()).await.unwrap_err().code(), "E2501");
    let documents = Documents::create(&store, "vectors-only", other).await.unwrap();
    assert_eq!(documents.search_text("log", 1, 0).unwrap_err().code(), "E2101");
    assert_eq!(Documents::names(store.records()).unwrap(), [NAME, "vectors-only"]);
}

#[derive(Debug, Clone)]
enum Action {
    Append(Vec<(u64, u64)>, Durability),
    Delete(Vec<u64>, Durability),
    Foreign,
    Apply,
    Reopen,
    Rebuild(Derived),
    Trim,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let level = || prop::sample::select(Durability::ALL.to_vec());
    let append = (prop::collection::vec((0_u64..20, any::<u64>()), 1..6), level());
    let delete = (prop::collection::vec(0_u64..20, 1..4), level());
    let action = prop_oneof![
        8 => append.prop_map(|(documents, level)| Action::Append(documents, level)),
        3 => delete.prop_map(|(numbers, level)| Action::Delete(numbers, level)),
        1 => Just(Action::Foreign),
        4 => Just(Action::Apply),
        2 => Just(Action::Reopen),
        1 => prop::sample::select(Derived::ALL.to_vec()).prop_map(Action::Rebuild),
        1 => Just(Action::Trim),
    ];
    prop::collection::vec(action, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn documents_are_a_map_that_can_be_searched(actions in actions()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(against_a_map(actions));
    }
}

async fn against_a_map(actions: Vec<Action>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut documents = create(&store).await;
    let mut model: BTreeMap<u64, Document> = BTreeMap::new();
    for action in actions {
        match action {
            Action::Append(numbers, level) => {
                let appended: Vec<Document> =
                    numbers.iter().map(|&(number, version)| document(number, version)).collect();
                documents.append(&appended, level).unwrap();
                model.extend(numbers.iter().map(|(number, _)| *number).zip(appended));
            }
            Action::Delete(numbers, level) => {
                let ids: Vec<String> = numbers.iter().map(|number| format!("doc-{number}")).collect();
                documents.delete(&ids.iter().map(String::as_str).collect::<Vec<_>>(), level).unwrap();
                numbers.iter().for_each(|number| drop(model.remove(number)));
            }
            Action::Foreign => drop(store.records().put(b"of another", b"value", Durability::Wal).unwrap()),
            Action::Apply => drop(documents.apply(&mut |_| ()).await.unwrap()),
            Action::Reopen => {
                drop(documents);
                drop(store);
                store = open(dir.path());
                documents = Documents::open(&store, NAME).await.unwrap();
            }
            Action::Rebuild(derived) => drop(documents.rebuild(derived, &mut |_| ()).await.unwrap()),
            Action::Trim => {
                drop(documents);
                trim(&store).await.unwrap();
                documents = Documents::open(&store, NAME).await.unwrap();
            }
        }
    }
    documents.apply(&mut |_| ()).await.unwrap();
    assert_eq!(documents.verify().unwrap().documents, model.len() as u64);
    assert_eq!(documents.notices(), &[] as &[String]);
    for (number, expected) in &model {
        assert_eq!(documents.get(&format!("doc-{number}")).unwrap().as_ref(), Some(expected));
    }
    // A collection that got the same documents at once answers the same, to the bit.
    let mut fresh = Documents::create(&store, "fresh", params()).await.unwrap();
    let all: Vec<Document> = model.into_values().collect();
    fresh.append(&all, Durability::Wal).unwrap();
    fresh.apply(&mut |_| ()).await.unwrap();
    assert_eq!(answers(&documents), answers(&fresh));
}

#[tokio::test]
async fn a_rebuilt_index_answers_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut documents = create(&store).await;
    for round in 0..4 {
        let some: Vec<Document> = (0..300).map(|number| document(number * 7 % 500, round)).collect();
        documents.append(&some, Durability::Wal).unwrap();
        documents.delete(&["doc-3", "doc-77"], Durability::Wal).unwrap();
        documents.apply(&mut |_| ()).await.unwrap();
    }
    let before = answers(&documents);
    assert!(before.len() > 100);
    for derived in Derived::ALL {
        documents.rebuild(derived, &mut |_| ()).await.unwrap();
        assert_eq!(answers(&documents), before, "{derived:?}");
        documents.verify().unwrap();
    }
}

#[tokio::test]
async fn the_log_is_trimmed_below_what_every_index_has() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut documents = create(&store).await;
    documents.append(&[document(1, 0)], Durability::Wal).unwrap();
    documents.apply(&mut |_| ()).await.unwrap();
    for number in 0..LOG_RECORDS_KEPT + 300 {
        store.records().put(&number.to_be_bytes(), b"", Durability::Wal).unwrap();
    }
    assert_eq!(trim(&store).await.unwrap_err().code(), "E2501", "it is open");
    assert_eq!(store.records().trimmed().unwrap(), 0);
    documents.append(&[document(2, 0)], Durability::Wal).unwrap();
    drop(documents);
    assert!(trim(&store).await.unwrap() >= 300);
    let mut documents = Documents::open(&store, NAME).await.unwrap();
    assert_eq!(documents.notices(), &[] as &[String]);
    documents.apply(&mut |_| ()).await.unwrap();
    assert_eq!(documents.verify().unwrap().documents, 2);
    let before = answers(&documents);
    // What was trimmed is not needed: the records hold it.
    for derived in Derived::ALL {
        documents.rebuild(derived, &mut |_| ()).await.unwrap();
        assert_eq!(answers(&documents), before);
    }
    drop(documents);
    drop(store);
    let store = open(dir.path());
    store.records().verify().unwrap();
}

#[tokio::test]
async fn the_doctor_looks_into_the_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut documents = create(&store).await;
    documents
        .append(&(0..20).map(|number| document(number, 0)).collect::<Vec<_>>(), Durability::Wal)
        .unwrap();
    documents.apply(&mut |_| ()).await.unwrap();
    let expected = answers(&documents);
    drop((documents, store));
    let errors = || {
        let is_error = |finding: &Finding| finding.severity == Severity::Error;
        check(dir.path()).into_iter().filter(is_error).collect::<Vec<_>>()
    };
    assert_eq!(errors(), []);
    let indexes = dir.path().join("documents").join(NAME);
    let meta = indexes.join("text/meta.json");
    let stored = std::fs::read_to_string(&meta).unwrap();
    std::fs::write(&meta, stored + " ").unwrap();
    std::fs::remove_dir_all(indexes.join("vectors.lance")).unwrap();
    let found = errors();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].message.contains("`meta.json` differs") && found[0].is_made_again(), "{found:?}");
    assert!(found[1].subject.contains("vectors.lance") && found[1].is_made_again(), "{found:?}");
    let store = open(dir.path());
    let mut documents = create(&store).await;
    documents.apply(&mut |_| ()).await.unwrap();
    assert_eq!(answers(&documents), expected);
    drop((documents, store));
    assert_eq!(errors(), []);
}

#[tokio::test]
async fn a_database_that_is_gone_is_not_begun_anew_beside_its_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut documents = create(&store).await;
    documents.append(&[document(1, 0)], Durability::Wal).unwrap();
    documents.apply(&mut |_| ()).await.unwrap();
    drop((documents, store));
    for is_folder_left in [true, false] {
        std::fs::remove_dir_all(dir.path().join("kv")).unwrap();
        if is_folder_left {
            std::fs::create_dir(dir.path().join("kv")).unwrap();
        }
        let error =
            Store::open(dir.path(), &StoreOptions { cache_bytes: 1 << 20, read_only: false }).unwrap_err();
        assert!(error.code() == "E1003" && error.to_string().contains("`documents`"), "{error}");
        assert!(check(dir.path()).iter().any(|finding| finding.severity == Severity::Error));
        if !is_folder_left {
            break;
        }
    }
    // Who says that nothing is missed may go on.
    std::fs::remove_dir_all(dir.path().join("documents")).unwrap();
    open(dir.path());
}

#[tokio::test]
async fn an_index_that_stands_where_the_log_never_was_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old");
    let store = open(&dir.path().join("store"));
    let mut documents = create(&store).await;
    documents.append(&[document(1, 0)], Durability::Wal).unwrap();
    drop((documents, store));
    crate::vectors::copy_folder(&dir.path().join("store"), &old);
    let store = open(&dir.path().join("store"));
    documents = Documents::open(&store, NAME).await.unwrap();
    documents.append(&[document(2, 0)], Durability::Wal).unwrap();
    documents.apply(&mut |_| ()).await.unwrap();
    drop((documents, store));
    // The database as it was before the second document, beside indexes that have it.
    std::fs::remove_dir_all(old.join("documents")).unwrap();
    crate::vectors::copy_folder(&dir.path().join("store/documents"), &old.join("documents"));
    let store = open(&old);
    let mut documents = Documents::open(&store, NAME).await.unwrap();
    assert_eq!(documents.notices().len(), 2, "{:?}", documents.notices());
    assert!(documents.notices()[0].starts_with("E1003: text of collection `notes` stands at `log 3`"));
    documents.apply(&mut |_| ()).await.unwrap();
    assert_eq!(documents.verify().unwrap().documents, 1);
}

/// Not a test of its own: the process that [`killed_between_commits`] starts. It writes and applies from its seed, and aborts at
/// the step it was given.
#[test]
fn child_that_is_killed_between_commits() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let mut words = told.splitn(3, ' ');
    let mut number = || words.next().unwrap().parse::<u64>().unwrap();
    let (seed, steps) = (number(), number());
    let dir = words.next().unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_until(Path::new(&dir), seed, steps));
}

async fn write_until(dir: &Path, seed: u64, steps: u64) {
    let store = open(dir);
    let mut documents = create(&store).await;
    let mut state = seed;
    let mut step_count = 0;
    loop {
        let level = Durability::ALL[(next(&mut state) % 4) as usize];
        let number = next(&mut state) % 30;
        let some: Vec<Document> = (0..1 + next(&mut state) % 4)
            .map(|idx| document((number + idx) % 30, next(&mut state)))
            .collect();
        documents.append(&some, level).unwrap();
        if next(&mut state).is_multiple_of(3) {
            documents.delete(&[&format!("doc-{}", next(&mut state) % 30)], level).unwrap();
        }
        if next(&mut state).is_multiple_of(2) {
            continue;
        }
        let mut at_step = |_: Step| {
            step_count += 1;
            if step_count == steps {
                std::process::abort();
            }
        };
        documents.apply(&mut at_step).await.unwrap();
    }
}

#[test]
fn killed_between_commits() {
    let kills: u64 = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store_dir = dir.path().join("store");
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for kill in 0..kills {
        // A new store now and then, so that the first commits of an index are cut as well.
        if kill % 10 == 0 {
            let _ = std::fs::remove_dir_all(&store_dir);
        }
        let steps = 1 + next(&mut (kill * 2_654_435_761)) % 16;
        let told = format!("{} {steps} {}", kill * 77 + 5, store_dir.display());
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "documents::child_that_is_killed_between_commits", "--nocapture"]);
        let status = child.env(CHILD, told).output().unwrap().status;
        assert!(status.code().is_none(), "kill {kill}: it ended by itself: {status}");
        let end = runtime.block_on(agrees(&store_dir, kill));
        *ends.entry(end).or_default() += 1;
    }
    crate::reliability_rows::record(
        "cross_store/documents",
        &[("kills", kills)],
        &[("lost_count", "count", 0.0)],
    );
    println!("{kills} kills, indexes before the next apply: {ends:?}");
}

/// Opens what a kill left, compares the three stores, and compares with indexes that are built anew.
async fn agrees(dir: &Path, kill: u64) -> &'static str {
    let store = open(dir);
    let mut documents = create(&store).await;
    let began_at = documents.watermark();
    let newest = documents.apply(&mut |_| ()).await.unwrap();
    documents.verify().unwrap_or_else(|error| panic!("kill {kill} in {}: {error}", dir.display()));
    assert_eq!(documents.notices(), &[] as &[String], "kill {kill}");
    store.records().verify().unwrap();
    let before = answers(&documents);
    for derived in Derived::ALL {
        documents.rebuild(derived, &mut |_| ()).await.unwrap();
    }
    assert_eq!(answers(&documents), before, "kill {kill}");
    match began_at {
        0 => "empty",
        _ if began_at == newest => "at the end of the log",
        _ => "behind",
    }
}
