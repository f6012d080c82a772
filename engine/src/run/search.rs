//! One search over indexes of a program, with the reason for every hit.
//!
//! ```text
//! names --plan, stages--> indexes up to date --one query--> candidates of each --fuse--> k rows, parts of scores, places of words
//! ```
//!
//! What was built stays in the store, but the program's last build is not replaced: a search runs a part of it only.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use promptc_compiler::graph::{Graph, Node, NodeId};
use promptc_compiler::op::{self, Embedder, ExprKind, Fusion, Op};
use promptc_compiler::types::{Column, Type};
use promptc_models::fusion::Fused;
use promptc_store::flows::RowId;
use promptc_store::open::Store;
use promptc_store::text::TermPart;

use super::{Run, RunOptions, contents, last_build, make_plan};
use crate::artifacts::{Artifact, IndexArtifact, Searcher};
use crate::context::{Cancel, Events, RunContext};
use crate::error::EngineError;
use crate::ops::arms::{Candidates, Query, SearchArm, ask};
use crate::ops::embed::TextEmbedder;
use crate::ops::retrieve::{candidate_count, fuse, scores_all};
use crate::program::Program;
use crate::store_errors;

/// Most hits of one search.
pub const HITS_MAX: usize = 10_000;

/// Longest query in bytes.
pub const QUERY_BYTES_MAX: usize = 1 << 20;

/// What is asked.
#[derive(Debug, Clone)]
pub struct SearchRequest<'a> {
    /// Names of indexes over one stream.
    pub indexes: &'a [String],
    /// Words, or a sentence.
    pub query: &'a str,
    /// Hits at most; at most [`HITS_MAX`].
    pub k: usize,
    /// How several rankings become one; sums of standardised scores if `None`. [`Fusion::Learned`] names a scorer of these indexes.
    pub fuse: Option<Fusion>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The indexes, as they were asked for.
    pub arms: Vec<ArmReport>,
    /// Best first.
    pub hits: Vec<Hit>,
    /// The hits' rows in their order, without vectors.
    pub rows: RecordBatch,
    /// Key columns of the rows.
    pub key: Vec<String>,
    /// The column that holds the texts, if one is known.
    pub text: Option<String>,
    /// The column of titles that an index over words was given.
    pub title: Option<String>,
    /// The index over words whose terms the hits hold.
    pub words: Option<String>,
    /// Time of the search with the embedding of the query, without bringing the indexes up to date.
    pub elapsed_ms: f64,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// One index of a search.
#[derive(Debug, Clone)]
pub struct ArmReport {
    /// Its name.
    pub name: String,
    /// Its kind in the language.
    pub kind: String,
    /// How it searched, and over what.
    pub backend: String,
    /// Candidates that it gave.
    pub candidates: usize,
    /// What its standardised scores are multiplied by, where they are added to those of others.
    pub weight: Option<f64>,
}

/// One row that was found.
#[derive(Debug, Clone)]
pub struct Hit {
    /// After fusion; of one index, its own.
    pub score: f64,
    /// Place among the candidates of each index.
    pub arms: Vec<ArmHit>,
    /// What each word of the query adds to the score of the first index over words.
    pub terms: Vec<TermPart>,
    /// Where the text holds words of the query, as byte ranges.
    pub spans: Vec<Range<usize>>,
}

/// A hit as one index sees it.
#[derive(Debug, Clone, Copy)]
pub struct ArmHit {
    /// From 1; `None` if it is not among the index's candidates.
    pub rank: Option<u32>,
    /// The index's own score, if it is known.
    pub score: Option<f64>,
    /// What it adds to the score of the hit.
    pub part: f64,
}

/// Brings the indexes up to date and asks them.
///
/// # Errors
/// E0201 for a name that is no index or no scorer of these indexes, or indexes over different streams; [`EngineError`] of a run.
pub async fn search(
    program: &Program,
    store: Arc<Store>,
    options: &RunOptions,
    request: &SearchRequest<'_>,
    events: Arc<dyn Events>,
    cancel: Cancel,
) -> Result<Found, EngineError> {
    let hir = &program.checked.hir;
    check_query(request)?;
    check_names(&hir.graph, request.indexes)?;
    let mut targets = request.indexes.to_vec();
    if let Some(Fusion::Learned(scorer)) = &request.fuse {
        weights_node(&hir.graph, scorer, request.indexes)?;
        targets.push(scorer.clone());
    }
    let options = RunOptions { targets, ..options.clone() };
    let files = contents(hir, Some(&store), &options)?;
    let plan = make_plan(hir, &files, &options)?;
    let identity = program.identity();
    let last = last_build(&store, &identity)?;
    let ctx = Arc::new(RunContext::new(store, cancel, events));
    let folder = program.folder().to_path_buf();
    let mut run = Run::new(&plan, ctx, &options, files, last, folder, identity)?;
    for name in request.indexes {
        if let Some((_, fitted)) = embedder_of(run.graph, index_node(run.graph, name)?) {
            run.also.extend(fitted);
        }
    }
    run.stages().await?;
    run.answer(request)
}

fn check_query(request: &SearchRequest<'_>) -> Result<(), EngineError> {
    let refuse = |message: String| Err(EngineError::Unknown(message));
    if request.query.trim().is_empty() {
        return refuse("the query is empty".to_owned());
    }
    if request.query.len() > QUERY_BYTES_MAX {
        let found = request.query.len();
        return refuse(format!("the query has {found} bytes, more than {QUERY_BYTES_MAX}"));
    }
    if request.indexes.is_empty() || request.k == 0 || request.k > HITS_MAX {
        return refuse(format!("a search has at least one index and 1 to {HITS_MAX} hits"));
    }
    Ok(())
}

fn check_names(graph: &Graph, names: &[String]) -> Result<(), EngineError> {
    let mut input = None;
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            return Err(EngineError::Unknown(format!("index `{name}` is named twice")));
        }
        let stream = index_node(graph, name)?.inputs[0];
        if *input.get_or_insert(stream) != stream {
            let message = format!("index `{name}` is over another stream than `{}`", names[0]);
            return Err(EngineError::Unknown(message));
        }
    }
    Ok(())
}

/// Names of the indexes of a program, in order of declaration.
#[must_use]
pub fn index_names(graph: &Graph) -> Vec<&str> {
    let is_index = |id: NodeId| matches!(graph.node(id).op, Op::Index(_));
    graph.artifacts.iter().filter(|(_, id)| is_index(*id)).map(|(name, _)| name.as_str()).collect()
}

fn index_node<'a>(graph: &'a Graph, name: &str) -> Result<&'a Node, EngineError> {
    let found = graph.artifacts.iter().find(|(artifact, _)| artifact == name).map(|(_, id)| graph.node(*id));
    match found {
        Some(node) if matches!(node.op, Op::Index(_) | Op::Unavailable { .. }) => Ok(node),
        _ => {
            let names = index_names(graph);
            let known =
                if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
            Err(EngineError::Unknown(format!("no index `{name}`; the program declares: {known}")))
        }
    }
}

/// The node that fits the weights of a scorer of these indexes, in this order.
fn weights_node<'a>(graph: &'a Graph, scorer: &str, indexes: &[String]) -> Result<&'a Node, EngineError> {
    let fits = graph.artifacts.iter().filter_map(|(name, id)| match &graph.node(*id).op {
        Op::FitFusion(fit) => Some((name, fit, graph.node(*id))),
        _ => None,
    });
    let names = |fit: &op::FitFusion| fit.arms.iter().map(|arm| arm.name.clone()).collect::<Vec<_>>();
    match fits.clone().find(|(name, ..)| *name == scorer) {
        Some((_, fit, node)) if names(fit) == indexes => Ok(node),
        Some((_, fit, _)) => Err(EngineError::Unknown(format!(
            "scorer `{scorer}` weighs {}, not {}; name its indexes in its order",
            names(fit).join(","),
            indexes.join(",")
        ))),
        None => {
            let known: Vec<String> = fits.map(|(name, ..)| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(EngineError::Unknown(format!(
                "`{scorer}` is no way to join rankings: expected `zscore`, `rrf`, `max`, or a scorer of kind `fusion` that is learned; \
                 the program has: {known}"
            )))
        }
    }
}

fn index_params(node: &Node) -> Option<&op::Index> {
    if let Op::Index(params) = &node.op { Some(params) } else { None }
}

/// The embedder that made the vectors of an index, with the node that fitted it. It is that of the `embed` whose space they have.
fn embedder_of<'a>(graph: &'a Graph, node: &Node) -> Option<(&'a Embedder, Option<NodeId>)> {
    let (embed, embedder) = embed_node(graph, node)?;
    Some((embedder, if embedder.idf { embed.inputs.get(1).copied() } else { None }))
}

fn embed_node<'a>(graph: &'a Graph, index: &Node) -> Option<(&'a Node, &'a Embedder)> {
    let params = index_params(index)?;
    let column = graph.node(index.inputs[0]).schema.iter().find(|column| column.name == params.column)?;
    let Type::Vector { space: Some(space), .. } = column.ty.required() else { return None };
    graph.nodes.iter().find_map(|node| match &node.op {
        Op::Embed { embedder, .. } if embedder.space == *space => Some((node, embedder)),
        _ => None,
    })
}

/// The column that an embedder of an index reads, if it still stands in the index's stream.
fn embedded_column(graph: &Graph, index: &Node) -> Option<String> {
    let (embed, _) = embed_node(graph, index)?;
    let Op::Embed { text, .. } = &embed.op else { return None };
    let ExprKind::Column(name) = &text.kind else { return None };
    let columns = &graph.node(index.inputs[0]).schema;
    columns.iter().any(|column| column.name == *name && is_text(column)).then(|| name.clone())
}

fn is_text(column: &Column) -> bool {
    matches!(column.ty.required(), Type::Text)
}

impl Run<'_> {
    /// W2302 for words and a much weaker index fused by ranks, as `check` says it of a `retrieve`.
    fn warn_of_ranks(&self, method: &Fusion, names: &[String], nodes: &[&Node]) -> Option<String> {
        let Fusion::Rrf(_) = method else { return None };
        let mut named = names.iter().zip(nodes);
        let (name, weakness) =
            named.find_map(|(name, node)| Some((name, embedder_of(self.graph, node)?.0.weakness()?)))?;
        Some(format!(
            "W2302: `rrf` lets index `{name}`, {weakness}, decide as much as the words; `zscore` does not"
        ))
    }

    /// Asks indexes that are up to date.
    fn answer(self, request: &SearchRequest<'_>) -> Result<Found, EngineError> {
        let nodes: Vec<&Node> =
            request.indexes.iter().map(|name| index_node(self.graph, name)).collect::<Result<_, _>>()?;
        let count = candidate_count(request.indexes.len(), request.k, false);
        let (mut arms, mut backends) = (Vec::new(), Vec::new());
        for (name, node) in request.indexes.iter().zip(&nodes) {
            let (arm, backend) = self.arm(name, node)?;
            arms.push(arm);
            backends.push(backend);
        }
        let method = &self.method(request)?;
        let started = Instant::now();
        let query = Query::Text(request.query);
        let found = ask(&arms, &query, count, None, scores_all(&arms, method), &self.runtime)?;
        let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        let weights = match method {
            Fusion::Zscore(weights) if arms.len() > 1 => weights.iter().copied().map(Some).collect(),
            _ => vec![None; arms.len()],
        };
        let named = request.indexes.iter().zip(&nodes).zip(backends).zip(&found.lists).zip(weights);
        let reports = named.map(|((((name, node), backend), list), weight)| ArmReport {
            name: name.clone(),
            kind: index_params(node).map_or_else(String::new, |params| params.kind.clone()),
            backend,
            candidates: list.len(),
            weight,
        });
        let reports: Vec<ArmReport> = reports.collect();
        let mut fused = match found.lists.as_slice() {
            [only] => {
                let alone = (1..).zip(only).map(|(rank, (id, score))| Fused {
                    id: *id,
                    score: *score,
                    ranks: vec![Some(rank)],
                    parts: vec![*score],
                });
                alone.collect()
            }
            _ => fuse(&found, method)?,
        };
        fused.truncate(request.k);
        let index = arms[0].index()?;
        let stream = self.graph.node(nodes[0].inputs[0]);
        let ranks: Vec<u32> = fused.iter().map(|hit| hit.id).collect();
        let rows = shown_rows(index, stream, &ranks)?;
        let words = arms.iter().zip(&nodes).find(|(arm, _)| is_words(arm));
        let text = match words {
            Some((_, node)) => index_params(node).map(|params| params.column.clone()),
            None => nodes.iter().find_map(|node| embedded_column(self.graph, node)),
        };
        let title =
            words.and_then(|(_, node)| index_params(node)?.title.as_ref().map(|(name, _)| name.clone()));
        let mut hits: Vec<Hit> = fused.iter().map(|hit| hit_of(hit, &found)).collect();
        if let (Some((arm, _)), Some(column)) = (words, &text) {
            explain(arm, request.query, &ranks, rows.column_by_name(column), &mut hits)?;
        }
        let silent = arms.iter().zip(&found.lists).filter_map(|(arm, list)| {
            let why = match &arm.index().ok()?.searcher {
                Searcher::Text(words) if words.word_count(request.query) == 0 => {
                    "it keeps no word of the query"
                }
                Searcher::Text(_) => return None,
                _ if list.is_empty() => "the query's vector is zero: its embedder knows no part of it",
                _ => return None,
            };
            Some(format!("index `{}` found nothing: {why}", arm.name))
        });
        let mut warnings: Vec<String> = silent.collect();
        warnings.extend(arms.iter().filter_map(|arm| without_places(arm, request.query)));
        warnings.extend(words.and_then(|_| self.warn_of_ranks(method, request.indexes, &nodes)));
        let key = stream.key.clone();
        let words = words.map(|(arm, _)| arm.name.clone());
        // What the program does not have yet as its last build, later commands would take for leftovers.
        if self.last.is_none() {
            self.remember()?;
        }
        Ok(Found { arms: reports, hits, rows, key, text, title, words, elapsed_ms, warnings })
    }

    /// How the rankings become one, with the weights of a scorer.
    fn method(&self, request: &SearchRequest<'_>) -> Result<Fusion, EngineError> {
        let scorer = match &request.fuse {
            None => return Ok(Fusion::Zscore(vec![1.0; request.indexes.len()])),
            Some(Fusion::Learned(scorer)) => scorer,
            Some(other) => return Ok(other.clone()),
        };
        let node = weights_node(self.graph, scorer, request.indexes)?;
        match self.artifacts.get(&node.id).map(AsRef::as_ref) {
            Some(Artifact::Fusion { fitted, .. }) => Ok(Fusion::Zscore(fitted.found.weights.clone())),
            _ => Err(EngineError::internal("search", "weights that are not learned")),
        }
    }

    /// An index that is up to date, with how it searches.
    fn arm(&self, name: &str, node: &Node) -> Result<(SearchArm, String), EngineError> {
        let artifact = self.artifacts.get(&node.id).cloned();
        let artifact =
            artifact.ok_or_else(|| EngineError::internal("search", "an index that is not built"))?;
        let Artifact::Index(index) = artifact.as_ref() else {
            return Err(EngineError::internal("search", "an artifact that is not an index"));
        };
        let mut backend = index.searcher.describe();
        let mut embedder = None;
        if !matches!(index.searcher, Searcher::Text(_)) {
            let Some((params, fitted)) = embedder_of(self.graph, node) else {
                let message = format!(
                    "index `{name}` holds vectors whose embedder the program does not use; a text cannot be compared with them"
                );
                return Err(EngineError::Unknown(message));
            };
            let idf = match fitted.and_then(|id| self.artifacts.get(&id)).map(AsRef::as_ref) {
                Some(Artifact::Idf { bytes, .. }) => Some(bytes.as_slice()),
                _ => None,
            };
            let made = TextEmbedder::new(params, idf, self.ctx.clone(), name.to_owned())?;
            backend.push_str(&format!("; query by embedder `{}`: {}", params.space.name, made.describe()));
            embedder = Some(made);
        }
        Ok((SearchArm::new(name.to_owned(), artifact.clone(), embedder), backend))
    }
}

fn is_words(arm: &SearchArm) -> bool {
    arm.index().is_ok_and(|index| matches!(index.searcher, Searcher::Text(_)))
}

/// What to say where quotation marks mean nothing.
fn without_places(arm: &SearchArm, query: &str) -> Option<String> {
    let Searcher::Text(words) = &arm.index().ok()?.searcher else { return None };
    let has_marks = query.contains(['"', '\u{201c}', '\u{201d}']);
    (has_marks && !words.params().positions).then(|| {
        format!(
            "index `{}` keeps no positions, so quotation marks mean nothing to it; `positions = true` does",
            arm.name
        )
    })
}

fn hit_of(hit: &Fused<u32>, found: &Candidates) -> Hit {
    let places = hit.ranks.iter().zip(&hit.parts).zip(found.lists.iter().zip(&found.others));
    let arms = places.map(|((rank, part), (list, others))| {
        let score = match rank {
            Some(rank) => Some(list[*rank as usize - 1].1),
            None => others.iter().find(|(id, _)| *id == hit.id).map(|(_, score)| *score),
        };
        ArmHit { rank: *rank, score, part: *part }
    });
    Hit { score: hit.score, arms: arms.collect(), terms: Vec::new(), spans: Vec::new() }
}

/// The rows at these places, without vectors and hidden columns.
fn shown_rows(index: &IndexArtifact, stream: &Node, ranks: &[u32]) -> Result<RecordBatch, EngineError> {
    let is_vector = |ty: &Type| match ty.required() {
        Type::Vector { .. } => true,
        Type::List(element) => matches!(element.required(), Type::Vector { .. }),
        _ => false,
    };
    let is_shown = |column: &&Column| !is_vector(&column.ty) && !column.name.starts_with('~');
    let columns: Vec<&Column> = stream.schema.iter().filter(is_shown).collect();
    let fields: Vec<Field> =
        columns.iter().map(|column| crate::types::field(&column.name, &column.ty)).collect();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let arrays = index.rows(ranks, &names)?;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), arrays.clone());
    // Files may hold a type of the same shape under another name for its items.
    match batch {
        Ok(batch) => Ok(batch),
        Err(_) => Ok(RecordBatch::try_from_iter(names.into_iter().zip(arrays))?),
    }
}

/// Adds words and their places to the hits.
fn explain(
    arm: &SearchArm,
    query: &str,
    ranks: &[u32],
    texts: Option<&arrow::array::ArrayRef>,
    hits: &mut [Hit],
) -> Result<(), EngineError> {
    let index = arm.index()?;
    let Searcher::Text(words) = &index.searcher else { return Ok(()) };
    let rows: Vec<RowId> = ranks.iter().filter_map(|rank| index.row_id(*rank)).collect();
    let terms = words.explain(query, &rows).map_err(store_errors::text)?;
    for (hit, terms) in hits.iter_mut().zip(terms) {
        hit.terms = terms;
    }
    let Some(texts) = texts.and_then(|texts| texts.as_any().downcast_ref::<StringArray>()) else {
        return Ok(());
    };
    for (row, hit) in hits.iter_mut().enumerate().filter(|(row, _)| texts.is_valid(*row)) {
        hit.spans = words.highlights(query, texts.value(row));
    }
    Ok(())
}
