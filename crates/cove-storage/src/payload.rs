//! Writes a member's payload where it belongs in a file.

use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{At, Result, Step};
use crate::tar::reader::TarReader;
use crate::tar::{Entry, Segment};

/// Takes the current payload of `reader`, which is that of `entry`, into the
/// new file `fd`, holes included. `what` names the file in errors.
pub(crate) fn write<R: BufRead, W: Write>(
    reader: &mut TarReader<R, W>,
    entry: &Entry,
    fd: &OwnedFd,
    what: impl Fn() -> PathBuf,
) -> Result<()> {
    let whole = [Segment {
        offset: 0,
        length: reader.payload_len(),
    }];
    let mut runs = entry.sparse.as_deref().unwrap_or(&whole).iter().copied();
    let mut run = Segment {
        offset: 0,
        length: 0,
    };
    reader.payload(|mut bytes| {
        while !bytes.is_empty() {
            while run.length == 0 {
                // The map was checked to be as long as the payload.
                let Some(next) = runs.next() else {
                    return Ok(());
                };
                run = next;
            }
            let count = usize::try_from(run.length).map_or(bytes.len(), |n| n.min(bytes.len()));
            let written = match rustix::io::pwrite(fd, &bytes[..count], run.offset) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.at(Step::Write, what())?,
            };
            run.offset += written as u64;
            run.length -= written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    })?;
    if entry.sparse.is_some() {
        rustix::fs::ftruncate(fd, entry.size).at(Step::Write, what())?;
    }
    Ok(())
}
