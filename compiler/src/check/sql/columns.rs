//! Columns of an SQL result: names, and types as far as they follow from the text.
//!
//! Not a planner. Every rule here is one that the engine's planner also has; where a rule is missing the type is
//! [`Type::Unknown`], which matches everything. A column that no table in view has is E0607, unless a table in view is
//! unknown itself.

use sqlparser::ast as sql;

use super::{Statement, ident_name, object_idents, object_name};
use crate::diagnostic::{Code, Diagnostic};
use crate::resolve::suggest::suggest;
use crate::types::{Column, Type};

/// Columns of a table by name; `None` for tables whose columns are not known.
pub(crate) type Tables<'a> = &'a dyn Fn(&str) -> Option<Vec<Column>>;

/// The columns of the statement's result in order; `None` where they are not known.
pub(crate) fn result(
    statement: &Statement<'_>,
    tables: Tables<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Column>> {
    let mut reader = Reader { statement, tables, common: Vec::new(), scopes: Vec::new(), diagnostics };
    reader.query(&statement.query)
}

/// A table in view under a name.
struct Relation {
    name: String,
    columns: Option<Vec<Column>>,
}

struct Reader<'a> {
    statement: &'a Statement<'a>,
    tables: Tables<'a>,
    /// Common table expressions in view, innermost last.
    common: Vec<Relation>,
    /// Tables in view, one scope per `SELECT` around, innermost last.
    scopes: Vec<Vec<Relation>>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

fn float() -> Type {
    Type::F64
}

fn column(name: impl Into<String>, ty: Type) -> Column {
    Column { name: name.into(), ty }
}

impl Reader<'_> {
    fn query(&mut self, query: &sql::Query) -> Option<Vec<Column>> {
        let common_len = self.common.len();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = ident_name(&cte.alias.name);
                if with.recursive {
                    self.common.push(Relation { name: name.clone(), columns: None });
                }
                let columns = self.query(&cte.query);
                if with.recursive {
                    self.common.pop();
                }
                self.common.push(Relation { name, columns: renamed(columns, &cte.alias) });
            }
        }
        let columns = self.set_expr(&query.body);
        self.common.truncate(common_len);
        columns
    }

    fn set_expr(&mut self, body: &sql::SetExpr) -> Option<Vec<Column>> {
        match body {
            sql::SetExpr::Select(select) => self.select(select),
            sql::SetExpr::Query(query) => self.query(query),
            sql::SetExpr::SetOperation { left, right, .. } => {
                let (left, right) = (self.set_expr(left)?, self.set_expr(right)?);
                Some(
                    left.into_iter()
                        .zip(right)
                        .map(|(left, right)| column(left.name, joined(left.ty, right.ty)))
                        .collect(),
                )
            }
            sql::SetExpr::Values(values) => {
                let first = values.rows.first()?;
                let types: Vec<Type> = first.iter().map(|expr| self.expr(expr)).collect();
                Some(
                    types
                        .into_iter()
                        .enumerate()
                        .map(|(idx, ty)| column(format!("column{}", idx + 1), ty))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    fn select(&mut self, select: &sql::Select) -> Option<Vec<Column>> {
        let mut scope = Vec::new();
        for from in &select.from {
            let first = self.relation(&from.relation);
            scope.push(first);
            for join in &from.joins {
                let right = self.relation(&join.relation);
                add_join(&mut scope, right, &join.join_operator);
            }
        }
        self.scopes.push(scope);
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if let Some(sql::JoinConstraint::On(condition)) = constraint(&join.join_operator) {
                self.expr(condition);
            }
        }
        if let Some(condition) = &select.selection {
            self.expr(condition);
        }
        let columns = self.projection(select);
        if let Some(condition) = &select.having {
            // HAVING may name a column of the result.
            let named = Relation { name: String::new(), columns: columns.clone() };
            self.scopes.push(vec![named]);
            self.expr(condition);
            self.scopes.pop();
        }
        self.scopes.pop();
        columns
    }

    fn projection(&mut self, select: &sql::Select) -> Option<Vec<Column>> {
        let mut columns = Vec::new();
        let mut is_known = true;
        for item in &select.projection {
            match item {
                sql::SelectItem::UnnamedExpr(expr) => {
                    let name = match expr {
                        sql::Expr::Identifier(ident) => ident_name(ident),
                        sql::Expr::CompoundIdentifier(idents) => {
                            idents.last().map(ident_name).unwrap_or_default()
                        }
                        other => other.to_string(),
                    };
                    columns.push(column(name, self.expr(expr)));
                }
                sql::SelectItem::ExprWithAlias { expr, alias } => {
                    columns.push(column(ident_name(alias), self.expr(expr)));
                }
                sql::SelectItem::Wildcard(_) => {
                    for relation in self.scopes.last().into_iter().flatten() {
                        match &relation.columns {
                            Some(found) => columns.extend(found.iter().cloned()),
                            None => is_known = false,
                        }
                    }
                }
                sql::SelectItem::QualifiedWildcard(
                    sql::SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => {
                    let name = object_idents(name).last().map(|ident| ident_name(ident)).unwrap_or_default();
                    let found =
                        self.scopes.last().into_iter().flatten().find(|relation| relation.name == name);
                    match found.and_then(|relation| relation.columns.as_ref()) {
                        Some(found) => columns.extend(found.iter().cloned()),
                        None => is_known = false,
                    }
                }
                _ => is_known = false,
            }
        }
        is_known.then_some(columns)
    }

    fn relation(&mut self, factor: &sql::TableFactor) -> Relation {
        match factor {
            sql::TableFactor::Table { name, alias, args: None, .. } => {
                let table = object_name(name);
                let common = self.common.iter().rev().find(|relation| relation.name == table);
                let columns = match common {
                    Some(relation) => relation.columns.clone(),
                    None => (self.tables)(&table),
                };
                let last = object_idents(name).last().map(|ident| ident_name(ident)).unwrap_or_default();
                named(last, columns, alias.as_ref())
            }
            sql::TableFactor::Derived { subquery, alias, .. } => {
                let columns = self.query(subquery);
                named(String::new(), columns, alias.as_ref())
            }
            _ => Relation { name: String::new(), columns: None },
        }
    }

    /// The type of an expression in the scopes that are open.
    fn expr(&mut self, expr: &sql::Expr) -> Type {
        match expr {
            sql::Expr::Identifier(ident) => self.column(None, ident),
            sql::Expr::CompoundIdentifier(idents) => match idents.as_slice() {
                [table, column] => self.column(Some(table), column),
                _ => Type::Unknown,
            },
            sql::Expr::Value(value) => value_type(&value.value),
            sql::Expr::Nested(inner) => self.expr(inner),
            sql::Expr::IsNull(inner)
            | sql::Expr::IsNotNull(inner)
            | sql::Expr::IsTrue(inner)
            | sql::Expr::IsNotTrue(inner)
            | sql::Expr::IsFalse(inner)
            | sql::Expr::IsNotFalse(inner) => {
                self.expr(inner);
                Type::Bool
            }
            sql::Expr::InList { expr, list, .. } => {
                let parts: Vec<Type> =
                    std::iter::once(expr.as_ref()).chain(list).map(|part| self.expr(part)).collect();
                nullable_if(Type::Bool, &parts)
            }
            sql::Expr::InSubquery { expr, subquery, .. } => {
                let ty = self.expr(expr);
                self.query(subquery);
                nullable_if(Type::Bool, &[ty])
            }
            sql::Expr::Exists { subquery, .. } => {
                self.query(subquery);
                Type::Bool
            }
            sql::Expr::Subquery(subquery) => {
                let columns = self.query(subquery);
                columns
                    .and_then(|columns| columns.into_iter().next())
                    .map_or(Type::Unknown, |first| first.ty.optional())
            }
            sql::Expr::Between { expr, low, high, .. } => {
                let parts = [self.expr(expr), self.expr(low), self.expr(high)];
                nullable_if(Type::Bool, &parts)
            }
            sql::Expr::Like { expr, pattern, .. } | sql::Expr::ILike { expr, pattern, .. } => {
                let parts = [self.expr(expr), self.expr(pattern)];
                nullable_if(Type::Bool, &parts)
            }
            sql::Expr::BinaryOp { left, op, right } => {
                let (left, right) = (self.expr(left), self.expr(right));
                binary_type(op, left, right)
            }
            sql::Expr::UnaryOp { expr, .. } => self.expr(expr),
            sql::Expr::Floor { expr, .. } | sql::Expr::Ceil { expr, .. } => {
                let ty = self.expr(expr);
                nullable_if(float(), &[ty])
            }
            sql::Expr::Cast { expr, data_type, kind, .. } => {
                let ty = self.expr(expr);
                let cast = cast_type(data_type);
                if *kind == sql::CastKind::TryCast { cast.optional() } else { nullable_if(cast, &[ty]) }
            }
            sql::Expr::Case { operand, conditions, else_result, .. } => {
                if let Some(operand) = operand {
                    self.expr(operand);
                }
                let mut ty = else_result.as_ref().map_or(Type::Null, |otherwise| self.expr(otherwise));
                for when in conditions {
                    self.expr(&when.condition);
                    let result = self.expr(&when.result);
                    ty = joined(ty, result);
                }
                ty
            }
            sql::Expr::Function(function) => self.function(function),
            _ => Type::Unknown,
        }
    }

    fn function(&mut self, function: &sql::Function) -> Type {
        let name = object_name(&function.name).to_lowercase();
        let mut args = Vec::new();
        if let sql::FunctionArguments::List(list) = &function.args {
            for arg in &list.args {
                let arg = match arg {
                    sql::FunctionArg::Named { arg, .. }
                    | sql::FunctionArg::ExprNamed { arg, .. }
                    | sql::FunctionArg::Unnamed(arg) => arg,
                };
                if let sql::FunctionArgExpr::Expr(expr) = arg {
                    args.push(self.expr(expr));
                }
            }
        }
        if let Some(filter) = &function.filter {
            self.expr(filter);
        }
        function_type(&name, &args)
    }

    fn column(&mut self, table: Option<&sql::Ident>, ident: &sql::Ident) -> Type {
        let name = ident_name(ident);
        let table = table.map(ident_name);
        let mut is_known = true;
        let mut names = Vec::new();
        for relation in self.scopes.iter().rev().flatten() {
            if table.as_ref().is_some_and(|table| *table != relation.name) {
                continue;
            }
            let Some(columns) = &relation.columns else {
                is_known = false;
                continue;
            };
            if let Some(found) = columns.iter().find(|column| column.name == name) {
                return found.ty.clone();
            }
            names.extend(columns.iter().map(|column| column.name.clone()));
        }
        // A quoted word in double quotes is a column in SQL, and a table that is not in view was reported as such.
        if is_known && !names.is_empty() {
            let span = self.statement.span(ident.span);
            let message = format!("SQL error: no column `{name}`");
            let diagnostic = Diagnostic::new(Code::E0607, message, span, "no such column");
            let diagnostic = diagnostic.note(format!("columns here: {}", names.join(", ")));
            self.diagnostics.push(suggest(diagnostic, &name, span, names.iter().map(String::as_str)));
        }
        Type::Unknown
    }
}

fn named(own: String, columns: Option<Vec<Column>>, alias: Option<&sql::TableAlias>) -> Relation {
    match alias {
        Some(alias) => Relation { name: ident_name(&alias.name), columns: renamed(columns, alias) },
        None => Relation { name: own, columns },
    }
}

fn renamed(columns: Option<Vec<Column>>, alias: &sql::TableAlias) -> Option<Vec<Column>> {
    let mut columns = columns?;
    for (column, new) in columns.iter_mut().zip(&alias.columns) {
        column.name = ident_name(&new.name);
    }
    Some(columns)
}

pub(super) fn constraint(operator: &sql::JoinOperator) -> Option<&sql::JoinConstraint> {
    use sql::JoinOperator as J;
    match operator {
        J::Join(c) | J::Inner(c) | J::Left(c) | J::LeftOuter(c) | J::Right(c) | J::RightOuter(c) => Some(c),
        J::FullOuter(c) | J::CrossJoin(c) | J::Semi(c) | J::LeftSemi(c) | J::RightSemi(c) => Some(c),
        J::Anti(c) | J::LeftAnti(c) | J::RightAnti(c) => Some(c),
        _ => None,
    }
}

/// Adds the right side of a join; outer joins make columns nullable.
fn add_join(scope: &mut Vec<Relation>, right: Relation, operator: &sql::JoinOperator) {
    use sql::JoinOperator as J;
    let (left_null, right_null) = match operator {
        J::Left(_) | J::LeftOuter(_) => (false, true),
        J::Right(_) | J::RightOuter(_) => (true, false),
        J::FullOuter(_) => (true, true),
        _ => (false, false),
    };
    let weaken = |relation: &mut Relation| {
        for column in relation.columns.iter_mut().flatten() {
            column.ty = column.ty.clone().optional();
        }
    };
    if left_null {
        scope.iter_mut().for_each(weaken);
    }
    scope.push(right);
    if right_null {
        scope.last_mut().into_iter().for_each(weaken);
    }
}

/// `ty`, nullable if a part is; unknown parts count as non-null.
fn nullable_if(ty: Type, parts: &[Type]) -> Type {
    if parts.iter().any(Type::is_optional) { ty.optional() } else { ty }
}

/// The common type of two alternatives.
fn joined(left: Type, right: Type) -> Type {
    let is_null = left.is_optional() || right.is_optional();
    let ty = match (left.required(), right.required()) {
        (Type::Null, other) | (other, Type::Null) => other.clone(),
        (Type::Unknown, _) | (_, Type::Unknown) => Type::Unknown,
        (Type::Float { .. }, Type::Int { .. } | Type::Float { .. })
        | (Type::Int { .. }, Type::Float { .. }) => float(),
        (Type::Int { .. }, Type::Int { .. }) if left.required() != right.required() => Type::I64,
        (left, right) if left == right => left.clone(),
        _ => Type::Unknown,
    };
    if is_null { ty.optional() } else { ty }
}

fn value_type(value: &sql::Value) -> Type {
    match value {
        sql::Value::Number(digits, _) if digits.parse::<i64>().is_ok() => Type::I64,
        sql::Value::Number(..) => float(),
        sql::Value::Boolean(_) => Type::Bool,
        sql::Value::Null => Type::Null,
        sql::Value::SingleQuotedString(_) => Type::Text,
        _ => Type::Unknown,
    }
}

fn binary_type(op: &sql::BinaryOperator, left: Type, right: Type) -> Type {
    use sql::BinaryOperator as B;
    match op {
        B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo => match (left.required(), right.required())
        {
            (
                Type::Float { .. } | Type::Int { .. } | Type::Null,
                Type::Float { .. } | Type::Int { .. } | Type::Null,
            ) => joined(left, right),
            _ => Type::Unknown,
        },
        B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq | B::And | B::Or | B::Xor => {
            nullable_if(Type::Bool, &[left, right])
        }
        B::StringConcat => nullable_if(Type::Text, &[left, right]),
        _ => Type::Unknown,
    }
}

fn cast_type(data_type: &sql::DataType) -> Type {
    use sql::DataType as D;
    match data_type {
        D::Double(_) | D::DoublePrecision | D::Float8 | D::Float64 => float(),
        D::Real | D::Float4 | D::Float32 => Type::Float { bits: 32 },
        D::BigInt(_) | D::Int8(_) | D::Int64 => Type::I64,
        D::Int(_) | D::Integer(_) | D::Int4(_) | D::Int32 => Type::Int { signed: true, bits: 32 },
        D::Boolean | D::Bool => Type::Bool,
        D::Varchar(_) | D::Text | D::String(_) | D::Char(_) => Type::Text,
        D::Date => Type::Date,
        D::Timestamp(..) => Type::Timestamp,
        _ => Type::Unknown,
    }
}

/// The type of a function's result by the types of its arguments.
fn function_type(name: &str, args: &[Type]) -> Type {
    let first = || args.first().cloned().unwrap_or(Type::Unknown);
    match name {
        "count" | "approx_distinct" | "regr_count" => Type::I64,
        "row_number" | "rank" | "dense_rank" | "ntile" => Type::U64,
        "avg"
        | "mean"
        | "median"
        | "mad"
        | "stddev"
        | "stddev_samp"
        | "stddev_pop"
        | "var"
        | "var_samp"
        | "var_pop"
        | "corr"
        | "covar_samp"
        | "covar_pop"
        | "regr_slope"
        | "approx_median"
        | "approx_percentile_cont"
        | "percentile_cont"
        | "quantile_cont"
        | "hodges_lehmann"
        | "theil_sen"
        | "mann_whitney"
        | "perm_test" => float().optional(),
        "sum" => match first().required() {
            Type::Int { signed: false, .. } => Type::U64.optional(),
            Type::Int { .. } => Type::I64.optional(),
            Type::Float { .. } => float().optional(),
            _ => Type::Unknown,
        },
        "min" | "max" | "first_value" | "last_value" | "nth_value" | "any_value" | "lag" | "lead"
        | "nullif" => first().optional(),
        "bool_and" | "bool_or" => Type::Bool.optional(),
        "coalesce" | "ifnull" | "nvl" => {
            let is_null = args.iter().all(Type::is_optional);
            let ty = args.iter().cloned().reduce(joined).unwrap_or(Type::Unknown);
            if is_null { ty } else { ty.required().clone() }
        }
        "greatest" | "least" => args.iter().cloned().reduce(joined).unwrap_or(Type::Unknown),
        "abs" => first(),
        "round" | "sqrt" | "exp" | "ln" | "log" | "log2" | "log10" | "power" | "pow" | "trunc" => {
            nullable_if(float(), args)
        }
        "lower" | "upper" | "trim" | "btrim" | "replace" | "substr" => nullable_if(Type::Text, args),
        "concat" | "this_machine" => Type::Text,
        "percent_rank" | "cume_dist" => float(),
        _ => Type::Unknown,
    }
}
