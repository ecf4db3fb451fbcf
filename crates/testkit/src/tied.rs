//! Starts helper processes that die with this process, even when it is killed.
//!
//! The kernel's parent-death signal follows the thread that forked, and test
//! threads end early, so all of them are started by one thread that never ends.

use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts `program` with `arguments` so that it is killed when this process
/// ends; `set` completes the command (pipes, directory, environment).
///
/// # Panics
/// When the program cannot be started.
pub fn spawn(program: &str, arguments: &[&str], set: impl FnOnce(&mut Command)) -> Child {
    #[expect(
        clippy::disallowed_methods,
        reason = "setpriv sets the parent-death signal"
    )]
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", program])
        .args(arguments);
    set(&mut command);
    let (reply, answer) = channel();
    starter()
        .lock()
        .expect("the lock is not poisoned")
        .send((command, reply))
        .expect("the starter thread never ends");
    answer
        .recv()
        .expect("the starter thread answers")
        .unwrap_or_else(|e| panic!("cannot start {program}: {e}"))
}

fn starter() -> &'static Mutex<Sender<Order>> {
    static STARTER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in orders {
                let _unwanted = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    })
}
