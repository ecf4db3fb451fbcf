//! Another process in a running container: it joins the init's namespaces by pidfd, in one call,
//! and then becomes what it is to be by the same steps as the init.

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cove_sys::clone::{CLEAR_SIGHAND, CloneArgs, Cloned, clone3, exit_now};
use cove_sys::ns;
use oci_spec::runtime::{Linux, Process, Spec};
use rustix::process::{Pid, geteuid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cgroup::{self, Backend};
use crate::create::{PidNamespace, environment, inherited, keyring_name, write_pid_file};
use crate::error::{Error, Result};
use crate::hooks;
use crate::init::{self, During, Finish, Procfs, Step};
use crate::newborn::Newborn;
use crate::options::{ExecOptions, Stdio};
use crate::placement;
use crate::plan::{Plan, invalid};
use crate::protocol::{Channel, Command, heard_or_gone};
use crate::sockets::{
    console_socket, forward_console, forward_pidfd, notify_socket, pidfd_socket, until_executed,
};
use crate::state::{Status, Stored};

/// A process that was executed in a container.
#[derive(Debug)]
pub struct ExecChild {
    /// A child of the caller, which has to wait for it.
    pub pid: Pid,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// The master side of its terminal, if there is one and it was not sent elsewhere.
    pub console: Option<OwnedFd>,
    /// What was ignored or clamped.
    pub warnings: Vec<String>,
}

pub(crate) fn run(
    stored: &Stored,
    init: &OwnedFd,
    cgroup: Option<Box<dyn Backend>>,
    process: &Process,
    mut options: ExecOptions<'_>,
) -> Result<ExecChild> {
    let spec = spec_of(stored, process);
    let mut plan = Plan::for_exec(&spec, &stored.rootfs)?;
    if options.as_init {
        plan.process.take_limits_of(stored.pid);
    }
    let plan = plan;
    let notify = notify_socket(&plan)?;
    let console = console_socket(&plan, &options.console)?;
    let pidfd_socket = pidfd_socket(options.pidfd_socket)?;
    let cgroup = match options.cgroup {
        Some(below) => Some(placement::sub_cgroup(&stored.cgroup, below)?),
        None => cgroup,
    };
    let entrances =
        cgroup::entrances(cgroup.as_deref()).map_err(|source| Error::Cgroup { source })?;
    let (ours, theirs) = Channel::pair().map_err(|e| Error::os("make a socket pair", e))?;
    let joiner = Joiner {
        plan: &plan,
        channel: theirs,
        init: init.as_fd(),
        entrances,
        cpus: Cpus::after(&plan)?,
        kinds: stored.namespaces,
        stdio: std::mem::take(&mut options.stdio),
        env: environment(&plan, 0),
        inherited: inherited(options.preserve_fds)?,
        keyring: keyring_name(options.no_new_keyring, &stored.id),
        // Only the user namespace gives a user the right to the pid namespace.
        as_init: options.as_init,
        late_pid: !geteuid().is_root() && stored.namespaces & ns::USER != 0,
        state: stored.oci(Status::Running),
        notify,
    };
    let elsewhere = || match options.cgroup {
        Some(_) => Ok(None),
        None => placement::with_init(stored),
    };
    let mut child = {
        // Before it is in the container's cgroup, whose processors it may not disturb yet.
        let initial = cpu_set(plan.process.affinity.0.as_deref())?;
        let _back = initial.as_ref().map(Pinned::to).transpose()?;
        clone_joiner(joiner, &ours, cgroup.as_deref(), elsewhere)?
    };
    let own = |pid| cove_sys::proc::oom_score_adj(pid).ok();
    let inherited = || {
        // Of an init that has just ended there is nothing to take.
        let init = options.as_init.then(|| own(stored.pid)).flatten();
        init.filter(|score| own(child.number()) != Some(*score))
    };
    if let Some(score) = plan.process.oom_score_adj.or_else(inherited) {
        crate::create::oom_score(child.number(), score)?;
    }
    heard_or_gone(ours.command(Command::Continue))
        .map_err(|e| Error::os("let the process go on", e))?;
    let heard = child.hear_out(&ours, "exec", options.interrupt, |_| {
        Err(Error::InitDied("exec"))
    })?;
    let console = forward_console(heard.master, &options.console, console.as_ref())?;
    forward_pidfd(child.pidfd(), "setns", pidfd_socket.as_ref())?;
    if let Some(path) = options.pid_file {
        write_pid_file(path, child.number())?;
    }
    ours.command(Command::Go)
        .map_err(|e| Error::os("start the process", e))?;
    let mut warnings = plan.warnings.clone();
    warnings.extend(heard.warnings);
    warnings.extend(until_executed(&ours, options.interrupt)?);
    let (pid, pidfd) = child.release("exec")?;
    Ok(ExecChild {
        pid,
        pidfd,
        console,
        warnings,
    })
}

fn spec_of(stored: &Stored, process: &Process) -> Spec {
    let mut linux = Linux::default();
    linux
        .set_seccomp(stored.seccomp.clone())
        .set_personality(stored.personality.clone())
        .set_memory_policy(stored.memory_policy.clone());
    let mut spec = Spec::default();
    spec.set_version(stored.oci_version.clone());
    spec.set_process(Some(process.clone()));
    spec.set_linux(Some(linux));
    spec.set_annotations(Some(stored.annotations.clone()));
    spec.set_hooks(None);
    spec.set_mounts(None);
    spec
}

/// Everything the new process is handed.
struct Joiner<'a> {
    plan: &'a Plan<'a>,
    channel: Channel,
    init: BorrowedFd<'a>,
    entrances: Vec<cgroup::Entrance>,
    /// Where it runs once it is in the container's cgroup.
    cpus: Cpus,
    kinds: u64,
    stdio: Stdio,
    env: Vec<CString>,
    inherited: u32,
    keyring: Option<CString>,
    late_pid: bool,
    /// Whether the caller's priorities stay the caller's.
    as_init: bool,
    state: crate::state::OciState,
    /// A connection to `linux.seccomp.listenerPath`.
    notify: Option<OwnedFd>,
}

fn clone_joiner(
    joiner: Joiner<'_>,
    ours: &Channel,
    cgroup: Option<&dyn Backend>,
    elsewhere: impl FnOnce() -> Result<Option<Box<dyn Backend>>>,
) -> Result<Newborn> {
    let early_pid = joiner.kinds & ns::PID != 0 && !joiner.late_pid;
    let _back = early_pid
        .then(|| PidNamespace::enter(joiner.init))
        .transpose()?;
    #[expect(unsafe_code, reason = "the process is made by one clone3")]
    let clone = |cgroup: Option<&dyn Backend>| {
        let args = CloneArgs {
            flags: CLEAR_SIGHAND,
            cgroup: cgroup.and_then(Backend::clone_fd),
        };
        // SAFETY: by the contract of `Container::exec` the caller has one thread.
        unsafe { clone3(&args) }
    };
    let mut cloned = clone(cgroup);
    if let Err(error) = &cloned
        && error.raw_os_error() == Some(libc::EBUSY)
        && let Some(cgroup) = elsewhere()?
    {
        cloned = clone(Some(&*cgroup));
    }
    match cloned.map_err(|e| Error::os("make a process", e))? {
        Cloned::Parent { pid, pidfd } => Ok(Newborn::new(pid, pidfd)),
        Cloned::Child => {
            ours.close_copy();
            let mut joiner = ManuallyDrop::new(joiner);
            let Err(failure) = steps(&mut joiner);
            init::end(&joiner.channel, failure)
        }
    }
}

fn steps(joiner: &mut Joiner<'_>) -> Step<init::Never> {
    let plan = joiner.plan;
    if joiner.as_init {
        cove_sys::sched::reset_priorities();
    }
    init::enter(&joiner.entrances)?;
    match joiner.channel.next_command() {
        Ok(Some(Command::Continue)) => {}
        _ => exit_now(1),
    }
    match &joiner.cpus {
        Cpus::These(cpus) => {
            sched_setaffinity(None, cpus).during(|| "set the final execCPUAffinity")?;
        }
        Cpus::Kernels => {}
        Cpus::All => {
            if let Err(error) = cove_sys::sched::reset_affinity() {
                let text = format!("CPU affinity of the caller stays: {error}");
                init::process::warn(&joiner.channel, text);
            }
        }
    }
    // Born in the container's PID namespace, this process is seen from its first moment. Its
    // capabilities keep the others away that lack CAP_SYS_PTRACE; TODO: one that has it, in the
    // same user namespace, can look at what is still open here.
    cove_sys::sched::set_undumpable().during(|| "hide from ptrace")?;
    // The host's procfs goes on telling the host's pid from within the container's namespaces.
    let proc = joiner.notify.is_some().then(|| init::directory("/proc"));
    let proc = ManuallyDrop::new(proc.transpose()?);
    let kinds = joiner.kinds & !if joiner.late_pid { 0 } else { ns::PID };
    ns::setns(joiner.init, kinds).during(|| "join the container's namespaces")?;
    if joiner.late_pid && kinds & ns::PID != 0 {
        init::go_on_as_sibling(0, &joiner.channel)?;
    }
    let in_userns = joiner.kinds & ns::USER != 0;
    if in_userns {
        init::become_root()?;
    }
    rustix::process::setsid().during(|| "setsid")?;
    if let Some(name) = &joiner.keyring {
        init::keyring(name, &joiner.channel)?;
    }
    let procfs = (!plan.process.labels.is_empty())
        .then(Procfs::new)
        .transpose()?;
    let mut terminal = None;
    if plan.process.terminal {
        let root = ManuallyDrop::new(init::directory("/")?);
        terminal = Some(init::open_terminal(root.as_fd(), &plan.process)?);
    }
    init::finish(Finish {
        plan,
        channel: &joiner.channel,
        listener: None,
        terminal,
        stdio: std::mem::take(&mut joiner.stdio),
        env: &joiner.env,
        inherited: joiner.inherited,
        procfs,
        in_userns,
        notify: joiner.notify.as_ref(),
        pid: proc.as_ref().and_then(|proc| init::pid_in(proc, "self")),
        state: &joiner.state,
        // Hooks belong to the container's start.
        hook_output: &hooks::Output::default(),
    })
}

fn cpu_set(cpus: Option<&[u32]>) -> Result<Option<CpuSet>> {
    let Some(cpus) = cpus.filter(|cpus| !cpus.is_empty()) else {
        return Ok(None);
    };
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu as usize >= CpuSet::MAX_CPU {
            let text = format!("CPU {cpu} of execCPUAffinity is too large");
            return Err(invalid(text));
        }
        set.set(cpu as usize);
    }
    Ok(Some(set))
}

/// Where a process runs once it is in the container's cgroup.
enum Cpus {
    /// As `execCPUAffinity.final` says.
    These(CpuSet),
    /// Where it began by `execCPUAffinity.initial`, as far as the cpuset lets it: without a final
    /// one the specification leaves that to the kernel.
    Kernels,
    /// On all of the cpuset, whatever its creator is bound to.
    All,
}

impl Cpus {
    fn after(plan: &Plan<'_>) -> Result<Self> {
        let (initial, last) = &plan.process.affinity;
        Ok(
            match (cpu_set(initial.as_deref())?, cpu_set(last.as_deref())?) {
                (_, Some(set)) => Self::These(set),
                (Some(_), None) => Self::Kernels,
                (None, None) => Self::All,
            },
        )
    }
}

/// For the time it lives, this thread runs on certain processors, and its children begin there.
struct Pinned {
    own: CpuSet,
}

impl Pinned {
    fn to(set: &CpuSet) -> Result<Self> {
        let failed = |e| Error::os("set the initial execCPUAffinity", e);
        let own = sched_getaffinity(None).map_err(failed)?;
        sched_setaffinity(None, set).map_err(failed)?;
        Ok(Self { own })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Where it ran a moment ago it may run again.
        let _ = sched_setaffinity(None, &self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_container_has_is_stored_and_executed_with() {
        let process: Process = serde_json::from_value(serde_json::json!({"cwd": "/",
            "args": ["x"], "user": {"uid": 0, "gid": 0}}))
        .unwrap();
        let mut old = serde_json::to_value(Stored::unfinished("a")).unwrap();
        let without: Stored = serde_json::from_value(old.clone()).unwrap();
        let spec = spec_of(&without, &process);
        assert!(spec.linux().as_ref().unwrap().memory_policy().is_none());
        old["memoryPolicy"] = serde_json::json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"});
        let with: Stored = serde_json::from_value(old).unwrap();
        let spec = spec_of(&with, &process);
        let policy = spec.linux().as_ref().unwrap().memory_policy();
        assert_eq!(policy.as_ref().unwrap().nodes().as_deref(), Some("0"));
    }
}
