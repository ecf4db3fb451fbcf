//! registries.conf(5), version 2: which registries an image name stands for.
//!
//! [`parse`](document::parse) reads one file's text, [`Registries`] is what
//! all files together say, [`load`](Registries::load) finds the files and
//! [`resolve`](Registries::resolve) applies them to a name.

mod document;
mod entry;
mod load;
mod resolve;

pub use document::{Document, ParseError};
pub use entry::{Mirror, PullFromMirror, Registry, ShortNameMode};
pub use load::LoadError;
pub use resolve::{Candidate, Endpoint, ResolveError, SchemePolicy, is_loopback};

use std::collections::BTreeMap;

/// What all configuration files together say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    registries: Vec<Registry>,
    search: Option<Vec<String>>,
    mode: ShortNameMode,
    aliases: BTreeMap<String, String>,
}

impl Registries {
    /// Lays a file over what earlier files said: a registry of the same
    /// prefix, an alias of the same name and every list replace the earlier.
    pub fn overlay(&mut self, document: Document) {
        for registry in document.registries {
            self.registries
                .retain(|earlier| earlier.prefix != registry.prefix);
            self.registries.push(registry);
        }
        if document.search.is_some() {
            self.search = document.search;
        }
        if let Some(mode) = document.mode {
            self.mode = mode;
        }
        for (name, target) in document.aliases {
            if target.is_empty() {
                self.aliases.remove(&name);
            } else {
                self.aliases.insert(name, target);
            }
        }
    }

    /// The configured registries.
    #[must_use]
    pub fn registries(&self) -> &[Registry] {
        &self.registries
    }
}
