//! Reading the command line: the options before the command, and what the
//! commands share.

use std::ffi::OsString;
use std::path::PathBuf;

use cove_sandbox::CgroupManagerChoice;
use lexopt::Arg::{self, Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::failure::Failure;
use crate::log::{Format, Level, Log};

/// The options before the command.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) root: PathBuf,
    /// Whether the command line names it.
    pub(crate) custom_root: bool,
    /// What is read instead of a bundle's `config.json`.
    pub(crate) config: Option<PathBuf>,
    pub(crate) log: Log,
    pub(crate) cgroups: CgroupManagerChoice,
}

/// What the first part of the command line asks for.
pub(crate) enum Parsed {
    /// A command; its own arguments are still to be read.
    Command(Globals, String),
    /// Which version this is.
    Version,
    /// How the whole is used.
    Help,
}

/// Reads up to the command's name. `log` is where a mistake is reported, as
/// far as it is known by then.
pub(crate) fn globals(parser: &mut Parser, log: &mut Log) -> Result<Parsed, Failure> {
    let mut root: Option<PathBuf> = None;
    let (mut file, mut format) = (None::<PathBuf>, Format::Text);
    let (mut level, mut config) = (Level::Warning, None::<PathBuf>);
    let (mut cgroups, mut rootless) = (CgroupManagerChoice::Fs, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("root") => root = Some(parser.value()?.into()),
            Long("log") => {
                let path = PathBuf::from(parser.value()?);
                *log = Log::open(Some(&path), format, level)?;
                file = Some(path);
            }
            Long("log-format") => {
                format = match parser.value()?.string()?.as_str() {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    other => {
                        return Err(Failure::new(format!(
                            "unknown log format {other:?}: text or json"
                        )));
                    }
                };
                *log = Log::open(file.as_deref(), format, level)?;
            }
            Long("debug") => {
                if flag(parser)? {
                    level = Level::Debug;
                }
                *log = Log::open(file.as_deref(), format, level)?;
            }
            Long("log-level") => {
                level = Level::parse(&parser.value()?.string()?)?;
                *log = Log::open(file.as_deref(), format, level)?;
            }
            Long("config") => config = Some(parser.value()?.into()),
            Long("systemd-cgroup") => {
                if flag(parser)? {
                    cgroups = CgroupManagerChoice::Systemd;
                }
            }
            Long("cgroup-manager") => {
                cgroups = match parser.value()?.string()?.as_str() {
                    "cgroupfs" => CgroupManagerChoice::Fs,
                    "systemd" => CgroupManagerChoice::Systemd,
                    "disabled" => CgroupManagerChoice::None,
                    other => {
                        return Err(Failure::new(format!(
                            "unknown cgroup manager {other:?}: cgroupfs, systemd or disabled"
                        )));
                    }
                }
            }
            Long("rootless") => {
                rootless = match parser.value()?.string()?.as_str() {
                    "auto" => None,
                    "true" | "1" => Some(true),
                    "false" | "0" => Some(false),
                    other => {
                        return Err(Failure::new(format!(
                            "--rootless {other:?}: true, false or auto"
                        )));
                    }
                }
            }
            Long("version") | Short('v' | 'V') => return Ok(Parsed::Version),
            Long("help") | Short('h' | '?') => return Ok(Parsed::Help),
            Value(command) => {
                let user = rustix::process::geteuid();
                let rootless = rootless.unwrap_or(!user.is_root());
                let log = Log::open(file.as_deref(), format, level)?;
                let custom_root = root.is_some();
                let root = root.unwrap_or_else(|| default_root(rootless));
                let globals = Globals {
                    root,
                    custom_root,
                    config,
                    log,
                    cgroups,
                };
                return Ok(Parsed::Command(globals, command.string()?));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Parsed::Help)
}

/// A switch, on unless `=false` says otherwise.
pub(crate) fn flag(parser: &mut Parser) -> Result<bool, Failure> {
    match parser.optional_value() {
        None => Ok(true),
        Some(value) => match value.to_str() {
            // Go's words.
            Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Ok(true),
            Some("false" | "False" | "FALSE" | "f" | "F" | "0") => Ok(false),
            _ => Err(Failure::new(format!("{}: true or false", value.display()))),
        },
    }
}

/// The one argument of a command: a container.
pub(crate) fn only_id(parser: &mut Parser, command: &str) -> Result<String, Failure> {
    let mut id = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Value(value) if id.is_none() => id = Some(value.string()?),
            argument => return Err(other(argument)),
        }
    }
    required(id, command)
}

/// The answer to an argument that a command does not know.
pub(crate) fn other(argument: Arg<'_>) -> Failure {
    match argument {
        Long("help") | Short('h' | '?') => Failure::help(),
        argument => argument.unexpected().into(),
    }
}

/// The container, or what is missing.
pub(crate) fn required(id: Option<String>, command: &str) -> Result<String, Failure> {
    id.ok_or_else(|| Failure::new(format!("{command}: the container's id is missing")))
}

/// Every argument that is left, as it is.
pub(crate) fn rest(parser: &mut Parser) -> Result<Vec<OsString>, Failure> {
    let mut rest: Vec<OsString> = parser.raw_args()?.collect();
    // `exec id -- command`, as some write it.
    if rest.first().is_some_and(|first| first == "--") {
        rest.remove(0);
    }
    Ok(rest)
}

fn default_root(rootless: bool) -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| rootless && !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("cove/oci"),
        None => PathBuf::from("/run/cove/oci"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Parsed, Failure> {
        let mut parser = Parser::from_args(arguments);
        globals(&mut parser, &mut Log::stderr(Format::Text))
    }

    #[test]
    fn options_before_the_command() {
        let line = [
            "--root=/r",
            "--systemd-cgroup",
            "--rootless",
            "true",
            "state",
            "id",
        ];
        let Ok(Parsed::Command(globals, command)) = parse(&line) else {
            panic!()
        };
        assert_eq!(
            (globals.root, command.as_str()),
            (PathBuf::from("/r"), "state")
        );
        assert_eq!(globals.cgroups, CgroupManagerChoice::Systemd);
        let Ok(Parsed::Command(globals, _)) = parse(&["--cgroup-manager", "disabled", "list"])
        else {
            panic!()
        };
        assert_eq!(globals.cgroups, CgroupManagerChoice::None);
        for bad in [
            &["--no-such"][..],
            &["--log-format", "xml"],
            &["--cgroup-manager", "x"],
            &["--rootless", "x"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
