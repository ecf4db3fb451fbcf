//! `login` and `logout`.

use std::io;

use cove_model::go;

use super::tables::NoFlags;
use super::tables::image::LoginFlags;
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::{output, terminal};

/// Checks a user's password with a registry and keeps it.
pub(crate) fn login(session: &Session, flags: &LoginFlags, args: &[String]) -> Outcome {
    let server = args.first().map(String::as_str);
    let given = flags.password.as_ref();
    let piped = flags.password_stdin;
    if given.is_some() && piped {
        return Err(Failure::plain(
            "conflicting options: cannot specify both --password and --password-stdin",
        ));
    }
    let unreadable =
        |error: io::Error| Failure::plain(format!("read /dev/stdin: {}", go::io_error(&error)));
    if given.is_some() {
        output::note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let user = match flags.username.as_str() {
        "" if piped => {
            return Err(Failure::plain(
                "the --password-stdin option requires --username to be set",
            ));
        }
        "" => {
            interactive()?;
            output::text("Username: ")?;
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(unreadable)?;
            match line.trim() {
                "" => return Err(Failure::error("Non-null Username Required")),
                name => name.to_owned(),
            }
        }
        name => name.to_owned(),
    };
    let password = match given {
        Some(password) => password.to_owned(),
        None if piped => terminal::pipe_secret().map_err(unreadable)?,
        None => {
            interactive()?;
            output::text("Password: ")?;
            let secret = terminal::read_secret().map_err(unreadable)?;
            output::line("")?;
            secret
        }
    };
    if password.is_empty() {
        return Err(Failure::error("Password Required"));
    }
    let path = session.images()?.login(server, &user, &password)?;
    output::note(&format!(
        "WARNING! Your credentials are stored unencrypted in '{path}'."
    ));
    output::line("Login Succeeded")?;
    Ok(0)
}

fn interactive() -> Result<(), Failure> {
    if terminal::stdin_is_terminal() {
        return Ok(());
    }
    Err(Failure::error(
        "Cannot perform an interactive login from a non TTY device",
    ))
}

/// Forgets a user's password for a registry.
pub(crate) fn logout(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    let server = args.first().map(String::as_str);
    output::line(&session.images()?.logout(server)?)?;
    Ok(0)
}
