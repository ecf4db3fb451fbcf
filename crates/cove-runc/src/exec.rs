//! `exec`: another process in a running container.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use cove_sandbox::{Console, Container, ExecOptions, load_process};
use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, User};

use crate::args::{Globals, flag, other, required, rest};
use crate::failure::{Failure, Outcome};
use crate::foreground;
use crate::output::warn;
use crate::process::{check_terminal, seal};

/// What the process differs in from the container's own.
#[derive(Debug, Default)]
struct Changes {
    cwd: Option<PathBuf>,
    env: Vec<String>,
    tty: bool,
    user: Option<(u32, Option<u32>)>,
    groups: Vec<u32>,
    capabilities: Vec<Capability>,
    no_new_privileges: bool,
    apparmor: Option<String>,
    label: Option<String>,
}

pub(crate) fn exec(globals: &Globals, parser: &mut Parser) -> Outcome {
    // What cannot be done at all is 255, to be told from what the program says.
    exec_inner(globals, parser).map_err(|failure| Failure {
        message: format!("exec failed: {}", failure.message),
        status: 255,
        ..failure
    })
}

fn exec_inner(globals: &Globals, parser: &mut Parser) -> Outcome {
    let mut changes = Changes::default();
    let mut id = None;
    let (mut detach, mut ignore_paused) = (false, false);
    let mut preserve_fds = 0;
    let mut cgroup: Option<String> = None;
    let mut console_socket: Option<PathBuf> = None;
    let mut pid_file: Option<PathBuf> = None;
    let mut pidfd_socket: Option<PathBuf> = None;
    let mut file: Option<PathBuf> = None;
    let mut words: Vec<OsString> = Vec::new();
    let mut unknown = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("process") | Short('p') => file = Some(parser.value()?.into()),
            Long("console-socket") => console_socket = Some(parser.value()?.into()),
            Long("pid-file") => pid_file = Some(parser.value()?.into()),
            Long("pidfd-socket") => pidfd_socket = Some(parser.value()?.into()),
            Long("cwd") => changes.cwd = Some(parser.value()?.into()),
            Long("env") | Short('e') => changes.env.push(parser.value()?.string()?),
            Long("tty") | Short('t') => changes.tty = flag(parser)?,
            Long("user") | Short('u') => changes.user = Some(user(&parser.value()?.string()?)?),
            Long("additional-gids") | Short('g') => changes.groups.push(parser.value()?.parse()?),
            Long("cap") | Short('c') => {
                let name = parser.value()?.string()?;
                match capability(&name) {
                    Some(capability) => changes.capabilities.push(capability),
                    // As one in a specification.
                    None => unknown.push(format!("ignoring unknown capability {name:?}")),
                }
            }
            Long("no-new-privs") => changes.no_new_privileges = flag(parser)?,
            Long("apparmor") => changes.apparmor = Some(parser.value()?.string()?),
            Long("process-label") => changes.label = Some(parser.value()?.string()?),
            Long("detach") | Short('d') => detach = flag(parser)?,
            Long("preserve-fds") => preserve_fds = parser.value()?.parse()?,
            Long("ignore-paused") => ignore_paused = flag(parser)?,
            Long("cgroup") => cgroup = Some(parser.value()?.string()?),
            Value(value) => {
                id = Some(value.string()?);
                words = rest(parser)?;
            }
            argument => return Err(other(argument)),
        }
    }
    let id = required(id, "exec")?;
    warn(globals, &unknown);
    seal()?;
    let container = Container::load(&globals.root, &id)?;
    let mut process = match &file {
        Some(path) if words.is_empty() => {
            let loaded = load_process(path)?;
            warn(globals, &loaded.warnings);
            with_defaults(loaded.value, container.process())
        }
        Some(_) => return Err(Failure::new("a command and --process exclude each other")),
        None => changes.apply(&container, words)?,
    };
    let terminal = process.terminal().unwrap_or(false);
    check_terminal(terminal, detach, console_socket.is_some())?;
    if terminal && console_socket.is_none() && process.console_size().is_none() {
        // The program may ask before anybody could tell its terminal.
        process.set_console_size(foreground::size());
    }
    let options = ExecOptions {
        console: console_socket
            .as_deref()
            .map_or(Console::Foreground, Console::Socket),
        pid_file: pid_file.as_deref(),
        pidfd_socket: pidfd_socket.as_deref(),
        preserve_fds,
        cgroup: cgroup.as_deref(),
        ignore_paused,
        ..ExecOptions::default()
    };
    let mut child = container.exec(&process, options)?;
    warn(globals, &child.warnings);
    if detach {
        return Ok(0);
    }
    let console = child.console.take();
    foreground::wait(&foreground::Child::of(child.pid, &child.pidfd)?, console)
}

impl Changes {
    /// The container's own process with these changes and this command.
    fn apply(self, container: &Container, words: Vec<OsString>) -> Result<Process, Failure> {
        if words.is_empty() {
            return Err(Failure::new("the command to execute is missing"));
        }
        let mut args = Vec::with_capacity(words.len());
        for word in words {
            args.push(word.into_string().map_err(|word| {
                Failure::new(format!(
                    "the argument {} is not valid UTF-8",
                    word.display()
                ))
            })?);
        }
        let Some(process) = container.process() else {
            return Err(Failure::new(
                "the container's specification has no process to start from: use --process",
            ));
        };
        let mut process = process.clone();
        process
            .set_args(Some(args))
            .set_command_line(None)
            .set_terminal(Some(self.tty));
        if let Some(cwd) = self.cwd {
            process.set_cwd(cwd);
        }
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(self.env);
        process.set_env(Some(env));
        if let Some(profile) = self.apparmor {
            process.set_apparmor_profile(Some(profile));
        }
        if let Some(label) = self.label {
            process.set_selinux_label(Some(label));
        }
        if self.no_new_privileges {
            process.set_no_new_privileges(Some(true));
        }
        if !self.capabilities.is_empty() {
            let mut sets = process
                .capabilities()
                .clone()
                .unwrap_or_else(no_capabilities);
            add_capabilities(&mut sets, &self.capabilities);
            process.set_capabilities(Some(sets));
        }
        if let Some((uid, gid)) = self.user {
            let mut user = User::default();
            user.set_uid(uid);
            user.set_gid(gid.unwrap_or_else(|| process.user().gid()));
            user.set_additional_gids(process.user().additional_gids().clone());
            user.set_umask(process.user().umask());
            process.set_user(user);
        }
        if !self.groups.is_empty() {
            let mut user = process.user().clone();
            let mut groups = user.additional_gids().clone().unwrap_or_default();
            groups.extend(self.groups);
            user.set_additional_gids(Some(groups));
            process.set_user(user);
        }
        Ok(process)
    }
}

/// What runc takes from the container's own process where the file says nothing. Whether privileges
/// can be gained is not among it: a file that is silent about that allows it.
fn with_defaults(mut process: Process, own: Option<&Process>) -> Process {
    let Some(own) = own else { return process };
    let unset = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    if unset(process.apparmor_profile()) {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if unset(process.selinux_label()) {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(own.rlimits().clone());
    }
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
    process
}

fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    let none = || Some(HashSet::new());
    sets.set_bounding(none())
        .set_effective(none())
        .set_permitted(none())
        .set_inheritable(none())
        .set_ambient(none());
    sets
}

/// Into the sets that a program is started with; into the one that lasts where it is an ordinary
/// user's program only if the container's inheritable set, which is not changed, allows it.
fn add_capabilities(sets: &mut LinuxCapabilities, added: &[Capability]) {
    let with = |set: &Option<HashSet<Capability>>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(added);
        Some(set)
    };
    let (bounding, effective, permitted) = (
        with(sets.bounding()),
        with(sets.effective()),
        with(sets.permitted()),
    );
    let inheritable = sets.inheritable().clone().unwrap_or_default();
    let mut ambient = sets.ambient().clone().unwrap_or_default();
    ambient.extend(added.iter().filter(|one| inheritable.contains(*one)));
    sets.set_bounding(bounding)
        .set_effective(effective)
        .set_permitted(permitted)
        .set_ambient(Some(ambient));
}

/// `uid` or `uid:gid`, numbers as runc takes them.
fn user(text: &str) -> Result<(u32, Option<u32>), Failure> {
    let refuse = || Failure::new(format!("--user {text:?}: a number, or uid:gid"));
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid.parse().map_err(|_| refuse())?)),
        None => (text, None),
    };
    Ok((uid.parse().map_err(|_| refuse())?, gid))
}

fn capability(text: &str) -> Option<Capability> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    Capability::from_str(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_completed_from_the_container() {
        use serde_json::json;
        let process = |more: serde_json::Value| {
            let mut process = json!({"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0},
                "noNewPrivileges": false});
            let more = more.as_object().unwrap().clone();
            process.as_object_mut().unwrap().extend(more);
            serde_json::from_value::<Process>(process).unwrap()
        };
        let limits = |soft| json!([{"type": "RLIMIT_CORE", "soft": soft, "hard": 9}]);
        let inherited = json!({"apparmorProfile": "a", "selinuxLabel": "b", "rlimits": limits(1),
            "capabilities": {"bounding": ["CAP_KILL"]}, "oomScoreAdj": 5,
            "scheduler": {"policy": "SCHED_BATCH"},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
            "execCPUAffinity": {"initial": "0"}});
        let mut own = inherited.clone();
        own["noNewPrivileges"] = json!(true);
        own["env"] = json!(["A=b"]);
        let own = process(own);
        let silent = process(json!({"apparmorProfile": "", "rlimits": []}));
        assert_eq!(
            with_defaults(silent.clone(), Some(&own)),
            process(inherited)
        );
        assert_eq!(with_defaults(silent.clone(), None), silent);
        let told = process(json!({"apparmorProfile": "x", "selinuxLabel": "y",
            "rlimits": limits(2), "capabilities": {}, "oomScoreAdj": 0,
            "scheduler": {"policy": "SCHED_OTHER"},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3},
            "execCPUAffinity": {"final": "0"}}));
        assert_eq!(with_defaults(told.clone(), Some(&own)), told);
    }

    #[test]
    fn users_and_capabilities() {
        assert_eq!(user("5").unwrap(), (5, None));
        assert_eq!(user("5:6").unwrap(), (5, Some(6)));
        assert!(user("root").is_err() && user("5:").is_err());
        assert_eq!(capability("cap_net_raw").unwrap(), Capability::NetRaw);
        assert_eq!(capability("SYS_ADMIN").unwrap(), Capability::SysAdmin);
        assert!(capability("CAP_FLY").is_none());
    }

    #[test]
    fn what_may_be_inherited_is_ambient_too() {
        let mut sets = no_capabilities();
        sets.set_inheritable(Some(HashSet::from([Capability::Kill])));
        add_capabilities(&mut sets, &[Capability::Kill, Capability::Chown]);
        assert_eq!(sets.effective().as_ref().map(HashSet::len), Some(2));
        assert_eq!(*sets.ambient(), Some(HashSet::from([Capability::Kill])));
        assert_eq!(*sets.inheritable(), Some(HashSet::from([Capability::Kill])));
    }
}
