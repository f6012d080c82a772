//! Targets: names of the command line to nodes.
//!
//! A name is an output (`pipeline/path`), a stream (`source`, `pipeline.flow`), an artifact, or a pipeline, which stands
//! for all its outputs, else for all its flows. `+x` adds every named thing that `x` is made of, `x+` every named thing
//! that is made of `x`.

use std::collections::BTreeSet;

use crate::graph::{Graph, NodeId};
use crate::resolve::suggest::nearest;

/// A target that names nothing of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTarget {
    /// As given, without `+`.
    pub name: String,
    /// At most three near names.
    pub suggestions: Vec<String>,
}

impl std::fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no output, stream or artifact `{}` in the program", self.name)?;
        match self.suggestions.as_slice() {
            [] => Ok(()),
            near => write!(f, "; did you mean `{}`?", near.join("`, `")),
        }
    }
}

/// The nodes of the targets, in the graph's order. No targets: every output; a program without outputs gives the streams
/// that no other node reads.
///
/// # Errors
/// The first target that names nothing.
pub fn select(graph: &Graph, targets: &[String]) -> Result<Vec<NodeId>, UnknownTarget> {
    let mut roots = BTreeSet::new();
    if targets.is_empty() {
        roots.extend(graph.outputs.iter().map(|(_, id)| *id));
        if roots.is_empty() {
            let read: BTreeSet<NodeId> =
                graph.nodes.iter().flat_map(|node| node.inputs.iter().copied()).collect();
            roots.extend(graph.streams.iter().map(|(_, id)| *id).filter(|id| !read.contains(id)));
        }
    }
    for target in targets {
        let (name, with_upstream) =
            target.strip_prefix('+').map_or((target.as_str(), false), |name| (name, true));
        let (name, with_downstream) = name.strip_suffix('+').map_or((name, false), |name| (name, true));
        let found = find(graph, name).ok_or_else(|| unknown(graph, name))?;
        if with_upstream {
            roots.extend(named(graph, &upstream(graph, &found)));
        }
        if with_downstream {
            roots.extend(named(graph, &downstream(graph, &found)));
        }
        roots.extend(found);
    }
    Ok(roots.into_iter().collect())
}

fn find(graph: &Graph, name: &str) -> Option<BTreeSet<NodeId>> {
    let all = graph.outputs.iter().chain(&graph.streams).chain(&graph.artifacts);
    let exact: BTreeSet<NodeId> = all.filter(|(given, _)| given == name).map(|(_, id)| *id).collect();
    let of_pipeline = |names: &[(String, NodeId)], separator: char| -> BTreeSet<NodeId> {
        let is_of = |given: &String| given.strip_prefix(name).is_some_and(|rest| rest.starts_with(separator));
        names.iter().filter(|(given, _)| is_of(given)).map(|(_, id)| *id).collect()
    };
    let choices = [exact, of_pipeline(&graph.outputs, '/'), of_pipeline(&graph.streams, '.')];
    choices.into_iter().find(|found| !found.is_empty())
}

fn unknown(graph: &Graph, name: &str) -> UnknownTarget {
    let all = graph.outputs.iter().chain(&graph.streams).chain(&graph.artifacts);
    let suggestions = nearest(name, all.map(|(given, _)| given.as_str()));
    UnknownTarget { name: name.to_owned(), suggestions: suggestions.into_iter().map(Into::into).collect() }
}

fn named(graph: &Graph, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let all = graph.outputs.iter().chain(&graph.streams).chain(&graph.artifacts);
    all.map(|(_, id)| *id).filter(|id| nodes.contains(id)).collect()
}

fn upstream(graph: &Graph, from: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut reached = from.clone();
    for node in graph.nodes.iter().rev().filter(|node| node.id <= *from.last().unwrap_or(&node.id)) {
        if reached.contains(&node.id) {
            reached.extend(node.inputs.iter().copied());
        }
    }
    reached
}

fn downstream(graph: &Graph, from: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut reached = from.clone();
    for node in &graph.nodes {
        if node.inputs.iter().any(|input| reached.contains(input)) {
            reached.insert(node.id);
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::test_graphs::*;

    fn graph() -> Graph {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        let chunks = builder.chunk(docs, "text", "text");
        builder.name("p.chunks", chunks);
        let few = builder.limit(chunks, 3);
        builder.name("p.few", few);
        builder.write(few, "out.jsonl");
        builder.limit(docs, 1);
        builder.graph
    }

    #[test]
    fn names_pipelines_and_neighbours() {
        let cases: [(&[&str], &[u32]); 8] = [
            (&[], &[3]),
            (&["p.few"], &[2]),
            (&["p/out.jsonl"], &[3]),
            (&["p"], &[3]),
            (&["+p.chunks"], &[0, 1]),
            (&["p.chunks+"], &[1, 2, 3]),
            (&["+p.few+"], &[0, 1, 2, 3]),
            (&["docs", "p.few"], &[0, 2]),
        ];
        for (targets, expected) in cases {
            let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
            let ids: Vec<u32> = select(&graph(), &targets).unwrap().iter().map(|id| id.0).collect();
            assert_eq!(ids, expected, "{targets:?}");
        }
    }

    #[test]
    fn an_unknown_target_gets_near_names() {
        let error = select(&graph(), &["+p.fev".to_owned()]).unwrap_err();
        assert_eq!(error, UnknownTarget { name: "p.fev".to_owned(), suggestions: vec!["p.few".to_owned()] });
    }

    #[test]
    fn without_outputs_the_last_streams_are_meant() {
        let mut graph = graph();
        graph.nodes.truncate(3);
        graph.outputs.clear();
        assert_eq!(select(&graph, &[]), Ok(vec![NodeId(2)]));
    }
}
