//! From the typed program to the graph: a canonical order of nodes.
//!
//! `check` adds nodes in the order in which it needs them. Here they are put into topological order with ties by fingerprint, so
//! that the order of declarations leaves no trace.

use std::collections::{BTreeMap, BTreeSet};

use crate::fingerprint::fingerprints;
use crate::graph::{Graph, Node, NodeId};
use crate::types::Fp;

/// The graph with its nodes in canonical order, and its names in the order of `names`. Cost: n log n in the nodes.
#[must_use]
pub(crate) fn lower(graph: Graph, names: &[String]) -> Graph {
    let order = order(&graph);
    let mut places: Vec<NodeId> = vec![NodeId(0); graph.nodes.len()];
    for (place, old) in order.iter().enumerate() {
        places[*old] = NodeId(place as u32);
    }
    let mut nodes: Vec<Option<Node>> = graph.nodes.into_iter().map(Some).collect();
    let nodes = order.iter().filter_map(|old| nodes[*old].take()).map(|node| Node {
        id: places[node.id.0 as usize],
        inputs: node.inputs.iter().map(|input| places[input.0 as usize]).collect(),
        ..node
    });
    let rank: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(idx, name)| (name.as_str(), idx)).collect();
    let rename = |named: Vec<(String, NodeId)>| -> Vec<(String, NodeId)> {
        named.into_iter().map(|(name, id)| (name, places[id.0 as usize])).collect()
    };
    let ranked = |named: Vec<(String, NodeId)>| {
        let mut named = rename(named);
        named.sort_by_key(|(name, _)| rank.get(name.as_str()).copied().unwrap_or(usize::MAX));
        named
    };
    Graph {
        nodes: nodes.collect(),
        streams: ranked(graph.streams),
        artifacts: ranked(graph.artifacts),
        outputs: rename(graph.outputs),
    }
}

/// Old places in their new order: inputs first, and among the nodes that could be next the one with the smallest fingerprint;
/// equal nodes by label.
fn order(graph: &Graph) -> Vec<usize> {
    let fps: Vec<Fp> = fingerprints(graph, &|_| None);
    let mut waiting: Vec<usize> = graph.nodes.iter().map(|node| node.inputs.len()).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (idx, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|input| users[input.0 as usize].push(idx));
    }
    let rank = |idx: usize| (fps[idx], graph.nodes[idx].labels.first().cloned(), idx);
    let mut ready: BTreeSet<(Fp, Option<String>, usize)> =
        (0..graph.nodes.len()).filter(|idx| waiting[*idx] == 0).map(rank).collect();
    let mut order = Vec::with_capacity(graph.nodes.len());
    while let Some((_, _, idx)) = ready.pop_first() {
        order.push(idx);
        for user in &users[idx] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                ready.insert(rank(*user));
            }
        }
    }
    order
}
