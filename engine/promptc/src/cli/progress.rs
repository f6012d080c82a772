//! Progress of a run on standard error: a line that moves on a terminal, lines or JSON lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use promptc_engine::context::{Event, Events};

use super::{Common, Progress};

/// Listens to a run and shows it.
#[derive(Debug)]
pub(super) enum Listener {
    /// Moves one line.
    Bar(ProgressBar),
    /// One line per finished stage.
    Lines,
    /// One JSON object per event.
    Json,
    /// Warnings only.
    Quiet,
}

/// The listener that the flags and the terminal ask for.
pub(super) fn listener(common: &Common) -> Arc<Listener> {
    Arc::new(match common.progress {
        Progress::None => Listener::Quiet,
        Progress::Json => Listener::Json,
        Progress::Auto if std::io::stderr().is_terminal() => {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            Listener::Bar(bar)
        }
        Progress::Auto => Listener::Lines,
    })
}

impl Listener {
    /// Whether every step may be said: on a terminal each replaces the last.
    pub(super) fn moves(&self) -> bool {
        matches!(self, Listener::Bar(_) | Listener::Json)
    }

    /// Says where the work is.
    pub(super) fn say(&self, message: &str) {
        match self {
            Listener::Bar(bar) => bar.set_message(message.to_owned()),
            Listener::Lines => eprintln!("{message}"),
            Listener::Json => eprintln!("{}", serde_json::json!({"event": "progress", "message": message})),
            Listener::Quiet => {}
        }
    }

    /// Clears what moves.
    pub(super) fn finish(&self) {
        if let Listener::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Events for Listener {
    fn event(&self, event: Event) {
        match (self, event) {
            (Listener::Json, event) => {
                if let Ok(line) = serde_json::to_string(&event) {
                    eprintln!("{line}");
                }
            }
            (Listener::Bar(bar), Event::StageStarted { name, number, total }) => {
                bar.set_message(format!("[{number}/{total}] {name}"));
            }
            (Listener::Bar(bar), Event::Rows { name, rows }) => {
                bar.set_message(format!("{name}: {rows} rows"))
            }
            (Listener::Bar(bar), Event::Warning { code, message }) => {
                bar.suspend(|| eprintln!("warning[{code}]: {message}"));
            }
            (Listener::Lines, Event::StageFinished { name, rows, elapsed_ms, .. }) => {
                eprintln!("{name}: {rows} rows in {elapsed_ms} ms");
            }
            (Listener::Lines | Listener::Quiet, Event::Warning { code, message }) => {
                eprintln!("warning[{code}]: {message}");
            }
            _ => {}
        }
    }
}
