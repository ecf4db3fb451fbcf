//! `--change`: instructions of a Dockerfile that alter an image's
//! configuration without a build.

use cove_model::image::{Empty, RunConfig};

use crate::error::{Error, Result};

/// Applies instructions in their order.
///
/// # Errors
/// When one is unknown or malformed.
pub(crate) fn apply(config: &mut RunConfig, changes: &[String]) -> Result<()> {
    for change in changes {
        let change = change.trim();
        let (word, rest) = match change.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (change, ""),
        };
        let instruction = word.to_uppercase();
        if rest.is_empty() {
            return Err(Error::Invalid(format!(
                "{instruction} requires at least one argument"
            )));
        }
        one(config, &instruction, rest)?;
    }
    Ok(())
}

fn one(config: &mut RunConfig, instruction: &str, rest: &str) -> Result<()> {
    match instruction {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            for (key, value) in pairs(rest)? {
                config
                    .env
                    .retain(|old| old.split_once('=').is_none_or(|(name, _)| name != key));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest)?),
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                if number.parse::<u16>().is_err() || !matches!(protocol, "tcp" | "udp" | "sctp") {
                    return Err(Error::Invalid(format!("invalid containerPort: {port}")));
                }
                config
                    .exposed_ports
                    .insert(format!("{number}/{protocol}"), Empty {});
            }
        }
        "USER" => rest.clone_into(&mut config.user),
        "WORKDIR" => {
            config.working_dir = if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("{}/{rest}", config.working_dir.trim_end_matches('/'))
            };
        }
        "VOLUME" => {
            let list = json_list(rest)
                .unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            config
                .volumes
                .extend(list.into_iter().map(|path| (path, Empty {})));
        }
        "STOPSIGNAL" => {
            crate::signals::parse(rest)?;
            config.stop_signal = Some(rest.to_owned());
        }
        "ONBUILD" => config
            .on_build
            .get_or_insert_default()
            .push(rest.to_owned()),
        other => {
            return Err(Error::Invalid(format!(
                "{other} is not a valid change command"
            )));
        }
    }
    Ok(())
}

/// The JSON form as it is, anything else through a shell.
fn command(text: &str) -> Vec<String> {
    json_list(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// `KEY=value KEY2="two words"`, or the old form `KEY two words`.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let words = words(text);
    let first = words.first().map_or("", String::as_str);
    if !first.contains('=') {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::Invalid(format!("{text} must have two arguments")))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::Invalid(format!(
                "Syntax error - can't find = in \"{word}\". Must be of the form: name=value"
            ))),
        })
        .collect()
}

/// Words in a shell's sense: quotes group, a backslash escapes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut started = false;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                word.extend(characters.next());
                started = true;
            }
            ('"' | '\'', None) => {
                quote = Some(character);
                started = true;
            }
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => {
                if started {
                    words.push(std::mem::take(&mut word));
                    started = false;
                }
            }
            (c, _) => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<RunConfig> {
        let mut config = RunConfig {
            env: vec!["A=1".to_owned()],
            ..RunConfig::default()
        };
        let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
        apply(&mut config, &changes)?;
        Ok(config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = applied(&[
            "CMD [\"a\", \"b c\"]",
            "entrypoint run it",
            "ENV A=2 B=\"x y\" C=q\\ r",
            "ENV OLD old form",
            "LABEL k='v w'",
            "EXPOSE 80 53/udp",
            "USER 7:8",
            "WORKDIR /a",
            "WORKDIR b",
            "VOLUME [\"/v\"]",
            "STOPSIGNAL SIGINT",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run it"]);
        assert_eq!(config.env, ["A=2", "B=x y", "C=q r", "OLD=old form"]);
        assert_eq!(config.labels["k"], "v w");
        assert!(config.exposed_ports.contains_key("53/udp"));
        assert_eq!(config.user, "7:8");
        assert_eq!(config.working_dir, "/a/b");
        assert!(config.volumes.contains_key("/v"));
        assert_eq!(config.stop_signal.unwrap(), "SIGINT");
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for bad in [
            "RUN x",
            "FROM y",
            "CMD",
            "EXPOSE x",
            "EXPOSE 1/x",
            "ENV A=1 B",
            "STOPSIGNAL X",
        ] {
            assert!(applied(&[bad]).is_err(), "{bad}");
        }
    }
}
