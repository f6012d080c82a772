//! `promptc stress`: nothing acknowledged is lost, built-in faults are found, figures reach the history.

use std::path::Path;
use std::process::{Command, Output};

fn promptc(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
        command.env_remove(name);
    }
    command.args(args).current_dir(folder);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// 50 cycles when long tests are asked for, else a few.
fn cycles() -> &'static str {
    if std::env::var_os("PROMPTC_LONG").is_some() { "50" } else { "5" }
}

#[test]
fn killed_writers_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["stress", "crash", "--cycles", cycles(), "--seed", "11", "--dir", "stores", "--history", "kept"];
    let output = promptc(folder.path(), &args);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{shown}{said}");
    let figure = |name: &str| -> f64 {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{shown}"));
        line.trim_start_matches(name).split_whitespace().next().unwrap().parse().unwrap()
    };
    assert_eq!((figure("lost"), figure("half batches")), (0.0, 0.0), "{shown}");
    assert!(figure("acknowledged writes") > 0.0, "{shown}");
    assert_eq!(std::fs::read_dir(folder.path().join("stores")).unwrap().count(), 0, "stores are removed");
    let query = "SELECT metric, value FROM results WHERE suite = 'reliability' ORDER BY metric";
    let asked = promptc(folder.path(), &["query", "--history", "kept", "-c", query, "--format", "csv"]);
    let rows = text(&asked.stdout);
    assert!(rows.contains("lost_count,0") && rows.contains("recovery_ns"), "{rows}{}", text(&asked.stderr));
}

#[test]
fn built_in_faults_are_found_and_the_store_is_kept() {
    for control in ["early", "unlogged", "split"] {
        let folder = tempfile::tempdir().unwrap();
        let args =
            ["stress", "crash", "--cycles", "30", "--seed", "3", "--control", control, "--dir", "stores"];
        let output = promptc(folder.path(), &args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{control}: {said}");
        assert!(said.contains("of seed 3") && said.contains("stores/store-"), "{control}: {said}");
        assert!(std::fs::read_dir(folder.path().join("stores")).unwrap().count() > 0, "{control}");
    }
}

#[test]
fn storage_is_measured_and_recorded_with_its_durability() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "stress",
        "storage",
        "--records",
        "400",
        "--clients",
        "1,3",
        "--durability",
        "group_commit,none",
        "--value-bytes",
        "200",
        "--seconds",
        "1",
        "--open-loop",
        "50",
        "--format",
        "csv",
        "--history",
        "kept",
    ];
    let output = promptc(folder.path(), &args);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(shown.starts_with("workload,durability,clients,loop,records_per_second,p50_us"), "{shown}");
    assert_eq!(shown.lines().count(), 1 + (4 + 7 * 2) * 2 * 2, "{shown}");
    let run = said.split("recorded as run ").nth(1).unwrap_or_else(|| panic!("{said}"));
    let run = run.split(' ').next().unwrap();
    let parameter = format!("run={run}");
    let args = ["query", "storage_stress", "-p", &parameter, "--history", "kept", "--format", "csv"];
    let asked = promptc(folder.path(), &args);
    let rows = text(&asked.stdout);
    assert_eq!(rows.lines().count(), shown.lines().count(), "{rows}{}", text(&asked.stderr));
    assert!(rows.contains("group_commit") && rows.contains("none"), "{rows}");
    // Rate times latency is the number of clients, where calls follow each other.
    let mut checked = 0;
    for line in rows.lines().skip(1).filter(|line| line.contains("closed")) {
        let fields: Vec<&str> = line.split(',').collect();
        let (implied, clients): (f64, f64) = (fields[5].parse().unwrap(), fields[6].parse().unwrap());
        if !line.contains("mixed") {
            assert!((0.3..1.3).contains(&(implied / clients)), "{line}");
            checked += 1;
        }
    }
    assert_eq!(checked, (4 + 6 * 2) * 2);
}

#[test]
fn values_are_cut_from_files_and_a_run_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let words: String = (0..4_000).map(|number| format!("{{\"word\": \"{number:x}\"}}\n")).collect();
    std::fs::write(folder.path().join("words.jsonl"), words).unwrap();
    let args = [
        "stress",
        "storage",
        "--records",
        "300",
        "--clients",
        "1",
        "--durability",
        "wal",
        "--values",
        "words.jsonl",
    ];
    let output =
        promptc(folder.path(), &[&args[..], &["--workload", "delete_compact", "--no-record"]].concat());
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(shown.contains("delete_compact"), "{shown}");
    let late = ["--total-seconds", "1", "--seconds", "2", "--clients", "1,2", "--no-record"];
    let output = promptc(folder.path(), &[&args[..4], &late[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let args = [&args[..], &["--value-bytes", "9000000", "--no-record"]].concat();
    let output = promptc(folder.path(), &args);
    assert!(text(&output.stderr).contains("expected more than 9000000"), "{}", text(&output.stderr));
}

/// What a run with hazards shows, or why there was none here.
fn figures(args: &[&str]) -> Option<(i32, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let output = promptc(folder.path(), args);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    if let Some(line) = shown.lines().find(|line| line.starts_with("skipped")) {
        eprintln!("{line}");
        return None;
    }
    Some((output.status.code().unwrap(), shown, said))
}

/// `PROMPTC_TEST_CUTS=200` is the long form.
#[test]
fn a_cut_of_the_power_takes_nothing_that_was_acknowledged_as_synced() {
    let cuts = std::env::var("PROMPTC_TEST_CUTS").unwrap_or("4".into());
    let args = ["stress", "crash", "--power-cut", "--cycles", &cuts, "--seed", "5", "--history", "kept"];
    let Some((code, shown, said)) = figures(&args) else { return };
    assert_eq!(code, 0, "{shown}{said}");
    assert!(shown.contains("lost                 0\n") && shown.contains("torn sectors"), "{shown}");
    println!("{shown}");
    // The same writes, left in the page cache: some of them must be gone.
    let args = [
        "stress",
        "crash",
        "--power-cut",
        "--cycles",
        "50",
        "--seed",
        "5",
        "--control",
        "unsynced",
        "--dir",
        "stores",
    ];
    let (code, shown, said) = figures(&args).expect("what was allowed once is allowed again");
    assert_eq!(code, 3, "the cuts cut nothing: {shown}{said}");
}

#[test]
fn a_load_with_faults_is_compared_in_the_end() {
    let args = [
        "stress",
        "storage",
        "--records",
        "200",
        "--clients",
        "1",
        "--durability",
        "wal",
        "--workload",
        "mixed",
    ];
    let args = [&args[..], &["--faults", "--cycles", "2", "--history", "kept"]].concat();
    let Some((code, shown, said)) = figures(&args) else { return };
    assert_eq!(code, 0, "{shown}{said}");
    assert!(
        shown.contains("hazard               kill_9") && shown.contains("hazard               disk_full"),
        "{shown}"
    );
    assert_eq!(shown.matches("lost                 0\n").count(), 2, "{shown}");
    println!("{shown}");
}

#[test]
fn an_absent_db_bench_is_named_with_its_package() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["stress", "storage", "--against", "db_bench", "--records", "300", "--pairs", "1"];
    let output = command(folder.path(), &args).env("PATH", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("rocksdb-tools"), "{}", text(&output.stderr));
    let is_here = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join("db_bench").is_file());
    if !is_here {
        return;
    }
    let args = [&args[..], &["--history", "kept", "--format", "csv"]].concat();
    let output = promptc(folder.path(), &args);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for load in ["single_write", "batch_100", "point_read_cold", "range_100", "synced_write/64_writers"] {
        assert!(shown.lines().any(|line| line.starts_with(&format!("{load},1,"))), "{shown}");
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "x").unwrap();
    for verb in ["crash", "storage"] {
        let output = promptc(folder.path(), &["stress", verb, "--dir", "."]);
        assert_eq!(output.status.code(), Some(4), "{verb}");
        assert!(text(&output.stderr).contains("not empty"), "{verb}: {}", text(&output.stderr));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn verbs_that_are_not_there_say_so_with_a_code() {
    for args in
        [["compile", "--prompts", "1000000"], ["serve", "--clients", "1000"], ["soak", "--minutes", "30"]]
    {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_promptc"))
            .arg("stress")
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("E2002"), "{said}");
        assert!(said.contains(&format!("`stress {}`", args[0])), "{said}");
    }
}
