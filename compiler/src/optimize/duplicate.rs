//! Merging of nodes that compute the same.

use std::collections::BTreeMap;

use super::Work;
use crate::canonical::canonical_bytes;
use crate::fingerprint::fingerprints;
use crate::graph::{Class, NodeId};
use crate::op::Op;
use crate::types::Fp;

/// Nodes of equal fingerprint become the first of them, which takes the labels and names of all. Contents of files are
/// not known here, so scans are told apart by where they read. Sinks are never merged: each is asked for by itself.
pub(super) fn merge(work: &mut Work) {
    let graph = &work.graph;
    let location = |id: NodeId| match &graph.node(id).op {
        Op::Scan(scan) => {
            let bytes = canonical_bytes(&(&scan.base, &scan.path));
            Some(Fp(*blake3::hash(&bytes).as_bytes()))
        }
        _ => None,
    };
    let fps = fingerprints(graph, &location);
    let mut first: BTreeMap<Fp, NodeId> = BTreeMap::new();
    let mut stands_for = Vec::with_capacity(fps.len());
    for (node, fp) in graph.nodes.iter().zip(fps) {
        let same = *first.entry(fp).or_insert(node.id);
        let is_same = graph.node(same).schema == node.schema && graph.node(same).key == node.key;
        stands_for.push(Some(if is_same && node.class != Class::Sink { same } else { node.id }));
    }
    if stands_for.iter().zip(&graph.nodes).any(|(target, node)| *target != Some(node.id)) {
        work.replace(&stands_for);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::graph::test_graphs::*;

    #[test]
    fn equal_nodes_become_one_and_keep_all_names() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        let left = builder.chunk(docs, "text", "text");
        builder.name("a.out", left);
        let right = builder.chunk(docs, "text", "text");
        builder.name("b.out", right);
        let writes = [builder.write(left, "x.jsonl"), builder.write(right, "x.jsonl")];
        let mut work = Work::new(builder.graph, &writes);
        merge(&mut work);
        assert_eq!(op_names(&work.graph), ["scan", "chunk", "write", "write"]);
        assert_eq!(work.graph.node(NodeId(1)).labels, ["a.out", "b.out"]);
        assert_eq!(work.graph.stream("b.out"), Some(NodeId(1)));
        assert_eq!(work.roots, BTreeSet::from([NodeId(2), NodeId(3)]));
    }

    #[test]
    fn scans_of_different_files_stay_apart() {
        let mut builder = Builder::new();
        builder.scan("a", &["id"]);
        builder.scan("b", &["id"]);
        let mut work = Work::new(builder.graph, &[]);
        merge(&mut work);
        assert_eq!(work.graph.nodes.len(), 2);
    }
}
