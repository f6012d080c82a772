//! The same bytes come out whatever the batch size, the threads and the rules.

use promptc_engine::compiler::plan::Rules;

use crate::fixture::Fixture;

fn many_documents() -> Fixture {
    let fixture = Fixture::documents();
    for idx in 0..40 {
        let text = format!(
            "# Part {idx}\n\nThe cache of part {idx} holds {} entries, unless it is full.\n\nSee the index, which is rebuilt at {idx} o'clock.\n",
            idx * 13
        );
        fixture.write(&format!("docs/p{idx:02}.md"), text);
    }
    fixture
}

#[test]
fn batch_size_changes_nothing() {
    let mut fixture = many_documents();
    fixture.run().unwrap();
    let expected = fixture.outputs();
    for batch_rows in [1, 3, 1000] {
        fixture.batch_rows = batch_rows;
        fixture.store = format!(".store{batch_rows}");
        std::fs::remove_dir_all(fixture.path().join("out")).unwrap();
        fixture.run().unwrap();
        assert_eq!(expected, fixture.outputs(), "batches of {batch_rows} rows");
    }
}

#[test]
fn thread_count_changes_nothing() {
    let mut fixture = many_documents();
    let mut results = Vec::new();
    for threads in [1, 2] {
        fixture.store = format!(".threads{threads}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fixture.run()).unwrap();
        results.push(fixture.outputs());
        std::fs::remove_dir_all(fixture.path().join("out")).unwrap();
    }
    assert_eq!(results[0], results[1]);
}

#[test]
fn rules_of_the_optimizer_change_nothing() {
    let mut fixture = many_documents();
    fixture.run().unwrap();
    let expected = fixture.outputs();
    fixture.rules = Rules::None;
    fixture.store = ".plain".into();
    std::fs::remove_dir_all(fixture.path().join("out")).unwrap();
    fixture.run().unwrap();
    assert_eq!(expected, fixture.outputs());
}
