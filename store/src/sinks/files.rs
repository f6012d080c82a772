//! One file per row: its name and its content are columns.

use super::tree::Tree;
use super::{Sink, SinkError, SinkReport, SinkSpec};
use crate::failpoint::{Site, reach};
use crate::medium::MediumError;
use crate::paths;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use std::path::Path;

pub(super) struct Files {
    tree: Tree,
    path: String,
    name: usize,
    body: usize,
    rows: u64,
}

impl Files {
    pub(super) fn open(spec: &SinkSpec, schema: &SchemaRef) -> Result<Self, SinkError> {
        let fail = |column: &str, detail: &str| SinkError::Column {
            kind: "files",
            path: spec.path.clone(),
            column: column.to_owned(),
            detail: detail.to_owned(),
        };
        let find = |wanted: &Option<String>, what: &str, accepts: fn(&DataType) -> bool| {
            let column =
                wanted.as_deref().ok_or_else(|| fail(what, "the sink does not say which column it is"))?;
            match schema.column_with_name(column) {
                Some((position, field)) if accepts(field.data_type()) => Ok(position),
                Some(_) => Err(fail(column, "its type has no form as a file")),
                None => Err(fail(column, "the stream does not have it")),
            }
        };
        let name = find(&spec.name, "name", is_text)?;
        let body = find(&spec.body, "body", |data_type| {
            is_text(data_type)
                || matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
        })?;
        let folder = paths::output_folder(&spec.base, &spec.path)?;
        if !spec.overwrite && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(SinkError::Exists { path: folder });
        }
        let tree = Tree::open(folder, &spec.path)?;
        Ok(Self { tree, path: spec.path.clone(), name, body, rows: 0 })
    }

    fn null(&self, column: &str) -> SinkError {
        let detail = format!("row {} has none", self.rows + 1);
        SinkError::Column { kind: "files", path: self.path.clone(), column: column.into(), detail }
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The bytes of a text or bytes column.
fn bytes_at(column: &dyn Array, row: usize) -> &[u8] {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).as_bytes(),
        DataType::Utf8View => column.as_string_view().value(row).as_bytes(),
        DataType::Binary => column.as_binary::<i32>().value(row),
        DataType::LargeBinary => column.as_binary::<i64>().value(row),
        DataType::BinaryView => column.as_binary_view().value(row),
        // `open` refuses all other types.
        _ => b"",
    }
}

impl Sink for Files {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let (names, bodies) = (batch.column(self.name), batch.column(self.body));
        for row in 0..batch.num_rows() {
            if names.is_null(row) || bodies.is_null(row) {
                let column = if names.is_null(row) { self.name } else { self.body };
                return Err(self.null(batch.schema().field(column).name()));
            }
            let name = String::from_utf8_lossy(bytes_at(names.as_ref(), row)).into_owned();
            let name = self.tree.check_name(&name, self.rows + 1)?;
            reach(Site::FilesBeforeWrite)
                .map_err(|source| MediumError::new("write", Path::new(&name), source))?;
            self.tree.add(name, bytes_at(bodies.as_ref(), row))?;
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError> {
        self.tree.finish(self.rows)
    }
}
