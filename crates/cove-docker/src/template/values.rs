//! Documents as the values of templates, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use gotmpl::Value;
use serde_json::Value as Json;

/// The maps of a document whose keys are the user's, so that a missing one is
/// no mistake of the template.
pub(super) const FREE_MAPS: &[&str] = &[
    "Labels",
    "Annotations",
    "ExposedPorts",
    "Ports",
    "Networks",
    "Volumes",
    "Sysctls",
    "StorageOpt",
    "Tmpfs",
    "PortBindings",
    "Options",
    "DriverOpts",
    "Data",
    "LogConfig.Config",
];

/// Fields that are a pointer in Docker's documents: without one they are nil,
/// while every other null is an empty list or map.
const POINTERS: &[&str] = &[
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "IPAMConfig",
    "Healthcheck",
    "Health",
    "Init",
    "Node",
    "SizeRootFs",
    "SizeRw",
    "StopTimeout",
];

/// The key under which a row keeps its labels for `.Label "key"`.
pub(super) const LABELS: &str = "\0labels";

/// The fields of objects by the addresses of their maps: gotmpl's maps are
/// sorted and hold what is hidden, while `json` prints a struct of Docker's in
/// the order of its fields and only what its document shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape(Arc<Mutex<BTreeMap<usize, Vec<String>>>>);

impl Shape {
    /// The value of a document, and of what its type has besides: `hidden` has
    /// the same form, one element for all of a list. A nil pointer becomes
    /// `nil`. What was made before is forgotten.
    pub(super) fn value_of(&self, document: &Json, hidden: &Json, nil: &Value) -> Value {
        if let Ok(mut shape) = self.0.lock() {
            shape.clear();
        }
        self.value(document, hidden, nil, "")
    }

    fn value(&self, data: &Json, hidden: &Json, nil: &Value, name: &str) -> Value {
        match data {
            Json::Null if POINTERS.contains(&name) => nil.clone(),
            Json::Null if FREE_MAPS.contains(&name) => Value::Map(null_map()),
            Json::Null => Value::List(null_list()),
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => number
                .as_i64()
                .map(Value::Int)
                .or_else(|| number.as_u64().map(Value::Uint))
                .unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or_default())),
            Json::String(text) => Value::String(text.as_str().into()),
            Json::Array(items) => {
                let hidden = &hidden[0];
                Value::List(
                    items
                        .iter()
                        .map(|item| self.value(item, hidden, nil, ""))
                        .collect(),
                )
            }
            Json::Object(fields) => {
                let shown = fields
                    .iter()
                    .map(|(key, value)| (key, self.value(value, &hidden[key], nil, key)));
                let besides = hidden.as_object().into_iter().flatten();
                let besides = besides
                    .filter(|(key, _)| !fields.contains_key(*key))
                    .map(|(key, value)| (key, self.value(value, &Json::Null, nil, key)));
                let map: BTreeMap<Arc<str>, Value> = shown
                    .chain(besides)
                    .map(|(key, value)| (key.as_str().into(), value))
                    .collect();
                let map = Arc::new(map);
                if !map.keys().map(AsRef::as_ref).eq(fields.keys())
                    && let Ok(mut shape) = self.0.lock()
                {
                    shape.insert(Arc::as_ptr(&map).addr(), fields.keys().cloned().collect());
                }
                Value::Map(map)
            }
        }
    }

    /// Back to JSON.
    pub(super) fn json_of(&self, value: &Value) -> Json {
        match value {
            Value::Nil | Value::Function(_) => Json::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Uint(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::String(text) => text.to_string().into(),
            Value::List(items) if Arc::ptr_eq(items, &null_list()) => Json::Null,
            Value::List(items) => items.iter().map(|item| self.json_of(item)).collect(),
            Value::Map(map) if Arc::ptr_eq(map, &null_map()) => Json::Null,
            Value::Map(map) => {
                let shape = self.0.lock().ok();
                let order = shape.and_then(|shape| shape.get(&Arc::as_ptr(map).addr()).cloned());
                let entry = |key: &str| {
                    map.get(key)
                        .map(|value| (key.to_owned(), self.json_of(value)))
                };
                match order {
                    Some(order) => order.iter().filter_map(|key| entry(key)).collect(),
                    None => map
                        .keys()
                        .filter(|key| *key.as_ref() != *LABELS)
                        .filter_map(|key| entry(key))
                        .collect(),
                }
            }
        }
    }
}

/// The one empty list that stands for a null: told from a real empty list by
/// its address, so that `json` prints `null` and everything else sees a list.
fn null_list() -> Arc<[Value]> {
    static NULL: OnceLock<Arc<[Value]>> = OnceLock::new();
    Arc::clone(NULL.get_or_init(|| Arc::from(Vec::new())))
}

/// As [`null_list`], a map.
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
