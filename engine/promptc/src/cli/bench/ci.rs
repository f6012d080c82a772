//! `promptc bench ci`: a workflow that measures pull requests.

use std::path::{Path, PathBuf};

use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::store::medium;

use crate::cli::Outcome;
use crate::cli::history::repository;
use crate::exit::Exit;

/// Where code hosts look for it.
const FILE: &str = ".github/workflows/bench.yml";

/// How this project builds the program that measures it.
const OWN_INSTALL: &str = "cargo install --locked --path engine/promptc";

/// What stands in for an installation that nobody named.
const NO_INSTALL: &str =
    "command -v promptc || { echo 'install promptc on this runner, or write this step' >&2; exit 1; }";

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench ci
  promptc bench ci --write
  promptc bench ci --write --install 'cargo install --locked --path tools/promptc' -- --bench kernels")]
pub(super) struct CiArgs {
    /// Write the file instead of printing it
    #[arg(long)]
    write: bool,
    /// Replace a file that is there
    #[arg(long, requires = "write")]
    force: bool,
    /// Root of the repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Command that installs promptc on the runner
    #[arg(long, value_name = "COMMAND")]
    install: Option<String>,
    /// Arguments for `cargo bench --no-run`
    #[arg(last = true)]
    cargo: Vec<String>,
}

pub(super) fn ci(args: &CiArgs) -> Outcome {
    let text = workflow(args)?;
    if !args.write {
        print!("{text}");
        return Ok(Exit::Ok);
    }
    let path = args.project.join(FILE);
    if path.exists() && !args.force {
        let message = format!("{} is there already; `--force` replaces it", path.display());
        return Err(EngineError::Unknown(message));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|source| EngineError::Program { path: folder.to_path_buf(), source })?;
    medium::replace(&path, text.as_bytes()).map_err(promptc_engine::store_errors::medium)?;
    println!("{}", path.display());
    Ok(Exit::Ok)
}

/// The file. Names of branches come through the environment, so that a branch cannot write commands.
fn workflow(args: &CiArgs) -> Result<String, EngineError> {
    let is_own = repository(&args.project).is_some();
    let default = if is_own { OWN_INSTALL } else { NO_INSTALL };
    let install = args.install.as_deref().unwrap_or(default);
    if install.contains(['\n', '\r']) {
        return Err(EngineError::Unknown("--install takes one line".to_owned()));
    }
    let cargo: Vec<String> = args.cargo.iter().map(|word| quoted(word)).collect();
    let cargo = if cargo.is_empty() { String::new() } else { format!(" -- {}", cargo.join(" ")) };
    Ok(TEMPLATE.replace("{install}", install).replace("{cargo}", &cargo))
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./,:+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

const TEMPLATE: &str = r#"# Written by `promptc bench ci --write`. Measures a pull request against the commit that it left the base branch at:
# both builds in turn on the same machine, so that the runner's speed does not matter.
name: bench
on:
  pull_request:
permissions:
  contents: read
concurrency:
  group: bench-${{ github.ref }}
  cancel-in-progress: true
jobs:
  bench:
    runs-on: ubuntu-latest
    timeout-minutes: 180
    env:
      PROMPTC_HISTORY: ${{ github.workspace }}/target/bench-history
      BASE_BRANCH: ${{ github.base_ref }}
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0
      - name: Install promptc
        run: |
          {install}
      - name: Measure both builds
        # 3 says that something got worse; the gates below decide.
        run: |
          base=$(git merge-base "origin/$BASE_BRANCH" HEAD)
          promptc bench pair "$base" HEAD --undecided-ok{cargo} || [ $? -eq 3 ]
      - name: Decide
        run: promptc gate --all --run latest --undecided-ok
      - name: Report
        if: ${{ !cancelled() }}
        run: |
          mkdir -p target/bench-report
          promptc bench report --format markdown >> "$GITHUB_STEP_SUMMARY"
          promptc bench report --out target/bench-report/report.html
          promptc bench report --format junit --out target/bench-report/junit.xml
          promptc bench report --format sarif --out target/bench-report/bench.sarif
      - name: Keep the report and the history
        if: ${{ !cancelled() }}
        uses: actions/upload-artifact@v4
        with:
          name: bench
          path: |
            target/bench-report
            target/bench-history
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_stay_one_word() {
        assert_eq!(quoted("--bench=kernels"), "--bench=kernels");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("$(rm)"), "'$(rm)'");
        assert_eq!(quoted(""), "''");
    }
}
