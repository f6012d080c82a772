//! Relational operators as DataFusion's own nodes.
//!
//! Joins, unions, aggregates and samples leave DataFusion in no promised order, so they are put into key order.

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue, UnnestOptions};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, SortExpr};
use promptc_compiler::graph::Node;
use promptc_compiler::op::{self, ExprKind, JoinKind, Op};

use super::{Planner, all_columns, ascending, project, sort_by_key};
use crate::error::EngineError;
use crate::expressions::{Aggregated, column, lower};
use crate::functions;
use crate::types;

impl Planner<'_> {
    pub(super) fn filter(&mut self, node: &Node) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let condition = match &node.op {
            Op::Filter { condition } => lower(condition)?,
            Op::SplitPart { column: name, seed, from, to } => {
                functions::split_part(column(name), *seed, *from, *to)?
            }
            _ => return Err(EngineError::internal("planner", "not a filter")),
        };
        Ok(LogicalPlanBuilder::from(input).filter(condition)?.build()?)
    }

    pub(super) fn derive(
        &mut self,
        node: &Node,
        new: &[(String, op::Expr)],
    ) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let has_windows = new.iter().any(|(_, expr)| has_window(expr));
        let exprs: Result<Vec<Expr>, EngineError> = node
            .schema
            .iter()
            .map(|col| match new.iter().find(|(name, _)| *name == col.name) {
                Some((name, expr)) => Ok(typed(lower(expr)?, &col.ty).alias(name.clone())),
                None => Ok(column(&col.name)),
            })
            .collect();
        let plan = if has_windows { windowed(input, exprs?)? } else { project(input, exprs?)? };
        if has_windows { sort_by_key(plan, node) } else { Ok(plan) }
    }

    pub(super) fn select(
        &mut self,
        node: &Node,
        kept: &[(String, op::Expr)],
    ) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let exprs: Result<Vec<Expr>, EngineError> = node
            .schema
            .iter()
            .map(|col| match kept.iter().find(|(name, _)| *name == col.name) {
                Some((name, expr)) => Ok(typed(lower(expr)?, &col.ty).alias(name.clone())),
                None => Ok(hidden_source(&input, &col.name).alias(col.name.clone())),
            })
            .collect();
        project(input, exprs?)
    }

    pub(super) fn rename(
        &mut self,
        node: &Node,
        pairs: &[(String, String)],
    ) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let exprs = node.schema.iter().map(|col| {
            let old = pairs.iter().find(|(new, _)| *new == col.name).map_or(&col.name, |(_, old)| old);
            column(old).alias(col.name.clone())
        });
        project(input, exprs.collect())
    }

    pub(super) fn project(
        &mut self,
        node: &Node,
        pairs: &[(String, String)],
    ) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let exprs = node.schema.iter().map(|col| {
            let old = pairs.iter().find(|(new, _)| *new == col.name).map_or(&col.name, |(_, old)| old);
            typed(column(old), &col.ty).alias(col.name.clone())
        });
        project(input, exprs.collect())
    }

    pub(super) fn explode(&mut self, node: &Node, list: &op::Expr) -> Result<LogicalPlan, EngineError> {
        let Op::Explode { name, .. } = &node.op else {
            return Err(EngineError::internal("planner", "not an explode"));
        };
        let input = self.input(node)?;
        let mut exprs = all_columns(&input);
        let known: Vec<String> = input.schema().fields().iter().map(|field| field.name().clone()).collect();
        exprs.push(lower(list)?.alias("~item"));
        exprs.push(functions::list_indices(lower(list)?)?.alias("~item_idx"));
        let options = UnnestOptions { preserve_nulls: false, recursions: Vec::new() };
        let unnested = LogicalPlanBuilder::from(project(input, exprs)?)
            .unnest_columns_with_options(
                vec![Column::from_name("~item"), Column::from_name("~item_idx")],
                options,
            )?
            .build()?;
        let exprs = node.schema.iter().map(|col| {
            let source = match col.name.as_str() {
                found if found == name => "~item",
                found if known.iter().any(|column| column == found) => found,
                _ => "~item_idx",
            };
            typed(column(source), &col.ty).alias(col.name.clone())
        });
        let exprs = exprs.collect();
        project(unnested, exprs)
    }

    pub(super) fn join(
        &mut self,
        node: &Node,
        how: JoinKind,
        left_on: &[String],
        right_on: &[String],
    ) -> Result<LogicalPlan, EngineError> {
        let left = self.plan(node.inputs[0])?;
        let right = self.plan(node.inputs[1])?;
        let right_name = |name: &str| format!("~right.{name}");
        let renamed =
            right.schema().fields().iter().map(|field| column(field.name()).alias(right_name(field.name())));
        let renamed = renamed.collect();
        let right = project(right, renamed)?;
        let kind = match how {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Semi => JoinType::LeftSemi,
            JoinKind::Anti => JoinType::LeftAnti,
        };
        let keys = (
            left_on.iter().map(|name| Column::from_name(name.clone())).collect(),
            right_on.iter().map(|name| Column::from_name(right_name(name))).collect(),
        );
        let left_columns: Vec<String> =
            left.schema().fields().iter().map(|field| field.name().clone()).collect();
        let joined = LogicalPlanBuilder::from(left).join(right, kind, keys, None)?.build()?;
        let exprs = node.schema.iter().map(|col| {
            let is_left = left_columns.contains(&col.name);
            let source = if is_left { column(&col.name) } else { column(&right_name(&col.name)) };
            typed(source, &col.ty).alias(col.name.clone())
        });
        let exprs = exprs.collect();
        sort_by_key(project(joined, exprs)?, node)
    }

    pub(super) fn union(&mut self, node: &Node) -> Result<LogicalPlan, EngineError> {
        let names: Vec<&str> = node.schema.iter().map(|col| col.name.as_str()).collect();
        let mut plans = Vec::new();
        for input in &node.inputs {
            let plan = self.plan(*input)?;
            plans.push(project(plan, names.iter().map(|name| column(name)).collect())?);
        }
        let mut plans = plans.into_iter();
        let first = plans.next().ok_or_else(|| EngineError::internal("planner", "a union of nothing"))?;
        let union = plans.try_fold(LogicalPlanBuilder::from(first), LogicalPlanBuilder::union)?.build()?;
        sort_by_key(union, node)
    }

    pub(super) fn sort(
        &mut self,
        node: &Node,
        by: &[String],
        descending: bool,
    ) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let mut order: Vec<SortExpr> =
            by.iter().map(|name| SortExpr::new(column(name), !descending, false)).collect();
        order.extend(ascending(&node.key));
        Ok(LogicalPlanBuilder::from(input).sort(order)?.build()?)
    }

    /// Without a sort right before it, the rows with the smallest keys.
    pub(super) fn limit(&mut self, node: &Node, rows: u64) -> Result<LogicalPlan, EngineError> {
        let is_sorted = matches!(self.graph.node(node.inputs[0]).op, Op::Sort { .. });
        let input = self.input(node)?;
        let ordered = if is_sorted { input } else { sort_by_key(input, node)? };
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        Ok(LogicalPlanBuilder::from(ordered).limit(0, Some(rows))?.build()?)
    }

    pub(super) fn aggregate(
        &mut self,
        node: &Node,
        by: &[String],
        columns: &[(String, op::Expr)],
    ) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let mut parts = Aggregated::default();
        let outer: Result<Vec<(String, Expr)>, EngineError> =
            columns.iter().map(|(name, expr)| Ok((name.clone(), parts.split(expr)?))).collect();
        let outer = outer?;
        let calls: Vec<Expr> = parts.aggregates.into_iter().map(|(name, call)| call.alias(name)).collect();
        let groups: Vec<Expr> = by.iter().map(|name| column(name)).collect();
        let grouped = LogicalPlanBuilder::from(input).aggregate(groups, calls)?.build()?;
        let exprs = node.schema.iter().map(|col| match outer.iter().find(|(name, _)| *name == col.name) {
            Some((name, expr)) => typed(expr.clone(), &col.ty).alias(name.clone()),
            None => column(&col.name),
        });
        let exprs = exprs.collect();
        let plan = project(grouped, exprs)?;
        if by.is_empty() {
            return Ok(plan);
        }
        Ok(LogicalPlanBuilder::from(plan).sort(ascending(by))?.build()?)
    }

    /// The row with the smallest key of each combination of values.
    pub(super) fn distinct(&mut self, node: &Node, columns: &[String]) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let on: Vec<Expr> = columns.iter().map(|name| column(name)).collect();
        let kept: Vec<Expr> = node.schema.iter().map(|col| column(&col.name)).collect();
        let mut key = self.graph.node(node.inputs[0]).key.clone();
        // DataFusion counts an expression once that is to be sorted by twice, and then misses the other.
        key.retain(|name| !columns.contains(name));
        let order: Vec<SortExpr> = ascending(columns).into_iter().chain(ascending(&key)).collect();
        let plan = LogicalPlanBuilder::from(input).distinct_on(on, kept, Some(order))?.build()?;
        sort_by_key(plan, node)
    }

    pub(super) fn sample(
        &mut self,
        node: &Node,
        share: Option<f64>,
        rows: Option<u64>,
        seed: u64,
    ) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let point = functions::unit_hash(node.key.iter().map(|name| column(name)).collect(), seed)?;
        if let Some(share) = share {
            let limit = Expr::Literal(ScalarValue::Float64(Some(share)), None);
            return Ok(LogicalPlanBuilder::from(input).filter(point.lt(limit))?.build()?);
        }
        let rows = usize::try_from(rows.unwrap_or(0)).unwrap_or(usize::MAX);
        let mut order = vec![SortExpr::new(point, true, false)];
        order.extend(ascending(&node.key));
        let drawn = LogicalPlanBuilder::from(input).sort(order)?.limit(0, Some(rows))?.build()?;
        sort_by_key(drawn, node)
    }

    pub(super) fn sql(
        &mut self,
        node: &Node,
        sql: &str,
        tables: &[String],
    ) -> Result<LogicalPlan, EngineError> {
        let session = datafusion::prelude::SessionContext::new_with_state(self.session.state());
        for (name, input) in tables.iter().zip(&node.inputs) {
            let plan = self.plan(*input)?;
            let visible: Vec<Expr> = plan
                .schema()
                .fields()
                .iter()
                .filter(|field| !field.name().starts_with('~'))
                .map(|field| column(field.name()))
                .collect();
            let view = datafusion::datasource::ViewTable::new(project(plan, visible)?, None);
            session.register_table(
                datafusion::common::TableReference::bare(name.as_str()),
                std::sync::Arc::new(view),
            )?;
        }
        let plan =
            futures::executor::block_on(session.state().create_logical_plan(sql)).map_err(|error| {
                EngineError::Row { code: "E0607", message: format!("SQL: {}", error.strip_backtrace()) }
            })?;
        let fields: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let qualified: Vec<Column> = plan.schema().columns();
        let exprs: Result<Vec<Expr>, EngineError> = node
            .schema
            .iter()
            .map(|col| {
                let idx =
                    fields.iter().position(|name| *name == col.name).ok_or_else(|| EngineError::Row {
                        code: "E0607",
                        message: format!(
                            "the SQL gives no column `{}`; it gives {}",
                            col.name,
                            fields.join(", ")
                        ),
                    })?;
                Ok(typed(Expr::Column(qualified[idx].clone()), &col.ty).alias(col.name.clone()))
            })
            .collect();
        sort_by_key(project(plan, exprs?)?, node)
    }
}

/// The expression in the Arrow type of a language type.
pub(super) fn typed(expr: Expr, ty: &promptc_compiler::types::Type) -> Expr {
    let data_type = types::data_type(ty);
    // Nested values are built with their exact fields; a cast would only relabel them.
    if data_type.is_nested() || data_type == DataType::Null {
        return expr;
    }
    Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(expr), data_type))
}

/// A hidden key column is either passed on or made now of the visible one of that name.
fn hidden_source(input: &LogicalPlan, name: &str) -> Expr {
    let exists = input.schema().fields().iter().any(|field| field.name() == name);
    if exists { column(name) } else { column(name.trim_start_matches('~')) }
}

fn has_window(expr: &op::Expr) -> bool {
    match &expr.kind {
        ExprKind::Aggregate { .. } => true,
        ExprKind::Field { base, .. } | ExprKind::FieldOfEach { base, .. } | ExprKind::Convert(base) => {
            has_window(base)
        }
        ExprKind::Unary { operand, .. } => has_window(operand),
        ExprKind::Binary { left, right, .. } => has_window(left) || has_window(right),
        ExprKind::Call { args, .. } | ExprKind::List(args) => args.iter().any(has_window),
        ExprKind::Literal(_) | ExprKind::Column(_) => false,
    }
}

/// A projection whose expressions hold window functions: the windows are computed first, and the projection names them.
fn windowed(input: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan, EngineError> {
    let windows = datafusion::logical_expr::utils::find_window_exprs(&exprs);
    project(LogicalPlanBuilder::window_plan(input, windows)?, exprs)
}
