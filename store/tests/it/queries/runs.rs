//! The runs of the small history, one function for each kind.

use std::collections::BTreeMap;

use promptc_store::history::{Run, SampleRow, ScrapeRow, Side, Status, VerdictRow};

use super::fixture::{COMMITS, Measure, Noise, branch_run, row, run, verdict, without_value};

pub(super) const WEIGHTS: &str = "weight_dynamics/convergence/512";
pub(super) const COMPRESSION: &str = "compression_performance/mixed/0.5";
pub(super) const STORAGE: &str = "storage_performance/mixed/1kb";

pub(super) fn all() -> Vec<Run> {
    let mut runs: Vec<Run> = (0..COMMITS).map(|seq| line(&format!("A{seq:02}"), seq)).collect();
    runs.extend([dirty(), branch()]);
    runs.extend((50..COMMITS).map(elsewhere));
    runs.extend(paired());
    runs.extend(same_build());
    runs.extend(storage());
    runs.extend(soak());
    runs.extend(reliability());
    runs.extend([embedding(), index(), program(), service()]);
    runs
}

/// The three benchmarks at a commit of the main line.
fn line(id: &str, seq: u32) -> Run {
    let mut run = run(id, "A", seq);
    let mut noise = Noise::new(id);
    let mut measured = |level: f64| {
        let level = level * (1.0 + 0.006 * noise.next());
        noise.around(level, 0.01, 30)
    };
    let weights = measured(if seq < 40 { 45e6 } else { 45e6 * 1.12 });
    let compression = measured(if seq < 30 { 2e6 } else { 1.6e6 });
    let storage = measured(50_000.0 * 1.002_f64.powi(seq as i32));
    let rate = 1e9 / (storage.iter().sum::<f64>() / 30.0);
    let tags = match seq {
        0 => BTreeMap::from([("git_tag".to_owned(), "v0.1".to_owned())]),
        29 => BTreeMap::from([("git_tag".to_owned(), "v0.2".to_owned())]),
        58 => BTreeMap::from([("git_tag".to_owned(), "v0.3".to_owned())]),
        _ => BTreeMap::new(),
    };
    run.measure(WEIGHTS, "wall_ns", Side::Solo, weights).noise.load1 = Some(0.5);
    run.measure(COMPRESSION, "wall_ns", Side::Solo, compression);
    run.add(row(COMPRESSION, "saved_ratio", &[if seq < 30 { 0.5 } else { 0.55 }]));
    run.add(row(COMPRESSION, "retention", &[if seq == 59 { 0.93 } else { 0.98 }]));
    run.measure(STORAGE, "wall_ns", Side::Solo, storage);
    run.add(row(STORAGE, "throughput", &[rate]));
    for row in &mut run.results {
        row.tags.clone_from(&tags);
        if row.bench_id == STORAGE {
            row.params.insert("clients".to_owned(), "1".to_owned());
        }
    }
    run
}

/// Uncommitted work, in which one benchmark fails.
fn dirty() -> Run {
    let mut run = line("A60", 60);
    run.git.dirty = true;
    run.samples.retain(|row| row.bench_id != WEIGHTS);
    run.results.retain(|row| row.bench_id != WEIGHTS);
    run.add(without_value(WEIGHTS, "wall_ns", Status::Failed, "it panicked"));
    run
}

/// Work on a branch that is 30 % slower than the commit it stands on.
fn branch() -> Run {
    let mut run = branch_run("A61", "A", 59);
    run.measure(WEIGHTS, "wall_ns", Side::Solo, Noise::new("A61").around(45e6 * 1.12 * 1.3, 0.01, 30));
    run
}

fn elsewhere(seq: u32) -> Run {
    let mut run = run(&format!("B{seq:02}"), "B", seq);
    let level = 45e6 * 1.12 * 1.5;
    run.measure(WEIGHTS, "wall_ns", Side::Solo, Noise::new(&run.id.clone()).around(level, 0.01, 30));
    run
}

/// Twenty pairs of one benchmark, the candidate `factor` times as slow.
fn pair(run: &mut Run, bench_id: &str, sides: [Side; 2], factor: f64, share: f64) {
    let mut noise = Noise::new(&format!("{}{bench_id}", run.id));
    for (side, factor) in sides.into_iter().zip([1.0, factor]) {
        let values = noise.around(1e6 * factor, share, 20);
        run.measure(bench_id, "wall_ns", side, values);
    }
}

fn paired() -> Vec<Run> {
    let sides = [Side::Base, Side::Candidate];
    let new = |id: &str| branch_run(id, "A", 58);
    let mut clean = new("P_CLEAN");
    pair(&mut clean, WEIGHTS, sides, 1.0, 0.02);
    pair(&mut clean, COMPRESSION, sides, 0.8, 0.02);
    for side in sides {
        clean.add(row(COMPRESSION, "retention", &[0.98])).side = side;
    }
    let mut slow = new("P_SLOW");
    pair(&mut slow, WEIGHTS, sides, 1.12, 0.02);
    pair(&mut slow, STORAGE, sides, 1.0, 0.02);
    let mut unsure = new("P_UNSURE");
    pair(&mut unsure, WEIGHTS, sides, 1.1, 0.4);
    let mut missing = new("P_MISSING");
    pair(&mut missing, COMPRESSION, sides, 1.0, 0.02);
    missing.measure(WEIGHTS, "wall_ns", Side::Base, Noise::new("m").around(1e6, 0.02, 20));
    missing.add(without_value(WEIGHTS, "wall_ns", Status::TimedOut, "not within 60 s")).side =
        Side::Candidate;
    missing.measure(STORAGE, "wall_ns", Side::Base, Noise::new("n").around(1e6, 0.02, 20));
    let mut quality = new("P_QUALITY");
    pair(&mut quality, COMPRESSION, sides, 0.5, 0.02);
    for (side, retention) in sides.into_iter().zip([0.99, 0.97]) {
        quality.add(row(COMPRESSION, "retention", &[retention])).side = side;
    }
    let mut unchanged = new("P_UNCHANGED");
    pair(&mut unchanged, WEIGHTS, sides, 1.5, 0.02);
    for row in &mut unchanged.results {
        row.code_hash = Some("the same".to_owned());
    }
    let mut zero = new("P_ZERO");
    for (side, rate) in sides.into_iter().zip([0.0, 0.05]) {
        zero.measure("weight_dynamics/errors/512", "error_rate", side, vec![rate]);
    }
    let mut unmeasured = new("P_UNMEASURED");
    for side in sides {
        unmeasured.add(without_value(WEIGHTS, "wall_ns", Status::Failed, "it panicked")).side = side;
    }
    // As clear as in P_SLOW, but the run was looked at more strictly.
    let mut strict = new("P_STRICT");
    pair(&mut strict, WEIGHTS, sides, 1.12, 0.02);
    for row in &mut strict.results {
        row.tags.insert("alpha".into(), "1e-9".into());
    }
    vec![clean, slow, unsure, missing, quality, unchanged, zero, unmeasured, strict, waiting(new("P_WAITS"))]
}

/// The processor is as busy on both sides, and one of them takes more time.
fn waiting(mut run: Run) -> Run {
    for (metric, factor) in [("cpu_ns", 1.0), ("wall_ns", 1.3)] {
        let mut noise = Noise::new(&format!("waits {metric}"));
        for (side, factor) in [(Side::Base, 1.0), (Side::Candidate, factor)] {
            run.measure(WEIGHTS, metric, side, noise.around(1e6 * factor, 0.02, 20));
        }
    }
    run.results.iter_mut().filter(|row| row.metric == "wall_ns").for_each(|row| row.direction = 0);
    run
}

fn same_build() -> Vec<Run> {
    let one = |id: &str, machine: &str| {
        let mut run = branch_run(id, machine, 57);
        pair(&mut run, WEIGHTS, [Side::Base, Side::Same], 1.0, 0.08);
        run
    };
    vec![one("E_1", "A"), one("E_2", "A"), one("F_1", "C"), one("F_2", "C")]
}

fn storage() -> Vec<Run> {
    let operation = |run: &mut Run, name: &str, latency_ns: f64, rate: f64, params: &[(&str, &str)]| {
        for (metric, value) in [("wall_ns", latency_ns), ("throughput", rate)] {
            let row = run.add(row(&format!("storage_performance/{name}/1kb"), metric, &[value]));
            row.params.extend(params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        }
    };
    // The tables of the seed document: 100 records in 0.3 ms cannot be 50,000 records a second by one client.
    let mut bad = branch_run("S_BAD", "A", 56);
    operation(&mut bad, "single_write", 50e3, 20e3, &[("clients", "1")]);
    operation(&mut bad, "batch_100", 300e3, 50e3, &[("clients", "1"), ("batch", "100")]);
    operation(&mut bad, "range_100", 1.2e6, 5e3, &[("clients", "1")]);
    let mut good = branch_run("S_GOOD", "A", 56);
    operation(&mut good, "batch_100", 400e3, 250e3, &[("clients", "1"), ("batch", "100")]);
    operation(&mut good, "point_read_hot", 20e3, 98e3, &[("clients", "2")]);
    let mut blind = branch_run("S_BLIND", "A", 56);
    operation(&mut blind, "single_write", 50e3, 20e3, &[]);
    vec![bad, good, blind]
}

fn soak() -> Vec<Run> {
    let one = |id: &str, minutes: u64, bytes_per_hour: f64| {
        let mut run = branch_run(id, "A", 55);
        let mut noise = Noise::new(id);
        let (mut iters, mut values) = (Vec::new(), Vec::new());
        for step in 0..=minutes * 6 {
            iters.push(step * 10_000);
            let hours = step as f64 / 360.0;
            values.push((1e8 + bytes_per_hour * hours + 5e4 * noise.next()).round());
        }
        run.add(row("soak/serve/mixed", "rss_bytes", &values));
        run.samples.push(SampleRow {
            bench_id: "soak/serve/mixed".into(),
            metric: "rss_bytes".into(),
            iters,
            values,
            ..SampleRow::default()
        });
        run
    };
    let mut broken = branch_run("K_BROKEN", "A", 55);
    broken.add(without_value("soak/serve/mixed", "rss_bytes", Status::Failed, "the service stopped"));
    vec![one("K_FLAT", 120, 0.0), one("K_LEAK", 120, 3e6), one("K_SHORT", 1, 3e6), broken]
}

fn reliability() -> Vec<Run> {
    let mut good = branch_run("R_GOOD", "A", 54);
    good.add(row("reliability/kill_9/store", "lost_count", &[0.0]));
    let recovery: Vec<f64> = (0..1_000).map(|idx| 1e6 + 1e3 * f64::from(idx)).collect();
    good.add(row("reliability/kill_9/store", "recovery_ns", &recovery));
    let rate = good.add(row("reliability/overload/serve", "error_rate", &[0.005]));
    (rate.target_value, rate.target_op) = (Some(0.01), Some("<=".into()));
    good.add(without_value("reliability/memory_cap/serve", "lost_count", Status::Skipped, "no cgroup here"));
    let mut bad = branch_run("R_BAD", "A", 55);
    bad.add(row("reliability/kill_9/store", "lost_count", &[2.0]));
    let rate = bad.add(row("reliability/overload/serve", "error_rate", &[0.02]));
    (rate.target_value, rate.target_op) = (Some(0.01), Some("<=".into()));
    bad.add(without_value("reliability/disk_full/store", "lost_count", Status::Failed, "it panicked"));
    vec![good, bad]
}

fn embedding() -> Run {
    let mut run = branch_run("M_CACHE", "A", 53);
    for (trace, size, hits) in [("zipf", "1000", 0.62), ("zipf", "10000", 0.85), ("real", "10000", 0.41)] {
        for (metric, value) in [("hit_rate", hits), ("lookup_count", 50_000.0)] {
            let row = run.add(row(&format!("embedding_generation/cache/{trace}_{size}"), metric, &[value]));
            row.suite = "embedding".to_owned();
            row.params =
                [("size", size), ("trace", trace)].map(|(key, value)| (key.into(), value.into())).into();
        }
    }
    run
}

fn index() -> Run {
    let mut run = branch_run("M_INDEX", "A", 53);
    for (ef, recall, wall_ns) in [("16", 0.91, 40e3), ("64", 0.97, 90e3), ("128", 0.995, 170e3)] {
        for (metric, value) in [("recall", recall), ("wall_ns", wall_ns)] {
            let row = run.add(row(&format!("index/hnsw/10k_ef{ef}"), metric, &[value]));
            row.params =
                [("size", "10000"), ("ef", ef)].map(|(key, value)| (key.into(), value.into())).into();
        }
    }
    // Speed alone, although accuracy is promised.
    run.add(row("index/hnsw/10k", "wall_ns", &[80e3]));
    run
}

/// A program's bench: `tiny` is both slower and worse than `half`.
fn program() -> Run {
    let mut run = branch_run("Q_1", "A", 52);
    for (subject, retention, wall_ns) in [("full", 1.0, 9e6), ("half", 0.96, 4e6), ("tiny", 0.9, 5e6)] {
        for (metric, value) in [("retention", retention), ("wall_ns", wall_ns)] {
            let row = run.add(row(&format!("airline/routing/{subject}"), metric, &[value]));
            row.subject = Some(subject.to_owned());
        }
    }
    run
}

/// An hour of a service: slow to compile for ten minutes, short of memory for one, cold for one reading.
fn service() -> Run {
    let mut run = branch_run("X_1", "A", 51);
    let mut values: Vec<f64> = Noise::new("X").around(1e6, 0.02, 9_990);
    values.extend([5e7; 10]);
    run.measure("service/compile/small", "wall_ns", Side::Solo, values);
    for step in 0..240_i64 {
        let minute = step as f64 / 4.0;
        let signals = [
            ("compile_seconds_p99", if (10.0..20.0).contains(&minute) { 1.5 } else { 0.2 }),
            ("convergence_iterations_max_10m", if (30.0..31.0).contains(&minute) { 200.0 } else { 90.0 }),
            ("storage_seconds_p99", if (40.0..44.0).contains(&minute) { 0.02 } else { 0.001 }),
            ("memory_used_ratio", if (50.0..51.0).contains(&minute) { 0.95 } else { 0.5 }),
            ("cache_lookups_10m", 500.0),
            ("cache_hit_ratio_10m", if step == 7 { 0.5 } else { 0.9 }),
        ];
        for (signal, value) in signals {
            let at = run.started_at + step * 15_000_000;
            run.scrapes.push(ScrapeRow { at, signal: signal.to_owned(), value });
        }
    }
    run
}

/// Commit 38 and those before are accepted, commit 39 was by the gates and is not by a person.
pub(super) fn verdicts() -> Vec<VerdictRow> {
    let mut rows: Vec<VerdictRow> =
        (0..40).map(|seq| verdict("paired", &format!("A{seq:02}"), "gate", None, "pass")).collect();
    rows.push(verdict("manual", "A39", "gate", None, "fail"));
    let judged = [
        ("E_1", "aa", "no_change"),
        ("E_2", "aa", "no_change"),
        ("E_1", "power", "regression"),
        ("E_2", "power", "regression"),
        ("F_1", "aa", "no_change"),
        ("F_2", "aa", "regression"),
        ("F_1", "power", "regression"),
        ("F_2", "power", "cannot_tell"),
    ];
    rows.extend(judged.map(|(run, purpose, said)| verdict("paired", run, purpose, Some(WEIGHTS), said)));
    rows
}
