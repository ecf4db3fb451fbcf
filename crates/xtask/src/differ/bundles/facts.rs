//! Facts by name: what a probe reports and what is compared.

use std::collections::BTreeMap;
use std::fmt::Display;

/// Names and values, in order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts(pub(super) BTreeMap<String, String>);

impl Facts {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn set(&mut self, name: &str, value: impl Display) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// Takes another's facts, each name after `prefix`.
    pub(super) fn take(&mut self, prefix: &str, other: Self) {
        for (name, value) in other.0 {
            self.0.insert(format!("{prefix}{name}"), value);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// As a document of JSON.
    pub(super) fn to_text(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// Reads [`Facts::to_text`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let facts = value.as_object()?.iter().map(|(name, value)| {
            let value = value.as_str().unwrap_or_default().to_owned();
            (name.clone(), value)
        });
        Some(Self(facts.collect()))
    }
}

/// Words in order, whatever order they came in.
pub(super) fn words<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = all.collect();
    all.sort_unstable();
    all.join(",")
}
