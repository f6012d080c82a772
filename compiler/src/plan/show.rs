//! The plan as a table for people.
//!
//! Nodes stand below what they read, target by target, rather than in the plan's canonical order, which is by
//! fingerprint and tells a reader nothing.

use super::explain::totals;
use super::{BuildRecord, Change, ChangeClass, Plan};
use crate::fingerprint::op_name;
use crate::graph::{Node, NodeId};
use crate::op::{Arm, Op};

/// Widest operator description, in characters.
const DETAIL_CHARACTERS: usize = 64;

/// A table of all nodes: class, name, operator with its main parameters, rows; then totals. `changes` comes from
/// [`classes()`](super::classes()); rows that the plan does not know are taken from the last build, marked with `~`.
#[must_use]
pub fn show(plan: &Plan, changes: &[Change], last: Option<&BuildRecord>) -> String {
    let mut lines: Vec<[String; 4]> = vec![["class", "node", "operator", "rows"].map(str::to_owned)];
    for id in reading_order(plan) {
        let change = &changes[id.0 as usize];
        let node = plan.graph.node(id);
        lines.push([
            change.class.to_string(),
            change.name.clone(),
            detail(node),
            rows(plan, change, id, last),
        ]);
    }
    for change in changes.iter().filter(|change| change.class == ChangeClass::Removed) {
        lines.push([change.class.to_string(), change.name.clone(), String::new(), String::new()]);
    }
    let widths: Vec<usize> = (0..4)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for [class, name, operator, rows] in &lines {
        let [class_width, name_width, operator_width, rows_width] =
            [widths[0], widths[1], widths[2], widths[3]];
        let line = format!(
            "{class:class_width$}  {name:name_width$}  {operator:operator_width$}  {rows:>rows_width$}"
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let counts: Vec<String> =
        totals(changes).iter().map(|(class, count)| format!("{count} {class}")).collect();
    text.push_str(&format!("\n{} nodes: {}\n", plan.graph.nodes.len(), counts.join(", ")));
    text
}

/// Inputs before users, depth first from the targets in order of their names.
fn reading_order(plan: &Plan) -> Vec<NodeId> {
    let mut seen = vec![false; plan.graph.nodes.len()];
    let mut order = Vec::with_capacity(seen.len());
    let named = plan.graph.outputs.iter().map(|(_, id)| *id);
    for root in named.chain(plan.roots.iter().copied()) {
        // A node stays on the stack, marked, until its inputs are listed.
        let mut stack = vec![(root, false)];
        while let Some((id, is_open)) = stack.pop() {
            if is_open {
                order.push(id);
            } else if !std::mem::replace(&mut seen[id.0 as usize], true) {
                stack.push((id, true));
                stack.extend(plan.graph.node(id).inputs.iter().rev().map(|input| (*input, false)));
            }
        }
    }
    order
}

fn rows(plan: &Plan, change: &Change, id: NodeId, last: Option<&BuildRecord>) -> String {
    let known = plan.rows[id.0 as usize];
    let before = last.and_then(|last| last.node(&change.name)).and_then(|node| node.rows);
    match (known, before) {
        (Some(rows), _) if rows.is_exact => rows.count.to_string(),
        (_, Some(count)) if change.class == ChangeClass::Reused => count.to_string(),
        (_, Some(count)) => format!("~{count}"),
        (Some(rows), None) => format!("<={}", rows.count),
        (None, None) => "?".to_owned(),
    }
}

fn arm_names(arms: &[Arm]) -> String {
    arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// The operator and the parameters that a reader asks for first.
fn detail(node: &Node) -> String {
    let names = |columns: &[(String, crate::op::Expr)]| {
        columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let parameters = match &node.op {
        Op::Scan(scan) => format!("{} {}", scan.kind, scan.path),
        Op::Rows { rows } => format!("{}", rows.len()),
        Op::SplitPart { column, from, to, .. } => format!("{column} {from}..{to}"),
        Op::Chunk(chunk) => format!("by = {}, max = {}tok", chunk.by, chunk.max_tokens),
        Op::Compress(compress) => {
            let ratio = compress.ratio.map(|ratio| format!(", ratio = {ratio}x"));
            let budget = compress.budget_tokens.map(|budget| format!(", budget = {budget}tok"));
            let limits = ratio.into_iter().chain(budget).collect::<String>();
            format!("{}{limits}", compress.stages.join(" "))
        }
        Op::Dedup(dedup) => format!("{}, unit = {}, by = {}", dedup.column, dedup.unit, dedup.by),
        Op::Embed { embedder, name, .. } => format!("{} {} as {name}", embedder.kind, embedder.dim),
        Op::FitScorer(fit) => format!("linear, {} epochs", fit.epochs),
        Op::FitFusion(fit) => format!("weights of {}", arm_names(&fit.arms)),
        Op::FitIdf { embedder, .. } => format!("{} {}", embedder.kind, embedder.dim),
        Op::Index(index) => format!("{} on {}", index.kind, index.column),
        Op::Retrieve(retrieve) => format!("from {}, k = {}", arm_names(&retrieve.arms), retrieve.k),
        Op::Fuse { name, .. } => format!("as {name}"),
        Op::Assemble(assemble) => format!("within {}tok as {}", assemble.prompt.budget_tokens, assemble.name),
        Op::Select { columns } | Op::Derive { columns } => names(columns),
        Op::Rename { columns } | Op::Project { columns } => {
            columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        }
        Op::Filter { .. } | Op::Union => String::new(),
        Op::Explode { name, .. } => format!("as {name}"),
        Op::Join { how, left_on, .. } => format!("{how:?} on {}", left_on.join(", ")).to_lowercase(),
        Op::Sort { by, descending } => {
            format!("by {}{}", by.join(", "), if *descending { " desc" } else { "" })
        }
        Op::Limit { rows } => rows.to_string(),
        Op::Aggregate { by, columns } => format!("by {}: {}", by.join(", "), names(columns)),
        Op::Distinct { columns } => columns.join(", "),
        Op::Sample { share, rows, seed } => {
            let size = share.map_or_else(
                || format!("{}", rows.unwrap_or_default()),
                |share| format!("{}%", share * 100.0),
            );
            format!("{size}, seed = {seed}")
        }
        Op::Sql { tables, .. } => format!("over {}", tables.join(", ")),
        Op::Write(write) => format!("{} {}", write.kind, write.path),
        Op::Unavailable { area, what } => format!("{what} (area {area})"),
    };
    let text = format!("{} {parameters}", op_name(&node.op));
    if text.chars().count() <= DETAIL_CHARACTERS {
        return text.trim_end().to_owned();
    }
    let head: String = text.chars().take(DETAIL_CHARACTERS - 1).collect();
    format!("{head}…")
}
