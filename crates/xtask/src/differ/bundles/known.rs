//! The list of known differences: what a runtime is known to say otherwise,
//! when, and why. Plain data in `known.txt`.

use serde_json::Value;

use super::run::Runtime;

const LIST: &str = include_str!("known.txt");

/// One line of the list.
#[derive(Debug)]
struct Entry {
    fact: String,
    value: Option<String>,
    runtime: String,
    when: Vec<String>,
    reason: String,
}

/// The list.
#[derive(Debug)]
pub(super) struct Known(Vec<Entry>);

impl Known {
    /// The list of this repository.
    pub(super) fn load() -> Result<Self, String> {
        Self::parse(LIST)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let entries = lines.map(|(n, line)| {
            let fields: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let [fact, runtime, when, reason] = fields.as_slice() else {
                return Err(format!("known.txt, line {}: not four fields", n + 1));
            };
            let (fact, value) = fact.split_once('=').map_or((*fact, None), |(fact, value)| {
                (fact, Some(value.to_owned()))
            });
            let when = when
                .split(" & ")
                .filter(|w| *w != "always")
                .map(str::to_owned);
            Ok(Entry {
                fact: fact.to_owned(),
                value,
                runtime: (*runtime).to_owned(),
                when: when.collect(),
                reason: (*reason).to_owned(),
            })
        });
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// Whether it is known that `runtime` says `value` of `fact` in a trial
    /// with these features.
    pub(super) fn explains(
        &self,
        fact: &str,
        value: &str,
        runtime: Runtime,
        features: &[String],
    ) -> bool {
        self.0.iter().any(|entry| {
            entry.runtime == runtime.name()
                && matches(&entry.fact, fact)
                && entry.value.as_ref().is_none_or(|v| matches(v, value))
                && entry.when.iter().all(|when| match when.strip_prefix('!') {
                    Some(not) => !features.iter().any(|f| matches(not, f)),
                    None => features.iter().any(|f| matches(when, f)),
                })
        })
    }

    /// The list as rows of a table: fact, runtime, when, reason.
    pub(super) fn table(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::from("| what | who | when | why |\n|---|---|---|---|\n");
        for entry in &self.0 {
            let value = entry
                .value
                .as_ref()
                .map(|v| format!("={v}"))
                .unwrap_or_default();
            let when = if entry.when.is_empty() {
                "always".to_owned()
            } else {
                format!("`{}`", entry.when.join("`, `"))
            };
            let _infallible = writeln!(
                text,
                "| `{}{value}` | {} | {when} | {} |",
                entry.fact, entry.runtime, entry.reason
            );
        }
        text
    }
}

/// Every leaf of a trial as `path=value`, without the numbers of lists.
pub(super) fn features(trial: &Value) -> Vec<String> {
    let mut all = Vec::new();
    walk(trial, "", &mut all);
    all
}

fn walk(value: &Value, path: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            all.push(path.to_owned());
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(value, &path, all);
            }
        }
        Value::Array(list) => {
            all.push(path.to_owned());
            for value in list {
                walk(value, path, all);
            }
        }
        Value::String(text) => all.push(format!("{path}={text}")),
        Value::Null | Value::Bool(_) | Value::Number(_) => all.push(format!("{path}={value}")),
    }
}

/// A text and a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = true;
        let Some(at) = (if part.is_empty() {
            Some(0)
        } else {
            rest.find(part)
        }) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    let ends = pattern.rsplit('*').next().unwrap_or_default();
    if open {
        text.ends_with(ends)
    } else {
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*", "", true),
            ("mount.*.data", "mount./dev.data", true),
            ("mount.*.data", "mount./dev.options", false),
            ("*x*y", "axby", true),
            ("*x*y", "axbyc", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn an_entry_holds_for_its_runtime_and_when_it_says() {
        let known = Known::parse("uts.domainname=x | runc | config.domainname=* & !life=run | old")
            .unwrap();
        let features = features(&json!({"config": {"domainname": "x"}, "life": "create"}));
        assert!(known.explains("uts.domainname", "x", Runtime::Runc, &features));
        assert!(!known.explains("uts.domainname", "y", Runtime::Runc, &features));
        assert!(!known.explains("uts.domainname", "x", Runtime::Crun, &features));
        assert!(!known.explains("uts.domainname", "x", Runtime::Runc, &[]));
    }

    #[test]
    fn the_list_can_be_read() {
        let known = Known::load().unwrap();
        assert!(known.0.iter().all(|entry| !entry.reason.is_empty()));
    }
}
