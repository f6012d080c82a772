//! In which order declarations are typed: what a declaration names comes before it.
//!
//! `check` types what it needs when it needs it, so any order gives the same result. This one keeps its recursion shallow: a
//! chain of ten thousand flows, each reading the next, is typed from its far end.

use std::collections::BTreeSet;

use super::{DeclarationId, Program};
use crate::syntax::ast::{
    Block, Call, Expr, ExprKind, FieldValue, Formal, ItemKind, Path, Stage, Type, TypeKind,
};

/// All declarations, each after those that it names; within a cycle in the order written.
pub(crate) fn order(program: &Program) -> Vec<DeclarationId> {
    let mut order = Vec::with_capacity(program.declarations.len());
    let mut seen = vec![false; program.declarations.len()];
    let mut open: Vec<(DeclarationId, Vec<DeclarationId>)> = Vec::new();
    for declaration in &program.declarations {
        enter(program, declaration.id, &mut seen, &mut open);
        while let Some((id, rest)) = open.last_mut() {
            match rest.pop() {
                Some(next) => enter(program, next, &mut seen, &mut open),
                None => {
                    order.push(*id);
                    open.pop();
                }
            }
        }
    }
    order
}

fn enter(
    program: &Program,
    id: DeclarationId,
    seen: &mut [bool],
    open: &mut Vec<(DeclarationId, Vec<DeclarationId>)>,
) {
    if !std::mem::replace(&mut seen[id.0 as usize], true) {
        open.push((id, named(program, id)));
    }
}

/// Declarations that the text of a declaration names anywhere, last one first.
fn named(program: &Program, id: DeclarationId) -> Vec<DeclarationId> {
    let declaration = &program.declarations[id.0 as usize];
    let module = &program.modules[declaration.module];
    let mut found: BTreeSet<DeclarationId> = BTreeSet::new();
    visit_item(&program.item(declaration).kind, &mut |path: &Path| {
        let first = path.segments.first().map(|segment| segment.name.as_str()).unwrap_or_default();
        if let Some(id) = module.names.get(first) {
            found.insert(*id);
        } else if let Some(import) = module.imports.get(first)
            && let (Some(module_idx), Some(second)) = (import.module, path.segments.get(1))
            && let Some(id) = program.modules[module_idx].names.get(&second.name)
        {
            found.insert(*id);
        }
    });
    found.into_iter().rev().collect()
}

fn visit_item(kind: &ItemKind, visit: &mut dyn FnMut(&Path)) {
    match kind {
        ItemKind::Param { ty, default, .. } => {
            visit_type(ty, visit);
            visit_expr(default, visit);
        }
        ItemKind::Type { ty, .. } => visit_type(ty, visit),
        ItemKind::Source { ty, call, block, .. } => {
            visit_type(ty, visit);
            visit_call(call, visit);
            block.iter().for_each(|block| visit_block(block, visit));
        }
        ItemKind::Plain { block, .. } => visit_block(block, visit),
        ItemKind::Index { on, block, .. } | ItemKind::On { on, block, .. } => {
            visit(on);
            visit_block(block, visit);
        }
        ItemKind::From { from, block, .. } | ItemKind::Federation { target: from, block, .. } => {
            visit(from);
            visit_block(block, visit);
        }
        ItemKind::Prompt { formals, within, messages, .. } => {
            visit_formals(formals, visit);
            visit_expr(within, visit);
            messages
                .iter()
                .flat_map(|message| &message.attributes)
                .for_each(|arg| visit_expr(&arg.value, visit));
        }
        ItemKind::Pipeline { stages, .. } => stages.iter().for_each(|stage| visit_stage(stage, visit)),
        ItemKind::Gate { on, .. } => visit(on),
        ItemKind::Test { target, .. } => visit(target),
        ItemKind::Import { .. } | ItemKind::Query { .. } | ItemKind::Bad => {}
    }
}

fn visit_stage(stage: &Stage, visit: &mut dyn FnMut(&Path)) {
    match stage {
        Stage::Flow(flow) => {
            visit_expr(&flow.operand, visit);
            flow.steps.iter().filter_map(|step| step.call.as_ref()).for_each(|call| visit_call(call, visit));
            flow.ty.iter().for_each(|ty| visit_type(ty, visit));
        }
        Stage::Write { stream, sink, .. } => {
            visit(stream);
            visit_call(sink, visit);
        }
        Stage::Bad { .. } => {}
    }
}

fn visit_block(block: &Block, visit: &mut dyn FnMut(&Path)) {
    for field in &block.fields {
        match &field.value {
            FieldValue::Expr(expr) => visit_expr(expr, visit),
            FieldValue::Block(block) => visit_block(block, visit),
            FieldValue::Bad => {}
        }
    }
}

fn visit_call(call: &Call, visit: &mut dyn FnMut(&Path)) {
    call.args.iter().for_each(|argument| visit_expr(&argument.value, visit));
}

fn visit_expr(expr: &Expr, visit: &mut dyn FnMut(&Path)) {
    match &expr.kind {
        ExprKind::Path(path) => visit(path),
        ExprKind::Call(call) => visit_call(call, visit),
        ExprKind::List(elements) => elements.iter().for_each(|element| visit_expr(element, visit)),
        ExprKind::Unary { operand, .. } | ExprKind::Paren(operand) => visit_expr(operand, visit),
        ExprKind::Binary { left, right, .. } => {
            visit_expr(left, visit);
            visit_expr(right, visit);
        }
        ExprKind::Literal(_) | ExprKind::Bad => {}
    }
}

fn visit_formals(formals: &[Formal], visit: &mut dyn FnMut(&Path)) {
    formals.iter().for_each(|formal| visit_type(&formal.ty, visit));
}

fn visit_type(ty: &Type, visit: &mut dyn FnMut(&Path)) {
    match &ty.kind {
        TypeKind::Stream(inner) | TypeKind::List(inner) => visit_type(inner, visit),
        TypeKind::Map(key, value) => {
            visit_type(key, visit);
            visit_type(value, visit);
        }
        TypeKind::Vector { space: Some(path), .. } | TypeKind::Tokens(path) | TypeKind::Named(path) => {
            visit(path)
        }
        TypeKind::Record(fields) => visit_formals(fields, visit),
        TypeKind::Vector { space: None, .. } | TypeKind::Enum(_) => {}
    }
}
