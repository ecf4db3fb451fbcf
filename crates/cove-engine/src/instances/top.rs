//! `top`: the host's ps(1), cut down to the processes of an instance.

use std::collections::HashSet;
use std::process::Command;

use cove_model::instance::Record;

use crate::Engine;
use crate::error::{Error, Result};

/// A table of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// The titles of the columns.
    pub titles: Vec<String>,
    /// One row per process.
    pub rows: Vec<Vec<String>>,
}

impl Engine {
    /// The processes of a running instance as ps(1) with `arguments` (by
    /// default `-ef`) shows them.
    ///
    /// # Errors
    /// When the instance does not run, or ps fails or shows no process ids.
    pub fn top(&self, record: &Record, arguments: &[String]) -> Result<Processes> {
        if !self.status(record)?.state.is_running() {
            return Err(Error::Conflict(format!(
                "Container {} is not running",
                record.id
            )));
        }
        let container = cove_sandbox::Container::load(&self.roots.sandbox(), record.id.as_str())
            .map_err(Error::Sandbox)?;
        let ids: HashSet<i32> = container
            .ps()
            .map_err(Error::Sandbox)?
            .into_iter()
            .collect();
        #[expect(
            clippy::disallowed_methods,
            reason = "the user chooses columns in ps's own words"
        )]
        let mut command = Command::new("ps");
        if arguments.is_empty() {
            command.arg("-ef");
        } else {
            command.args(arguments);
        }
        let output = command.output().map_err(|source| Error::Stream {
            action: "run ps",
            source,
        })?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Invalid(format!("ps: {}", text.trim())));
        }
        cut(&String::from_utf8_lossy(&output.stdout), &ids)
    }
}

/// Keeps the rows of these processes. The last column may hold blanks.
fn cut(text: &str, ids: &HashSet<i32>) -> Result<Processes> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(Error::Invalid(
            "Couldn't find PID field in ps output".to_owned(),
        ));
    };
    let rows = lines
        .map(|line| fields(line, titles.len()))
        .filter(|row| {
            row.get(column)
                .and_then(|text| text.parse().ok())
                .is_some_and(|id| ids.contains(&id))
        })
        .collect();
    Ok(Processes { titles, rows })
}

fn fields(line: &str, count: usize) -> Vec<String> {
    let mut rest = line.trim_start();
    let mut fields = Vec::with_capacity(count);
    while fields.len() + 1 < count && !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        fields.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    fields.push(rest.trim_end().to_owned());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_instances_processes_are_shown() {
        let text =
            "UID   PID  PPID CMD\nroot    1     0 /sbin/init splash\nroot   42     1 sleep 10\n";
        let table = cut(text, &HashSet::from([42])).unwrap();
        assert_eq!(table.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(table.rows, [["root", "42", "1", "sleep 10"]]);
        assert!(cut("UID CMD\nroot init\n", &HashSet::new()).is_err());
    }
}
