//! The functions of Docker's templates beside Go's own.

use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::{TemplateError, Value};

use super::values::Subject;
use crate::json;

/// A function of one text.
type Change = fn(&str) -> String;

/// Docker's functions beside Go's own.
pub(super) fn add(
    template: gotmpl::Template,
    subject: &Arc<Mutex<Subject>>,
    header: bool,
) -> gotmpl::Template {
    let (whole, labelled) = (Arc::clone(subject), Arc::clone(subject));
    let template = template
        .func("json", move |args| {
            let value = one("json", args)?;
            if header {
                return Ok(value.clone());
            }
            let subject = whole.lock().unwrap_or_else(PoisonError::into_inner);
            let json = subject.shape.json(value);
            let is_row = subject.labels.is_some() && matches!(value, Value::Map(_));
            Ok(text(if is_row {
                json::escaped(&json)
            } else {
                json::compact(&json)
            }))
        })
        .func("rowlabel", move |args| {
            let key = string("Label", args, 1)?;
            if header {
                let last = key.rsplit('.').next().unwrap_or_default();
                return Ok(text(last.replace(['-', '_'], " ")));
            }
            let subject = labelled.lock().unwrap_or_else(PoisonError::into_inner);
            let labels = subject.labels.as_ref();
            let label = labels.and_then(|labels| labels.get(key)).cloned();
            Ok(text(label.unwrap_or_default()))
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
