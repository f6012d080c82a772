//! Rules over the graph: less work, the same rows.
//!
//! ```text
//! dead      nodes that no root needs                            are removed
//! duplicate nodes of equal fingerprint, also across pipelines   become one (so a column is embedded once)
//! filters   below row-wise and expanding operators              that do not make the columns they read
//! columns   text-heavy and unused                               are dropped after scans and before blocking operators;
//!           hits carry only the columns and the ranks that are used downstream
//! fuse      projections in a row                                become one
//! ```
//!
//! The rules run in this order until nothing changes, at most [`MAX_ROUNDS`] times. No rule changes a row of a root, nor
//! the order of its rows, nor its columns; whatever is not a root may lose rows and columns that no root needs, and
//! then loses its name too, so that nobody takes it for what the program says.
//!
//! # Decisions
//! Fingerprints are taken of the program's own nodes wherever a node still gives the same rows and columns
//! ([`Optimized::same_as`]). Else a new use of one column, or another choice of targets, would change what is dropped above an
//! index, hence its fingerprint, and build it again for nothing.
//!
//! Structural `compress` followed by `chunk` stays two nodes. Both are row-wise or expanding, so the engine runs them
//! batch by batch without writing anything between them; one node would save a copy of the text and cost an operator.

use std::collections::BTreeSet;

use crate::graph::{Graph, Node, NodeId};

pub(crate) mod columns;
mod dead;
mod duplicate;
mod fuse;
mod prune;
mod pushdown;

/// Bound on rounds; each rule moves or removes something for good, so real programs take two or three.
pub const MAX_ROUNDS: usize = 10;

/// What the rules work on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Work {
    /// The program so far.
    pub(crate) graph: Graph,
    /// Nodes whose rows and columns must stay as they are.
    pub(crate) roots: BTreeSet<NodeId>,
    /// For every node the node of the program that gives the same rows and columns, if there is one.
    pub(crate) same_as: Vec<Option<NodeId>>,
}

/// A graph after rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimized {
    /// In topological order.
    pub graph: Graph,
    /// The roots in it, in its order.
    pub roots: Vec<NodeId>,
    /// For every node the node of the graph before the rules that gives the same rows and columns, if there is one.
    pub same_as: Vec<Option<NodeId>>,
}

/// The graph that computes the roots with the least work the rules know of. Without roots the graph is empty.
/// Cost: linear in nodes times columns, per round.
#[must_use]
pub fn optimize(graph: &Graph, roots: &[NodeId]) -> Optimized {
    let mut work = Work::new(graph.clone(), roots);
    for _ in 0..MAX_ROUNDS {
        let before = work.clone();
        dead::remove(&mut work);
        duplicate::merge(&mut work);
        pushdown::filters(&mut work);
        prune::columns(&mut work);
        prune::hits(&mut work);
        fuse::projections(&mut work);
        if work == before {
            break;
        }
    }
    work.finish()
}

/// The graph with only what the roots need, and no other rule: the reference for [`optimize`].
#[must_use]
pub fn without_rules(graph: &Graph, roots: &[NodeId]) -> Optimized {
    let mut work = Work::new(graph.clone(), roots);
    dead::remove(&mut work);
    work.finish()
}

impl Work {
    pub(crate) fn new(graph: Graph, roots: &[NodeId]) -> Work {
        let same_as = graph.nodes.iter().map(|node| Some(node.id)).collect();
        Work { graph, roots: roots.iter().copied().collect(), same_as }
    }

    fn finish(self) -> Optimized {
        Optimized { graph: self.graph, roots: self.roots.into_iter().collect(), same_as: self.same_as }
    }

    /// Nodes that read a node, in order, without repetition.
    fn users(&self, id: NodeId) -> Vec<NodeId> {
        let nodes = self.graph.nodes.iter();
        nodes.filter(|node| node.inputs.contains(&id)).map(|node| node.id).collect()
    }

    /// Replaces every node by the one that stands for it: itself, an earlier one, or none. Ids are given anew.
    ///
    /// # Panics
    /// If a kept node reads a removed one, which no rule does.
    fn replace(&mut self, stands_for: &[Option<NodeId>]) {
        let mut ids: Vec<Option<NodeId>> = Vec::with_capacity(stands_for.len());
        let mut next = 0;
        for (idx, target) in stands_for.iter().enumerate() {
            ids.push(match target {
                Some(id) if id.0 as usize == idx => {
                    next += 1;
                    Some(NodeId(next - 1))
                }
                Some(id) => ids[id.0 as usize],
                None => None,
            });
        }
        let new = |id: &NodeId| ids[id.0 as usize];
        let mut nodes: Vec<Node> = Vec::with_capacity(next as usize);
        let mut same_as: Vec<Option<NodeId>> = Vec::with_capacity(next as usize);
        for (idx, mut node) in std::mem::take(&mut self.graph.nodes).into_iter().enumerate() {
            let Some(id) = ids[idx] else { continue };
            if stands_for[idx] == Some(NodeId(idx as u32)) {
                node.id = id;
                for input in &mut node.inputs {
                    *input = new(input).expect("invariant: inputs of kept nodes are kept");
                }
                nodes.push(node);
                same_as.push(self.same_as[idx]);
            } else {
                let first = &mut nodes[id.0 as usize];
                same_as[id.0 as usize] = same_as[id.0 as usize].or(self.same_as[idx]);
                for label in node.labels {
                    if !first.labels.contains(&label) {
                        first.labels.push(label);
                    }
                }
            }
        }
        self.graph.nodes = nodes;
        self.same_as = same_as;
        self.rename_ids(&new);
    }

    /// Puts a node between a node and all who read it; the node itself keeps its names and its place as a root.
    fn insert_after(&mut self, id: NodeId, mut inserted: Node) {
        let at = id.0 + 1;
        let new = |old: &NodeId| Some(if old.0 < at { *old } else { NodeId(old.0 + 1) });
        for node in &mut self.graph.nodes {
            for input in &mut node.inputs {
                *input = if *input == id { NodeId(at) } else { new(input).unwrap_or(*input) };
            }
            node.id = new(&node.id).unwrap_or(node.id);
        }
        inserted.id = NodeId(at);
        inserted.inputs = vec![id];
        self.graph.nodes.insert(at as usize, inserted);
        self.same_as.insert(at as usize, None);
        self.rename_ids(&new);
    }

    fn rename_ids(&mut self, new: &dyn Fn(&NodeId) -> Option<NodeId>) {
        for names in [&mut self.graph.streams, &mut self.graph.artifacts, &mut self.graph.outputs] {
            names.retain_mut(|(_, id)| new(id).map(|new| *id = new).is_some());
        }
        self.roots = self.roots.iter().filter_map(new).collect();
    }

    /// Notes that a node's rows or columns are no longer what the program says, which takes its names off it.
    fn unname(&mut self, id: NodeId) {
        self.same_as[id.0 as usize] = None;
        self.graph.streams.retain(|(_, named)| *named != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Class;
    use crate::graph::test_graphs::*;
    use crate::op::Op;

    #[test]
    fn the_rules_work_together() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "title", "text", "notes"]);
        let chunks = builder.chunk(docs, "text", "text");
        let kept = builder.filter(chunks, equals("title", "a"));
        let again = builder.chunk(docs, "text", "text");
        let also_kept = builder.filter(again, equals("title", "a"));
        let columns = ["id", "text", "chunk"].map(|name| (name.to_owned(), name.to_owned())).to_vec();
        let out = builder.node(Op::Project { columns }, &[kept], &["id", "text", "chunk"], Class::RowWise);
        builder.limit(also_kept, 9);
        let write = builder.write(out, "out.jsonl");

        let Optimized { graph, roots, same_as } = optimize(&builder.graph, &[write]);
        assert_eq!(same_as, [Some(docs), None, None, None, Some(out), Some(write)]);
        assert_eq!(roots, [NodeId(5)]);
        assert_eq!(op_names(&graph), ["scan", "project", "filter", "chunk", "project", "write"]);
        assert_eq!(column_names(&graph, NodeId(1)), ["id", "title", "text"]);
        assert_eq!(column_names(&graph, NodeId(4)), ["id", "text", "chunk"]);
        assert_eq!(graph.outputs, [("p/out.jsonl".to_owned(), NodeId(5))]);
        for (idx, node) in graph.nodes.iter().enumerate() {
            assert_eq!(node.id.0 as usize, idx);
            assert!(node.inputs.iter().all(|input| *input < node.id), "inputs come first");
        }
        assert_eq!(optimize(&graph, &roots).graph, graph, "a second time changes nothing");
    }
}
