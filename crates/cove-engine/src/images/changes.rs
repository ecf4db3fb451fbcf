//! `--change`: instructions of a Dockerfile that alter an image's
//! configuration without a build.

use cove_model::dockerfile::Changes;
use cove_model::image::RunConfig;
use serde_json::Value;

use crate::error::{Error, Result};

/// The configuration that instructions make of `config`.
///
/// # Errors
/// When one is unknown or malformed.
pub(crate) fn apply(config: &mut RunConfig, changes: &[String]) -> Result<()> {
    Changes::parse(changes)
        .and_then(|changes| changes.apply(config))
        .map_err(Error::Change)
}

/// [`apply`] for an image of a container: what the instructions leave open is
/// the container's, as Docker commits it.
///
/// # Errors
/// Those of [`apply`].
pub(crate) fn apply_to_container(config: &mut RunConfig, changes: &[String]) -> Result<()> {
    let container = config.clone();
    apply(config, changes)?;
    let none = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if none(&config.entrypoint) && none(&config.cmd) {
        config.cmd = container.cmd;
    }
    if let (Some(Value::Object(check)), Some(Value::Object(old))) =
        (config.healthcheck.as_mut(), container.healthcheck)
    {
        for (field, value) in old {
            check.entry(field).or_insert(value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn committed(changes: &[&str]) -> RunConfig {
        let mut config = RunConfig {
            entrypoint: Some(vec!["old".to_owned()]),
            cmd: Some(vec!["argument".to_owned()]),
            healthcheck: Some(json!({"Test": ["CMD", "old"], "Timeout": 5})),
            ..RunConfig::default()
        };
        let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
        apply_to_container(&mut config, &changes).unwrap();
        config
    }

    #[test]
    fn what_is_left_open_is_the_containers() {
        let config = committed(&["HEALTHCHECK --interval=1ms CMD new"]);
        assert_eq!(
            config.healthcheck,
            Some(json!({"Test": ["CMD-SHELL", "new"], "Interval": 1_000_000, "Timeout": 5}))
        );
        assert_eq!(config.cmd.unwrap(), ["argument"]);
        assert_eq!(committed(&["ENTRYPOINT [\"new\"]"]).cmd, None);
        let without = committed(&["ENTRYPOINT []"]);
        assert_eq!(without.entrypoint, None);
        assert_eq!(without.cmd.unwrap(), ["argument"]);
    }
}
