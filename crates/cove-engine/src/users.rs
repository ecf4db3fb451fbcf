//! Who a program runs as: names looked up in the image's own files.
//!
//! The files come from the image, so they are read beneath its root, bounded,
//! and every number is checked (CVE-2024-40635: an overflowing id is not root).

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use oci_spec::runtime::{User, UserBuilder};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::{Error, Result};

/// Account files are small; a larger one is an attack or a mistake.
const MAX_FILE: u64 = 8 << 20;

/// A user, ready to run something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids, the primary one first among them.
    pub groups: Vec<u32>,
    /// The home directory, `/` when unknown.
    pub home: String,
}

impl Identity {
    /// The user of the runtime specification.
    #[must_use]
    pub fn to_oci(&self) -> User {
        let mut user = UserBuilder::default().uid(self.uid).gid(self.gid);
        if !self.groups.is_empty() {
            user = user.additional_gids(self.groups.clone());
        }
        // All fields have defaults, so building cannot fail.
        user.build().unwrap_or_default()
    }
}

/// The account files of an image.
#[derive(Debug, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads the files beneath the image's root. A missing one is empty.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read(root: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self {
            passwd: read(root, "etc/passwd")?,
            group: read(root, "etc/group")?,
        })
    }

    /// Looks up `user[:group]` as Docker does, and the supplementary groups
    /// the files and the caller give.
    ///
    /// # Errors
    /// With Docker's words when a name is unknown or a number out of range.
    pub fn identify(&self, user: &str, extra_groups: &[String]) -> Result<Identity> {
        let (user, group) = match user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (user, None),
        };
        let wanted = if user.is_empty() { "0" } else { user };
        let account = self.accounts().find(|account| account.matches(wanted));
        let uid = match &account {
            Some(account) => account.uid,
            None => number(wanted)?.ok_or_else(|| {
                Error::Invalid(format!(
                    "unable to find user {wanted}: no matching entries in passwd file"
                ))
            })?,
        };
        let mut identity = Identity {
            uid,
            gid: account.as_ref().map_or(0, |account| account.gid),
            groups: Vec::new(),
            home: account
                .as_ref()
                .map(|account| account.home)
                .filter(|home| !home.is_empty())
                .unwrap_or("/")
                .to_owned(),
        };
        match group.filter(|group| !group.is_empty()) {
            Some(group) => identity.gid = self.gid(group)?,
            // Membership counts only where no group was asked for, as with Docker.
            None => {
                if let Some(account) = &account {
                    identity.groups = self.memberships(account.name);
                }
            }
        }
        for group in extra_groups {
            identity.groups.push(self.gid(group)?);
        }
        // The primary group too, as with Docker: else a set-group-id program would shed it, and
        // with it what a file denies that group (CVE-2022-36109).
        identity.groups.insert(0, identity.gid);
        let mut seen = HashSet::new();
        identity.groups.retain(|gid| seen.insert(*gid));
        Ok(identity)
    }

    fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.passwd.lines().filter_map(Account::parse)
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
        })
    }

    fn gid(&self, wanted: &str) -> Result<u32> {
        if let Some((_, gid, _)) = self.groups().find(|(name, ..)| *name == wanted) {
            return Ok(gid);
        }
        number(wanted)?.ok_or_else(|| {
            Error::Invalid(format!(
                "unable to find group {wanted}: no matching entries in group file"
            ))
        })
    }

    fn memberships(&self, user: &str) -> Vec<u32> {
        self.groups()
            .filter(|(_, _, members)| members.split(',').any(|member| member == user))
            .map(|(_, gid, _)| gid)
            .collect()
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or_default(),
        })
    }

    fn matches(&self, wanted: &str) -> bool {
        self.name == wanted || wanted.parse() == Ok(self.uid)
    }
}

/// An id given as a number; `None` when the text is a name.
fn number(text: &str) -> Result<Option<u32>> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    // runc's bound: ids above it are negative in the kernel's signed uses.
    match text.parse::<u32>() {
        Ok(id) if id <= 0x7fff_ffff => Ok(Some(id)),
        _ => Err(Error::Invalid(format!(
            "uids and gids must be in range 0-2147483647: \"{text}\""
        ))),
    }
}

fn read(root: BorrowedFd<'_>, path: &'static str) -> Result<String> {
    let fail = |source: io::Error| Error::File {
        action: "read the image's",
        path: format!("/{path}").into(),
        source,
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(fail(errno.into())),
    };
    if !file.metadata().map_err(fail)?.is_file() {
        return Ok(String::new());
    }
    let bytes = cove_sys::fs::read_from(file, MAX_FILE).map_err(fail)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34::/srv:/bin/sh\n\
                     1234:x:7:8::/numeric:/bin/sh\nbare:x:50:51::\n"
                .to_owned(),
            group: "root:x:0:\nweb:x:34:\nssl:x:101:web,other\nlog:x:102:web\n".to_owned(),
        }
    }

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Identity {
        Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
        }
    }

    #[test]
    fn users_are_looked_up_as_docker_does() {
        for (user, extra, expected) in [
            ("", &[][..], identity(0, 0, &[0], "/root")),
            ("root", &[], identity(0, 0, &[0], "/root")),
            ("web", &[], identity(33, 34, &[34, 101, 102], "/srv")),
            ("33", &[], identity(33, 34, &[34, 101, 102], "/srv")),
            ("web:ssl", &[], identity(33, 101, &[101], "/srv")),
            ("web:5", &["log"], identity(33, 5, &[5, 102], "/srv")),
            ("web:5", &["5", "web"], identity(33, 5, &[5, 34], "/srv")),
            ("4000", &["9", "9"], identity(4000, 0, &[0, 9], "/")),
            ("1234", &[], identity(7, 8, &[8], "/numeric")),
            ("bare", &[], identity(50, 51, &[51], "/")),
        ] {
            let extra: Vec<String> = extra.iter().map(|&text: &&str| text.to_owned()).collect();
            assert_eq!(
                accounts().identify(user, &extra).unwrap(),
                expected,
                "{user}"
            );
        }
    }

    #[test]
    fn unknown_names_and_overflowing_numbers_are_refused() {
        for (user, word) in [
            ("nobody", "unable to find user nobody"),
            ("root:nogroup", "unable to find group nogroup"),
            ("4294967296", "in range"),
            ("2147483648", "in range"),
            ("0:18446744073709551616", "in range"),
            ("-1", "unable to find user -1"),
        ] {
            let error = accounts().identify(user, &[]).unwrap_err().to_string();
            assert!(error.contains(word), "{user}: {error}");
        }
    }

    #[test]
    fn files_are_read_beneath_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        // Absolute and climbing links stay inside; the host's file is not read.
        std::os::unix::fs::symlink("/etc/alt", root.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("../../../../etc/group", root.path().join("etc/group")).unwrap();
        std::fs::write(root.path().join("etc/alt"), "me:x:5:6::/me:").unwrap();
        let directory = std::fs::File::open(root.path()).unwrap();
        use std::os::fd::AsFd as _;
        let result = Accounts::read(directory.as_fd());
        // etc/group is a link to itself inside the root: an error, never the host's file.
        assert!(result.is_err());
        std::fs::remove_file(root.path().join("etc/group")).unwrap();
        let accounts = Accounts::read(directory.as_fd()).unwrap();
        assert_eq!(
            accounts.identify("me", &[]).unwrap(),
            identity(5, 6, &[6], "/me")
        );
    }
}
