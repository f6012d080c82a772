//! Commits of a project as folders, so that two of them can be built side by side.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::fault;
use crate::error::EngineError;

/// A commit in a folder of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// 40 hexadecimal digits.
    pub sha: String,
    /// The folder.
    pub folder: PathBuf,
}

impl Checkout {
    /// The target folder of all commits of the repository.
    pub(super) fn target_folder(&self) -> PathBuf {
        self.folder.with_file_name("build")
    }

    /// Gives every file of the commit the time of now.
    pub(super) fn touch(&self) -> Result<(), EngineError> {
        let now = SystemTime::now();
        for name in git(&self.folder, &["ls-files", "-z"])?.split('\0').filter(|name| !name.is_empty()) {
            let path = self.folder.join(name);
            // Links and submodules have no time that cargo looks at.
            if path.symlink_metadata().is_ok_and(|found| found.is_file()) {
                let touched =
                    File::options().append(true).open(&path).and_then(|file| file.set_modified(now));
                touched.map_err(|source| EngineError::Program { path, source })?;
            }
        }
        Ok(())
    }
}

/// Puts `commit` of the repository at `project` into `target/pair/<sha>`, a git worktree that stays for the next time.
///
/// # Errors
/// No repository, or a commit that is not in it.
pub fn checkout(project: &Path, commit: &str) -> Result<Checkout, EngineError> {
    if commit.starts_with('-') {
        return Err(fault(format!("`{commit}` is no commit")));
    }
    let sha = git(project, &["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")]).map_err(
        |_| {
            let project = project.display();
            fault(format!(
                "`{commit}` is no commit of {project}; a clone may have been made without the older ones"
            ))
        },
    )?;
    let root = PathBuf::from(git(project, &["rev-parse", "--show-toplevel"])?);
    let folder = root.join("target").join("pair").join(&sha);
    if !folder.join(".git").exists() {
        // A folder that was removed by hand is still known to git.
        git(&root, &["worktree", "prune"])?;
        git(&root, &["worktree", "add", "--detach", "--quiet", &folder.to_string_lossy(), &sha])?;
    }
    Ok(Checkout { sha, folder })
}

/// Commits after `good` up to `bad` along first parents, oldest first.
///
/// # Errors
/// `good` is no first-parent ancestor of `bad`, or the same commit.
pub fn first_parents(project: &Path, good: &str, bad: &str) -> Result<Vec<String>, EngineError> {
    let line = git(project, &["rev-list", "--first-parent", "--reverse", bad])?;
    let line: Vec<&str> = line.lines().collect();
    let commits = line.iter().position(|sha| *sha == good).map(|place| &line[place + 1..]);
    match commits {
        Some(commits) if !commits.is_empty() => Ok(commits.iter().map(|sha| (*sha).to_owned()).collect()),
        _ => Err(fault(format!("{good} is not before {bad} on its line of first parents"))),
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, EngineError> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| fault(format!("git: {error}")))?;
    if !output.status.success() {
        let what = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(fault(format!("git {}: {what}", arguments[0])));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_becomes_a_folder_and_a_wrong_name_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| git(folder.path(), arguments).unwrap();
        run(&["init", "--quiet"]);
        std::fs::write(folder.path().join("a.txt"), "one").unwrap();
        run(&["add", "a.txt"]);
        let name = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one"];
        run(&name);
        std::fs::write(folder.path().join("a.txt"), "two").unwrap();
        let found = checkout(folder.path(), "HEAD").unwrap();
        let file = found.folder.join("a.txt");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
        let old = SystemTime::UNIX_EPOCH;
        File::options().append(true).open(&file).unwrap().set_modified(old).unwrap();
        found.touch().unwrap();
        assert!(std::fs::metadata(&file).unwrap().modified().unwrap() > old);
        assert_eq!(checkout(folder.path(), "HEAD").unwrap(), found);
        let error = checkout(folder.path(), "nowhere").unwrap_err().to_string();
        assert!(error.contains("`nowhere` is no commit"), "{error}");
        assert!(checkout(folder.path(), "--all").is_err());
        let good = found.sha.clone();
        assert!(first_parents(folder.path(), &good, &good).is_err());
        run(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-am", "two"]);
        let bad = run(&["rev-parse", "HEAD"]);
        assert_eq!(first_parents(folder.path(), &good, &bad).unwrap(), [bad.as_str()]);
        assert!(first_parents(folder.path(), &bad, &good).is_err());
    }
}
