//! Taking back what an update of limits changed.

use super::dir::{Notes, Overwritten};
use super::error::Result;

/// The control files that an update wrote, as they were. Kept by whoever may have to take the
/// update back; dropping it is agreeing.
#[derive(Debug, Default)]
pub struct Former(Vec<Overwritten>);

impl Former {
    pub(super) fn of(notes: &Notes) -> Self {
        Self(notes.take())
    }

    /// Takes the update back. A limit that allows another one to be what it is was written
    /// before it, so they go in the opposite order.
    ///
    /// # Errors
    /// The first, when the kernel refuses a value it had; the others are written all the same.
    pub fn restore(self) -> Result<()> {
        let files = self.0.iter().rev();
        let results: Vec<Result<()>> = files.map(restore).collect();
        results.into_iter().collect()
    }
}

fn restore(file: &Overwritten) -> Result<()> {
    let text = match file.name.as_str() {
        // Read it is a report, of which the first line is the setting.
        "memory.oom_control" => first_setting(&file.text),
        _ => &file.text,
    };
    // A file of a line for each device takes one at a time; an empty list is written as a line.
    let lines = if text.is_empty() { "\n" } else { text };
    lines
        .lines()
        .try_for_each(|line| file.dir.write(&file.name, &format!("{line}\n")))
}

/// `0` of `oom_kill_disable 0`.
fn first_setting(report: &str) -> &str {
    let line = report.lines().next().unwrap_or_default();
    line.split_whitespace().next_back().unwrap_or_default()
}
