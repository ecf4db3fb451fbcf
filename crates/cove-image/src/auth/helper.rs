//! Runs `docker-credential-<name>`, the protocol of Docker's credential helpers.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cove_model::nullable;
use serde::{Deserialize, Serialize};

use super::document::basic;
use super::{Credential, Secret};

/// The longest answer that is read.
const ANSWER_LIMIT: u64 = 64 << 10;

/// Why a helper is of no help.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The name could be a path or an option.
    #[error("invalid helper name")]
    Name,
    /// There is no such program. Docker's words.
    #[error("exec: \"{0}\": executable file not found in $PATH")]
    NotFound(String),
    /// The program cannot be run or talked to.
    #[error("cannot run the helper")]
    Run(#[source] io::Error),
    /// The program says no.
    #[error("{0}")]
    Failed(String),
    /// The program's answer is not understood.
    #[error("invalid answer")]
    Answer(#[source] serde_json::Error),
    /// A bearer token is nothing that helpers keep.
    #[error("a registry token cannot be kept by a helper")]
    Unsupported,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// A helper's name and where programs are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Helper<'a> {
    pub(super) name: &'a str,
    pub(super) path: Option<&'a OsStr>,
}

/// Asks for a credential; `None` when the helper has none.
pub(super) fn get(helper: Helper<'_>, server: &str) -> Result<Option<Credential>, HelperError> {
    let answer = match run(helper, "get", server) {
        Err(HelperError::Failed(said)) if said.contains("credentials not found") => {
            return Ok(None);
        }
        answer => answer?,
    };
    let entry: Entry = nullable::from_slice(answer.as_bytes()).map_err(HelperError::Answer)?;
    let empty = entry.username.is_empty() && entry.secret.is_empty();
    Ok((!empty).then(|| basic(&entry.username, &entry.secret)))
}

/// Hands a credential over.
pub(super) fn store(
    helper: Helper<'_>,
    server: &str,
    credential: &Credential,
) -> Result<(), HelperError> {
    let (username, secret) = match credential {
        Credential::Basic { username, password } => (username.as_str(), password),
        Credential::IdentityToken(token) => ("<token>", token),
        Credential::RegistryToken(_) => return Err(HelperError::Unsupported),
    };
    let entry = Entry {
        server_url: server.to_owned(),
        username: username.to_owned(),
        secret: Secret::reveal(secret).to_owned(),
    };
    let input = serde_json::to_string(&entry).map_err(HelperError::Answer)?;
    run(helper, "store", &input).map(drop)
}

/// Has a credential forgotten.
pub(super) fn erase(helper: Helper<'_>, server: &str) -> Result<(), HelperError> {
    run(helper, "erase", server).map(drop)
}

fn run(helper: Helper<'_>, action: &str, input: &str) -> Result<String, HelperError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if helper.name.is_empty() || !helper.name.bytes().all(plain) {
        return Err(HelperError::Name);
    }
    let program = find(helper)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a credential helper is a program by definition"
    )]
    let mut child = Command::new(program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(HelperError::Run)?;
    // A helper that does not read its input says why by its status.
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let mut output = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |pipe| {
        pipe.take(ANSWER_LIMIT).read_to_end(&mut output)
    });
    let status = child.wait().map_err(HelperError::Run)?;
    let output = String::from_utf8_lossy(&output).trim().to_owned();
    if !status.success() {
        return Err(HelperError::Failed(if output.is_empty() {
            status.to_string()
        } else {
            output
        }));
    }
    written.map_err(HelperError::Run)?;
    read.map_err(HelperError::Run)?;
    Ok(output)
}

/// Empty and relative entries are left out: the working directory is not ours.
fn find(helper: Helper<'_>) -> Result<PathBuf, HelperError> {
    let program = format!("docker-credential-{}", helper.name);
    let directories = std::env::split_paths(helper.path.unwrap_or_default());
    let found = directories
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(&program))
        .find(|path| path.is_file());
    found.ok_or(HelperError::NotFound(program))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_plain_names_are_run() {
        let helper = |name| Helper {
            name,
            path: Some(OsStr::new("/usr/bin")),
        };
        for bad in ["", "../x", "a/b", "a b", "x;y"] {
            assert!(
                matches!(get(helper(bad), "s"), Err(HelperError::Name)),
                "{bad}"
            );
        }
        assert!(matches!(
            get(helper("cove-absent"), "s"),
            Err(HelperError::NotFound(_))
        ));
    }

    #[test]
    fn a_helper_is_spoken_to_by_the_protocol() {
        let root = tempfile::tempdir().unwrap();
        let script = format!(
            "#!/bin/sh\nin=$(cat)\ncd {}\ncase $1 in\n\
             store) printf %s \"$in\" > kept ;;\n\
             erase) rm kept; printf %s \"$in\" > erased ;;\n\
             get) cat kept 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }} ;;\n\
             esac\n",
            root.path().display()
        );
        let path = root.path().join("docker-credential-fake");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let helper = Helper {
            name: "fake",
            path: Some(root.path().as_os_str()),
        };
        for credential in [basic("me", "p\"w"), basic("<token>", "identity")] {
            assert_eq!(get(helper, "a.b").unwrap(), None);
            store(helper, "a.b", &credential).unwrap();
            assert_eq!(get(helper, "a.b").unwrap(), Some(credential));
            erase(helper, "a.b").unwrap();
            let erased = crate::files::read(&root.path().join("erased")).unwrap();
            assert_eq!(erased.as_deref(), Some("a.b"));
        }
    }

    #[test]
    fn null_is_as_if_absent() {
        let entry = serde_json::json!({"ServerURL": "s", "Username": "u", "Secret": "p"});
        let read = |value| {
            let entry: Entry = nullable::from_value(value).unwrap();
            (entry.server_url, entry.username, entry.secret)
        };
        for pair in testkit::nulls::pairs(&entry, &[]) {
            assert_eq!(read(pair.null), read(pair.absent), "{}", pair.path);
        }
    }
}
