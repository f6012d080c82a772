//! Why a node has its class: which parameter, file or operator version, old and new.

use std::fmt;

use serde_json::Value;

use super::{BuildRecord, Change, ChangeClass, Plan, Reason, classes};
use crate::types::Fp;

/// Longest value shown, in characters.
const SHOWN_CHARACTERS: usize = 60;

/// The classes and reasons of a node and of what it depends on, as far as they explain each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The node, then the changed nodes that it hears of, nearest first.
    pub chain: Vec<Change>,
}

/// Explains the node of a name: a name of the plan's table, of a stream, artifact or output.
///
/// # Errors
/// All node names, if no node has this one.
pub fn explain(plan: &Plan, last: Option<&BuildRecord>, name: &str) -> Result<Explanation, Vec<String>> {
    let changes = classes(plan, last);
    let named = [&plan.graph.streams, &plan.graph.artifacts, &plan.graph.outputs];
    let by_label = named.into_iter().flatten().find(|(given, _)| given == name).map(|(_, id)| id.0 as usize);
    let place = changes.iter().position(|change| change.name == name).or(by_label);
    let Some(place) = place else { return Err(changes.into_iter().map(|change| change.name).collect()) };
    let mut chain = vec![changes[place].clone()];
    let mut at = 0;
    while at < chain.len() {
        for reason in chain[at].reasons.clone() {
            let (Reason::Input { name, .. } | Reason::Artifact { name, .. }) = reason else { continue };
            let cause = changes.iter().find(|change| change.name == name && change.node.is_some());
            if let Some(cause) = cause.filter(|cause| !chain.contains(cause)) {
                chain.push(cause.clone());
            }
        }
        at += 1;
    }
    Ok(Explanation { chain })
}

/// One reason for every parameter that differs, in the order of their names; records are compared field by field.
#[must_use]
pub fn parameter_changes(old: &Value, new: &Value) -> Vec<Reason> {
    let mut reasons = Vec::new();
    compare("", Some(old), Some(new), &mut reasons);
    reasons
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, reasons: &mut Vec<Reason>) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (old, new) {
        let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            compare(&path, before.get(name), after.get(name), reasons);
        }
        return;
    }
    reasons.push(Reason::Parameter { path: path.to_owned(), old: old.cloned(), new: new.cloned() });
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.chain {
            writeln!(f, "{}: {}", change.name, change.class)?;
            for reason in &change.reasons {
                writeln!(f, "  {reason}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = |fp: &Option<Fp>| fp.map_or_else(|| "unknown".to_owned(), |fp| fp.short(12));
        match self {
            Reason::NotBuilt => write!(f, "not in the last build"),
            Reason::Operator { old, new } => write!(f, "operator {old} -> {new}"),
            Reason::Version { old, new } => write!(f, "version of the operator {old} -> {new}"),
            Reason::Parameter { path, old, new } => {
                write!(f, "parameter `{path}` {} -> {}", shown(old.as_ref()), shown(new.as_ref()))
            }
            Reason::Files { path, old, new } => {
                write!(f, "files of `{path}` {} -> {}", content(old), content(new))
            }
            Reason::Artifact { name, class } => write!(f, "artifact `{name}` is {class}"),
            Reason::Input { name, class } => write!(f, "input `{name}` is {class}"),
            Reason::Inputs { old, new } => write!(f, "inputs {} -> {}", old.join(", "), new.join(", ")),
            Reason::Columns { added } => write!(f, "new columns {}", added.join(", ")),
            Reason::Names { old: Some(old) } => write!(f, "was `{old}`"),
            Reason::Names { old: None } => write!(f, "names or docs differ"),
            Reason::Area { area } => write!(f, "needs the area `{area}`"),
        }
    }
}

/// A value in one short line.
fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "absent".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARACTERS {
        return text;
    }
    let head: String = text.chars().take(SHOWN_CHARACTERS - 1).collect();
    format!("{head}…")
}

/// Counts per class, for the last line of a plan.
pub(super) fn totals(changes: &[Change]) -> Vec<(ChangeClass, usize)> {
    let mut counts = std::collections::BTreeMap::<ChangeClass, usize>::new();
    changes.iter().for_each(|change| *counts.entry(change.class).or_default() += 1);
    counts.into_iter().collect()
}
