//! Reports for tests: a small fixed one, one of hostile texts, and large ones.

use super::data::*;

/// A name that tries to leave every format that it is put into.
pub(super) const HOSTILE: &str = "</script><script>alert(1)</script> \"'`|\\ ]]> --> <img src=x onerror=1> \u{1b}[31m\u{202e}\u{0} [a](b) 🦀\r\n測定";

/// Pseudo-random numbers in [0, 1) from a seed (SplitMix64; Steele, Lea and Flood, 2014).
pub(super) struct Noise(pub(super) u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A factor around one, skewed to the right as times are.
    pub(super) fn factor(&mut self, spread: f64) -> f64 {
        let sum: f64 = (0..6).map(|_| self.next() - 0.5).sum();
        (spread * sum).exp()
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn point(commit_seq: u32, value: f64, change_rel: Option<f64>) -> HistoryPoint {
    HistoryPoint {
        commit_seq,
        commit_time: 1_780_000_000_000_000 + i64::from(commit_seq) * 40_000_000_000,
        sha: format!(
            "{:016x}{commit_seq:024x}",
            u64::from(commit_seq + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ),
        value: Some(value),
        ci_low: Some(value * 0.985),
        ci_high: Some(value * 1.02),
        is_change_point: change_rel.is_some(),
        change_rel,
    }
}

fn series(bench_id: &str, metric: &str, unit: &str, direction: i8, level: f64) -> Series {
    let mut noise = Noise(bench_id.len() as u64);
    let value = |idx: u32, noise: &mut Noise| {
        let level = if idx < 8 { level } else { level * 1.123 };
        point(idx, (level * noise.factor(0.02)).round(), (idx == 8).then_some(0.123))
    };
    Series {
        bench_id: text(bench_id),
        metric: text(metric),
        unit: text(unit),
        direction,
        history: (0..12).map(|idx| value(idx, &mut noise)).collect(),
        base: (0..20).map(|_| level * noise.factor(0.05)).collect(),
        cand: (0..20).map(|_| level * 1.123 * noise.factor(0.05)).collect(),
        estimate: Some(Estimate { value: level * 1.123, low: level * 1.1, high: level * 1.15 }),
        source: Some(Place { file: text("benches/compile.rs"), line: 31 }),
    }
}

fn verdict(subject: (&str, &str, &str), base: f64, rel: f64, half: f64, decision: Decision) -> Verdict {
    let worse_is_more = if subject.1 == "throughput" { -1.0 } else { 1.0 };
    Verdict {
        gate_id: text("paired"),
        bench_id: text(subject.0),
        metric: text(subject.1),
        unit: text(subject.2),
        base: Some(base),
        cand: Some(base * (1.0 + worse_is_more * rel)),
        rel: Some(rel),
        ci_low: Some(rel - half),
        ci_high: Some(rel + half),
        p: Some(0.000_001_9),
        q: Some(0.000_007_6),
        decision,
        needed_pairs: Some(20),
        pair_count: Some(20),
        reason: None,
    }
}

/// One regression, one undecided, one improvement, one without change, and a promise of each status.
pub(crate) fn data() -> ReportData {
    let mut undecided =
        verdict(("storage/single_write/1kb", "wall_ns", "ns"), 51_000.0, 0.031, 0.084, Decision::CannotTell);
    (undecided.p, undecided.q) = (Some(0.41), Some(0.55));
    (undecided.needed_pairs, undecided.reason) = (Some(60), Some(text("unstable")));
    ReportData {
        run: run(),
        targets: targets(),
        verdicts: vec![
            verdict(("embedding/static/32", "wall_ns", "ns"), 1.6e6, 0.004, 0.012, Decision::NoChange),
            undecided,
            verdict(
                ("compression/mixed/0.5", "throughput", "bytes/s"),
                6.1e8,
                -0.182,
                0.02,
                Decision::Improvement,
            ),
            verdict(("compile/check/200_lines", "wall_ns", "ns"), 4.2e6, 0.123, 0.024, Decision::Regression),
        ],
        gates: gates(),
        series: vec![
            series("storage/single_write/1kb", "wall_ns", "ns", -1, 51_000.0),
            series("compile/check/200_lines", "wall_ns", "ns", -1, 4.2e6),
        ],
        noise: vec![NoiseRow {
            bench_id: text("compile/check/200_lines"),
            metric: text("wall_ns"),
            run_count: 12,
            between_run_cv: Some(0.021),
            within_run_cv: Some(0.048),
            load1: Some(1.7),
            steal_ms: Some(12.0),
            state: text("stable"),
        }],
        rates: rates(),
        queries: vec![QueryText {
            name: text("targets.sql"),
            question: text("Which promises are met, not met, not measured here?"),
            sql: text(
                "SELECT target_id, bound, actual, status\nFROM joined WHERE actual <= bound ORDER BY status",
            ),
            parameters: Vec::new(),
            section: Some(Section::Targets),
        }],
        notes: vec![text("The run was measured on a machine that others used at the same time.")],
    }
}

fn run() -> RunFacts {
    let env = [
        ("os", "linux"),
        ("cpu_model", "Example CPU 2.1 GHz"),
        ("logical_core_count", "2"),
        ("rustc_version", "1.95.0"),
        ("dispatch", "avx512"),
    ];
    RunFacts {
        id: text("01JZX3N5E8QK4T7W9YB2CDFGHJ"),
        started_at: 1_784_034_309_000_000,
        git: GitFacts {
            sha: text("3f2a1b9c4d5e6f708192a3b4c5d6e7f801234567"),
            branch: text("faster-check"),
            tag: None,
            commit_time: Some(1_784_030_000_000_000),
            is_dirty: false,
        },
        base_sha: Some(text("a91b2c3d4e5f60718293a4b5c6d7e8f901234567")),
        pull_request: Some(text("42")),
        version: text("0.1.0"),
        env_id: text("5f0c1d2e3a4b59687766554433221100"),
        env: env.map(|(name, value)| (text(name), text(value))).to_vec(),
    }
}

fn targets() -> Vec<TargetRow> {
    let target =
        |id: &str, bench_id: &str, metric: &str, unit: &str, op: &str, bound: f64, status| TargetRow {
            target_id: text(id),
            seed: text("none"),
            kind: text("ours"),
            bench_id: text(bench_id),
            metric: text(metric),
            statistic: text("median"),
            op: text(op),
            bound,
            unit: text(unit),
            actual: None,
            status,
            reason: None,
        };
    let mut targets = vec![
        target("compile.check", "compile/check/200_lines", "wall_ns", "ns", "<=", 5e6, TargetStatus::Met),
        target(
            "compression.mixed",
            "compression/mixed/0.5",
            "throughput",
            "bytes/s",
            ">=",
            6e8,
            TargetStatus::Met,
        ),
        target(
            "memory.trm",
            "memory/trm/rss",
            "rss_peak_bytes",
            "bytes",
            "<=",
            41_943_040.0,
            TargetStatus::NotMet,
        ),
        target("trm.k20", "trm/k/20", "wall_ns", "ns", "<=", 4e7, TargetStatus::NotMeasuredHere),
        target("gpu.7b", "inference_latency/7b/8", "wall_ns", "ns", "<=", 3e7, TargetStatus::Skipped),
    ];
    for (idx, actual) in [4.72e6, 7.2e8, 52_428_800.0].into_iter().enumerate() {
        targets[idx].actual = Some(actual);
    }
    targets[4].reason = Some(text("no GPU"));
    (targets[4].seed, targets[4].kind) = (text("ruvdllm"), text("seed"));
    targets
}

fn gates() -> Vec<Gate> {
    let paired = Gate {
        id: text("paired"),
        severity: Severity::Error,
        outcome: GateOutcome::Failed,
        message: text("1 regression, 1 undecided of 4 benchmarks"),
        why: text("new build is slower than old by more than 5 % and more than chance allows"),
        sql: text("SELECT bench_id, metric, message\nFROM judged WHERE rel > $min_effect AND q <= $alpha"),
        parameters: vec![(text("alpha"), text("0.01")), (text("min_effect"), text("0.05"))],
        file: Some(text("queries/gates/paired.sql")),
    };
    let floor = Gate {
        id: text("quality_floor"),
        outcome: GateOutcome::Passed,
        message: text("no failures"),
        why: text("quality is below its floor, whatever the speed"),
        parameters: Vec::new(),
        file: Some(text("queries/gates/quality_floor.sql")),
        ..paired.clone()
    };
    vec![paired, floor]
}

fn rates() -> Vec<Rate> {
    let rate = |kind, injected_rel, count, total, low, high, bar| Rate {
        kind,
        injected_rel,
        count,
        total,
        low: Some(low),
        high: Some(high),
        bar,
        note: text("runs of one build against itself, up to 60 pairs"),
    };
    vec![
        rate(RateKind::FalseAlarm, None, 0, 100, 0.0, 0.037, Some(0.01)),
        rate(RateKind::Power, Some(0.05), 61, 100, 0.512, 0.7, None),
        rate(RateKind::Power, Some(0.1), 99, 100, 0.946, 0.998, Some(0.95)),
    ]
}

/// The fixed report with [`HOSTILE`] wherever a text can stand, and numbers that are none.
pub(crate) fn hostile() -> ReportData {
    let name = || text(HOSTILE);
    let mut data = data();
    data.run.id = name();
    (data.run.git.sha, data.run.git.branch, data.run.git.tag) = (name(), name(), Some(name()));
    (data.run.pull_request, data.run.base_sha) = (Some(name()), Some(name()));
    (data.run.version, data.run.env_id, data.run.env) = (name(), name(), vec![(name(), name())]);
    for target in &mut data.targets {
        (target.target_id, target.bench_id, target.unit, target.op) = (name(), name(), name(), name());
        (target.seed, target.kind, target.statistic, target.reason) = (name(), name(), name(), Some(name()));
        (target.bound, target.actual) = (f64::NAN, Some(f64::INFINITY));
    }
    for verdict in &mut data.verdicts {
        (verdict.bench_id, verdict.metric, verdict.gate_id, verdict.unit) = (name(), name(), name(), name());
        (verdict.rel, verdict.ci_low, verdict.p) = (Some(f64::NAN), Some(f64::NEG_INFINITY), Some(f64::NAN));
        (verdict.base, verdict.cand, verdict.reason) = (Some(f64::INFINITY), None, Some(name()));
    }
    for gate in &mut data.gates {
        (gate.id, gate.message, gate.why, gate.sql) = (name(), name(), name(), name());
        (gate.file, gate.parameters) = (Some(name()), vec![(name(), name())]);
    }
    for series in &mut data.series {
        (series.bench_id, series.metric, series.unit) = (name(), name(), name());
        series.source = Some(Place { file: name(), line: 0 });
        series.estimate = Some(Estimate { value: f64::NAN, low: f64::MIN, high: f64::INFINITY });
        series.base.extend([f64::NAN, f64::MAX, f64::MIN]);
        series.history[0].value = Some(f64::NAN);
        (series.history[1].value, series.history[1].sha) = (Some(f64::MAX), name());
        (series.history[2].ci_low, series.history[3].value) = (Some(f64::NAN), None);
        series.history[4].commit_time = i64::MAX;
    }
    for query in &mut data.queries {
        (query.name, query.question, query.sql, query.parameters) =
            (name(), name(), name(), vec![(name(), name())]);
    }
    for row in &mut data.noise {
        (row.bench_id, row.metric, row.state, row.load1) = (name(), name(), name(), Some(f64::NAN));
    }
    data.rates[0].note = name();
    data.notes = vec![name()];
    data
}

/// So many benchmarks with so many points each; every tenth got worse.
pub(crate) fn large(bench_count: usize, point_count: u32) -> ReportData {
    let mut data = data();
    data.series.clear();
    data.verdicts.clear();
    let mut noise = Noise(7);
    for bench in 0..bench_count {
        let bench_id = format!("group_{}/function/{bench:05}", bench % 17);
        let level = 1e3 * 1.07f64.powi((bench % 200) as i32);
        let (decision, rel) = match bench % 10 {
            0 => (Decision::Regression, 0.08 + 0.3 * noise.next()),
            1 => (Decision::Improvement, -0.07 - 0.2 * noise.next()),
            2 | 3 => (Decision::CannotTell, 0.1 * noise.next()),
            _ => (Decision::NoChange, 0.02 * noise.next() - 0.01),
        };
        data.verdicts.push(verdict(
            (&bench_id, "wall_ns", "ns"),
            level,
            rel,
            0.03 * noise.factor(0.5),
            decision,
        ));
        let step = point_count / 2 + bench as u32 % 20;
        let value = |idx: u32, noise: &mut Noise| {
            let level = if idx < step { level } else { level * 1.15 };
            point(idx, level * noise.factor(0.03), (idx == step && idx > 0).then_some(0.15))
        };
        data.series.push(Series {
            bench_id,
            metric: text("wall_ns"),
            unit: text("ns"),
            direction: -1,
            history: (0..point_count).map(|idx| value(idx, &mut noise)).collect(),
            base: (0..60).map(|_| level * noise.factor(0.1)).collect(),
            cand: (0..60).map(|_| level * (1.0 + rel) * noise.factor(0.1)).collect(),
            estimate: None,
            source: None,
        });
    }
    data
}
