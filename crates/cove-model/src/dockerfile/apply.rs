//! What instructions make of a configuration.

use serde_json::{Map, Value};

use super::expand::{expand, expand_words};
use super::instruction::{CommandLine, Healthcheck, Instruction};
use super::lines::lines;
use super::{DockerfileError, ESCAPE};
use crate::image::{Empty, RunConfig};
use crate::{port, signal};

/// Instructions that change a configuration, all of them valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes(Vec<Instruction>);

impl Changes {
    /// Reads instructions, one or more in each text.
    ///
    /// # Errors
    /// When one is malformed, or changes no configuration.
    pub fn parse(texts: &[String]) -> Result<Self, DockerfileError> {
        if texts.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let lines = lines(&texts.join("\n"), ESCAPE);
        if lines.is_empty() {
            return Err(DockerfileError::Empty);
        }
        lines
            .iter()
            .map(Instruction::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Applies them in their order. Variables are those of the configuration,
    /// as the instructions before have left it.
    ///
    /// # Errors
    /// When a word cannot be expanded, or is not what it has to be.
    pub fn apply(&self, config: &mut RunConfig) -> Result<(), DockerfileError> {
        let mut has_cmd = false;
        for instruction in &self.0 {
            match instruction {
                // Arguments are for the program they were written for.
                Instruction::Entrypoint(line) => {
                    // An empty one takes the old one away.
                    let words = words(line, config);
                    config.entrypoint = Some(words).filter(|words| !words.is_empty());
                    if !has_cmd {
                        config.cmd = None;
                    }
                }
                Instruction::Cmd(line) => {
                    config.cmd = Some(words(line, config));
                    has_cmd = true;
                }
                other => one(other, config)?,
            }
        }
        Ok(())
    }
}

fn one(instruction: &Instruction, config: &mut RunConfig) -> Result<(), DockerfileError> {
    let env = config.env.clone();
    // The last of a name is the one that a program would see.
    let variable = |name: &str| {
        let mut pairs = env.iter().rev().filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.to_owned())
    };
    let expand = |word: &str| expand(word, ESCAPE, &variable);
    match instruction {
        Instruction::Cmd(_) | Instruction::Entrypoint(_) => {}
        Instruction::Env(pairs) => {
            for (name, value) in pairs {
                set_variable(&mut config.env, &expand(name)?, &expand(value)?);
            }
        }
        Instruction::Label(pairs) => {
            for (key, value) in pairs {
                config.labels.insert(expand(key)?, expand(value)?);
            }
        }
        Instruction::Expose(words) => {
            for word in words {
                for text in expand_words(word, ESCAPE, &variable)? {
                    let ports = port::exposed(&text).map_err(DockerfileError::Port)?;
                    config
                        .exposed_ports
                        .extend(ports.into_iter().map(|port| (port, Empty {})));
                }
            }
        }
        Instruction::Healthcheck(check) => config.healthcheck = Some(document(check)),
        Instruction::OnBuild(line) => config.on_build.get_or_insert_default().push(line.clone()),
        Instruction::StopSignal(word) => {
            let name = expand(word)?;
            if signal::parse(&name).is_none() {
                return Err(DockerfileError::Signal(name));
            }
            config.stop_signal = Some(name);
        }
        Instruction::User(word) => config.user = expand(word)?,
        Instruction::Volume(words) => {
            for word in words {
                let path = expand(word)?;
                if path.is_empty() {
                    return Err(DockerfileError::EmptyVolume);
                }
                config.volumes.insert(path, Empty {});
            }
        }
        Instruction::Workdir(word) => {
            config.working_dir = directory(&config.working_dir, &expand(word)?);
        }
    }
    Ok(())
}

/// A variable keeps its place.
fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let pair = format!("{name}={value}");
    let known = |old: &&mut String| old.split('=').next() == Some(name);
    match env.iter_mut().find(known) {
        Some(old) => *old = pair,
        None => env.push(pair),
    }
}

/// A directory, relative to the one before.
fn directory(before: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in before.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn words(line: &CommandLine, config: &RunConfig) -> Vec<String> {
    match line {
        CommandLine::Exec(words) => words.clone(),
        CommandLine::Shell(text) => {
            let mut words = config
                .shell
                .clone()
                .filter(|shell| !shell.is_empty())
                .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            words.push(text.clone());
            words
        }
    }
}

/// Docker's document of a health check.
fn document(check: &Healthcheck) -> Value {
    let (test, values) = match check {
        Healthcheck::None => (vec!["NONE".to_owned()], &[][..]),
        Healthcheck::Command { command, values } => {
            let (kind, words) = match command {
                CommandLine::Exec(words) => ("CMD", words.clone()),
                CommandLine::Shell(text) => ("CMD-SHELL", vec![text.clone()]),
            };
            let mut test = vec![kind.to_owned()];
            test.extend(words);
            (test, values.as_slice())
        }
    };
    let mut document = Map::new();
    document.insert("Test".to_owned(), test.into());
    for &(field, value) in values {
        document.insert(field.to_owned(), value.into());
    }
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<RunConfig, DockerfileError> {
        let mut config = RunConfig {
            env: vec!["A=1".to_owned(), "PATH=/usr/bin:/bin".to_owned()],
            cmd: Some(vec!["old".to_owned()]),
            ..RunConfig::default()
        };
        let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
        Changes::parse(&changes)?.apply(&mut config)?;
        Ok(config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = applied(&[
            "CMD [\"a\", \"b c\"]",
            "entrypoint run it",
            "ENV A=2 B=\"x y\" C=q\\ r D=$A",
            "ENV OLD old  \"form\" $A",
            "LABEL k='v $A' \"$A k\"=\"v $A\"",
            "EXPOSE 80 53/UDP 7000-7002/tcp 1:9",
            "USER $A:8",
            "WORKDIR /a",
            "WORKDIR b/../$A",
            "VOLUME [\"/v\", \"/w $A\"]",
            "VOLUME /x $A",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN --mount=type=cache x $A",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run it"]);
        assert_eq!(
            config.env,
            [
                "A=2",
                "PATH=/usr/bin:/bin",
                "B=x y",
                "C=q r",
                "D=1",
                "OLD=old  form 2"
            ]
        );
        assert_eq!(config.labels["k"], "v $A");
        assert_eq!(config.labels["2 k"], "v 2");
        let ports: Vec<&str> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(
            ports,
            [
                "53/udp", "7000/tcp", "7001/tcp", "7002/tcp", "80/tcp", "9/tcp"
            ]
        );
        assert_eq!(config.user, "2:8");
        assert_eq!(config.working_dir, "/a/2");
        let volumes: Vec<&str> = config.volumes.keys().map(String::as_str).collect();
        assert_eq!(volumes, ["/v", "/w 2", "/x", "2"]);
        assert_eq!(config.stop_signal.unwrap(), "SIGINT");
        assert_eq!(config.on_build.unwrap(), ["RUN --mount=type=cache x $A"]);
    }

    #[test]
    fn variables_are_the_images() {
        let path = applied(&["ENV PATH=/opt/bin:$PATH"]).unwrap().env;
        assert_eq!(path, ["A=1", "PATH=/opt/bin:/usr/bin:/bin"]);
        let ports = applied(&["ENV P=80 Q=81-82", "EXPOSE $P ${Q}/udp"]).unwrap();
        assert_eq!(ports.exposed_ports.len(), 3);
    }

    #[test]
    fn commands_have_two_forms() {
        for (change, cmd) in [
            ("CMD [\"a\"]", &["a"][..]),
            ("CMD []", &[]),
            ("CMD [\"a\"] b", &["a"]),
            ("CMD ['a']", &["/bin/sh", "-c", "['a']"]),
            ("CMD [\"a\"", &["/bin/sh", "-c", "[\"a\""]),
            ("CMD echo \"$A\"", &["/bin/sh", "-c", "echo \"$A\""]),
            ("cMd {\"a\":1}", &["/bin/sh", "-c", "{\"a\":1}"]),
        ] {
            assert_eq!(applied(&[change]).unwrap().cmd.unwrap(), cmd, "{change}");
        }
        // Another program does not get the arguments of the old one.
        assert_eq!(applied(&["ENTRYPOINT [\"x\"]"]).unwrap().cmd, None);
        assert_eq!(applied(&["ENTRYPOINT []"]).unwrap().entrypoint, None);
        let both = applied(&["CMD [\"y\"]", "ENTRYPOINT [\"x\"]"]).unwrap();
        assert_eq!(both.cmd.unwrap(), ["y"]);
    }

    #[test]
    fn health_is_checked_as_docker_writes_it() {
        for (change, document) in [
            ("HEALTHCHECK NONE", r#"{"Test":["NONE"]}"#),
            (
                "healthcheck cmd curl -f $A",
                r#"{"Test":["CMD-SHELL","curl -f $A"]}"#,
            ),
            (
                "HEALTHCHECK --interval=5m --timeout=3s --start-period=1s --start-interval=1ms --retries=2 CMD [\"a\",\"b\"]",
                r#"{"Test":["CMD","a","b"],"Interval":300000000000,"Timeout":3000000000,"StartPeriod":1000000000,"StartInterval":1000000,"Retries":2}"#,
            ),
            (
                "HEALTHCHECK --interval=0s CMD x",
                r#"{"Test":["CMD-SHELL","x"]}"#,
            ),
        ] {
            let check = applied(&[change]).unwrap().healthcheck.unwrap();
            assert_eq!(check.to_string(), document, "{change}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused_in_dockers_words() {
        for (bad, message) in [
            ("RUN x", "RUN is not a valid change command"),
            ("FROM y", "FROM is not a valid change command"),
            ("SHELL [\"x\"]", "SHELL is not a valid change command"),
            ("MAINTAINER me", "MAINTAINER is not a valid change command"),
            ("# nothing", "file with no instructions"),
            ("ENV", "ENV requires at least one argument"),
            ("USER", "USER requires exactly one argument"),
            ("ENV A", "ENV must have two arguments"),
            (
                "ENV A=1 B",
                "Syntax error - can't find = in \"B\". Must be of the form: name=value",
            ),
            ("ENV =1", "ENV names can not be blank"),
            ("LABEL =1", "LABEL names can not be blank"),
            (
                "CMD [1]",
                "when using JSON array syntax, arrays must be comprised of strings only",
            ),
            ("CMD --x y", "unknown flag: --x"),
            ("CMD --x", "unknown flag: --x"),
            ("USER --x", "unknown flag: --x"),
            ("EXPOSE x", "invalid containerPort: x"),
            ("EXPOSE 1/x", "invalid proto: x"),
            ("EXPOSE 9-8", "invalid containerPort: 9-8"),
            ("STOPSIGNAL X", "Invalid signal: X"),
            (
                "VOLUME [\"\"]",
                "VOLUME specified can not be an empty string",
            ),
            ("VOLUME []", "VOLUME requires at least one argument"),
            (
                "ONBUILD ONBUILD x",
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ),
            ("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger"),
            ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
            ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
            (
                "HEALTHCHECK CMD []",
                "Missing command after HEALTHCHECK CMD",
            ),
            (
                "HEALTHCHECK x",
                "Unknown type \"X\" in HEALTHCHECK (try CMD)",
            ),
            (
                "HEALTHCHECK --interval=1us CMD x",
                "Interval \"interval\" cannot be less than 1ms",
            ),
            (
                "HEALTHCHECK --interval=1 CMD x",
                "time: missing unit in duration \"1\"",
            ),
            (
                "HEALTHCHECK --retries=-1 CMD x",
                "--retries cannot be negative (-1)",
            ),
            ("HEALTHCHECK --foo=1 CMD x", "unknown flag: --foo"),
            (
                "HEALTHCHECK --retries=1 --retries=2 CMD x",
                "duplicate flag specified: --retries",
            ),
            (
                "HEALTHCHECK --retries CMD x",
                "missing a value on flag: --retries",
            ),
            (
                "ENV A=\"$B",
                "failed to process \"\\\"$B\": unexpected end of statement while looking for matching double-quote",
            ),
        ] {
            assert_eq!(applied(&[bad]).unwrap_err().to_string(), message, "{bad}");
        }
    }
}
