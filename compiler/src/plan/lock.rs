//! The record of a build: what `promptc.lock` holds, and what the next plan is compared with.
//!
//! The text form is pretty JSON with sorted keys, so that a version control system shows differences by line. Nodes stand
//! in the plan's order: inputs first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Plan, explain::parameter_changes};
use crate::fingerprint::{canonical_params, op_name};
use crate::graph::NodeId;
use crate::hir::Param;
use crate::op::{self, Op};
use crate::types::Fp;

/// Version of the format; a record of another version is refused.
pub const FORMAT: u32 = 1;

/// What a finished build leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the compiler.
    pub compiler: String,
    /// The plan's root fingerprint.
    pub plan: Fp,
    /// Parameters by name.
    pub params: BTreeMap<String, Value>,
    /// Outputs with the name of their node.
    pub outputs: BTreeMap<String, String>,
    /// Nodes, inputs first.
    pub nodes: Vec<NodeRecord>,
}

/// What is kept of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Its name in that plan, from [`Plan::node_names`].
    pub name: String,
    /// Operator.
    pub op: String,
    /// Version of the operator's algorithm.
    pub version: u32,
    /// Fingerprint.
    pub fp: Fp,
    /// Fingerprint without stream inputs and files.
    pub params_fp: Fp,
    /// Fingerprint of names and docs.
    pub meta_fp: Fp,
    /// Canonical parameters.
    pub params: Value,
    /// Columns as (name, type).
    pub schema: Vec<(String, String)>,
    /// Names of the nodes that it reads.
    pub inputs: Vec<String>,
    /// Hash of a scan's files.
    pub content: Option<Fp>,
    /// Where a scan read or a write wrote, as in the program.
    pub path: Option<String>,
    /// Rows it gave; `None` for artifacts and sinks, or if they were not counted.
    pub rows: Option<u64>,
}

impl BuildRecord {
    /// The record of a plan that has been run. `rows` gives the rows of a node, as far as they were counted.
    #[must_use]
    pub fn of(plan: &Plan, rows: &dyn Fn(NodeId) -> Option<u64>) -> BuildRecord {
        let names = plan.node_names();
        let node = |node: &crate::graph::Node| {
            let idx = node.id.0 as usize;
            let path = match &node.op {
                Op::Scan(scan) => Some(scan.path.clone()),
                Op::Write(write) => Some(write.path.clone()),
                _ => None,
            };
            NodeRecord {
                name: names[idx].clone(),
                op: op_name(&node.op).to_owned(),
                version: node.version,
                fp: plan.fps[idx],
                params_fp: plan.params_fps[idx],
                meta_fp: plan.meta_fps[idx],
                params: sorted(canonical_params(node)),
                schema: node
                    .schema
                    .iter()
                    .map(|column| (column.name.clone(), column.ty.to_string()))
                    .collect(),
                inputs: node.inputs.iter().map(|input| names[input.0 as usize].clone()).collect(),
                content: plan.contents[idx].map(|content| content.hash),
                path,
                rows: rows(node.id),
            }
        };
        let outputs =
            plan.graph.outputs.iter().map(|(name, id)| (name.clone(), names[id.0 as usize].clone()));
        BuildRecord {
            format: FORMAT,
            compiler: env!("CARGO_PKG_VERSION").to_owned(),
            plan: plan.root,
            params: param_values(&plan.params),
            outputs: outputs.collect(),
            nodes: plan.graph.nodes.iter().map(node).collect(),
        }
    }

    /// The content of `promptc.lock`: pretty JSON, ended by a line break.
    #[must_use]
    pub fn to_text(&self) -> String {
        let value = serde_json::to_value(self).expect("invariant: records fit the JSON data model");
        let text = serde_json::to_string_pretty(&sorted(value));
        text.expect("invariant: texts and numbers always serialise") + "\n"
    }

    /// Reads what [`BuildRecord::to_text`] wrote.
    ///
    /// # Errors
    /// What is wrong with the text, in one line: no JSON, another format, a field that is missing or unknown.
    pub fn parse(text: &str) -> Result<BuildRecord, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("lock is not JSON: {error}"))?;
        let format = value.get("format").and_then(Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let found = format.map_or_else(|| "none".to_owned(), |format| format.to_string());
            return Err(format!("lock has format {found}, this compiler reads format {FORMAT}"));
        }
        serde_json::from_value(value).map_err(|error| format!("lock is damaged: {error}"))
    }

    /// The record of a node by name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeRecord> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The first node, in the order of computation, that a recomputed record does not confirm: a line naming it and what
    /// differs. `None` if both are the same build; row counts that only one side has are not compared.
    #[must_use]
    pub fn first_difference(&self, recomputed: &BuildRecord) -> Option<String> {
        for node in &recomputed.nodes {
            let Some(locked) = self.node(&node.name) else {
                return Some(format!("`{}` is not in the lock", node.name));
            };
            if let Some(what) = difference(locked, node) {
                return Some(format!("`{}` differs: {what}", node.name));
            }
        }
        let gone = self.nodes.iter().find(|node| recomputed.node(&node.name).is_none());
        if let Some(node) = gone {
            return Some(format!("`{}` is in the lock, but not in the program", node.name));
        }
        (self.plan != recomputed.plan).then(|| "the targets differ".to_owned())
    }
}

fn difference(locked: &NodeRecord, node: &NodeRecord) -> Option<String> {
    if locked.content != node.content {
        return Some(format!("files of `{}`", node.path.as_deref().unwrap_or("")));
    }
    if let Some(change) = own_changes(locked, node).into_iter().next() {
        return Some(change);
    }
    if locked.fp != node.fp {
        return Some("fingerprint".to_owned());
    }
    match (locked.rows, node.rows) {
        (Some(old), Some(new)) if old != new => Some(format!("{old} rows in the lock, {new} now")),
        _ => None,
    }
}

/// Operator, version and parameters that differ, one line each.
fn own_changes(old: &NodeRecord, new: &NodeRecord) -> Vec<String> {
    if old.op != new.op {
        return vec![format!("operator {} -> {}", old.op, new.op)];
    }
    let version = (old.version != new.version).then(|| format!("version {} -> {}", old.version, new.version));
    let parameters = parameter_changes(&old.params, &new.params);
    version.into_iter().chain(parameters.iter().map(|reason| reason.to_string())).collect()
}

/// What differs between two builds, by meaning: parameters, files, operators, outputs. Empty if nothing does.
#[must_use]
pub fn diff(old: &BuildRecord, new: &BuildRecord) -> Vec<String> {
    let mut lines = Vec::new();
    if old.compiler != new.compiler {
        lines.push(format!("compiler: {} -> {}", old.compiler, new.compiler));
    }
    let names: std::collections::BTreeSet<&String> = old.params.keys().chain(new.params.keys()).collect();
    for name in names {
        let (before, after) = (old.params.get(name), new.params.get(name));
        if before != after {
            let shown = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
            lines.push(format!("param {name}: {} -> {}", shown(before), shown(after)));
        }
    }
    for node in &new.nodes {
        let Some(before) = old.node(&node.name) else {
            lines.push(format!("added: {}", node.name));
            continue;
        };
        if before.content != node.content {
            lines.push(format!("files: {}", node.name));
        }
        lines.extend(own_changes(before, node).into_iter().map(|change| format!("{}: {change}", node.name)));
        if let (Some(old_rows), Some(new_rows)) = (before.rows, node.rows)
            && old_rows != new_rows
        {
            lines.push(format!("{}: {old_rows} rows -> {new_rows} rows", node.name));
        }
    }
    let removed = old.nodes.iter().filter(|node| new.node(&node.name).is_none());
    lines.extend(removed.map(|node| format!("removed: {}", node.name)));
    for name in old.outputs.keys().filter(|name| !new.outputs.contains_key(*name)) {
        lines.push(format!("output removed: {name}"));
    }
    for name in new.outputs.keys().filter(|name| !old.outputs.contains_key(*name)) {
        lines.push(format!("output added: {name}"));
    }
    lines
}

/// Parameters as plain JSON values.
pub(super) fn param_values(params: &[Param]) -> BTreeMap<String, Value> {
    params.iter().map(|param| (param.name.clone(), plain(&param.value))).collect()
}

fn plain(value: &op::Value) -> Value {
    match value {
        op::Value::Null => Value::Null,
        op::Value::Bool(value) => json!(value),
        op::Value::Int(value) => json!(value),
        op::Value::UInt(value) => json!(value),
        op::Value::Float(value) => json!(value),
        op::Value::Text(value) => json!(value),
        op::Value::List(items) => items.iter().map(plain).collect(),
        op::Value::Record(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        op::Value::Range(from, to) => json!({"from": plain(from), "to": plain(to)}),
    }
}

/// The same value with the keys of all records in order, whatever order `serde_json` was built to keep.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(Map::from_iter(fields))
        }
        other => other,
    }
}
