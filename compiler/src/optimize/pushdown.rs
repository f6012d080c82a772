//! Filters move towards the source.

use super::{Work, columns};
use crate::graph::{Class, Node, NodeId};
use crate::op::Op;

/// Moves every filter below the operators that it may pass, so that these see fewer rows.
///
/// A filter passes a row-wise or expanding operator that does not make the columns it reads, that nobody else reads and
/// that is not a root. Filters keep their order among each other, so one may guard the next. Rows that would fault in the
/// passed operator and fail the filter now never reach it; the rows that come out are the same.
pub(super) fn filters(work: &mut Work) {
    for idx in 0..work.graph.nodes.len() {
        let mut at = NodeId(idx as u32);
        while let Some(below) = passable(work, at) {
            swap(work, below, at);
            at = below;
        }
    }
}

/// The node that a filter may pass, which is its input.
fn passable(work: &Work, id: NodeId) -> Option<NodeId> {
    let filter = work.graph.node(id);
    let Op::Filter { condition } = &filter.op else { return None };
    let below = work.graph.node(*filter.inputs.first()?);
    let passes_rows = match &below.op {
        Op::Filter { .. } | Op::Union | Op::Write(_) | Op::Unavailable { .. } => false,
        // A filter that narrows types (`x != null`) must stay where the program's types need it.
        _ => filter.schema == below.schema && matches!(below.class, Class::RowWise | Class::Expanding),
    };
    let is_alone = !work.roots.contains(&below.id) && work.users(below.id) == [id];
    let looks_at_rows = columns::is_aggregate(condition) || columns::has_window(&below.op);
    // Without a key rows are known by their place among all rows, which a filter below would change.
    let is_keyed = below.inputs.first().is_some_and(|input| !work.graph.node(*input).key.is_empty());
    if !passes_rows || !is_alone || looks_at_rows || !is_keyed {
        return None;
    }
    let mut read = columns::Needs::new();
    columns::read_expr(condition, &columns::Need::default(), &mut read);
    let passed = |name: &String| matches!(columns::origin(&work.graph, below, name), Some((0, _)));
    read.keys().all(passed).then_some(below.id)
}

/// Exchanges a filter with its input: the filter takes the lower place, the operator the filter's.
fn swap(work: &mut Work, below: NodeId, filter: NodeId) {
    let graph = &work.graph;
    let mut lower: Node = graph.node(filter).clone();
    let mut upper: Node = graph.node(below).clone();
    let source = graph.node(upper.inputs[0]);
    columns::each_op_column(&mut lower.op, &mut |name, _| {
        if let Some((_, old)) = columns::origin(graph, &upper, name) {
            *name = old;
        }
    });
    lower.schema = source.schema.clone();
    lower.key = source.key.clone();
    lower.inputs = vec![source.id];
    lower.id = below;
    upper.inputs[0] = below;
    upper.id = filter;
    work.graph.nodes[below.0 as usize] = lower;
    work.graph.nodes[filter.0 as usize] = upper;
    work.unname(below);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::graph::test_graphs::*;
    use crate::op::ExprKind;

    fn pushed(builder: Builder, roots: &[NodeId]) -> Work {
        let mut work = Work::new(builder.graph, roots);
        filters(&mut work);
        work
    }

    #[test]
    fn a_filter_passes_what_does_not_make_its_columns() {
        let cases: [(&str, &[&str]); 4] = [
            ("title", &["scan", "filter", "chunk", "write"]),
            ("id", &["scan", "filter", "chunk", "write"]),
            ("text", &["scan", "chunk", "filter", "write"]),
            ("heading", &["scan", "chunk", "filter", "write"]),
        ];
        for (column, expected) in cases {
            let mut builder = Builder::new();
            let docs = builder.scan("docs", &["id", "title", "text"]);
            let chunks = builder.chunk(docs, "text", "text");
            let kept = builder.filter(chunks, equals(column, "a"));
            let write = builder.write(kept, "out.jsonl");
            let work = pushed(builder, &[write]);
            assert_eq!(op_names(&work.graph), expected, "{column}");
        }
    }

    #[test]
    fn the_condition_follows_renames() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        let columns = vec![("name".to_owned(), "id".to_owned())];
        let renamed = builder.node(Op::Rename { columns }, &[docs], &["name", "text"], Class::RowWise);
        let kept = builder.filter(renamed, equals("name", "a"));
        let write = builder.write(kept, "out.jsonl");
        let work = pushed(builder, &[write]);
        assert_eq!(op_names(&work.graph), ["scan", "filter", "rename", "write"]);
        let Op::Filter { condition } = &work.graph.node(NodeId(1)).op else { panic!("a filter") };
        let ExprKind::Binary { left, .. } = &condition.kind else { panic!("a comparison") };
        assert_eq!(left.kind, ExprKind::Column("id".to_owned()));
        assert_eq!(column_names(&work.graph, NodeId(1)), ["id", "text"]);
    }

    #[test]
    fn a_filter_stays_above_blocking_shared_and_root_nodes() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        let few = builder.limit(docs, 3);
        let after_limit = builder.filter(few, equals("id", "a"));
        let chunks = builder.chunk(after_limit, "text", "part");
        let kept = builder.filter(chunks, equals("id", "b"));
        let writes = [builder.write(kept, "a.jsonl"), builder.write(chunks, "b.jsonl")];
        let before = builder.graph.clone();
        let work = pushed(builder, &writes);
        assert_eq!(work.graph, before, "the chunks have two users");

        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        let chunks = builder.chunk(docs, "text", "part");
        builder.filter(chunks, equals("id", "b"));
        let before = builder.graph.clone();
        assert_eq!(pushed(builder, &[chunks]).graph, before, "the chunks are asked for");
    }

    #[test]
    fn a_filter_stays_where_rows_have_no_key() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        builder.graph.nodes[0].key.clear();
        let chunks = builder.chunk(docs, "text", "part");
        let kept = builder.filter(chunks, equals("id", "b"));
        let before = builder.graph.clone();
        assert_eq!(pushed(builder, &[kept]).graph, before);
    }

    #[test]
    fn filters_keep_their_order_and_the_passed_stream_loses_its_name() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        let chunks = builder.chunk(docs, "text", "part");
        builder.name("p.chunks", chunks);
        let guard = builder.filter(chunks, equals("id", "guard"));
        let next = builder.filter(guard, equals("id", "next"));
        builder.name("p.out", next);
        let work = pushed(builder, &[next]);
        assert_eq!(op_names(&work.graph), ["scan", "filter", "filter", "chunk"]);
        let labels: Vec<&str> = work.graph.nodes.iter().map(|node| node.labels[0].as_str()).collect();
        assert_eq!(labels, ["docs", "n2", "p.out", "p.chunks"]);
        assert_eq!(work.graph.stream("p.chunks"), None);
        assert_eq!(work.graph.stream("p.out"), Some(NodeId(3)));
        assert_eq!(work.roots, BTreeSet::from([NodeId(3)]));
    }
}
