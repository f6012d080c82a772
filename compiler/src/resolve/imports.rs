//! Texts of a program: the main one and what it imports, each loaded and parsed once.

use std::collections::BTreeMap;

use super::scope::{self, Declaration, DeclarationId};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceFile, SourceMap, Span};
use crate::syntax::ast::{self, ItemKind};
use crate::syntax::parse;

/// Most imports of one program, all files together.
const IMPORTS: usize = 256;

/// Gives the text of an import: (name of the importing text, path as written) to (name, text), or why not.
pub type Loader<'l> = dyn FnMut(&str, &str) -> Result<(String, String), String> + 'l;

/// A name space bound by an import.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// The imported module; `None` if its text could not be had.
    pub(crate) module: Option<usize>,
    /// Where the name is bound.
    pub(crate) span: Span,
}

/// One text of the program.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its tree.
    pub(crate) file: ast::File,
    /// Put before the names that it declares: empty for the main text, else `rag.`.
    pub(crate) prefix: String,
    /// Folder that its relative paths are relative to; empty for the current one.
    pub(crate) folder: String,
    /// Name spaces.
    pub(crate) imports: BTreeMap<String, Import>,
    /// Declared names.
    pub(crate) names: BTreeMap<String, DeclarationId>,
}

/// All texts of a program with what they declare.
#[derive(Debug, Default)]
pub(crate) struct Program {
    /// The texts.
    pub(crate) sources: SourceMap,
    /// One per text; the main one first.
    pub(crate) modules: Vec<Module>,
    /// All declarations, by module, then in the order written.
    pub(crate) declarations: Vec<Declaration>,
}

impl Program {
    /// The tree of a declaration.
    pub(crate) fn item(&self, declaration: &Declaration) -> &ast::Item {
        &self.modules[declaration.module].file.items[declaration.item]
    }
}

/// Loads and parses the main text and everything it imports, and collects what they declare.
pub(crate) fn load(
    name: &str,
    text: &str,
    loader: &mut Loader<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Program {
    let mut loading = Loading { program: Program::default(), by_name: BTreeMap::new(), loader, diagnostics };
    loading.module(name.to_owned(), text.to_owned(), String::new(), &mut Vec::new());
    let mut program = loading.program;
    program.declarations = scope::collect(&mut program.modules, &program.sources, diagnostics);
    program
}

struct Loading<'l, 'f> {
    program: Program,
    by_name: BTreeMap<String, usize>,
    loader: &'l mut Loader<'f>,
    diagnostics: &'l mut Vec<Diagnostic>,
}

impl Loading<'_, '_> {
    /// Adds a module and, below it, its imports; `open` holds the names of the texts that are being loaded.
    fn module(&mut self, name: String, text: String, prefix: String, open: &mut Vec<String>) -> usize {
        let source = self.program.sources.add(SourceFile::new(name.clone(), text.clone()));
        let file = parse(source, &text, self.diagnostics);
        let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        let statements: Vec<(ast::Text, Option<ast::Ident>)> = file
            .items
            .iter()
            .filter_map(|item| match &item.kind {
                ItemKind::Import { path, alias } => Some((path.clone(), alias.clone())),
                _ => None,
            })
            .collect();
        let module_idx = self.program.modules.len();
        self.by_name.insert(name.clone(), module_idx);
        self.program.modules.push(Module {
            file,
            prefix: prefix.clone(),
            folder,
            imports: BTreeMap::new(),
            names: BTreeMap::new(),
        });
        open.push(name.clone());
        for (path, alias) in statements {
            let (bound, span) = match alias {
                Some(alias) => (alias.name, alias.span),
                None => (stem(&path.value).to_owned(), path.span),
            };
            if let Some(first) = self.program.modules[module_idx].imports.get(&bound) {
                let again = ast::Ident { name: bound, span };
                self.diagnostics.push(scope::defined_twice(&self.program.sources, &again, first.span));
                continue;
            }
            let module = self.import(&name, &path, &format!("{prefix}{bound}."), open);
            self.program.modules[module_idx].imports.insert(bound, Import { module, span });
        }
        open.pop();
        module_idx
    }

    fn import(
        &mut self,
        from: &str,
        path: &ast::Text,
        prefix: &str,
        open: &mut Vec<String>,
    ) -> Option<usize> {
        if self.program.modules.len() > IMPORTS {
            let message = format!("program has more than {IMPORTS} imports");
            self.diagnostics.push(Diagnostic::new(Code::E0501, message, path.span, "one too many"));
            return None;
        }
        let (name, text) = match (self.loader)(from, &path.value) {
            Ok(loaded) => loaded,
            Err(reason) => {
                let message = format!("import `{}` cannot be read", path.value);
                self.diagnostics
                    .push(Diagnostic::new(Code::E0201, message, path.span, "no such program").note(reason));
                return None;
            }
        };
        if let Some(start) = open.iter().position(|open| *open == name) {
            let mut names: Vec<&str> = open[start..].iter().map(String::as_str).collect();
            names.push(&name);
            let message = format!("imports form a cycle: {}", names.join(" -> "));
            self.diagnostics.push(Diagnostic::new(
                Code::E0402,
                message,
                path.span,
                format!("`{from}` imports `{name}`"),
            ));
            return None;
        }
        match self.by_name.get(&name) {
            Some(module_idx) => Some(*module_idx),
            None => Some(self.module(name, text, prefix.to_owned(), open)),
        }
    }
}

/// The file name of a path without folder and extension.
fn stem(path: &str) -> &str {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    file.strip_suffix(".promptc").unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stem_drops_folders_and_extension() {
        assert_eq!(stem("a/b/rag_pack.promptc"), "rag_pack");
        assert_eq!(stem("plain"), "plain");
    }
}
