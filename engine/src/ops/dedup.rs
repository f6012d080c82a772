//! `dedup`: drops rows, or blocks inside texts, that repeat earlier ones. Signatures and clustering stand in
//! `promptc_models::dedup`.
//!
//! The operator needs all rows before it can give the first, so it is an extension node with a bounded buffer:
//!
//! ```text
//! batches --buffer--> signatures (row cache) --cluster in key order--> decisions --second pass--> batches
//! ```
//!
//! # Decisions
//! Signatures are cached by text; clustering runs over all signatures again when one row changed. It is a pure function of
//! them, so an incremental result equals a full one by construction, and its cost (a sort per band) is small beside
//! reading the texts.

pub mod codec;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, BooleanArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};
use promptc_compiler::op::Dedup;
use promptc_models::dedup::{
    self as model, BlockSignature, Decision, ShingleOptions, SignatureOptions, Unit,
};
use promptc_models::spans::{self, Piece};
use rayon::prelude::*;

use crate::arrays;
use crate::buffer::Buffer;
use crate::context::RunContext;
use crate::error::EngineError;
use crate::functions::rendered_keys;
use crate::row_function::{NodeStats, ROW_KEY_CONTEXT, cached_rows};

const PLACE: &str = "dedup";

/// Everything that the operator needs, shared by its logical and physical form.
struct Setup {
    params: Dedup,
    options: SignatureOptions,
    key: Vec<String>,
    schema: SchemaRef,
    row_params: [u8; 32],
    ctx: Arc<RunContext>,
    stats: Arc<NodeStats>,
}

/// The logical node.
#[derive(Clone)]
pub struct DedupNode {
    input: LogicalPlan,
    schema: DFSchemaRef,
    setup: Arc<Setup>,
}

impl DedupNode {
    /// # Errors
    /// [`EngineError::Row`] for sizes that the algorithm does not take.
    pub fn new(
        input: LogicalPlan,
        params: Dedup,
        key: Vec<String>,
        schema: SchemaRef,
        row_params: [u8; 32],
        ctx: Arc<RunContext>,
        stats: Arc<NodeStats>,
    ) -> Result<Self, EngineError> {
        let df_schema = Arc::new(DFSchema::try_from(schema.as_ref().clone())?);
        let setup = Setup::new(params, key, schema, row_params, ctx, stats)?;
        Ok(Self { input, schema: df_schema, setup: Arc::new(setup) })
    }
}

impl fmt::Debug for DedupNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dedup({:?})", self.setup.params)
    }
}

impl PartialEq for DedupNode {
    fn eq(&self, other: &Self) -> bool {
        self.setup.row_params == other.setup.row_params && self.input == other.input
    }
}
impl Eq for DedupNode {}
impl PartialOrd for DedupNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.setup.row_params.partial_cmp(&other.setup.row_params)
    }
}
impl Hash for DedupNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.setup.row_params.hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for DedupNode {
    fn name(&self) -> &str {
        "Dedup"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dedup { column, unit, by, .. } = &self.setup.params;
        write!(f, "Dedup: {column}, unit={unit}, by={by}")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DataFusionResult<Self> {
        let input = inputs.pop().ok_or_else(|| DataFusionError::Internal("dedup without input".into()))?;
        Ok(Self { input, ..self.clone() })
    }
}

/// Plans [`DedupNode`]s.
#[derive(Debug)]
pub struct DedupPlanner;

#[async_trait]
impl ExtensionPlanner for DedupPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &SessionState,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<DedupNode>() else { return Ok(None) };
        Ok(Some(Arc::new(DedupExec::new(inputs[0].clone(), node.setup.clone()))))
    }
}

struct DedupExec {
    input: Arc<dyn ExecutionPlan>,
    setup: Arc<Setup>,
    properties: Arc<PlanProperties>,
}

impl DedupExec {
    fn new(input: Arc<dyn ExecutionPlan>, setup: Arc<Setup>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(setup.schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, setup, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for DedupExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupExec({:?})", self.setup.params)
    }
}

impl DisplayAs for DedupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupExec: column={}, unit={}", self.setup.params.column, self.setup.params.unit)
    }
}

impl ExecutionPlan for DedupExec {
    fn name(&self) -> &'static str {
        "DedupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<datafusion::physical_plan::Distribution> {
        vec![datafusion::physical_plan::Distribution::SinglePartition]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("dedup without input".into()))?;
        Ok(Arc::new(Self::new(input, self.setup.clone())))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let mut input = self.input.execute(partition, context.clone())?;
        let setup = self.setup.clone();
        let input_schema = self.input.schema();
        let rows = async move {
            let mut buffer = Buffer::new(PLACE, input_schema, context);
            let mut signatures = Vec::new();
            while let Some(batch) = input.next().await {
                let batch = batch?;
                signatures.push(setup.signatures(&batch).map_err(EngineError::into_datafusion)?);
                buffer.push(batch).map_err(EngineError::into_datafusion)?;
            }
            buffer.finish().map_err(EngineError::into_datafusion)?;
            let verdicts = setup.decide(&buffer, signatures).map_err(EngineError::into_datafusion)?;
            let batches =
                (0..buffer.len()).map(move |idx| setup.rewrite(&buffer.batch(idx)?, &verdicts[idx]));
            let batches = batches.map(|batch| batch.map_err(EngineError::into_datafusion));
            Ok::<_, DataFusionError>(futures::stream::iter(batches))
        };
        let stream = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.setup.schema.clone(), stream)))
    }
}

/// What becomes of one row.
#[derive(Debug, Clone, Default)]
struct Verdict {
    /// The row goes as a whole.
    is_dropped: bool,
    /// Its blocks with their fate; empty if rows are compared as a whole.
    blocks: Vec<(std::ops::Range<u32>, bool)>,
    /// Rendered keys of what was dropped in its favour.
    copies: Vec<String>,
}

/// Where a block stands: batch, row in it, block in the row.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: usize,
    row: usize,
    block: usize,
}

impl Setup {
    fn new(
        params: Dedup,
        key: Vec<String>,
        schema: SchemaRef,
        row_params: [u8; 32],
        ctx: Arc<RunContext>,
        stats: Arc<NodeStats>,
    ) -> Result<Self, EngineError> {
        let shingle = ShingleOptions::new(params.shingle, params.permutations)
            .map_err(|error| EngineError::Row { code: "E0504", message: format!("dedup: {error}") })?;
        let options = SignatureOptions {
            unit: if params.unit == "block" { Unit::Block } else { Unit::Row },
            near: params.by == "minhash",
            shingle,
            min_words: params.min_words,
        };
        Ok(Self { params, options, key, schema, row_params, ctx, stats })
    }

    fn texts<'a>(&self, batch: &'a RecordBatch) -> Result<&'a StringArray, EngineError> {
        let column = batch.column_by_name(&self.params.column);
        let column = column.ok_or_else(|| EngineError::internal(PLACE, "the text column is gone"))?;
        arrays::downcast(column, PLACE)
    }

    /// Signatures of every row's blocks, from the cache where the text is known.
    fn signatures(&self, batch: &RecordBatch) -> Result<Vec<Vec<BlockSignature>>, EngineError> {
        self.ctx.check_interrupt()?;
        let started = std::time::Instant::now();
        let texts = self.texts(batch)?;
        let text = |row: usize| if texts.is_null(row) { "" } else { texts.value(row) };
        let rows: Vec<usize> = (0..texts.len()).collect();
        let mut base = blake3::Hasher::new_derive_key(ROW_KEY_CONTEXT);
        base.update(&self.row_params);
        let key = |row: &usize| *base.clone().update(text(*row).as_bytes()).finalize().as_bytes();
        let keys: Vec<[u8; 32]> = rows.par_iter().map(key).collect();
        let cached = cached_rows(&self.ctx, &keys);
        let known = |bytes: &Option<Vec<u8>>| bytes.as_ref().and_then(|bytes| model::decode(bytes).ok());
        let found: Vec<Option<Vec<BlockSignature>>> = cached.par_iter().map(known).collect();
        let reused = found.iter().filter(|row| row.is_some()).count();
        let all: Vec<(Vec<BlockSignature>, bool)> = found
            .into_par_iter()
            .zip(rows)
            .map(|(found, row)| match found {
                Some(signatures) => (signatures, true),
                None => (model::signatures(text(row), &self.options), false),
            })
            .collect();
        let new = all.iter().zip(&keys).filter(|((_, is_known), _)| !is_known);
        let entries: Vec<_> = new.map(|((signatures, _), key)| (*key, model::encode(signatures))).collect();
        self.ctx.store.rows().put_many(&entries)?;
        self.stats.reused.fetch_add(reused as u64, Ordering::Relaxed);
        self.stats.computed.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let elapsed_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stats.elapsed_ns.fetch_add(elapsed_ns, Ordering::Relaxed);
        Ok(all.into_iter().map(|(signatures, _)| signatures).collect())
    }

    /// Clusters all blocks in key order and gathers the outcome per batch and row.
    fn decide(
        &self,
        buffer: &Buffer,
        signatures: Vec<Vec<Vec<BlockSignature>>>,
    ) -> Result<Vec<Vec<Verdict>>, EngineError> {
        self.ctx.check_interrupt()?;
        let keys = self.keys(buffer)?;
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (batch, rows) in signatures.iter().enumerate() {
            order.extend((0..rows.len()).map(|row| (batch, row)));
        }
        order.sort_by(|left, right| keys[left.0][left.1].0.cmp(&keys[right.0][right.1].0));
        let mut verdicts: Vec<Vec<Verdict>> =
            signatures.iter().map(|rows| vec![Verdict::default(); rows.len()]).collect();
        let mut signatures = signatures;
        let (mut places, mut blocks) = (Vec::new(), Vec::new());
        for (batch, row) in order {
            for (block, signature) in std::mem::take(&mut signatures[batch][row]).into_iter().enumerate() {
                places.push(Place { batch, row, block });
                blocks.push(signature);
            }
        }
        let mut reader = TextReader { setup: self, buffer, last: BTreeMap::new() };
        let decisions = model::cluster(&blocks, self.params.jaccard, |idx| {
            reader.shingles(places[idx], &blocks[idx].range)
        })?;
        let is_block = self.options.unit == Unit::Block;
        for (idx, decision) in decisions.iter().enumerate() {
            let place = places[idx];
            let kept: Option<u32> = Decision::kept(*decision);
            let verdict = &mut verdicts[place.batch][place.row];
            if is_block {
                verdict.blocks.push((blocks[idx].range.clone(), kept.is_some()));
            } else {
                verdict.is_dropped = kept.is_some();
            }
            if let Some(kept) = kept {
                let target = places[kept as usize];
                let key = &keys[place.batch][place.row].1;
                let copy = if is_block { format!("{key}#{}", place.block) } else { key.clone() };
                verdicts[target.batch][target.row].copies.push(copy);
            }
        }
        Ok(verdicts)
    }

    /// Sortable and rendered keys of every row.
    #[expect(clippy::type_complexity, reason = "batches of rows of (sortable bytes, text)")]
    fn keys(&self, buffer: &Buffer) -> Result<Vec<Vec<(Vec<u8>, String)>>, EngineError> {
        (0..buffer.len())
            .map(|idx| {
                let batch = buffer.batch(idx)?;
                let columns: Option<Vec<ArrayRef>> =
                    self.key.iter().map(|name| batch.column_by_name(name).cloned()).collect();
                let columns = columns.ok_or_else(|| EngineError::internal(PLACE, "a key column is gone"))?;
                rendered_keys(&columns, batch.num_rows())
            })
            .collect()
    }

    /// The batch without what was dropped, with the column `copies`.
    fn rewrite(&self, batch: &RecordBatch, verdicts: &[Verdict]) -> Result<RecordBatch, EngineError> {
        let kept: BooleanArray = verdicts.iter().map(|verdict| Some(!verdict.is_dropped)).collect();
        let batch = arrow::compute::filter_record_batch(batch, &kept)?;
        let verdicts: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.is_dropped).collect();
        let (texts, spans) = if self.options.unit == Unit::Block {
            let (texts, spans) = self.without_blocks(&batch, &verdicts)?;
            (Some(texts), spans)
        } else {
            (None, None)
        };
        let columns: Result<Vec<ArrayRef>, EngineError> = self
            .schema
            .fields()
            .iter()
            .map(|field| {
                let name = field.name();
                if *name == self.params.column
                    && let Some(texts) = &texts
                {
                    return Ok(texts.clone());
                }
                if self.params.spans.as_ref() == Some(name)
                    && let Some(spans) = &spans
                {
                    return Ok(spans.clone());
                }
                if name == "copies" {
                    return copies(&batch, &verdicts);
                }
                let column = batch.column_by_name(name).cloned();
                column.ok_or_else(|| EngineError::internal(PLACE, format!("no column {name}")))
            })
            .collect();
        let columns = self.schema.fields().iter().zip(columns?);
        let columns: Result<Vec<ArrayRef>, _> = columns
            .map(|(field, column)| {
                if column.data_type() == field.data_type() {
                    Ok(column)
                } else {
                    arrow::compute::cast(&column, field.data_type())
                }
            })
            .collect();
        Ok(RecordBatch::try_new(self.schema.clone(), columns?)?)
    }

    fn without_blocks(
        &self,
        batch: &RecordBatch,
        verdicts: &[&Verdict],
    ) -> Result<(ArrayRef, Option<ArrayRef>), EngineError> {
        let texts = self.texts(batch)?;
        let old_spans = self.params.spans.as_ref().and_then(|name| batch.column_by_name(name));
        let columns: Option<Vec<ArrayRef>> =
            self.key.iter().map(|name| batch.column_by_name(name).cloned()).collect();
        let keys = rendered_keys(&columns.unwrap_or_default(), batch.num_rows())?;
        let (mut new_texts, mut new_spans) = (Vec::new(), Vec::new());
        for (row, verdict) in verdicts.iter().enumerate() {
            if texts.is_null(row) {
                new_texts.push(None);
                new_spans.push(Vec::new());
                continue;
            }
            let text = texts.value(row);
            let pieces = kept_pieces(text, &verdict.blocks);
            let outer = match old_spans {
                Some(spans) => arrays::row_spans(spans, row, PLACE)?,
                None => spans::identity(&Arc::from(keys[row].1.as_str()), text),
            };
            new_spans.push(spans::compose(&outer, &pieces));
            new_texts.push(Some(spans::copy_pieces(text, &pieces)));
        }
        let spans = self.params.spans.is_some().then(|| Arc::new(arrays::span_list(&new_spans)) as ArrayRef);
        Ok((Arc::new(StringArray::from(new_texts)), spans))
    }
}

/// What stays of a text: each dropped block goes with the blank lines after it, and a text whose last block goes loses the blank
/// lines before it.
fn kept_pieces(text: &str, blocks: &[(std::ops::Range<u32>, bool)]) -> Vec<Piece> {
    if blocks.iter().all(|(_, is_dropped)| !is_dropped) {
        return spans::identity_pieces(text);
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    let last_kept = blocks.iter().rposition(|(_, is_dropped)| !is_dropped);
    for (idx, (range, is_dropped)) in blocks.iter().enumerate() {
        if *is_dropped {
            continue;
        }
        let end = match blocks.get(idx + 1) {
            Some((next, _)) if Some(idx) != last_kept => next.start,
            Some(_) => range.end,
            None => text.len() as u32,
        };
        spans::push_piece(&mut pieces, Piece { start: range.start, end, at });
        at += end - range.start;
    }
    pieces
}

/// The column `copies`, appended to an existing one.
fn copies(batch: &RecordBatch, verdicts: &[&Verdict]) -> Result<ArrayRef, EngineError> {
    let old =
        batch.column_by_name("copies").map(|old| arrays::downcast::<ListArray>(old, PLACE)).transpose()?;
    let rows: Vec<Vec<String>> = verdicts
        .iter()
        .enumerate()
        .map(|(row, verdict)| {
            let earlier = old.and_then(|old| arrays::list_texts(old, row)).unwrap_or_default();
            earlier.into_iter().chain(verdict.copies.iter().cloned()).collect()
        })
        .collect();
    Ok(Arc::new(arrays::text_list(&rows)))
}

/// Batches kept for looking up texts of candidates.
const BATCHES_KEPT: usize = 64;

/// Reads blocks of buffered texts, remembering the batches that it read last.
struct TextReader<'a> {
    setup: &'a Setup,
    buffer: &'a Buffer,
    last: BTreeMap<usize, RecordBatch>,
}

impl TextReader<'_> {
    fn shingles(&mut self, place: Place, range: &std::ops::Range<u32>) -> Result<Vec<u64>, EngineError> {
        if !self.last.contains_key(&place.batch) {
            if self.last.len() >= BATCHES_KEPT {
                self.last.pop_first();
            }
            self.last.insert(place.batch, self.buffer.batch(place.batch)?);
        }
        let texts = self.setup.texts(&self.last[&place.batch])?;
        let text = if texts.is_null(place.row) { "" } else { texts.value(place.row) };
        let block = text.get(range.start as usize..range.end as usize);
        let block = block.ok_or_else(|| EngineError::internal(PLACE, "stored signatures of another text"))?;
        Ok(model::shingles(block, &self.setup.options.shingle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, dropped: &[usize]) -> String {
        let blocks = model::blocks(text).into_iter().enumerate();
        let blocks: Vec<_> = blocks
            .map(|(idx, range)| (range.start as u32..range.end as u32, dropped.contains(&idx)))
            .collect();
        spans::copy_pieces(text, &kept_pieces(text, &blocks))
    }

    #[test]
    fn dropped_blocks_take_their_blank_lines_with_them() {
        let text = "one\n\ntwo\n\nthree\n";
        assert_eq!(kept(text, &[]), text);
        assert_eq!(kept(text, &[1]), "one\n\nthree\n");
        assert_eq!(kept(text, &[0]), "two\n\nthree\n");
        assert_eq!(kept(text, &[2]), "one\n\ntwo");
        assert_eq!(kept(text, &[0, 1, 2]), "");
    }
}
