//! State of a work tree, asked of the `git` command.

use std::path::Path;
use std::process::{Command, Stdio};

use super::rows::GitState;

/// What the commit is called where there is none.
const UNKNOWN: &str = "unknown";
/// Branches that count as the main one, in the order tried.
const MAIN_BRANCHES: [&str; 3] = ["refs/heads/main", "refs/heads/master", "refs/remotes/origin/HEAD"];

/// State of the work tree that holds `dir`. Outside a repository, before the first commit or without `git` the commit is
/// `unknown` and nothing else is said. Untracked files do not make a tree dirty.
///
/// Cost: about ten processes, some 30 ms; the position on the main line walks that line once.
#[must_use]
pub fn git_state(dir: &Path) -> GitState {
    let Some(sha) = ask(dir, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]) else {
        return GitState { sha: UNKNOWN.to_owned(), ..GitState::default() };
    };
    let seconds = ask(dir, &["show", "-s", "--format=%ct", &sha]).and_then(|text| text.parse::<i64>().ok());
    GitState {
        parent: ask(dir, &["rev-parse", "--verify", "--quiet", "HEAD^1"]),
        branch: ask(dir, &["symbolic-ref", "--short", "--quiet", "HEAD"]).unwrap_or_default(),
        tag: ask(dir, &["describe", "--tags", "--exact-match", "HEAD"]),
        commit_time: seconds.unwrap_or(0).saturating_mul(1_000_000),
        commit_seq: position(dir, &sha),
        dirty: answer(dir, &["status", "--porcelain", "--untracked-files=no"])
            .is_none_or(|text| !text.is_empty()),
        sha,
    }
}

/// Number of first-parent ancestors of `sha` if it is on the first-parent line of the main branch. A shallow clone does not
/// know it.
fn position(dir: &Path, sha: &str) -> Option<u32> {
    if ask(dir, &["rev-parse", "--is-shallow-repository"])? != "false" {
        return None;
    }
    MAIN_BRANCHES.iter().find_map(|branch| {
        let line = ask(dir, &["rev-list", "--first-parent", "--end-of-options", branch])?;
        let commits: Vec<&str> = line.lines().collect();
        let newer_count = commits.iter().position(|commit| *commit == sha)?;
        u32::try_from(commits.len() - 1 - newer_count).ok()
    })
}

/// The trimmed answer of git; none if it fails or says nothing.
fn ask(dir: &Path, arguments: &[&str]) -> Option<String> {
    answer(dir, arguments).filter(|text| !text.is_empty())
}

/// The trimmed answer of git, which may be empty; none if it fails.
fn answer(dir: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn git(dir: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let mut command = Command::new("git");
        // A repository that encloses the temporary folder, and the user's settings, are none of this test's business.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        let output = command.arg("-C").arg(dir).args(identity).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(dir: &Path, text: &str) {
        fs::write(dir.join("file"), text).unwrap();
        git(dir, &["add", "file"]);
        git(dir, &["commit", "-q", "-m", text]);
    }

    #[test]
    fn a_folder_outside_any_repository_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let state = git_state(dir.path());
        assert_eq!(state, GitState { sha: UNKNOWN.into(), ..GitState::default() });
    }

    #[test]
    fn position_parent_tag_and_dirt_of_a_small_history() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q", "-b", "main"]);
        assert_eq!(git_state(dir.path()).sha, UNKNOWN);
        commit(dir.path(), "one");
        let first = git_state(dir.path());
        assert_eq!((first.commit_seq, first.parent, first.dirty), (Some(0), None, false));
        commit(dir.path(), "two");
        git(dir.path(), &["tag", "v1"]);
        fs::write(dir.path().join("untracked"), "x").unwrap();
        let second = git_state(dir.path());
        assert_eq!((second.commit_seq, second.parent, second.dirty), (Some(1), Some(first.sha), false));
        assert_eq!((second.tag.as_deref(), second.branch.as_str()), (Some("v1"), "main"));
        assert!(second.commit_time > 1_600_000_000_000_000);

        fs::write(dir.path().join("file"), "changed").unwrap();
        assert!(git_state(dir.path()).dirty);
        git(dir.path(), &["checkout", "-q", "-f", "-b", "side"]);
        commit(dir.path(), "three");
        let side = git_state(dir.path());
        assert_eq!((side.commit_seq, side.branch.as_str(), side.tag), (None, "side", None));
        git(dir.path(), &["checkout", "-q", "--detach", "main"]);
        let detached = git_state(dir.path());
        assert_eq!((detached.commit_seq, detached.branch.as_str()), (Some(1), ""));
    }
}
