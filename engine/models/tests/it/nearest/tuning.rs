//! What a calibration chose, taken to another index.

use promptc_models::nearest::{
    GraphShape, Metric, NearestError, NearestOptions, Neighbour, Originals, Scratch, Structure, Tuning,
    UNWATCHED, VectorIndex,
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
        let calibration = index.calibrate(&sample, 10, 0.95, &vectors, UNWATCHED).unwrap();
        let tuning = index.tuning().unwrap();
        assert_eq!(
            (tuning.structure, tuning.calibration, tuning.changes),
            (index.structure(), calibration, 0)
        );
        let text = serde_json::to_string(&tuning).unwrap();
        let kept: Tuning = serde_json::from_str(&text).unwrap();
        assert!(text.contains(index.structure().name()), "{text}");
        let mut again = VectorIndex::build(options, &ids, &flat).unwrap();
        again.apply(&kept, UNWATCHED).unwrap();
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
    index.calibrate(&sample, 10, 0.9, &vectors, UNWATCHED).unwrap();
    let tuning = index.tuning().unwrap();
    let before = answers(&index, &queries, Some(&vectors));
    let wrong = [
        Tuning { structure: Structure::Bits, ..tuning },
        Tuning { rerank: 0, ..tuning },
        Tuning { gap: f32::NAN, ..tuning },
    ];
    for wrong in wrong {
        assert_eq!(index.apply(&wrong, UNWATCHED), Err(NearestError::Tuning), "{wrong:?}");
    }
    assert_eq!(answers(&index, &queries, Some(&vectors)), before);
    let chosen = NearestOptions { structure: None, ..options(Metric::Dot, 8, Structure::Scan) };
    let mut short = VectorIndex::build(chosen, &[1], &[1.0; 8]).unwrap();
    assert_eq!(short.apply(&tuning, UNWATCHED), Err(NearestError::Short { dim: 8 }));
    assert!(serde_json::from_str::<Tuning>("{\"structure\":\"scan_8bit\"}").is_err());
}

#[test]
fn a_tenth_of_the_rows_asks_for_another_calibration() {
    let (mut vectors, queries) = clustered(Metric::L2, 300, 64, 60);
    let sample: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let mut index = build(&vectors, 64, Structure::Bits);
    assert!(index.needs_calibration(), "never measured");
    index.calibrate(&sample, 10, 0.9, &vectors, UNWATCHED).unwrap();
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
    again.apply(&kept, UNWATCHED).unwrap();
    assert!(again.needs_calibration(), "changes are kept");
    again.calibrate(&sample, 10, 0.9, &vectors, UNWATCHED).unwrap();
    assert!(!again.needs_calibration());
    let mut grown =
        build(&Vectors { metric: Metric::L2, ..clustered(Metric::L2, 400, 64, 1).0 }, 64, Structure::Bits);
    grown.apply(&again.tuning().unwrap(), UNWATCHED).unwrap();
    assert!(grown.needs_calibration(), "a third more rows");
}

#[test]
fn a_graph_from_its_bytes_gives_the_same_answers() {
    let (vectors, queries) = clustered(Metric::Dot, 3_000, 48, 60);
    let (ids, flat) = vectors.flat();
    for shape in [
        GraphShape::default(),
        GraphShape { links: 5, beam_build: 40 },
        GraphShape { links: 2, beam_build: 1 },
    ] {
        let options = NearestOptions { graph: shape, ..options(Metric::Dot, 48, Structure::Graph) };
        let mut built = VectorIndex::build(options.clone(), &ids, &flat).unwrap();
        let bytes = built.graph_bytes().unwrap();
        let mut again = VectorIndex::build_with_graph(options, &ids, &flat, &bytes).unwrap();
        assert_eq!(again.graph_bytes().as_ref(), Some(&bytes), "{shape:?}");
        assert_eq!(answers(&built, &queries, Some(&vectors)), answers(&again, &queries, Some(&vectors)));
        // What comes later has its place in both.
        for index in [&mut built, &mut again] {
            index.add(5, &queries[0]).unwrap();
            index.remove(ids[7]).unwrap();
        }
        assert_eq!(answers(&built, &queries, None), answers(&again, &queries, None), "{shape:?}");
        assert_eq!(built.graph_bytes(), None, "a row is gone");
    }
    assert_eq!(build(&vectors, 48, Structure::Bits).graph_bytes(), None);
    let none = VectorIndex::build(options(Metric::L2, 4, Structure::Graph), &[], &[]).unwrap();
    let none = none.graph_bytes().unwrap();
    VectorIndex::build_with_graph(options(Metric::L2, 4, Structure::Graph), &[], &[], &none).unwrap();
}

#[test]
fn more_links_and_a_wider_beam_find_more() {
    let (vectors, queries) = clustered(Metric::Cosine, 4_000, 64, 100);
    let (ids, flat) = vectors.flat();
    let sample: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let measured = |shape: GraphShape, beam: usize| {
        let options = NearestOptions { graph: shape, ..options(Metric::Cosine, 64, Structure::Graph) };
        let mut index = VectorIndex::build(options, &ids, &flat).unwrap();
        let found = index.measure(beam, &sample, 10, &vectors).unwrap();
        assert_eq!((index.stats().beam, found.target, found.rows), (beam, 0.0, 4_000));
        let counted = recall(&index, &vectors, &queries, 10);
        assert!((found.recall - counted).abs() < 1e-9, "{} {counted}", found.recall);
        found.recall
    };
    let thin = GraphShape { links: 3, beam_build: 20 };
    let (poor, better) = (measured(thin, 10), measured(thin, 200));
    let best = measured(GraphShape::default(), 200);
    println!("recall {poor}, {better} with a wider beam, {best} with more links");
    assert!(poor < better && better < best && best > 0.99);
}

#[test]
fn bytes_that_are_no_graph_of_these_rows_are_refused() {
    let (vectors, queries) = clustered(Metric::Cosine, 700, 32, 5);
    let (ids, flat) = vectors.flat();
    let options = options(Metric::Cosine, 32, Structure::Graph);
    let bytes = VectorIndex::build(options.clone(), &ids, &flat).unwrap().graph_bytes().unwrap();
    let load = |options: &NearestOptions, bytes: &[u8]| {
        VectorIndex::build_with_graph(options.clone(), &ids, &flat, bytes)
    };
    let others = [
        NearestOptions { seed: 12, ..options.clone() },
        NearestOptions { graph: GraphShape { links: 8, ..GraphShape::default() }, ..options.clone() },
        NearestOptions { structure: Some(Structure::Bits), ..options.clone() },
    ];
    for other in &others {
        assert_eq!(load(other, &bytes).err(), Some(NearestError::Graph), "{other:?}");
    }
    let fewer = VectorIndex::build_with_graph(options.clone(), &ids[1..], &flat[32..], &bytes);
    assert_eq!(fewer.err(), Some(NearestError::Graph));
    for links in [0, 1, 257] {
        let graph = GraphShape { links, ..GraphShape::default() };
        let shaped = VectorIndex::build(NearestOptions { graph, ..options.clone() }, &ids, &flat);
        assert_eq!(shaped.err(), Some(NearestError::Shape { links }));
    }
    let (mut refused, mut state) = (0, 3_u64);
    for round in 0..2_000 {
        let mut draw = |end: usize| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) as usize % end
        };
        let mut damaged = bytes.clone();
        match round % 3 {
            0 => damaged.truncate(draw(bytes.len())),
            1 => damaged.extend([0; 3]),
            _ => (0..=draw(3)).for_each(|_| damaged[draw(bytes.len())] ^= 1 << draw(8)),
        }
        match load(&options, &damaged) {
            Err(error) => {
                assert_eq!(error, NearestError::Graph);
                refused += 1;
            }
            // Another link between rows that are there: answers may be worse, and are rows with their scores.
            Ok(index) => {
                recall(&index, &vectors, &queries, 10);
            }
        }
    }
    println!("{refused} of 2000 refused");
    assert!(refused > 1_400);
}

#[test]
fn whoever_watches_sees_a_graph_grow_and_can_stop_it() {
    let (vectors, _) = clustered(Metric::L2, 3_000, 64, 10);
    let (ids, rows) = vectors.flat();
    let options = options(Metric::L2, 64, Structure::Graph);
    let seen = std::cell::RefCell::new(Vec::new());
    let all = |linked: usize, of: usize| {
        seen.borrow_mut().push((linked, of));
        true
    };
    let whole = VectorIndex::build_watched(options.clone(), &ids, &rows, &all).unwrap();
    let steps = seen.take();
    assert!(steps.len() > 8 && steps.is_sorted() && steps.iter().all(|(_, of)| *of == 3_000), "{steps:?}");
    let half = |linked: usize, of: usize| linked < of / 2;
    let stopped = VectorIndex::build_watched(options.clone(), &ids, &rows, &half);
    assert_eq!(stopped.map(|index| index.len()), Err(NearestError::Stopped));
    let unwatched = VectorIndex::build(options, &ids, &rows).unwrap();
    assert_eq!(whole.graph_bytes(), unwatched.graph_bytes());
}
