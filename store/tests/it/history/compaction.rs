//! Compaction, pruning, and how many bytes a row takes.

use std::fs;
use std::path::{Path, PathBuf};

use promptc_store::history::{History, ResultRow, Run, SampleRow};

use promptc_store::sql::history_session;

use super::{
    DAY, FEBRUARY, JANUARY, MARCH, count, count_in, environment, fill, noise, picture, result, run, snapshot,
    verdict,
};

#[test]
fn compaction_changes_no_answer_whatever_step_it_stops_at() {
    let ids = [("R1", JANUARY), ("R2", JANUARY + DAY), ("R3", FEBRUARY), ("R4", FEBRUARY + 1), ("R5", MARCH)];
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &ids);
    history.append_verdicts(&[verdict("paired", "R1", None, "pass", JANUARY)]).unwrap();
    history.append_verdicts(&[verdict("paired", "R2", None, "fail", JANUARY + 1)]).unwrap();
    let expected = picture(&history);
    let before = snapshot(dir.path());
    let done = history.compact(MARCH + DAY).unwrap();
    assert_eq!((done.file_count, done.covered_count), (7, 14));
    assert!(done.bytes_after < done.bytes_before);
    assert_eq!(picture(&history), expected);
    let after = snapshot(dir.path());
    assert!(after.keys().any(|path| path.ends_with("results/month=2026-03/R5.parquet")));
    assert!(after.keys().any(|path| path.ends_with("results/month=2026-02/compact-R3-R4.parquet")));

    // Compaction writes a file, removes what it covers, and goes on: every state in between.
    let written: Vec<&PathBuf> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    let removed: Vec<&PathBuf> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert_eq!((written.len(), removed.len()), (7, 14));
    for new in &written {
        for removed_count in 0..=1 {
            let copy = tempfile::tempdir().unwrap();
            let place = |path: &Path| copy.path().join(path.strip_prefix(dir.path()).unwrap());
            let gone = removed.iter().filter(|path| path.parent() == new.parent()).take(removed_count);
            let gone: Vec<&PathBuf> = gone.copied().collect();
            for (path, bytes) in before.iter().chain([(*new, &after[*new])]) {
                if !gone.contains(&path) {
                    fs::create_dir_all(place(path).parent().unwrap()).unwrap();
                    fs::write(place(path), bytes).unwrap();
                }
            }
            let reader = History::open_existing(copy.path()).unwrap();
            assert_eq!(picture(&reader), expected, "{new:?}, {removed_count} removed");
            // The next opening finishes the removal, and another compaction ends where the first one did.
            let writer = History::open(copy.path()).unwrap();
            let left = removed.iter().filter(|path| path.parent() == new.parent() && place(path).exists());
            assert_eq!(left.count(), 0);
            writer.compact(MARCH + DAY).unwrap();
            assert_eq!(picture(&writer), expected);
            let bytes: Vec<Vec<u8>> = snapshot(copy.path()).into_values().collect();
            assert_eq!(bytes, after.values().cloned().collect::<Vec<_>>());
        }
    }
    // Nothing to do, nothing done; a late run of a closed month joins it by itself.
    assert_eq!(history.compact(MARCH + DAY).unwrap().file_count, 0);
    fill(&history, &[("R6", JANUARY + 5)]);
    assert_eq!(history.compact(MARCH + DAY).unwrap().file_count, 0);
    assert_eq!(history.runs().unwrap().len(), 6);
}

#[test]
fn samples_are_pruned_by_month_and_results_stay() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY), ("R3", MARCH)]);
    history.compact(MARCH).unwrap();
    assert_eq!(history.prune_samples(JANUARY + DAY).unwrap().file_count, 0);
    assert_eq!(history.prune_samples(FEBRUARY).unwrap().file_count, 1);
    assert_eq!(count(&history, "SELECT count(DISTINCT run_id) FROM samples"), 1);
    assert_eq!(count(&history, "SELECT count(DISTINCT run_id) FROM results"), 3);
    fill(&history, &[("R1", JANUARY)]);
    assert_eq!(count(&history, "SELECT count(DISTINCT run_id) FROM samples"), 1);
}

/// Rows as 200 benchmarks of 500 commits would give, with 30 samples each.
fn large_run(idx: i64, rows: usize) -> Run {
    let mut run = run(&format!("L{idx:06}"), JANUARY + idx * 60_000_000);
    run.results.clear();
    run.samples.clear();
    let mut state = idx as u64;
    for bench in 0..rows {
        let bench_id = format!("group{:02}/function{:02}/{}", bench / 20, bench % 20, 1 << (bench % 8));
        let typical = 10f64.powf(2.0 + 5.0 * (bench as f64 / rows as f64));
        // Whole nanoseconds of ten iterations, as a clock gives them.
        let values: Vec<f64> = (0..30)
            .map(|_| (10.0 * typical * (1.0 + 0.04 * (noise(&mut state) - 0.5))).round() / 10.0)
            .collect();
        run.results.push(ResultRow { seed: None, ..result(&bench_id, &values, run.started_at) });
        run.samples.push(SampleRow {
            bench_id,
            metric: "wall_ns".into(),
            iters: vec![10; 30],
            values,
            ..SampleRow::default()
        });
    }
    run
}

#[test]
fn bytes_of_a_row_are_within_the_bound() {
    let rows: usize = if std::env::var_os("PROMPTC_LONG").is_some() { 100_000 } else { 10_000 };
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    for idx in 0..(rows / 200) as i64 {
        history.write(&large_run(idx, 200), &environment()).unwrap();
    }
    let size = |table: &str| {
        snapshot(&dir.path().join(table)).values().map(Vec::len).sum::<usize>() as f64 / rows as f64
    };
    let before = [size("results"), size("samples")];
    history.compact(FEBRUARY + 31 * DAY).unwrap();
    let after = [size("results"), size("samples")];
    // Shown by `--nocapture`; the bounds are what the language reference allows with samples.
    eprintln!(
        "bytes per row of {rows}: results {:.1} then {:.1} compacted, samples {:.1} then {:.1}",
        before[0], after[0], before[1], after[1]
    );
    assert_eq!(count(&history, "SELECT count(*) FROM results"), rows as i64);
    assert!(after[0] + after[1] <= 140.0, "{after:?}");
}

#[test]
fn a_release_holds_the_chosen_runs_without_samples_and_reads_beside_its_origin() {
    let [dir, target_dir] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let history = History::open(dir.path()).unwrap();
    let target = History::open(target_dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", FEBRUARY), ("R3", FEBRUARY), ("R4", MARCH)]);
    history
        .append_verdicts(&[verdict("g", "R1", None, "pass", 1), verdict("g", "R4", None, "pass", 1)])
        .unwrap();
    history.compact(MARCH).unwrap();
    let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(history.release(&target, &ids(&["R1", "R9"])).unwrap_err().code(), "E2101");
    assert_eq!(snapshot(&target_dir.path().join("results")).len(), 0);
    assert_eq!(history.release(&target, &ids(&["R1", "R2"])).unwrap(), 2);
    assert_eq!(history.release(&target, &ids(&["R1", "R2", "R4"])).unwrap(), 1);
    assert_eq!(history.release(&target, &ids(&["R1", "R2", "R4"])).unwrap(), 0);
    assert_eq!(count(&target, "SELECT count(*) FROM results"), 15);
    assert_eq!(count(&target, "SELECT count(*) FROM samples"), 0);
    assert_eq!(count(&target, "SELECT count(*) FROM results JOIN env USING (env_id)"), 15);
    assert_eq!(count(&target, "SELECT count(*) FROM run_states WHERE accepted"), 2);
    assert_eq!(snapshot(&target_dir.path().join("results")).len(), 2);
    assert_eq!(target.orphans().unwrap(), []);
    let both = history_session(&[target, history], "this", None).unwrap();
    assert_eq!(count_in(&both, "SELECT count(*) FROM results"), 20);
    assert_eq!(count_in(&both, "SELECT count(*) FROM samples"), 16);
    assert_eq!(count_in(&both, "SELECT count(*) FROM verdicts"), 2);
    assert_eq!(count_in(&both, "SELECT count(*) FROM env"), 1);
}
