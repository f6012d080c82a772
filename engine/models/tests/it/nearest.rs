//! Vector indexes against comparing with every vector.

use std::collections::BTreeMap;

use promptc_models::nearest::{
    BITS_DIM_MIN, Metric, NearestError, NearestOptions, Neighbour, Scratch, Structure, UNWATCHED, VectorIndex,
};
use proptest::prelude::*;

mod changes;
mod fixture;
mod tuning;

use fixture::{METRICS, Numbers, STRUCTURES, Vectors, build, check, clustered, options, recall};

#[test]
fn nearly_all_neighbours_are_found_by_every_structure_and_metric() {
    for metric in METRICS {
        for dim in [64, 100, 256, 384] {
            let (vectors, queries) = clustered(metric, 3_000, dim, 40);
            for structure in STRUCTURES {
                let index = build(&vectors, dim, structure);
                assert_eq!(index.structure(), structure);
                let found = recall(&index, &vectors, &queries, 10);
                // 64 bits say little of a vector; calibration would take more of them.
                let least = if structure != Structure::Scan && dim < 128 { 0.90 } else { 0.97 };
                assert!(found >= least, "{metric:?} {dim} {structure:?}: {found}");
            }
        }
    }
}

#[test]
fn calibration_reaches_its_target_on_other_queries_and_a_control_without_it_does_not() {
    let (vectors, queries) = clustered(Metric::Cosine, 4_000, 64, 240);
    let (sample, held_out) = queries.split_at(120);
    let mut index = build(&vectors, 64, Structure::Bits);
    let sample: Vec<&[f32]> = sample.iter().map(Vec::as_slice).collect();
    let low = index.calibrate(&sample, 10, 0.5, &vectors, UNWATCHED).unwrap();
    let without = recall(&index, &vectors, held_out, 10);
    let high = index.calibrate(&sample, 10, 0.98, &vectors, UNWATCHED).unwrap();
    assert!(
        high.recall_low >= 0.98 && high.recall >= high.recall_low && low.recall < high.recall,
        "{low:?} {high:?}"
    );
    let with = recall(&index, &vectors, held_out, 10);
    assert!(with >= 0.97 && without < 0.95, "{without} {with}");
    assert_eq!(index.stats().calibration, Some(high));
    assert_eq!(index.stats().churn, 0.0);
}

#[test]
fn a_high_target_costs_more_effort_and_not_a_scan_of_all_rows() {
    let (vectors, queries) = clustered(Metric::Cosine, 12_000, 256, 300);
    let (sample, held_out) = queries.split_at(100);
    let sample: Vec<&[f32]> = sample.iter().map(Vec::as_slice).collect();
    let (ids, flat) = vectors.flat();
    let chosen = NearestOptions { structure: None, ..options(Metric::Cosine, 256, Structure::Scan) };
    let mut index = VectorIndex::build(chosen, &ids, &flat).unwrap();
    for target in [0.98, 0.99, 0.995, 0.999] {
        let found = index.calibrate(&sample, 10, target, &vectors, UNWATCHED).unwrap();
        assert_eq!(index.structure(), Structure::Lists, "{found:?}");
        assert_eq!(found.target, target);
        // 1,000 neighbours cannot show more than 0.996: then none of them is missed, and the calibration claims no more.
        let is_shown = found.recall_low >= target;
        assert!(is_shown == (target <= 0.995) && (is_shown || found.recall == 1.0), "{found:?}");
        let held_out = recall(&index, &vectors, held_out, 10);
        assert!(held_out >= target - 0.003, "{held_out} for {target}");
    }
    let all = index.calibrate(&sample, 10, 1.0, &vectors, UNWATCHED).unwrap();
    assert!(index.structure() == Structure::Scan && all.recall == 1.0, "{all:?}");
}

#[test]
fn the_structure_is_chosen_by_cost_at_the_measured_recall() {
    let (few, queries) = clustered(Metric::Cosine, 500, 256, 100);
    let sample: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let (ids, flat) = few.flat();
    let chosen = NearestOptions { structure: None, ..options(Metric::Cosine, 256, Structure::Scan) };
    let mut index = VectorIndex::build(chosen.clone(), &ids, &flat).unwrap();
    index.calibrate(&sample, 10, 0.98, &few, UNWATCHED).unwrap();
    assert_eq!(index.structure(), Structure::Scan, "few rows");
    let (many, queries) = clustered(Metric::Cosine, 12_000, 256, 100);
    let sample: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let (ids, flat) = many.flat();
    let mut index = VectorIndex::build(chosen.clone(), &ids, &flat).unwrap();
    assert_eq!(index.structure(), Structure::Bits, "before it is measured");
    let found = index.calibrate(&sample, 10, 0.98, &many, UNWATCHED).unwrap();
    assert_eq!(index.structure(), Structure::Lists, "many rows in few clusters: {found:?}");
    // Without structure in the data, single bits say too little: the scan by 8-bit codes is chosen.
    let mut numbers = Numbers(3);
    let mut row = || (0..256).map(|_| numbers.uniform() as f32).collect::<Vec<f32>>();
    let queries: Vec<Vec<f32>> = (0..100).map(|_| row()).collect();
    let uniform = Vectors { metric: Metric::L2, by_id: (0..12_000).map(|id| (id, row())).collect() };
    let (ids, flat) = uniform.flat();
    let mut index = VectorIndex::build(NearestOptions { metric: Metric::L2, ..chosen }, &ids, &flat).unwrap();
    let sample: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let found = index.calibrate(&sample, 10, 0.98, &uniform, UNWATCHED).unwrap();
    assert_eq!(index.structure(), Structure::Scan, "{found:?}");
    assert!(recall(&index, &uniform, &queries, 10) >= 0.99);
}

#[test]
fn a_mask_lets_through_what_it_says_and_notices_a_change() {
    for structure in STRUCTURES {
        let (vectors, queries) = clustered(Metric::Dot, 5_000, 128, 20);
        let mut index = build(&vectors, 128, structure);
        let mut scratch = Scratch::default();
        type Test = (&'static str, fn(u64) -> bool);
        let tests: [Test; 5] = [
            ("none", |_| false),
            ("one", |id| id == 3_001),
            ("few", |id| id % 509 == 0),
            ("half", |id| id % 2 == 0),
            ("all", |_| true),
        ];
        for (name, is_allowed) in tests {
            let mask = index.mask(is_allowed);
            let count = vectors.by_id.keys().filter(|id| is_allowed(**id)).count();
            assert_eq!(mask.rows(), count, "{name}");
            let (mut found, mut wanted) = (0, 0);
            for query in &queries {
                let truth = vectors.best(query, 10, is_allowed);
                let neighbours = index.search(query, 10, Some(&mask), Some(&vectors), &mut scratch).unwrap();
                check(&vectors, query, &neighbours);
                assert_eq!(neighbours.len(), count.min(10), "{name}");
                assert!(neighbours.iter().all(|neighbour| is_allowed(neighbour.id)), "{name}");
                let least = truth.last().map_or(f64::INFINITY, |least| least - 1e-9 * least.abs());
                found += neighbours.iter().filter(|neighbour| neighbour.score >= least).count();
                wanted += truth.len();
            }
            assert!(found as f64 >= 0.97 * wanted as f64, "{structure:?} {name}: {found} of {wanted}");
        }
        let mask = index.mask(|_| true);
        index.remove(1).unwrap();
        let found = index.search(&queries[0], 10, Some(&mask), None, &mut scratch);
        assert_eq!(found, Err(NearestError::Mask));
    }
}

#[test]
fn a_batch_finds_what_its_queries_find_alone() {
    for structure in STRUCTURES {
        let (vectors, queries) = clustered(Metric::L2, 2_000, 72, 33);
        let index = build(&vectors, 72, structure);
        let (mut scratch, mut other) = (Scratch::default(), Scratch::default());
        let batch: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let together = index.search_batch(&batch, 7, None, Some(&vectors), &mut scratch).unwrap();
        for (query, found) in batch.iter().zip(&together) {
            assert_eq!(&index.search(query, 7, None, Some(&vectors), &mut other).unwrap(), found);
        }
        assert_eq!(
            index.search_batch(&[], 7, None, None, &mut scratch).unwrap(),
            Vec::<Vec<Neighbour>>::new()
        );
    }
}

#[test]
fn scores_without_originals_are_near_the_exact_ones() {
    for metric in METRICS {
        for structure in STRUCTURES {
            let (vectors, queries) = clustered(metric, 500, 130, 5);
            let index = build(&vectors, 130, structure);
            for query in &queries {
                let found = index.search(query, 3, None, None, &mut Scratch::default()).unwrap();
                for neighbour in found {
                    let wanted = vectors.score(query, &vectors.by_id[&neighbour.id]);
                    let distance = (neighbour.score - wanted).abs();
                    assert!(distance <= 0.02 * (1.0 + wanted.abs()), "{metric:?}: {neighbour:?} is {wanted}");
                }
            }
        }
    }
}

#[test]
fn zeros_duplicates_single_rows_and_more_than_there_are() {
    for metric in METRICS {
        for structure in STRUCTURES {
            for dim in [1, 3, 8, 65] {
                if matches!(structure, Structure::Bits | Structure::Lists) && dim < BITS_DIM_MIN {
                    continue;
                }
                let mut by_id: BTreeMap<u64, Vec<f32>> = (0..200).map(|id| (id, vec![1.0; dim])).collect();
                by_id.insert(500, vec![0.0; dim]);
                by_id.insert(501, vec![-1.0; dim]);
                let vectors = Vectors { metric, by_id };
                let index = build(&vectors, dim, structure);
                let mut scratch = Scratch::default();
                for query in [vec![1.0; dim], vec![0.0; dim], vec![-2.5; dim]] {
                    let found = index.search(&query, 1_000, None, Some(&vectors), &mut scratch).unwrap();
                    assert_eq!(found.len(), 202, "{metric:?} {structure:?} {dim}");
                    check(&vectors, &query, &found);
                    let first = index.search(&query, 1, None, Some(&vectors), &mut scratch).unwrap();
                    assert_eq!(first[0].score, found[0].score, "{metric:?} {structure:?} {dim}");
                    assert_eq!(index.search(&query, 0, None, None, &mut scratch).unwrap(), []);
                }
                let one = Vectors { metric, by_id: BTreeMap::from([(7, vec![3.0; dim])]) };
                let index = build(&one, dim, structure);
                let found = index.search(&vec![1.0; dim], 10, None, Some(&one), &mut scratch).unwrap();
                assert_eq!((found.len(), found[0].id), (1, 7));
            }
        }
    }
}

#[test]
fn what_cannot_be_compared_is_refused_and_changes_nothing() {
    let (vectors, queries) = clustered(Metric::Cosine, 100, 48, 1);
    for structure in STRUCTURES {
        let mut index = build(&vectors, 48, structure);
        let before = index.search(&queries[0], 10, None, Some(&vectors), &mut Scratch::default()).unwrap();
        let mut bad = queries[0].clone();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e18] {
            bad[5] = value;
            let is_number = |error| matches!(error, Err(NearestError::Number { place: 5, .. }));
            assert!(is_number(index.add(9_999, &bad)) && is_number(index.update(1, &bad)));
            let found = index.search(&bad, 3, None, None, &mut Scratch::default());
            assert!(matches!(found, Err(NearestError::Number { place: 5, .. })));
        }
        let dim = NearestError::Dim { found: 15, expected: 48 };
        assert_eq!(index.add(9_999, &bad[..15]), Err(dim));
        assert_eq!(index.search(&bad[..15], 3, None, None, &mut Scratch::default()), Err(dim));
        assert_eq!(index.add(1, &queries[0]), Err(NearestError::Duplicate { id: 1 }));
        assert_eq!(index.update(2, &queries[0]), Err(NearestError::Absent { id: 2 }));
        assert_eq!(index.remove(2), Err(NearestError::Absent { id: 2 }));
        let after = index.search(&queries[0], 10, None, Some(&vectors), &mut Scratch::default()).unwrap();
        assert_eq!(before, after);
        let none = Vectors { metric: Metric::Cosine, by_id: BTreeMap::new() };
        let found = index.search(&queries[0], 1, None, Some(&none), &mut Scratch::default());
        assert!(matches!(found, Err(NearestError::Original { .. })));
        assert_eq!(index.calibrate(&[], 10, 0.9, &vectors, UNWATCHED), Err(NearestError::Sample));
    }
    let of = |dim, ids: &[u64], vectors: &[f32]| {
        VectorIndex::build(options(Metric::Dot, dim, Structure::Scan), ids, vectors).map(|_| ())
    };
    assert_eq!(of(0, &[], &[]), Err(NearestError::Unsupported { dim: 0 }));
    assert_eq!(of(5_000, &[], &[]), Err(NearestError::Unsupported { dim: 5_000 }));
    assert_eq!(of(2, &[1], &[1.0]), Err(NearestError::Dim { found: 1, expected: 2 }));
    assert_eq!(of(1, &[1, 1], &[1.0, 2.0]), Err(NearestError::Duplicate { id: 1 }));
    assert_eq!(of(1, &[], &[]), Ok(()));
    let short = VectorIndex::build(options(Metric::Dot, 16, Structure::Bits), &[], &[]).map(|_| ());
    assert_eq!(short, Err(NearestError::Short { dim: 16 }));
}

#[test]
fn equal_rows_in_equal_order_give_equal_answers() {
    let (vectors, queries) = clustered(Metric::Cosine, 5_000, 200, 10);
    let (one, other) = (build(&vectors, 200, Structure::Bits), build(&vectors, 200, Structure::Bits));
    for query in &queries {
        let found = one.search(query, 10, None, None, &mut Scratch::default()).unwrap();
        assert_eq!(found, other.search(query, 10, None, None, &mut Scratch::default()).unwrap());
    }
}

#[test]
fn codes_are_small() {
    let (vectors, _) = clustered(Metric::Cosine, 10_000, 256, 1);
    let row_bytes = |structure| build(&vectors, 256, structure).stats().memory_bytes as f64 / 10_000.0;
    // 256 + 32 bytes of codes, 12 of factors, 8 of id.
    let bits = row_bytes(Structure::Bits);
    assert!(bits < 310.0, "{bits}");
    // For each slot the row and an offset more, few slots being free, and the centres.
    let lists = row_bytes(Structure::Lists);
    assert!(lists < 322.0, "{lists}");
}

#[test]
fn rows_in_any_order_of_ids_are_found_changed_and_removed() {
    let (vectors, queries) = clustered(Metric::Dot, 2_500, 64, 5);
    let (mut ids, _) = vectors.flat();
    ids.sort_by_key(|id| id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let flat: Vec<f32> = ids.iter().flat_map(|id| vectors.by_id[id].clone()).collect();
    for structure in STRUCTURES {
        let mut index = VectorIndex::build(options(Metric::Dot, 64, structure), &ids, &flat).unwrap();
        assert_eq!(index.add(ids[7], &queries[0]), Err(NearestError::Duplicate { id: ids[7] }));
        assert!(ids.iter().all(|id| index.contains(*id)) && !index.contains(0));
        let mut left = vectors.clone();
        for id in &ids[..300] {
            index.update(*id, &queries[1]).unwrap();
            index.remove(*id).unwrap();
            left.by_id.remove(id);
        }
        assert!(recall(&index, &left, &queries, 10) >= 0.9, "{structure:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// With few rows everything is scored exactly, so that the answer is the truth, whatever was added and removed before.
    #[test]
    fn few_rows_are_answered_exactly(
        rows in prop::collection::btree_map(0_u64..40, prop::collection::vec(-5.0_f32..5.0, 40), 1..16),
        removed in prop::collection::vec(0_u64..40, 0..20),
        query in prop::collection::vec(-5.0_f32..5.0, 40),
        metric in prop::sample::select(METRICS.to_vec()),
        structure in prop::sample::select(STRUCTURES.to_vec()),
    ) {
        let mut vectors = Vectors { metric, by_id: rows };
        let mut index = build(&vectors, 40, structure);
        for id in removed {
            prop_assert_eq!(index.remove(id).is_ok(), vectors.by_id.remove(&id).is_some());
        }
        let found = index.search(&query, 20, None, Some(&vectors), &mut Scratch::default()).unwrap();
        check(&vectors, &query, &found);
        let truth = vectors.best(&query, 20, |_| true);
        prop_assert_eq!(found.len(), truth.len());
        for (neighbour, wanted) in found.iter().zip(truth) {
            prop_assert!((neighbour.score - wanted).abs() <= 1e-9 * (1.0 + wanted.abs()));
        }
    }
}
