//! Executables of benches: building them with cargo, and what they hold.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use promptc_store::history::{BuildInfo, code_hash, rustc_version};
use serde_json::Value;

use super::built::of_artifact;
use super::fault;
use super::worktree::Checkout;
use crate::error::EngineError;
use crate::store_errors;

/// What criterion prints behind the title of a benchmark under `--list`.
const BENCHMARK: &str = ": benchmark";

/// A built bench target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// Name of the bench target.
    pub target: String,
    /// The file.
    pub path: PathBuf,
    /// Folder of its package: where cargo would start it.
    pub folder: PathBuf,
    /// Hash of its code without debug sections.
    pub code_hash: String,
    /// What is known of how it was built.
    pub build: BuildInfo,
}

impl Executable {
    /// An executable that is already there. Of its build only the compiler is known, if it left its name.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(target: &str, path: &Path, folder: &Path) -> Result<Self, EngineError> {
        let path = path.canonicalize().map_err(|error| fault(format!("{}: {error}", path.display())))?;
        let code_hash = code_hash(&path).map_err(store_errors::history)?;
        let rustc_version = rustc_version(&path).map_err(store_errors::history)?;
        let build = BuildInfo { rustc_version, ..BuildInfo::default() };
        Ok(Self { target: target.to_owned(), path, folder: folder.to_path_buf(), code_hash, build })
    }
}

/// Builds the benches of the project in `folder` with `cargo bench --no-run` and `arguments` (as `--bench kernels`), and gives those
/// that were built, by name. cargo's own messages go to standard error.
///
/// # Errors
/// cargo is not there, the project does not build, or it has no bench.
pub fn build(folder: &Path, arguments: &[String]) -> Result<Vec<Executable>, EngineError> {
    built(folder, arguments, None)
}

/// [`build`] for a commit. All commits share one target folder, so that their dependencies are compiled once.
///
/// cargo names the artifacts of two checkouts alike and tells them apart by the times of their files; so every file of the commit is
/// given the time of now before it is built, and the executables are copied away before the next commit overwrites them.
///
/// # Errors
/// As [`build`]; a folder that cannot be written.
pub fn build_commit(commit: &Checkout, arguments: &[String]) -> Result<Vec<Executable>, EngineError> {
    commit.touch()?;
    let copies = commit.folder.with_extension("bin");
    let io = |source| EngineError::Program { path: copies.clone(), source };
    std::fs::create_dir_all(&copies).map_err(io)?;
    let mut found = built(&commit.folder, arguments, Some(&commit.target_folder()))?;
    for executable in &mut found {
        let copy = copies.join(&executable.target);
        std::fs::copy(&executable.path, &copy).map_err(io)?;
        executable.path = copy;
    }
    Ok(found)
}

fn built(
    folder: &Path,
    arguments: &[String],
    target_folder: Option<&Path>,
) -> Result<Vec<Executable>, EngineError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    if let Some(target_folder) = target_folder {
        command.env("CARGO_TARGET_DIR", target_folder);
    }
    let output = command
        .current_dir(folder)
        .args(["bench", "--no-run", "--message-format", "json-render-diagnostics"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| fault(format!("cargo bench in {}: {error}", folder.display())))?;
    if !output.status.success() {
        return Err(fault(format!("the benches of {} do not build", folder.display())));
    }
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let kinds = message["target"]["kind"].as_array();
        let is_bench = kinds.is_some_and(|kinds| kinds.contains(&"bench".into()));
        let (Some(path), true) = (message["executable"].as_str(), is_bench) else { continue };
        let target = message["target"]["name"].as_str().unwrap_or_default();
        let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
        let package = manifest.parent().unwrap_or(folder);
        let mut executable = Executable::open(target, Path::new(path), package)?;
        executable.build = executable.build.or(&of_artifact(&message, package, arguments));
        found.push(executable);
    }
    found.sort_by(|left, right| left.target.cmp(&right.target));
    if found.is_empty() {
        return Err(fault(format!("{} has no bench target", folder.display())));
    }
    Ok(found)
}

/// Titles of the benchmarks in an executable that contain `filter`, in its order.
///
/// # Errors
/// An executable that does not start or does not know `--list`.
pub fn titles(executable: &Executable, filter: Option<&str>) -> Result<Vec<String>, EngineError> {
    let output = Command::new(&executable.path)
        .current_dir(&executable.folder)
        .args(["--bench", "--list"])
        .output()
        .map_err(|error| fault(format!("{}: {error}", executable.path.display())))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let what = said.lines().next().map_or_else(|| output.status.to_string(), str::to_owned);
        let path = executable.path.display();
        return Err(fault(format!("{path} does not list its benchmarks with `--bench --list`: {what}")));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let titles = listed.lines().filter_map(|line| line.strip_suffix(BENCHMARK));
    Ok(titles.filter(|title| filter.is_none_or(|filter| title.contains(filter))).map(str::to_owned).collect())
}
