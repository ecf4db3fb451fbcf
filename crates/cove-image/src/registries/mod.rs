//! registries.conf(5), version 2: which registries an image name stands for.
//!
//! [`parse`](document::parse) reads one file's text, [`Registries`] is what
//! all files together say, [`load`](Registries::load) finds the files and
//! [`resolve`](Registries::resolve) applies them to a name.

mod document;
mod load;
mod resolve;

pub use document::{Document, ParseError};
pub use load::LoadError;
pub use resolve::{Candidate, Endpoint, ResolveError, SchemePolicy, is_loopback};

use std::collections::BTreeMap;

/// How short names are turned into full ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShortNameMode {
    /// Several search registries leave the name ambiguous, which is an error.
    Enforcing,
    /// Several search registries are tried in their order.
    #[default]
    Permissive,
    /// Aliases are not looked at; search registries are tried in their order.
    Disabled,
}

/// For which references a mirror is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullFromMirror {
    /// For all.
    #[default]
    All,
    /// For those with a digest.
    DigestOnly,
    /// For those without one.
    TagOnly,
}

/// A place that holds the same content as a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What replaces the prefix.
    pub location: String,
    /// Whether unverified TLS and plain HTTP are allowed.
    pub insecure: bool,
    /// Which references it is asked for.
    pub pull: PullFromMirror,
}

/// What is configured for the names that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// The prefix, `*.example.com` for every host beneath a domain.
    pub prefix: String,
    /// What replaces the prefix; empty behind a wildcard means "nothing does".
    pub location: String,
    /// Whether unverified TLS and plain HTTP are allowed.
    pub insecure: bool,
    /// Whether pulling is forbidden.
    pub blocked: bool,
    /// Asked before the registry, in this order.
    pub mirrors: Vec<Mirror>,
}

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
