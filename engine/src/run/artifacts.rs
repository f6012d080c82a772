//! Stages that leave an artifact: indexes, statistics of a collection, scorers.

use std::sync::Arc;

use arrow::array::{Array, StringArray};
use datafusion::logical_expr::LogicalPlanBuilder;
use futures::StreamExt;
use promptc_compiler::graph::NodeId;
use promptc_compiler::op::{self, Embedder};
use promptc_models::embed::IdfTable;
use promptc_models::tokenize::WordPunct;

use super::Run;
use crate::arrays;
use crate::artifacts::Artifact;
use crate::context::Event;
use crate::error::EngineError;
use crate::expressions::lower;
use crate::ops;
use crate::ops::codes::Kept;
use crate::ops::fit_scorer::{self, FittedScorer};
use crate::report::{NodeReport, NodeState};

/// Prefix of the ledger's names for parts of the graph of an index.
pub(super) const GRAPH: &str = "graph/";
/// Bytes of a part.
const GRAPH_PART_BYTES: usize = 4 << 20;
/// Longest graph that is kept: about ten million rows.
const GRAPH_BYTES_MAX: usize = 1 << 30;

impl Run<'_> {
    /// What is known of the choices of an index from an earlier run.
    fn kept(&self, fp: &str) -> Result<Kept, EngineError> {
        let ledger = self.ctx.store.ledger();
        let tuning = ledger.get(&format!("tuning/{fp}"))?;
        let names = ledger.names(&format!("{GRAPH}{fp}/"))?;
        let parts: Option<Vec<Vec<u8>>> = ledger.get_memos(&names).into_iter().collect();
        let graph = parts.filter(|parts| !parts.is_empty()).map(|parts| parts.concat());
        Ok(Kept { tuning, graph })
    }

    /// Keeps what was found out of an index for later runs: the tuning last, so that there is a graph where it names one.
    fn keep(&self, fp: &str, name: &str, new: &Kept) -> Result<Option<String>, EngineError> {
        let ledger = self.ctx.store.ledger();
        let mut notice = None;
        if let Some(graph) = &new.graph {
            let old = ledger.names(&format!("{GRAPH}{fp}/"))?;
            ledger.remove_all(&old.iter().map(String::as_str).collect::<Vec<_>>())?;
            if graph.len() > GRAPH_BYTES_MAX {
                let size = graph.len() >> 20;
                let text =
                    format!("the graph of index `{name}` takes {size} MiB, which is too much to be kept");
                notice = Some(format!("{text}: it is made again by every run"));
            } else {
                for (part, bytes) in graph.chunks(GRAPH_PART_BYTES).enumerate() {
                    ledger.put_memos(&[(format!("{GRAPH}{fp}/{part:06}").as_str(), bytes)])?;
                }
            }
        }
        if let Some(tuning) = &new.tuning {
            ledger.put_all(&[(format!("tuning/{fp}").as_str(), tuning.as_slice())])?;
        }
        Ok(notice)
    }

    /// Brings an index up to date.
    pub(super) async fn index(&mut self, id: NodeId, params: &op::Index) -> Result<(), EngineError> {
        let name = self.stage_name(id);
        let node = self.graph.node(id);
        let input = node.inputs[0];
        let store = &self.ctx.store;
        let flow_path = self.stream_path(input);
        let fp = self.plan.fps[id.0 as usize].to_string();
        let target = ops::index::Target {
            params,
            params_fp: &self.plan.params_fps[id.0 as usize].short(32),
            flow_path: &flow_path,
            flow_fp: &self.stream_fp(input),
            flows_dir: &store.flows_dir(),
            key: &self.graph.node(input).key,
            dir: store.dir().join(self.index_folder(id, params)),
            known: if matches!(params.kind.as_str(), "auto" | "hnsw") {
                self.kept(&fp)?
            } else {
                Kept::default()
            },
        };
        let ops::index::BuiltIndex { index, change, mut notices, found } = ops::index::build(&target).await?;
        notices.extend(self.keep(&fp, &name, &found)?);
        for notice in notices {
            let (code, message) = notice.split_once(": ").unwrap_or(("W2301", &notice));
            self.warn(code, format!("index `{name}`: {message}"));
        }
        let rows = change.reused + change.computed;
        self.artifacts.insert(id, Arc::new(Artifact::Index(Box::new(index))));
        self.report.nodes.push(NodeReport {
            name,
            op: "index".to_owned(),
            state: if change.computed + change.deleted == 0 { NodeState::Reused } else { NodeState::Ran },
            rows,
            reused: change.reused,
            computed: change.computed,
            deleted: change.deleted,
            elapsed_ms: 0.0,
            is_stage: true,
        });
        Ok(())
    }

    fn warn(&mut self, code: &str, message: String) {
        let known = promptc_compiler::diagnostic::Code::parse(code).map_or("W2301", |code| code.text());
        self.ctx.events.event(Event::Warning { code: known, message: message.clone() });
        self.report.warnings.push((known.to_owned(), message));
    }

    /// Fits collection statistics over a text column; the result is kept in the ledger under its fingerprint.
    pub(super) async fn fit(
        &mut self,
        id: NodeId,
        text: &op::Expr,
        embedder: &Embedder,
    ) -> Result<(), EngineError> {
        let node = self.graph.node(id);
        let fp = self.plan.fps[id.0 as usize].0;
        let name = format!("idf/{}", self.plan.fps[id.0 as usize]);
        let known = self.ctx.store.ledger().get(&name)?;
        let is_known = known.as_ref().is_some_and(|bytes| IdfTable::from_bytes(bytes).is_ok());
        let (bytes, rows) = match known {
            Some(bytes) if is_known => (bytes, self.rows.get(&node.inputs[0]).copied().unwrap_or(0)),
            _ => {
                let input = self.planner().plan(node.inputs[0])?;
                let plan = LogicalPlanBuilder::from(input).project(vec![lower(text)?])?.build()?;
                let stream = self.session.execute_logical_plan(plan).await?.execute_stream().await?;
                let mut stream = std::pin::pin!(stream);
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
        self.report.nodes.push(NodeReport {
            name: format!("{} (fitted)", embedder.space.name),
            op: "fit".to_owned(),
            state: if is_known { NodeState::Reused } else { NodeState::Ran },
            rows,
            reused: if is_known { rows } else { 0 },
            computed: if is_known { 0 } else { rows },
            deleted: 0,
            elapsed_ms: 0.0,
            is_stage: true,
        });
        Ok(())
    }

    /// Fits a scorer; the result is kept in the ledger under its fingerprint.
    pub(super) async fn fit_scorer(&mut self, id: NodeId, params: &op::FitScorer) -> Result<(), EngineError> {
        let node = self.graph.node(id);
        let (fp, name) = (self.plan.fps[id.0 as usize].0, self.stage_name(id));
        let key = format!("scorer/{}", self.plan.fps[id.0 as usize]);
        let known = self.ctx.store.ledger().get(&key)?.and_then(|bytes| FittedScorer::from_bytes(&bytes));
        let is_known = known.is_some();
        let fitted = match known {
            Some(known) => known,
            None => {
                let columns =
                    [&params.passages, &params.query, &params.answers].into_iter().chain(&params.titles);
                let columns: Vec<_> = columns.map(lower).collect::<Result<_, _>>()?;
                // A column may be asked for twice, and names must differ.
                let named =
                    columns.into_iter().enumerate().map(|(idx, expr)| expr.alias(format!("part{idx}")));
                let input = self.planner().plan(node.inputs[0])?;
                let plan = LogicalPlanBuilder::from(input).project(named)?.build()?;
                let stream = self.session.execute_logical_plan(plan).await?.execute_stream().await?;
                let mut stream = std::pin::pin!(stream);
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
        self.artifacts.insert(id, Arc::new(Artifact::Scorer { fitted: Box::new(fitted), fp }));
        self.report.nodes.push(NodeReport {
            name,
            op: "learn".to_owned(),
            state: if is_known { NodeState::Reused } else { NodeState::Ran },
            rows: fitted.examples,
            reused: if is_known { fitted.examples } else { 0 },
            computed: if is_known { 0 } else { fitted.examples },
            deleted: 0,
            elapsed_ms: 0.0,
            is_stage: true,
        });
        Ok(())
    }
}
