//! Where `save` and `export` write their archive: a file of the user's, or a
//! standard output that is no terminal.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use cove_model::go;
use cove_sys::fs::Staged;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::copy::{check_output, missing_parent};
use crate::outcome::{Failure, Outcome};
use crate::output;

/// Lets `write` write an archive to `path`; without one, to standard output.
/// `what` is being done, for an error before it begins.
pub(crate) fn write_archive(
    path: &str,
    what: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Outcome {
    if path.is_empty() {
        if io::stdout().is_terminal() {
            return Err(Failure::plain(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        let mut out = io::stdout();
        write(&mut out)?;
        out.flush().map_err(|error| output::write_failure(&error))?;
        return Ok(0);
    }
    let early = |failure: Failure| failure.while_trying(&format!("failed to {what}"));
    if let Some(parent) = missing_parent(path) {
        let parent = parent.trim_end_matches('/');
        return Err(early(Failure::plain(format!(
            "invalid output path: stat {parent}: no such file or directory"
        ))));
    }
    check_output(path).map_err(early)?;
    let open = |error: io::Error| output::open_failure(path, &error);
    match rustix::fs::stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        // The file that a symbolic link leads to is replaced, not the link.
        Ok(FileType::RegularFile) => replace(&fs::canonicalize(path).map_err(open)?, write)?,
        Err(Errno::NOENT) => replace(Path::new(path), write)?,
        Err(errno) => return Err(open(errno.into())),
        // A FIFO has nothing that could be kept.
        Ok(_) => write(&mut File::options().write(true).open(path).map_err(open)?)?,
    }
    Ok(0)
}

/// Has the archive written to the disk of `path` and gives it its name when it is whole:
/// what is there stays until then, and for good when the writing fails or is killed.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let fail = |operation: &'static str| {
        move |error: io::Error| {
            Failure::plain(go::path_error(operation, &path.to_string_lossy(), &error))
        }
    };
    let name = path
        .file_name()
        .ok_or_else(|| fail("open")(Errno::ISDIR.into()))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let directory = File::open(parent).map_err(fail("open"))?;
    let staged = format!(".cove_temp_{}", std::process::id());
    let mut staged = Staged::new(directory.as_fd(), &staged).map_err(fail("open"))?;
    write(staged.file())?;
    staged.publish(name).map_err(fail("rename"))
}
