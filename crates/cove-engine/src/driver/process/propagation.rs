//! Bind mounts through which later mounts pass: the host's mount behind the
//! source must let them, else the flag would promise what nothing does.

use std::path::Path;

use cove_model::instance::{InstanceSpec, MountSource};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::error::{Error, Result};

const TABLE: &str = "/proc/self/mountinfo";
/// Bytes; a table of a million mounts has less.
const TABLE_LIMIT: u64 = 256 << 20;

/// Refuses a source that lies on a mount which does not propagate as asked.
///
/// # Errors
/// In Docker's words; when a source or the table of mounts cannot be read.
pub(super) fn check(spec: &InstanceSpec) -> Result<()> {
    for mount in &spec.mounts {
        let MountSource::Bind {
            path,
            propagation: Some(word),
            ..
        } = &mount.source
        else {
            continue;
        };
        if word.ends_with("private") {
            continue;
        }
        let broken = |action, path: &Path, source| Error::File {
            action,
            path: path.to_owned(),
            source,
        };
        let id = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)
            .map_err(|errno| broken("look at the bind source", path, errno.into()))?
            .stx_mnt_id;
        let table = cove_sys::fs::read(Path::new(TABLE), TABLE_LIMIT)
            .map_err(|source| broken("read", Path::new(TABLE), source))?;
        if let Some(refusal) = refusal(&String::from_utf8_lossy(&table), id, path, word) {
            return Err(Error::Invalid(refusal));
        }
    }
    Ok(())
}

/// What is wrong with a source on mount `id` of the table for `word`.
fn refusal(table: &str, id: u64, path: &Path, word: &str) -> Option<String> {
    let id = id.to_string();
    let line = table
        .lines()
        .find(|line| line.split(' ').next() == Some(&id));
    let mut fields = line.unwrap_or_default().split(' ').skip(4);
    let at = fields.next().unwrap_or("a place out of sight");
    let mut options = fields.skip(1).take_while(|field| *field != "-");
    let (wanted, fits) = if word.ends_with("shared") {
        ("shared", options.any(|o| o.starts_with("shared:")))
    } else {
        let fits = options.any(|o| o.starts_with("shared:") || o.starts_with("master:"));
        ("shared or slave", fits)
    };
    let path = path.display();
    (!fits).then(|| format!("path {path} is mounted on {at} but it is not a {wanted} mount"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mount_that_propagates_will_do() {
        let table = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                     22 21 0:20 / /p rw - tmpfs shared:9 rw\n\
                     23 21 0:21 / /s rw master:3 - tmpfs none rw\n";
        for (id, word, expected) in [
            (21, "shared", None),
            (21, "rslave", None),
            (22, "rshared", Some("/p but it is not a shared mount")),
            (
                22,
                "slave",
                Some("/p but it is not a shared or slave mount"),
            ),
            (23, "rslave", None),
            (23, "shared", Some("/s but it is not a shared mount")),
            (
                2,
                "shared",
                Some("a place out of sight but it is not a shared mount"),
            ),
        ] {
            let text = refusal(table, id, Path::new("/x"), word);
            let expected = expected.map(|end| format!("path /x is mounted on {end}"));
            assert_eq!(text, expected, "{id} {word}");
        }
    }
}
