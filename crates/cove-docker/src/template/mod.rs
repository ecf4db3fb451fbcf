//! Go templates over JSON values, with Docker's functions and error texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{MissingKey, TemplateError, Value};
use serde_json::Value as Json;

use super::values::{FREE_MAPS, LABELS, Output, Shape, null_map};
use super::{functions, go};

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
    shape: Shape,
    missing: Missing,
}

impl Template {
    /// Reads a template. `header` makes Docker's functions leave their
    /// argument as it is, which is how the head of a table is made.
    pub(crate) fn parse(source: &str, missing: Missing, header: bool) -> Result<Self, Failure> {
        let shape = Shape::default();
        // Docker's rows have one method with an argument; gotmpl has functions.
        let rewritten = source.replace(".Label ", "rowlabel $ ");
        let build = |missing_key| {
            functions::add(gotmpl::Template::new(""), &shape, header)
                .missing_key(missing_key)
                .parse(&rewritten)
                .map_err(|error| parse_failure(&error))
        };
        Ok(Self {
            source: source.to_owned(),
            strict: build(MissingKey::Error)?,
            lenient: build(MissingKey::Invalid)?,
            shape,
            missing,
        })
    }

    /// Fills the template with a document and with what its type has besides,
    /// in the same form. Where that fails it is filled with the document alone,
    /// as Docker does it: that is the failure one hears of.
    pub(crate) fn render(&self, document: &Json, hidden: &Json) -> Result<String, Failure> {
        let fill = |hidden, nil: Value| self.run(&self.shape.value_of(document, hidden, &nil));
        // gotmpl gives a nil every field that it is asked for, Go none. An empty
        // map is as false and has none: a template that makes do with empty maps
        // asks no nil for a field.
        if !hidden.is_null() && fill(hidden, Value::Map(null_map())).is_ok() {
            return fill(hidden, Value::Nil);
        }
        fill(&Json::Null, Value::Nil)
    }

    /// Fills the template with a row of a table and its labels.
    pub(crate) fn render_row(
        &self,
        fields: &Json,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, Failure> {
        let mut value = self.shape.value_of(fields, &Json::Null, &Value::Nil);
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
        let fill = |template: &gotmpl::Template, nil| {
            let text = String::new();
            let mut output = Output { text, nil };
            template.execute_fmt(&mut output, value)?;
            Ok(output.text)
        };
        let filled = match fill(&self.strict, "<nil>") {
            Err(TemplateError::MissingKey { key }) if self.is_free(&key) => {
                fill(&self.lenient, "<no value>")
            }
            filled => filled,
        };
        filled.map_err(|error| self.execute_failure(&error))
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
        let hidden = json!({
            "State": {"Health": null},
            "Mounts": [{"Name": ""}],
            "Config": {"Env": ["not this"], "Volumes": null},
        });
        Template::parse(source, Missing::Key, false)?.render(&data, &hidden)
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
            ("{{.PidsLimit}}{{json .PidsLimit}}-0", "<nil>null-0"),
            (
                "{{.State.Health}}{{if .State.Health}}{{.State.Health.Status}}{{end}}",
                "<nil>",
            ),
            ("{{println .PidsLimit}}", "<nil>\n"),
            ("{{range .Mounts}}{{.Name}}{{.Source}}{{end}}", "/a/c"),
            (
                "{{.Config.Volumes}}{{json .Config.Volumes}}{{.Config.Volumes.x}}",
                "map[]null<no value>",
            ),
            (
                "{{json (index .Mounts 1)}}{{json .Config.Labels}}",
                r#"{"Source":"/c","Destination":"/d"}{"a":"b"}"#,
            ),
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
            (
                "{{.State.Health.Status}}",
                "template: :1:8: executing \"\" at <.State.Health.Status>: map has no entry for key \"Health\"",
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
