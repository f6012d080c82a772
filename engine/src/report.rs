//! What a run did, node by node: the proof that only what changed was computed.

use serde::Serialize;

use crate::context::BadRow;

/// What happened to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Its result was there: nothing ran.
    Reused,
    /// It ran; rows that were known came from the cache.
    Ran,
}

/// One node of a run. `reused + computed == rows` wherever rows are counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeReport {
    /// Its name in the plan.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// What happened.
    pub state: NodeState,
    /// Rows that it gave: of a stream those in its file, of an operator those that passed through.
    pub rows: u64,
    /// Rows that are as before: from the cache, or equal to those of the last build.
    pub reused: u64,
    /// Rows that were computed, or are new or different.
    pub computed: u64,
    /// Rows of the last build that are gone.
    pub deleted: u64,
    /// Time in milliseconds; of operators inside a stream the time of their threads.
    pub elapsed_ms: f64,
    /// Whether it is a stage (a stream, artifact or output) rather than an operator inside one.
    pub is_stage: bool,
}

/// A whole run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunReport {
    /// Nodes in the order in which they ran.
    pub nodes: Vec<NodeReport>,
    /// Outputs: path, rows, whether the file changed.
    pub outputs: Vec<OutputReport>,
    /// Rows that were left out.
    pub quarantined: u64,
    /// The first of them.
    pub quarantine: Vec<BadRow>,
    /// Warnings of the run as (code, message).
    pub warnings: Vec<(String, String)>,
    /// What was learned, as (name, what).
    pub learned: Vec<(String, String)>,
    /// Fingerprint of the plan.
    pub plan: String,
    /// Wall time in milliseconds.
    pub elapsed_ms: f64,
    /// Bytes of the sources.
    pub source_bytes: u64,
}

/// One output of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputReport {
    /// Where it is.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Whether it differs from before.
    pub changed: bool,
}

impl RunReport {
    /// Whether nothing had to be done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.nodes.iter().all(|node| node.state == NodeState::Reused)
    }
}
