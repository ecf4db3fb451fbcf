//! Go templates over documents, with Docker's functions and error texts.

mod functions;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cove_model::go;
use gotmpl::{MissingKey, TemplateError, Value};

use self::values::{Output, Shape, Show, Subject, Values, null_map};

/// Why a template gave no text; each in Go's words.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistake {
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
pub struct Template {
    source: String,
    strict: gotmpl::Template,
    lenient: gotmpl::Template,
    subject: Arc<Mutex<Subject>>,
    missing: Missing,
}

impl Template {
    /// Reads a template of documents.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(source: &str) -> Result<Self, Mistake> {
        Self::of(source, Missing::Key, false)
    }

    /// Reads a template of documents of Go's type `type_name`, which its error
    /// texts name.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_type(source: &str, type_name: &'static str) -> Result<Self, Mistake> {
        Self::of(source, Missing::Field(type_name), false)
    }

    /// Reads a template. `header` makes Docker's functions leave their
    /// argument as it is, which is how the head of a table is made.
    pub(crate) fn of(source: &str, missing: Missing, header: bool) -> Result<Self, Mistake> {
        let subject = Arc::default();
        // Docker's rows have one method with an argument; gotmpl has functions.
        let rewritten = source.replace(".Label ", "rowlabel $ ");
        let build = |missing_key| {
            functions::add(gotmpl::Template::new(""), &subject, header)
                .missing_key(missing_key)
                .parse(&rewritten)
                .map_err(|error| parse_failure(&error))
        };
        Ok(Self {
            source: source.to_owned(),
            strict: build(MissingKey::Error)?,
            lenient: build(MissingKey::Invalid)?,
            subject,
            missing,
        })
    }

    /// Fills the template with all that the document's type has. Where that
    /// fails it is filled with what JSON shows, as Docker does it: that is the
    /// failure one hears of.
    ///
    /// # Errors
    /// When it asks for what is not there.
    pub fn render(&self, document: &dyn Show) -> Result<String, Mistake> {
        let fill = |whole, nil| self.run(Values::of(document, whole, nil), None);
        // gotmpl gives a nil every field that it is asked for, Go none. An empty
        // map is as false and has none: a template that makes do with empty maps
        // asks no nil for a field.
        if fill(true, Value::Map(null_map())).is_ok() {
            return fill(true, Value::Nil);
        }
        fill(false, Value::Nil)
    }

    /// Fills the template with a row of a table and its labels.
    pub(crate) fn render_row(
        &self,
        row: &dyn Show,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, Mistake> {
        let values = Values::of(row, true, Value::Nil);
        self.run(values, Some(labels.clone()))
    }

    fn run(
        &self,
        (value, shape): (Value, Shape),
        labels: Option<BTreeMap<String, String>>,
    ) -> Result<String, Mistake> {
        // A poisoned subject is one that a template failed with: it is replaced.
        let hold = || self.subject.lock().unwrap_or_else(PoisonError::into_inner);
        *hold() = Subject { shape, labels };
        let fill = |template: &gotmpl::Template, nil| {
            let text = String::new();
            let mut output = Output { text, nil };
            template.execute_fmt(&mut output, &value)?;
            Ok(output.text)
        };
        let filled = match fill(&self.strict, "<nil>") {
            Err(TemplateError::MissingKey { key }) if self.is_of_map(&key, &hold().shape) => {
                fill(&self.lenient, "<no value>")
            }
            filled => filled,
        };
        filled.map_err(|error| self.execute_failure(&error))
    }

    /// Whether the template asks for `key` in a map with keys of the user's.
    fn is_of_map(&self, key: &str, shape: &Shape) -> bool {
        let name = format!(".{key}");
        let mut asked = self.source.match_indices(&name);
        asked.any(|(at, _)| {
            let before = &self.source[..at];
            let start = before.rfind(|c| !is_path(c)).map_or(0, |at| at + 1);
            let chain: Vec<&str> = before[start..].split('.').skip(1).collect();
            shape.is_map(&chain)
        })
    }

    fn execute_failure(&self, error: &TemplateError) -> Mistake {
        let (needle, reason) = match error {
            TemplateError::UndefinedFunction(name) => {
                return Mistake::Parse(format!(
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
        Mistake::Execute(format!(
            "template: :{line}:{column}: executing \"\" at <{context}>: {reason}"
        ))
    }
}

fn parse_failure(error: &TemplateError) -> Mistake {
    Mistake::Parse(match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: :{line}: {message}")
        }
        other => format!("template: :1: {other}"),
    })
}

/// Whether a character belongs to a chain of fields.
fn is_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '$')
}

/// The place of a field in a template as Go counts (line from 1, column from
/// 0) and the whole expression it stands in. Without a field, the first action.
fn locate(source: &str, field: &str) -> (usize, usize, String) {
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
    use crate::document::{Never, document};

    document! {
        struct Document {
            id: String = "Id",
            state: State = "State",
            config: Config = "Config",
            mounts: Vec<Mount> = "Mounts",
            pids_limit: Option<i64> = "PidsLimit",
        }
        struct State {
            status: String = "Status",
            running: bool = "Running",
            exit_code: i64 = "ExitCode",
            health: Option<Never> = "Health" omitempty,
        }
        struct Config {
            labels: BTreeMap<String, String> = "Labels",
            env: Vec<String> = "Env",
            cmd: Option<Vec<String>> = "Cmd",
            empty: Vec<String> = "Empty",
            volumes: Option<BTreeMap<String, String>> = "Volumes" hidden,
        }
        struct Mount {
            name: String = "Name" omitempty,
            source: String = "Source",
            destination: String = "Destination",
        }
    }

    fn document() -> Document {
        let mount = |source: &str, destination: &str| Mount {
            source: source.to_owned(),
            destination: destination.to_owned(),
            ..Mount::default()
        };
        Document {
            id: "abc".to_owned(),
            state: State {
                status: "running".to_owned(),
                running: true,
                ..State::default()
            },
            config: Config {
                labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                env: vec!["A=1".to_owned(), "B=2".to_owned()],
                ..Config::default()
            },
            mounts: vec![mount("/a", "/b"), mount("/c", "/d")],
            pids_limit: None,
        }
    }

    fn render(source: &str) -> Result<String, Mistake> {
        Template::parse(source)?.render(&document())
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
                Err(Mistake::Execute(message.to_owned())),
                "{source}"
            );
        }
        for (source, message) in [
            ("{{", "template: :1: unclosed action"),
            ("{{foo}}", "template: :1: function \"foo\" not defined"),
        ] {
            assert_eq!(
                render(source),
                Err(Mistake::Parse(message.to_owned())),
                "{source}"
            );
        }
    }

    document! {
        struct Row {
            id: String = "ID",
        }
    }

    #[test]
    fn rows_know_their_labels_and_hide_them_in_json() {
        let labels = BTreeMap::from([("com.x".to_owned(), "1".to_owned())]);
        let fields = Row {
            id: "a<b".to_owned(),
        };
        let row = |source| {
            Template::of(source, Missing::Field("*formatter.X"), false)
                .unwrap()
                .render_row(&fields, &labels)
        };
        assert_eq!(row("{{.Label \"com.x\"}}|{{.Label \"y\"}}").unwrap(), "1|");
        assert_eq!(row("{{json .}}").unwrap(), "{\"ID\":\"a\\u003cb\"}");
        assert_eq!(
            row("{{.Foo}}").unwrap_err(),
            Mistake::Execute(
                "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.X"
                    .to_owned()
            )
        );
    }
}
