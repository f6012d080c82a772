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
        "2",
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
    assert_eq!(shown.lines().count(), 1 + (3 + 3 * 2) * 2 * 2, "{shown}");
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
    assert_eq!(checked, (3 + 2 * 2) * 2);
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
