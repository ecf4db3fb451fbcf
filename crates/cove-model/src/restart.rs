//! The restart policy of an instance, in Docker's grammar.

use std::fmt;
use std::str::FromStr;

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

/// Why a text is not a restart policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartPolicyError {
    /// None of the four names.
    #[error(
        "unknown restart policy {0:?}: use no, on-failure[:max-retries], always or unless-stopped"
    )]
    Unknown(String),
    /// The count after `on-failure:` is not a number.
    #[error("restart policy {0:?}: the maximum retry count must be a number that is not negative")]
    Count(String),
    /// The count after `on-failure:` is below 0.
    #[error("restart policy {0:?}: the maximum retry count cannot be negative")]
    Negative(String),
    /// A count without a policy.
    #[error("restart policy {0:?}: no policy before the colon")]
    NoPolicy(String),
    /// A count after a policy that takes none.
    #[error("restart policy {0:?}: a maximum retry count only goes with on-failure")]
    CountNotAllowed(String),
}

impl FromStr for RestartPolicy {
    type Err = RestartPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (text, None),
        };
        // An empty count is none, and 0 is "no limit", as with Docker.
        let count = match count.filter(|count| !count.is_empty()) {
            None => 0,
            Some(count) => count
                .parse::<i32>()
                .map_err(|_| RestartPolicyError::Count(text.to_owned()))?,
        };
        let plain = match name {
            "on-failure" => {
                let max = u32::try_from(count)
                    .map_err(|_| RestartPolicyError::Negative(text.to_owned()))?;
                return Ok(Self::OnFailure {
                    max: Some(max).filter(|max| *max > 0),
                });
            }
            "" if text.starts_with(':') => {
                return Err(RestartPolicyError::NoPolicy(text.to_owned()));
            }
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            _ => return Err(RestartPolicyError::Unknown(text.to_owned())),
        };
        if count != 0 {
            return Err(RestartPolicyError::CountNotAllowed(text.to_owned()));
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
    fn grammar() {
        for (text, policy) in [
            ("no", RestartPolicy::No),
            ("", RestartPolicy::No),
            ("always", RestartPolicy::Always),
            ("unless-stopped", RestartPolicy::UnlessStopped),
            ("on-failure", RestartPolicy::OnFailure { max: None }),
            ("on-failure:0", RestartPolicy::OnFailure { max: None }),
            ("on-failure:7", RestartPolicy::OnFailure { max: Some(7) }),
            ("on-failure:", RestartPolicy::OnFailure { max: None }),
            ("always:0", RestartPolicy::Always),
        ] {
            assert_eq!(text.parse(), Ok(policy), "{text}");
        }
        for bad in [
            "Always",
            ":3",
            "on-failure:-1",
            "on-failure:x",
            "always:3",
            "sometimes",
        ] {
            assert!(bad.parse::<RestartPolicy>().is_err(), "{bad}");
        }
        assert_eq!(
            RestartPolicy::OnFailure { max: Some(7) }.to_string(),
            "on-failure:7"
        );
    }
}
