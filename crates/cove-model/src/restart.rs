//! The restart policy of an instance, by Docker's names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What happens when an instance ends by itself.
///
/// An instance that a user stopped is never restarted by its policy. One that
/// only got a signal, which was not to end it, is restarted by `Always` and
/// not by `UnlessStopped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When the exit status is not 0, at most `max` times in a row (`None`: without limit).
    OnFailure {
        /// The most restarts in a row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u32>,
    },
    /// Whatever the exit status.
    Always,
    /// As `Always`, except for an instance that a user stopped or sent a signal.
    UnlessStopped,
}

/// Why a name and a count are no restart policy, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartPolicyError {
    /// None of the four names.
    #[error("invalid restart policy '{0}'")]
    Unknown(String),
    /// A count below 0.
    #[error("maximum retry count cannot be negative")]
    Negative,
    /// A count with a policy that takes none.
    #[error("maximum retry count cannot be used with restart policy '{0}'")]
    CountNotAllowed(String),
}

impl RestartPolicy {
    /// The policy of a name, for at most `max_retries` in a row; 0 is "no limit", as with Docker.
    ///
    /// # Errors
    /// When there is no such policy, or it takes no such count.
    pub fn new(name: &str, max_retries: i32) -> Result<Self, RestartPolicyError> {
        let plain = match name {
            "on-failure" => {
                let max = u32::try_from(max_retries).map_err(|_| RestartPolicyError::Negative)?;
                return Ok(Self::OnFailure {
                    max: Some(max).filter(|max| *max > 0),
                });
            }
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            _ => return Err(RestartPolicyError::Unknown(name.to_owned())),
        };
        if max_retries != 0 {
            return Err(RestartPolicyError::CountNotAllowed(name.to_owned()));
        }
        Ok(plain)
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure { max: None } => f.write_str("on-failure"),
            Self::OnFailure { max: Some(max) } => write!(f, "on-failure:{max}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts() {
        for (name, count, policy) in [
            ("no", 0, Ok(RestartPolicy::No)),
            ("", 0, Ok(RestartPolicy::No)),
            ("always", 0, Ok(RestartPolicy::Always)),
            ("unless-stopped", 0, Ok(RestartPolicy::UnlessStopped)),
            ("on-failure", 0, Ok(RestartPolicy::OnFailure { max: None })),
            (
                "on-failure",
                7,
                Ok(RestartPolicy::OnFailure { max: Some(7) }),
            ),
            ("Always", 0, Err("invalid restart policy 'Always'")),
            ("sometimes", 3, Err("invalid restart policy 'sometimes'")),
            (
                "on-failure",
                -1,
                Err("maximum retry count cannot be negative"),
            ),
            (
                "always",
                3,
                Err("maximum retry count cannot be used with restart policy 'always'"),
            ),
        ] {
            let made = RestartPolicy::new(name, count).map_err(|error| error.to_string());
            assert_eq!(made, policy.map_err(str::to_owned), "{name}:{count}");
        }
        assert_eq!(
            RestartPolicy::OnFailure { max: Some(7) }.to_string(),
            "on-failure:7"
        );
    }
}
