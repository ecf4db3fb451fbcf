//! How a created init waits: for its creator, or on a socket for whoever starts it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SocketFlags, accept_with};

use super::fail::{During, Step};
use crate::protocol::{Channel, Command};

/// Waits for Go on the listening socket; the answer to the one who sent it goes the same way.
/// Connections that end without a word (somebody asked whether we still wait) are let go.
pub(crate) fn wait(listener: &OwnedFd) -> Step<Channel> {
    loop {
        let connection = match accept_with(listener.as_fd(), SocketFlags::CLOEXEC) {
            Ok(connection) => Channel(connection),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => continue,
            Err(error) => return Err(error).during(|| "wait for the start"),
        };
        if let Ok(Some(Command::Go)) = connection.next_command() {
            return Ok(connection);
        }
    }
}
