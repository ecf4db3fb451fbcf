//! `top`: the host's ps(1), cut down to the processes of an instance.

use std::collections::HashSet;
use std::process::Command;

use crate::error::{Error, Result};

/// A table of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// The titles of the columns.
    pub titles: Vec<String>,
    /// One row per process.
    pub rows: Vec<Vec<String>>,
}

impl super::Process<'_> {
    /// The processes of a running instance as ps(1) with `arguments` (by
    /// default `-ef`) shows them.
    ///
    /// # Errors
    /// When ps fails or can show no process ids.
    pub(crate) fn top(&self, arguments: &[String]) -> Result<Processes> {
        let processes = self.load()?.ps().map_err(Error::Sandbox)?;
        let ids: HashSet<i32> = processes.into_iter().collect();
        let default = ["-ef".to_owned()];
        let arguments = if arguments.is_empty() {
            &default
        } else {
            arguments
        };
        let table = cut(&ps(&[], arguments, &ids)?, &ids);
        if let Some(table) = table.as_ref().filter(|table| !table.rows.is_empty()) {
            return Ok(table.clone());
        }
        // The user's columns are without the process id, or have it behind one with blanks:
        // it is asked for besides, as the first.
        let marked = ps(&["-o", &format!("pid={MARK}")], arguments, &ids)
            .ok()
            .and_then(|text| marked(&text, &ids));
        match (marked, table) {
            (Some(table), _) | (None, Some(table)) => Ok(table),
            (None, None) => Err(Error::Invalid(
                "Couldn't find PID field in ps output".to_owned(),
            )),
        }
    }
}

/// The title of a column that nobody asked for.
const MARK: &str = "COVE_PID";

/// What ps shows of these processes. Where it cannot combine their numbers with what else it
/// is asked for, it shows more.
fn ps(first: &[&str], arguments: &[String], ids: &HashSet<i32>) -> Result<String> {
    let numbers: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut failed = String::new();
    for only in [Some(format!("-q{}", numbers.join(","))), None] {
        #[expect(
            clippy::disallowed_methods,
            reason = "the user chooses columns in ps's own words"
        )]
        let mut command = Command::new("ps");
        command.args(first).args(arguments).args(only);
        let output = command.output().map_err(|source| Error::Stream {
            action: "run ps",
            source,
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        failed = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    // As Docker: the sentence, not the page of help behind it.
    let line = failed.lines().find(|line| !line.trim().is_empty());
    Err(Error::Invalid(format!(
        "ps: {}",
        line.unwrap_or_default().trim()
    )))
}

/// Keeps the rows of these processes. The last column may hold blanks. `None`: there is no
/// column of process ids.
fn cut(text: &str, ids: &HashSet<i32>) -> Option<Processes> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|title| title == "PID" || title == MARK)?;
    let rows = lines
        .map(|line| fields(line, titles.len()))
        .filter(|row| {
            row.get(column)
                .and_then(|text| text.parse().ok())
                .is_some_and(|id| ids.contains(&id))
        })
        .collect();
    Some(Processes { titles, rows })
}

/// The rows of these processes without their first column, which is [`MARK`]'s.
fn marked(text: &str, ids: &HashSet<i32>) -> Option<Processes> {
    if !text.trim_start().starts_with(MARK) {
        return None;
    }
    let mut table = cut(text, ids)?;
    table.titles.remove(0);
    for row in &mut table.rows {
        row.remove(0);
    }
    (!table.titles.is_empty()).then_some(table)
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
        assert!(cut("UID CMD\nroot init\n", &HashSet::new()).is_none());
        let text = "COVE_PID COMMAND           PID\n      42 sleep 10           42\n       1 init               1\n";
        let table = marked(text, &HashSet::from([42])).unwrap();
        assert_eq!(table.titles, ["COMMAND", "PID"]);
        assert_eq!(table.rows, [["sleep", "10           42"]]);
        assert!(marked("  PID CMD\n 42 x\n", &HashSet::from([42])).is_none());
    }
}
