//! The canonical order of a graph: topological, ties by fingerprint, names sorted.

use std::collections::BTreeSet;

use crate::graph::{Graph, NodeId};
use crate::types::Fp;

/// The same graph, roots and fingerprints in canonical order, so that the order of declarations leaves no trace. Nodes of equal fingerprint
/// (scans of files that have not been read, repeated writes) are ordered by their labels.
pub(super) fn canonical(graph: &Graph, roots: &[NodeId], fps: &[Fp]) -> (Graph, Vec<NodeId>, Vec<Fp>) {
    let mut graph = graph.clone();
    graph.nodes.iter_mut().for_each(|node| node.labels.sort());
    let mut waits: Vec<usize> = graph.nodes.iter().map(|node| node.inputs.len()).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for node in &graph.nodes {
        node.inputs.iter().for_each(|input| users[input.0 as usize].push(node.id.0 as usize));
    }
    let place = |idx: usize| (fps[idx], &graph.nodes[idx].labels, idx);
    let mut ready: BTreeSet<_> = (0..waits.len()).filter(|idx| waits[*idx] == 0).map(place).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some((_, _, idx)) = ready.pop_first() {
        order.push(idx);
        for user in &users[idx] {
            waits[*user] -= 1;
            if waits[*user] == 0 {
                ready.insert(place(*user));
            }
        }
    }

    let mut ids = vec![NodeId(0); order.len()];
    order.iter().enumerate().for_each(|(new, old)| ids[*old] = NodeId(new as u32));
    let new = |id: &NodeId| ids[id.0 as usize];
    let mut nodes: Vec<_> = order.iter().map(|idx| graph.nodes[*idx].clone()).collect();
    for (idx, node) in nodes.iter_mut().enumerate() {
        node.id = NodeId(idx as u32);
        node.inputs.iter_mut().for_each(|input| *input = new(input));
    }
    graph.nodes = nodes;
    for names in [&mut graph.streams, &mut graph.artifacts, &mut graph.outputs] {
        names.iter_mut().for_each(|(_, id)| *id = new(id));
        names.sort();
    }
    let roots: BTreeSet<NodeId> = roots.iter().map(new).collect();
    (graph, roots.into_iter().collect(), order.iter().map(|idx| fps[*idx]).collect())
}
