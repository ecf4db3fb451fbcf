//! One instruction, parsed: what it says before its variables are known.

use super::lines::{Line, flags, words};
use super::{DockerfileError, ESCAPE};
use crate::go::quote;
use crate::{duration, go};

/// A program with its arguments, or a line for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A JSON list.
    Exec(Vec<String>),
    /// Anything else.
    Shell(String),
}

/// How health is checked; times in nanoseconds, 0 where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// Not at all, whatever the image says.
    None,
    /// By a command.
    Command {
        /// The command.
        command: CommandLine,
        /// The fields of Docker's document by name, those that are said.
        values: Vec<(&'static str, i64)>,
    },
}

/// An instruction that changes a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `CMD`.
    Cmd(CommandLine),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV`: names and values, not expanded.
    Env(Vec<(String, String)>),
    /// `EXPOSE`: words, not expanded.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`: keys and values, not expanded.
    Label(Vec<(String, String)>),
    /// `ONBUILD`: the instruction for a build on top.
    OnBuild(String),
    /// `STOPSIGNAL`, not expanded.
    StopSignal(String),
    /// `USER`, not expanded.
    User(String),
    /// `VOLUME`: paths, not expanded.
    Volume(Vec<String>),
    /// `WORKDIR`, not expanded.
    Workdir(String),
}

impl Instruction {
    /// Reads an instruction.
    ///
    /// # Errors
    /// When it is none that changes a configuration, or says nothing valid.
    pub fn parse(line: &Line) -> Result<Self, DockerfileError> {
        let (word, rest) = line.parts();
        let (given, text) = flags(rest, ESCAPE);
        let instruction = word.to_ascii_uppercase();
        if instruction == "HEALTHCHECK" {
            return healthcheck(text, &given).map(Self::Healthcheck);
        }
        if instruction == "ONBUILD" {
            // What follows it has flags of its own.
            return trigger(some(rest, "ONBUILD")?).map(Self::OnBuild);
        }
        let known = [
            "CMD",
            "ENTRYPOINT",
            "ENV",
            "LABEL",
            "EXPOSE",
            "USER",
            "WORKDIR",
            "STOPSIGNAL",
            "VOLUME",
        ];
        let Some(name) = known.into_iter().find(|name| *name == instruction) else {
            return Err(DockerfileError::NoChange(word.to_owned()));
        };
        if let Some(flag) = given.first() {
            return Err(unknown(flag));
        }
        if text.is_empty() {
            return Err(match name {
                "USER" | "WORKDIR" | "STOPSIGNAL" => DockerfileError::NotOneArgument(name),
                _ => DockerfileError::NoArgument(name),
            });
        }
        Ok(match name {
            "CMD" => Self::Cmd(command(text)?),
            "ENTRYPOINT" => Self::Entrypoint(command(text)?),
            "ENV" => Self::Env(pairs(text, name)?),
            "LABEL" => Self::Label(pairs(text, name)?),
            "EXPOSE" => Self::Expose(split(text)),
            "USER" => Self::User(text.to_owned()),
            "WORKDIR" => Self::Workdir(text.to_owned()),
            "STOPSIGNAL" => Self::StopSignal(text.to_owned()),
            _ => Self::Volume(volumes(text)?),
        })
    }
}

fn some<'a>(text: &'a str, instruction: &'static str) -> Result<&'a str, DockerfileError> {
    if text.is_empty() {
        return Err(DockerfileError::NoArgument(instruction));
    }
    Ok(text)
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn unknown(flag: &str) -> DockerfileError {
    let name = flag.trim_start_matches('-');
    DockerfileError::UnknownFlag(name.split('=').next().unwrap_or(name).to_owned())
}

/// A JSON list of texts, where the text begins with JSON at all; as in Docker,
/// what follows it is nobody's.
fn json(text: &str) -> Result<Option<Vec<String>>, DockerfileError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let Some(Ok(serde_json::Value::Array(list))) = values.next() else {
        return Ok(None);
    };
    let texts: Option<Vec<String>> = list
        .into_iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect();
    texts.map(Some).ok_or(DockerfileError::NotStrings)
}

fn command(text: &str) -> Result<CommandLine, DockerfileError> {
    Ok(match json(text)? {
        Some(words) => CommandLine::Exec(words),
        None => CommandLine::Shell(text.to_owned()),
    })
}

/// `KEY=value KEY2="two words"`, or the old form `KEY two words`.
fn pairs(text: &str, instruction: &'static str) -> Result<Vec<(String, String)>, DockerfileError> {
    let words = words(text, ESCAPE);
    let named = |key: &str, value: &str| {
        if key.is_empty() {
            return Err(DockerfileError::BlankName(instruction));
        }
        Ok((key.to_owned(), value.to_owned()))
    };
    if words.first().is_none_or(|first| !first.contains('=')) {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or(DockerfileError::NoValue(instruction))?;
        return Ok(vec![named(key, value.trim())?]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) => named(key, value),
            None => Err(DockerfileError::NoEquals(quote(word))),
        })
        .collect()
}

fn volumes(text: &str) -> Result<Vec<String>, DockerfileError> {
    let list = json(text)?.unwrap_or_else(|| split(text));
    if list.is_empty() {
        return Err(DockerfileError::NoArgument("VOLUME"));
    }
    if list.iter().any(|path| path.trim().is_empty()) {
        return Err(DockerfileError::EmptyVolume);
    }
    Ok(list.iter().map(|path| path.trim().to_owned()).collect())
}

fn trigger(text: &str) -> Result<String, DockerfileError> {
    let word = text.split_whitespace().next().unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err(DockerfileError::OnBuildOnBuild),
        word @ ("FROM" | "MAINTAINER") => Err(DockerfileError::OnBuild(word.to_owned())),
        _ => Ok(text.to_owned()),
    }
}

/// The times of a health check: as flags, and in Docker's document.
const TIMES: [(&str, &str); 4] = [
    ("interval", "Interval"),
    ("timeout", "Timeout"),
    ("start-period", "StartPeriod"),
    ("start-interval", "StartInterval"),
];
/// Docker's shortest time, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

fn healthcheck(text: &str, flags: &[String]) -> Result<Healthcheck, DockerfileError> {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match kind.to_ascii_uppercase().as_str() {
        "" => Err(DockerfileError::NoArgument("HEALTHCHECK")),
        "NONE" if !rest.is_empty() => Err(DockerfileError::HealthNone),
        "NONE" => match flags.first() {
            Some(flag) => Err(unknown(flag)),
            None => Ok(Healthcheck::None),
        },
        "CMD" => {
            let values = health_values(flags)?;
            if rest.is_empty() {
                return Err(DockerfileError::HealthCommand);
            }
            match command(rest)? {
                CommandLine::Exec(words) if words.is_empty() => Err(DockerfileError::HealthCommand),
                command => Ok(Healthcheck::Command { command, values }),
            }
        }
        other => Err(DockerfileError::HealthType(quote(other))),
    }
}

fn health_values(flags: &[String]) -> Result<Vec<(&'static str, i64)>, DockerfileError> {
    let mut values: Vec<(&'static str, i64)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for flag in flags {
        let (name, value) = match flag.trim_start_matches('-').split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag.trim_start_matches('-'), None),
        };
        let time = TIMES.iter().find(|(known, _)| *known == name);
        if time.is_none() && name != "retries" {
            return Err(unknown(flag));
        }
        if seen.contains(&name) {
            return Err(DockerfileError::DuplicateFlag(name.to_owned()));
        }
        seen.push(name);
        let value = value.ok_or_else(|| DockerfileError::FlagValue(name.to_owned()))?;
        if value.is_empty() {
            continue;
        }
        let (field, number) = match time {
            Some((_, field)) => (*field, health_time(name, value)?),
            None => ("Retries", retries(value)?),
        };
        if number != 0 {
            values.push((field, number));
        }
    }
    Ok(values)
}

fn health_time(name: &str, value: &str) -> Result<i64, DockerfileError> {
    let time = duration::parse(value).map_err(DockerfileError::HealthValue)?;
    if time != 0 && time < SHORTEST {
        return Err(DockerfileError::HealthInterval(quote(name)));
    }
    Ok(time)
}

fn retries(value: &str) -> Result<i64, DockerfileError> {
    let number = go::parse_decimal_int(value).map_err(DockerfileError::HealthValue)?;
    if number < 0 {
        return Err(DockerfileError::HealthValue(format!(
            "--retries cannot be negative ({number})"
        )));
    }
    if i32::try_from(number).is_err() {
        return Err(DockerfileError::HealthValue(format!(
            "strconv.ParseInt: parsing {}: value out of range",
            quote(value)
        )));
    }
    Ok(number)
}
