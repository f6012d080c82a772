//! Random damage.

use super::criterion::{FILES, ONE, damaged};
use super::{fixture, options, summarise, text};
use promptc_store::history::ingest::{Kind, ingest, ingest_text};
use proptest::prelude::*;
use std::fs;

/// A committed file with some bytes changed, cut or doubled.
fn mutated(kind: Kind, name: &'static str) -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let whole = fs::read(fixture(name)).unwrap();
    let length = whole.len();
    let edits = prop::collection::vec((0..length, any::<u8>(), 0..4_u8), 1..6);
    edits.prop_map(move |edits| {
        let mut bytes = whole.clone();
        for (at, byte, how) in edits {
            let at = at.min(bytes.len().saturating_sub(1));
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] = b"0123456789.-e,:[]{}\"\\ n\n"[usize::from(byte) % 24],
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, byte),
            }
        }
        (kind, bytes)
    })
}

fn damaged_text() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    prop_oneof![
        mutated(Kind::CriterionJson, "cargo_criterion.jsonl"),
        mutated(Kind::Hyperfine, "hyperfine.json"),
        mutated(Kind::DbBench, "db_bench.txt"),
        mutated(Kind::LmEval, "lm_eval.json"),
        mutated(Kind::Hdr, "load.hlog"),
        (prop::sample::select(Kind::ALL.to_vec()), prop::collection::vec(any::<u8>(), 0..200)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_gives_rows_that_can_be_kept_or_a_named_error((kind, bytes) in damaged_text()) {
        let given = String::from_utf8_lossy(&bytes);
        match ingest_text(kind, "given.txt", &given, 1_000_000, &options()) {
            Ok(ingested) => {
                prop_assert!(!ingested.results.is_empty() || !ingested.warnings.is_empty());
                for row in &ingested.results {
                    prop_assert!(row.value.is_some_and(f64::is_finite), "{row:?}");
                    prop_assert!(!row.bench_id.is_empty() && !row.metric.is_empty());
                    let parts: Vec<&str> = row.bench_id.split('/').collect();
                    prop_assert!(parts.iter().all(|part| !part.is_empty()), "{}", row.bench_id);
                }
                for row in &ingested.samples {
                    prop_assert!(row.values.len() == row.iters.len() && row.values.iter().all(|value| value.is_finite()));
                }
                let again = ingest_text(kind, "given.txt", &given, 1_000_000, &options()).unwrap();
                prop_assert_eq!(again, ingested);
            }
            Err(error) => {
                prop_assert!(error.to_string().starts_with("given.txt"), "{}", error);
                prop_assert!(!error.help().is_empty());
            }
        }
    }

    #[test]
    fn a_damaged_file_of_criterion_never_hides_the_others(
        name in prop::sample::select(FILES.to_vec()),
        at in 0..1_000_usize,
        byte in any::<u8>(),
    ) {
        let folder = damaged();
        let path = folder.path().join(ONE).join(name);
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        fs::write(&path, bytes).unwrap();
        let ingested = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
        prop_assert!(ingested.results.len() >= 3, "{:?}", ingested.warnings);
        if ingested.results.len() == 3 {
            prop_assert!(ingested.warnings.iter().any(|warning| warning.contains(ONE)), "{:?}", ingested.warnings);
        }
    }

    #[test]
    fn values_of_rows_come_back_in_the_unit_of_the_history(
        values in prop::collection::vec(1e-3..1e9_f64, 1..50),
        (unit, factor) in prop::sample::select(vec![("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)]),
    ) {
        let line = serde_json::json!({"bench_id": "a/b", "metric": "wall_ns", "unit": unit, "values": values});
        let ingested = text(Kind::Rows, &line.to_string()).unwrap();
        for (found, given) in ingested.samples[0].values.iter().zip(&values) {
            prop_assert!((found / (given * factor) - 1.0).abs() < 1e-14);
        }
        prop_assert_eq!(ingested.results[0].value, summarise(&ingested.samples[0].values).median);
    }
}
