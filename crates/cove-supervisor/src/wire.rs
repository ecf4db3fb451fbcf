//! Sockets and messages, as both sides need them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use cove_model::control::MAX_MESSAGE;
use rustix::fs::{AtFlags, Mode, chmodat};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A path to `name` in an open directory that fits a socket address (108 bytes).
fn short_path(dir: BorrowedFd<'_>, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Listens on `name` in `dir`, replacing a socket that a killed process left.
pub(crate) fn listen(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    crate::state::unlink(dir, name)?;
    let listener = UnixListener::bind(short_path(dir, name))?;
    chmodat(dir, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

/// Connects to `name` in `dir`.
pub(crate) fn connect(dir: BorrowedFd<'_>, name: &str) -> io::Result<UnixStream> {
    UnixStream::connect(short_path(dir, name))
}

/// A message with its length in front.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the message is too long",
        ));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// The message at the start of `bytes` and how long it is there; `None`: not all of it yet.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<Option<(T, usize)>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(io::Error::other)?;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the message is too long",
        ));
    }
    let Some(text) = rest.get(..length) else {
        return Ok(None);
    };
    Ok(Some((serde_json::from_slice(text)?, 4 + length)))
}

/// Sends without waiting and without SIGPIPE.
pub(crate) fn send_now(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    use rustix::net::{SendFlags, send};
    Ok(send(
        socket,
        bytes,
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )?)
}

/// Whether an error only means "not now".
pub(crate) fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
