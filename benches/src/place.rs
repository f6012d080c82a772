//! Where the project lies, found when a bench runs.
//!
//! Not burnt in: an absolute path inside the executable would make two checkouts of the same code differ in their code hash.

use std::path::PathBuf;

/// The folder of the workspace: the parent of the package as cargo names it when it runs a bench; otherwise the nearest folder above the
/// working folder that holds `benches/bench.toml`; otherwise the working folder.
#[must_use]
pub fn root() -> PathBuf {
    let is_root = |folder: &PathBuf| folder.join("benches/bench.toml").is_file();
    let of_cargo = std::env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|package| Some(PathBuf::from(package).parent()?.to_path_buf()));
    let working = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let above = || working.ancestors().map(PathBuf::from).find(is_root);
    of_cargo.filter(is_root).or_else(above).unwrap_or(working)
}

/// The folder into which criterion writes: `CRITERION_HOME`, or `criterion` in the target folder. Given to criterion, so that it and the
/// recorder never look in two places.
#[must_use]
pub fn criterion_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let root = root();
    match (variable("CRITERION_HOME"), variable("CARGO_TARGET_DIR")) {
        (Some(home), _) => root.join(home),
        (None, Some(target)) => root.join(target).join("criterion"),
        (None, None) => root.join("target/criterion"),
    }
}

/// The folder of the history: `PROMPTC_HISTORY`, or `benches/results`.
#[must_use]
pub fn history_folder() -> PathBuf {
    let named = std::env::var_os("PROMPTC_HISTORY").filter(|name| !name.is_empty());
    named.map_or_else(|| root().join("benches/results"), |name| root().join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_run_in_the_workspace() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
