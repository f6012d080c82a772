//! Change classes: what happens to every node at the next run, against the record of the last build.
//!
//! A node is first looked for by fingerprint, so that renaming makes no work, then by name. Classes flow from inputs to
//! users, since the plan's order puts inputs first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::explain::parameter_changes;
use super::{BuildRecord, NodeRecord, Plan};
use crate::fingerprint::{canonical_params, op_name};
use crate::graph::{Class, Node, NodeId};
use crate::op::Op;
use crate::optimize::columns::{Need, Needs, reads};
use crate::types::Fp;

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeClass {
    /// Not in the last build.
    New,
    /// Own parameters, operator version or artifact differ: rows are recomputed.
    Changed,
    /// Has more columns; the others are as before.
    Widened,
    /// Own files differ: an update by row.
    Data,
    /// Something it reads differs.
    Indirect,
    /// Only names or docs differ: nothing runs.
    Metadata,
    /// As before: nothing runs.
    Reused,
    /// Not in the program any more; outputs stay until `gc`.
    Removed,
    /// Needs an area that is not in this build.
    Unavailable,
}

/// Why a node has its class. `old` is of the last build, `new` of this plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant's doc names its fields")]
pub enum Reason {
    /// No node of this name or fingerprint in the last build.
    NotBuilt,
    /// Another operator under the same name.
    Operator { old: String, new: String },
    /// The operator's algorithm.
    Version { old: u32, new: u32 },
    /// A parameter, as a dotted path.
    Parameter { path: String, old: Option<Value>, new: Option<Value> },
    /// The contents of files.
    Files { path: String, old: Option<Fp>, new: Option<Fp> },
    /// An artifact that it uses.
    Artifact { name: String, class: ChangeClass },
    /// A stream that it reads.
    Input { name: String, class: ChangeClass },
    /// Other streams or artifacts than before.
    Inputs { old: Vec<String>, new: Vec<String> },
    /// Columns that are new; what reads the others need not run.
    Columns { added: Vec<String> },
    /// The name in the last build, if it was another, else docs.
    Names { old: Option<String> },
    /// The area.
    Area { area: String },
}

/// A node's class with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The node; `None` if it is only in the last build.
    pub node: Option<NodeId>,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub class: ChangeClass,
    /// Why; empty if reused or removed.
    pub reasons: Vec<Reason>,
}

impl ChangeClass {
    /// Whether nothing runs.
    #[must_use]
    pub fn is_idle(self) -> bool {
        matches!(self, ChangeClass::Reused | ChangeClass::Metadata | ChangeClass::Removed)
    }
}

impl fmt::Display for ChangeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ChangeClass::New => "new",
            ChangeClass::Changed => "changed",
            ChangeClass::Widened => "widened",
            ChangeClass::Data => "data",
            ChangeClass::Indirect => "indirect",
            ChangeClass::Metadata => "metadata",
            ChangeClass::Reused => "reused",
            ChangeClass::Removed => "removed",
            ChangeClass::Unavailable => "unavailable",
        })
    }
}

/// The class of every node in the plan's order, then the removed ones in the record's. Without a record all are new.
#[must_use]
pub fn classes(plan: &Plan, last: Option<&BuildRecord>) -> Vec<Change> {
    let names = plan.node_names();
    let Some(last) = last else {
        let new = |(node, name): (&Node, &String)| Change {
            node: Some(node.id),
            name: name.clone(),
            class: if matches!(node.op, Op::Unavailable { .. }) {
                ChangeClass::Unavailable
            } else {
                ChangeClass::New
            },
            reasons: vec![Reason::NotBuilt],
        };
        return plan.graph.nodes.iter().zip(&names).map(new).collect();
    };
    let mut by_fp: BTreeMap<Fp, Vec<&NodeRecord>> = BTreeMap::new();
    for node in &last.nodes {
        by_fp.entry(node.fp).or_default().push(node);
    }
    let mut matched: BTreeSet<&str> = BTreeSet::new();
    let mut changes: Vec<Change> = Vec::with_capacity(names.len());
    for node in &plan.graph.nodes {
        let idx = node.id.0 as usize;
        let equal = by_fp.get(&plan.fps[idx]).and_then(|same| {
            same.iter().find(|record| record.name == names[idx]).or_else(|| same.first()).copied()
        });
        let old = equal.or_else(|| last.node(&names[idx]));
        let (class, reasons) = match old {
            _ if matches!(node.op, Op::Unavailable { .. }) => unavailable(node),
            None => (ChangeClass::New, vec![Reason::NotBuilt]),
            Some(old) if equal.is_some() => unchanged(plan, idx, &names[idx], old),
            Some(old) => compare(plan, node, old, last, &changes),
        };
        matched.extend(old.map(|old| old.name.as_str()));
        changes.push(Change { node: Some(node.id), name: names[idx].clone(), class, reasons });
    }
    let removed = last.nodes.iter().filter(|node| !matched.contains(node.name.as_str()));
    changes.extend(removed.map(|node| Change {
        node: None,
        name: node.name.clone(),
        class: ChangeClass::Removed,
        reasons: Vec::new(),
    }));
    changes
}

fn unavailable(node: &Node) -> (ChangeClass, Vec<Reason>) {
    let Op::Unavailable { area, .. } = &node.op else { return (ChangeClass::New, Vec::new()) };
    (ChangeClass::Unavailable, vec![Reason::Area { area: area.clone() }])
}

fn unchanged(plan: &Plan, idx: usize, name: &str, old: &NodeRecord) -> (ChangeClass, Vec<Reason>) {
    if plan.meta_fps[idx] == old.meta_fp && old.name == name {
        return (ChangeClass::Reused, Vec::new());
    }
    let old = (old.name != name).then(|| old.name.clone());
    (ChangeClass::Metadata, vec![Reason::Names { old }])
}

/// The class of a node whose fingerprint differs from that of its namesake.
fn compare(
    plan: &Plan,
    node: &Node,
    old: &NodeRecord,
    last: &BuildRecord,
    done: &[Change],
) -> (ChangeClass, Vec<Reason>) {
    let op = op_name(&node.op);
    if old.op != op {
        return (ChangeClass::Changed, vec![Reason::Operator { old: old.op.clone(), new: op.to_owned() }]);
    }
    let mut own: Vec<Reason> = Vec::new();
    if old.version != node.version {
        own.push(Reason::Version { old: old.version, new: node.version });
    }
    let parameters = parameter_changes(&old.params, &canonical_params(node));
    let content = plan.contents[node.id.0 as usize].map(|content| content.hash);
    let may_widen =
        own.is_empty() && content == old.content && only_adds(&old.params, &canonical_params(node));
    let added = added_columns(node, old).filter(|_| may_widen);
    let inputs = input_changes(plan, node, old, last, done);
    own.extend(parameters);
    own.extend(inputs.artifacts);
    if !own.is_empty() {
        return match added {
            Some(added) if inputs.others.is_empty() && inputs.artifacts_are_same => {
                (ChangeClass::Widened, vec![Reason::Columns { added }])
            }
            _ => (ChangeClass::Changed, own),
        };
    }
    if let Op::Scan(scan) = &node.op
        && content != old.content
    {
        let path = scan.path.clone();
        return (ChangeClass::Data, vec![Reason::Files { path, old: old.content, new: content }]);
    }
    if !inputs.others.is_empty() {
        return (ChangeClass::Indirect, inputs.others);
    }
    match added_columns(node, old) {
        Some(added) => (ChangeClass::Widened, vec![Reason::Columns { added }]),
        None => (ChangeClass::Reused, Vec::new()),
    }
}

/// What is different about a node's inputs.
struct InputChanges {
    artifacts: Vec<Reason>,
    artifacts_are_same: bool,
    /// Streams that differ in what this node uses of them.
    others: Vec<Reason>,
}

fn input_changes(
    plan: &Plan,
    node: &Node,
    old: &NodeRecord,
    last: &BuildRecord,
    done: &[Change],
) -> InputChanges {
    let names: Vec<&str> = node.inputs.iter().map(|input| done[input.0 as usize].name.as_str()).collect();
    let mut changes = InputChanges { artifacts: Vec::new(), artifacts_are_same: true, others: Vec::new() };
    let used: Needs = node
        .schema
        .iter()
        .filter(|column| old.schema.iter().any(|(name, _)| *name == column.name))
        .map(|column| (column.name.clone(), Need::default()))
        .collect();
    let needs = reads(&plan.graph, node, &used);
    for (position, input) in node.inputs.iter().enumerate() {
        let change = &done[input.0 as usize];
        let (name, class) = (change.name.clone(), change.class);
        let before = last.node(old.inputs.get(position).map_or("", String::as_str));
        let is_same = before.is_some_and(|before| before.fp == plan.fps[input.0 as usize]);
        let has_all = |before: &NodeRecord| {
            needs[position].keys().all(|column| before.schema.iter().any(|(name, _)| name == column))
        };
        // A widened stream, and one that only passes on a widened one, is the same for who reads the old columns.
        let is_as_before =
            matches!(class, ChangeClass::Widened | ChangeClass::Reused) && before.is_some_and(has_all);
        if is_same || (is_as_before && before.is_some_and(|before| before.name == name)) {
            continue;
        }
        if plan.graph.node(*input).class == Class::Artifact {
            changes.artifacts_are_same = false;
            changes.artifacts.push(Reason::Artifact { name, class });
        } else if class.is_idle() {
            let new = names.iter().map(|name| (*name).to_owned()).collect();
            changes.others.push(Reason::Inputs { old: old.inputs.clone(), new });
        } else {
            changes.others.push(Reason::Input { name, class });
        }
    }
    if node.inputs.len() < old.inputs.len() {
        let new = names.iter().map(|name| (*name).to_owned()).collect();
        changes.others.push(Reason::Inputs { old: old.inputs.clone(), new });
    }
    changes
}

/// The columns that are new, if all old ones are still there with their types.
fn added_columns(node: &Node, old: &NodeRecord) -> Option<Vec<String>> {
    let new: BTreeMap<&str, String> =
        node.schema.iter().map(|column| (column.name.as_str(), column.ty.to_string())).collect();
    let keeps_all = old.schema.iter().all(|(name, ty)| new.get(name.as_str()) == Some(ty));
    let is_added = |name: &&str| !old.schema.iter().any(|(given, _)| given == name);
    let added: Vec<String> = new.keys().copied().filter(is_added).map(str::to_owned).collect();
    (keeps_all && !added.is_empty()).then_some(added)
}

/// Whether parameters differ only in that the list of columns holds more entries.
fn only_adds(old: &Value, new: &Value) -> bool {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return false };
    let is_rest_equal = old
        .keys()
        .chain(new.keys())
        .all(|key| matches!(key.as_str(), "columns" | "schema") || old.get(key) == new.get(key));
    let (Some(Value::Array(before)), Some(Value::Array(after))) = (old.get("columns"), new.get("columns"))
    else {
        return false;
    };
    is_rest_equal && before.iter().all(|column| after.contains(column))
}
