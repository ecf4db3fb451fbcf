//! Reading the command line: the options before the command, and what the
//! commands share.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use cove_flags::{Flag, Flags, Offers, Stop, Table, Takes};
use cove_sandbox::CgroupManagerChoice;

use crate::failure::Failure;
use crate::log::{Format, Level, Log};
use crate::read;

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
    /// A command; its own words are still to be read.
    Command(Globals, String, Vec<OsString>),
    /// Which version this is.
    Version,
    /// How the whole is used.
    Help,
}

/// Reads up to the command's name. `log` is where a mistake is reported, as
/// far as it is known by then.
pub(crate) fn globals(words: &[OsString], log: &mut Log) -> Result<Parsed, Failure> {
    let mut options = Options {
        log,
        file: None,
        format: Format::Text,
        level: Level::Warning,
        root: None,
        config: None,
        cgroups: CgroupManagerChoice::Fs,
        rootless: None,
        version: false,
    };
    let parsed = cove_flags::parse(&mut options, false, words);
    if options.version {
        return Ok(Parsed::Version);
    }
    let words = match parsed {
        Ok(words) => words,
        Err(Stop::Help | Stop::UnknownShort { letter: '?', .. }) => return Ok(Parsed::Help),
        Err(stop) => return Err(stop.into()),
    };
    let Some((command, words)) = words.split_first() else {
        return Ok(Parsed::Help);
    };
    let user = rustix::process::geteuid();
    let rootless = options.rootless.unwrap_or(!user.is_root());
    let globals = Globals {
        custom_root: options.root.is_some(),
        root: options.root.unwrap_or_else(|| default_root(rootless)),
        config: options.config,
        log: Log::open(options.file.as_deref(), options.format, options.level)?,
        cgroups: options.cgroups,
    };
    Ok(Parsed::Command(globals, text(command)?, words.to_vec()))
}

/// The options before the command as they are met: the last of several that mean
/// the same counts, and the log is there for the mistakes that follow.
struct Options<'a> {
    log: &'a mut Log,
    file: Option<PathBuf>,
    format: Format,
    level: Level,
    root: Option<PathBuf>,
    config: Option<PathBuf>,
    cgroups: CgroupManagerChoice,
    rootless: Option<bool>,
    version: bool,
}

const fn option(short: char, long: &'static str, takes: Takes) -> Flag {
    Flag {
        short,
        long,
        takes,
        help: "",
        offers: Offers::Nothing,
    }
}

const VALUE: Takes = Takes::Value("");

const OPTIONS: &Table = &Table {
    own: &[
        option('\0', "root", VALUE),
        option('\0', "log", VALUE),
        option('\0', "log-format", VALUE),
        option('\0', "debug", Takes::Switch),
        option('\0', "log-level", VALUE),
        option('\0', "config", VALUE),
        option('\0', "systemd-cgroup", Takes::Switch),
        option('\0', "cgroup-manager", VALUE),
        option('\0', "rootless", VALUE),
        option('v', "version", Takes::Switch),
        option('V', "version", Takes::Switch),
    ],
    groups: &[],
};

impl Flags for Options<'_> {
    fn table(&self) -> &'static Table {
        OPTIONS
    }

    fn set(&mut self, option: &str, value: &OsStr) -> Result<bool, String> {
        let text = || value.to_str().ok_or_else(|| invalid(value));
        match option {
            "root" => self.root = Some(value.into()),
            "config" => self.config = Some(value.into()),
            "log" => self.file = Some(value.into()),
            "log-format" => {
                self.format = match text()? {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    other => return Err(format!("unknown log format {other:?}: text or json")),
                }
            }
            "debug" => {
                if read::switch(value)? {
                    self.level = Level::Debug;
                }
            }
            "log-level" => self.level = Level::parse(text()?).map_err(|failure| failure.message)?,
            "systemd-cgroup" => {
                if read::switch(value)? {
                    self.cgroups = CgroupManagerChoice::Systemd;
                }
            }
            "cgroup-manager" => {
                self.cgroups = match text()? {
                    "cgroupfs" => CgroupManagerChoice::Fs,
                    "systemd" => CgroupManagerChoice::Systemd,
                    "disabled" => CgroupManagerChoice::None,
                    other => {
                        return Err(format!(
                            "unknown cgroup manager {other:?}: cgroupfs, systemd or disabled"
                        ));
                    }
                }
            }
            "rootless" => {
                self.rootless = match text()? {
                    "auto" => None,
                    "true" | "1" => Some(true),
                    "false" | "0" => Some(false),
                    other => return Err(format!("--rootless {other:?}: true, false or auto")),
                }
            }
            "version" => self.version = true,
            _ => return Ok(false),
        }
        if matches!(option, "log" | "log-format" | "debug" | "log-level") {
            *self.log = Log::open(self.file.as_deref(), self.format, self.level)
                .map_err(|failure| failure.message)?;
        }
        Ok(true)
    }
}

fn invalid(value: &OsStr) -> String {
    format!("argument is invalid unicode: {value:?}")
}

fn text(word: &OsStr) -> Result<String, Failure> {
    word.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(invalid(word)))
}

/// The options of a command and its arguments, which are `most` and no more.
pub(crate) fn arguments<F: Flags + Default>(
    words: &[OsString],
    most: usize,
) -> Result<(F, Vec<String>), Failure> {
    let mut flags = F::default();
    let args = cove_flags::parse(&mut flags, true, words)?;
    if let Some(other) = args.get(most) {
        return Err(Failure::new(format!("unexpected argument {other:?}")));
    }
    let args = args.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?;
    Ok((flags, args))
}

/// The options of a command and its one argument, a container.
pub(crate) fn container<F: Flags + Default>(
    words: &[OsString],
    command: &str,
) -> Result<(F, String), Failure> {
    let (flags, args) = arguments(words, 1)?;
    Ok((flags, required(args.into_iter().next(), command)?))
}

/// The options of a command, a container, and every word behind it as it is.
pub(crate) fn container_and_rest<F: Flags + Default>(
    words: &[OsString],
    command: &str,
) -> Result<(F, String, Vec<OsString>), Failure> {
    let mut flags = F::default();
    let args = cove_flags::parse(&mut flags, false, words)?;
    let (id, mut rest) = match args.split_first() {
        Some((id, rest)) => (Some(text(id)?), rest),
        None => (None, &[] as &[OsString]),
    };
    // `exec id -- command`, as some write it.
    if let Some((first, words)) = rest.split_first()
        && first == "--"
    {
        rest = words;
    }
    Ok((flags, required(id, command)?, rest.to_vec()))
}

/// The container, or what is missing.
pub(crate) fn required(id: Option<String>, command: &str) -> Result<String, Failure> {
    id.ok_or_else(|| Failure::new(format!("{command}: the container's id is missing")))
}

cove_flags::flags! {
    /// What a command takes that has no options.
    pub(crate) struct NoOptions {}
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
        let words: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        globals(&words, &mut Log::stderr(Format::Text))
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
        let Ok(Parsed::Command(globals, command, words)) = parse(&line) else {
            panic!()
        };
        assert_eq!(
            (globals.root, command.as_str()),
            (PathBuf::from("/r"), "state")
        );
        assert_eq!(words, ["id"]);
        assert_eq!(globals.cgroups, CgroupManagerChoice::Systemd);
        let Ok(Parsed::Command(globals, ..)) = parse(&["--cgroup-manager", "disabled", "list"])
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

    #[test]
    fn letters_may_stand_together() {
        let words = ["-rf", "id"].map(OsString::from);
        let (flags, id) = container::<crate::lifecycle::DeleteFlags>(&words, "delete").unwrap();
        assert!(flags.regex && flags.force);
        assert_eq!(id, "id");
    }
}
