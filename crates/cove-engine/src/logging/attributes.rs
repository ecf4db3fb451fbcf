//! What the options of a log say of where its lines came from: labels,
//! variables and a tag.

use std::collections::BTreeMap;

use cove_model::instance::Record;
use gotmpl::{MissingKey, TemplateError, Value};
use regex::Regex;

use super::FAILED;
use crate::error::{Error, Result};

/// Where lines come from, as the options of a log may name it.
#[derive(Debug, Default)]
pub(super) struct Origin {
    labels: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    fields: BTreeMap<&'static str, String>,
}

impl Origin {
    pub(super) fn of(record: &Record) -> Self {
        let image = record.image.id.to_string();
        let fields = [
            ("ID", record.id.short().to_owned()),
            ("FullID", record.id.to_string()),
            ("ContainerID", record.id.to_string()),
            ("Name", record.name.clone()),
            ("ContainerName", format!("/{}", record.name)),
            ("ImageID", image[..12].to_owned()),
            ("ImageFullID", image.clone()),
            ("ContainerImageID", image),
            ("ImageName", record.image.name.clone()),
            ("ContainerImageName", record.image.name.clone()),
            ("Command", record.spec.argv.join(" ")),
            ("DaemonName", "cove".to_owned()),
            (
                "Hostname",
                rustix::system::uname()
                    .nodename()
                    .to_string_lossy()
                    .into_owned(),
            ),
        ];
        let pairs = record.spec.run.env.iter();
        Self {
            labels: record.spec.run.labels.clone(),
            environment: pairs
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            fields: fields.into_iter().collect(),
        }
    }

    /// The template of a tag, filled in. Before the container is there its fields are empty.
    fn fill(&self, template: &str) -> Result<String> {
        let failed =
            |error: &TemplateError| Error::Invalid(format!("{FAILED}: {}", go(error, template)));
        let parsed = gotmpl::Template::new("log-tag")
            .missing_key(MissingKey::Error)
            .parse(template)
            .map_err(|error| failed(&error))?;
        let text = |text: &str| Value::String(text.into());
        let mut fields: BTreeMap<_, _> = self
            .fields
            .iter()
            .map(|(key, value)| ((*key).into(), text(value)))
            .collect();
        if fields.is_empty() {
            let record = FIELDS.iter().map(|key| ((*key).into(), text("")));
            fields = record.collect();
        }
        let value = Value::Map(std::sync::Arc::new(fields));
        let mut out = String::new();
        parsed
            .execute_fmt(&mut out, &value)
            .map_err(|error| failed(&error))?;
        Ok(out)
    }
}

/// The fields that a tag may name.
const FIELDS: [&str; 13] = [
    "Command",
    "ContainerID",
    "ContainerImageID",
    "ContainerImageName",
    "ContainerName",
    "DaemonName",
    "FullID",
    "Hostname",
    "ID",
    "ImageFullID",
    "ImageID",
    "ImageName",
    "Name",
];

/// An error of a template in Go's words.
fn go(error: &TemplateError, template: &str) -> String {
    match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: log-tag:{line}: {message}")
        }
        TemplateError::MissingKey { key } => {
            let column = template.find(&format!(".{key}")).unwrap_or(0);
            format!(
                "template: log-tag:1:{column}: executing \"log-tag\" at <.{key}>: can't evaluate field {key} in type *logger.Info"
            )
        }
        other => format!("template: log-tag:1: {other}"),
    }
}

/// All that the options name of what there is.
pub(super) fn attributes(
    options: &BTreeMap<String, String>,
    origin: &Origin,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (named, matched, all) in [
        ("labels", "labels-regex", &origin.labels),
        ("env", "env-regex", &origin.environment),
    ] {
        for key in options
            .get(named)
            .into_iter()
            .flat_map(|keys| keys.split(','))
        {
            if let Some(value) = all.get(key) {
                found.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(pattern) = options.get(matched).filter(|pattern| !pattern.is_empty()) {
            let regex = Regex::new(pattern).map_err(|error| {
                Error::Invalid(format!(
                    "{FAILED}: error parsing regexp: {}",
                    reason(&error)
                ))
            })?;
            let matching = all.iter().filter(|(key, _)| regex.is_match(key));
            found.extend(matching.map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    if let Some(template) = options.get("tag").filter(|tag| !tag.is_empty()) {
        let tag = origin.fill(template)?;
        if !tag.is_empty() {
            found.insert("tag".to_owned(), tag);
        }
    }
    Ok(found)
}

/// The last line of the library's words, which are a drawing of where it stumbled.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_from_labels_variables_and_the_tag() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        };
        let origin = Origin {
            labels: map(&[("a", "1"), ("b.x", "2"), ("b.y", "3")]),
            environment: map(&[("HOME", "/"), ("V", "4")]),
            fields: BTreeMap::from([("Name", "web".to_owned())]),
        };
        let options = map(&[
            ("labels", "a,none"),
            ("labels-regex", "^b"),
            ("env", "V"),
            ("env-regex", "^X"),
            ("tag", "x/{{.Name}}"),
        ]);
        let expected = map(&[
            ("a", "1"),
            ("b.x", "2"),
            ("b.y", "3"),
            ("V", "4"),
            ("tag", "x/web"),
        ]);
        assert_eq!(attributes(&options, &origin).unwrap(), expected);
    }
}
