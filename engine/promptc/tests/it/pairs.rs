//! `bench pair` and `bench aa` over executables that speak as criterion's do, with times that are known.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A bench with two benchmarks that take `level` ns, give or take `noise`. Its own name makes its code its own.
fn bench(folder: &Path, name: &str, level: f64, noise: f64) -> PathBuf {
    let script = format!(
        r#"#!/bin/sh
# {name}
if [ "$2" = "--list" ]; then printf 'g/f: benchmark\ng/other: benchmark\n'; exit 0; fi
for title; do :; done
folder="$CRITERION_HOME/$title/new"
mkdir -p "$folder"
value=$(awk -v seed="$(od -An -N4 -tu4 /dev/urandom)" 'BEGIN {{ srand(seed); printf "%.6f", {level} * (1 + {noise} * (rand() - 0.5)) }}')
total=$(awk -v v="$value" 'BEGIN {{ printf "%.6f", v * 1000 }}')
group=${{title%%/*}}; function=${{title#*/}}
printf '{{"group_id":"%s","function_id":"%s","value_str":null,"throughput":null,"full_id":"%s","directory_name":"%s","title":"%s"}}' "$group" "$function" "$title" "$title" "$title" > "$folder/benchmark.json"
printf '{{"sampling_mode":"Flat","iters":[1000.0,1000.0,1000.0],"times":[%s,%s,%s]}}' "$total" "$total" "$total" > "$folder/sample.json"
point='{{"confidence_interval":{{"confidence_level":0.95,"lower_bound":%s,"upper_bound":%s}},"point_estimate":%s,"standard_error":0.0}}'
estimate=$(printf "$point" "$value" "$value" "$value")
printf '{{"mean":%s,"median":%s,"median_abs_dev":%s,"slope":null,"std_dev":%s}}' "$estimate" "$estimate" "$estimate" "$estimate" > "$folder/estimates.json"
printf '[%s,%s,%s,%s]' "$value" "$value" "$value" "$value" > "$folder/tukey.json"
"#
    );
    write(folder, name, &script)
}

fn write(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn promptc(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
        command.env_remove(name);
    }
    command.env("PROMPTC_HISTORY", folder.join("history")).args(args).current_dir(folder).output().unwrap()
}

/// Standard output of a command that must end with `code`.
fn ends(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = promptc(folder, args);
    let shown =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{shown}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn pair(folder: &Path, code: i32, base: &Path, cand: &Path, more: &[&str]) -> String {
    let sides = ["--base-exe", base.to_str().unwrap(), "--cand-exe", cand.to_str().unwrap()];
    let args: Vec<&str> = ["bench", "pair"]
        .into_iter()
        .chain(sides)
        .chain(["--format", "csv"])
        .chain(more.iter().copied())
        .collect();
    ends(folder, code, &args)
}

fn gate() -> String {
    format!("{}/../../queries/gates/paired.sql", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_slower_build_is_a_regression_for_the_verb_and_for_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let base = bench(folder.path(), "base", 100.0, 0.02);
    let slow = bench(folder.path(), "slow", 112.0, 0.02);
    let shown = pair(folder.path(), 3, &base, &slow, &["--filter", "g/f"]);
    let line = shown.lines().find(|line| line.starts_with("g/f")).unwrap();
    let change: f64 = line.split(',').nth(1).unwrap().parse().unwrap();
    assert!((change - 12.0).abs() < 1.5 && line.contains("regression"), "{shown}");
    let decided = ends(folder.path(), 3, &["gate", &gate(), "--run", "latest"]);
    assert!(decided.contains("regression"), "{decided}");
    ends(folder.path(), 3, &["gate", &gate(), "--run", "latest", "--store-failures=kept"]);
    let kept: Vec<_> = std::fs::read_dir(folder.path().join("kept")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    // The other way round it is an improvement, which stops nobody.
    let shown = pair(folder.path(), 0, &slow, &base, &["--filter", "g/f"]);
    assert!(shown.contains("improvement"), "{shown}");
    ends(folder.path(), 0, &["gate", &gate(), "--run", "latest"]);
}

#[test]
fn equal_code_is_not_measured_and_equal_times_are_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let base = bench(folder.path(), "base", 100.0, 0.02);
    let shown = pair(folder.path(), 0, &base, &base, &[]);
    assert_eq!(shown.matches("unchanged code").count(), 2, "{shown}");
    let other = bench(folder.path(), "other", 100.0, 0.02);
    let shown = pair(folder.path(), 0, &base, &other, &[]);
    assert_eq!(shown.matches("no_change").count(), 2, "{shown}");
}

#[test]
fn what_noise_hides_is_undecided_and_says_what_it_would_take() {
    let folder = tempfile::tempdir().unwrap();
    let base = bench(folder.path(), "base", 100.0, 1.2);
    let other = bench(folder.path(), "other", 100.0, 1.2);
    let few = ["--filter", "g/f", "--pairs", "8", "--max-pairs", "8"];
    let shown = pair(folder.path(), 5, &base, &other, &few);
    assert!(shown.contains("cannot_tell") && shown.contains("pairs in all would decide"), "{shown}");
    let lenient: Vec<&str> = few.into_iter().chain(["--undecided-ok"]).collect();
    pair(folder.path(), 0, &base, &other, &lenient);
}

#[test]
fn a_bench_that_fails_is_named_and_never_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    let base = bench(folder.path(), "base", 100.0, 0.02);
    let script =
        "#!/bin/sh\nif [ \"$2\" = --list ]; then echo 'g/f: benchmark'; exit 0; fi\necho boom >&2; exit 7\n";
    let broken = write(folder.path(), "broken", script);
    let shown = pair(folder.path(), 4, &base, &broken, &[]);
    assert!(shown.contains("boom"), "{shown}");
    let mute =
        write(folder.path(), "mute", "#!/bin/sh\nif [ \"$2\" = --list ]; then echo 'g/f: benchmark'; fi\n");
    assert!(pair(folder.path(), 4, &base, &mute, &[]).contains("only benchmarks that criterion measures"));
    let absent = folder.path().join("absent");
    pair(folder.path(), 4, &base, &absent, &[]);
}

#[test]
fn one_build_against_itself_raises_no_alarm_and_finds_what_is_injected() {
    let folder = tempfile::tempdir().unwrap();
    let base = bench(folder.path(), "base", 100.0, 0.04);
    let args = ["bench", "aa", "--exe", base.to_str().unwrap(), "--runs", "2", "--inject", "1.10"];
    let args: Vec<&str> = args.into_iter().chain(["--format", "csv"]).collect();
    let shown = ends(folder.path(), 0, &args);
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert_eq!(line("as it is"), "as it is,2,0,4,0,0,4,0");
    assert_eq!(line("x 1.10"), "x 1.10,2,2,4,4,0,0,0");
    let kept = "SELECT purpose, verdict, count(*) AS n FROM verdicts WHERE bench_id IS NOT NULL \
                GROUP BY purpose, verdict ORDER BY purpose";
    let kept = ends(folder.path(), 0, &["query", "-c", kept, "--format", "csv"]);
    assert!(kept.contains("aa,no_change,4") && kept.contains("power,regression,4"), "{kept}");
}

/// A bench that knows slices: it leaves `slice` in criterion's folder, with `$value` as it was measured.
fn slice_bench(folder: &Path, name: &str, level: f64, slice: &str) -> PathBuf {
    bench(folder, name, level, 0.02);
    let path = folder.join(name);
    let script = std::fs::read_to_string(&path).unwrap();
    let more = format!(
        "[ -n \"$PROMPTC_BENCH_SLICE\" ] && printf '{slice}' \"$value\" > \"$CRITERION_HOME/slice.json\"\n"
    );
    write(folder, name, &format!("{script}{more}"))
}

#[test]
fn a_bench_that_measures_its_processor_is_judged_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let slice = r#"{"clock":"cpu","measurements":[]}"#;
    let base = slice_bench(folder.path(), "base", 100.0, slice);
    let slow = slice_bench(folder.path(), "slow", 120.0, slice);
    pair(folder.path(), 3, &base, &slow, &["--filter", "g/f"]);
    let kept = "SELECT DISTINCT r.metric, v.metric FROM results r JOIN verdicts v ON v.bench_id = r.bench_id";
    let kept = ends(folder.path(), 0, &["query", "-c", kept, "--format", "csv"]);
    assert!(kept.contains("cpu_ns,cpu_ns"), "{kept}");
    // Another clock is another quantity: there is no ratio.
    let other = bench(folder.path(), "other", 100.0, 0.02);
    let shown = pair(folder.path(), 4, &base, &other, &["--filter", "g/f"]);
    assert!(shown.contains("one side measures cpu_ns, the other wall_ns"), "{shown}");
}

/// Columns of the build in the environment of the only run, with whether a question without a run is about it.
fn recorded_build(folder: &Path) -> String {
    let sql = "SELECT e.opt_level, e.lto, e.rustflags, e.rustc_version, array_to_string(e.features, '+') AS features, \
               e.allocator, bool_and(r.env_id = this_env()) AS is_here \
               FROM environments e JOIN results r ON r.env_id = e.env_id GROUP BY ALL";
    let shown = ends(folder, 0, &["query", "-c", sql, "--format", "csv"]);
    shown.lines().nth(1).unwrap().to_owned()
}

/// How the command itself was built says nothing about a bench.
#[test]
fn the_build_that_is_recorded_is_the_benches() {
    let silent = tempfile::tempdir().unwrap();
    let base = bench(silent.path(), "base", 100.0, 0.02);
    let other = bench(silent.path(), "other", 100.0, 0.02);
    pair(silent.path(), 0, &base, &other, &["--filter", "g/f"]);
    assert_eq!(recorded_build(silent.path()), ",,,,unknown,,true");
    let slice = |level: &str| {
        format!(
            r#"{{"clock":"wall","measurements":[],"build":{{"opt_level":"{level}","lto":"fat","features":["a","b"]}}}}"#
        )
    };
    for (cand_level, expected) in [("3", "3,fat,,,a+b,,true"), ("2", ",fat,,,a+b,,true")] {
        let folder = tempfile::tempdir().unwrap();
        let base = slice_bench(folder.path(), "base", 100.0, &slice("3"));
        let cand = slice_bench(folder.path(), "cand", 100.0, &slice(cand_level));
        pair(folder.path(), 0, &base, &cand, &["--filter", "g/f"]);
        assert_eq!(recorded_build(folder.path()), expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let base = slice_bench(folder.path(), "base", 100.0, &slice("3"));
    let args = ["bench", "aa", "--exe", base.to_str().unwrap(), "--filter", "g/f"];
    ends(folder.path(), 0, &args);
    assert_eq!(recorded_build(folder.path()), "3,fat,,,a+b,,true");
    let folder = tempfile::tempdir().unwrap();
    let base = bench(folder.path(), "base", 100.0, 0.02);
    ends(folder.path(), 0, &["bench", "run", "g/f", "--exe", base.to_str().unwrap()]);
    assert_eq!(recorded_build(folder.path()), ",,,,unknown,,true");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("h.json"), r#"{"results":[{"command":"x","times":[0.5,0.6]}]}"#)
        .unwrap();
    ends(folder.path(), 0, &["bench", "ingest", "--from", "hyperfine", "h.json"]);
    assert_eq!(recorded_build(folder.path()), ",,,,unknown,,true");
}

#[test]
fn what_a_bench_measures_without_criterion_is_judged_in_its_own_direction() {
    let folder = tempfile::tempdir().unwrap();
    let measured = r#"{"title":"g/f","metric":"throughput","unit":"1/s","direction":1,"values":[%s]}"#;
    let slice = format!(r#"{{"clock":"wall","measurements":[{measured}]}}"#);
    let base = slice_bench(folder.path(), "base", 100.0, &slice);
    let slow = slice_bench(folder.path(), "slow", 80.0, &slice);
    let shown = pair(folder.path(), 3, &base, &slow, &["--filter", "g/f"]);
    assert!(shown.contains("regression"), "{shown}");
    ends(folder.path(), 3, &["gate", &gate(), "--run", "latest"]);
    let broken = slice_bench(folder.path(), "broken", 100.0, "{");
    let shown = pair(folder.path(), 4, &base, &broken, &["--filter", "g/f"]);
    assert!(shown.contains("slice.json"), "{shown}");
}

#[test]
fn the_current_build_is_measured_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let exe = bench(folder.path(), "sums", 100.0, 0.02);
    let exe = exe.to_str().unwrap();
    // The script measures the benchmark that its last argument names, as criterion does with an exact filter.
    ends(folder.path(), 0, &["bench", "run", "g/f", "--exe", exe]);
    let kept = "SELECT suite, bench_id, side, status FROM results";
    let kept = ends(folder.path(), 0, &["query", "-c", kept, "--format", "csv"]);
    assert!(kept.contains("sums,g/f,solo,ok"), "{kept}");
    ends(folder.path(), 2, &["bench", "run", "nothing_of_this_name", "--exe", exe]);
    let broken = "#!/bin/sh\nif [ \"$2\" = --list ]; then echo 'g/f: benchmark'; exit 0; fi\nexit 7\n";
    let broken = write(folder.path(), "broken", broken);
    ends(folder.path(), 4, &["bench", "run", "--exe", broken.to_str().unwrap()]);
}
