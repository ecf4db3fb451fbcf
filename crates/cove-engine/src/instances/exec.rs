//! What happens inside a running instance: other programs, a look at its processes.

use cove_model::event::{Executed, InstanceChange};
use cove_model::instance::Record;
use cove_model::status::State;

use super::Instances;
use super::create::random_id;
use crate::driver;
use crate::driver::process::{ExecRequest, ExecSession, ExecStreams, Processes};
use crate::error::{Error, Result};
use crate::events;

/// A program that was started in a running instance.
#[derive(Debug)]
pub struct Execution {
    /// What tells it from others of the instance.
    pub id: String,
    /// The program, a child of this process.
    pub session: ExecSession,
}

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
    ) -> Result<Execution> {
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
        let id = random_id()?.to_string();
        let executed = Executed {
            exec: id.clone(),
            argv: request.argv.clone(),
        };
        let changes = [
            InstanceChange::ExecCreate(executed.clone()),
            InstanceChange::ExecStart(executed),
        ];
        let noted = changes.map(|change| events::of_instance(record, change));
        events::note(&self.engine.roots, noted.to_vec());
        let driver = driver::of(&self.engine.roots, record);
        let session = driver.exec(&record.spec, request, init, streams)?;
        Ok(Execution { id, session })
    }

    /// Notes how an execution ended, which only who waited for it knows.
    pub fn exec_ended(&self, record: &Record, execution: &str, exit_code: i32) {
        let exec = execution.to_owned();
        self.note(record, InstanceChange::ExecDie { exec, exit_code });
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
        let processes = driver::of(&self.engine.roots, record).top(arguments)?;
        self.note(record, InstanceChange::Top);
        Ok(processes)
    }
}

fn not_running(record: &Record) -> Error {
    Error::Conflict(format!("Container {} is not running", record.id))
}
