//! Which module of a crate names what of which other: read lightly, as far as
//! paths and imports say it. A method is not seen, nor what a macro writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::source::{Token, begins, behind, tokens, without_tests};

/// The modules of one crate; the first is its root.
pub(super) struct Crate {
    pub(super) modules: Vec<Module>,
}

/// One module, in a file of its own or not.
#[derive(Default)]
pub(super) struct Module {
    /// From the root on, which itself is `crate`.
    pub(super) name: String,
    parent: usize,
    children: BTreeMap<String, usize>,
    imports: Vec<Import>,
    /// What it defines.
    items: BTreeSet<String>,
    /// The paths that it names outside of imports, with their lines.
    paths: Vec<(Vec<String>, usize)>,
}

/// One name of a `use`.
struct Import {
    /// What it is called here; `*` for all there is.
    name: String,
    path: Vec<String>,
    line: usize,
    /// Others may take it from here.
    public: bool,
}

/// What makes one module depend on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) path: String,
    pub(super) line: usize,
}

const DEFINES: [&str; 9] = [
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "type",
    "const",
    "static",
    "macro_rules",
];

impl Crate {
    /// Reads the crate whose root file is given, out of files that were read.
    pub(super) fn read(root: &Path, files: &BTreeMap<PathBuf, String>) -> Self {
        let mut found = Self {
            modules: Vec::new(),
        };
        if let (Some(text), Some(directory)) = (files.get(root), root.parent()) {
            let tokens = without_tests(&tokens(text));
            found.add("crate", 0, &tokens, directory, files);
        }
        found
    }

    /// Reads one module, whose children's files are in `directory`.
    fn add(
        &mut self,
        name: &str,
        parent: usize,
        tokens: &[Token<'_>],
        directory: &Path,
        files: &BTreeMap<PathBuf, String>,
    ) -> usize {
        let own = self.modules.len();
        self.modules.push(Module {
            name: name.to_owned(),
            parent,
            ..Module::default()
        });
        let (mut at, mut depth) = (0, 0_u32);
        let mut behind_path = false;
        while let Some(token) = tokens.get(at) {
            let name_after = tokens.get(at + 1).filter(|next| next.is_word());
            match (token.text, name_after) {
                ("{", _) => depth += 1,
                ("}", _) => depth = depth.saturating_sub(1),
                ("mod", Some(child)) if depth == 0 => {
                    let full = match own {
                        0 => child.text.to_owned(),
                        _ => format!("{name}::{}", child.text),
                    };
                    let inside = directory.join(child.text);
                    let index = if begins(&tokens[at + 2..], &["{"]) {
                        let end = behind(tokens, at + 2);
                        let inner = &tokens[at + 3..end - 1];
                        at = end;
                        Some(self.add(&full, own, inner, &inside, files))
                    } else {
                        at += 3;
                        [inside.with_extension("rs"), inside.join("mod.rs")]
                            .iter()
                            .find_map(|path| files.get(path))
                            .map(|text| {
                                let tokens = without_tests(&super::source::tokens(text));
                                self.add(&full, own, &tokens, &inside, files)
                            })
                    };
                    if let Some(index) = index {
                        self.modules[own]
                            .children
                            .insert(child.text.to_owned(), index);
                    }
                    continue;
                }
                ("use", _) => {
                    let end = tokens[at..]
                        .iter()
                        .position(|token| token.text == ";")
                        .map_or(tokens.len(), |length| at + length);
                    let before = at.checked_sub(1).map(|before| tokens[before].text);
                    let public = matches!(before, Some("pub" | ")")) && depth == 0;
                    let module = &mut self.modules[own];
                    import(&tokens[at + 1..end], &[], token.line, public, module);
                    at = end;
                    continue;
                }
                (word, Some(item)) if depth == 0 && DEFINES.contains(&word) => {
                    self.modules[own].items.insert(item.text.to_owned());
                    at += 2;
                    continue;
                }
                ("macro_rules", None) if depth == 0 => {
                    if let Some(item) = tokens.get(at + 2) {
                        self.modules[own].items.insert(item.text.to_owned());
                    }
                }
                _ if token.is_word() && !behind_path => {
                    let path = path(&tokens[at..]);
                    at += 2 * path.len() - 1;
                    self.modules[own].paths.push((path, token.line));
                    continue;
                }
                _ => {}
            }
            behind_path = matches!(token.text, "." | "::" | "'");
            at += 1;
        }
        own
    }

    /// Every module with those that it depends on, each with a place that says so.
    pub(super) fn edges(&self) -> Vec<BTreeMap<usize, Edge>> {
        (0..self.modules.len())
            .map(|own| self.edges_of(own))
            .collect()
    }

    fn edges_of(&self, own: usize) -> BTreeMap<usize, Edge> {
        let module = &self.modules[own];
        let mut edges = BTreeMap::new();
        let mut add = |path: &[String], line: usize| {
            if let Some(to) = self.home(own, path, 0).filter(|to| *to != own) {
                edges.entry(to).or_insert_with(|| Edge {
                    path: path.join("::"),
                    line,
                });
            }
        };
        for import in module.imports.iter().filter(|import| !import.public) {
            add(&import.path, import.line);
        }
        for (path, line) in &module.paths {
            let rooted = ["crate", "self", "super"].contains(&path[0].as_str());
            // A word alone is only of interest as the name of an import.
            let imported = module.imports.iter().any(|import| import.name == path[0]);
            if (path.len() > 1 && (rooted || module.children.contains_key(&path[0]))) || imported {
                add(path, *line);
            }
        }
        edges
    }

    /// The module in which what a path of this module names is defined. `None`
    /// for what is of another crate.
    fn home(&self, own: usize, path: &[String], depth: usize) -> Option<usize> {
        // Imports that name one another end nowhere.
        if depth > 20 {
            return None;
        }
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => own,
            "super" => self.modules[own].parent,
            name => return self.home_of_name(own, name, rest, depth),
        };
        while let Some((name, more)) = rest.split_first() {
            match name.as_str() {
                "super" => at = self.modules[at].parent,
                "self" => {}
                name => return self.home_of_name(at, name, more, depth).or(Some(at)),
            }
            rest = more;
        }
        Some(at)
    }

    fn home_of_name(&self, at: usize, name: &str, rest: &[String], depth: usize) -> Option<usize> {
        let module = &self.modules[at];
        if let Some(child) = module.children.get(name) {
            let mut path = vec!["self".to_owned()];
            path.extend_from_slice(rest);
            return self.home(*child, &path, depth + 1);
        }
        if let Some(import) = module.imports.iter().find(|import| import.name == name) {
            let mut path = import.path.clone();
            path.extend_from_slice(rest);
            return self.home(at, &path, depth + 1);
        }
        if module.items.contains(name) {
            return Some(at);
        }
        module
            .imports
            .iter()
            .filter(|import| import.name == "*")
            .filter_map(|import| self.home(at, &import.path, depth + 1))
            .filter(|from| *from != at && self.shows(*from, name))
            .find_map(|from| self.home_of_name(from, name, rest, depth + 1))
    }

    /// Whether one who takes all of a module gets this.
    fn shows(&self, module: usize, name: &str) -> bool {
        let module = &self.modules[module];
        module.items.contains(name)
            || module.children.contains_key(name)
            || module
                .imports
                .iter()
                .any(|import| import.public && import.name == name)
    }
}

/// The words of a path, from its first one on.
fn path(tokens: &[Token<'_>]) -> Vec<String> {
    let mut path = vec![tokens[0].text.to_owned()];
    let mut at = 1;
    while begins(&tokens[at..], &["::"]) && tokens.get(at + 1).is_some_and(Token::is_word) {
        path.push(tokens[at + 1].text.to_owned());
        at += 2;
    }
    path
}

/// Reads what stands between `use` and the semicolon.
fn import(tree: &[Token<'_>], before: &[String], line: usize, public: bool, module: &mut Module) {
    let mut path = before.to_vec();
    let mut alias = None;
    let mut at = 0;
    while let Some(token) = tree.get(at) {
        match token.text {
            "::" => {}
            "{" => {
                let end = behind(tree, at);
                let mut begin = at + 1;
                let mut depth = 0_u32;
                for (n, token) in tree.iter().enumerate().take(end).skip(at + 1) {
                    match token.text {
                        "{" => depth += 1,
                        "}" if depth > 0 => depth -= 1,
                        "," | "}" if depth == 0 => {
                            import(&tree[begin..n], &path, token.line, public, module);
                            begin = n + 1;
                        }
                        _ => {}
                    }
                }
                return;
            }
            "as" => {
                alias = tree.get(at + 1).map(|token| token.text.to_owned());
                at += 1;
            }
            "self" if !path.is_empty() => {}
            word => path.push(word.to_owned()),
        }
        at += 1;
    }
    let Some(last) = path.last().cloned() else {
        return;
    };
    if tree.is_empty() {
        return;
    }
    if last == "*" {
        path.pop();
    }
    module.imports.push(Import {
        name: alias.unwrap_or(last),
        path,
        line,
        public,
    });
}
