//! Vector indexes: against brute force, across updates, reopening and damage.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use promptc_store::flows::RowId;
use promptc_store::vectors::{Metric, VectorIndex, VectorKind, VectorParams, vector_batch};

const DIM: usize = 32;

/// SplitMix64: the same vectors on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| self.next()).collect()
    }
}

/// Vectors around `cluster_count` centres.
fn clustered(count: u32, cluster_count: usize, seed: u64) -> BTreeMap<u32, Vec<f32>> {
    let mut numbers = Numbers(seed);
    let centres: Vec<Vec<f32>> = (0..cluster_count).map(|_| numbers.vector()).collect();
    let near = |number: u32, numbers: &mut Numbers| -> Vec<f32> {
        let centre = &centres[number as usize % cluster_count];
        centre.iter().zip(numbers.vector()).map(|(center, noise)| center + noise * 0.4).collect()
    };
    (0..count).map(|number| (number, near(number, &mut numbers))).collect()
}

fn row_id(number: u32) -> RowId {
    u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
}

fn batch(vectors: &BTreeMap<u32, Vec<f32>>) -> RecordBatch {
    let rows: Vec<RowId> = vectors.keys().map(|&number| row_id(number)).collect();
    let keys: Vec<Vec<u8>> = vectors.keys().map(|number| number.to_be_bytes().to_vec()).collect();
    let values = Float32Array::from_iter_values(vectors.values().flatten().copied());
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    vector_batch(&rows, &keys, &FixedSizeListArray::new(item, DIM as i32, Arc::new(values), None)).unwrap()
}

fn params(kind: VectorKind, metric: Metric) -> VectorParams {
    VectorParams { kind, lists: Some(16), seed: 7, sub: 8, ..VectorParams::flat(metric, DIM) }
}

async fn build(dir: &Path, vectors: &BTreeMap<u32, Vec<f32>>, params: VectorParams) -> VectorIndex {
    let mut index = VectorIndex::open_or_create(dir, params).await.unwrap();
    index.update(&[], &[batch(vectors)], "state").await.unwrap();
    index
}

/// Scores by definition in `f64`, best first, ties by number.
fn brute_force(
    vectors: &BTreeMap<u32, Vec<f32>>,
    query: &[f32],
    metric: Metric,
    k: usize,
) -> Vec<(RowId, f64)> {
    let dot = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(l, r)| f64::from(*l) * f64::from(*r)).sum()
    };
    let score = |vector: &[f32]| match metric {
        Metric::Dot => dot(query, vector),
        Metric::Cosine => {
            let norms = dot(query, query).sqrt() * dot(vector, vector).sqrt();
            if norms == 0.0 { 0.0 } else { dot(query, vector) / norms }
        }
        Metric::L2 => {
            -query.iter().zip(vector).map(|(q, v)| (f64::from(*q) - f64::from(*v)).powi(2)).sum::<f64>()
        }
    };
    let mut scored: Vec<(u32, f64)> =
        vectors.iter().map(|(&number, vector)| (number, score(vector))).collect();
    scored.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    scored.into_iter().take(k).map(|(number, score)| (row_id(number), score)).collect()
}

async fn recall(index: &VectorIndex, vectors: &BTreeMap<u32, Vec<f32>>, metric: Metric) -> f64 {
    let mut found_count = 0;
    for number in 0..50u32 {
        let query = &vectors[&(number * 17 % vectors.len() as u32)];
        let expected = brute_force(vectors, query, metric, 10);
        let found = index.search(query, 10, None).await.unwrap();
        for (row, score) in &found {
            let exact = brute_force(vectors, query, metric, usize::MAX);
            assert!(exact.contains(&(*row, *score)), "a score that is not the exact one");
        }
        found_count += found.iter().filter(|hit| expected.contains(hit)).count();
    }
    found_count as f64 / 500.0
}

#[tokio::test(flavor = "multi_thread")]
async fn flat_equals_brute_force_for_every_metric() {
    let mut vectors = clustered(700, 9, 1);
    vectors.insert(700, vec![0.0; DIM]);
    let copy = vectors[&3].clone();
    vectors.insert(701, copy);
    let mut numbers = Numbers(99);
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let dir = tempfile::tempdir().unwrap();
        let index = build(&dir.path().join("v.lance"), &vectors, params(VectorKind::Flat, metric)).await;
        let mut queries: Vec<Vec<f32>> = (0..20).map(|_| numbers.vector()).collect();
        queries.extend([vectors[&3].clone(), vec![0.0; DIM]]);
        for query in &queries {
            for k in [1, 10, 5_000] {
                let found = index.search(query, k, None).await.unwrap();
                assert_eq!(found, brute_force(&vectors, query, metric, k), "{metric:?} {k}");
                assert_eq!(found, index.search_exact(query, k, None).unwrap());
            }
        }
        assert!(index.search(&queries[0], 0, None).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_of_a_flat_index_end_where_a_fresh_build_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.lance");
    let flat = || params(VectorKind::Flat, Metric::Cosine);
    let mut current = clustered(600, 5, 2);
    let mut index = build(&path, &current, flat()).await;
    let other = clustered(1_000, 5, 3);
    let mut largest = 0;
    // Small steps change in place, the last one writes anew.
    for step in 0..20u32 {
        let size = if step == 19 { 300 } else { 7 };
        let gone: Vec<u32> = current.keys().copied().filter(|n| n % 40 == step).take(size).collect();
        gone.iter().for_each(|number| drop(current.remove(number)));
        let come: BTreeMap<u32, Vec<f32>> =
            (0..size as u32).map(|n| (n * 3 + step, other[&((n * 31 + step) % 1_000)].clone())).collect();
        current.extend(come.clone());
        let removed: Vec<RowId> = gone.into_iter().map(row_id).collect();
        index.update(&removed, &[batch(&come)], &format!("step {step}")).await.unwrap();
        largest = largest.max(walk(&path));
        assert_eq!(index.vectors().len(), current.len());
    }
    assert!(largest < 100, "the folder grew to {largest} files");
    let fresh = build(&dir.path().join("fresh.lance"), &current, flat()).await;
    drop(index);
    let index = VectorIndex::open_or_create(&path, flat()).await.unwrap();
    assert_eq!((index.state(), index.notices()), (Some("step 19"), Vec::new()));
    for query in other.values().take(20) {
        let expected = brute_force(&current, query, Metric::Cosine, 50);
        assert_eq!(index.search(query, 50, None).await.unwrap(), expected);
        assert_eq!(fresh.search(query, 50, None).await.unwrap(), expected);
    }
}

fn walk(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn approximate_kinds_find_what_is_near() {
    let vectors = clustered(1_000, 16, 4);
    for (kind, metric, least) in [
        (VectorKind::IvfFlat, Metric::Cosine, 0.95),
        (VectorKind::IvfFlat, Metric::L2, 0.95),
        (VectorKind::IvfFlat, Metric::Dot, 0.95),
        (VectorKind::IvfPq, Metric::Cosine, 0.90),
        (VectorKind::IvfPq, Metric::L2, 0.90),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.lance");
        let index = build(&path, &vectors, params(kind, metric)).await;
        assert!(!index.is_exact(), "{kind:?}: {:?}", index.notices());
        let first = recall(&index, &vectors, metric).await;
        println!("{} {}: recall@10 {first:.3}", kind.name(), metric.name());
        assert!(first >= least, "{kind:?} {metric:?}: {first}");
        drop(index);
        let index = VectorIndex::open_or_create(&path, params(kind, metric)).await.unwrap();
        assert!(!index.is_exact());
        let again = recall(&index, &vectors, metric).await;
        assert_eq!(first, again, "{kind:?} {metric:?} reopened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_of_an_inverted_index_answer_equally() {
    let vectors = clustered(1_000, 40, 5);
    for kind in [VectorKind::IvfFlat, VectorKind::IvfPq] {
        let dir = tempfile::tempdir().unwrap();
        let narrow = VectorParams { probes: 1, refine: 1, ..params(kind, Metric::L2) };
        let one = build(&dir.path().join("1.lance"), &vectors, narrow.clone()).await;
        let two = build(&dir.path().join("2.lance"), &vectors, narrow).await;
        let mut numbers = Numbers(6);
        for _ in 0..40 {
            let query = numbers.vector();
            assert_eq!(
                one.search(&query, 10, None).await.unwrap(),
                two.search(&query, 10, None).await.unwrap()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_added_and_removed_after_training_are_seen_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut vectors = clustered(1_000, 16, 8);
    let ivf = params(VectorKind::IvfFlat, Metric::Cosine);
    let mut index = build(&dir.path().join("v.lance"), &vectors, ivf).await;
    let mut numbers = Numbers(11);
    let added: BTreeMap<u32, Vec<f32>> = (2_000..2_020).map(|number| (number, numbers.vector())).collect();
    let best = index.search(&vectors[&5], 1, None).await.unwrap()[0].0;
    index.update(&[best], &[batch(&added)], "two").await.unwrap();
    assert!(!index.is_exact());
    for (number, vector) in &added {
        assert_eq!(index.search(vector, 1, None).await.unwrap()[0].0, row_id(*number));
    }
    assert_ne!(index.search(&vectors[&5], 1, None).await.unwrap()[0].0, best);
    // More than a tenth: trained anew, and still everything is found.
    vectors.retain(|&number, _| row_id(number) != best);
    vectors.extend(added);
    let more: BTreeMap<u32, Vec<f32>> = (3_000..3_200).map(|number| (number, numbers.vector())).collect();
    index.update(&[], &[batch(&more)], "three").await.unwrap();
    vectors.extend(more);
    assert_eq!(index.vectors().len(), vectors.len());
    for number in [3_000, 3_100, 3_199] {
        assert_eq!(index.search(&vectors[&number], 1, None).await.unwrap()[0].0, row_id(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_rows_are_searched_exactly_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = clustered(300, 4, 9);
    let index =
        build(&dir.path().join("v.lance"), &vectors, params(VectorKind::IvfFlat, Metric::Cosine)).await;
    assert!(index.is_exact());
    assert!(index.notices()[0].starts_with("W2301: 300 vectors"), "{:?}", index.notices());
    let query = &vectors[&1];
    assert_eq!(index.search(query, 7, None).await.unwrap(), brute_force(&vectors, query, Metric::Cosine, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_exact_for_every_kind() {
    let vectors = clustered(1_000, 16, 10);
    for kind in [VectorKind::Flat, VectorKind::IvfPq] {
        let dir = tempfile::tempdir().unwrap();
        let index = build(&dir.path().join("v.lance"), &vectors, params(kind, Metric::Dot)).await;
        let part: BTreeMap<u32, Vec<f32>> =
            vectors.iter().filter(|(n, _)| *n % 97 == 5).map(|(n, v)| (*n, v.clone())).collect();
        let allowed: Vec<RowId> = part.keys().map(|&number| row_id(number)).collect();
        let found = index.search(&vectors[&0], 5, Some(&|row| allowed.contains(row))).await.unwrap();
        assert_eq!(found, brute_force(&part, &vectors[&0], Metric::Dot, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_parameters_begin_anew_and_search_parameters_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.lance");
    drop(build(&path, &clustered(50, 3, 12), params(VectorKind::Flat, Metric::Dot)).await);
    let same = VectorParams { probes: 3, refine: 9, ..params(VectorKind::Flat, Metric::Dot) };
    assert_eq!(VectorIndex::open_or_create(&path, same).await.unwrap().state(), Some("state"));
    let other = VectorIndex::open_or_create(&path, params(VectorKind::Flat, Metric::L2)).await.unwrap();
    assert_eq!((other.state(), other.vectors().len()), (None, 0));
    assert!(other.search(&[0.5; DIM], 3, None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_never_a_wrong_score() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("good.lance");
    let vectors = clustered(200, 3, 13);
    let flat = || params(VectorKind::Flat, Metric::Dot);
    drop(build(&path, &vectors, flat()).await);
    let file = std::fs::read_dir(path.join("data")).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    let query = &vectors[&0];
    let mut noticed = 0;
    for (round, at) in (0..good.len()).step_by(good.len() / 24).enumerate() {
        let copy = dir.path().join(format!("{round}.lance"));
        copy_folder(&path, &copy);
        let mut bad = good.clone();
        bad[at] ^= 4;
        std::fs::write(copy.join("data").join(file.file_name().unwrap()), bad).unwrap();
        let index = VectorIndex::open_or_create(&copy, flat()).await.unwrap();
        if index.state().is_some() {
            let expected = brute_force(&vectors, query, Metric::Dot, 5);
            assert_eq!(index.search(query, 5, None).await.unwrap(), expected, "byte {at}");
        } else {
            assert!(index.notices()[0].contains("E1003"), "{:?}", index.notices());
            noticed += 1;
        }
    }
    assert!(noticed >= 12, "{noticed}");
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_manifest_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.lance");
    drop(build(&path, &clustered(50, 3, 14), params(VectorKind::Flat, Metric::Dot)).await);
    for entry in std::fs::read_dir(path.join("_versions")).unwrap() {
        std::fs::write(entry.unwrap().path(), b"").unwrap();
    }
    let index = VectorIndex::open_or_create(&path, params(VectorKind::Flat, Metric::Dot)).await.unwrap();
    assert_eq!(index.state(), None);
    assert!(index.notices()[0].contains("E1003"), "{:?}", index.notices());
}

/// The seal of the folder, of the first kind, as if the manifests had been written as they are.
fn seal_again(path: &Path) {
    let mut text = String::new();
    for name in crate::support::names(&path.join("_versions")) {
        let bytes = std::fs::read(path.join("_versions").join(&name)).unwrap();
        text += &format!("{} {name}\n", blake3::hash(&bytes).to_hex());
    }
    std::fs::write(path.join("promptc.seal"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_damage_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.lance");
    let vectors = clustered(50, 3, 14);
    let flat = || params(VectorKind::Flat, Metric::Dot);
    drop(build(&good, &vectors, flat()).await);
    seal_again(&good);
    let index = VectorIndex::open_or_create(&good, flat()).await.unwrap();
    assert!(index.state().is_some() && index.notices().is_empty());
    drop(index);
    let mut names = crate::support::names(&good.join("_versions"));
    names.retain(|name| name.ends_with(".manifest"));
    let [name] = names.as_slice() else { panic!("{names:?}") };
    let bytes = std::fs::read(good.join("_versions").join(name)).unwrap();
    let mut damages: Vec<Vec<u8>> = [0, 1, 8, 15, 16, 17, 31, 100, bytes.len() / 2, bytes.len() - 1]
        .iter()
        .map(|&kept| bytes[..kept.min(bytes.len() - 1)].to_vec())
        .collect();
    for flip in 0..30 {
        let mut flipped = bytes.clone();
        flipped[flip * (bytes.len() - 1) / 29] ^= 1 << (flip % 8);
        damages.push(flipped);
    }
    for (round, damaged) in damages.into_iter().enumerate() {
        let path = dir.path().join(format!("{round}.lance"));
        // With the seal, and with one that lets the library read what is there.
        for is_sealed in [false, true] {
            copy_folder(&good, &path);
            std::fs::write(path.join("_versions").join(name), &damaged).unwrap();
            if is_sealed {
                seal_again(&path);
            }
            let mut index = VectorIndex::open_or_create(&path, flat()).await.unwrap();
            if !is_sealed {
                let notices = index.notices();
                assert!(notices[0].starts_with("E1003") && notices[0].ends_with("it is built again"));
                assert_eq!((index.state(), index.vectors().len()), (None, 0));
                if round % 8 != 0 {
                    continue;
                }
            }
            let removed: Vec<RowId> = index.vectors().rows().to_vec();
            index.update(&removed, &[batch(&vectors)], "again").await.unwrap();
            let expected = brute_force(&vectors, &vectors[&7], Metric::Dot, 5);
            assert_eq!(index.search(&vectors[&7], 5, None).await.unwrap(), expected, "round {round}");
            drop(index);
            let index = VectorIndex::open_or_create(&path, flat()).await.unwrap();
            assert_eq!((index.state(), index.notices()), (Some("again"), Vec::new()), "round {round}");
            drop(index);
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_met_by_an_update_is_written_anew_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.lance");
    let mut vectors = clustered(200, 3, 17);
    let flat = || params(VectorKind::Flat, Metric::Dot);
    let mut index = build(&path, &vectors, flat()).await;
    for folder in ["data", "_versions"] {
        for name in crate::support::names(&path.join(folder)) {
            std::fs::write(path.join(folder).join(name), [7; 40]).unwrap();
        }
    }
    let added: BTreeMap<u32, Vec<f32>> = [(900, vectors[&3].clone())].into();
    index.update(&[], &[batch(&added)], "two").await.unwrap();
    vectors.extend(added);
    assert!(index.notices()[0].starts_with("E1003"), "{:?}", index.notices());
    drop(index);
    let index = VectorIndex::open_or_create(&path, flat()).await.unwrap();
    assert_eq!((index.state(), index.notices()), (Some("two"), Vec::new()));
    let expected = brute_force(&vectors, &vectors[&3], Metric::Dot, 5);
    assert_eq!(index.search(&vectors[&3], 5, None).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_vectors_queries_and_parameters_are_refused_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.lance");
    let mut vectors = clustered(20, 3, 15);
    let mut index = build(&path, &vectors, params(VectorKind::Flat, Metric::Cosine)).await;
    vectors.get_mut(&4).unwrap()[2] = f32::NAN;
    let error = index.update(&[], &[batch(&vectors)], "two").await.unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    vectors.get_mut(&4).unwrap()[2] = 0.0;
    let twice = [batch(&vectors), batch(&vectors)];
    assert!(index.update(&[], &twice, "two").await.unwrap_err().to_string().contains("twice"));
    assert_eq!((index.state(), index.vectors().len()), (Some("state"), 20));
    assert!(index.search(&[1.0; DIM - 1], 3, None).await.is_err());
    assert!(index.search(&[f32::INFINITY; DIM], 3, None).await.is_err());
    for bad in [
        VectorParams { dim: 0, ..params(VectorKind::Flat, Metric::Dot) },
        VectorParams { sub: 5, ..params(VectorKind::IvfPq, Metric::Dot) },
        VectorParams { bits: 7, ..params(VectorKind::IvfPq, Metric::Dot) },
    ] {
        assert!(VectorIndex::open_or_create(&dir.path().join("bad"), bad).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_may_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.lance");
    let vectors = clustered(30, 3, 16);
    let mut index = build(&path, &vectors, params(VectorKind::Flat, Metric::Cosine)).await;
    let removed: Vec<RowId> = vectors.keys().map(|&number| row_id(number)).collect();
    index.update(&removed, &[], "empty").await.unwrap();
    assert!(index.search(&vectors[&0], 3, None).await.unwrap().is_empty());
    drop(index);
    let index = VectorIndex::open_or_create(&path, params(VectorKind::Flat, Metric::Cosine)).await.unwrap();
    assert_eq!((index.state(), index.vectors().len()), (Some("empty"), 0));
}
