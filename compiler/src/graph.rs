//! The graph: one node per operator, acyclic, in topological order.
//!
//! Labels (names of flows) are beside the fingerprint, never in it. [`Graph::nodes`] is ordered so that inputs come before
//! their users.

use serde::Serialize;

use crate::op::Op;
use crate::source::Span;
use crate::types::Column;

#[cfg(test)]
pub(crate) mod test_graphs;

/// Index of a node in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct NodeId(pub u32);

/// How an operator relates rows to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// One row in, one row out, by that row alone.
    RowWise,
    /// One row in, any number out, by that row alone.
    Expanding,
    /// Needs the whole stream.
    Blocking,
    /// Gives an artifact, not rows.
    Artifact,
    /// Has an outside effect.
    Sink,
}

/// What running an operator depends on or does, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the language reference")]
pub enum Effect {
    Pure,
    Seeded,
    External,
    Sink,
}

/// One operator of the program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Its place in the graph.
    pub id: NodeId,
    /// What it does.
    #[serde(flatten)]
    pub op: Op,
    /// What it reads: the stream first.
    pub inputs: Vec<NodeId>,
    /// Columns of its rows, hidden keys included; empty for artifacts and sinks.
    pub schema: Vec<Column>,
    /// Names of the columns that identify a row; empty: unkeyed.
    pub key: Vec<String>,
    /// Rows to rows.
    pub class: Class,
    /// Strongest effect of the operator itself.
    pub effect: Effect,
    /// Version of the operator's algorithm.
    pub version: u32,
    /// Where it is shown: `corpus.docs/3 compress`, first one first. Not in the fingerprint.
    pub labels: Vec<String>,
    /// Where it is written.
    #[serde(skip)]
    pub span: Span,
}

/// A program as operators.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Graph {
    /// In topological order.
    pub nodes: Vec<Node>,
    /// Named streams, `source` or `pipeline.flow`, split parts `source.train`; in order of declaration.
    pub streams: Vec<(String, NodeId)>,
    /// Named artifacts: indexes and fitted embedders.
    pub artifacts: Vec<(String, NodeId)>,
    /// Write nodes in order of declaration, named `pipeline/path`.
    pub outputs: Vec<(String, NodeId)>,
}

impl Graph {
    /// The node of an id of this graph.
    ///
    /// # Panics
    /// If the id is of another graph.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node of a named stream.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<NodeId> {
        self.streams.iter().find(|(stream, _)| stream == name).map(|(_, id)| *id)
    }
}
