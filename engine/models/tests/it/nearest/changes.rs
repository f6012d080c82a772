//! Rows that come, change and go.

use std::collections::BTreeMap;

use promptc_models::nearest::{Metric, Scratch, Structure, VectorIndex};
use proptest::prelude::*;

use super::fixture::{METRICS, Numbers, STRUCTURES, Vectors, build, check, clustered, recall};

#[test]
fn rows_come_change_and_go_without_a_trace() {
    for structure in STRUCTURES {
        let dim = 96;
        let (mut vectors, queries) = clustered(Metric::Cosine, 1_500, dim, 30);
        let (mut later, _) = clustered(Metric::Cosine, 6_000, dim, 30);
        let mut index = build(&vectors, dim, structure);
        let mut numbers = Numbers(5);
        for step in 0..4_000_u64 {
            let known = *vectors.by_id.keys().nth(numbers.below(vectors.by_id.len())).unwrap();
            let (_, fresh) = later.by_id.pop_last().unwrap();
            match step % 3 {
                0 => {
                    index.add(1_000_000 + step, &fresh).unwrap();
                    vectors.by_id.insert(1_000_000 + step, fresh);
                }
                1 => {
                    index.update(known, &fresh).unwrap();
                    vectors.by_id.insert(known, fresh);
                }
                _ => {
                    index.remove(known).unwrap();
                    vectors.by_id.remove(&known);
                    assert!(!index.contains(known));
                }
            }
            assert_eq!(index.len(), vectors.by_id.len());
        }
        let found = recall(&index, &vectors, &queries, 10);
        let fresh = recall(&build(&vectors, dim, structure), &vectors, &queries, 10);
        assert!(found >= 0.93 && found >= fresh - 0.03, "{structure:?}: {found}, built anew {fresh}");
        assert!(index.stats().churn > 2.0);
        // Down to nothing and up again.
        for id in vectors.by_id.keys() {
            index.remove(*id).unwrap();
        }
        let mut scratch = Scratch::default();
        assert!(index.is_empty());
        assert_eq!(index.search(&queries[0], 5, None, Some(&vectors), &mut scratch).unwrap(), []);
        index.add(9, &queries[0]).unwrap();
        let alone = index.search(&queries[0], 5, None, None, &mut scratch).unwrap();
        assert_eq!(alone.len(), 1);
        assert!(alone[0].id == 9 && (alone[0].score - 1.0).abs() < 0.01, "{alone:?}");
    }
}

#[test]
fn lists_are_made_again_when_as_many_rows_came_as_there_were() {
    let (vectors, queries) = clustered(METRICS[0], 6_000, 64, 30);
    let few = Vectors { metric: vectors.metric, by_id: BTreeMap::new() };
    let mut index = build(&few, 64, Structure::Lists);
    assert_eq!(index.stats().lists, 1);
    for (id, vector) in &vectors.by_id {
        index.add(*id, vector).unwrap();
    }
    // The last time at 4,096 rows: 1,024 after none, then whenever the rows have doubled.
    assert_eq!(index.stats().lists, 32);
    assert!(recall(&index, &vectors, &queries, 10) >= 0.9);
    for (id, vector) in &vectors.by_id {
        index.update(*id, vector).unwrap();
    }
    assert_eq!(index.stats().lists, 46);
    assert!(recall(&index, &vectors, &queries, 10) >= 0.9);
}

#[test]
fn a_mask_of_one_row_in_ten_thousand_finds_it() {
    let (vectors, queries) = clustered(Metric::Dot, 10_000, 32, 5);
    for structure in STRUCTURES {
        let index = build(&vectors, 32, structure);
        let mut scratch = Scratch::default();
        for (wanted, found) in [(vec![], 0), (vec![28_000], 1), (vec![1, 14_998, 29_998], 3)] {
            let mask = index.mask(|id| wanted.contains(&id));
            for query in &queries {
                let neighbours = index.search(query, 10, Some(&mask), Some(&vectors), &mut scratch).unwrap();
                check(&vectors, query, &neighbours);
                assert_eq!(neighbours.len(), found, "{structure:?}");
                assert!(neighbours.iter().all(|neighbour| wanted.contains(&neighbour.id)));
            }
        }
    }
}

#[test]
fn a_graph_is_made_again_when_a_fifth_of_its_rows_are_gone() {
    let (mut vectors, queries) = clustered(Metric::Cosine, 1_000, 64, 30);
    let mut index = build(&vectors, 64, Structure::Graph);
    let bytes = index.stats().memory_bytes;
    for id in (0..600).map(|idx| idx * 3 + 1) {
        index.remove(id).unwrap();
        vectors.by_id.remove(&id);
        assert_eq!(index.len(), vectors.by_id.len());
    }
    assert!(recall(&index, &vectors, &queries, 10) >= 0.95);
    // 200 rows are gone after 201 removals, then a fifth of what is left: at most a quarter of the rows are ways only.
    let built = build(&vectors, 64, Structure::Graph);
    assert!(index.stats().memory_bytes <= bytes && built.stats().memory_bytes < bytes);
    // With all rows in one order, a graph that was made again is one that is built.
    let again = build(&vectors, 64, Structure::Graph);
    for query in &queries {
        let search =
            |index: &VectorIndex| index.search(query, 10, None, None, &mut Scratch::default()).unwrap();
        assert_eq!(search(&built), search(&again));
    }
}

/// What is done to an index in a test.
#[derive(Debug, Clone)]
enum Change {
    Add(u64),
    Update(usize),
    Remove(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        3 => any::<u64>().prop_map(Change::Add),
        2 => any::<usize>().prop_map(Change::Update),
        3 => any::<usize>().prop_map(Change::Remove),
    ];
    prop::collection::vec(change, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever came, changed and went, nearly all neighbours are found, with a mask too, and what went is never found.
    #[test]
    fn recall_stays_after_any_changes(changes in changes(), structure in prop::sample::select(STRUCTURES.to_vec())) {
        let dim = 128;
        let (mut vectors, queries) = clustered(METRICS[changes.len() % 3], 700, dim, 12);
        let mut numbers = Numbers(changes.len() as u64);
        let mut index = build(&vectors, dim, structure);
        for change in changes {
            let known = |place: usize| vectors.by_id.keys().nth(place % vectors.by_id.len().max(1)).copied();
            let fresh: Vec<f32> = (0..dim).map(|_| numbers.normal()).collect();
            match change {
                Change::Add(id) => {
                    let is_new = index.add(id, &fresh).is_ok();
                    prop_assert_eq!(is_new, vectors.by_id.insert(id, fresh).is_none());
                }
                Change::Update(place) => if let Some(id) = known(place) {
                    index.update(id, &fresh).unwrap();
                    vectors.by_id.insert(id, fresh);
                },
                Change::Remove(place) => if let Some(id) = known(place) {
                    index.remove(id).unwrap();
                    vectors.by_id.remove(&id);
                },
            }
        }
        prop_assert_eq!(index.len(), vectors.by_id.len());
        prop_assert!(vectors.by_id.keys().all(|id| index.contains(*id)));
        prop_assert!(recall(&index, &vectors, &queries, 5) >= 0.9);
        let mask = index.mask(|id| id % 3 == 0);
        let allowed = |id: u64| id.is_multiple_of(3);
        prop_assert_eq!(mask.rows(), vectors.by_id.keys().filter(|id| allowed(**id)).count());
        for query in &queries {
            let found = index.search(query, 5, Some(&mask), Some(&vectors), &mut Scratch::default()).unwrap();
            check(&vectors, query, &found);
            prop_assert_eq!(found.len(), mask.rows().min(5));
            prop_assert!(found.iter().all(|found| allowed(found.id)));
        }
    }
}
