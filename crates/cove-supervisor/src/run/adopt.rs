//! Taking over an instance whose supervisor was killed.

use std::os::fd::AsFd;
use std::time::Instant;

use cove_model::control::{Failure, Step};
use cove_model::status::{State, Status};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::keeper::{self, Kept};
use super::life::{UNKNOWN_STATUS, system_failure};
use super::{Init, Phase, Supervisor, orphan};
use crate::backoff::Backoff;
use crate::state;

impl Supervisor<'_> {
    /// Takes over from a supervisor that was killed.
    pub(super) fn adopt(&mut self) -> Result<(), Failure> {
        let bytes = state::read_status(self.dir.as_fd())
            .map_err(|error| system_failure(Step::Status, "cannot read the status", &error))?
            .ok_or_else(|| Failure::new(Step::Status, "there is no status to go on from"))?;
        let supervisor = self.status.supervisor;
        let status: Status = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(Step::Status, format!("the status is damaged: {error}"))
        })?;
        self.status = Status {
            supervisor,
            ..status
        };
        self.backoff = Backoff::resumed(self.status.restart_count);
        match self.status.state {
            State::Restarting => {
                self.phase = Phase::Waiting {
                    start_at: Instant::now(),
                }
            }
            State::Created | State::Running | State::Paused => self.adopt_init()?,
            State::Exited | State::Dead => {
                return Err(Failure::conflict(Step::State, "the instance is down"));
            }
        }
        if matches!(self.phase, Phase::Down) {
            // It ended meanwhile: its end is published, or it is removed already.
            return Ok(());
        }
        state::publish(self.dir.as_fd(), &self.status)
            .map_err(|error| system_failure(Step::Status, "cannot publish the status", &error))
    }

    fn adopt_init(&mut self) -> Result<(), Failure> {
        let id = self
            .status
            .init
            .ok_or_else(|| Failure::new(Step::State, "the status names no first process"))?;
        self.phase = Phase::Running {
            since: Instant::now(),
            kill_at: None,
        };
        // First the descriptor, then the check: what was checked cannot become another.
        let pidfd = Pid::from_raw(id.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let pidfd = pidfd.filter(|_| state::is_alive(id).unwrap_or(false));
        let Some(pidfd) = pidfd else {
            self.on_exit(
                UNKNOWN_STATUS,
                Some("it ended while it had no supervisor".to_owned()),
            );
            return Ok(());
        };
        // The old supervisor may have been killed after it cleaned up and before it told anybody.
        if !orphan::has_ended(&pidfd) {
            self.workload.adopt(id)?;
        }
        self.init = Some(Init { id, pidfd });
        let kept = if self.config.tty || self.config.open_stdin {
            // Without its keeper only the terminal or stdin is lost, not the instance.
            keeper::give(self.dir.as_fd()).unwrap_or_default()
        } else {
            Kept::default()
        };
        self.connect(kept)
            .map_err(|error| system_failure(Step::Stdio, "cannot watch the instance", &error))?;
        self.freeze_as_told();
        if self.status.state == State::Created {
            // What would have started it died with the old supervisor.
            self.last_run = true;
            self.kill();
        }
        // Who asked for this must not hear that it runs when it only is not buried yet.
        self.reap();
        Ok(())
    }

    /// Freezes or thaws it as its status says. The old supervisor may have been killed
    /// after it did either and before it told anybody; and who held it lost the
    /// connection with it.
    fn freeze_as_told(&mut self) {
        match self.status.state {
            // Refused only when it is ending, which the pidfd tells.
            State::Paused if !self.status.held => self.workload.pause().unwrap_or(()),
            State::Running | State::Paused => {
                if self.workload.resume().is_ok() {
                    self.status.state = State::Running;
                    self.status.held = false;
                }
            }
            State::Created | State::Restarting | State::Exited | State::Dead => {}
        }
    }
}
