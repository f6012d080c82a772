//! `promptc bench report`: what a run measured, as a page, a comment, test results, scan results or a dashboard.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use promptc_engine::error::EngineError;
use promptc_engine::store::medium;

use crate::cli::history::{Place, find_run, repository, session_of};
use crate::cli::{Color, Common, Outcome};
use crate::exit::Exit;
use crate::report::data::ReportData;
use crate::report::{html, junit, markdown, sarif, terminal};

pub(in crate::cli) mod decided;
pub(in crate::cli) mod gather;

use gather::Gather;

/// Columns of a dashboard that no terminal shows.
const WIDTH_DEFAULT: usize = 80;

/// Time between two dashboards of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench report
  promptc bench report --run 01JD3X --out report.html
  promptc bench report --format markdown > comment.md
  promptc bench report --watch")]
pub(super) struct ReportArgs {
    /// The run: its id, the beginning of it, `latest` or `latest~1`
    #[arg(long, value_name = "ID", default_value = "latest")]
    run: String,
    /// File to write. Default: for html `benches/reports/RUN.html` in this project's repository, else `promptc-report-RUN.html`
    /// here; other formats go to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What is written
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    format: ReportFormat,
    /// Show the dashboard and redraw it until Ctrl-C
    #[arg(long, conflicts_with_all = ["out", "format"])]
    watch: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    Html,
    Markdown,
    Junit,
    Sarif,
    Terminal,
}

pub(super) fn report(args: &ReportArgs, common: &Common) -> Outcome {
    let runtime = common.runtime()?;
    if args.watch {
        return runtime.block_on(watch(args, common));
    }
    let data = runtime.block_on(gathered(args, common))?;
    let text = match args.format {
        ReportFormat::Html => html(&data),
        ReportFormat::Markdown => markdown(&data),
        ReportFormat::Junit => junit(&data),
        ReportFormat::Sarif => sarif(&data),
        ReportFormat::Terminal => dashboard(&data, common, args.out.is_some()),
    };
    let page = || default_page(Path::new("."), &data.run.id);
    let out = args.out.clone().or_else(|| (args.format == ReportFormat::Html).then(page));
    match out {
        Some(path) => {
            write(&path, &text)?;
            eprintln!("run {}: {} bytes written", data.run.id, text.len());
            println!("{}", path.display());
        }
        None => print!("{text}"),
    }
    Ok(Exit::Ok)
}

async fn gathered(args: &ReportArgs, common: &Common) -> Result<ReportData, EngineError> {
    let here = Path::new(".");
    let histories = args.place.read(here, common)?;
    let (run_id, env_id) = find_run(&session_of(&histories, Some(""), here)?, Some(&args.run), "").await?;
    let session = session_of(&histories, Some(&env_id), here)?;
    Gather::new(&session, &run_id).report(here).await
}

async fn watch(args: &ReportArgs, common: &Common) -> Outcome {
    let is_screen = std::io::stdout().is_terminal();
    loop {
        let data = gathered(args, common).await?;
        let text = dashboard(&data, common, false);
        // Home, the new picture, and nothing beside or below it: no flicker.
        let lines = || text.replace('\n', "\u{1b}[K\n");
        let picture = if is_screen { format!("\u{1b}[H{}\u{1b}[J", lines()) } else { text.clone() };
        let mut out = std::io::stdout().lock();
        let written = out.write_all(picture.as_bytes()).and_then(|()| out.flush());
        drop(out);
        written.map_err(|source| EngineError::Program { path: PathBuf::from("standard output"), source })?;
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
        }
    }
}

fn dashboard(data: &ReportData, common: &Common, is_file: bool) -> String {
    let is_screen = !is_file && std::io::stdout().is_terminal();
    let width = match terminal_size::terminal_size() {
        Some((width, _)) if is_screen => usize::from(width.0),
        _ => WIDTH_DEFAULT,
    };
    let is_coloured = match common.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_screen && std::env::var_os("NO_COLOR").is_none(),
    };
    terminal(data, width, is_coloured)
}

/// Beside the benches in this project's repository, else here.
fn default_page(folder: &Path, run_id: &str) -> PathBuf {
    match repository(folder) {
        Some(root) => root.join("benches/reports").join(format!("{run_id}.html")),
        None => PathBuf::from(format!("./promptc-report-{run_id}.html")),
    }
}

fn write(path: &Path, text: &str) -> Result<(), EngineError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|source| EngineError::Program { path: folder.to_path_buf(), source })?;
    }
    medium::replace(path, text.as_bytes()).map_err(promptc_engine::store_errors::medium)?;
    Ok(())
}
