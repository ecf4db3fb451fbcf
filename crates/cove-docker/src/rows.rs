//! Lists as Docker prints them: a table of default columns, a table of the
//! user's, one line per row from a template, or one JSON object per row.

use std::collections::BTreeMap;

use crate::document::Show;
use crate::tabs;
use crate::template::{Missing, Mistake, Template};

/// A row of a table: a document of texts, its columns sorted by name.
pub trait Row: Show + Default {
    /// Docker's name of the row's type, for its error texts.
    const TYPE: &str;
    /// The row that has the headings as its cells.
    fn headings() -> Self;
    /// The text in a column.
    fn cell(&self, column: &str) -> &str;
}

/// A cell: a text, or none.
pub(crate) trait Cell {
    fn of(text: &str) -> Self;
    fn text(&self) -> &str;
}

impl Cell for String {
    fn of(text: &str) -> Self {
        text.to_owned()
    }

    fn text(&self) -> &str {
        self
    }
}

impl Cell for Option<String> {
    fn of(text: &str) -> Self {
        Some(text.to_owned())
    }

    fn text(&self) -> &str {
        self.as_deref().unwrap_or_default()
    }
}

/// Declares rows: their type's name in Docker, and their columns with headings.
macro_rules! row {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident = $type_name:literal {
            $($field:ident: $type:ty = $column:literal $heading:literal,)*
        }
    )+) => {$(
        $crate::document::document! {
            $(#[$meta])*
            $vis struct $name {
                $($field: $type = $column,)*
            }
        }

        impl $crate::rows::Row for $name {
            const TYPE: &str = $type_name;

            fn headings() -> Self {
                Self { $($field: $crate::rows::Cell::of($heading),)* }
            }

            fn cell(&self, column: &str) -> &str {
                match column {
                    $($column => $crate::rows::Cell::text(&self.$field),)*
                    _ => "",
                }
            }
        }
    )+};
}

pub(crate) use row;

/// A row, and what `.Label "key"` finds.
#[derive(Debug)]
pub struct Line<'a, R> {
    /// The row.
    pub row: R,
    /// The labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// Lines without labels.
pub fn plain<R>(rows: impl IntoIterator<Item = R>) -> Vec<Line<'static, R>> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let line = |row| Line { row, labels: &NONE };
    rows.into_iter().map(line).collect()
}

/// The lines as `format` wants them, with `default` as the columns of the
/// table when it says nothing or `table`.
///
/// # Errors
/// What is wrong with the template, in Docker's words.
pub fn render<R: Row>(
    format: &str,
    default: &[&str],
    lines: &[Line<'_, R>],
) -> Result<String, String> {
    if format.is_empty() || format == "table" {
        return Ok(table(default, lines));
    }
    let (in_table, source) = match format.strip_prefix("table") {
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
    let told = |mistake| words(R::TYPE, mistake);
    let parsed = |header| Template::of(source, Missing::Field(R::TYPE), header).map_err(told);
    let unlabelled = BTreeMap::new();
    let template = parsed(false)?;
    let mut text = String::new();
    if in_table {
        let head = parsed(true)?.render_row(&R::headings(), &unlabelled);
        text.push_str(&head.map_err(told)?);
        text.push('\n');
    }
    // `ps` tries its template before it asks for rows.
    if lines.is_empty() && R::TYPE == PS {
        let tried = template.render_row(&R::default(), &unlabelled);
        drop(tried.map_err(told)?);
    }
    for line in lines {
        let filled = template.render_row(&line.row, line.labels);
        text.push_str(&filled.map_err(told)?);
        text.push('\n');
    }
    Ok(if in_table { tabs::docker(&text) } else { text })
}

fn table<R: Row>(columns: &[&str], lines: &[Line<'_, R>]) -> String {
    let headings = R::headings();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(lines.iter().map(|line| &line.row)) {
        for (index, column) in columns.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "\t" });
            text.push_str(row.cell(column));
        }
        text.push('\n');
    }
    tabs::docker(&text)
}

/// The type of the rows of `ps`.
pub(crate) const PS: &str = "*formatter.ContainerContext";

/// What is wrong with a template, in Docker's words; `ps`, which tries its
/// template, has words of its own.
fn words(type_name: &str, mistake: Mistake) -> String {
    let (message, verb) = match mistake {
        Mistake::Parse(message) => (message, "parse"),
        Mistake::Execute(message) => (message, "execute"),
    };
    if type_name == PS {
        format!("failed to {verb} template: {message}")
    } else {
        format!("template parsing error: {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    row! {
        struct Thing = "*formatter.ThingContext" {
            id: String = "ID" "THING ID",
            name: String = "Name" "NAME",
            platform: Option<String> = "Platform" "PLATFORM",
        }
    }

    fn shown(format: &str) -> Result<String, String> {
        let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let line = |id: &str, name: &str| Line {
            row: Thing {
                id: id.to_owned(),
                name: name.to_owned(),
                platform: None,
            },
            labels: &labels,
        };
        render(
            format,
            &["ID", "Name"],
            &[line("1", "<one>"), line("2", "two")],
        )
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
            assert_eq!(shown(format).unwrap(), text, "{format}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_in_dockers_words() {
        let error = shown("{{.Foo}}").unwrap_err();
        assert_eq!(
            error,
            "template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ThingContext"
        );
        let error = shown("{{").unwrap_err();
        assert_eq!(
            error,
            "template parsing error: template: :1: unclosed action"
        );
    }
}
