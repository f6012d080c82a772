//! How long do parse, check and plan take? One thread, no files: everything is in memory.
//!
//! `compile/<stage>/<program>`: `parse` text to tree; `check` the same and names, types, shapes, units (what `promptc check`
//! does); `plan` a checked program to its plan, without looking at data.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;

use criterion::{BenchmarkId, Criterion, Throughput};
use promptc_benches::{Clock, Recorder, fixtures};
use promptc_compiler::plan::{Request, Rules, plan};
use promptc_compiler::source::SourceId;
use promptc_compiler::syntax;
use promptc_compiler::{Checked, Input, check};

/// Lines of the generated program; the promise in `targets.toml` is about this size.
const LINES: usize = 200;
/// The main job's program.
const CRATE_DOCS: &str = include_str!("../pipelines/crate_docs.promptc");

fn checked(text: &str) -> Checked {
    check(Input {
        name: "main.promptc",
        text,
        loader: &mut |_: &str, path: &str| Err(format!("no file {path}")),
        set: BTreeMap::new(),
        environment: &|_| None,
        home: Some("/home".to_owned()),
        encoders: &promptc_compiler::no_encoders,
        deny_warnings: false,
    })
}

fn compile(criterion: &mut Criterion<Clock>) {
    let mut group = criterion.benchmark_group("compile");
    let generated = fixtures::program(LINES);
    for (name, text) in [("crate_docs", CRATE_DOCS), ("200_lines", generated.as_str())] {
        let program = checked(text);
        let shown: Vec<&str> = program.diagnostics.iter().map(|found| found.message.as_str()).collect();
        assert!(!program.has_errors(), "{name} is not measured, since it has errors: {shown:#?}");
        let request = Request { targets: &[], rules: Rules::All, contents: &|_| None };
        group.throughput(Throughput::Elements(text.lines().count() as u64));
        group.bench_function(BenchmarkId::new("parse", name), |bencher| {
            bencher.iter(|| {
                let mut diagnostics = Vec::new();
                black_box(syntax::parse(SourceId(0), black_box(text), &mut diagnostics));
            });
        });
        group.bench_function(BenchmarkId::new("check", name), |bencher| {
            bencher.iter(|| checked(black_box(text)));
        });
        group.bench_function(BenchmarkId::new("plan", name), |bencher| {
            bencher.iter(|| plan(black_box(&program.hir), &request));
        });
    }
    group.finish();
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("compile");
    recorder.param("threads", 1);
    let mut criterion = recorder.criterion();
    compile(&mut criterion);
    criterion.final_summary();
    recorder.finish()
}
