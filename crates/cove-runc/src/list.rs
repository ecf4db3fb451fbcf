//! What containers there are, and what runs in them: `list`, `ps`, and the
//! document `state` prints.

use std::ffi::OsString;

use cove_flags::flags;
use cove_sandbox::Container;
use serde_json::{Value as Json, json};

use crate::args::{self, Globals};
use crate::failure::{Failure, Outcome};
use crate::output::print;
use crate::{read, version};

/// runc's state document: that of the specification and some more. `pid` is
/// there in any case, as engines expect.
pub(crate) fn document(container: &Container) -> Result<Json, Failure> {
    let state = container.state()?;
    let version = if state.oci_version.is_empty() {
        version::SPEC
    } else {
        &state.oci_version
    };
    let mut document = json!({
        "ociVersion": version,
        "id": state.id,
        "pid": state.pid.unwrap_or(0),
        "status": state.status,
        "bundle": state.bundle,
        "rootfs": container.rootfs(),
        "created": time(container.created()),
    });
    if !state.annotations.is_empty() {
        document["annotations"] = json!(state.annotations);
    }
    document["owner"] = json!(owner(container.owner()));
    Ok(document)
}

fn time(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .unwrap_or_default()
        .to_string()
}

/// The user's name, as runc shows it; the number where there is none.
fn owner(uid: u32) -> String {
    const LIMIT: u64 = 4 << 20;
    let table = cove_sys::fs::read_to_string("/etc/passwd".as_ref(), LIMIT).unwrap_or_default();
    let number = uid.to_string();
    let named = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(number.as_str())).then(|| name.to_owned())
    });
    named.unwrap_or(format!("#{number}"))
}

flags! {
    /// What `list` takes.
    pub(crate) struct ListFlags {
        'f' format: Option<String> = string, "";
        'q' quiet: bool = switch, "";
    }
}

pub(crate) fn list(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, _): (ListFlags, _) = args::arguments(words, 0)?;
    let quiet = flags.quiet;
    let format = flags.format.unwrap_or_else(|| "table".to_owned());
    // A default one is not there before the first container is.
    if globals.custom_root
        && let Err(error) = std::fs::read_dir(&globals.root)
    {
        let root = globals.root.display();
        return Err(Failure::new(format!("open {root}: {error}")));
    }
    let mut documents = Vec::new();
    for id in cove_sandbox::list(&globals.root)? {
        // One that goes away meanwhile, or that cannot be read, hides no other.
        match Container::load(&globals.root, &id)
            .map_err(Failure::from)
            .and_then(|c| document(&c))
        {
            Ok(document) => documents.push(document),
            Err(failure) => globals.log.warning(&format!("{id}: {}", failure.message)),
        }
    }
    if quiet {
        let ids = documents
            .iter()
            .filter_map(|document| document["id"].as_str());
        return print(&ids.fold(String::new(), |text, id| text + id + "\n"));
    }
    match format.as_str() {
        "json" => print(&format!("{}\n", Json::Array(documents))),
        "table" => print(&table(&documents)),
        other => Err(Failure::new(format!(
            "unknown format {other:?}: table or json"
        ))),
    }
}

fn table(documents: &[Json]) -> String {
    let keys = ["id", "pid", "status", "bundle", "created", "owner"];
    let cell = |value: &Json| match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let head = keys.map(str::to_ascii_uppercase).to_vec();
    let rows = documents
        .iter()
        .map(|document| keys.map(|key| cell(&document[key])).to_vec());
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    // runc's columns: at least 12 wide, three apart.
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count() + 3)
            .max()
            .unwrap_or(0)
            .max(12)
    };
    let widths: Vec<usize> = (0..keys.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}"));
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    };
    rows.iter().map(line).collect()
}

flags! {
    /// What `ps` takes.
    pub(crate) struct PsFlags {
        'f' format: Option<String> = string, "";
    }
}

pub(crate) fn ps(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, id, mut words): (PsFlags, _, _) = args::container_and_rest(words, "ps")?;
    let format = flags.format.unwrap_or_else(|| "table".to_owned());
    let pids = Container::load(&globals.root, &id)?.ps()?;
    match format.as_str() {
        "json" => return print(&format!("{}\n", json!(pids))),
        "table" => {}
        other => {
            return Err(Failure::new(format!(
                "unknown format {other:?}: table or json"
            )));
        }
    }
    if words.is_empty() {
        words.push("-ef".into());
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "runc's contract: arguments are those of ps(1)"
    )]
    let output = std::process::Command::new("ps")
        .args(&words)
        .output()
        .map_err(|error| Failure::new(format!("run ps: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("ps: {}", said.trim_end())));
    }
    print(&only(&String::from_utf8_lossy(&output.stdout), &pids)?)
}

/// The lines of ps(1) about these processes, and its head line.
fn only(text: &str, pids: &[i32]) -> Result<String, Failure> {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head
        .split_whitespace()
        .position(|title| title == "PID")
        .ok_or_else(|| Failure::new("ps shows no PID column with these arguments"))?;
    let mut shown = format!("{head}\n");
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|word| word.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let text = table(&[
            json!({"id": "a", "pid": 5, "status": "running", "bundle": "/a/long/bundle",
            "created": "2026-01-01T00:00:00Z", "owner": "root"}),
        ]);
        assert_eq!(
            text,
            "ID          PID         STATUS      BUNDLE           CREATED                OWNER\n\
             a           5           running     /a/long/bundle   2026-01-01T00:00:00Z   root\n"
        );
    }

    #[test]
    fn ps_lines() {
        let text = "UID PID CMD\nroot 1 init\nroot 12 sh\nroot 2 x\n";
        assert_eq!(
            only(text, &[12, 2]).unwrap(),
            "UID PID CMD\nroot 12 sh\nroot 2 x\n"
        );
        assert!(only("UID CMD\n", &[1]).is_err());
    }
}
