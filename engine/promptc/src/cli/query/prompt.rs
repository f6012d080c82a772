//! The prompt of `promptc query`: statements and commands, from a terminal or from standard input.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use clap::ValueEnum;
use promptc_engine::datafusion::prelude::SessionContext;
use promptc_engine::error::EngineError;
use promptc_engine::gate::params::{bind, declared};
use promptc_engine::sql;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::statements::{Input, Pending, is_whole};
use super::{Format, Outcome};
use crate::exit::{Exit, report};
use crate::{shipped, show};

/// Statements that the editor remembers.
const HISTORY_MAX: usize = 1000;

/// Files that files may read.
const DEPTH_MAX: u8 = 16;

const HELP: &str = r"\d             tables
\d TABLE       columns of a table
\queries       questions that come with promptc; `\queries NAME` shows the SQL of one
\timer         show how long a statement takes, or stop showing it
\format NAME   table, json, jsonl, csv, markdown or line
\i FILE        run the statements of a file
\o FILE        write answers to a file; \o alone writes them here again
\q             end";

/// Words that the editor completes besides the names of tables, columns and functions.
const KEYWORDS: [&str; 35] = [
    "ALL",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COUNT",
    "CROSS",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "EXPLAIN",
    "FILTER",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ORDER",
    "OVER",
    "PARTITION",
    "SELECT",
    "UNION",
    "WHERE",
    "WITH",
];

/// Gets a session ready for a statement, as by registering what it names.
pub(super) type Prepare<'a> = Box<dyn Fn(&SessionContext, &str) -> Result<(), EngineError> + 'a>;

/// What statements run in, and how their answers are shown.
pub(super) struct Prompt<'a> {
    pub(super) session: SessionContext,
    pub(super) runtime: Runtime,
    pub(super) format: Format,
    pub(super) limit: usize,
    /// Values of `$name`.
    pub(super) given: BTreeMap<String, String>,
    pub(super) prepare: Prepare<'a>,
    is_timed: bool,
    out: Option<std::fs::File>,
    interrupt: Arc<Notify>,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    More,
    End,
}

impl<'a> Prompt<'a> {
    pub(super) fn new(
        session: SessionContext,
        runtime: Runtime,
        format: Format,
        limit: usize,
        given: BTreeMap<String, String>,
        prepare: Prepare<'a>,
    ) -> Result<Self, EngineError> {
        let interrupt = interrupts()?;
        Ok(Self { session, runtime, format, limit, given, prepare, is_timed: false, out: None, interrupt })
    }

    /// Asks at the terminal until `\q` or Ctrl-D. A statement that fails is told, and the prompt goes on.
    pub(super) fn on_terminal(mut self) -> Outcome {
        let outcome = self.ask();
        // A statement that was cancelled may compute until it next looks up.
        self.runtime.shutdown_background();
        outcome
    }

    fn ask(&mut self) -> Outcome {
        let fail = |error: ReadlineError| EngineError::internal("the prompt", error);
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)
            .map_err(fail)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor: Editor<Words, FileHistory> = Editor::with_config(config).map_err(fail)?;
        editor.set_helper(Some(self.runtime.block_on(Words::of(&self.session))));
        let file = history_file();
        if let Some(file) = &file {
            // The first time there is none.
            let _ = editor.load_history(file);
        }
        eprintln!(
            "SQL over the benchmark history or the streams of a program; \\? shows the commands, \\q ends"
        );
        loop {
            let lines = match editor.readline("promptc> ") {
                Ok(lines) => lines,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(fail(error)),
            };
            if lines.trim().is_empty() {
                continue;
            }
            // A history that cannot be kept is no reason to stop.
            let _ = editor.add_history_entry(lines.trim_end());
            let mut pending = Pending::default();
            let mut inputs = pending.take(&lines);
            inputs.extend(pending.last());
            if self.each(inputs, 0, true)? == Next::End {
                break;
            }
        }
        if let Some(file) = &file {
            let _ = file.parent().map(std::fs::create_dir_all);
            let _ = editor.append_history(file);
        }
        Ok(Exit::Ok)
    }

    /// Runs the statements of standard input and ends at the first that fails. Without any, tables are listed.
    pub(super) fn on_input(mut self) -> Outcome {
        let outcome = self.read();
        self.runtime.shutdown_background();
        outcome
    }

    fn read(&mut self) -> Outcome {
        let mut pending = Pending::default();
        let mut is_blank = true;
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|source| unreadable(Path::new("standard input"), source))?;
            let inputs = pending.take(&line);
            is_blank &= inputs.is_empty();
            if self.each(inputs, 0, false)? == Next::End {
                return Ok(Exit::Ok);
            }
        }
        let last = pending.last();
        if is_blank && last.is_none() {
            tables(&self.session).iter().for_each(|name| println!("{name}"));
        }
        self.each(last.into_iter().collect(), 0, false)?;
        Ok(Exit::Ok)
    }

    fn each(&mut self, inputs: Vec<Input>, depth: u8, goes_on: bool) -> Result<Next, EngineError> {
        for input in inputs {
            let done = match &input {
                Input::Sql(text) => self.answer(text).map(|()| Next::More),
                Input::Command(text) => self.command(text, depth),
            };
            match done {
                Ok(Next::More) => {}
                Ok(Next::End) => return Ok(Next::End),
                Err(EngineError::Interrupted) if goes_on => eprintln!("cancelled"),
                Err(error) if goes_on => {
                    report(&error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Next::More)
    }

    /// Runs a statement and shows its rows. Ctrl-C ends the statement alone.
    fn answer(&mut self, text: &str) -> Result<(), EngineError> {
        (self.prepare)(&self.session, text)?;
        let is_named = |name: &String| text.contains(&format!("${name}"));
        let given: BTreeMap<String, String> = self
            .given
            .iter()
            .filter(|(name, _)| is_named(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let started = Instant::now();
        // One row more shows whether there are more.
        let (session, sql, limit) = (self.session.clone(), text.to_owned(), self.limit.saturating_add(1));
        // A task of its own, since a long computation does not let others in.
        let mut asked = self.runtime.spawn(async move {
            let plan = bind(&session, &sql, &declared("SQL", &sql)?, &given).await?;
            sql::collect(&session, plan, limit).await
        });
        let (schema, batches) = self.runtime.block_on(async {
            tokio::select! {
                answer = &mut asked => answer.map_err(|error| EngineError::internal("a statement", error))?,
                () = self.interrupt.notified() => {
                    asked.abort();
                    Err(EngineError::Interrupted)
                }
            }
        })?;
        let (batches, is_cut) =
            if sql::is_explanation(&schema) { (batches, false) } else { first_rows(batches, self.limit) };
        self.print(&schema, &batches)?;
        if is_cut {
            eprintln!("only the first {} rows are shown; `--limit` raises it", self.limit);
        }
        if self.is_timed {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            eprintln!("{rows} rows in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }

    fn print(
        &mut self,
        schema: &arrow::datatypes::SchemaRef,
        batches: &[RecordBatch],
    ) -> Result<(), EngineError> {
        match &mut self.out {
            Some(file) => show::write_batches(file, schema, batches, self.format),
            None => show::print_batches(schema, batches, self.format),
        }
    }

    fn command(&mut self, text: &str, depth: u8) -> Result<Next, EngineError> {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim().trim_end_matches(';').trim_end();
        match (name.trim_end_matches(';'), rest) {
            ("q" | "quit", _) => return Ok(Next::End),
            ("?" | "h" | "help", _) => println!("{HELP}"),
            ("d", "") => {
                let batch = self.runtime.block_on(table_list(&self.session))?;
                self.print(&batch.schema(), &[batch])?;
            }
            ("d", table) => {
                let batch = self.runtime.block_on(column_list(&self.session, table))?;
                self.print(&batch.schema(), &[batch])?;
            }
            ("queries", "") => {
                shipped::QUERIES.iter().for_each(|query| {
                    println!("{:<18} {}", query.name, shipped::question(query.sql));
                });
            }
            ("queries", name) => {
                let query = shipped::query(name).ok_or_else(|| super::no_query(name))?;
                print!("{}", query.sql);
            }
            ("timer", _) => {
                self.is_timed = !self.is_timed;
                eprintln!("times are {}", if self.is_timed { "shown" } else { "not shown" });
            }
            ("format", name) => {
                self.format = Format::from_str(name, true).map_err(|_| {
                    EngineError::Unknown(format!("no format `{name}`; one of {}", formats().join(", ")))
                })?;
            }
            ("i", "") => return Err(EngineError::Unknown(r"name a file, as `\i FILE`".to_owned())),
            ("i", file) => self.include(Path::new(file), depth)?,
            ("o", "") => self.out = None,
            ("o", file) => {
                let path = PathBuf::from(file);
                self.out = Some(std::fs::File::create(&path).map_err(|source| unreadable(&path, source))?);
            }
            (other, _) => {
                return Err(EngineError::Unknown(format!(r"no command `\{other}`; `\?` shows them")));
            }
        }
        Ok(Next::More)
    }

    /// Runs a file; its first failure ends it.
    fn include(&mut self, path: &Path, depth: u8) -> Result<(), EngineError> {
        if depth == DEPTH_MAX {
            return Err(EngineError::Unknown(format!("{}: files read one another", path.display())));
        }
        let text = std::fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
        let mut pending = Pending::default();
        let mut inputs = pending.take(&text);
        inputs.extend(pending.last());
        // `\q` in a file ends the file.
        self.each(inputs, depth + 1, false)?;
        Ok(())
    }
}

/// Tells of Ctrl-C from a thread of its own, since all others may be computing.
fn interrupts() -> Result<Arc<Notify>, EngineError> {
    let fail = |error: std::io::Error| EngineError::internal("the listener for Ctrl-C", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    let interrupt = Arc::new(Notify::new());
    let tells = interrupt.clone();
    let listen = move || {
        while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            tells.notify_waiters();
        }
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(listen).map_err(fail)?;
    Ok(interrupt)
}

fn unreadable(path: &Path, source: std::io::Error) -> EngineError {
    EngineError::Program { path: path.to_path_buf(), source }
}

/// The first rows of an answer, and whether there were more.
fn first_rows(batches: Vec<RecordBatch>, limit: usize) -> (Vec<RecordBatch>, bool) {
    let mut left = limit;
    let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let cut = batches.into_iter().map(|batch| {
        let kept = batch.slice(0, batch.num_rows().min(left));
        left -= kept.num_rows();
        kept
    });
    (cut.collect(), total > limit)
}

/// Tables of a session in order.
pub(super) fn tables(session: &SessionContext) -> Vec<String> {
    let catalog = session.catalog("datafusion").and_then(|catalog| catalog.schema("public"));
    let mut names = catalog.map_or_else(Vec::new, |schema| schema.table_names());
    names.sort();
    names
}

async fn table_list(session: &SessionContext) -> Result<RecordBatch, EngineError> {
    let names = tables(session);
    let mut counts = Vec::with_capacity(names.len());
    for name in &names {
        counts.push(columns(session, name).await?.len() as u64);
    }
    Ok(RecordBatch::try_from_iter([
        ("table", Arc::new(StringArray::from(names)) as ArrayRef),
        ("columns", Arc::new(UInt64Array::from(counts)) as ArrayRef),
    ])?)
}

async fn column_list(session: &SessionContext, table: &str) -> Result<RecordBatch, EngineError> {
    let columns = columns(session, table.trim_matches('"')).await?;
    let texts = |of: fn(&(String, String, bool)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(columns.iter().map(of)))
    };
    Ok(RecordBatch::try_from_iter([
        ("column", texts(|(name, ..)| name.clone())),
        ("type", texts(|(_, ty, _)| ty.clone())),
        ("null", texts(|(.., may_be_null)| if *may_be_null { "yes" } else { "no" }.to_owned())),
    ])?)
}

/// Name, type, and whether null may stand there, of the columns of a table.
async fn columns(session: &SessionContext, table: &str) -> Result<Vec<(String, String, bool)>, EngineError> {
    let schema = session.catalog("datafusion").and_then(|catalog| catalog.schema("public"));
    let found = match schema {
        Some(schema) => schema.table(table).await?,
        None => None,
    };
    let unknown =
        || EngineError::Unknown(format!("no table `{table}`; there are: {}", tables(session).join(", ")));
    let schema = found.ok_or_else(unknown)?.schema();
    let column = |field: &Arc<arrow::datatypes::Field>| {
        (field.name().clone(), field.data_type().to_string(), field.is_nullable())
    };
    Ok(schema.fields().iter().map(column).collect())
}

fn formats() -> Vec<String> {
    let names = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    names.map(|name| name.get_name().to_owned()).collect()
}

/// Where statements are remembered from one session to the next.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("promptc/query_history"))
}

/// What the editor completes, and when it stops asking for lines.
struct Words {
    words: Vec<String>,
    tables: Vec<String>,
}

impl Words {
    async fn of(session: &SessionContext) -> Self {
        let mut words: BTreeSet<String> = KEYWORDS.iter().map(|word| (*word).to_owned()).collect();
        let tables = tables(session);
        for table in &tables {
            let columns = columns(session, table).await.unwrap_or_default();
            words.extend(columns.into_iter().map(|(name, ..)| name));
        }
        words.extend(tables.iter().cloned());
        let state = session.state();
        words.extend(state.scalar_functions().keys().cloned());
        words.extend(state.aggregate_functions().keys().cloned());
        words.extend(state.window_functions().keys().cloned());
        let is_word = |word: &String| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        Self { words: words.into_iter().filter(is_word).collect(), tables }
    }

    /// Where the word before the cursor begins, and what it can become.
    fn candidates(&self, before: &str) -> (usize, Vec<String>) {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let start = before
            .rfind(|letter| !is_part(letter))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let word = before[start..].to_lowercase();
        let fits = |candidate: &String| candidate.to_lowercase().starts_with(&word);
        let among = |words: Vec<String>| words.into_iter().filter(fits).collect();
        let shipped = || shipped::QUERIES.iter().map(|query| query.name.to_owned()).collect();
        let found = match before[..start].trim() {
            r"\" => among(["d", "format", "i", "o", "q", "queries", "timer"].map(str::to_owned).to_vec()),
            r"\d" => among(self.tables.clone()),
            r"\format" => among(formats()),
            r"\queries" => among(shipped()),
            _ if word.is_empty() => Vec::new(),
            _ => among(self.words.clone()),
        };
        (start, found)
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..pos]))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        let is_plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
        if is_plain { Cow::Borrowed(prompt) } else { Cow::Owned(format!("\u{1b}[1m{prompt}\u{1b}[0m")) }
    }
}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed_where_they_stand() {
        let words = Words {
            words: ["bench_id", "results", "SELECT"].map(str::to_owned).to_vec(),
            tables: vec!["results".to_owned()],
        };
        let complete = |before: &str| words.candidates(before);
        assert_eq!(complete("sel"), (0, vec!["SELECT".to_owned()]));
        assert_eq!(complete("SELECT r.ben"), (9, vec!["bench_id".to_owned()]));
        assert_eq!(complete("SELECT 'é', res"), (13, vec!["results".to_owned()]));
        assert_eq!(complete(r"\d re"), (3, vec!["results".to_owned()]));
        assert_eq!(complete(r"\ti"), (1, vec!["timer".to_owned()]));
        assert_eq!(complete(r"\format ma"), (8, vec!["markdown".to_owned()]));
        assert_eq!(complete("SELECT "), (7, vec![]));
    }

    #[test]
    fn the_first_rows_are_kept() {
        let batch = |values: Vec<u64>| {
            RecordBatch::try_from_iter([("n", Arc::new(UInt64Array::from(values)) as ArrayRef)])
                .expect("a batch")
        };
        let all = || vec![batch(vec![1, 2]), batch(vec![3])];
        let count = |limit| {
            let (kept, is_cut) = first_rows(all(), limit);
            (kept.iter().map(RecordBatch::num_rows).sum::<usize>(), is_cut)
        };
        assert_eq!((count(3), count(2), count(1), count(0)), ((3, false), (2, true), (1, true), (0, true)));
    }
}
