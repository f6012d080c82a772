//! What can be known of how a bench was built, by whoever only builds and starts it.
//!
//! | from | what |
//! |---|---|
//! | the bench itself, in `slice.json` | everything that its build burnt in |
//! | cargo's message about it | optimisation, features |
//! | the executable | the compiler |
//! | variables and files that cargo takes flags from | flags and processor, where only one of them can have decided |
//! | `Cargo.lock` | its hash |
//!
//! The rest stays none. How this program was built says nothing about the bench.

use std::path::{Path, PathBuf};

use promptc_store::history::BuildInfo;
use serde_json::Value;

/// Longest `Cargo.lock` that is hashed, in bytes: thousands of packages have a megabyte.
const LOCK_BYTES_MAX: u64 = 64 << 20;

/// What cargo says of an artifact, and what surrounds the package in `folder` that was built with `arguments`.
pub(super) fn of_artifact(message: &Value, folder: &Path, arguments: &[String]) -> BuildInfo {
    let names = |list: &Vec<Value>| list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let rustflags = rustflags(arguments, &|name| std::env::var(name).ok(), &config_files(folder));
    BuildInfo {
        opt_level: message["profile"]["opt_level"].as_str().map(str::to_owned),
        features: message["features"].as_array().map(names),
        target_cpu: rustflags.as_deref().map(target_cpu),
        rustflags,
        cargo_lock_hash: lock_hash(folder),
        ..BuildInfo::default()
    }
}

/// The flags that cargo hands to the compiler. Those of the environment go before every file; without them none of the files may
/// speak of flags, since which of its sections applies is cargo's affair.
fn rustflags(
    arguments: &[String],
    variable: &dyn Fn(&str) -> Option<String>,
    files: &[PathBuf],
) -> Option<String> {
    if arguments.iter().any(|argument| argument == "--config" || argument.starts_with("--config=")) {
        return None;
    }
    if let Some(flags) = variable("CARGO_ENCODED_RUSTFLAGS") {
        return Some(flags.replace('\u{1f}', " "));
    }
    if let Some(flags) = variable("RUSTFLAGS") {
        return Some(flags);
    }
    let is_silent = |path: &PathBuf| match std::fs::read_to_string(path) {
        Ok(text) => !["flags", "include"].iter().any(|word| text.contains(word)),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    (variable("CARGO_BUILD_RUSTFLAGS").is_none() && files.iter().all(is_silent)).then(String::new)
}

fn target_cpu(flags: &str) -> String {
    let last = flags.rsplit_once("target-cpu=").map(|(_, rest)| rest.split(' ').next().unwrap_or(rest));
    last.unwrap_or("generic").to_owned()
}

/// Files that cargo reads for a package in `folder`, whether they are there or not.
fn config_files(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let folders = folder.ancestors().map(|above| above.join(".cargo")).chain(home);
    folders.flat_map(|folder| ["config.toml", "config"].map(|name| folder.join(name))).collect()
}

/// blake3 of the nearest `Cargo.lock` above a package.
fn lock_hash(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let path = folder.ancestors().map(|above| above.join("Cargo.lock")).find(|path| path.is_file())?;
    let is_small = path.metadata().is_ok_and(|found| found.len() <= LOCK_BYTES_MAX);
    let bytes = is_small.then(|| std::fs::read(&path).ok()).flatten()?;
    Some(blake3::hash(&bytes).to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_known_only_where_one_place_decides() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let silent = file("silent.toml", "[net]\noffline = true\n");
        let speaks = file("speaks.toml", "[build]\nrustflags = [\"-C\", \"target-cpu=native\"]\n");
        let absent = folder.path().join("absent.toml");
        let no_variable = |_: &str| None;
        let with = |name: &'static str, value: &'static str| {
            move |asked: &str| (asked == name).then(|| value.to_owned())
        };
        let files = [silent.clone(), absent];
        assert_eq!(rustflags(&[], &no_variable, &files), Some(String::new()));
        assert_eq!(rustflags(&[], &no_variable, &[silent, speaks.clone()]), None);
        let env = with("RUSTFLAGS", "-C target-cpu=native");
        assert_eq!(rustflags(&[], &env, &[speaks]), Some("-C target-cpu=native".to_owned()));
        let encoded = with("CARGO_ENCODED_RUSTFLAGS", "-C\u{1f}opt-level=2");
        assert_eq!(rustflags(&[], &encoded, &files), Some("-C opt-level=2".to_owned()));
        assert_eq!(rustflags(&[], &with("CARGO_BUILD_RUSTFLAGS", "-g"), &files), None);
        assert_eq!(rustflags(&["--config".to_owned(), "x".to_owned()], &env, &files), None);
        assert_eq!(
            [target_cpu("-C target-cpu=native -g"), target_cpu("-g")],
            ["native".to_owned(), "generic".to_owned()]
        );
    }

    #[test]
    fn cargo_tells_optimisation_and_features() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Cargo.lock"), "version = 4\n").unwrap();
        let package = folder.path().join("member");
        std::fs::create_dir(&package).unwrap();
        let message = serde_json::json!({"profile": {"opt_level": "3"}, "features": ["fast", "default"]});
        let found = of_artifact(&message, &package, &[]);
        assert_eq!(found.opt_level.as_deref(), Some("3"));
        assert_eq!(found.features, Some(vec!["fast".to_owned(), "default".to_owned()]));
        assert_eq!(found.cargo_lock_hash, Some(blake3::hash(b"version = 4\n").to_hex().to_string()));
        assert_eq!((found.rustc_version, found.lto, found.allocator), (None, None, None));
        assert_eq!(of_artifact(&Value::Null, &package, &[]).features, None);
    }
}
