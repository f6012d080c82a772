//! The operators of a bench: what its run is computed from, with the measured rows in place of the source.
//!
//! ```text
//! source --[split part]--[where]--[sample]--[limit]--> whatever read the source, up to the run
//! ```
//!
//! Other parts of a split keep reading the whole source. Nothing is added to the program's own graph.

use std::collections::{BTreeMap, BTreeSet};

use super::Data;
use crate::check::context::{Context, StreamKey};
use crate::graph::{Class, Effect, Graph, Node, NodeId};
use crate::hir;
use crate::op::{self, Op};
use crate::source::Span;

/// Seed of `sample` in a bench: every repetition and every commit measures the same rows.
const SAMPLE_SEED: u64 = 0;

/// Which of the rows of `data` are measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Restriction {
    /// `where`.
    pub(super) condition: Option<op::Expr>,
    /// `sample`.
    pub(super) share: Option<f64>,
    /// `limit`.
    pub(super) rows: Option<u64>,
}

/// Where the new operators are said to be.
pub(super) struct Place<'a> {
    /// Name of the bench.
    pub(super) bench: &'a str,
    /// Its declaration.
    pub(super) span: Span,
}

/// The graph of a bench's run. `None` where an error stands in the way.
pub(super) fn measured(
    ctx: &Context<'_>,
    place: &Place<'_>,
    run: NodeId,
    data: &Data,
    restriction: Restriction,
) -> Option<hir::Measured> {
    let source = ctx.streams.get(&StreamKey { declaration: data.declaration?, part: None })?.node?;
    let data_node = data.stream.node?;
    let mut nodes: Vec<Node> = ctx.graph.nodes.clone();
    let replaced = BTreeSet::from([source, data_node]);
    let added = restrict(&nodes, place, data_node, restriction);
    let last = added.last().map_or(data_node, |node| node.id);
    for node in &mut nodes {
        let is_part = node.inputs == [source] && matches!(node.op, Op::SplitPart { .. });
        if !is_part {
            node.inputs.iter_mut().filter(|input| replaced.contains(input)).for_each(|input| *input = last);
        }
    }
    // Parts of a split directly follow their source, so what reads either comes after both.
    let at = data_node.0 as usize + 1;
    nodes.splice(at..at, added);
    let run = if replaced.contains(&run) { last } else { run };
    let names = &ctx.graph;
    Some(cut(&nodes, [&names.streams, &names.artifacts], run, last))
}

/// The operators of `where`, `sample` and `limit`, one after the other.
fn restrict(nodes: &[Node], place: &Place<'_>, data: NodeId, restriction: Restriction) -> Vec<Node> {
    let Restriction { condition, share, rows } = restriction;
    let ops = [
        condition.map(|condition| (Op::Filter { condition }, "where", Class::RowWise, Effect::Pure)),
        share.map(|share| {
            let op = Op::Sample { share: Some(share), rows: None, seed: SAMPLE_SEED };
            (op, "sample", Class::RowWise, Effect::Seeded)
        }),
        rows.map(|rows| (Op::Limit { rows }, "limit", Class::Blocking, Effect::Pure)),
    ];
    let rows = &nodes[data.0 as usize];
    let mut added: Vec<Node> = Vec::new();
    for (op, field, class, effect) in ops.into_iter().flatten() {
        let input = added.last().map_or(data, |node| node.id);
        added.push(Node {
            id: NodeId((nodes.len() + added.len()) as u32),
            op,
            inputs: vec![input],
            schema: rows.schema.clone(),
            key: rows.key.clone(),
            class,
            effect,
            version: 1,
            labels: vec![format!("{}/{field}", place.bench)],
            span: place.span,
        });
    }
    added
}

/// The nodes that `run` and `data` need, in the given order and numbered anew.
fn cut(nodes: &[Node], names: [&Vec<(String, NodeId)>; 2], run: NodeId, data: NodeId) -> hir::Measured {
    let by_id: BTreeMap<NodeId, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let mut needed = BTreeSet::new();
    let mut open = vec![run, data];
    while let Some(id) = open.pop() {
        if needed.insert(id) {
            open.extend(by_id[&id].inputs.iter().copied());
        }
    }
    let kept: Vec<&Node> = nodes.iter().filter(|node| needed.contains(&node.id)).collect();
    let new: BTreeMap<NodeId, NodeId> =
        kept.iter().enumerate().map(|(idx, node)| (node.id, NodeId(idx as u32))).collect();
    let renumbered = kept.iter().map(|node| Node {
        id: new[&node.id],
        inputs: node.inputs.iter().map(|input| new[input]).collect(),
        ..(*node).clone()
    });
    let [streams, artifacts] = names.map(|names| {
        let found = names.iter().filter_map(|(name, id)| Some((name.clone(), *new.get(id)?)));
        found.collect::<Vec<_>>()
    });
    let graph = Graph { nodes: renumbered.collect(), streams, artifacts, outputs: Vec::new() };
    hir::Measured { graph, run: new[&run], data: new[&data] }
}
