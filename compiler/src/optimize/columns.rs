//! Which columns an operator reads, makes and passes on.
//!
//! The answers are safe: where an operator might read a column it is said to read it, and where it might change one it
//! is said to make it. Artifacts, sinks, `union` and `sql` read whole rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Graph, Node, NodeId};
use crate::op::{Expr, ExprKind, Op, Value};
use crate::types::Type;

/// How much of a column is used. `None` stands for all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Need {
    /// The fields, if the column is a record or a list of records.
    pub(crate) fields: Option<BTreeSet<String>>,
    /// The number of leading elements, if the column is a list.
    pub(crate) elements: Option<u64>,
}

/// Columns in use, with how much of each.
pub(crate) type Needs = BTreeMap<String, Need>;

impl Need {
    const ALL: Need = Need { fields: None, elements: None };

    fn join(&mut self, other: &Need) {
        self.fields = match (self.fields.take(), &other.fields) {
            (Some(left), Some(right)) => Some(left.union(right).cloned().collect()),
            _ => None,
        };
        self.elements = self.elements.zip(other.elements).map(|(left, right)| left.max(right));
    }
}

/// Adds a use of a column.
pub(crate) fn add(needs: &mut Needs, column: &str, need: &Need) {
    match needs.get_mut(column) {
        Some(present) => present.join(need),
        None => _ = needs.insert(column.to_owned(), need.clone()),
    }
}

/// Where each column of a node comes from unchanged: the input's position and the column there; `None` if the operator
/// makes it.
pub(crate) fn origins(graph: &Graph, node: &Node) -> Vec<Option<(usize, String)>> {
    node.schema.iter().map(|column| origin(graph, node, &column.name)).collect()
}

/// Where one column comes from, as in [`origins`].
pub(crate) fn origin(graph: &Graph, node: &Node, name: &str) -> Option<(usize, String)> {
    let has = |input: usize, name: &str| {
        let input = node.inputs.get(input).map(|input| graph.node(*input));
        input.is_some_and(|input| input.schema.iter().any(|column| column.name == name))
    };
    let passed = |name: &str| has(0, name).then(|| (0, name.to_owned()));
    let renamed = |old: &str| passed(old);
    match &node.op {
        Op::Select { columns } => match columns.iter().find(|(new, _)| new == name) {
            Some((_, Expr { kind: ExprKind::Column(old), .. })) => renamed(old),
            Some(_) => None,
            // Key columns that are not selected stay, hidden.
            None => passed(name).or_else(|| passed(name.trim_start_matches('~'))),
        },
        Op::Rename { columns } => match columns.iter().find(|(new, _)| new == name) {
            Some((_, old)) => renamed(old),
            None => passed(name),
        },
        Op::Project { columns } => {
            columns.iter().find(|(after, _)| after == name).and_then(|(_, old)| renamed(old))
        }
        Op::Aggregate { by, .. } => by.iter().any(|by| by == name).then(|| passed(name)).flatten(),
        Op::Join { .. } => passed(name).or_else(|| has(1, name).then(|| (1, name.to_owned()))),
        Op::Union | Op::Sql { .. } | Op::Scan(_) | Op::Rows { .. } | Op::Unavailable { .. } => None,
        op if made(op).iter().any(|made| made == name) => None,
        _ => passed(name),
    }
}

/// Columns that an operator makes or changes under a name that its input may have too.
fn made(op: &Op) -> Vec<String> {
    let with = |name: &str, suffixes: &[&str]| -> Vec<String> {
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
    };
    match op {
        Op::Chunk(chunk) => {
            let mut names = with(&chunk.name, &["", "_spans", "_tokens"]);
            names.extend(["chunk".to_owned(), "heading".to_owned()]);
            names
        }
        Op::Compress(compress) => {
            with(&compress.name, &["", "_spans", "_tokens_in", "_tokens_out", "_links", "_keep_unmet"])
        }
        Op::Dedup(dedup) => {
            let spans = dedup.spans.iter().cloned();
            spans.chain([dedup.column.clone(), "copies".to_owned()]).collect()
        }
        Op::Embed { name, .. } | Op::Fuse { name, .. } => vec![name.clone()],
        Op::Explode { name, .. } => with(name, &["", "_idx"]),
        Op::Retrieve(retrieve) => vec![retrieve.name.clone()],
        Op::Assemble(assemble) => with(&assemble.name, &["", "_messages", "_tokens", "_lineage"]),
        Op::Derive { columns } => columns.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    }
}

/// What a node uses of each input's columns, given what is used of its own. Keys are always used: they give the order.
pub(crate) fn reads(graph: &Graph, node: &Node, used: &Needs) -> Vec<Needs> {
    let mut needs: Vec<Needs> = vec![Needs::new(); node.inputs.len()];
    for (needs, input) in needs.iter_mut().zip(&node.inputs) {
        let input = graph.node(*input);
        let takes_all = matches!(
            node.op,
            Op::Union | Op::Sql { .. } | Op::Index(_) | Op::Write(_) | Op::Unavailable { .. }
        );
        let whole = input.schema.iter().map(|column| &column.name).filter(|_| takes_all);
        whole.chain(&input.key).for_each(|name| add(needs, name, &Need::ALL));
    }
    for (name, need) in used {
        if let Some((input, old)) = origin(graph, node, name) {
            add(&mut needs[input], &old, need);
        }
    }
    if let Op::Join { right_on, .. } = &node.op
        && let Some(right) = needs.get_mut(1)
    {
        right_on.iter().for_each(|name| add(right, name, &Need::ALL));
    }
    if let Some(stream) = needs.first_mut() {
        named_columns(&node.op).into_iter().for_each(|name| add(stream, name, &Need::ALL));
        for expr in expressions(&node.op) {
            read_expr(expr, &Need::ALL, stream);
        }
        if let Op::Explode { list, name } = &node.op {
            let fields = used.get(name).map_or_else(|| Some(BTreeSet::new()), |need| need.fields.clone());
            read_expr(list, &Need { fields, elements: None }, stream);
        }
    }
    needs
}

/// Columns of the first input that an operator names outside expressions.
fn named_columns(op: &Op) -> Vec<&str> {
    fn listed(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }
    match op {
        Op::SplitPart { column, .. } => vec![column],
        Op::Chunk(chunk) => chunk.spans.iter().map(String::as_str).collect(),
        Op::Dedup(dedup) => {
            dedup.spans.iter().map(String::as_str).chain([dedup.column.as_str(), "copies"]).collect()
        }
        Op::Join { left_on, .. } => listed(left_on),
        Op::Sort { by, .. } => listed(by),
        Op::Aggregate { by, .. } => listed(by),
        Op::Distinct { columns } => listed(columns),
        _ => Vec::new(),
    }
}

/// Expressions over the first input that are evaluated whatever is used of their results: they may fault.
fn expressions(op: &Op) -> Vec<&Expr> {
    let is_plain = |expr: &Expr| matches!(expr.kind, ExprKind::Column(_));
    match op {
        Op::Chunk(chunk) => vec![&chunk.text],
        Op::Compress(compress) => {
            let others = compress.spans.iter().chain(&compress.query).chain(&compress.titles);
            std::iter::once(&compress.text).chain(others).collect()
        }
        Op::Embed { text, .. } | Op::FitIdf { text, .. } => vec![text],
        Op::FitScorer(fit) => {
            [&fit.passages, &fit.query, &fit.answers].into_iter().chain(&fit.titles).collect()
        }
        Op::FitFusion(fit) => vec![&fit.query, &fit.relevant],
        Op::Retrieve(retrieve) => vec![&retrieve.query],
        Op::Fuse { lists, .. } => lists.iter().collect(),
        Op::Assemble(assemble) => {
            assemble.args.iter().flat_map(|(_, value, spans)| [value].into_iter().chain(spans)).collect()
        }
        Op::Select { columns } => {
            columns.iter().map(|(_, expr)| expr).filter(|expr| !is_plain(expr)).collect()
        }
        Op::Derive { columns } | Op::Aggregate { columns, .. } => {
            columns.iter().map(|(_, expr)| expr).collect()
        }
        Op::Filter { condition } => vec![condition],
        _ => Vec::new(),
    }
}

/// Whether an operator's expressions look at more than their own row.
pub(crate) fn has_window(op: &Op) -> bool {
    expressions(op).into_iter().any(is_aggregate)
}

/// Whether an expression aggregates over rows somewhere.
pub(crate) fn is_aggregate(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Aggregate { .. }) || children(expr).into_iter().any(is_aggregate)
}

/// Adds what an expression uses; `need` is what is used of its value.
pub(crate) fn read_expr(expr: &Expr, need: &Need, needs: &mut Needs) {
    match &expr.kind {
        ExprKind::Column(name) => add(needs, name, need),
        ExprKind::Field { base, name } | ExprKind::FieldOfEach { base, name } => {
            let fields = Some(BTreeSet::from([name.clone()]));
            read_expr(base, &Need { fields, elements: need.elements }, needs);
        }
        ExprKind::Call { function, args } => {
            let leading = leading_elements(function, args);
            for (idx, arg) in args.iter().enumerate() {
                let elements = leading.filter(|_| idx == 0);
                read_expr(arg, &Need { fields: None, elements }, needs);
            }
        }
        _ => {
            if let ExprKind::Aggregate { over: Some(column), .. } = &expr.kind {
                add(needs, column, &Need::ALL);
            }
            children(expr).into_iter().for_each(|child| read_expr(child, &Need::ALL, needs));
        }
    }
}

/// How many leading elements of its first argument a function looks at, where the program says so by a constant.
fn leading_elements(function: &str, args: &[Expr]) -> Option<u64> {
    let constant = |idx: usize| match args.get(idx).map(|arg| &arg.kind) {
        Some(ExprKind::Literal(Value::Int(value))) => u64::try_from(*value).ok(),
        Some(ExprKind::Literal(Value::UInt(value))) => Some(*value),
        _ => None,
    };
    match function {
        "first" => Some(1),
        // One more than the index, whether indexes count from 0 or from 1.
        "nth" => constant(1).map(|index| index.saturating_add(1)),
        "slice" => constant(1).and(constant(2)).map(|end| end.saturating_add(1)),
        "hit_at" => constant(2),
        _ => None,
    }
}

/// The direct parts of an expression.
fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Column(_) => Vec::new(),
        ExprKind::Field { base, .. } | ExprKind::FieldOfEach { base, .. } => vec![base],
        ExprKind::Call { args, .. } | ExprKind::Aggregate { args, .. } | ExprKind::List(args) => {
            args.iter().collect()
        }
        ExprKind::Binary { left, right, .. } => vec![left, right],
        ExprKind::Unary { operand, .. } | ExprKind::Convert(operand) => vec![operand],
    }
}

/// Changes every column reference of an expression.
pub(crate) fn each_column(expr: &mut Expr, change: &mut dyn FnMut(&mut String, &mut Type)) {
    match &mut expr.kind {
        ExprKind::Literal(_) => {}
        ExprKind::Column(name) => change(name, &mut expr.ty),
        ExprKind::Field { base, .. } | ExprKind::FieldOfEach { base, .. } => each_column(base, change),
        ExprKind::Aggregate { args, over, .. } => {
            if let Some(name) = over {
                change(name, &mut Type::Unknown);
            }
            args.iter_mut().for_each(|arg| each_column(arg, change));
        }
        ExprKind::Call { args, .. } | ExprKind::List(args) => {
            args.iter_mut().for_each(|arg| each_column(arg, change));
        }
        ExprKind::Binary { left, right, .. } => {
            each_column(left, change);
            each_column(right, change);
        }
        ExprKind::Unary { operand, .. } | ExprKind::Convert(operand) => each_column(operand, change),
    }
}

/// Changes every column reference in an operator's expressions over its first input.
pub(crate) fn each_op_column(op: &mut Op, change: &mut dyn FnMut(&mut String, &mut Type)) {
    let mut visit = |expr: &mut Expr| each_column(expr, change);
    match op {
        Op::Chunk(chunk) => visit(&mut chunk.text),
        Op::Compress(compress) => {
            visit(&mut compress.text);
            let others = compress.spans.iter_mut().chain(&mut compress.query).chain(&mut compress.titles);
            others.for_each(visit);
        }
        Op::Embed { text, .. } | Op::FitIdf { text, .. } => visit(text),
        Op::FitScorer(fit) => {
            let parts = [&mut fit.passages, &mut fit.query, &mut fit.answers];
            parts.into_iter().chain(&mut fit.titles).for_each(visit);
        }
        Op::FitFusion(fit) => [&mut fit.query, &mut fit.relevant].into_iter().for_each(visit),
        Op::Retrieve(retrieve) => visit(&mut retrieve.query),
        Op::Fuse { lists, .. } => lists.iter_mut().for_each(visit),
        Op::Assemble(assemble) => {
            for (_, value, spans) in &mut assemble.args {
                visit(value);
                spans.iter_mut().for_each(&mut visit);
            }
        }
        Op::Select { columns } | Op::Derive { columns } | Op::Aggregate { columns, .. } => {
            columns.iter_mut().for_each(|(_, expr)| visit(expr));
        }
        Op::Filter { condition } => visit(condition),
        Op::Explode { list, .. } => visit(list),
        Op::Write(write) => write.file_name.iter_mut().chain(&mut write.file_body).for_each(visit),
        _ => {}
    }
}

/// What is used of every node's columns; of a root, all of them.
pub(crate) fn needs(graph: &Graph, is_root: &dyn Fn(NodeId) -> bool) -> Vec<Needs> {
    let mut needs: Vec<Needs> = vec![Needs::new(); graph.nodes.len()];
    for node in graph.nodes.iter().rev() {
        let mut used = needs[node.id.0 as usize].clone();
        let whole = node.schema.iter().map(|column| &column.name).filter(|_| is_root(node.id));
        whole.chain(&node.key).for_each(|name| add(&mut used, name, &Need::ALL));
        for (input, read) in node.inputs.iter().zip(reads(graph, node, &used)) {
            read.iter().for_each(|(name, need)| add(&mut needs[input.0 as usize], name, need));
        }
    }
    needs
}
