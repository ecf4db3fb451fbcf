//! Shrinks a trial to the smallest that still shows a difference: parts are
//! left out one by one, the largest first.

use serde_json::Value;

/// The smallest trial found for which `shows` holds; it holds for `trial`.
pub(super) fn shrink<E>(
    trial: &Value,
    mut shows: impl FnMut(&Value) -> Result<bool, E>,
) -> Result<Value, E> {
    let mut best = trial.clone();
    loop {
        let before = best.clone();
        let mut paths = Vec::new();
        parts(&best, &mut Vec::new(), &mut paths);
        // What is nearer to the top holds more.
        paths.sort_by_key(Vec::len);
        // From the end, so that removing one of a list moves no other.
        let mut depth = 0;
        while let Some(next) = paths.iter().map(Vec::len).find(|n| *n > depth) {
            depth = next;
            let level: Vec<_> = paths.iter().filter(|p| p.len() == depth).cloned().collect();
            for path in level.iter().rev() {
                let mut smaller = best.clone();
                if remove(&mut smaller, path) && shows(&smaller)? {
                    best = smaller;
                }
            }
        }
        if best == before {
            return Ok(best);
        }
    }
}

/// Every part of a document by the steps that lead to it.
fn parts(value: &Value, here: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    let mut step = |name: String, value: &Value| {
        here.push(name);
        all.push(here.clone());
        parts(value, here, all);
        here.pop();
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| step(key.clone(), value)),
        Value::Array(list) => {
            for (n, value) in list.iter().enumerate() {
                step(n.to_string(), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Removes one part; false when it is gone already.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, above)) = path.split_last() else {
        return false;
    };
    let mut at = value;
    for step in above {
        let next = match at {
            Value::Object(map) => map.get_mut(step),
            Value::Array(list) => step.parse().ok().and_then(|n: usize| list.get_mut(n)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match at {
        // The order of what stays is part of the trial.
        Value::Object(map) => map.shift_remove(last).is_some(),
        Value::Array(list) => match last.parse() {
            Ok(n) if n < list.len() => {
                list.remove(n);
                true
            }
            _ => false,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let trial = json!({"a": [1, {"b": 2, "c": 3}, 4], "d": {"e": 5}, "f": 6});
        let mut runs = 0;
        let smallest = shrink(&trial, |t| {
            runs += 1;
            let has = |list: &Value| {
                list.as_array()
                    .is_some_and(|l| l.iter().any(|v| v["c"] == 3))
            };
            Ok::<_, ()>(has(&t["a"]) && t.get("f").is_some())
        });
        assert_eq!(smallest, Ok(json!({"a": [{"c": 3}], "f": 6})));
        assert!(runs < 30, "{runs}");
    }
}
