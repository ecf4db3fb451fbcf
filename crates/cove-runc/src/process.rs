//! What holds of every process that is begun, a container's first and later ones.

use crate::failure::Failure;

/// The program must not be writable from inside before it goes near a container.
pub(crate) fn seal() -> Result<(), Failure> {
    cove_sys::seal::ensure_sealed()
        .map_err(|error| Failure::new(format!("seal the running program: {error}")))
}

/// runc's rules about who holds the terminal.
pub(crate) fn check_terminal(terminal: bool, detach: bool, socket: bool) -> Result<(), Failure> {
    let reason = match (terminal, detach, socket) {
        (true, true, false) => {
            "cannot allocate a terminal for a detached process without --console-socket"
        }
        (false, _, true) => "--console-socket is of no use: no terminal is asked for",
        (true, false, true) => {
            "--console-socket is of no use: the terminal is this one (no --detach)"
        }
        _ => return Ok(()),
    };
    Err(Failure::new(reason))
}
