//! What a supervisor is told when it begins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cove_model::control::TerminalSize;
use cove_model::restart::RestartPolicy;
use serde::{Deserialize, Serialize};

use crate::logs::Format;

/// One instance and how to supervise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The instance.
    pub id: String,
    /// Its runtime directory, `<runroot>/containers/<id>`: exists, mode 0700.
    pub runtime_dir: PathBuf,
    /// Where its output goes; `None` keeps none.
    pub log: Option<LogConfig>,
    /// It has a terminal.
    #[serde(default)]
    pub tty: bool,
    /// The first size of the terminal.
    #[serde(default)]
    pub size: Option<TerminalSize>,
    /// Its stdin can be written to by attached clients; otherwise it reads as empty.
    #[serde(default)]
    pub open_stdin: bool,
    /// Its stdin ends when the first client that writes it ends it or goes.
    #[serde(default)]
    pub stdin_once: bool,
    /// What happens when it ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Remove it once it is finally down.
    #[serde(default)]
    pub auto_remove: bool,
    /// The signal that asks it to end, where it says so itself; otherwise that
    /// is SIGTERM, and any other may be meant so.
    #[serde(default)]
    pub stop_signal: Option<i32>,
    /// How long it has to end before it is killed, in milliseconds; `None` for ever.
    #[serde(default = "default_stop_timeout")]
    pub stop_timeout_ms: Option<u64>,
    /// Start it as soon as it is created, before `Ready` is reported.
    #[serde(default)]
    pub start: bool,
    /// Take over the running instance of `status.json` instead of creating one.
    #[serde(default)]
    pub adopt: bool,
}

/// The log of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The newest file; older ones are beside it with `.1`, `.2` … appended.
    pub path: PathBuf,
    /// A file is rotated before it grows past this many bytes.
    pub max_size: u64,
    /// The most files kept, the newest included; at least 1.
    pub max_files: u32,
    /// How records are written.
    #[serde(default)]
    pub format: Format,
    /// What every record of Docker's format says of its origin.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Whether rotated files are compressed; their names end in `.gz` then.
    #[serde(default)]
    pub compress: bool,
    /// How many bytes may wait for the disk. The instance never waits then, and
    /// what finds no room is dropped; `None`: it waits, and nothing is dropped.
    #[serde(default)]
    pub buffer: Option<u64>,
}

impl LogConfig {
    /// 10 MiB × 5.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            max_size: 10 << 20,
            max_files: 5,
            format: Format::Cri,
            attributes: BTreeMap::new(),
            compress: false,
            buffer: None,
        }
    }
}

impl Config {
    /// An instance without terminal, stdin, restarts or log.
    #[must_use]
    pub fn new(id: &str, runtime_dir: PathBuf) -> Self {
        Self {
            id: id.to_owned(),
            runtime_dir,
            log: None,
            tty: false,
            size: None,
            open_stdin: false,
            stdin_once: false,
            restart: RestartPolicy::No,
            auto_remove: false,
            stop_signal: None,
            stop_timeout_ms: default_stop_timeout(),
            start: false,
            adopt: false,
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn default_stop_timeout() -> Option<u64> {
    Some(10_000)
}
