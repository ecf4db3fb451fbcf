//! Documents as the values of templates, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use gotmpl::Value;
use serde_json::Value as Json;

/// A part of a document, as a template sees it.
pub trait Show {
    /// The value.
    fn value(&self, values: &mut Values) -> Value;

    /// Whether `omitempty` leaves it out of JSON.
    fn is_empty(&self) -> bool {
        false
    }

    /// What stands for none of this type.
    fn nil(values: &mut Values) -> Value
    where
        Self: Sized,
    {
        values.pointer()
    }
}

/// Makes the values of a document.
#[derive(Debug)]
pub struct Values {
    /// Whether what JSON does not show is there too.
    whole: bool,
    /// What a nil pointer is.
    nil: Value,
    /// The fields from the document to where we are.
    path: Vec<String>,
    shape: Shape,
}

/// What gotmpl's values cannot say of a document: its maps are sorted and hold
/// what is hidden, while `json` prints a structure in the order of its fields
/// and only what JSON shows; and a structure lacks a field, where a map merely
/// has no entry.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// The fields that JSON shows, by the address of a structure's map.
    fields: BTreeMap<usize, Vec<&'static str>>,
    /// Where structures are, and where maps with keys of the user's are.
    structures: Vec<Vec<String>>,
    maps: Vec<Vec<String>>,
}

/// What the functions know of the value that a template is being filled with.
#[derive(Debug, Default)]
pub(super) struct Subject {
    pub(super) shape: Shape,
    /// Of a row of a table, which is no document.
    pub(super) labels: Option<BTreeMap<String, String>>,
}

impl Values {
    /// The value of a document, and its shape. With `whole` it has also what
    /// JSON does not show; a nil pointer becomes `nil`.
    pub(super) fn of(document: &dyn Show, whole: bool, nil: Value) -> (Value, Shape) {
        let mut values = Self {
            whole,
            nil,
            path: Vec::new(),
            shape: Shape::default(),
        };
        (document.value(&mut values), values.shape)
    }

    /// What stands for a nil pointer.
    pub(crate) fn pointer(&self) -> Value {
        self.nil.clone()
    }

    /// What stands for a nil list: one empty list, told from a real one by its
    /// address, so that `json` prints `null` and everything else sees a list.
    pub(crate) fn no_list() -> Value {
        Value::List(null_list())
    }

    /// As [`Values::no_list`], a map.
    pub(crate) fn no_map(&mut self) -> Value {
        self.shape.maps.push(self.path.clone());
        Value::Map(null_map())
    }

    /// A map whose keys are the user's.
    pub(crate) fn map<T: Show>(&mut self, map: &BTreeMap<String, T>) -> Value {
        self.shape.maps.push(self.path.clone());
        let mut entries = BTreeMap::new();
        for (key, part) in map {
            let value = self.beneath(key, part);
            entries.insert(key.as_str().into(), value);
        }
        Value::Map(Arc::new(entries))
    }

    /// A structure, to be filled.
    pub(crate) fn fields(&mut self) -> Fields<'_> {
        self.shape.structures.push(self.path.clone());
        Fields {
            values: self,
            map: BTreeMap::new(),
            shown: Vec::new(),
        }
    }

    fn beneath(&mut self, name: &str, part: &dyn Show) -> Value {
        self.path.push(name.to_owned());
        let value = part.value(self);
        self.path.pop();
        value
    }
}

/// A structure that is being filled.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    values: &'a mut Values,
    map: BTreeMap<Arc<str>, Value>,
    shown: Vec<&'static str>,
}

impl Fields<'_> {
    /// Adds a field under its name in JSON, and under Go's where it is another.
    pub(crate) fn put(&mut self, names: &[&'static str], shown: bool, part: &dyn Show) {
        let whole = self.values.whole;
        let (Some(&json), true) = (names.first(), shown || whole) else {
            return;
        };
        let value = self.values.beneath(json, part);
        let count = if whole { names.len() } else { 1 };
        for &name in &names[..count] {
            self.map.insert(name.into(), value.clone());
        }
        if shown {
            self.shown.push(json);
        }
    }

    /// The structure.
    pub(crate) fn end(self) -> Value {
        let map = Arc::new(self.map);
        let address = Arc::as_ptr(&map).addr();
        self.values.shape.fields.insert(address, self.shown);
        Value::Map(map)
    }
}

impl Shape {
    /// Back to JSON.
    pub(super) fn json(&self, value: &Value) -> Json {
        match value {
            Value::Nil | Value::Function(_) => Json::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Uint(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::String(text) => text.to_string().into(),
            Value::List(items) if Arc::ptr_eq(items, &null_list()) => Json::Null,
            Value::List(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Map(map) if Arc::ptr_eq(map, &null_map()) => Json::Null,
            Value::Map(map) => {
                let entry =
                    |key: &str| map.get(key).map(|value| (key.to_owned(), self.json(value)));
                match self.fields.get(&Arc::as_ptr(map).addr()) {
                    Some(shown) => shown.iter().filter_map(|key| entry(key)).collect(),
                    None => map.keys().filter_map(|key| entry(key)).collect(),
                }
            }
        }
    }

    /// Whether `chain`, the names before a missing one, leads to a map with keys
    /// of the user's. Where a chain begins is not known.
    pub(super) fn is_map(&self, chain: &[&str]) -> bool {
        let ends_so = |paths: &[Vec<String>]| {
            let mut paths = paths.iter();
            paths
                .any(|path| path.len() >= chain.len() && path[path.len() - chain.len()..] == *chain)
        };
        !chain.is_empty() && ends_so(&self.maps) && !ends_so(&self.structures)
    }
}

fn null_list() -> Arc<[Value]> {
    static NULL: OnceLock<Arc<[Value]>> = OnceLock::new();
    Arc::clone(NULL.get_or_init(|| Arc::from(Vec::new())))
}

/// See [`Values::no_map`].
pub(super) fn null_map() -> Arc<BTreeMap<Arc<str>, Value>> {
    static NULL: OnceLock<Arc<BTreeMap<Arc<str>, Value>>> = OnceLock::new();
    Arc::clone(NULL.get_or_init(Arc::default))
}

/// What a template writes, with the text for a nil.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) text: String,
    pub(super) nil: &'static str,
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // gotmpl's text for it, which Go has for a missing key only.
        let nil = text == "<no value>";
        self.text.push_str(if nil { self.nil } else { text });
        Ok(())
    }
}
