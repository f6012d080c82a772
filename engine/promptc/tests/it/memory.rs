//! A small control group: queries over four times its memory end, or end with a name; the kernel kills nobody.
//!
//! Needs a control group of version 1 or 2 that this user may make, and says so where there is none. Short here;
//! `PROMPTC_TEST_MEMORY=512` takes a group of so many MiB.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// MiB of the group without `PROMPTC_TEST_MEMORY`.
const GROUP_MIB: u64 = 256;
/// The data is so many times as large.
const TIMES: u64 = 4;
/// Bytes of a row of the data, a few of them a number.
const ROW_BYTES: u64 = 1_024;

/// A control group with a limit, removed when it is dropped.
struct Group {
    folder: PathBuf,
    /// Of version 2.
    is_unified: bool,
}

impl Group {
    fn make(bytes: u64) -> Result<Self, String> {
        let name = format!("promptc-test-{}-{bytes}", std::process::id());
        let mut reasons = Vec::new();
        for (root, limit, is_unified) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", false),
            ("/sys/fs/cgroup", "memory.max", true),
        ] {
            let folder = Path::new(root).join(&name);
            if let Err(error) = fs::create_dir(&folder) {
                reasons.push(format!("{root}: {error}"));
                continue;
            }
            let group = Self { folder, is_unified };
            match fs::write(group.folder.join(limit), bytes.to_string()) {
                Ok(()) => return Ok(group),
                Err(error) => reasons.push(format!("{root}/{limit}: {error}")),
            }
        }
        Err(reasons.join("; "))
    }

    /// Runs a program inside.
    fn run(&self, program: &str, folder: &Path, args: &[&str], set: &[(&str, &str)]) -> Output {
        // The shell enters the group and becomes the program.
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.folder.display());
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MALLOC_")) {
            command.env_remove(name);
        }
        command.envs(set.iter().copied());
        command.args(["-c", &script, program]).args(args).current_dir(folder).output().unwrap()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    fn kills(&self) -> u64 {
        let text = self.read(if self.is_unified { "memory.events" } else { "memory.oom_control" });
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.unwrap_or("0").trim().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty as soon as its last process is gone.
        let _ = fs::remove_dir(&self.folder);
    }
}

fn group_bytes() -> u64 {
    let mib = std::env::var("PROMPTC_TEST_MEMORY").map_or(GROUP_MIB, |mib| mib.parse().unwrap());
    mib << 20
}

fn program() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"edition 2026
source asks : stream<{ qid: text, question: text }> = jsonl("asks.jsonl") { key = qid }
pipeline pack {
  asks |> filter(question != "") -> kept
}
"#;
    fs::write(folder.path().join("small.promptc"), text).unwrap();
    fs::write(folder.path().join("asks.jsonl"), "{\"qid\": \"a\", \"question\": \"b\"}\n").unwrap();
    folder
}

#[test]
fn a_sort_and_a_join_of_four_times_the_memory_end_without_a_kill() {
    let bytes = group_bytes();
    let group = match Group::make(bytes) {
        Ok(group) => group,
        Err(reason) => return eprintln!("skipped: no control group for memory here ({reason})"),
    };
    let folder = program();
    let promptc = env!("CARGO_BIN_EXE_promptc");
    let rows = TIMES * bytes / ROW_BYTES;
    let wide = format!(
        "SELECT CAST(value * 7919 % 10000019 AS VARCHAR) || repeat('x', 1016) AS text FROM generate_series(1, {rows})"
    );
    let sort = format!("SELECT max(text) FROM (SELECT text FROM ({wide}) ORDER BY text OFFSET 5)");
    let join = format!("SELECT count(*), max(a.text) FROM ({wide}) a JOIN ({wide}) b ON a.text = b.text");
    for (name, sql) in [("sort", &sort), ("join", &join)] {
        let output = group.run(promptc, folder.path(), &["query", "small.promptc", "-c", sql], &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        let peak = group.read(if group.is_unified { "memory.peak" } else { "memory.max_usage_in_bytes" });
        let peak = peak.trim();
        println!("{name} of {rows} rows in {bytes} bytes: {:?}, peak {peak}", output.status.code());
        assert_eq!(group.kills(), 0, "{name}: the kernel killed it; {said}");
        let is_named = output.status.code() == Some(4) && said.contains("Resources exhausted");
        assert!(output.status.success() || is_named, "{name}: {:?} {said}", output.status);
    }
    let lost = [("lost_count", "count", 0.0)];
    crate::reliability_rows::record("memory_cap/512_mib", &[("bytes", bytes)], &lost);
    // The control: with the allocator as it is by itself, the same sort does not fit.
    let set = [("MALLOC_ARENA_MAX", "16")];
    group.run(promptc, folder.path(), &["query", "small.promptc", "-c", &sort], &set);
    assert!(group.kills() > 0, "the group is larger than it should be");
}

#[test]
fn a_group_kills_what_takes_more_than_it_has() {
    let Ok(group) = Group::make(16 << 20) else {
        return eprintln!("skipped: no control group for memory here");
    };
    // The control: without bounds a process of so many bytes does not end well here.
    let output = group.run(
        "sh",
        Path::new("/"),
        &["-c", "head -c 67108864 /dev/zero | tail -c 67108864 | wc -c"],
        &[],
    );
    assert!(group.kills() > 0, "{:?} {}", output.status, String::from_utf8_lossy(&output.stdout));
}
