//! Projections in a row become one, and one that does nothing goes.

use super::Work;
use crate::graph::NodeId;
use crate::op::Op;

/// Merges every projection into the one it reads, unless that is a root or has other users.
pub(super) fn projections(work: &mut Work) {
    for idx in 0..work.graph.nodes.len() {
        let id = NodeId(idx as u32);
        while let Some(merged) = merged(work, id) {
            let below = work.graph.node(id).inputs[0];
            let source = work.graph.node(below).inputs[0];
            let node = &mut work.graph.nodes[idx];
            node.op = Op::Project { columns: merged };
            node.inputs[0] = source;
        }
    }
    let stands_for: Vec<Option<NodeId>> = (0..work.graph.nodes.len())
        .map(|idx| {
            let node = &work.graph.nodes[idx];
            Some(if does_nothing(work, node.id) { node.inputs[0] } else { node.id })
        })
        .collect();
    if stands_for.iter().zip(&work.graph.nodes).any(|(target, node)| *target != Some(node.id)) {
        work.replace(&stands_for);
    }
    super::dead::remove(work);
}

/// The columns of both projections in one step.
fn merged(work: &Work, id: NodeId) -> Option<Vec<(String, String)>> {
    let Op::Project { columns } = &work.graph.node(id).op else { return None };
    let below = work.graph.node(*work.graph.node(id).inputs.first()?);
    let Op::Project { columns: inner } = &below.op else { return None };
    if work.roots.contains(&below.id) || work.users(below.id) != [id] || below.inputs.is_empty() {
        return None;
    }
    let source =
        |name: &String| inner.iter().find(|(after, _)| after == name).map(|(_, before)| before.clone());
    columns.iter().map(|(after, before)| Some((after.clone(), source(before)?))).collect()
}

fn does_nothing(work: &Work, id: NodeId) -> bool {
    let node = work.graph.node(id);
    let Op::Project { columns } = &node.op else { return false };
    let Some(input) = node.inputs.first().map(|input| work.graph.node(*input)) else { return false };
    columns.iter().all(|(after, before)| after == before)
        && input.schema == node.schema
        && input.key == node.key
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::graph::Class;
    use crate::graph::test_graphs::*;

    fn project(builder: &mut Builder, input: NodeId, pairs: &[(&str, &str)]) -> NodeId {
        let names: Vec<&str> = pairs.iter().map(|(after, _)| *after).collect();
        let columns =
            pairs.iter().map(|(after, before)| ((*after).to_owned(), (*before).to_owned())).collect();
        builder.node(Op::Project { columns }, &[input], &names, Class::RowWise)
    }

    #[test]
    fn two_become_one_and_renames_compose() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "a", "b"]);
        let first = project(&mut builder, docs, &[("id", "id"), ("x", "a"), ("y", "b")]);
        let second = project(&mut builder, first, &[("id", "id"), ("z", "y")]);
        let write = builder.write(second, "out.jsonl");
        let mut work = Work::new(builder.graph, &[write]);
        projections(&mut work);
        assert_eq!(op_names(&work.graph), ["scan", "project", "write"]);
        let Op::Project { columns } = &work.graph.node(NodeId(1)).op else { panic!("a projection") };
        assert_eq!(columns[1], ("z".to_owned(), "b".to_owned()));
    }

    #[test]
    fn a_projection_that_does_nothing_goes_and_its_name_stays() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "a"]);
        let same = project(&mut builder, docs, &[("id", "id"), ("a", "a")]);
        builder.name("p.out", same);
        let mut work = Work::new(builder.graph, &[same]);
        projections(&mut work);
        assert_eq!(op_names(&work.graph), ["scan"]);
        assert_eq!(work.graph.stream("p.out"), Some(NodeId(0)));
        assert_eq!(work.roots, BTreeSet::from([NodeId(0)]));
    }
}
