//! Which stages are needed, and running them in the graph's order.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlanBuilder;
use futures::StreamExt;
use promptc_compiler::fingerprint::op_name;
use promptc_compiler::graph::{Node, NodeId};
use promptc_compiler::op::{self, Op, Retrieve, Value};
use promptc_store::flows::{self, Flow, FlowWriter, RowId};

use super::writing::Writing;
use super::{Run, scan_key};
use crate::artifacts::Artifact;
use crate::context::Event;
use crate::error::EngineError;
use crate::expressions::{column, lower, scalar};
use crate::logical::Planner;
use crate::ops;
use crate::report::{NodeReport, NodeState};
use crate::{arrays, store_errors, types};

/// What running a plan means for each node that is a stage.
struct Needed {
    /// In the graph's order.
    stages: Vec<NodeId>,
    /// Among them, those whose result exists.
    done: BTreeSet<NodeId>,
}

impl Run<'_> {
    /// Runs every stage that the roots need.
    pub(super) async fn stages(&mut self) -> Result<(), EngineError> {
        let needed = self.needed()?;
        let total = needed.stages.len();
        for (number, id) in (1..).zip(needed.stages) {
            self.ctx.check_interrupt()?;
            let name = self.stage_name(id);
            if needed.done.contains(&id) {
                self.open_table(id)?;
                self.push_reused(id, &name);
                continue;
            }
            self.ctx.events.event(Event::StageStarted { name: name.clone(), number, total });
            let started = Instant::now();
            let node = self.graph.node(id);
            let stage_at = self.report.nodes.len();
            match &node.op {
                Op::Index(params) => self.index(id, params).await?,
                Op::FitIdf { text, embedder } => self.fit(id, text, embedder).await?,
                Op::FitScorer(params) => self.fit_scorer(id, params).await?,
                Op::FitFusion(params) => self.fit_fusion(id, params).await?,
                Op::Write(params) => self.write(id, params).await?,
                _ => self.stream(id).await?,
            }
            let left_out = self.ctx.quarantine.take();
            if left_out.0 > 0 {
                let key = super::quarantine_key(&self.plan.fps[id.0 as usize]);
                let bytes = serde_json::to_vec(&left_out)
                    .map_err(|error| EngineError::internal("the quarantine", error))?;
                self.ctx.store.ledger().put_all(&[(key.as_str(), bytes.as_slice())])?;
            }
            let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
            if let Some(stage) = self.report.nodes.get_mut(stage_at) {
                stage.elapsed_ms = elapsed_ms;
            }
            let rows = self.report.nodes.get(stage_at).map_or(0, |stage| stage.rows);
            self.ctx.events.event(Event::StageFinished {
                name,
                rows,
                reused: false,
                elapsed_ms: elapsed_ms as u64,
            });
        }
        Ok(())
    }

    /// From the roots backwards: a stage whose result exists needs nothing; any other needs what it reads.
    fn needed(&mut self) -> Result<Needed, EngineError> {
        let mut wanted: BTreeSet<NodeId> = self.plan.roots.iter().copied().collect();
        wanted.extend(self.gone()?);
        wanted.extend(self.also.iter().copied());
        let mut seen = BTreeSet::new();
        let mut done = BTreeSet::new();
        let mut stages = BTreeSet::new();
        while let Some(id) = wanted.pop_last() {
            if !seen.insert(id) {
                continue;
            }
            let node = self.graph.node(id);
            if matches!(node.op, Op::Scan(_) | Op::Rows { .. }) {
                if self.is_stage(id) && self.stream_path(id).exists() {
                    stages.insert(id);
                    done.insert(id);
                } else {
                    self.open_source(id)?;
                    if self.is_stage(id) {
                        stages.insert(id);
                    }
                }
                continue;
            }
            if self.is_stage(id) {
                stages.insert(id);
                if self.is_done(id)? {
                    done.insert(id);
                    continue;
                }
            }
            wanted.extend(node.inputs.iter().copied());
        }
        Ok(Needed { stages: stages.into_iter().collect(), done })
    }

    /// Streams that the program names, artifacts, outputs, and what artifacts and outputs read.
    fn is_stage(&self, id: NodeId) -> bool {
        let graph = self.graph;
        let reads_file = |node: &Node| {
            let reads = matches!(
                node.op,
                Op::Index(_) | Op::FitIdf { .. } | Op::FitScorer(_) | Op::FitFusion(_) | Op::Write(_)
            );
            reads && node.inputs.contains(&id)
        };
        match graph.node(id).op {
            Op::Index(_) | Op::FitIdf { .. } | Op::FitScorer(_) | Op::FitFusion(_) | Op::Write(_) => true,
            Op::Scan(_) | Op::Rows { .. } | Op::SplitPart { .. } => {
                graph.nodes.iter().any(reads_file) || self.plan.roots.contains(&id)
            }
            _ => {
                graph.streams.iter().any(|(_, stream)| *stream == id)
                    || self.plan.roots.contains(&id)
                    || graph.nodes.iter().any(reads_file)
            }
        }
    }

    fn is_done(&self, id: NodeId) -> Result<bool, EngineError> {
        match &self.graph.node(id).op {
            // Artifacts are opened by whoever needs them; that finds out what is missing.
            Op::Index(_) => Ok(false),
            Op::FitIdf { .. } | Op::FitScorer(_) | Op::FitFusion(_) => Ok(false),
            Op::Write(params) => self.is_written(id, params),
            _ => Ok(self.stream_path(id).exists()),
        }
    }

    pub(super) fn stage_name(&self, id: NodeId) -> String {
        let graph = self.graph;
        let named = [&graph.streams, &graph.artifacts, &graph.outputs];
        let found = named.into_iter().flatten().find(|(_, node)| *node == id).map(|(name, _)| name.clone());
        found.or_else(|| graph.node(id).labels.first().cloned()).unwrap_or_else(|| format!("node {}", id.0))
    }

    /// Files and folders of the store that this plan refers to, for the ledger. An index that no stage needed, since what is made
    /// with it was there, may never have been built.
    pub(super) fn used_files(&self) -> Vec<String> {
        let is_there = |path: &String| self.ctx.store.dir().join(path).exists();
        let name = |node: &Node| {
            let name = self.stored_as(node)?;
            (!matches!(node.op, Op::Index(_)) || is_there(&name)).then_some(name)
        };
        self.graph.nodes.iter().filter_map(name).collect()
    }

    /// File or folder of the store that a stage leaves, relative to the store.
    fn stored_as(&self, node: &Node) -> Option<String> {
        match &node.op {
            Op::Index(params) => Some(self.index_folder(node.id, params)),
            _ if node.schema.is_empty() || !self.is_stage(node.id) => None,
            _ => Some(format!("flows/{}.parquet", self.stream_fp(node.id))),
        }
    }

    /// Stages of this plan that the last build left in the store and that are gone since, as after a repair; where nothing is known of
    /// a last build, all that are not there. They are made again although what is made from them is there: a query, or the doctor,
    /// would miss them.
    fn gone(&self) -> Result<Vec<NodeId>, EngineError> {
        let uses = self.ctx.store.ledger().get(&promptc_store::kv::ledger::uses_key(&self.identity))?;
        let uses = uses.and_then(|bytes| String::from_utf8(bytes).ok());
        let uses: Option<BTreeSet<&str>> = uses.as_ref().map(|uses| uses.lines().collect());
        let is_expected = |path: &str| uses.as_ref().is_none_or(|uses| uses.contains(path));
        let is_gone = |path: String| is_expected(&path) && !self.ctx.store.dir().join(path).exists();
        let reached = super::reachable(self.graph, &self.plan.roots).into_iter();
        Ok(reached.filter(|id| self.stored_as(self.graph.node(*id)).is_some_and(is_gone)).collect())
    }

    /// Folder of an index below the data directory.
    pub(super) fn index_folder(&self, id: NodeId, params: &op::Index) -> String {
        let name = format!("{}-{}", self.namespace, self.stage_name(id).replace('.', "-"));
        if params.kind == "bm25" { format!("text/{name}") } else { format!("vectors/{name}.lance") }
    }

    pub(super) fn stream_fp(&self, id: NodeId) -> String {
        self.plan.fps[id.0 as usize].short(32)
    }

    pub(super) fn stream_path(&self, id: NodeId) -> PathBuf {
        self.ctx.store.flows_dir().join(format!("{}.parquet", self.stream_fp(id)))
    }

    fn open_table(&mut self, id: NodeId) -> Result<(), EngineError> {
        if self.graph.node(id).schema.is_empty() {
            return Ok(());
        }
        let flow = Flow::open(&self.stream_path(id)).map_err(store_errors::flow)?;
        self.rows.insert(id, flow.rows());
        self.tables.insert(id, flow.table_provider_with_hidden());
        Ok(())
    }

    fn open_source(&mut self, id: NodeId) -> Result<(), EngineError> {
        let node = self.graph.node(id);
        let stats = self.stats.entry(id).or_default().clone();
        let name = self.stage_name(id);
        let table: Arc<dyn TableProvider> = match &node.op {
            Op::Scan(scan) => {
                let files =
                    self.files.get(&scan_key(scan)).map(|found| found.files.clone()).unwrap_or_default();
                ops::scan::table(&name, scan, files, self.options.batch_rows, self.ctx.clone(), stats)?
            }
            Op::Rows { rows } => rows_table(node, rows)?,
            _ => return Err(EngineError::internal("stages", "not a source")),
        };
        self.tables.insert(id, table);
        Ok(())
    }

    pub(super) fn planner(&self) -> Planner<'_> {
        Planner {
            graph: self.graph,
            ctx: self.ctx.clone(),
            tables: self.tables.clone(),
            artifacts: self.artifacts.clone(),
            params: self.plan.params_fps.iter().map(|fp| fp.0).collect(),
            stats: self.stats.clone(),
            filters: BTreeMap::new(),
            session: self.session.clone(),
            runtime: self.runtime.clone(),
        }
    }

    /// Runs a stream into its file.
    async fn stream(&mut self, id: NodeId) -> Result<(), EngineError> {
        let node = self.graph.node(id);
        let filters = self.filters(id).await?;
        let mut planner = self.planner();
        planner.filters = filters;
        let plan = planner.plan(id)?;
        let stats = std::mem::take(&mut planner.stats);
        drop(planner);
        self.stats = stats;
        let name = self.stage_name(id);
        let has_sql =
            self.inside(id).iter().any(|inner| matches!(self.graph.node(*inner).op, Op::Sql { .. }));
        let fault = |error: DataFusionError| sql_fault(EngineError::from(error), has_sql, &name);
        let frame = self.session.execute_logical_plan(plan).await.map_err(fault)?;
        let stream = frame.execute_stream().await.map_err(fault)?;
        let mut stream = std::pin::pin!(stream);
        let schema = types::schema(&node.schema);
        let store = &self.ctx.store;
        let (tmp, dir, fp) = (store.tmp_dir(), store.flows_dir(), self.stream_fp(id));
        let writer =
            FlowWriter::create(&tmp, &dir, &fp, schema.clone(), &node.key).map_err(store_errors::flow)?;
        let mut writing = Writing::start(writer);
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            self.ctx.check_interrupt()?;
            let batch = batch.map_err(fault)?;
            rows += batch.num_rows() as u64;
            writing.write(conform(&batch, &schema)?).await?;
            self.ctx.events.event(Event::Rows { name: name.clone(), rows });
        }
        writing.finish().await?;
        self.open_table(id)?;
        self.report_stream(id, &name)
    }

    /// The stage's line, and one for each operator inside it.
    fn report_stream(&mut self, id: NodeId, name: &str) -> Result<(), EngineError> {
        let rows = self.rows.get(&id).copied().unwrap_or(0);
        let diff = self.difference(id, name)?;
        let (reused, deleted) = diff.map_or((0, 0), |diff| (diff.unchanged, diff.removed.len() as u64));
        self.report.nodes.push(NodeReport {
            name: name.to_owned(),
            op: op_name(&self.graph.node(id).op).to_owned(),
            state: NodeState::Ran,
            rows,
            reused,
            computed: rows - reused.min(rows),
            deleted,
            elapsed_ms: 0.0,
            is_stage: true,
        });
        for inner in self.inside(id) {
            let Some(stats) = self.stats.get(&inner) else { continue };
            // Taken out, since a source may be read by several stages.
            let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
            let (mut reused, mut computed) = (take(&stats.reused), take(&stats.computed));
            let elapsed_ns = take(&stats.elapsed_ns);
            let node = self.graph.node(inner);
            let mut deleted = 0;
            if let Op::Scan(scan) = &node.op {
                self.rows.insert(inner, computed);
                (reused, computed, deleted) = self.read_rows(inner, scan, computed)?;
            }
            self.report.nodes.push(NodeReport {
                name: node.labels.first().cloned().unwrap_or_default(),
                op: op_name(&node.op).to_owned(),
                state: NodeState::Ran,
                rows: reused + computed,
                reused,
                computed,
                deleted,
                elapsed_ms: elapsed_ns as f64 / 1e6,
                is_stage: false,
            });
        }
        Ok(())
    }

    /// Rows that a source read, as (unchanged, new or changed, deleted) since the last build. One file is one row in
    /// `markdown` and `text`; of other kinds the rows of files that changed count as changed, all of them.
    fn read_rows(&self, id: NodeId, scan: &op::Scan, rows: u64) -> Result<(u64, u64, u64), EngineError> {
        let Some(now) = self.files.get(&scan_key(scan)) else { return Ok((0, rows, 0)) };
        let key = super::listing_key(&self.identity, &self.stage_name(id));
        let last = self.ctx.store.ledger().get(&key)?;
        let last: BTreeMap<String, [u8; 32]> =
            last.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let listing = now.listing();
        let same = listing.iter().filter(|(name, hash)| last.get(**name) == Some(hash)).count() as u64;
        if !matches!(scan.kind.as_str(), "markdown" | "text") {
            let is_same = same == listing.len() as u64 && last.len() == listing.len();
            return Ok(if is_same { (rows, 0, 0) } else { (0, rows, 0) });
        }
        let deleted = last.keys().filter(|name| !listing.contains_key(name.as_str())).count() as u64;
        let same = same.min(rows);
        Ok((same, rows - same, deleted))
    }

    /// Operators of a stage, sources first, without those of other stages.
    fn inside(&self, id: NodeId) -> Vec<NodeId> {
        let mut seen = BTreeSet::from([id]);
        let mut open = self.graph.node(id).inputs.clone();
        while let Some(id) = open.pop() {
            if !self.is_stage(id) && seen.insert(id) {
                open.extend(self.graph.node(id).inputs.iter().copied());
            }
        }
        seen.into_iter().collect()
    }

    /// What changed in a stream since the last build, if its file is still there.
    fn difference(&self, id: NodeId, name: &str) -> Result<Option<flows::FlowDiff>, EngineError> {
        let Some(last) = &self.last else { return Ok(None) };
        let Some(old_path) = super::stream_file(&self.ctx.store, last, name) else { return Ok(None) };
        let (old, new) = (Flow::open(&old_path), Flow::open(&self.stream_path(id)));
        match (old, new) {
            (Ok(old), Ok(new)) => flows::diff(&old, &new).map(Some).map_err(store_errors::flow),
            _ => Ok(None),
        }
    }

    /// Rows that the filters of the `retrieve` operators in a stage let through.
    async fn filters(&self, id: NodeId) -> Result<BTreeMap<NodeId, Arc<HashSet<RowId>>>, EngineError> {
        let mut filters = BTreeMap::new();
        for inner in self.inside(id) {
            let Op::Retrieve(Retrieve { filter: Some(filter), .. }) = &self.graph.node(inner).op else {
                continue;
            };
            let index = self.graph.node(inner).inputs.get(1).copied();
            let Some(Artifact::Index(index)) =
                index.and_then(|id| self.artifacts.get(&id)).map(AsRef::as_ref)
            else {
                return Err(EngineError::internal("stages", "a filter without its index"));
            };
            let table = datafusion::datasource::provider_as_source(index.flow().table_provider_with_hidden());
            let plan = LogicalPlanBuilder::scan("rows", table, None)?
                .filter(lower(filter)?)?
                .project(vec![column("~row")])?
                .build()?;
            let batches = self.session.execute_logical_plan(plan).await?.collect().await?;
            let mut allowed = HashSet::new();
            for batch in batches {
                let ids: &FixedSizeBinaryArray = arrays::downcast(batch.column(0), "filter")?;
                allowed.extend(ids.iter().flatten().filter_map(|id| RowId::try_from(id).ok()));
            }
            filters.insert(inner, Arc::new(allowed));
        }
        Ok(filters)
    }

    async fn write(&mut self, id: NodeId, params: &op::Write) -> Result<(), EngineError> {
        let input = self.planner().plan(self.graph.node(id).inputs[0])?;
        let fp = self.plan.fps[id.0 as usize];
        let written = ops::write::write(&self.session, input, params, &self.folder, &fp, &self.ctx).await?;
        let name = self.stage_name(id);
        self.rows.insert(id, written.rows);
        self.report.nodes.push(NodeReport {
            name,
            op: "write".to_owned(),
            state: NodeState::Ran,
            rows: written.rows,
            reused: if written.changed { 0 } else { written.rows },
            computed: if written.changed { written.rows } else { 0 },
            deleted: 0,
            elapsed_ms: 0.0,
            is_stage: true,
        });
        self.report.outputs.push(written);
        Ok(())
    }

    fn is_written(&self, id: NodeId, params: &op::Write) -> Result<bool, EngineError> {
        ops::write::is_written(&self.ctx.store, params, &self.folder, &self.plan.fps[id.0 as usize])
    }
}

/// In a stage with SQL of the program's author a fault of DataFusion is most often a fault of a value: no report is asked for.
fn sql_fault(error: EngineError, has_sql: bool, stage: &str) -> EngineError {
    match error {
        EngineError::Internal { message, .. } if has_sql => {
            let message = message.lines().next().unwrap_or_default().to_owned();
            EngineError::Row { code: "E2103", message: format!("`sql` in `{stage}`: {message}") }
        }
        other => other,
    }
}

/// The rows of a test as a table.
fn rows_table(node: &Node, rows: &[Vec<Value>]) -> Result<Arc<dyn TableProvider>, EngineError> {
    let schema = types::schema(&node.schema);
    let columns: Result<Vec<_>, EngineError> = node
        .schema
        .iter()
        .enumerate()
        .map(|(idx, col)| {
            let cells: Result<Vec<ScalarValue>, _> =
                rows.iter().map(|row| scalar(&row[idx], &col.ty)).collect();
            let cells = cells?;
            if cells.is_empty() {
                return Ok(arrow::array::new_empty_array(&types::data_type(&col.ty)));
            }
            Ok(ScalarValue::iter_to_array(cells)?)
        })
        .collect();
    let batch = RecordBatch::try_new(schema.clone(), columns?)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

/// The batch with exactly the declared fields; same-shape columns are relabelled, others are cast.
pub(crate) fn conform(
    batch: &RecordBatch,
    schema: &arrow::datatypes::SchemaRef,
) -> Result<RecordBatch, EngineError> {
    let columns: Result<Vec<_>, _> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => arrow::compute::cast(column, field.data_type()),
        })
        .collect();
    Ok(RecordBatch::try_new(schema.clone(), columns?)?)
}
