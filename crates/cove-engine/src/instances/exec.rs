//! What happens inside a running instance: other programs, a look at its processes.

use cove_model::instance::Record;
use cove_model::status::State;

use super::Instances;
use crate::driver;
use crate::driver::process::{ExecRequest, ExecSession, ExecStreams, Processes};
use crate::error::{Error, Result};

impl Instances<'_> {
    /// Starts a program in a running instance. The calling process must be
    /// single-threaded and sealed (`cove_sys::seal`).
    ///
    /// # Errors
    /// When the instance does not run or is paused, the user is unknown, or
    /// the program cannot be executed.
    pub fn exec(
        &self,
        record: &Record,
        request: &ExecRequest,
        streams: ExecStreams<'_>,
    ) -> Result<ExecSession> {
        let status = self.status(record)?;
        match status.state {
            State::Running => {}
            State::Paused => {
                return Err(Error::Conflict(format!(
                    "Container {} is paused, unpause the container before exec",
                    record.name
                )));
            }
            State::Restarting => {
                return Err(Error::Conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    record.id
                )));
            }
            State::Created | State::Exited | State::Dead => return Err(not_running(record)),
        }
        let init = status.init.map_or(0, |init| init.pid);
        driver::of(&self.engine.roots, record).exec(&record.spec, request, init, streams)
    }

    /// The processes of a running instance as ps(1) with `arguments` (by
    /// default `-ef`) shows them.
    ///
    /// # Errors
    /// When the instance does not run, or ps fails or can show no process ids.
    pub fn top(&self, record: &Record, arguments: &[String]) -> Result<Processes> {
        if !self.status(record)?.state.is_running() {
            return Err(not_running(record));
        }
        driver::of(&self.engine.roots, record).top(arguments)
    }
}

fn not_running(record: &Record) -> Error {
    Error::Conflict(format!("Container {} is not running", record.id))
}
