//! Lists as Docker prints them: a table of default columns, a table of the
//! user's, one line per row from a template, or one JSON object per row.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::tabs;
use super::template::{Failure as TemplateFailure, Missing, Template};
use crate::outcome::Failure;

/// The type of the rows of `ps`.
const PS: &str = "*formatter.ContainerContext";

/// What rows of one kind have.
pub(crate) struct Columns {
    /// Docker's name of the row's type, for its error texts.
    pub(crate) type_name: &'static str,
    /// Fields and their headings, sorted by field.
    pub(crate) fields: &'static [(&'static str, &'static str)],
}

/// One row: values by field, in the order of its [`Columns`].
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The values; texts almost always.
    pub(crate) values: Vec<Value>,
    /// What `.Label "key"` finds.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Columns {
    /// The rows as `format` wants them, with `default` as the fields of the
    /// table when it says nothing or `table`.
    pub(crate) fn render(
        &self,
        format: &str,
        default: &[&str],
        rows: &[Row],
    ) -> Result<String, Failure> {
        if format.is_empty() || format == "table" {
            return Ok(self.plain_table(default, rows));
        }
        let (table, source) = match format.strip_prefix("table") {
            Some(rest) if rest.starts_with([' ', '\\', '\t', '{']) => (true, rest),
            _ => (false, format),
        };
        let source = source
            .trim_matches(' ')
            .replace("\\t", "\t")
            .replace("\\n", "\n");
        let source = if source == "json" {
            "{{json .}}"
        } else {
            source.as_str()
        };
        let parsed = |header| {
            Template::parse(source, Missing::Field(self.type_name), header)
                .map_err(|error| failure(self.type_name, error))
        };
        let template = parsed(false)?;
        let mut text = String::new();
        if table {
            let heads = self.fields.iter().map(|&(_, head)| Value::from(head));
            let heads = Value::Object(self.names().zip(heads).collect());
            let line = parsed(true)?
                .render_row(&heads, &BTreeMap::new())
                .map_err(|error| failure(self.type_name, error))?;
            text.push_str(&line);
            text.push('\n');
        }
        // `ps` tries its template before it asks for rows.
        if rows.is_empty() && self.type_name == PS {
            let blank = self.names().map(|name| (name, Value::from("")));
            let _tried = template
                .render_row(&Value::Object(blank.collect()), &BTreeMap::new())
                .map_err(|error| failure(self.type_name, error))?;
        }
        for row in rows {
            let fields: Map<String, Value> = self.names().zip(row.values.iter().cloned()).collect();
            let line = template
                .render_row(&Value::Object(fields), &row.labels)
                .map_err(|error| failure(self.type_name, error))?;
            text.push_str(&line);
            text.push('\n');
        }
        Ok(if table { tabs::docker(&text) } else { text })
    }

    /// The value of `field` in `row`, as a table shows it.
    fn cell<'a>(&self, row: &'a Row, field: &str) -> &'a str {
        let index = self.fields.iter().position(|&(name, _)| name == field);
        index
            .and_then(|index| row.values.get(index))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn plain_table(&self, default: &[&str], rows: &[Row]) -> String {
        let heads = default.iter().map(|field| {
            let found = self.fields.iter().find(|&(name, _)| name == field);
            found.map_or("", |&(_, head)| head)
        });
        let mut text = heads.collect::<Vec<&str>>().join("\t");
        text.push('\n');
        for row in rows {
            let cells: Vec<&str> = default.iter().map(|field| self.cell(row, field)).collect();
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        tabs::docker(&text)
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.fields.iter().map(|&(name, _)| name.to_owned())
    }
}

/// What is wrong with a template, in Docker's words; `ps` tries its template
/// before it asks for rows, and has words of its own.
fn failure(type_name: &str, error: TemplateFailure) -> Failure {
    let tried = type_name == PS;
    let (message, verb) = match error {
        TemplateFailure::Parse(message) => (message, "parse"),
        TemplateFailure::Execute(message) => (message, "execute"),
    };
    Failure::plain(if tried {
        format!("failed to {verb} template: {message}")
    } else {
        format!("template parsing error: {message}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns {
        type_name: "*formatter.ThingContext",
        fields: &[
            ("ID", "THING ID"),
            ("Name", "NAME"),
            ("Platform", "Platform"),
        ],
    };

    fn rows() -> Vec<Row> {
        let row = |id: &str, name: &str| Row {
            values: vec![id.into(), name.into(), Value::Null],
            labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        };
        vec![row("1", "<one>"), row("2", "two")]
    }

    #[test]
    fn every_form_of_a_list() {
        for (format, text) in [
            ("", "THING ID   NAME\n1          <one>\n2          two\n"),
            (
                "table",
                "THING ID   NAME\n1          <one>\n2          two\n",
            ),
            (
                "table {{.Name}}\\t{{upper .ID}}\\t{{.Label \"k\"}}",
                "NAME      THING ID   k\n<one>     1          v\ntwo       2          v\n",
            ),
            ("{{.ID}}={{.Name}}", "1=<one>\n2=two\n"),
            (
                "json",
                "{\"ID\":\"1\",\"Name\":\"\\u003cone\\u003e\",\"Platform\":null}\n{\"ID\":\"2\",\"Name\":\"two\",\"Platform\":null}\n",
            ),
        ] {
            assert_eq!(
                COLUMNS.render(format, &["ID", "Name"], &rows()).unwrap(),
                text,
                "{format}"
            );
        }
    }

    #[test]
    fn an_unknown_field_is_refused_in_dockers_words() {
        let error = COLUMNS.render("{{.Foo}}", &["ID"], &rows()).unwrap_err();
        assert_eq!(
            error.message,
            "template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ThingContext"
        );
        let error = COLUMNS.render("{{", &["ID"], &rows()).unwrap_err();
        assert_eq!(
            error.message,
            "template parsing error: template: :1: unclosed action"
        );
    }
}
