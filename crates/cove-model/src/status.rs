//! The state of one instance as its supervisor publishes it (`status.json`).

use serde::{Deserialize, Serialize};

/// Where an instance is in its life.
///
/// ```text
/// created ──start──▶ running ◀──▶ paused
///    │                 │  ▲
///    │ failed start    │  └──── restarting ◀─┐ (policy, back-off)
///    ▼                 ▼            ▲        │
/// created (error)    exited ────────┘ ───────┘        dead: could not be cleaned up
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made and waiting for its start, or its start failed (then `error` says why).
    Created,
    /// Its first process runs.
    Running,
    /// Frozen.
    Paused,
    /// Down, and its restart policy will start it again.
    Restarting,
    /// Down.
    Exited,
    /// Down, but what it held could not be given back.
    Dead,
}

impl State {
    /// The word used in `status.json` and by Docker.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether a process of the instance exists beyond a created one that waits.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// A process that is not mistaken for a later one with the same number, unless
/// both start within one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number in the namespace of the supervisor.
    pub pid: i32,
    /// When it started: field 22 of `/proc/<pid>/stat`, in clock ticks since boot.
    pub start_ticks: u64,
}

/// What the supervisor knows about its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The instance.
    pub id: String,
    /// Where it is in its life.
    pub state: State,
    /// Its first process while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessId>,
    /// The process that wrote this.
    pub supervisor: i32,
    /// How the last run ended: 0–255, 128+n for signal n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whether the kernel killed a process of the last run for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// Why the last start, or the cleaning up, failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What of this run is not as it was asked for, and did not keep it from starting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// RFC 3339 with nanoseconds, UTC, as the other times.
    pub created_at: String,
    /// The last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// The last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// How often the restart policy started it again.
    #[serde(default)]
    pub restart_count: u32,
    /// A user stopped it or sent it a signal: `unless-stopped` leaves it down.
    #[serde(default)]
    pub manually_stopped: bool,
    /// A user wants its end: until its next start no policy starts it again.
    #[serde(default)]
    pub restart_off: bool,
    /// It is frozen for a client that holds it, not because a user paused it.
    #[serde(default)]
    pub held: bool,
    /// Log lines that found no room on the disk, in whole or in part.
    #[serde(default)]
    pub log_lines_dropped: u64,
}

impl Status {
    /// An instance that was just made.
    #[must_use]
    pub fn created(id: &str, supervisor: i32, now: String) -> Self {
        Self {
            id: id.to_owned(),
            state: State::Created,
            init: None,
            supervisor,
            exit_code: None,
            oom_killed: false,
            error: None,
            warnings: Vec::new(),
            created_at: now,
            started_at: None,
            finished_at: None,
            restart_count: 0,
            manually_stopped: false,
            restart_off: false,
            held: false,
            log_lines_dropped: 0,
        }
    }
}
