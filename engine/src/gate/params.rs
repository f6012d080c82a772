//! Named parameters of SQL files: declared in the comments at the top, bound by the planner, never pasted into the text.
//!
//! ```text
//! -- param: run string
//! -- param: alpha double 0.01
//! SELECT ... WHERE run_id = $run AND p < $alpha
//! ```

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use crate::error::EngineError;
use crate::sql::{plan_query, sql_fault};

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name, without `$`.
    pub name: String,
    /// `string`, `double`, `bigint` or `boolean`.
    pub ty: ParamType,
    /// The value as text if none is given.
    pub default: Option<String>,
}

/// Types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamType {
    /// Text.
    Text,
    /// A float of 64 bits.
    Double,
    /// A whole number of 64 bits.
    BigInt,
    /// True or false.
    Boolean,
}

impl ParamType {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "string" | "text" | "varchar" | "utf8" => Self::Text,
            "double" | "float" | "real" => Self::Double,
            "bigint" | "int" | "integer" => Self::BigInt,
            "boolean" | "bool" => Self::Boolean,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Double => "double",
            Self::BigInt => "bigint",
            Self::Boolean => "boolean",
        }
    }

    fn value(self, text: &str) -> Option<ScalarValue> {
        Some(match self {
            Self::Text => ScalarValue::Utf8(Some(text.to_owned())),
            Self::Double => {
                ScalarValue::Float64(Some(text.parse().ok().filter(|value: &f64| value.is_finite())?))
            }
            Self::BigInt => ScalarValue::Int64(Some(text.parse().ok()?)),
            Self::Boolean => ScalarValue::Boolean(Some(text.parse().ok()?)),
        })
    }
}

impl Param {
    /// What follows `param:` in a comment: name, type and perhaps a default.
    ///
    /// # Errors
    /// In words, without the place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let (Some(name), Some(word)) = (words.next(), words.next()) else {
            return Err(format!("parameter `{text}`: expected a name, a type and perhaps a default"));
        };
        let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !is_name {
            return Err(format!("`{name}` is not the name of a parameter"));
        }
        let ty = ParamType::parse(word).ok_or_else(|| {
            format!("parameter `{name}`: type `{word}`; one of string, double, bigint, boolean")
        })?;
        let default = words.collect::<Vec<_>>().join(" ");
        let default = (!default.is_empty()).then_some(default);
        if let Some(text) = default.as_deref().filter(|text| ty.value(text).is_none()) {
            return Err(format!("parameter `{name}`: default `{text}` is not a {}", ty.word()));
        }
        Ok(Self { name: name.to_owned(), ty, default })
    }
}

/// Parameters declared in the comments of a file, wherever they stand.
///
/// # Errors
/// E0607 with the line of a declaration that cannot be read.
pub fn declared(file: &str, text: &str) -> Result<Vec<Param>, EngineError> {
    let mut found: Vec<Param> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(rest) = line.trim().strip_prefix("--").and_then(|rest| rest.trim().strip_prefix("param:"))
        else {
            continue;
        };
        let param = Param::parse(rest).map_err(|message| fault(file, number, &message))?;
        if found.iter().any(|other| other.name == param.name) {
            return Err(fault(file, number, &format!("parameter `{}` is declared twice", param.name)));
        }
        found.push(param);
    }
    Ok(found)
}

pub(super) fn fault(file: &str, line: usize, message: &str) -> EngineError {
    EngineError::Row { code: "E0607", message: format!("{file}:{line}: {message}") }
}

/// Plans SQL with its parameters bound. Values of names that nothing declares take the type that the planner infers.
/// Nothing is read.
///
/// # Errors
/// E0607 with the planner's message; a parameter without value, of the wrong type, or that the SQL does not have is a
/// mistake of use.
pub async fn bind(
    session: &SessionContext,
    sql: &str,
    declared: &[Param],
    given: &BTreeMap<String, String>,
) -> Result<LogicalPlan, EngineError> {
    let plan = plan_query(session, sql).await?;
    let wanted: BTreeMap<String, Option<DataType>> =
        plan.get_parameter_types().map_err(sql_fault)?.into_iter().collect();
    let wanted: BTreeMap<&str, Option<DataType>> =
        wanted.iter().map(|(name, ty)| (name.trim_start_matches('$'), ty.clone())).collect();
    let is_known = |name: &str| wanted.contains_key(name) || declared.iter().any(|param| param.name == name);
    if let Some(name) = given.keys().find(|name| !is_known(name)) {
        let mut names: Vec<&str> = wanted.keys().copied().collect();
        names.extend(declared.iter().map(|param| param.name.as_str()));
        names.sort_unstable();
        names.dedup();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(EngineError::Unknown(format!("no parameter `{name}`; there are: {names}")));
    }
    let mut values: Vec<(String, ScalarValue)> = Vec::new();
    for (name, inferred) in &wanted {
        let param = declared.iter().find(|param| param.name == *name);
        let text = given.get(*name).or(param.and_then(|param| param.default.as_ref()));
        let Some(text) = text else {
            return Err(EngineError::Unknown(format!(
                "parameter `{name}` has no value; give `-p {name}=...`"
            )));
        };
        let value = match param {
            Some(param) => param.ty.value(text),
            None => undeclared(text, inferred.as_ref()),
        };
        let kind = param.map_or("value of the type that the SQL needs", |param| param.ty.word());
        let wrong = || EngineError::Unknown(format!("parameter `{name}`: `{text}` is not a {kind}"));
        values.push(((*name).to_owned(), value.ok_or_else(wrong)?));
    }
    plan.with_param_values(values).map_err(sql_fault)
}

fn undeclared(text: &str, inferred: Option<&DataType>) -> Option<ScalarValue> {
    match inferred {
        Some(ty) if *ty != DataType::Null => ScalarValue::try_from_string(text.to_owned(), ty).ok(),
        _ => ParamType::Text.value(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_read_and_wrong_ones_named() {
        let text = "-- what is slow\n-- param: run string\n--param: alpha double 0.01\nSELECT 1";
        let found = declared("q.sql", text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].ty, found[1].default.as_deref()), (ParamType::Double, Some("0.01")));
        for (line, word) in [
            ("-- param: run", "expected a name"),
            ("-- param: run strings", "strings"),
            ("-- param: alpha double much", "much"),
            ("-- param: alpha double inf", "inf"),
            ("-- param: a;b string", "not the name"),
            ("-- param: a string\n-- param: a string", "twice"),
        ] {
            let error = declared("q.sql", line).unwrap_err().to_string();
            assert!(error.contains(word) && error.starts_with("q.sql:"), "{error}");
        }
    }

    async fn answer(sql: &str, declared: &[Param], given: &[(&str, &str)]) -> Result<String, EngineError> {
        let session = SessionContext::new();
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let plan = bind(&session, sql, declared, &given).await?;
        let batches = session.execute_logical_plan(plan).await?.collect().await?;
        Ok(arrow::util::display::array_value_to_string(batches[0].column(0), 0)?)
    }

    #[tokio::test]
    async fn values_are_bound_and_never_sql() {
        let run = Param::parse("run string").unwrap();
        let evil = "x' OR '1' = '1";
        let sql = "SELECT count(*) FROM (VALUES ('x'), ('y')) AS t(run_id) WHERE run_id = $run";
        assert_eq!(answer(sql, std::slice::from_ref(&run), &[("run", "x")]).await.unwrap(), "1");
        assert_eq!(answer(sql, &[run], &[("run", evil)]).await.unwrap(), "0");
        assert_eq!(answer(sql, &[], &[("run", "y")]).await.unwrap(), "1", "the type is inferred");
        let alpha = Param::parse("alpha double 0.5").unwrap();
        let sql = "SELECT CASE WHEN 0.4 < $alpha THEN 'below' ELSE 'above' END";
        assert_eq!(answer(sql, std::slice::from_ref(&alpha), &[]).await.unwrap(), "below");
        assert_eq!(answer(sql, &[alpha], &[("alpha", "0.1")]).await.unwrap(), "above");
    }

    #[tokio::test]
    async fn wrong_values_are_mistakes_of_use() {
        let alpha = [Param::parse("alpha double").unwrap()];
        let sql = "SELECT $alpha + 1.0";
        for given in [&[][..], &[("alpha", "low")], &[("alpha", "1"), ("beta", "2")]] {
            let error = answer(sql, &alpha, given).await.unwrap_err();
            assert!(matches!(error, EngineError::Unknown(_)), "{error}");
        }
        assert_eq!(answer("SELECT nope FROM t", &[], &[]).await.unwrap_err().code(), "E0607");
    }
}
