//! Go templates over JSON values, with Docker's functions and error texts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use gotmpl::{MissingKey, TemplateError, Value};

use super::{go, json};

/// Why a template gave no text; each in Go's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is no template.
    Parse(String),
    /// It asks for what is not there.
    Execute(String),
}

/// What a missing field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A field that a Go struct of this type does not have.
    Field(&'static str),
    /// A key that a Go map does not have.
    Key,
}

/// A template, ready to be filled.
pub(crate) struct Template {
    source: String,
    strict: gotmpl::Template,
    lenient: gotmpl::Template,
    names: Names,
    missing: Missing,
}

/// The maps of a document whose keys are the user's, so that a missing one is
/// no mistake of the template.
const FREE_MAPS: &[&str] = &[
    "Labels",
    "Annotations",
    "ExposedPorts",
    "Ports",
    "Networks",
    "Volumes",
    "Sysctls",
    "Tmpfs",
    "PortBindings",
    "Options",
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
];

/// The key under which a row keeps its labels for `.Label "key"`.
const LABELS: &str = "\0labels";

/// The order of the fields of objects by their sorted names: gotmpl's maps are
/// sorted, and `json` prints a struct of Docker's in the order of its fields.
type Names = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

impl Template {
    /// Reads a template. `header` makes Docker's functions leave their
    /// argument as it is, which is how the head of a table is made.
    pub(crate) fn parse(source: &str, missing: Missing, header: bool) -> Result<Self, Failure> {
        let names = Names::default();
        // Docker's rows have one method with an argument; gotmpl has functions.
        let rewritten = source.replace(".Label ", "rowlabel $ ");
        let build = |missing_key| {
            functions(gotmpl::Template::new(""), &names, header)
                .missing_key(missing_key)
                .parse(&rewritten)
                .map_err(|error| parse_failure(&error))
        };
        Ok(Self {
            source: source.to_owned(),
            strict: build(MissingKey::Error)?,
            lenient: build(MissingKey::Invalid)?,
            names,
            missing,
        })
    }

    /// Fills the template with `data`.
    pub(crate) fn render(&self, data: &serde_json::Value) -> Result<String, Failure> {
        let value = self.value_of(data, "");
        self.run(&value)
    }

    /// Fills the template with a row of a table and its labels.
    pub(crate) fn render_row(
        &self,
        fields: &serde_json::Value,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, Failure> {
        let mut value = self.value_of(fields, "");
        if let Value::Map(map) = &mut value {
            let labels = labels
                .iter()
                .map(|(key, value)| (key.as_str().into(), Value::String(value.as_str().into())))
                .collect();
            Arc::make_mut(map).insert(LABELS.into(), Value::Map(Arc::new(labels)));
        }
        self.run(&value)
    }

    fn run(&self, value: &Value) -> Result<String, Failure> {
        match self.strict.execute_to_string(value) {
            Ok(text) => Ok(text),
            Err(TemplateError::MissingKey { key }) if self.is_free(&key) => self
                .lenient
                .execute_to_string(value)
                .map_err(|error| self.execute_failure(&error)),
            Err(error) => Err(self.execute_failure(&error)),
        }
    }

    /// Whether the template asks for `key` in a map with free keys.
    fn is_free(&self, key: &str) -> bool {
        FREE_MAPS
            .iter()
            .any(|map| self.source.contains(&format!("{map}.{key}")))
    }

    fn execute_failure(&self, error: &TemplateError) -> Failure {
        let (needle, reason) = match error {
            TemplateError::UndefinedFunction(name) => {
                return Failure::Parse(format!(
                    "template: :1: function {} not defined",
                    go::quote(name)
                ));
            }
            TemplateError::MissingKey { key } => {
                let reason = match self.missing {
                    Missing::Field(type_name) => {
                        format!("can't evaluate field {key} in type {type_name}")
                    }
                    Missing::Key => format!("map has no entry for key {}", go::quote(key)),
                };
                (format!(".{key}"), reason)
            }
            TemplateError::Exec(reason) => (String::new(), reason.clone()),
            other => (String::new(), other.to_string()),
        };
        let (line, column, context) = locate(&self.source, &needle);
        Failure::Execute(format!(
            "template: :{line}:{column}: executing \"\" at <{context}>: {reason}"
        ))
    }

    fn value_of(&self, data: &serde_json::Value, name: &str) -> Value {
        match data {
            serde_json::Value::Null if POINTERS.contains(&name) => Value::Nil,
            serde_json::Value::Null => Value::List(null_list()),
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(Value::Int)
                .or_else(|| number.as_u64().map(Value::Uint))
                .unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or_default())),
            serde_json::Value::String(text) => Value::String(text.as_str().into()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| self.value_of(item, "")).collect())
            }
            serde_json::Value::Object(fields) => {
                let map: BTreeMap<Arc<str>, Value> = fields
                    .iter()
                    .map(|(key, value)| (key.as_str().into(), self.value_of(value, key)))
                    .collect();
                if !map
                    .keys()
                    .map(AsRef::as_ref)
                    .eq(fields.keys().map(String::as_str))
                    && let Ok(mut names) = self.names.lock()
                {
                    let order = fields.keys().cloned().collect();
                    names.insert(signature(&map), order);
                }
                Value::Map(Arc::new(map))
            }
        }
    }
}

fn signature(map: &BTreeMap<Arc<str>, Value>) -> String {
    map.keys()
        .map(AsRef::as_ref)
        .collect::<Vec<&str>>()
        .join("\0")
}

/// The one empty list that stands for a null: told from a real empty list by
/// its address, so that `json` prints `null` and everything else sees a list.
fn null_list() -> Arc<[Value]> {
    static NULL: OnceLock<Arc<[Value]>> = OnceLock::new();
    Arc::clone(NULL.get_or_init(|| Arc::from(Vec::new())))
}

/// Back to JSON, objects in the order their fields had.
fn json_of(value: &Value, names: &Names) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(text) => text.to_string().into(),
        Value::List(items) if Arc::ptr_eq(items, &null_list()) => serde_json::Value::Null,
        Value::List(items) => items.iter().map(|item| json_of(item, names)).collect(),
        Value::Map(map) => {
            let order = names
                .lock()
                .ok()
                .and_then(|names| names.get(&signature(map)).cloned());
            let entry = |key: &str| {
                map.get(key)
                    .map(|value| (key.to_owned(), json_of(value, names)))
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

/// A function of one text.
type Change = fn(&str) -> String;

/// Docker's functions beside Go's own.
fn functions(template: gotmpl::Template, names: &Names, header: bool) -> gotmpl::Template {
    let names = Arc::clone(names);
    let template = template
        .func("json", move |args| {
            let value = one("json", args)?;
            if header {
                return Ok(value.clone());
            }
            let is_row = matches!(value, Value::Map(map) if map.contains_key(LABELS));
            let value = json_of(value, &names);
            Ok(text(if is_row {
                json::escaped(&value)
            } else {
                json::compact(&value)
            }))
        })
        .func("rowlabel", move |args| {
            let key = string("Label", args, 1)?;
            if header {
                let last = key.rsplit('.').next().unwrap_or_default();
                return Ok(text(last.replace(['-', '_'], " ")));
            }
            let labels = args.first().and_then(|row| row.field(LABELS));
            Ok(labels
                .and_then(|labels| labels.field(key))
                .cloned()
                .unwrap_or_else(|| text(String::new())))
        })
        .func("println", |args| {
            let words: Vec<String> = args.iter().map(ToString::to_string).collect();
            Ok(text(format!("{}\n", words.join(" "))))
        })
        .func("index", |args| {
            let mut value = one_of_many("index", args)?.clone();
            for key in &args[1..] {
                // Go gives the zero value of the map's type.
                let zero = match &value {
                    Value::Map(map)
                        if map.values().all(|item| matches!(item, Value::String(_))) =>
                    {
                        text(String::new())
                    }
                    _ => Value::Nil,
                };
                value = match value.index(key)? {
                    Value::Nil => zero,
                    found => found,
                };
            }
            Ok(value)
        });
    let plain: [(&str, Change); 3] = [
        ("lower", |text| text.to_lowercase()),
        ("upper", |text| text.to_uppercase()),
        ("title", title),
    ];
    let template = plain
        .into_iter()
        .fold(template, |template, (name, change)| {
            template.func(name, move |args| {
                let word = string(name, args, 0)?;
                Ok(text(if header {
                    word.to_owned()
                } else {
                    change(word)
                }))
            })
        });
    template
        .func("split", move |args| {
            let (word, separator) = (string("split", args, 0)?, string("split", args, 1)?);
            if header {
                return Ok(text(word.to_owned()));
            }
            if separator.is_empty() {
                return Ok(Value::List(
                    word.chars().map(|c| text(c.to_string())).collect(),
                ));
            }
            Ok(Value::List(
                word.split(separator)
                    .map(|part| text(part.to_owned()))
                    .collect(),
            ))
        })
        .func("join", move |args| {
            if header {
                return Ok(one_of_many("join", args)?.clone());
            }
            let separator = string("join", args, 1)?;
            match args.first() {
                Some(Value::List(items)) => {
                    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
                    Ok(text(words.join(separator)))
                }
                _ => Err(TemplateError::Exec(
                    "error calling join: expected a list".to_owned(),
                )),
            }
        })
        .func("pad", move |args| {
            let word = string("pad", args, 0)?;
            if header || word.is_empty() {
                return Ok(text(word.to_owned()));
            }
            let blanks = |index| count("pad", args, index).map(|count| " ".repeat(count));
            Ok(text(format!("{}{word}{}", blanks(1)?, blanks(2)?)))
        })
        .func("truncate", move |args| {
            let word = string("truncate", args, 0)?;
            if header {
                return Ok(text(word.to_owned()));
            }
            let length = count("truncate", args, 1)?;
            Ok(text(word.chars().take(length).collect()))
        })
}

/// Upper case for the first letter of each word, as Go's `strings.Title`.
fn title(words: &str) -> String {
    let mut start = true;
    words
        .chars()
        .map(|c| {
            let upper = start;
            start = !(c.is_alphanumeric() || c == '_' || c == '\'');
            if upper { c.to_ascii_uppercase() } else { c }
        })
        .collect()
}

fn text(text: String) -> Value {
    Value::String(text.into())
}

fn one<'a>(name: &str, args: &'a [Value]) -> gotmpl::Result<&'a Value> {
    match args {
        [value] => Ok(value),
        _ => Err(TemplateError::ArgCount {
            name: name.to_owned(),
            expected: 1,
            got: args.len(),
        }),
    }
}

fn one_of_many<'a>(name: &str, args: &'a [Value]) -> gotmpl::Result<&'a Value> {
    args.first().ok_or_else(|| TemplateError::ArgCount {
        name: name.to_owned(),
        expected: 1,
        got: 0,
    })
}

fn string<'a>(name: &str, args: &'a [Value], index: usize) -> gotmpl::Result<&'a str> {
    match args.get(index) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(TemplateError::Exec(format!(
            "wrong type for value; expected string; got {}",
            other.type_name()
        ))),
        None => Err(TemplateError::Exec(format!(
            "wrong number of args for {name}: want {} got {}",
            index + 1,
            args.len()
        ))),
    }
}

/// A number of characters; a template cannot ask for an unbounded one.
fn count(name: &str, args: &[Value], index: usize) -> gotmpl::Result<usize> {
    match args.get(index) {
        Some(Value::Int(count)) => Ok(usize::try_from((*count).clamp(0, 65_536)).unwrap_or(0)),
        _ => Err(TemplateError::Exec(format!("{name}: expected an integer"))),
    }
}

fn parse_failure(error: &TemplateError) -> Failure {
    Failure::Parse(match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: :{line}: {message}")
        }
        other => format!("template: :1: {other}"),
    })
}

/// The place of a field in a template as Go counts (line from 1, column from
/// 0) and the whole expression it stands in. Without a field, the first action.
fn locate(source: &str, field: &str) -> (usize, usize, String) {
    let is_path = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '$');
    let found = source.match_indices(field).map(|(at, _)| at).find(|&at| {
        !field.is_empty()
            && !source[at + field.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    });
    let (reported, context) = match found {
        Some(at) => {
            let start = source[..at]
                .char_indices()
                .rev()
                .take_while(|&(_, c)| is_path(c))
                .last();
            let start = start.map_or(at, |(index, _)| index);
            let end = source[at..]
                .find(|c| !is_path(c))
                .map_or(source.len(), |length| at + length);
            // Go points at the last link of a chain but one: at the field's own dot,
            // or at the start when the chain has one link.
            (at.max(start), source[start..end].to_owned())
        }
        None => {
            let start = source.find("{{").map_or(0, |at| at + 2);
            let action = source[start..].split("}}").next().unwrap_or_default();
            (
                start + action.len() - action.trim_start().len(),
                action.trim().to_owned(),
            )
        }
    };
    let before = &source[..reported];
    let line = before.matches('\n').count() + 1;
    (
        line,
        reported - before.rfind('\n').map_or(0, |at| at + 1),
        context,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str) -> Result<String, Failure> {
        let data = json!({
            "Id": "abc",
            "State": {"Status": "running", "Running": true, "ExitCode": 0},
            "Config": {"Labels": {"a": "b"}, "Env": ["A=1", "B=2"], "Cmd": null, "Empty": []},
            "Mounts": [{"Source": "/a", "Destination": "/b"}, {"Source": "/c", "Destination": "/d"}],
            "PidsLimit": null,
        });
        Template::parse(source, Missing::Key, false)?.render(&data)
    }

    #[test]
    fn templates_are_filled_as_docker_fills_them() {
        for (source, text) in [
            ("{{.Id}}", "abc"),
            (
                "{{json .State}}",
                r#"{"Status":"running","Running":true,"ExitCode":0}"#,
            ),
            ("{{json .Config.Cmd}} {{json .Config.Empty}}", "null []"),
            ("{{len .Config.Cmd}}{{range .Config.Cmd}}x{{end}}", "0"),
            (
                "{{range .Mounts}}{{.Source}}:{{.Destination}} {{end}}",
                "/a:/b /c:/d ",
            ),
            (
                "{{index .Config.Labels \"a\"}}-{{index .Config.Labels \"nope\"}}",
                "b-",
            ),
            ("{{.Config.Labels.nope}}", "<no value>"),
            (
                "{{join .Config.Env \",\"}} {{(index (split .Id \"b\") 1)}}",
                "A=1,B=2 c",
            ),
            (
                "{{upper .Id}} {{title .State.Status}} {{pad .Id 1 2}}| {{truncate .Id 2}}",
                "ABC Running  abc  | ab",
            ),
            (
                "{{printf \"%s/%d\" .Id .State.ExitCode}}{{println .Id}}",
                "abc/0abc\n",
            ),
            (
                "{{if and .State.Running (eq .State.ExitCode 0)}}up{{else}}down{{end}}",
                "up",
            ),
            ("{{.Config.Env}}", "[A=1 B=2]"),
        ] {
            assert_eq!(render(source).unwrap(), text, "{source}");
        }
    }

    #[test]
    fn mistakes_are_told_as_docker_tells_them() {
        for (source, message) in [
            (
                "{{.Foo}}",
                "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
            ),
            (
                "{{.State.Foo}}",
                "template: :1:8: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"",
            ),
        ] {
            assert_eq!(
                render(source),
                Err(Failure::Execute(message.to_owned())),
                "{source}"
            );
        }
        for (source, message) in [
            ("{{", "template: :1: unclosed action"),
            ("{{foo}}", "template: :1: function \"foo\" not defined"),
        ] {
            assert_eq!(
                render(source),
                Err(Failure::Parse(message.to_owned())),
                "{source}"
            );
        }
    }

    #[test]
    fn rows_know_their_labels_and_hide_them_in_json() {
        let labels = BTreeMap::from([("com.x".to_owned(), "1".to_owned())]);
        let fields = json!({"ID": "a<b"});
        let row = |source| {
            Template::parse(source, Missing::Field("*formatter.X"), false)
                .unwrap()
                .render_row(&fields, &labels)
        };
        assert_eq!(row("{{.Label \"com.x\"}}|{{.Label \"y\"}}").unwrap(), "1|");
        assert_eq!(row("{{json .}}").unwrap(), "{\"ID\":\"a\\u003cb\"}");
        assert_eq!(
            row("{{.Foo}}").unwrap_err(),
            Failure::Execute(
                "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.X"
                    .to_owned()
            )
        );
    }
}
