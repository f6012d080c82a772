//! Nodes of the compiler's graph as one DataFusion plan per stage.
//!
//! Relational operators are DataFusion's own nodes. Row-wise and expanding operators are functions with a row cache
//! ([`crate::row_function`]), expanding ones followed by an unnest. `dedup` is an extension node. Streams that an
//! earlier stage has stored are scans of their files.
//!
//! Column names are used exactly as they are: every scan is followed by a projection that drops the table's qualifier.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr};
use datafusion::prelude::SessionContext;
use promptc_compiler::graph::{Graph, Node, NodeId};
use promptc_compiler::op::Op;
use promptc_store::flows::RowId;

use crate::artifacts::Artifact;
use crate::context::RunContext;
use crate::error::EngineError;
use crate::expressions::column;
use crate::row_function::NodeStats;

mod relational;
mod rowwise;

/// Name of the working column that holds an operator's result until it is taken apart.
const RESULT: &str = "~result";

/// Builds the plans of one run.
pub struct Planner<'a> {
    /// The program.
    pub graph: &'a Graph,
    /// What the operators share.
    pub ctx: Arc<RunContext>,
    /// Tables that exist: scans, and streams stored by earlier stages.
    pub tables: BTreeMap<NodeId, Arc<dyn TableProvider>>,
    /// Artifacts built by earlier stages.
    pub artifacts: BTreeMap<NodeId, Arc<Artifact>>,
    /// Parameter fingerprints by node, without inputs.
    pub params: Vec<[u8; 32]>,
    /// Counts by node, filled while the plan runs.
    pub stats: BTreeMap<NodeId, Arc<NodeStats>>,
    /// Rows that the filters of `retrieve` nodes let through.
    pub filters: BTreeMap<NodeId, Arc<HashSet<RowId>>>,
    /// Plans the `sql` operator.
    pub session: SessionContext,
    /// Runs what an operator must wait for.
    pub runtime: tokio::runtime::Handle,
}

impl Planner<'_> {
    /// The plan that gives the rows of a node, with the columns of its schema in their order.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] for operators of areas that are not built; [`EngineError::Internal`] if DataFusion refuses
    /// what the compiler let through.
    pub fn plan(&mut self, id: NodeId) -> Result<LogicalPlan, EngineError> {
        let graph = self.graph;
        let node = graph.node(id);
        if let Some(table) = self.tables.get(&id) {
            return scan(id, table, node);
        }
        match &node.op {
            Op::Scan(_) | Op::Rows { .. } => {
                Err(EngineError::internal("planner", "a source without a table"))
            }
            Op::SplitPart { .. } | Op::Filter { .. } => self.filter(node),
            Op::Derive { columns } => self.derive(node, columns),
            Op::Select { columns } => self.select(node, columns),
            Op::Rename { columns } => self.rename(node, columns),
            Op::Project { columns } => self.project(node, columns),
            Op::Explode { list, .. } => self.explode(node, list),
            Op::Join { how, left_on, right_on } => self.join(node, *how, left_on, right_on),
            Op::Union => self.union(node),
            Op::Sort { by, descending } => self.sort(node, by, *descending),
            Op::Limit { rows } => self.limit(node, *rows),
            Op::Aggregate { by, columns } => self.aggregate(node, by, columns),
            Op::Distinct { columns } => self.distinct(node, columns),
            Op::Sample { share, rows, seed } => self.sample(node, *share, *rows, *seed),
            Op::Sql { sql, tables, .. } => self.sql(node, sql, tables),
            Op::Chunk(params) => self.chunk(node, params),
            Op::Compress(params) => self.compress(node, params),
            Op::Embed { text, embedder, name } => self.embed(node, text, embedder, name),
            Op::Retrieve(params) => self.retrieve(node, params),
            Op::Fuse { lists, method, name } => self.fuse(node, lists, method, name),
            Op::Assemble(params) => self.assemble(node, params),
            Op::Dedup(params) => self.dedup(node, params),
            Op::Unavailable { area, what } => {
                Err(EngineError::Unavailable { area: area.clone(), what: what.clone() })
            }
            Op::FitIdf { .. } | Op::FitScorer(_) | Op::FitFusion(_) | Op::Index(_) | Op::Write(_) => {
                Err(EngineError::internal("planner", "an artifact or a write has no rows"))
            }
        }
    }

    fn input(&mut self, node: &Node) -> Result<LogicalPlan, EngineError> {
        let first = node.inputs.first().copied();
        self.plan(first.ok_or_else(|| EngineError::internal("planner", "an operator without input"))?)
    }

    fn stats(&mut self, id: NodeId) -> Arc<NodeStats> {
        self.stats.entry(id).or_default().clone()
    }
}

/// A table as a plan whose columns have no qualifier.
fn scan(id: NodeId, table: &Arc<dyn TableProvider>, node: &Node) -> Result<LogicalPlan, EngineError> {
    let name = format!("n{}", id.0);
    let source = provider_as_source(table.clone());
    let bare = node
        .schema
        .iter()
        .map(|col| Expr::Column(Column::new(Some(name.clone()), col.name.clone())).alias(col.name.clone()));
    let bare: Vec<Expr> = bare.collect();
    Ok(LogicalPlanBuilder::scan(name.as_str(), source, None)?.project(bare)?.build()?)
}

/// All columns of a plan, as they are.
fn all_columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().fields().iter().map(|field| column(field.name())).collect()
}

fn project(plan: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan, EngineError> {
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

/// Ascending by these columns, nulls last.
fn ascending(columns: &[String]) -> Vec<SortExpr> {
    columns.iter().map(|name| SortExpr::new(column(name), true, false)).collect()
}

/// Puts rows into the order of their key; unkeyed streams stay as they are.
fn sort_by_key(plan: LogicalPlan, node: &Node) -> Result<LogicalPlan, EngineError> {
    if node.key.is_empty() {
        return Ok(plan);
    }
    Ok(LogicalPlanBuilder::from(plan).sort(ascending(&node.key))?.build()?)
}
