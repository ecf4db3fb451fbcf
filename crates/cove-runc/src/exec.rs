//! `exec`: another process in a running container.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use cove_flags::flags;
use cove_sandbox::{Console, Container, ExecOptions, load_process};
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, User};

use crate::args::{self, Globals};
use crate::failure::{Failure, Outcome};
use crate::foreground;
use crate::output::warn;
use crate::process::{check_terminal, seal};
use crate::read;

flags! {
    /// What `exec` takes.
    pub(crate) struct ExecFlags {
        'p' process: Option<PathBuf> = path, "";
        cwd: Option<PathBuf> = path, "";
        'e' env: Vec<String> = string, "";
        't' tty: bool = switch, "";
        'u' user: Option<(u32, Option<u32>)> = user(user), "";
        'g' additional_gids: Vec<u32> = number, "";
        'c' cap: Vec<String> = string, "";
        no_new_privs: bool = switch, "";
        apparmor: Option<String> = string, "";
        process_label: Option<String> = string, "";
        'd' detach: bool = switch, "";
        pid_file: Option<PathBuf> = path, "";
        console_socket: Option<PathBuf> = path, "";
        pidfd_socket: Option<PathBuf> = path, "";
        preserve_fds: Option<u32> = number, "";
        cgroup: Option<String> = string, "";
        ignore_paused: bool = switch, "";
    }
}

pub(crate) fn exec(globals: &Globals, words: &[OsString]) -> Outcome {
    // What cannot be done at all is 255, to be told from what the program says.
    exec_inner(globals, words).map_err(|failure| Failure {
        message: format!("exec failed: {}", failure.message),
        status: 255,
        ..failure
    })
}

fn exec_inner(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, id, words): (ExecFlags, _, _) = args::container_and_rest(words, "exec")?;
    let mut unknown = Vec::new();
    let mut capabilities = Vec::new();
    for name in &flags.cap {
        match capability(name) {
            Some(capability) => capabilities.push(capability),
            // As one in a specification.
            None => unknown.push(format!("ignoring unknown capability {name:?}")),
        }
    }
    warn(globals, &unknown);
    seal()?;
    let container = Container::load(&globals.root, &id)?;
    let mut process = match &flags.process {
        Some(path) if words.is_empty() => {
            let loaded = load_process(path)?;
            warn(globals, &loaded.warnings);
            with_defaults(loaded.value, container.process())
        }
        Some(_) => return Err(Failure::new("a command and --process exclude each other")),
        None => flags.apply(&container, words, &capabilities)?,
    };
    let terminal = process.terminal().unwrap_or(false);
    check_terminal(terminal, flags.detach, flags.console_socket.is_some())?;
    if terminal && flags.console_socket.is_none() && process.console_size().is_none() {
        // The program may ask before anybody could tell its terminal.
        process.set_console_size(foreground::size());
    }
    let options = ExecOptions {
        console: flags
            .console_socket
            .as_deref()
            .map_or(Console::Foreground, Console::Socket),
        pid_file: flags.pid_file.as_deref(),
        pidfd_socket: flags.pidfd_socket.as_deref(),
        preserve_fds: flags.preserve_fds.unwrap_or(0),
        cgroup: flags.cgroup.as_deref(),
        ignore_paused: flags.ignore_paused,
        ..ExecOptions::default()
    };
    let mut child = container.exec(&process, options)?;
    warn(globals, &child.warnings);
    if flags.detach {
        return Ok(0);
    }
    let console = child.console.take();
    foreground::wait(&foreground::Child::of(child.pid, &child.pidfd)?, console)
}

impl ExecFlags {
    /// The container's own process with these changes and this command.
    fn apply(
        &self,
        container: &Container,
        words: Vec<OsString>,
        capabilities: &[Capability],
    ) -> Result<Process, Failure> {
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
        if let Some(cwd) = self.cwd.clone() {
            process.set_cwd(cwd);
        }
        let mut env = process.env().clone().unwrap_or_default();
        env.extend_from_slice(&self.env);
        process.set_env(Some(env));
        if let Some(profile) = self.apparmor.clone() {
            process.set_apparmor_profile(Some(profile));
        }
        if let Some(label) = self.process_label.clone() {
            process.set_selinux_label(Some(label));
        }
        if self.no_new_privs {
            process.set_no_new_privileges(Some(true));
        }
        if !capabilities.is_empty() {
            let mut sets = process
                .capabilities()
                .clone()
                .unwrap_or_else(no_capabilities);
            add_capabilities(&mut sets, capabilities);
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
        if !self.additional_gids.is_empty() {
            let mut user = process.user().clone();
            let mut groups = user.additional_gids().clone().unwrap_or_default();
            groups.extend_from_slice(&self.additional_gids);
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
fn user(text: &str) -> Result<(u32, Option<u32>), String> {
    let refuse = || format!("--user {text:?}: a number, or uid:gid");
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
