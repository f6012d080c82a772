//! Row-wise and expanding operators as functions with a row cache, and `dedup` as an extension node.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Column, UnnestOptions};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use promptc_compiler::graph::Node;
use promptc_compiler::op::{
    self, Assemble, Chunk, Compress, Dedup, Embedder, ExprKind, Fusion, Op, Retrieve, Shrink,
};
use promptc_compiler::types::Type;
use promptc_models::compress::Scorer;
use promptc_models::tokenize::{Tokenizer, WordPunct};

use super::{Planner, RESULT, all_columns, project};
use crate::artifacts::Artifact;
use crate::error::EngineError;
use crate::expressions::{column, lower};
use crate::functions;
use crate::ops::arms::SearchArm;
use crate::ops::assemble::{AssembleOperator, ERROR_COLUMN};
use crate::ops::chunk::ChunkOperator;
use crate::ops::compress::CompressOperator;
use crate::ops::dedup::DedupNode;
use crate::ops::embed::{EmbedOperator, TextEmbedder};
use crate::ops::fuse::FuseOperator;
use crate::ops::retrieve::RetrieveOperator;
use crate::row_function::{RowFunction, RowOperator};
use crate::types;

/// A fitted table in its stored form, and its fingerprint.
type FittedTable = (Vec<u8>, [u8; 32]);

impl Planner<'_> {
    pub(super) fn chunk(&mut self, node: &Node, params: &Chunk) -> Result<LogicalPlan, EngineError> {
        let name = &params.name;
        let produced = [
            name.clone(),
            format!("{name}_spans"),
            format!("{name}_tokens"),
            "chunk".to_owned(),
            "heading".to_owned(),
        ];
        let item = record_field("item", node, &produced)?;
        let result = Arc::new(Field::new(RESULT, DataType::List(Arc::new(item)), false));
        let mut args = vec![lower(&params.text)?];
        args.push(match &params.spans {
            Some(spans) => column(spans),
            None => self.input_key(node)?,
        });
        let operator = Arc::new(ChunkOperator::new(params, tokenizer(), result.data_type().clone()));
        let input = self.input(node)?;
        let with_list = self.with_result(node, input, args, result, operator, &[])?;
        let options = UnnestOptions { preserve_nulls: false, recursions: Vec::new() };
        let unnested = LogicalPlanBuilder::from(with_list)
            .unnest_columns_with_options(vec![Column::from_name(RESULT)], options)?
            .build()?;
        take_apart(node, unnested, &produced)
    }

    pub(super) fn compress(&mut self, node: &Node, params: &Compress) -> Result<LogicalPlan, EngineError> {
        let name = &params.name;
        let mut produced = vec![
            name.clone(),
            format!("{name}_spans"),
            format!("{name}_tokens_in"),
            format!("{name}_tokens_out"),
        ];
        let optional = [format!("{name}_links"), format!("{name}_keep_unmet")];
        produced.extend(optional.into_iter().filter(|name| node.schema.iter().any(|col| col.name == *name)));
        let result = Arc::new(record_field(RESULT, node, &produced)?);
        let mut args = vec![lower(&params.text)?];
        args.push(match &params.spans {
            Some(spans) => lower(spans)?,
            None => self.input_key(node)?,
        });
        args.extend(params.query.as_ref().map(lower).transpose()?);
        args.extend(params.titles.as_ref().map(lower).transpose()?);
        let is_list = matches!(params.text.ty.required(), Type::List(_));
        let label = node.labels.first().cloned().unwrap_or_else(|| "compress".to_owned());
        let declared = result.data_type().clone();
        let mut artifacts = Vec::new();
        let mut weights = None;
        if let Some(id) = node.inputs.get(1) {
            let Some(Artifact::Scorer { fitted, fp }) = self.artifacts.get(id).map(AsRef::as_ref) else {
                return Err(EngineError::internal("planner", "compress without its scorer"));
            };
            artifacts.push(*fp);
            weights = Some(fitted.weights);
        }
        let mut operator =
            CompressOperator::new(params, is_list, tokenizer(), declared, self.ctx.clone(), label)?;
        if let Some(weights) = weights {
            operator = operator.with_scorer(Scorer::Linear(weights));
        }
        let input = self.input(node)?;
        let plan = self.with_result(node, input, args, result, Arc::new(operator), &artifacts)?;
        take_apart(node, plan, &produced)
    }

    pub(super) fn embed(
        &mut self,
        node: &Node,
        text: &op::Expr,
        embedder: &Embedder,
        name: &str,
    ) -> Result<LogicalPlan, EngineError> {
        let idf = self.idf_of(node.inputs.get(1).copied(), embedder)?;
        let declared = node.schema.iter().find(|col| col.name == name);
        let declared =
            declared.ok_or_else(|| EngineError::internal("planner", "embed without its column"))?;
        let result: FieldRef = Arc::new(types::field(RESULT, &declared.ty));
        let label = node.labels.first().cloned().unwrap_or_else(|| "embed".to_owned());
        let idf_bytes = idf.as_ref().map(|(bytes, _)| bytes.as_slice());
        let model = TextEmbedder::new(embedder, idf_bytes, self.ctx.clone(), label)?;
        let operator = Arc::new(EmbedOperator::new(model, result.data_type().clone()));
        let artifacts: Vec<[u8; 32]> = idf.iter().map(|(_, fp)| *fp).collect();
        let input = self.input(node)?;
        let plan = self.with_result(node, input, vec![lower(text)?], result, operator, &artifacts)?;
        let exprs = node
            .schema
            .iter()
            .map(|col| if col.name == name { column(RESULT).alias(name) } else { column(&col.name) });
        project(plan, exprs.collect())
    }

    /// The fitted table of an embedder with `weight = idf`, and its fingerprint.
    fn idf_of(
        &self,
        input: Option<promptc_compiler::graph::NodeId>,
        embedder: &Embedder,
    ) -> Result<Option<FittedTable>, EngineError> {
        if !embedder.idf {
            return Ok(None);
        }
        match input.and_then(|id| self.artifacts.get(&id)).map(AsRef::as_ref) {
            Some(Artifact::Idf { bytes, fp }) => Ok(Some((bytes.clone(), *fp))),
            _ => Err(EngineError::internal("planner", "an idf embedder without its table")),
        }
    }

    /// The indexes that a node asks with the embedders of their queries, and fingerprints of both.
    ///
    /// # Errors
    /// [`EngineError::Internal`] if one of them is not built.
    pub(crate) fn arms(
        &self,
        node: &Node,
        asked: &[op::Arm],
    ) -> Result<(Vec<SearchArm>, Vec<[u8; 32]>), EngineError> {
        let mut tables = node.inputs.iter().skip(1 + asked.len()).copied();
        let mut arms = Vec::with_capacity(asked.len());
        let mut artifacts = Vec::new();
        for (arm, id) in asked.iter().zip(node.inputs.iter().skip(1)) {
            let Some(artifact) = self.artifacts.get(id).cloned() else {
                return Err(EngineError::internal("planner", format!("index `{}` is not built", arm.name)));
            };
            let Artifact::Index(index) = artifact.as_ref() else {
                return Err(EngineError::internal("planner", format!("`{}` is not an index", arm.name)));
            };
            artifacts.push(index.fp());
            let model = match &arm.embed {
                None => None,
                Some(embedder) => {
                    let table = if embedder.idf { tables.next() } else { None };
                    let idf = self.idf_of(table, embedder)?;
                    artifacts.extend(idf.iter().map(|(_, fp)| *fp));
                    let idf_bytes = idf.as_ref().map(|(bytes, _)| bytes.as_slice());
                    Some(TextEmbedder::new(embedder, idf_bytes, self.ctx.clone(), arm.name.clone())?)
                }
            };
            arms.push(SearchArm::new(arm.name.clone(), artifact, model));
        }
        Ok((arms, artifacts))
    }

    pub(super) fn retrieve(&mut self, node: &Node, params: &Retrieve) -> Result<LogicalPlan, EngineError> {
        let declared = node.schema.iter().find(|col| col.name == params.name);
        let declared =
            declared.ok_or_else(|| EngineError::internal("planner", "retrieve without its column"))?;
        let result: FieldRef = Arc::new(types::field(RESULT, &declared.ty));
        let (arms, mut artifacts) = self.arms(node, &params.arms)?;
        let mut weights = None;
        if let Fusion::Learned(name) = &params.fuse {
            let found = node.inputs.last().and_then(|id| self.artifacts.get(id)).map(AsRef::as_ref);
            let Some(Artifact::Fusion { fitted, fp }) = found else {
                return Err(EngineError::internal("planner", format!("`{name}` is not learned")));
            };
            artifacts.push(*fp);
            weights = Some(fitted.found.weights.clone());
        }
        let allowed = self.filters.get(&node.id).cloned();
        let runtime = self.runtime.clone();
        let operator =
            RetrieveOperator::new(params, weights, arms, allowed, runtime, result.data_type().clone());
        let input = self.input(node)?;
        let args = vec![lower(&params.query)?];
        let plan = self.with_result(node, input, args, result, Arc::new(operator), &artifacts)?;
        let exprs = node.schema.iter().map(|col| {
            if col.name == params.name { column(RESULT).alias(col.name.clone()) } else { column(&col.name) }
        });
        project(plan, exprs.collect())
    }

    pub(super) fn fuse(
        &mut self,
        node: &Node,
        lists: &[op::Expr],
        method: &Fusion,
        name: &str,
    ) -> Result<LogicalPlan, EngineError> {
        let declared = node.schema.iter().find(|col| col.name == name);
        let declared = declared.ok_or_else(|| EngineError::internal("planner", "fuse without its column"))?;
        let result: FieldRef = Arc::new(types::field(RESULT, &declared.ty));
        let args: Result<Vec<Expr>, _> = lists.iter().map(lower).collect();
        let operator = Arc::new(FuseOperator::new(method.clone(), result.data_type().clone()));
        let input = self.input(node)?;
        let plan = self.with_result(node, input, args?, result, operator, &[])?;
        let exprs = node
            .schema
            .iter()
            .map(|col| if col.name == name { column(RESULT).alias(name) } else { column(&col.name) });
        project(plan, exprs.collect())
    }

    pub(super) fn assemble(&mut self, node: &Node, params: &Assemble) -> Result<LogicalPlan, EngineError> {
        let name = &params.name;
        let produced =
            [name.clone(), format!("{name}_messages"), format!("{name}_tokens"), format!("{name}_lineage")];
        let record = record_field(RESULT, node, &produced)?;
        let DataType::Struct(fields) = record.data_type() else {
            return Err(EngineError::internal("planner", "assemble without its columns"));
        };
        let mut fields: Vec<FieldRef> = fields.iter().cloned().collect();
        fields.push(Arc::new(Field::new(ERROR_COLUMN, DataType::Utf8, true)));
        let result = Arc::new(Field::new(RESULT, DataType::Struct(Fields::from(fields)), false));

        let mut args: Vec<Expr> =
            params.args.iter().map(|(_, value, _)| lower(value)).collect::<Result<_, _>>()?;
        for (_, _, spans) in &params.args {
            args.extend(spans.as_ref().map(lower).transpose()?);
        }
        let on_row = |expr: &op::Expr| lower(&substitute(expr, params));
        for message in &params.prompt.messages {
            args.extend(message.when.as_ref().map(on_row).transpose()?);
        }
        for message in &params.prompt.messages {
            if let Shrink::Compress { query: Some(query), .. } = &message.shrink {
                args.push(on_row(query)?);
            }
        }
        let via = self.upstream(node);
        let operator = AssembleOperator::new(params.clone(), via, tokenizer(), result.data_type().clone())?;
        let input = self.input(node)?;
        let plan = self.with_result(node, input, args, result, Arc::new(operator), &[])?;
        let error = get_field(column(RESULT), ERROR_COLUMN);
        let key = functions::render_key(node.key.iter().map(|name| column(name)).collect())?;
        let label = node.labels.first().cloned().unwrap_or_else(|| "assemble".to_owned());
        let kept = functions::report(self.ctx.clone(), "E2401", label, error, key);
        let plan = LogicalPlanBuilder::from(plan).filter(kept)?.build()?;
        take_apart(node, plan, &produced)
    }

    /// Operators between the sources and this node that change text, first one first.
    fn upstream(&self, node: &Node) -> Vec<String> {
        let mut seen = std::collections::BTreeSet::new();
        let mut open = vec![node.id];
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.graph.node(id).inputs.iter().copied());
            }
        }
        let shown = seen.into_iter().filter_map(|id| match &self.graph.node(id).op {
            Op::Chunk(_) => Some("chunk"),
            Op::Compress(_) => Some("compress"),
            Op::Dedup(_) => Some("dedup"),
            Op::Retrieve(_) => Some("retrieve"),
            Op::Assemble(_) => Some("assemble"),
            _ => None,
        });
        shown.map(str::to_owned).collect()
    }

    pub(super) fn dedup(&mut self, node: &Node, params: &Dedup) -> Result<LogicalPlan, EngineError> {
        let input = self.input(node)?;
        let stats = self.stats(node.id);
        let key = self.graph.node(node.inputs[0]).key.clone();
        let plan = DedupNode::new(
            input,
            params.clone(),
            key,
            types::schema(&node.schema),
            self.row_params(node, &[]),
            self.ctx.clone(),
            stats,
        )?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(plan) }))
    }

    /// The rendered key of the input's row: the document name of spans.
    fn input_key(&self, node: &Node) -> Result<Expr, EngineError> {
        let input = self.graph.node(node.inputs[0]);
        functions::render_key(input.key.iter().map(|name| column(name)).collect())
    }

    /// The operator's parameters and the artifacts that it reads, as the base of its row keys.
    fn row_params(&self, node: &Node, artifacts: &[[u8; 32]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.params[node.id.0 as usize]);
        for fp in artifacts {
            hasher.update(fp);
        }
        *hasher.finalize().as_bytes()
    }

    /// The input's columns and the operator's result beside them.
    fn with_result(
        &mut self,
        node: &Node,
        input: LogicalPlan,
        args: Vec<Expr>,
        result: FieldRef,
        operator: Arc<dyn RowOperator>,
        artifacts: &[[u8; 32]],
    ) -> Result<LogicalPlan, EngineError> {
        let mut exprs = all_columns(&input);
        let function = RowFunction::new(
            self.ctx.clone(),
            format!("promptc_{}_{}", operator_name(&node.op), node.id.0),
            args.len(),
            result,
            self.row_params(node, artifacts),
            operator,
            self.stats(node.id),
        );
        let udf = Arc::new(ScalarUDF::new_from_impl(function));
        exprs.push(Expr::ScalarFunction(ScalarFunction::new_udf(udf, args)).alias(RESULT));
        project(input, exprs)
    }
}

/// Counts tokens. `word_punct` is the one tokenizer of this build; the compiler refuses others.
fn tokenizer() -> Arc<dyn Tokenizer> {
    Arc::new(WordPunct)
}

fn operator_name(op: &Op) -> &'static str {
    match op {
        Op::Chunk(_) => "chunk",
        Op::Compress(_) => "compress",
        Op::Embed { .. } => "embed",
        Op::Retrieve(_) => "retrieve",
        Op::Fuse { .. } => "fuse",
        Op::Assemble(_) => "assemble",
        _ => "operator",
    }
}

/// A record of the produced columns with the types that the node's schema declares.
fn record_field(name: &str, node: &Node, produced: &[String]) -> Result<Field, EngineError> {
    let fields: Option<Vec<Field>> = produced
        .iter()
        .map(|wanted| node.schema.iter().find(|col| col.name == *wanted))
        .map(|col| col.map(|col| types::field(&col.name, &col.ty)))
        .collect();
    let fields = fields.ok_or_else(|| {
        EngineError::internal("planner", format!("the schema lacks one of {}", produced.join(", ")))
    })?;
    Ok(Field::new(name, DataType::Struct(Fields::from(fields)), false))
}

/// The node's schema from the input's columns and the fields of the result.
fn take_apart(node: &Node, plan: LogicalPlan, produced: &[String]) -> Result<LogicalPlan, EngineError> {
    let exprs = node.schema.iter().map(|col| {
        if produced.contains(&col.name) {
            get_field(column(RESULT), col.name.as_str()).alias(col.name.clone())
        } else {
            column(&col.name)
        }
    });
    project(plan, exprs.collect())
}

/// An expression over a prompt's formals as one over the row: each formal is replaced by its argument.
fn substitute(expr: &op::Expr, params: &Assemble) -> op::Expr {
    let again = |inner: &op::Expr| Box::new(substitute(inner, params));
    let each = |items: &[op::Expr]| items.iter().map(|item| substitute(item, params)).collect();
    let kind = match &expr.kind {
        ExprKind::Column(name) => match params.args.iter().find(|(formal, ..)| formal == name) {
            Some((_, value, _)) => return value.clone(),
            None => ExprKind::Column(name.clone()),
        },
        ExprKind::Field { base, name } => ExprKind::Field { base: again(base), name: name.clone() },
        ExprKind::FieldOfEach { base, name } => {
            ExprKind::FieldOfEach { base: again(base), name: name.clone() }
        }
        ExprKind::Convert(base) => ExprKind::Convert(again(base)),
        ExprKind::Unary { op, operand } => ExprKind::Unary { op: *op, operand: again(operand) },
        ExprKind::Binary { op, left, right } => {
            ExprKind::Binary { op: *op, left: again(left), right: again(right) }
        }
        ExprKind::Call { function, args } => ExprKind::Call { function, args: each(args) },
        ExprKind::List(items) => ExprKind::List(each(items)),
        other => other.clone(),
    };
    op::Expr { kind, ty: expr.ty.clone() }
}
