//! Documents with a `null` in each place, beside those with nothing there.

use serde_json::Value;

/// A document with one member missing, and the same with `null` for it.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Where, as a JSON pointer.
    pub path: String,
    /// The document without the member.
    pub absent: Value,
    /// The document with `null` for it.
    pub null: Value,
}

/// A pair for every member of every object in `document`. The names in the
/// objects called `free` are content themselves, so those stay as they are.
#[must_use]
pub fn pairs(document: &Value, free: &[&str]) -> Vec<Pair> {
    let mut paths = Vec::new();
    members(document, "", free, &mut paths);
    let pair = |path: String| {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let changed = |value: Option<Value>| {
            let mut changed = document.clone();
            if let Some(Value::Object(object)) = changed.pointer_mut(parent) {
                match value {
                    Some(value) => drop(object.insert(name.to_owned(), value)),
                    None => drop(object.remove(name)),
                }
            }
            changed
        };
        Pair {
            absent: changed(None),
            null: changed(Some(Value::Null)),
            path,
        }
    };
    paths.into_iter().map(pair).collect()
}

fn members(value: &Value, path: &str, free: &[&str], paths: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{path}/{name}");
                paths.push(path.clone());
                if !free.contains(&name.as_str()) {
                    members(value, &path, free, paths);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                members(item, &format!("{path}/{index}"), free, paths);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
