//! A folder that is brought back to how it was, again and again, and what must hold in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{finish, said};

/// What a program does with its disk, and how to see that it is right.
pub(super) trait Scenario: Sync {
    /// Its name in messages.
    fn name(&self) -> &'static str;
    /// Brings an empty folder into the state that the fault meets.
    fn prepare(&self, folder: &Path);
    /// The command that is disturbed, and then run again.
    fn command(&self, folder: &Path) -> Command;
    /// What people see in the end: compared with that of an undisturbed command.
    fn results(&self, folder: &Path) -> BTreeMap<String, Vec<u8>>;
    /// Files that a command replaces: each is the old or the new one, whole, at any time.
    fn replaced(&self, folder: &Path) -> BTreeMap<String, Vec<u8>>;
    /// What was promised by the output of a command that ended in any way; in words what does not hold.
    fn acknowledged(&self, folder: &Path, output: &Output) -> Result<(), String>;
    /// What is wrong with the data after an undisturbed command, beside its results.
    fn damage(&self, folder: &Path) -> Result<(), String>;
    /// Whether the data is whole before the command: then a fault leaves it so.
    fn is_whole_before(&self) -> bool;
    /// Whether the command may end well all the same: a help to speed failed, or a panic was told as damage and healed.
    fn bears(&self, site: &str, action: &str) -> bool;
}

/// One scenario in one folder.
pub(super) struct Place<'a> {
    pub(super) scenario: &'a dyn Scenario,
    guard: tempfile::TempDir,
    before: BTreeMap<String, Vec<u8>>,
    replaced: BTreeMap<String, Vec<u8>>,
    expected: BTreeMap<String, Vec<u8>>,
    /// Sites that the undisturbed command reaches, with how often.
    pub(super) reached: BTreeMap<String, u64>,
    /// Calls on files that it makes.
    pub(super) calls: u64,
}

/// A fault as environment.
pub(super) type Fault<'a> = &'a [(&'a str, &'a str)];

/// How a disturbed command ended.
pub(super) struct Disturbed {
    pub(super) output: Output,
    /// Lines of the trace that tell of a fault.
    pub(super) failed: Vec<String>,
}

impl<'a> Place<'a> {
    /// Prepares the scenario once and runs it undisturbed. In memory where the system has such a folder: these faults do not
    /// depend on a disk, and syncs there cost nothing.
    pub(super) fn new(scenario: &'a dyn Scenario) -> Self {
        let memory = Path::new("/dev/shm");
        let guard = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let empty = BTreeMap::new();
        let (before, replaced, expected) = (empty.clone(), empty.clone(), empty);
        let mut place =
            Self { scenario, guard, before, replaced, expected, reached: BTreeMap::new(), calls: 0 };
        std::fs::create_dir(place.template()).unwrap();
        std::fs::create_dir(place.folder()).unwrap();
        scenario.prepare(&place.folder());
        copy(&place.folder(), &place.template());
        place.before = scenario.replaced(&place.folder());
        let done = place.disturb(&[]).unwrap();
        assert!(done.output.status.success(), "{}: {}", scenario.name(), said(&done.output));
        place.replaced = scenario.replaced(&place.folder());
        place.expected = scenario.results(&place.folder());
        place.acknowledge(&done.output).unwrap();
        scenario.damage(&place.folder()).unwrap();
        place
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.guard.path().join("work")
    }

    fn template(&self) -> PathBuf {
        self.guard.path().join("template")
    }

    /// The folder as prepared.
    pub(super) fn restore(&self) {
        std::fs::remove_dir_all(self.folder()).unwrap();
        std::fs::create_dir(self.folder()).unwrap();
        copy(&self.template(), &self.folder());
    }

    /// Runs the command with a fault.
    pub(super) fn disturb(&mut self, fault: Fault<'_>) -> Result<Disturbed, String> {
        let trace = self.guard.path().join("trace");
        let mut command = self.scenario.command(&self.folder());
        command.envs(fault.iter().copied()).env("FAILPOINTS_TRACE", &trace);
        let output = finish(command).ok_or("it hangs")?;
        let lines = std::fs::read_to_string(&trace).unwrap_or_default();
        let _ = std::fs::remove_file(&trace);
        let (failed, reached): (Vec<&str>, Vec<&str>) =
            lines.lines().partition(|line| line.starts_with("failed "));
        if fault.is_empty() {
            for line in reached {
                match line.starts_with("call ") {
                    true => self.calls += 1,
                    false => *self.reached.entry(line.to_owned()).or_default() += 1,
                }
            }
        }
        Ok(Disturbed { output, failed: failed.into_iter().map(str::to_owned).collect() })
    }

    fn acknowledge(&self, output: &Output) -> Result<(), String> {
        self.scenario.acknowledged(&self.folder(), output)
    }

    /// What must hold after a disturbed command, and after the next one that is not.
    pub(super) fn recover(&self, disturbed: &Output) -> Result<(), String> {
        for (name, bytes) in self.scenario.replaced(&self.folder()) {
            let is_old = self.before.get(&name) == Some(&bytes);
            if !is_old && self.replaced.get(&name) != Some(&bytes) {
                return Err(format!("`{name}` is neither the old nor the new one ({} bytes)", bytes.len()));
            }
        }
        self.acknowledge(disturbed)?;
        if self.scenario.is_whole_before() {
            self.scenario.damage(&self.folder()).map_err(|error| format!("left behind: {error}"))?;
        }
        let next = finish(self.scenario.command(&self.folder())).ok_or("the next run hangs")?;
        if !next.status.success() {
            return Err(format!("the next run fails: {}", said(&next)));
        }
        self.acknowledge(&next)?;
        let results = self.scenario.results(&self.folder());
        if let Some(name) = difference(&results, &self.expected) {
            return Err(format!("after the next run `{name}` is not as undisturbed"));
        }
        self.scenario.damage(&self.folder())?;
        match temporaries(&self.folder()).first() {
            Some(path) => Err(format!("{} stays behind", path.display())),
            None => Ok(()),
        }
    }
}

/// The first name whose bytes are not the same.
fn difference(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    let names = found.keys().chain(expected.keys());
    names.into_iter().find(|name| found.get(*name) != expected.get(*name)).cloned()
}

fn copy(from: &Path, to: &Path) {
    // With times: a file whose time changed counts as changed.
    let from = from.join(".");
    assert!(Command::new("cp").arg("-a").args([from.as_path(), to]).status().unwrap().success());
}

/// Hidden files of writers, and what is in folders of temporary files.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in files_below(folder) {
        let below = path.strip_prefix(folder).unwrap();
        let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if parts.iter().any(|part| part.contains(".tmp-") || part == "tmp") {
            found.push(path);
        }
    }
    found
}

/// All files below a folder.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
