//! Fingerprints: what a node computes, as 256 bits.
//!
//! ```text
//! fp        op name, version, canonical parameters, fp of every input, content hashes of files     equal fp = equal rows
//! params_fp the same without the stream inputs and file contents, but with artifacts               key of the row cache
//! meta_fp   labels, names and doc texts                                                            never makes work
//! ```
//!
//! Comments, blanks, order of declarations, names of flows and pipelines, thread count and paths of input files are in
//! none of `fp` and `params_fp`. Everything that decides an output byte is. The files themselves are read by the engine;
//! this module only takes their hashes.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use crate::canonical::canonical_bytes;
use crate::graph::{Class, Graph, Node, NodeId};
use crate::op::Op;
use crate::types::Fp;

/// Context of `fp` and `params_fp`.
pub const NODE_CONTEXT: &str = "promptc 2026 node v1";
/// Context of `meta_fp`.
pub const META_CONTEXT: &str = "promptc 2026 meta v1";
/// Context of row keys.
pub const ROW_CONTEXT: &str = "promptc 2026 row v1";

/// The fingerprints of all nodes, in the graph's order.
///
/// `contents` gives the content hash of a scan's files or of a node's other outside content; where it gives `None` the
/// fingerprint is the static one, which says nothing of files: two scans of different files are then equal.
#[must_use]
pub fn fingerprints(graph: &Graph, contents: &dyn Fn(NodeId) -> Option<Fp>) -> Vec<Fp> {
    fingerprints_given(graph, contents, &|_| None)
}

/// As [`fingerprints`], where the fingerprints of some nodes are already known: those that give the same rows and columns
/// as a node of another form of the program.
#[must_use]
pub fn fingerprints_given(
    graph: &Graph,
    contents: &dyn Fn(NodeId) -> Option<Fp>,
    known: &dyn Fn(NodeId) -> Option<Fp>,
) -> Vec<Fp> {
    let mut fps: Vec<Fp> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let inputs: Vec<Fp> = node.inputs.iter().map(|input| fps[input.0 as usize]).collect();
        let fp = known(node.id).unwrap_or_else(|| node_fp(node, &inputs, contents(node.id).as_slice()));
        fps.push(fp);
    }
    fps
}

/// `params_fp` of all nodes, given the nodes' `fp`: of the inputs only artifacts count.
#[must_use]
pub fn params_fps(graph: &Graph, fps: &[Fp]) -> Vec<Fp> {
    let artifacts = |node: &Node| -> Vec<Fp> {
        let inputs = node.inputs.iter().filter(|input| graph.node(**input).class == Class::Artifact);
        inputs.map(|input| fps[input.0 as usize]).collect()
    };
    graph.nodes.iter().map(|node| node_fp(node, &artifacts(node), &[])).collect()
}

/// `meta_fp` of all nodes: labels, the names given to the node, and the doc texts of the declarations in those names.
/// `docs` holds (declaration, text).
#[must_use]
pub fn meta_fps(graph: &Graph, docs: &[(String, String)]) -> Vec<Fp> {
    let named = [&graph.streams, &graph.artifacts, &graph.outputs];
    let mut names: Vec<Vec<&str>> =
        graph.nodes.iter().map(|node| node.labels.iter().map(String::as_str).collect()).collect();
    for (name, id) in named.into_iter().flatten() {
        names[id.0 as usize].push(name);
    }
    let is_of = |name: &str, declaration: &str| {
        name.strip_prefix(declaration)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/', ' ']))
    };
    let meta_fp = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.dedup();
        let mut texts: Vec<&(String, String)> = docs
            .iter()
            .filter(|(declaration, _)| names.iter().any(|name| is_of(name, declaration)))
            .collect();
        texts.sort_unstable();
        let bytes = canonical_bytes(&(names, texts));
        Fp(*blake3::Hasher::new_derive_key(META_CONTEXT).update(&bytes).finalize().as_bytes())
    };
    names.into_iter().map(meta_fp).collect()
}

/// The parameters of a node as they enter its fingerprint, a record without the operator's name.
#[must_use]
pub fn canonical_params(node: &Node) -> Value {
    let value = serde_json::to_value(&node.op).expect("invariant: operators fit the JSON data model");
    let Value::Object(mut params) = value else { unreachable!("an internally tagged enum is a record") };
    params.remove("op");
    // Elsewhere schema and key follow from the operator and its inputs; rows of a test carry no types, and a declared
    // output type may make a column nullable.
    if matches!(node.op, Op::Rows { .. } | Op::Project { .. }) {
        let schema = serde_json::to_value((&node.schema, &node.key))
            .expect("invariant: types fit the JSON data model");
        params.insert("schema".to_owned(), schema);
    }
    Value::Object(params)
}

/// The operator's name as the fingerprint and the plan show it: `chunk`, `split_part`.
#[must_use]
pub fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Scan(_) => "scan",
        Op::Rows { .. } => "rows",
        Op::SplitPart { .. } => "split_part",
        Op::Chunk(_) => "chunk",
        Op::Compress(_) => "compress",
        Op::Dedup(_) => "dedup",
        Op::Embed { .. } => "embed",
        Op::FitIdf { .. } => "fit_idf",
        Op::FitScorer(_) => "fit_scorer",
        Op::FitFusion(_) => "fit_fusion",
        Op::Index(_) => "index",
        Op::Retrieve(_) => "retrieve",
        Op::Fuse { .. } => "fuse",
        Op::Assemble(_) => "assemble",
        Op::Select { .. } => "select",
        Op::Derive { .. } => "derive",
        Op::Filter { .. } => "filter",
        Op::Rename { .. } => "rename",
        Op::Project { .. } => "project",
        Op::Explode { .. } => "explode",
        Op::Join { .. } => "join",
        Op::Union => "union",
        Op::Sort { .. } => "sort",
        Op::Limit { .. } => "limit",
        Op::Aggregate { .. } => "aggregate",
        Op::Distinct { .. } => "distinct",
        Op::Sample { .. } => "sample",
        Op::Sql { .. } => "sql",
        Op::Write(_) => "write",
        Op::Unavailable { .. } => "unavailable",
    }
}

/// A hasher for row keys of a node; feed it the canonical bytes of the columns that the operator reads.
#[must_use]
pub fn row_hasher(params_fp: &Fp) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(ROW_CONTEXT);
    hasher.update(&params_fp.0);
    hasher
}

/// One hash over many, in order: the plan's root over its outputs, a scan's content over its files.
#[must_use]
pub fn combine(context: &str, parts: &[Fp]) -> Fp {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    parts.iter().for_each(|part| _ = hasher.update(&part.0));
    Fp(*hasher.finalize().as_bytes())
}

fn node_fp(node: &Node, inputs: &[Fp], contents: &[Fp]) -> Fp {
    let mut hasher = blake3::Hasher::new_derive_key(NODE_CONTEXT);
    hasher.update(op_name(&node.op).as_bytes()).update(&[0]).update(&node.version.to_le_bytes());
    hasher.update(&canonical_bytes(&canonical_params(node)));
    for fps in [inputs, contents] {
        hasher.update(&(fps.len() as u32).to_le_bytes());
        fps.iter().for_each(|fp| _ = hasher.update(&fp.0));
    }
    Fp(*hasher.finalize().as_bytes())
}

impl std::str::FromStr for Fp {
    type Err = &'static str;

    /// Reads 64 hex digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = blake3::Hash::from_hex(text).map_err(|_| "a fingerprint is 64 hex digits")?;
        Ok(Fp(*bytes.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Fp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::test_graphs::*;

    fn statics(graph: &Graph) -> Vec<Fp> {
        fingerprints(graph, &|_| None)
    }

    #[test]
    fn parameters_versions_inputs_and_contents_count() {
        let mut base = Builder::new();
        let docs = base.scan("docs", &["id", "text"]);
        let short = base.limit(docs, 3);
        base.write(short, "out.jsonl");
        let base = base.graph;
        let before = statics(&base);

        let mut longer = base.clone();
        longer.nodes[1].op = Op::Limit { rows: 4 };
        let after = statics(&longer);
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
        assert_ne!(before[2], after[2], "an input's change reaches its users");
        assert_eq!(params_fps(&base, &before)[2], params_fps(&longer, &after)[2]);

        let mut newer = base.clone();
        newer.nodes[1].version += 1;
        assert_ne!(statics(&newer)[1], before[1]);

        let content = |id: NodeId| (id.0 == 0).then_some(Fp([7; 32]));
        let with_files = fingerprints(&base, &content);
        assert_ne!(with_files[0], before[0]);
        assert_eq!(params_fps(&base, &with_files), params_fps(&base, &before));
    }

    #[test]
    fn names_and_paths_count_only_as_meta() {
        let mut left = Builder::new();
        left.scan("docs", &["id", "text"]);
        let mut right = Builder::new();
        right.scan("papers", &["id", "text"]);
        assert_eq!(statics(&left.graph), statics(&right.graph));
        assert_ne!(meta_fps(&left.graph, &[]), meta_fps(&right.graph, &[]));
        let docs = [("docs".to_owned(), "All of them.".to_owned())];
        assert_ne!(meta_fps(&left.graph, &[]), meta_fps(&left.graph, &docs));
        assert_eq!(
            meta_fps(&right.graph, &[]),
            meta_fps(&right.graph, &docs),
            "a doc of another declaration"
        );
    }

    #[test]
    fn op_names_are_the_serialised_tags() {
        let mut builder = Builder::new();
        let docs = builder.scan("docs", &["id", "text"]);
        let union = builder.node(Op::Union, &[docs, docs], &["id", "text"], Class::RowWise);
        builder.limit(union, 1);
        for node in &builder.graph.nodes {
            let value = serde_json::to_value(&node.op).unwrap();
            assert_eq!(value["op"], op_name(&node.op));
        }
    }

    #[test]
    fn fingerprints_read_back_from_hex() {
        let fp = combine("test", &[Fp([1; 32])]);
        assert_eq!(fp.to_string().parse(), Ok(fp));
        assert!("12".parse::<Fp>().is_err());
        assert_eq!(serde_json::from_str::<Fp>(&serde_json::to_string(&fp).unwrap()).unwrap(), fp);
    }
}
