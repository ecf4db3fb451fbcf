//! The commands: plain values in, the engine does it, an exit status out.

mod archive;
pub(crate) mod completion;
pub(crate) mod container;
pub(crate) mod copy;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod man;
mod relay;
pub(crate) mod request;
pub(crate) mod run;
mod security;
pub(crate) mod system;
pub(crate) mod tables;

use cove_model::instance::Record;

use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::settings::Session;

/// The record of a container by name, id or beginning of its id.
pub(crate) fn record(session: &Session, name: &str) -> Result<Record, Failure> {
    Ok(session.instances()?.get(name)?.record)
}

/// Does something with each name, prints the name where it worked, and goes
/// on where it did not; the exit status tells whether all worked.
pub(crate) fn for_each(
    names: &[String],
    mut action: impl FnMut(&str) -> Result<(), Failure>,
) -> Outcome {
    each(names, |name| {
        action(name)?;
        output::line(name)
    })
}

/// As [`for_each`], without printing names.
pub(crate) fn each(
    names: &[String],
    mut action: impl FnMut(&str) -> Result<(), Failure>,
) -> Outcome {
    let mut code = 0;
    for name in names {
        if let Err(failure) = action(name) {
            if failure.code == 141 {
                return Err(failure);
            }
            if !failure.message.is_empty() {
                output::note(&format!("Error: {}", failure.message));
            }
            code = 1;
        }
    }
    Ok(code)
}
