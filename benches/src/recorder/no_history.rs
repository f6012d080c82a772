//! Built without the feature `history`: criterion's files are all that remains of a run.

use super::Recorder;

/// Nothing is watched that nobody would read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe;

impl Probe {
    pub(super) fn begin() -> Self {
        Self
    }
}

/// Says so.
pub(super) fn write(recorder: &Recorder) -> Result<String, String> {
    let seconds = recorder.started.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64());
    let Probe = recorder.probe;
    let way = match &recorder.criterion {
        Some(folder) => {
            format!("`promptc bench ingest {}` records what criterion measured", folder.display())
        }
        None => format!("{} rows are lost", recorder.measurements.len()),
    };
    Ok(format!("not recorded: built without the feature `history`; {way}; took {seconds:.1} s"))
}
