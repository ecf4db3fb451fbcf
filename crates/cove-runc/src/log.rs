//! `--log`: what went wrong, in the lines runc writes. Podman and dockerd read
//! them back to tell their user.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::failure::Failure;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

/// The least that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Warning,
    Error,
}

impl Level {
    /// crun's words for them, and logrus's.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "debug" | "trace" => Ok(Self::Debug),
            "info" | "warn" | "warning" => Ok(Self::Warning),
            "error" => Ok(Self::Error),
            other => Err(Failure::new(format!(
                "unknown log level {other:?}: debug, info, warning or error"
            ))),
        }
    }
}

/// Where lines go: a file, or standard error.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    format: Format,
    level: Level,
}

impl Log {
    /// A log on standard error.
    pub(crate) fn stderr(format: Format) -> Self {
        Self {
            file: None,
            format,
            level: Level::Warning,
        }
    }

    /// A log in a file, which is appended to.
    pub(crate) fn open(path: Option<&Path>, format: Format, level: Level) -> Result<Self, Failure> {
        let open = |path: &Path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(path)
                .map_err(|error| Failure::new(format!("open log {}: {error}", path.display())))
        };
        Ok(Self {
            file: path.map(open).transpose()?,
            format,
            level,
        })
    }

    /// Reports why the command failed: to the log, and for a person to
    /// standard error where the log is elsewhere.
    pub(crate) fn failure(&self, message: &str) {
        self.line("error", message);
        if self.file.is_some() {
            writeln!(std::io::stderr(), "{message}").unwrap_or(());
        }
    }

    /// Tells what was ignored or clamped.
    pub(crate) fn warning(&self, message: &str) {
        if self.level <= Level::Warning {
            self.line("warning", message);
        }
    }

    /// Tells what is being done, with `--debug`.
    pub(crate) fn debug(&self, message: &str) {
        if self.level == Level::Debug {
            self.line("debug", message);
        }
    }

    fn line(&self, level: &str, message: &str) {
        let time = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let line = match self.format {
            Format::Json => {
                let message = serde_json::Value::from(message);
                format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
            }
            Format::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
        };
        // Nobody can be told that telling failed.
        match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()).unwrap_or(()),
            None => std::io::stderr().write_all(line.as_bytes()).unwrap_or(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_runcs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        Log::open(Some(&path), Format::Json, Level::Error)
            .unwrap()
            .line("error", "a \"b\"\n");
        Log::open(Some(&path), Format::Text, Level::Error)
            .unwrap()
            .line("error", "c");
        let text = cove_sys::fs::read_to_string(&path, 4096).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        let value: serde_json::Value = serde_json::from_str(first).unwrap();
        assert_eq!(
            (&value["level"], &value["msg"]),
            (&"error".into(), &"a \"b\"\n".into())
        );
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        assert!(second.contains(" level=error msg=\"c\""), "{second}");
    }
}
