//! Removal of nodes that no root needs.

use super::Work;

/// Keeps the roots and what they read, and the names of what is kept.
pub(super) fn remove(work: &mut Work) {
    let mut needed: Vec<bool> = work.graph.nodes.iter().map(|node| work.roots.contains(&node.id)).collect();
    // Inputs come before their users, so one pass from the end reaches everything.
    for node in work.graph.nodes.iter().rev() {
        if needed[node.id.0 as usize] {
            node.inputs.iter().for_each(|input| needed[input.0 as usize] = true);
        }
    }
    let stands_for: Vec<_> =
        work.graph.nodes.iter().map(|node| needed[node.id.0 as usize].then_some(node.id)).collect();
    if stands_for.iter().any(Option::is_none) {
        work.replace(&stands_for);
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::test_graphs::*;
    use crate::optimize::without_rules;

    #[test]
    fn what_no_root_needs_goes_with_its_names() {
        let mut builder = Builder::new();
        let unused = builder.scan("unused", &["id"]);
        let docs = builder.scan("docs", &["id", "text"]);
        builder.limit(unused, 1);
        let write = builder.write(docs, "out.jsonl");
        let graph = without_rules(&builder.graph, &[write]).graph;
        assert_eq!(op_names(&graph), ["scan", "write"]);
        assert!(graph.stream("docs").is_some() && graph.stream("unused").is_none());
        assert!(without_rules(&builder.graph, &[]).graph.nodes.is_empty());
    }
}
