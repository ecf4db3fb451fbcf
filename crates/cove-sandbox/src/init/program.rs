//! Finding and executing the user's program, with failures in the words Docker derives its exit
//! codes from.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::fail::{Step, reason};
use crate::error::InitFault;
use crate::protocol::Failure;

/// What is searched when the environment has no `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file that `name` means: itself if it has a slash, else the first executable on the `PATH`
/// of the container's own environment. Checked with the identity of the process.
pub(crate) fn find(name: &CString, env: &[CString]) -> Step<CString> {
    let bytes = name.as_bytes();
    if bytes.contains(&b'/') {
        let path = Path::new(OsStr::from_bytes(bytes));
        return match check(path) {
            Ok(()) => Ok(name.clone()),
            Err(error) => Err(failed(path, Some("stat"), &error)),
        };
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let mut refused = None;
    for directory in path.unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':') {
        let directory = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        let file: PathBuf = Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(bytes));
        match check(&file) {
            Ok(()) => {
                return CString::new(file.as_os_str().as_bytes())
                    .map_err(|error| failed(&file, None, &error.into()));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = Some(error),
            Err(_) => {}
        }
    }
    let shown = Path::new(OsStr::from_bytes(bytes));
    match refused {
        Some(error) if !bytes.is_empty() => Err(failed(shown, None, &error)),
        _ => Err(Failure {
            fault: InitFault::NotFound,
            message: format!("exec: {shown:?}: executable file not found in $PATH"),
            errno: Some(libc::ENOENT),
        }),
    }
}

fn check(path: &Path) -> io::Result<()> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).or_else(|error| {
        // Kernels before 5.8 lack the flag; then execve has the last word.
        if error == Errno::NOSYS || error == Errno::INVAL {
            Ok(())
        } else {
            Err(error)
        }
    })?;
    Ok(())
}

/// Executes it; returns only the failure.
pub(crate) fn execute(file: &CString, args: &[CString], env: &[CString]) -> Failure {
    cove_sys::exec::reset_signals();
    let error = cove_sys::exec::execve(file, args, env);
    let path = Path::new(OsStr::from_bytes(file.as_bytes()));
    let mut failure = failed(path, None, &error);
    if failure.fault != InitFault::NotExecutable {
        // The file was there a moment ago: what is missing is its interpreter or loader.
        failure.message = format!("exec {}: {}", path.display(), reason(&error));
    }
    failure
}

fn failed(path: &Path, call: Option<&str>, error: &io::Error) -> Failure {
    let errno = error.raw_os_error();
    let missing = matches!(errno, Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP));
    let words = match (call, missing) {
        (Some(call), true) => format!("{call} {}: {}", path.display(), reason(error)),
        _ => reason(error),
    };
    Failure {
        fault: if missing {
            InitFault::NotFound
        } else {
            InitFault::NotExecutable
        },
        message: format!("exec: {path:?}: {words}"),
        errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn words_and_faults() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "x").unwrap();
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
        let d = dir.path().display();
        let env = [CString::new(format!("PATH=/nonexistent:{d}")).unwrap()];
        for (name, fault, words) in [
            (
                "foo".to_owned(),
                InitFault::NotFound,
                "exec: \"foo\": executable file not found in $PATH".to_owned(),
            ),
            (
                String::new(),
                InitFault::NotFound,
                "exec: \"\": executable file not found in $PATH".to_owned(),
            ),
            (
                "plain".to_owned(),
                InitFault::NotExecutable,
                "exec: \"plain\": permission denied".to_owned(),
            ),
            (
                format!("{d}/plain"),
                InitFault::NotExecutable,
                format!("exec: \"{d}/plain\": permission denied"),
            ),
            (
                format!("{d}/none"),
                InitFault::NotFound,
                format!("exec: \"{d}/none\": stat {d}/none: no such file or directory"),
            ),
            (
                format!("{d}"),
                InitFault::NotExecutable,
                format!("exec: \"{d}\": is a directory"),
            ),
        ] {
            let failure = find(&CString::new(name).unwrap(), &env).unwrap_err();
            assert_eq!((failure.fault, failure.message), (fault, words));
        }
    }
}
