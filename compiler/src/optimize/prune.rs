//! Columns that nobody uses are dropped early.

use std::collections::BTreeSet;

use super::columns::Needs;
use super::{Work, columns};
use crate::fingerprint::op_name;
use crate::graph::{Class, Effect, Graph, Node, NodeId};
use crate::op::{Expr, ExprKind, Op};
use crate::types::{Column, Type};

/// Drops unused columns after scans and before blocking operators, where that takes text or lists off the path.
pub(super) fn columns(work: &mut Work) {
    let mut idx = 0;
    let mut needs = needs_of(work);
    while idx < work.graph.nodes.len() {
        if let Some(kept) = droppable(work, NodeId(idx as u32), &needs[idx]) {
            insert_projection(work, NodeId(idx as u32), kept);
            needs = needs_of(work);
            idx += 1;
        }
        idx += 1;
    }
}

fn needs_of(work: &Work) -> Vec<Needs> {
    columns::needs(&work.graph, &|id| work.roots.contains(&id))
}

/// The columns that are used of a node, if it pays to drop the others right after it.
fn droppable(work: &Work, id: NodeId, used: &Needs) -> Option<Vec<Column>> {
    let node = work.graph.node(id);
    let (kept, dropped): (Vec<Column>, Vec<Column>) =
        node.schema.iter().cloned().partition(|column| used.contains_key(&column.name));
    if kept.is_empty() || !dropped.iter().any(|column| is_heavy(&column.ty)) {
        return None;
    }
    let users: Vec<&Node> = work.users(id).into_iter().map(|user| work.graph.node(user)).collect();
    let is_place = matches!(node.op, Op::Scan(_)) || users.iter().any(|user| user.class == Class::Blocking);
    let narrows = |user: &&Node| matches!(user.op, Op::Project { .. } | Op::Select { .. });
    (is_place && !users.iter().all(narrows)).then_some(kept)
}

/// Whether values are of no fixed small size.
fn is_heavy(ty: &Type) -> bool {
    matches!(
        ty.required(),
        Type::Text
            | Type::Bytes
            | Type::List(_)
            | Type::Map(..)
            | Type::Record(_)
            | Type::Vector { .. }
            | Type::Tokens(_)
            | Type::Message
    )
}

fn insert_projection(work: &mut Work, id: NodeId, kept: Vec<Column>) {
    let origins: Vec<_> = work.graph.nodes.iter().map(|node| columns::origins(&work.graph, node)).collect();
    let node = work.graph.node(id);
    let pairs = kept.iter().map(|column| (column.name.clone(), column.name.clone())).collect();
    let projection = Node {
        id,
        op: Op::Project { columns: pairs },
        inputs: Vec::new(),
        schema: kept,
        key: node.key.clone(),
        class: Class::RowWise,
        effect: Effect::Pure,
        version: 1,
        labels: vec![format!("{} columns", node.labels.first().map_or(op_name(&node.op), String::as_str))],
        span: node.span,
    };
    work.insert_after(id, projection);
    let inserted = id.0 as usize + 1;
    for idx in inserted + 1..work.graph.nodes.len() {
        narrow(work, NodeId(idx as u32), &origins[idx - 1]);
    }
}

/// Takes the columns that no longer arrive off a node, its schema and its lists of columns.
fn narrow(work: &mut Work, id: NodeId, origins: &[Option<(usize, String)>]) {
    let node = work.graph.node(id);
    let arrives = |origin: &Option<(usize, String)>| {
        origin.as_ref().is_none_or(|(input, name)| {
            let input = work.graph.node(node.inputs[*input]);
            input.schema.iter().any(|column| column.name == *name)
        })
    };
    let kept: Vec<bool> = origins.iter().map(arrives).collect();
    if kept.iter().all(|kept| *kept) {
        return;
    }
    let node = &mut work.graph.nodes[id.0 as usize];
    let mut gone: Vec<String> = Vec::new();
    let mut flags = kept.iter();
    node.schema.retain(|column| {
        let is_kept = *flags.next().expect("invariant: one origin per column");
        if !is_kept {
            gone.push(column.name.clone());
        }
        is_kept
    });
    match &mut node.op {
        Op::Select { columns } => columns.retain(|(name, _)| !gone.contains(name)),
        Op::Rename { columns } | Op::Project { columns } => columns.retain(|(name, _)| !gone.contains(name)),
        _ => {}
    }
    work.unname(id);
}

/// Hits carry only the columns that are used of them, and only the ranks that are looked at.
pub(super) fn hits(work: &mut Work) {
    for idx in 0..work.graph.nodes.len() {
        let id = NodeId(idx as u32);
        let Op::Retrieve(retrieve) = &work.graph.node(id).op else { continue };
        let Some(need) = needs_of(work)[idx].get(&retrieve.name).cloned() else { continue };
        if work.roots.contains(&id) {
            continue;
        }
        let dropped =
            need.fields.map(|fields| unused_hit_columns(&work.graph, id, &fields)).unwrap_or_default();
        let shorter = need.elements.and_then(|elements| shorter_list(&work.graph, id, elements));
        if shorter.is_none() && dropped.is_empty() {
            continue;
        }
        let carriers = carriers(&work.graph, id);
        let Op::Retrieve(retrieve) = &mut work.graph.nodes[idx].op else { continue };
        retrieve.k = shorter.unwrap_or(retrieve.k);
        retrieve.columns.retain(|column| !dropped.contains(&column.name));
        retype(work, &carriers, &dropped);
    }
}

/// The new `k`, if ranks beyond the largest used need not be asked for: fewer hits are the beginning of more hits where
/// several lists are fused from `max(k, 100)` candidates each, and in `flat` and `bm25`, which are exact.
fn shorter_list(graph: &Graph, id: NodeId, elements: u64) -> Option<u32> {
    let Op::Retrieve(retrieve) = &graph.node(id).op else { return None };
    let is_prefix = match retrieve.arms.as_slice() {
        [arm] => matches!(arm.kind.as_str(), "flat" | "bm25"),
        _ => retrieve.k <= 100,
    };
    let k = u32::try_from(elements.max(1)).unwrap_or(u32::MAX);
    (is_prefix && retrieve.per.is_none() && k < retrieve.k).then_some(k)
}

/// Columns of hits that nobody uses. Ties are ordered by the indexed stream's key, so its columns always stay.
fn unused_hit_columns(graph: &Graph, id: NodeId, used: &BTreeSet<String>) -> Vec<String> {
    let node = graph.node(id);
    let Op::Retrieve(retrieve) = &node.op else { return Vec::new() };
    let indexes = node.inputs.iter().skip(1).map(|index| graph.node(*index));
    let keys = indexes.flat_map(|index| index.inputs.iter()).flat_map(|stream| &graph.node(*stream).key);
    let kept: BTreeSet<&String> = keys.chain(&retrieve.per).chain(used).collect();
    let names = retrieve.columns.iter().map(|column| &column.name);
    names.filter(|name| !kept.contains(name)).cloned().collect()
}

/// For every node the columns that hold the hits of a `retrieve`, as a list or one by one.
fn carriers(graph: &Graph, id: NodeId) -> Vec<BTreeSet<String>> {
    let mut carriers: Vec<BTreeSet<String>> = vec![BTreeSet::new(); graph.nodes.len()];
    for node in &graph.nodes[id.0 as usize..] {
        let carries = |input: usize, name: &str| {
            node.inputs.get(input).is_some_and(|input| carriers[input.0 as usize].contains(name))
        };
        let made = match &node.op {
            Op::Retrieve(retrieve) if node.id == id => Some(&retrieve.name),
            Op::Explode { list: Expr { kind: ExprKind::Column(list), .. }, name } if carries(0, list) => {
                Some(name)
            }
            _ => None,
        };
        let passed = node.schema.iter().zip(columns::origins(graph, node)).filter_map(|(column, origin)| {
            let (input, old) = origin?;
            carries(input, &old).then_some(&column.name)
        });
        let here: BTreeSet<String> = passed.chain(made).cloned().collect();
        carriers[node.id.0 as usize] = here;
    }
    carriers
}

/// Takes dropped fields off the types of the columns that carry hits, and off the expressions that read them.
fn retype(work: &mut Work, carriers: &[BTreeSet<String>], dropped: &[String]) {
    for (idx, carried) in carriers.iter().enumerate() {
        let node = &mut work.graph.nodes[idx];
        for column in node.schema.iter_mut().filter(|column| carried.contains(&column.name)) {
            drop_fields(&mut column.ty, dropped);
        }
        if let Some(given) = node.inputs.first().map(|input| &carriers[input.0 as usize]) {
            columns::each_op_column(&mut node.op, &mut |name, ty| {
                if given.contains(name) {
                    drop_fields(ty, dropped);
                }
            });
        }
        if !carried.is_empty() {
            work.unname(NodeId(idx as u32));
        }
    }
}

/// Takes fields off a record, or off the records of a list.
fn drop_fields(ty: &mut Type, dropped: &[String]) {
    match ty {
        Type::Optional(inner) | Type::List(inner) => drop_fields(inner, dropped),
        Type::Record(fields) => fields.retain(|field| !dropped.contains(&field.name)),
        _ => {}
    }
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
