//! Small graphs built by hand, for the tests of the stages after `lower`.

use crate::graph::{Class, Effect, Graph, Node, NodeId};
use crate::op::{Chunk, Expr, ExprKind, Op, Scan, Value, Write};
use crate::source::Span;
use crate::syntax::ast::BinaryOp;
use crate::types::{Column, Fp, Nominal, Type};

/// Builds graphs in which every column is a text unless said otherwise, and the first column of a scan is the key.
pub(crate) struct Builder {
    pub(crate) graph: Graph,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { graph: Graph::default() }
    }

    pub(crate) fn scan(&mut self, name: &str, columns: &[&str]) -> NodeId {
        let schema: Vec<Column> = columns.iter().map(|name| text_column(name)).collect();
        let key = vec![columns[0].to_owned()];
        let scan = Scan {
            kind: "jsonl".to_owned(),
            path: format!("{name}.jsonl"),
            base: String::new(),
            part: None,
            delimiter: ",".to_owned(),
            header: true,
            columns: schema.clone(),
            key: key.clone(),
            bad_rows: "error".to_owned(),
            max_bytes: 1 << 20,
            max_bad: 0.01,
            limit: None,
        };
        let id = self.typed(Op::Scan(scan), &[], schema, key, Class::Blocking);
        self.name(name, id);
        id
    }

    /// A node whose columns have the types of the first input's columns of that name, else text.
    pub(crate) fn node(&mut self, op: Op, inputs: &[NodeId], columns: &[&str], class: Class) -> NodeId {
        let given = inputs.first().map_or(&[][..], |input| &self.graph.node(*input).schema).to_vec();
        let typed = |name: &&str| {
            given.iter().find(|column| column.name == **name).cloned().unwrap_or_else(|| text_column(name))
        };
        let schema: Vec<Column> = columns.iter().map(typed).collect();
        let key = inputs.first().map_or_else(Vec::new, |input| self.graph.node(*input).key.clone());
        self.typed(op, inputs, schema, key, class)
    }

    pub(crate) fn typed(
        &mut self,
        op: Op,
        inputs: &[NodeId],
        schema: Vec<Column>,
        key: Vec<String>,
        class: Class,
    ) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        let labels = vec![format!("n{}", id.0)];
        let (inputs, effect) = (inputs.to_vec(), Effect::Pure);
        let span = Span::default();
        self.graph.nodes.push(Node { id, op, inputs, schema, key, class, effect, version: 1, labels, span });
        id
    }

    pub(crate) fn name(&mut self, name: &str, id: NodeId) {
        self.graph.streams.push((name.to_owned(), id));
        self.graph.nodes[id.0 as usize].labels = vec![name.to_owned()];
    }

    pub(crate) fn limit(&mut self, input: NodeId, rows: u64) -> NodeId {
        self.same(Op::Limit { rows }, input, Class::Blocking)
    }

    pub(crate) fn filter(&mut self, input: NodeId, condition: Expr) -> NodeId {
        self.same(Op::Filter { condition }, input, Class::RowWise)
    }

    /// A node with the schema of its input.
    pub(crate) fn same(&mut self, op: Op, input: NodeId, class: Class) -> NodeId {
        let schema = self.graph.node(input).schema.clone();
        let key = self.graph.node(input).key.clone();
        self.typed(op, &[input], schema, key, class)
    }

    /// `chunk(column) as name`
    pub(crate) fn chunk(&mut self, input: NodeId, column: &str, name: &str) -> NodeId {
        let mut schema: Vec<Column> = self.graph.node(input).schema.clone();
        schema.retain(|given| given.name != name);
        let made = ["", "_spans", "_tokens"].map(|suffix| text_column(&format!("{name}{suffix}")));
        schema.extend(made);
        schema.extend([text_column("chunk"), text_column("heading")]);
        let mut key = self.graph.node(input).key.clone();
        key.push("chunk".to_owned());
        let op = Op::Chunk(Chunk {
            text: column_expr(column),
            name: name.to_owned(),
            spans: None,
            by: "paragraph".to_owned(),
            max_tokens: 512,
            min_tokens: 0,
            overlap_tokens: 0,
            keep: Vec::new(),
            breadcrumbs: true,
            tokenizer: Nominal { fp: Fp([0; 32]), name: "words".to_owned() },
        });
        self.typed(op, &[input], schema, key, Class::Expanding)
    }

    pub(crate) fn write(&mut self, input: NodeId, path: &str) -> NodeId {
        let write = Write {
            kind: "jsonl".to_owned(),
            path: path.to_owned(),
            base: String::new(),
            key: Vec::new(),
            partition: Vec::new(),
            file_name: None,
            file_body: None,
            overwrite: true,
        };
        let id = self.typed(Op::Write(write), &[input], Vec::new(), Vec::new(), Class::Sink);
        self.graph.outputs.push((format!("p/{path}"), id));
        id
    }
}

pub(crate) fn text_column(name: &str) -> Column {
    Column { name: name.to_owned(), ty: Type::Text }
}

pub(crate) fn column_expr(name: &str) -> Expr {
    Expr { kind: ExprKind::Column(name.to_owned()), ty: Type::Text }
}

/// `column == text`
pub(crate) fn equals(column: &str, text: &str) -> Expr {
    let literal = Expr { kind: ExprKind::Literal(Value::Text(text.to_owned())), ty: Type::Text };
    let (left, right) = (Box::new(column_expr(column)), Box::new(literal));
    Expr { kind: ExprKind::Binary { op: BinaryOp::Eq, left, right }, ty: Type::Bool }
}

/// The operators' names in the graph's order.
pub(crate) fn op_names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| crate::fingerprint::op_name(&node.op)).collect()
}

/// The names of a node's columns.
pub(crate) fn column_names(graph: &Graph, id: NodeId) -> Vec<&str> {
    graph.node(id).schema.iter().map(|column| column.name.as_str()).collect()
}
