//! Holding an instance frozen for as long as a client lives.

use std::time::Duration;

use cove_model::control::{Reply, Request};

use crate::client::{Client, ClientError, Pending};

/// How long a supervisor may take to thaw its instance.
const PATIENCE: Duration = Duration::from_secs(10);

/// A frozen instance. It goes on when this is dropped or its process ends,
/// unless it was paused before or another client holds it, too.
#[derive(Debug)]
pub struct Hold {
    connection: Pending,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.connection.end(PATIENCE);
    }
}

impl Client {
    /// Freezes the instance; when this returns no process of it runs.
    ///
    /// # Errors
    /// See [`ClientError`]; `Refused` when it does not run or cannot be frozen.
    pub fn hold(&self) -> Result<Hold, ClientError> {
        let mut connection = self.begin(&Request::Hold)?;
        match connection.read()? {
            Reply::Failed(failure) => Err(ClientError::Refused(failure)),
            Reply::Done | Reply::Status(_) | Reply::Exited(_) | Reply::Attached { .. } => {
                Ok(Hold { connection })
            }
        }
    }
}
