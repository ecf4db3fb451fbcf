//! `completion`: what a shell needs to complete our command lines, made from the
//! tables of the commands. Names are asked for when they are wanted, by `ps` and
//! `images`.

mod bash;
mod common;
mod fish;
mod zsh;

use std::path::Path;

use common::Typed;

use super::tables::NoFlags;
use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::settings::Session;

/// Prints the script of a shell.
pub(crate) fn completion(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    let typed = Typed {
        program: &session.program,
        path: &path(&session.program)?,
    };
    let script = match args[0].as_str() {
        "bash" => bash::script(&typed),
        "fish" => fish::script(&typed),
        "zsh" => zsh::script(&typed),
        other => {
            return Err(Failure::plain(format!(
                "no completions for '{other}': must be one of \"bash\", \"zsh\", \"fish\""
            )));
        }
    };
    output::text(&script)?;
    Ok(0)
}

fn path(program: &str) -> Result<String, Failure> {
    let called = std::env::args_os().next().unwrap_or_default();
    if !called.as_encoded_bytes().contains(&b'/') {
        return Ok(program.to_owned());
    }
    let path = std::path::absolute(Path::new(&called))
        .map_err(|error| Failure::plain(format!("where is {}: {error}", called.display())))?;
    Ok(path.display().to_string())
}
