//! From the words of a command line to plain settings: the name we were
//! called by, where things are kept, which command is meant.

use std::cell::OnceCell;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cove_engine::{Engine, Images, Instances, Roots};
use cove_flags::{Offers, Stop, flags};

use crate::commands::tables::read;
use crate::outcome::Failure;

flags! {
    /// The flags before the command.
    pub(crate) struct GlobalFlags {
        root: Option<String> = string,
            "Directory of what lasts: images, containers (default \"/var/lib/cove\"; COVE_ROOT)",
            Offers::Directories;
        runroot: Option<String> = string,
            "Directory of what dies with a boot (default \"/run/cove\"; COVE_RUNROOT)",
            Offers::Directories;
        'v' version: bool = switch, "Print version information and quit";
    }
}

/// What every command is given.
pub(crate) struct Session {
    /// The name we were called by: `cove`, `docker`, `podman`.
    pub(crate) program: String,
    /// The whole words of the command, as `cove container run`.
    pub(crate) path: String,
    /// Where things are kept.
    pub(crate) roots: Roots,
    engine: OnceCell<Engine>,
}

impl Session {
    /// A session of the command `path`.
    pub(crate) fn new(program: &str, path: String, roots: Roots) -> Self {
        Self {
            program: program.to_owned(),
            path,
            roots,
            engine: OnceCell::new(),
        }
    }

    /// The engine, opened when it is first needed.
    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::open(self.roots.clone())?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// The engine's instances.
    pub(crate) fn instances(&self) -> Result<Instances<'_>, Failure> {
        Ok(self.engine()?.instances())
    }

    /// The engine's images.
    pub(crate) fn images(&self) -> Result<Images<'_>, Failure> {
        Ok(self.engine()?.images())
    }

    /// What an ordinary user is told whose list of `what` is empty, while the
    /// system has an installation of root's.
    pub(crate) fn roots_are_elsewhere(&self, what: &str) -> Option<String> {
        let uid = rustix::process::geteuid().as_raw();
        let own = default_roots(uid, |name| env::var_os(name));
        let system = default_roots(0, |_| None);
        let elsewhere = uid != 0 && self.roots.root == own.root && system.root.is_dir();
        elsewhere.then(|| {
            format!(
                "These are your own {what}; root's are listed by 'sudo {}'",
                self.path
            )
        })
    }
}

/// The name that messages carry: those of other engines' clients when we are
/// linked so, `cove` otherwise.
pub(crate) fn program_name(argv0: &str) -> &'static str {
    match Path::new(argv0).file_name().and_then(|name| name.to_str()) {
        Some("docker") => "docker",
        Some("podman") => "podman",
        _ => "cove",
    }
}

/// Reads the flags before the command, and gives what follows them.
pub(crate) fn global(words: &[String]) -> Result<(GlobalFlags, Vec<String>), Stop> {
    let mut flags = GlobalFlags::default();
    let rest = cove_flags::parse(&mut flags, false, words)?;
    Ok((flags, rest))
}

/// The directories: flags before environment before defaults.
pub(crate) fn roots(flags: &GlobalFlags) -> Result<Roots, Failure> {
    let uid = rustix::process::geteuid().as_raw();
    let default = default_roots(uid, |name| env::var_os(name));
    let choose = |given: &Option<String>, flag: &str, variable: &str, default: PathBuf| {
        let chosen = match given {
            Some(path) => Some(PathBuf::from(path)),
            None => env::var_os(variable)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        };
        match chosen {
            None => Ok(default),
            Some(path) if path.as_os_str().is_empty() => {
                Err(Failure::plain(format!("--{flag} must not be empty")).with_code(125))
            }
            Some(path) => std::path::absolute(&path).map_err(|error| {
                Failure::plain(format!("cannot use --{flag} {}: {error}", path.display()))
                    .with_code(125)
            }),
        }
    };
    Ok(Roots {
        root: choose(&flags.root, "root", "COVE_ROOT", default.root)?,
        runroot: choose(&flags.runroot, "runroot", "COVE_RUNROOT", default.runroot)?,
    })
}

/// The directories of a user whose environment is `variable`. The XDG specification has
/// relative paths ignored; a supervisor, which works in `/`, would find another place there.
fn default_roots(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Roots {
    let directory = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = directory("XDG_DATA_HOME")
        .or_else(|| directory("HOME").map(|home| home.join(".local/share")));
    Roots::default_for(
        uid,
        data.as_deref(),
        directory("XDG_RUNTIME_DIR").as_deref(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_answer_to_other_names() {
        for (argv0, name) in [
            ("/usr/bin/docker", "docker"),
            ("podman", "podman"),
            ("./cove", "cove"),
            ("x", "cove"),
            ("", "cove"),
        ] {
            assert_eq!(program_name(argv0), name);
        }
    }

    #[test]
    fn directories_come_from_flags_and_are_absolute() {
        let args = ["--root", "rel", "--runroot=/r", "ps", "--root", "/other"].map(str::to_owned);
        let (flags, rest) = global(&args).unwrap();
        assert_eq!(rest, ["ps", "--root", "/other"]);
        let roots = roots(&flags).unwrap();
        assert!(roots.root.is_absolute() && roots.root.ends_with("rel"));
        assert_eq!(roots.runroot, Path::new("/r"));
    }

    #[test]
    fn directories_of_the_environment_are_absolute_or_ignored() {
        for (data, home, runtime, roots) in [
            ("/d", "/h", "/r", ["/d/cove", "/r/cove"]),
            ("", "/h", "", ["/h/.local/share/cove", "/tmp/cove-7/cove"]),
            ("d", "/h", "r", ["/h/.local/share/cove", "/tmp/cove-7/cove"]),
            (
                "./d",
                "h",
                "../r",
                ["/var/tmp/cove-7/cove", "/tmp/cove-7/cove"],
            ),
            ("", "", "", ["/var/tmp/cove-7/cove", "/tmp/cove-7/cove"]),
        ] {
            let chosen = default_roots(7, |name| match name {
                "XDG_DATA_HOME" => Some(data.into()),
                "HOME" => Some(home.into()),
                "XDG_RUNTIME_DIR" => Some(runtime.into()),
                _ => None,
            });
            let roots = roots.map(PathBuf::from);
            assert_eq!(
                [chosen.root, chosen.runroot],
                roots,
                "{data:?} {home:?} {runtime:?}"
            );
        }
        let chosen = default_roots(7, |_| None);
        assert_eq!(chosen.root, Path::new("/var/tmp/cove-7/cove"));
        assert_eq!(chosen.runroot, Path::new("/tmp/cove-7/cove"));
    }
}
