//! Supervisors: how a command starts one, and what runs inside it.

mod workload;

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cove_model::control::{Failure, Step, TerminalSize};
use cove_model::instance::{InstanceId, Record};
use cove_model::status::Status;
use cove_storage::Lowers;
use cove_supervisor::ExitReason;
use cove_supervisor::config::Config;
use cove_supervisor::paths;
use cove_supervisor::spawn::{Inherited, SpawnError};
use cove_supervisor::state::observe;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::{Engine, Roots};
use workload::Supervised;

/// The name under which the binary runs as a supervisor: its `argv[0]`.
pub const ARGV0: &str = "cove-supervisor";

/// Milliseconds between the stop signal and the kill when nobody says.
const STOP_TIMEOUT: u64 = 10_000;

/// How a supervisor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// The instance is created and started.
    Start {
        /// The first size of its terminal.
        size: Option<TerminalSize>,
    },
    /// The instance is created; a client attaches and then starts it.
    Create {
        /// The first size of its terminal.
        size: Option<TerminalSize>,
    },
    /// The instance runs without a supervisor.
    Adopt,
}

/// What a supervisor is told.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    root: PathBuf,
    runroot: PathBuf,
    /// The binary as the host knows it; ours is sealed and has no path.
    executable: PathBuf,
    /// The image's layers as overlayfs wants them.
    lowers: Lowers,
    /// Its record is read when it is run: it may change until then.
    id: InstanceId,
    config: Config,
}

/// Starts a supervisor for an instance and waits until it has done what
/// `begin` says. In the turn that the caller has, no update is under way: what
/// the supervisor is told is the record as it is now, not as it was read.
///
/// # Errors
/// When it cannot be started, or what made the instance fail to start.
pub(crate) fn spawn(engine: &Engine, record: &Record, begin: &Begin) -> Result<Status> {
    let record = &engine.state.get(&record.id).map_err(Error::State)?;
    let id = record.id.as_str();
    let fail = |source| Error::Spawn {
        id: id.to_owned(),
        source,
    };
    let runtime_dir = engine.roots.runtime_dir(id);
    if *begin != Begin::Adopt {
        crate::make_private(&runtime_dir)?;
    }
    let task = Task {
        root: engine.roots.root.clone(),
        runroot: engine.roots.runroot.clone(),
        executable: cove_sys::seal::host_executable()
            .map_err(|source| fail(SpawnError::Execute(source)))?,
        lowers: engine
            .store
            .lowers(&record.image.layers)
            .map_err(Error::Storage)?,
        config: config(engine, record, begin, runtime_dir)?,
        id: record.id.clone(),
    };
    let task = serde_json::to_vec(&task).map_err(|error| fail(SpawnError::Config(error.into())))?;
    let image =
        cove_sys::seal::sealed_image().map_err(|source| fail(SpawnError::Execute(source)))?;
    let argv = [ARGV0, id].map(|word| CString::new(word).unwrap_or_default());
    let handle =
        cove_supervisor::spawn::spawn(image.as_fd(), &argv, &environment(), &task).map_err(fail)?;
    match handle.wait_ready() {
        Ok(status) => Ok(status),
        Err(SpawnError::Failed(failure)) => Err(Error::Supervisor { failure }),
        Err(other) => Err(fail(other)),
    }
}

/// What a supervisor needs of our environment: where helpers and rootless
/// directories are, no secrets.
fn environment() -> Vec<CString> {
    ["PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"]
        .into_iter()
        .filter_map(|key| {
            let value = std::env::var(key).ok()?;
            CString::new(format!("{key}={value}")).ok()
        })
        .collect()
}

fn config(engine: &Engine, record: &Record, begin: &Begin, runtime_dir: PathBuf) -> Result<Config> {
    let spec = &record.spec;
    let mut config = Config::new(record.id.as_str(), runtime_dir);
    config.log = crate::logging::config(&engine.state.directory(&record.id), record)?;
    config.tty = spec.terminal;
    config.open_stdin = spec.open_stdin;
    config.stdin_once = spec.stdin_once;
    config.restart = spec.restart;
    config.auto_remove = spec.auto_remove;
    let stop_signal = spec.run.stop_signal.as_deref();
    config.stop_signal = stop_signal.map(crate::signals::parse).transpose()?;
    config.stop_timeout_ms = match spec.stop_timeout {
        None => Some(STOP_TIMEOUT),
        // Less than nothing is for ever.
        Some(seconds) => u64::try_from(seconds)
            .ok()
            .map(|seconds| seconds.saturating_mul(1000)),
    };
    match *begin {
        Begin::Start { size } => {
            config.size = size;
            config.start = true;
        }
        Begin::Create { size } => config.size = size,
        Begin::Adopt => config.adopt = true,
    }
    Ok(config)
}

/// Runs as a supervisor until the instance is finally down; returns the exit
/// status of the process. Call it first thing in a process whose `argv[0]` is
/// [`ARGV0`].
#[must_use]
pub fn main() -> i32 {
    let Ok(Inherited { config, mut ready }) = Inherited::take() else {
        eprintln!("{ARGV0}: this is started by cove, not by hand");
        return 125;
    };
    // It outlives the command: no directory of the caller's stays in use. What it is told is absolute.
    if let Err(error) = rustix::process::chdir("/") {
        ready.failed(&Failure::new(Step::Prepare, error.to_string()));
        return 125;
    }
    // Nor do its priorities: an instance is not its client's child.
    cove_sys::sched::reset_priorities();
    forget_oom_score();
    let task: Task = match serde_json::from_slice(&config) {
        Ok(task) => task,
        Err(error) => {
            ready.failed(&Failure::new(Step::Prepare, error.to_string()));
            return 125;
        }
    };
    drop(config);
    let Task {
        root,
        runroot,
        executable,
        lowers,
        id,
        config,
    } = task;
    let roots = Roots { root, runroot };
    let last_status = roots.directory(id.as_str()).join(paths::STATUS);
    let mut supervised = Supervised::new(roots, id, executable, lowers);
    match cove_supervisor::run(&config, &mut supervised, ready) {
        ExitReason::Down(_) => {
            keep_status(&config, &last_status);
            0
        }
        ExitReason::Removed(_) => {
            supervised.clear();
            0
        }
        ExitReason::Failed(_) => {
            if !config.adopt {
                keep_status(&config, &last_status);
            }
            125
        }
    }
}

/// What a caller's service manager says of it to the out-of-memory killer is not said of an instance.
fn forget_oom_score() {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    if cove_sys::proc::oom_score_adj(own).is_ok_and(|score| score != 0) {
        // To be preferred less than it is may be refused; then it stays as it is.
        std::fs::write("/proc/self/oom_score_adj", "0").unwrap_or(());
    }
}

/// Keeps how the instance ended beyond a boot. Without it a later command only
/// knows less, and where the instance is being removed it has no place.
fn keep_status(config: &Config, path: &Path) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    if let Ok(Some(seen)) = observe(&config.runtime_dir)
        && seen.status.supervisor == own
        && let Ok(bytes) = serde_json::to_vec(&seen.status)
    {
        drop(cove_sys::fs::write_atomic(path, &bytes, false));
    }
}
