//! Stages that fit something to rows: statistics of a collection, scorers, weights of a fusion. What is fitted is kept in the ledger
//! under its fingerprint.

use std::sync::Arc;

use arrow::array::{Array, StringArray};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use futures::StreamExt;
use promptc_compiler::graph::NodeId;
use promptc_compiler::op::{self, Embedder};
use promptc_models::embed::IdfTable;
use promptc_models::tokenize::WordPunct;

use super::Run;
use crate::arrays;
use crate::artifacts::Artifact;
use crate::error::EngineError;
use crate::expressions::lower;
use crate::ops::fit_fusion::{self, FittedFusion};
use crate::ops::fit_scorer::{self, FittedScorer};
use crate::report::{NodeReport, NodeState};

impl Run<'_> {
    /// Fits collection statistics over a text column.
    pub(super) async fn fit(
        &mut self,
        id: NodeId,
        text: &op::Expr,
        embedder: &Embedder,
    ) -> Result<(), EngineError> {
        let input = self.graph.node(id).inputs[0];
        let fp = self.plan.fps[id.0 as usize].0;
        let name = format!("idf/{}", self.plan.fps[id.0 as usize]);
        let known = self.ctx.store.ledger().get(&name)?;
        let is_known = known.as_ref().is_some_and(|bytes| IdfTable::from_bytes(bytes).is_ok());
        let (bytes, rows) = match known {
            Some(bytes) if is_known => (bytes, self.rows.get(&input).copied().unwrap_or(0)),
            _ => {
                let mut stream = self.rows_of(input, &[text]).await?;
                let mut table = IdfTable::default();
                let mut rows = 0;
                while let Some(batch) = stream.next().await {
                    self.ctx.check_interrupt()?;
                    let batch = batch?;
                    let texts: &StringArray = arrays::downcast(batch.column(0), "fit")?;
                    rows += texts.len() as u64;
                    table.merge(IdfTable::fit(texts.iter().flatten()));
                }
                let bytes = table.to_bytes();
                self.ctx.store.ledger().put_all(&[(name.as_str(), bytes.as_slice())])?;
                (bytes, rows)
            }
        };
        self.artifacts.insert(id, Arc::new(Artifact::Idf { bytes, fp }));
        self.report_fit(format!("{} (fitted)", embedder.space.name), "fit", rows, is_known);
        Ok(())
    }

    /// Fits a scorer.
    pub(super) async fn fit_scorer(&mut self, id: NodeId, params: &op::FitScorer) -> Result<(), EngineError> {
        let (fp, name) = (self.plan.fps[id.0 as usize].0, self.stage_name(id));
        let key = format!("scorer/{}", self.plan.fps[id.0 as usize]);
        let known = self.ctx.store.ledger().get(&key)?.and_then(|bytes| FittedScorer::from_bytes(&bytes));
        let is_known = known.is_some();
        let fitted = match known {
            Some(known) => known,
            None => {
                let columns = [&params.passages, &params.query, &params.answers];
                let columns: Vec<&op::Expr> = columns.into_iter().chain(&params.titles).collect();
                let mut stream = self.rows_of(self.graph.node(id).inputs[0], &columns).await?;
                let mut rows = Vec::new();
                while let Some(batch) = stream.next().await {
                    self.ctx.check_interrupt()?;
                    rows.extend(fit_scorer::examples(batch?.columns(), &WordPunct)?);
                }
                let fitted = fit_scorer::fit(&name, params, &rows)?;
                self.ctx.store.ledger().put_all(&[(key.as_str(), fitted.to_bytes().as_slice())])?;
                fitted
            }
        };
        if fitted.skipped > 0 {
            let rows = fitted.examples + fitted.skipped;
            self.warn(
                "W2404",
                format!("`learn {name}`: {} of {rows} rows have no sentence with an answer", fitted.skipped),
            );
        }
        let rows = fitted.examples;
        self.artifacts.insert(id, Arc::new(Artifact::Scorer { fitted: Box::new(fitted), fp }));
        self.report_fit(name, "learn", rows, is_known);
        Ok(())
    }

    /// Fits the weights of a fusion.
    pub(super) async fn fit_fusion(&mut self, id: NodeId, params: &op::FitFusion) -> Result<(), EngineError> {
        let node = self.graph.node(id);
        let (fp, name) = (self.plan.fps[id.0 as usize].0, self.stage_name(id));
        let key = format!("fusion/{}", self.plan.fps[id.0 as usize]);
        let known = self.ctx.store.ledger().get(&key)?;
        let known = known.and_then(|bytes| FittedFusion::from_bytes(&bytes, params.arms.len()));
        let is_known = known.is_some();
        let fitted = match known {
            Some(known) => known,
            None => {
                let (arms, _) = self.planner().arms(node, &params.arms)?;
                let teacher = fit_fusion::Teacher::new(params, &arms, &self.ctx, &self.runtime)?;
                let mut stream = self.rows_of(node.inputs[0], &[&params.query, &params.relevant]).await?;
                let mut rows = Vec::new();
                while let Some(batch) = stream.next().await {
                    let batch = batch?;
                    fit_fusion::check_count(&name, rows.len() + batch.num_rows())?;
                    rows.extend(teacher.rows(batch.columns())?);
                }
                let fitted = fit_fusion::fitted(&name, params, rows)?;
                self.ctx.store.ledger().put_all(&[(key.as_str(), fitted.to_bytes().as_slice())])?;
                fitted
            }
        };
        if fitted.skipped > 0 {
            let rows = fitted.lessons + fitted.skipped;
            let message = format!(
                "`learn {name}`: {} of {rows} rows have no query, or name nothing relevant that is in the indexes",
                fitted.skipped
            );
            self.warn("W2404", message);
        }
        if fitted.unknown > 0 {
            let message = format!(
                "`learn {name}`: {} of what rows say is relevant is not in column `{}` of the indexes",
                fitted.unknown, params.id
            );
            self.warn("W2404", message);
        }
        match fitted.why_equal() {
            Some(reason) => self.warn("W2405", format!("`learn {name}`: weights stay equal: {reason}")),
            None => self.report.learned.push((name.clone(), fitted.describe(params))),
        }
        let rows = fitted.lessons;
        self.artifacts.insert(id, Arc::new(Artifact::Fusion { fitted: Box::new(fitted), fp }));
        self.report_fit(name, "learn", rows, is_known);
        Ok(())
    }

    /// The values of expressions over the rows of a node, as columns in their order.
    async fn rows_of(
        &self,
        input: NodeId,
        exprs: &[&op::Expr],
    ) -> Result<SendableRecordBatchStream, EngineError> {
        // A column may be asked for twice, and names must differ.
        let named = exprs.iter().enumerate().map(|(idx, expr)| Ok(lower(expr)?.alias(format!("part{idx}"))));
        let named: Vec<Expr> = named.collect::<Result<_, EngineError>>()?;
        let rows = self.planner().plan(input)?;
        let plan = LogicalPlanBuilder::from(rows).project(named)?.build()?;
        Ok(self.session.execute_logical_plan(plan).await?.execute_stream().await?)
    }

    fn report_fit(&mut self, name: String, op: &str, rows: u64, is_known: bool) {
        self.report.nodes.push(NodeReport {
            name,
            op: op.to_owned(),
            state: if is_known { NodeState::Reused } else { NodeState::Ran },
            rows,
            reused: if is_known { rows } else { 0 },
            computed: if is_known { 0 } else { rows },
            deleted: 0,
            elapsed_ms: 0.0,
            is_stage: true,
        });
    }
}
