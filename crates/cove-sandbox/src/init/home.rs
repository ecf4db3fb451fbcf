//! `HOME`, where the specification says nothing: dockerd leaves it to the runtime.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};

use super::path;

/// Longest file of accounts that is read.
const LIMIT: u64 = 4 << 20;

/// The environment with a home directory: its own, else the user's by the container's accounts.
pub(crate) fn with(env: &[CString], uid: u32) -> Vec<CString> {
    let is_home = |entry: &CString| entry.as_bytes().starts_with(b"HOME=");
    let mut env = env.to_vec();
    if env
        .iter()
        .any(|entry| is_home(entry) && entry.count_bytes() > "HOME=".len())
    {
        return env;
    }
    env.retain(|entry| !is_home(entry));
    let accounts = accounts().unwrap_or_default();
    let mut home = b"HOME=".to_vec();
    home.extend(of(&accounts, uid).unwrap_or(b"/"));
    env.extend(CString::new(home));
    env
}

/// `/etc/passwd` of the container, which may be anything.
fn accounts() -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = Path::new("etc/passwd");
    let file = path::open(root.as_fd(), file, flags, Mode::empty(), resolve)?;
    if path::kind(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    cove_sys::fs::read_from(File::from(file), LIMIT)
}

/// The sixth field of the user's line.
fn of(accounts: &[u8], uid: u32) -> Option<&[u8]> {
    let uid = uid.to_string();
    accounts.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let theirs = fields.next()? == uid.as_bytes();
        let home = fields.nth(2)?;
        (theirs && !home.is_empty()).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_an_account() {
        let accounts = b"root:x:0:0:root:/root:/bin/sh\n\nbad\n#c:x:5\nno:x:6:6::\n\
            one:x:1000:1000:,,:/home/one:/bin/sh\ntwo:x:1000:1:::\nlast:x:7:7::/l";
        for (uid, home) in [
            (0, Some("/root")),
            (5, None),
            (6, None),
            (1000, Some("/home/one")),
            (7, Some("/l")),
            (70, None),
        ] {
            assert_eq!(of(accounts, uid), home.map(str::as_bytes), "{uid}");
        }
    }

    #[test]
    fn a_home_that_is_given_stays() {
        let env = ["A=b", "HOME=/x"].map(|entry| CString::new(entry).unwrap());
        assert_eq!(with(&env, 0), env);
        let none = [c"HOME=".to_owned()];
        assert_eq!(with(&none, u32::MAX), [c"HOME=/".to_owned()]);
    }
}
