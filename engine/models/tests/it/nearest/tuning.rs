//! What a calibration chose, taken to another index.

use promptc_models::nearest::{
    Metric, NearestError, NearestOptions, Neighbour, Originals, Scratch, Structure, Tuning, VectorIndex,
};

use super::fixture::{STRUCTURES, Vectors, build, clustered, options, recall};

fn answers(index: &VectorIndex, queries: &[Vec<f32>], vectors: Option<&Vectors>) -> Vec<Vec<Neighbour>> {
    let originals = vectors.map(|vectors| vectors as &dyn Originals);
    let search =
        |query: &Vec<f32>| index.search(query, 10, None, originals, &mut Scratch::default()).unwrap();
    queries.iter().map(search).collect()
}

#[test]
fn an_index_built_again_gives_the_same_answers_with_the_tuning() {
    let (vectors, queries) = clustered(Metric::Cosine, 5_000, 96, 160);
    let (ids, flat) = vectors.flat();
    let (sample, held_out) = queries.split_at(100);
    let sample: Vec<&[f32]> = sample.iter().map(Vec::as_slice).collect();
    for wanted in STRUCTURES.map(Some).into_iter().chain([None]) {
        let options = NearestOptions { structure: wanted, ..options(Metric::Cosine, 96, Structure::Scan) };
        let mut index = VectorIndex::build(options.clone(), &ids, &flat).unwrap();
        assert_eq!(index.tuning(), None);
        let calibration = index.calibrate(&sample, 10, 0.95, &vectors).unwrap();
        let tuning = index.tuning().unwrap();
        assert_eq!(
            (tuning.structure, tuning.calibration, tuning.changes),
            (index.structure(), calibration, 0)
        );
        let text = serde_json::to_string(&tuning).unwrap();
        let kept: Tuning = serde_json::from_str(&text).unwrap();
        assert!(text.contains(index.structure().name()), "{text}");
        let mut again = VectorIndex::build(options, &ids, &flat).unwrap();
        again.apply(&kept).unwrap();
        assert_eq!(again.tuning(), Some(tuning), "{text}");
        for originals in [None, Some(&vectors)] {
            let (one, other) = (answers(&index, held_out, originals), answers(&again, held_out, originals));
            assert_eq!(one, other, "{wanted:?}");
        }
        assert!(recall(&again, &vectors, held_out, 10) >= 0.93);
    }
}

#[test]
fn a_tuning_that_does_not_belong_is_refused_and_changes_nothing() {
    let (vectors, queries) = clustered(Metric::Dot, 400, 64, 60);
    let sample: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let mut index = build(&vectors, 64, Structure::Lists);
    index.calibrate(&sample, 10, 0.9, &vectors).unwrap();
    let tuning = index.tuning().unwrap();
    let before = answers(&index, &queries, Some(&vectors));
    let wrong = [
        Tuning { structure: Structure::Bits, ..tuning },
        Tuning { rerank: 0, ..tuning },
        Tuning { gap: f32::NAN, ..tuning },
    ];
    for wrong in wrong {
        assert_eq!(index.apply(&wrong), Err(NearestError::Tuning), "{wrong:?}");
    }
    assert_eq!(answers(&index, &queries, Some(&vectors)), before);
    let chosen = NearestOptions { structure: None, ..options(Metric::Dot, 8, Structure::Scan) };
    let mut short = VectorIndex::build(chosen, &[1], &[1.0; 8]).unwrap();
    assert_eq!(short.apply(&tuning), Err(NearestError::Short { dim: 8 }));
    assert!(serde_json::from_str::<Tuning>("{\"structure\":\"scan_8bit\"}").is_err());
}

#[test]
fn a_tenth_of_the_rows_asks_for_another_calibration() {
    let (mut vectors, queries) = clustered(Metric::L2, 300, 64, 60);
    let sample: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let mut index = build(&vectors, 64, Structure::Bits);
    assert!(index.needs_calibration(), "never measured");
    index.calibrate(&sample, 10, 0.9, &vectors).unwrap();
    assert!(!index.needs_calibration());
    for id in 0..30 {
        index.update(3 * id + 1, &queries[0]).unwrap();
        vectors.by_id.insert(3 * id + 1, queries[0].clone());
    }
    assert!(!index.needs_calibration(), "a tenth");
    index.remove(1).unwrap();
    vectors.by_id.remove(&1);
    assert!(index.needs_calibration(), "more than a tenth");
    let kept = index.tuning().unwrap();
    assert_eq!(kept.changes, 31);
    let mut again = build(&vectors, 64, Structure::Bits);
    again.apply(&kept).unwrap();
    assert!(again.needs_calibration(), "changes are kept");
    again.calibrate(&sample, 10, 0.9, &vectors).unwrap();
    assert!(!again.needs_calibration());
    let mut grown =
        build(&Vectors { metric: Metric::L2, ..clustered(Metric::L2, 400, 64, 1).0 }, 64, Structure::Bits);
    grown.apply(&again.tuning().unwrap()).unwrap();
    assert!(grown.needs_calibration(), "a third more rows");
}
