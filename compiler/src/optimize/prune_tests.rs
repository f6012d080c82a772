use super::*;
use crate::graph::test_graphs::*;
use crate::op::{Arm, Fusion, Index, JoinKind, Retrieve};

fn pruned(builder: Builder, roots: &[NodeId]) -> Work {
    let mut work = Work::new(builder.graph, roots);
    super::columns(&mut work);
    super::hits(&mut work);
    work
}

#[test]
fn unused_text_is_dropped_right_after_the_scan() {
    let mut builder = Builder::new();
    let docs = builder.scan("docs", &["id", "title", "text"]);
    let few = builder.limit(docs, 3);
    builder.name("p.few", few);
    let columns = vec![("id".to_owned(), "id".to_owned()), ("title".to_owned(), "title".to_owned())];
    let out = builder.node(Op::Project { columns }, &[few], &["id", "title"], Class::RowWise);
    let write = builder.write(out, "out.jsonl");
    let work = pruned(builder, &[write]);
    assert_eq!(op_names(&work.graph), ["scan", "project", "limit", "project", "write"]);
    assert_eq!(
        column_names(&work.graph, NodeId(0)),
        ["id", "title", "text"],
        "files are read and checked whole"
    );
    assert_eq!(column_names(&work.graph, NodeId(2)), ["id", "title"]);
    assert_eq!(work.graph.stream("p.few"), None, "the flow has lost a column");
    assert_eq!(work.graph.stream("docs"), Some(NodeId(0)));
}

#[test]
fn a_root_keeps_every_column() {
    let mut builder = Builder::new();
    let docs = builder.scan("docs", &["id", "text"]);
    let few = builder.limit(docs, 3);
    let columns = vec![("id".to_owned(), "id".to_owned())];
    let out = builder.node(Op::Project { columns }, &[few], &["id"], Class::RowWise);
    let before = builder.graph.clone();
    let work = pruned(builder, &[out, few]);
    assert_eq!(work.graph, before);
}

#[test]
fn the_right_side_of_a_semi_join_keeps_only_what_is_matched() {
    let mut builder = Builder::new();
    let asks = builder.scan("asks", &["qid", "crate", "question"]);
    let pages = builder.scan("pages", &["path", "crate", "text"]);
    let on = vec!["crate".to_owned()];
    let join = Op::Join { how: JoinKind::Semi, left_on: on.clone(), right_on: on };
    let joined = builder.node(join, &[asks, pages], &["qid", "crate", "question"], Class::Blocking);
    let write = builder.write(joined, "out.jsonl");
    let work = pruned(builder, &[write]);
    assert_eq!(op_names(&work.graph), ["scan", "scan", "project", "join", "write"]);
    assert_eq!(column_names(&work.graph, NodeId(2)), ["path", "crate"]);
    assert_eq!(work.graph.node(NodeId(3)).inputs, [NodeId(0), NodeId(2)]);
    assert_eq!(column_names(&work.graph, NodeId(3)), ["qid", "crate", "question"]);
}

fn hit_type(columns: &[&str]) -> Type {
    let mut fields: Vec<Column> = columns.iter().map(|name| text_column(name)).collect();
    fields.push(Column { name: "score".to_owned(), ty: Type::F64 });
    Type::List(Box::new(Type::Record(fields)))
}

fn field_of_hits(name: &str) -> Expr {
    let ty = hit_type(&["path", "crate", "text"]);
    let base = Box::new(Expr { kind: ExprKind::Column("hits".to_owned()), ty });
    Expr { kind: ExprKind::FieldOfEach { base, name: name.to_owned() }, ty: Type::List(Box::new(Type::Text)) }
}

/// Pages are indexed, asks retrieve 24 of them, and `used` is derived of the hits.
fn search(used: Expr) -> (Builder, NodeId) {
    let mut builder = Builder::new();
    let pages = builder.scan("pages", &["path", "crate", "text"]);
    let index = Index {
        kind: "bm25".to_owned(),
        column: "text".to_owned(),
        metric: "dot".to_owned(),
        recall: None,
        m: 16,
        ef_build: 200,
        ef: 64,
        lists: None,
        probes: 8,
        sub: None,
        bits: 8,
        refine: 4,
        seed: None,
        k1: 1.2,
        b: 0.75,
        stem: None,
        stop: None,
        positions: false,
        title: None,
    };
    let index = builder.typed(Op::Index(index), &[pages], Vec::new(), Vec::new(), Class::Artifact);
    let asks = builder.scan("asks", &["qid", "question"]);
    let retrieve = Retrieve {
        query: column_expr("question"),
        arms: vec![Arm { name: "bm25".to_owned(), kind: "bm25".to_owned(), embed: None }],
        k: 24,
        fuse: Fusion::Max,
        filter: None,
        per: None,
        columns: ["path", "crate", "text"].map(text_column).to_vec(),
        name: "hits".to_owned(),
    };
    let mut schema = ["qid", "question"].map(text_column).to_vec();
    schema.push(Column { name: "hits".to_owned(), ty: hit_type(&["path", "crate", "text"]) });
    let key = vec!["qid".to_owned()];
    let found = builder.typed(Op::Retrieve(retrieve), &[asks, index], schema, key, Class::RowWise);
    let derive = Op::Derive { columns: vec![("used".to_owned(), used)] };
    let derived = builder.node(derive, &[found], &["qid", "question", "hits", "used"], Class::RowWise);
    let columns = ["qid", "used"].map(|name| (name.to_owned(), name.to_owned())).to_vec();
    let out = builder.node(Op::Project { columns }, &[derived], &["qid", "used"], Class::RowWise);
    (builder, out)
}

fn retrieve_of(work: &Work) -> &Retrieve {
    let found = work.graph.nodes.iter().find_map(|node| match &node.op {
        Op::Retrieve(retrieve) => Some(retrieve),
        _ => None,
    });
    found.expect("a retrieve")
}

#[test]
fn hits_carry_the_used_columns_and_the_key() {
    let (builder, out) = search(field_of_hits("crate"));
    let work = pruned(builder, &[out]);
    let names: Vec<&str> = retrieve_of(&work).columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["path", "crate"]);
    assert_eq!(retrieve_of(&work).k, 24);
    let derived = work.graph.nodes.iter().find(|node| matches!(node.op, Op::Derive { .. })).unwrap();
    assert_eq!(derived.schema[2].ty, hit_type(&["path", "crate"]), "schemas downstream agree");
    let Op::Derive { columns } = &derived.op else { panic!("a derive") };
    let ExprKind::FieldOfEach { base, .. } = &columns[0].1.kind else { panic!("a field") };
    assert_eq!(base.ty, hit_type(&["path", "crate"]), "expressions downstream agree");
}

#[test]
fn only_the_ranks_that_are_looked_at_are_retrieved() {
    let args = vec![field_of_hits("text")];
    let first = Expr { kind: ExprKind::Call { function: "first", args }, ty: Type::Text };
    let (builder, out) = search(first);
    let work = pruned(builder, &[out]);
    assert_eq!(retrieve_of(&work).k, 1);
}

#[test]
fn hits_that_are_asked_for_stay_whole() {
    let (builder, out) = search(field_of_hits("crate"));
    let before = builder.graph.clone();
    let derived = before.node(out).inputs[0];
    let work = pruned(builder, &[out, derived]);
    assert_eq!(work.graph, before);
    assert_eq!(work.roots, BTreeSet::from([out, derived]));
}
