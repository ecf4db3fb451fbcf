//! Raw mode of the caller's terminal, undone when it is no longer needed.

use std::io;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Raw mode of the terminal on standard input, until this is dropped.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Every key reaches the program inside.
    pub fn enter() -> io::Result<Self> {
        Self::change(Termios::make_raw)
    }

    /// As [`Raw::enter`], but what is written is processed as before: for a program whose own
    /// terminal leaves its output alone.
    pub fn enter_for_input() -> io::Result<Self> {
        Self::change(|raw| {
            let output = raw.output_modes;
            raw.make_raw();
            raw.output_modes = output;
        })
    }

    fn change(make_raw: impl FnOnce(&mut Termios)) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        make_raw(&mut raw);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).unwrap_or(());
    }
}
