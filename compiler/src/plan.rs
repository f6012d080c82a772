//! The plan: what has to be computed for some targets, in canonical order, with fingerprints.
//!
//! ```text
//! Hir --select--> roots --optimize--> Graph --order, fingerprint--> Plan --classes against BuildRecord--> Changes
//! ```
//!
//! A plan is a value with stable bytes: the same program, parameters, targets and file contents give the same bytes,
//! whatever the order of declarations. What happened in earlier builds is not in it; [`classes::classes`] compares it with
//! the record of the last one. Files are hashed by the caller; nothing here reads any.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::canonical::canonical_bytes;
use crate::diagnostic::{Code, Diagnostic};
use crate::fingerprint::{combine, fingerprints, fingerprints_given, meta_fps, op_name, params_fps};
use crate::graph::{Class, Effect, Graph, Node, NodeId};
use crate::hir::{Hir, Param};
use crate::op::{Op, Scan};
use crate::optimize::{Optimized, optimize, without_rules};
use crate::types::Fp;

pub mod classes;
pub mod explain;
pub mod lock;
mod order;
pub mod select;
pub mod show;

pub use classes::{Change, ChangeClass, Reason, classes};
pub use explain::{Explanation, explain};
pub use lock::{BuildRecord, NodeRecord};
pub use select::{UnknownTarget, select};

/// Context of the plan's root fingerprint.
const PLAN_CONTEXT: &str = "promptc 2026 plan v1";

/// Whether the rules of [`optimize`] are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// All of them.
    All,
    /// Only removal of what the targets do not need; `plan --no-optimize`.
    None,
}

/// What the caller knows of a scan's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Hash of the files' contents and glob-relative paths.
    pub hash: Fp,
    /// Rows, if they have been counted.
    pub rows: Option<u64>,
    /// Size of all files.
    pub bytes: u64,
}

/// What is asked of [`plan`].
pub struct Request<'a> {
    /// Names of outputs, flows, artifacts and pipelines, with `+` before or after; empty: every output.
    pub targets: &'a [String],
    /// Which rules apply.
    pub rules: Rules,
    /// The contents of a scan's files; `None` makes the fingerprints static ones.
    pub contents: &'a dyn Fn(&Scan) -> Option<Content>,
}

/// How results of a node are kept for the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// Not at all: cheaper to compute than to look up, or an effect.
    Never,
    /// Row by row, keyed by what the row is made of.
    Row,
    /// As a whole, keyed by `fp`.
    Whole,
}

/// Rows of a node, as far as they are known before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// Exact, or only a bound from above.
    pub is_exact: bool,
}

/// What is computed, canonically.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Parameters with their values, by name.
    pub params: Vec<Param>,
    /// The targets' nodes in the graph's order.
    pub roots: Vec<NodeId>,
    /// After the rules; topological order, ties by fingerprint; names sorted.
    pub graph: Graph,
    /// `fp` of every node.
    pub fps: Vec<Fp>,
    /// `params_fp` of every node.
    pub params_fps: Vec<Fp>,
    /// `meta_fp` of every node.
    pub meta_fps: Vec<Fp>,
    /// Contents of scans.
    pub contents: Vec<Option<Content>>,
    /// Rows of every node, where they follow from the contents.
    pub rows: Vec<Option<Rows>>,
    /// How every node is cached.
    pub cache: Vec<CachePolicy>,
    /// The Merkle root over the roots' `fp`.
    pub root: Fp,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanError {
    /// A target that is not in the program: a mistake of use, not of the program.
    UnknownTarget(UnknownTarget),
    /// E2002 for every operator that needs an area that is not in this build.
    Unavailable(Vec<Diagnostic>),
}

/// Plans a checked program. Call it only without errors in the program.
///
/// # Errors
/// Unknown targets, and operators of areas that are not in this build and that a target needs.
pub fn plan(hir: &Hir, request: &Request<'_>) -> Result<Plan, PlanError> {
    let roots = select(&hir.graph, request.targets).map_err(PlanError::UnknownTarget)?;
    let reached = without_rules(&hir.graph, &roots).graph;
    let unavailable: Vec<Diagnostic> = reached.nodes.iter().filter_map(unavailable).collect();
    if !unavailable.is_empty() {
        return Err(PlanError::Unavailable(unavailable));
    }
    Ok(plan_graph(hir, &hir.graph, &roots, request))
}

fn unavailable(node: &Node) -> Option<Diagnostic> {
    let Op::Unavailable { area, what } = &node.op else { return None };
    let message = format!("`{what}` needs the area `{area}`, which is not in this build");
    Some(Diagnostic::new(Code::E2002, message, node.span, "cannot be planned"))
}

/// The plan of one graph of a program: the main one, or a test's.
#[must_use]
pub fn plan_graph(hir: &Hir, graph: &Graph, roots: &[NodeId], request: &Request<'_>) -> Plan {
    // Named streams are tables that queries and `trace` look at, so the rules must leave their rows and columns alone.
    let kept = named_streams(graph, roots);
    let Optimized { graph: after, same_as, .. } = match request.rules {
        Rules::All => optimize(graph, &kept),
        Rules::None => without_rules(graph, roots),
    };
    let content = |node: &Node| match &node.op {
        Op::Scan(scan) => (request.contents)(scan),
        _ => None,
    };
    let hashes = |graph: &Graph| -> Vec<Option<Fp>> {
        graph.nodes.iter().map(|node| content(node).map(|content| content.hash)).collect()
    };
    let (before_hashes, after_hashes) = (hashes(graph), hashes(&after));
    let before = fingerprints(graph, &|id| before_hashes[id.0 as usize]);
    let known = |id: NodeId| same_as[id.0 as usize].map(|same| before[same.0 as usize]);
    let fps = fingerprints_given(&after, &|id| after_hashes[id.0 as usize], &known);
    let wanted: BTreeSet<Fp> = roots.iter().map(|root| before[root.0 as usize]).collect();
    let is_root = |node: &&Node| wanted.contains(&fps[node.id.0 as usize]);
    let roots: Vec<NodeId> = after.nodes.iter().filter(is_root).map(|node| node.id).collect();
    let (graph, roots, fps) = order::canonical(&after, &roots, &fps);
    let contents: Vec<Option<Content>> = graph.nodes.iter().map(content).collect();
    let mut root_fps: Vec<Fp> = roots.iter().map(|root| fps[root.0 as usize]).collect();
    root_fps.sort_unstable();
    let mut params = hir.params.clone();
    params.sort_by(|left, right| left.name.cmp(&right.name));
    Plan {
        params,
        params_fps: params_fps(&graph, &fps),
        meta_fps: meta_fps(&graph, &hir.docs),
        rows: rows(&graph, &contents),
        cache: graph.nodes.iter().map(cache_policy).collect(),
        root: combine(PLAN_CONTEXT, &root_fps),
        fps,
        contents,
        roots,
        graph,
    }
}

/// The roots and every named stream that they read, sources excepted.
fn named_streams(graph: &Graph, roots: &[NodeId]) -> Vec<NodeId> {
    let mut reached = BTreeSet::new();
    let mut open = roots.to_vec();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(graph.node(id).inputs.iter().copied());
        }
    }
    let is_flow =
        |id: NodeId| !matches!(graph.node(id).op, Op::Scan(_) | Op::Rows { .. } | Op::SplitPart { .. });
    let named = graph.streams.iter().map(|(_, id)| *id).filter(|id| reached.contains(id) && is_flow(*id));
    roots.iter().copied().chain(named).collect()
}

impl Plan {
    /// Deterministic CBOR of the whole plan.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_bytes(self)
    }

    /// BLAKE3 of [`Plan::to_bytes`].
    #[must_use]
    pub fn hash(&self) -> Fp {
        Fp(*blake3::hash(&self.to_bytes()).as_bytes())
    }

    /// The plan for other programs: pretty JSON with sorted keys and types as the language writes them.
    #[must_use]
    pub fn to_json(&self) -> String {
        let names = self.node_names();
        let node = |node: &Node| {
            let idx = node.id.0 as usize;
            let schema: Vec<Value> = node
                .schema
                .iter()
                .map(|column| serde_json::json!([column.name, column.ty.to_string()]))
                .collect();
            let inputs: Vec<&String> = node.inputs.iter().map(|input| &names[input.0 as usize]).collect();
            serde_json::json!({
                "name": names[idx], "op": op_name(&node.op), "version": node.version, "inputs": inputs,
                "params": lock::sorted(crate::fingerprint::canonical_params(node)), "schema": schema, "key": node.key,
                "class": node.class, "effect": node.effect, "cache": self.cache[idx], "rows": self.rows[idx],
                "content": self.contents[idx], "fp": self.fps[idx], "params_fp": self.params_fps[idx],
                "labels": node.labels,
            })
        };
        let nodes: Vec<Value> = self.graph.nodes.iter().map(node).collect();
        let outputs: Vec<&String> = self.graph.outputs.iter().map(|(name, _)| name).collect();
        let value = serde_json::json!({
            "plan": self.root, "hash": self.hash(), "params": lock::param_values(&self.params),
            "outputs": outputs, "nodes": nodes,
        });
        let text = serde_json::to_string_pretty(&lock::sorted(value));
        text.expect("invariant: texts and numbers always serialise") + "\n"
    }

    /// One name per node, all different: the first label, else the operator, with `#2` and so on where needed.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        let mut given = std::collections::BTreeMap::<String, usize>::new();
        let name = |node: &Node| {
            let base = node.labels.first().cloned().unwrap_or_else(|| op_name(&node.op).to_owned());
            let count = given.entry(base.clone()).or_default();
            *count += 1;
            if *count == 1 { base } else { format!("{base} #{count}") }
        };
        self.graph.nodes.iter().map(name).collect()
    }
}

/// Cheap operators are computed again; dear ones are cached by row, or whole where rows depend on each other.
fn cache_policy(node: &Node) -> CachePolicy {
    let is_cheap = matches!(
        node.op,
        Op::Scan(_)
            | Op::Rows { .. }
            | Op::SplitPart { .. }
            | Op::Select { .. }
            | Op::Derive { .. }
            | Op::Filter { .. }
            | Op::Rename { .. }
            | Op::Project { .. }
            | Op::Explode { .. }
            | Op::Union
            | Op::Limit { .. }
            | Op::Sample { .. }
            | Op::Unavailable { .. }
    );
    match node.class {
        _ if is_cheap || node.effect == Effect::Sink => CachePolicy::Never,
        Class::RowWise | Class::Expanding => CachePolicy::Row,
        Class::Blocking | Class::Artifact => CachePolicy::Whole,
        Class::Sink => CachePolicy::Never,
    }
}

/// Rows that follow from the contents alone: row-wise operators keep them, some others bound them.
fn rows(graph: &Graph, contents: &[Option<Content>]) -> Vec<Option<Rows>> {
    let mut rows: Vec<Option<Rows>> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let input = node.inputs.first().and_then(|input| rows[input.0 as usize]);
        let at_most = input.map(|rows| Rows { is_exact: false, ..rows });
        rows.push(match &node.op {
            Op::Scan(_) => contents[node.id.0 as usize].and_then(|content| content.rows).map(Rows::exact),
            Op::Rows { rows } => Some(Rows::exact(rows.len() as u64)),
            Op::Limit { rows } => input.map(|input| Rows { count: input.count.min(*rows), ..input }),
            Op::Union => {
                let all: Option<Vec<Rows>> = node.inputs.iter().map(|input| rows[input.0 as usize]).collect();
                all.map(|all| Rows {
                    count: all.iter().map(|rows| rows.count).sum(),
                    is_exact: all.iter().all(|rows| rows.is_exact),
                })
            }
            Op::Sort { .. } => input,
            Op::Filter { .. } | Op::SplitPart { .. } | Op::Sample { .. } => at_most,
            Op::Dedup(_) | Op::Distinct { .. } | Op::Aggregate { .. } => at_most,
            _ if node.class == Class::RowWise => input,
            _ => None,
        });
    }
    rows
}

impl Rows {
    fn exact(count: u64) -> Rows {
        Rows { count, is_exact: true }
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "plan/program_tests.rs"]
mod program_tests;
