//! The container's first process, from `clone3` to `execve`.
//!
//! It is a copy of its creator's memory with one thread, so it may allocate. Nothing it owns is
//! dropped: descriptors are closed by number before the program runs, and the process ends by
//! `_exit` or `execve`.

mod cgroups;
mod console;
mod copyup;
mod creator;
mod devices;
mod fail;
mod home;
mod listen;
mod mask;
pub(crate) mod mount;
pub(crate) mod nodes;
mod path;
pub(crate) mod process;
mod procfs;
mod program;
pub(crate) mod rootfs;
mod streams;

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};

use cove_sys::caps::{self, CapSets};
use cove_sys::clone::{CloneArgs, Cloned, SIBLING, clone3, exit_now};
use cove_sys::ns;
use rustix::fs::{CWD, Mode, OFlags};

pub(crate) use console::{Terminal, open as open_terminal};
pub(crate) use creator::{Cgroup, enter};
pub(crate) use fail::{During, Step, reason};
pub(crate) use procfs::Procfs;
pub(crate) use rootfs::Given;

use crate::hooks::{self, Setting};
use crate::netdev::{self, NetDevice};
use crate::options::Stdio;
use crate::plan::{HookKind, Join, Kind, Plan, filled};
use crate::protocol::{Channel, Command, Failure, Report};
use crate::state::{OciState, Status};
use creator::{Creator, wait_for};

/// Everything the init is handed.
#[derive(Debug)]
pub(crate) struct Init<'a> {
    pub plan: &'a Plan<'a>,
    pub channel: Channel,
    /// Where a detached init waits for its start.
    pub listener: Option<OwnedFd>,
    pub given: Given,
    pub stdio: Stdio,
    pub cgroup: Cgroup<'a>,
    /// Whether it has to wait for the creator before it goes on.
    pub gate: bool,
    /// Whether the gate comes first because ids have to be mapped.
    pub mapped: bool,
    pub inherited: u32,
    pub env: Vec<CString>,
    pub no_pivot: bool,
    pub keyring: Option<CString>,
    /// Interfaces that the creator moves here before the gate opens.
    pub netdevs: &'a [NetDevice],
    /// State for hooks; its pid is filled in by the creator over the channel in host terms.
    pub state: OciState,
    /// A connection to `linux.seccomp.listenerPath`.
    pub notify: Option<OwnedFd>,
    pub hook_output: &'a hooks::Output,
}

/// Never returns: the process becomes the user's program or ends.
pub(crate) fn run(init: Init<'_>) -> ! {
    let mut init = ManuallyDrop::new(init);
    let Err(failure) = steps(&mut init);
    end(&init.channel, failure)
}

/// Tells why the program does not run, where anybody still listens.
pub(crate) fn end(channel: &Channel, failure: Failure) -> ! {
    drop(channel.report(&Report::Failure(failure)));
    exit_now(1)
}

/// No value.
pub(crate) enum Never {}

fn steps(init: &mut Init<'_>) -> Step<Never> {
    let plan = init.plan;
    let names = &plan.namespaces;
    let in_userns = names.has(ns::USER);
    // The host's, before another mount namespace is joined.
    let proc = if names.new & ns::TIME != 0 {
        Some(directory("/proc")?)
    } else {
        None
    };
    join(init)?;
    let (given, stdio) = (
        std::mem::take(&mut init.given),
        std::mem::take(&mut init.stdio),
    );
    tell_pid(init);
    let init = &*init;
    let own_cgroups = names.new & ns::CGROUP != 0;
    let mut creator = Creator::new(&init.channel, &init.cgroup, own_cgroups, !init.gate);
    let clocks = match &proc {
        Some(proc) => Some(time_namespace(init, proc)?),
        None => None,
    };
    if init.mapped || clocks.is_some() {
        creator.part()?;
    }
    if let Some(clocks) = clocks {
        ns::setns(&clocks, ns::TIME).during(|| "enter the time namespace")?;
    }
    if in_userns {
        become_root()?;
    }
    cove_sys::sched::set_undumpable().during(|| "hide from ptrace")?;
    rustix::process::umask(Mode::empty());
    rustix::process::setsid().during(|| "setsid")?;
    if let Some(name) = &init.keyring {
        keyring(name, &init.channel)?;
    }
    if names.new & ns::NET != 0 {
        cove_sys::netif::set_up(c"lo").during(|| "bring the loopback interface up")?;
    }
    // An empty name is none: where the container has no names of its own, it would be the host's.
    if let Some(name) = filled(plan.spec.hostname().as_ref()) {
        rustix::system::sethostname(name.as_bytes()).during(|| "set the hostname")?;
    }
    if let Some(name) = filled(plan.spec.domainname().as_ref()) {
        rustix::system::setdomainname(name.as_bytes()).during(|| "set the domain name")?;
    }
    // After the last change of credentials, which would undo it.
    init.cgroup.bind_to_creator()?;
    let tree = rootfs::prepare(plan, given, &mut creator, in_userns)?;
    creator.cgroups()?;
    let mut tree = ManuallyDrop::new(tree);
    let terminal = file_tree(init, &mut tree, &mut creator)?;
    creator.part()?;
    netdev::restore(init.netdevs)?;
    let procfs = tree.take_procfs();
    finish(Finish {
        plan,
        channel: &init.channel,
        listener: init.listener.as_ref(),
        terminal,
        stdio,
        env: &init.env,
        inherited: init.inherited,
        procfs,
        in_userns,
        notify: init.notify.as_ref(),
        pid: init.state.pid,
        state: &init.state,
        hook_output: init.hook_output,
    })
}

pub(crate) fn directory(path: &str) -> Step<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).during(|| format!("open {path}"))
}

/// Joins the namespaces given by path, and makes those that could not be made with this process.
fn join(init: &mut Init<'_>) -> Step {
    let names = &init.plan.namespaces;
    let at_once = names.made_at_once();
    let enter = |join: &Join| ns::setns(&join.fd, join.kind);
    let text = |join: &Join| format!("join namespace {}", join.path.display());
    let user = names.join.iter().find(|join| join.kind == ns::USER);
    let mut late = Vec::new();
    for join in &names.join {
        // The pid namespace only counts for children: where this process stays the only one, its
        // creator has joined it.
        if join.kind == ns::USER || join.ours || join.kind == ns::PID && at_once {
            continue;
        }
        match enter(join) {
            // The right to it comes with the user namespace.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) && user.is_some() => {
                late.push(join);
            }
            other => other.during(|| text(join))?,
        }
    }
    if at_once {
        return Ok(());
    }
    if names.joins(ns::IPC) {
        queues(init);
    }
    for join in user.into_iter().chain(late) {
        enter(join).during(|| text(join))?;
    }
    let new = names.new & !(ns::CGROUP | ns::TIME);
    if names.goes_on_in_second() {
        return go_on_as_sibling(new, &init.channel);
    }
    ns::unshare(new).during(|| "make namespaces")
}

/// The message queues of an IPC namespace are mounted with rights over its owner's user namespace. What
/// fails here is tried again where the others are mounted, and told there.
fn queues(init: &mut Init<'_>) {
    let mounts = &init.plan.mounts;
    let binds = &mut init.given.binds;
    binds.resize_with(mounts.len(), || None);
    for (slot, entry) in binds.iter_mut().zip(mounts) {
        if entry.kind == Kind::New
            && entry.fstype == "mqueue"
            && let Ok(prepared) = mount::prepare(entry, init.plan.mount_label())
        {
            *slot = prepared;
        }
    }
}

/// Goes on in a second process, in new namespaces of these kinds: that of pids, new or joined, only
/// counts for children.
pub(crate) fn go_on_as_sibling(new: u64, channel: &Channel) -> Step {
    let args = CloneArgs {
        flags: new | SIBLING,
        cgroup: None,
    };
    // SAFETY: this process has one thread.
    #[expect(unsafe_code, reason = "the cases that take a second process")]
    let cloned = unsafe { clone3(&args) };
    match cloned.during(|| "make a second process")? {
        Cloned::Child => Ok(()),
        Cloned::Parent { pid, .. } => {
            let pid = pid.as_raw_nonzero().get();
            channel
                .report(&Report::Sibling(pid))
                .during(|| "report the second process")?;
            exit_now(0)
        }
    }
}

pub(crate) fn become_root() -> Step {
    use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    set_thread_res_gid(gid, gid, gid).during(|| "become root in the user namespace")?;
    set_thread_res_uid(uid, uid, uid).during(|| "become root in the user namespace")
}

pub(crate) fn keyring(name: &CString, channel: &Channel) -> Step {
    let Err(error) = cove_sys::keyring::join_session(name) else {
        return Ok(());
    };
    let why = match error.raw_os_error() {
        Some(libc::EDQUOT) => "no quota for a session keyring",
        // The seccomp filter of a container around us: it lies over ours, and no program below it
        // gets at any keyring.
        Some(libc::EPERM) => "a session keyring is not permitted here",
        // A kernel without keyrings has none to share either.
        Some(libc::ENOSYS) => return Ok(()),
        _ => return Err(error).during(|| "join a session keyring"),
    };
    process::warn(channel, format!("{why}: the caller's is kept"));
    Ok(())
}

/// Hooks and seccomp agents want the pid as the runtime sees it, which the host's procfs tells.
fn tell_pid(init: &mut Init<'_>) {
    let hooks = [HookKind::CreateContainer, HookKind::StartContainer];
    if init.notify.is_none() && hooks.iter().all(|kind| init.plan.hooks(*kind).is_empty()) {
        return;
    }
    init.state.pid = pid_in(CWD, "/proc/self");
}

/// This process by the link that a procfs has for it: its pid where that procfs was mounted.
pub(crate) fn pid_in(dir: impl AsFd, link: &str) -> Option<i32> {
    let own = rustix::fs::readlinkat(dir, link, Vec::new()).ok()?;
    own.to_str().ok()?.parse().ok()
}

/// Makes a time namespace for the children of this process. Its offsets can be set as long as nothing
/// is in it; then it is entered, since not every kernel does so when a program is executed (6.1 does
/// not).
fn time_namespace(init: &Init<'_>, proc: &OwnedFd) -> Step<OwnedFd> {
    ns::unshare(ns::TIME).during(|| "make a time namespace")?;
    if init.plan.time_offsets().is_some() {
        init.channel
            .report(&Report::Offsets)
            .during(|| "ask for time offsets")?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(proc, "self/ns/time_for_children", flags, Mode::empty())
        .during(|| "open the time namespace")
}

/// Puts the tree together around the change of root.
fn file_tree(
    init: &Init<'_>,
    tree: &mut rootfs::Tree,
    creator: &mut Creator<'_>,
) -> Step<Option<Terminal>> {
    let plan = init.plan;
    tree.attach(plan)?;
    if !plan.early_hooks {
        tree.enter(init.no_pivot)?;
    }
    let mut terminal = None;
    tree.fill(plan, |root| {
        if plan.process.terminal {
            let opened = console::open(root, &plan.process)?;
            console::bind(root, &opened.slave)?;
            terminal = Some(opened);
        }
        Ok(())
    })?;
    if plan.early_hooks {
        // prestart and createRuntime run in the creator's namespaces, createContainer in ours.
        creator.part()?;
        init.channel
            .report(&Report::Hooks)
            .during(|| "ask for hooks")?;
        wait_for(&init.channel, Command::Continue)?;
        let setting = Setting {
            env: None,
            output: init.hook_output,
        };
        // What they make is not for everybody to write.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        run_hooks(plan, HookKind::CreateContainer, &init.state, setting)?;
        rustix::process::umask(Mode::empty());
        tree.enter(init.no_pivot)?;
    }
    tree.seal(plan)?;
    tree.propagate(plan)?;
    Ok(terminal)
}

fn run_hooks(plan: &Plan<'_>, kind: HookKind, state: &OciState, setting: Setting<'_>) -> Step {
    hooks::run(plan.hooks(kind), kind, state, setting).map_err(|error| Failure {
        fault: crate::error::InitFault::Hook,
        message: error.to_string(),
        errno: None,
    })
}

/// What the init of a container and a process executed in one do alike.
pub(crate) struct Finish<'a> {
    pub plan: &'a Plan<'a>,
    pub channel: &'a Channel,
    pub listener: Option<&'a OwnedFd>,
    pub terminal: Option<Terminal>,
    pub stdio: Stdio,
    pub env: &'a [CString],
    pub inherited: u32,
    pub procfs: Option<Procfs>,
    pub in_userns: bool,
    pub notify: Option<&'a OwnedFd>,
    /// This process as the runtime sees it, for a seccomp agent.
    pub pid: Option<i32>,
    /// The container.
    pub state: &'a OciState,
    pub hook_output: &'a hooks::Output,
}

pub(crate) fn finish(finish: Finish<'_>) -> Step<Never> {
    let mut finish = ManuallyDrop::new(finish);
    let (plan, channel) = (finish.plan, finish.channel);
    let process = &plan.process;
    if let Some(terminal) = finish.terminal.take() {
        console::control(&terminal.slave)?;
        let slave = ManuallyDrop::new(terminal.slave);
        streams::place([&*slave, &*slave, &*slave])?;
        let report = ManuallyDrop::new(Report::Console(terminal.master));
        channel
            .report(&report)
            .during(|| "hand over the terminal")?;
    } else if let Stdio::Fds(fds) = &finish.stdio {
        streams::place([&fds[0], &fds[1], &fds[2]])?;
    }
    streams::own_null(finish.in_userns)?;
    process::limits(process, channel)?;
    process::scheduling(process, plan.linux)?;
    if let Some(procfs) = &finish.procfs {
        for label in &process.labels {
            let file = format!("self/{}", label.attribute);
            procfs
                .write(&file, &label.value)
                .during(|| "apply the security label")?;
        }
    }
    let keep: Vec<_> = [Some(&channel.0), finish.listener, finish.notify]
        .into_iter()
        .flatten()
        .map(process::raw)
        .chain(finish.hook_output.files().map(process::raw))
        .collect();
    process::close_others(finish.inherited, &keep)?;
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    let env = home::with(finish.env, process.uid);
    let entered = process::working_directory(process.cwd);
    let caps = process::identity(process, finish.in_userns, filter_privilege(plan), channel)?;
    if let Err(failure) = entered {
        if failure.errno != Some(libc::EACCES) {
            return Err(failure);
        }
        // A directory that only its user may enter.
        process::working_directory(process.cwd)?;
    }
    let file = program::find(&process.args[0], &env)?;
    channel
        .report(&Report::Ready)
        .during(|| "report to the creator")?;
    go(&finish, &file, &env, &caps)
}

fn go(finish: &Finish<'_>, file: &CString, env: &[CString], caps: &CapSets) -> Step<Never> {
    let plan = finish.plan;
    wait_for(finish.channel, Command::Go)?;
    let starter = match finish.listener {
        Some(listener) => Some(listen::wait(listener)?),
        None => None,
    };
    let starter = ManuallyDrop::new(starter);
    let channel = starter.as_ref().unwrap_or(finish.channel);
    let last = || {
        process::descriptor_limit(&plan.process, channel)?;
        if plan.process.no_new_privileges {
            rustix::thread::set_no_new_privs(true).during(|| "set no_new_privs")?;
        }
        filter(finish, caps)?;
        // Programs of the image: nothing is in their reach that is not in the process's.
        let created = OciState {
            status: Status::Created,
            ..finish.state.clone()
        };
        let setting = Setting {
            env: Some(env),
            output: finish.hook_output,
        };
        run_hooks(plan, HookKind::StartContainer, &created, setting)?;
        Ok(program::execute(file, &plan.process.args, env))
    };
    end(channel, last().unwrap_or_else(|failure: Failure| failure))
}

/// Without no_new_privs a filter can only be loaded with CAP_SYS_ADMIN, which is then kept in the
/// permitted set until the filter is there: the fewer calls it has to allow for us, the better.
fn filter_privilege(plan: &Plan<'_>) -> u64 {
    const SYS_ADMIN: u64 = 1 << 21;
    if plan.seccomp.is_some() && !plan.process.no_new_privileges {
        SYS_ADMIN
    } else {
        0
    }
}

/// Loads the seccomp filter and hands its listener over.
fn filter(finish: &Finish<'_>, sets: &CapSets) -> Step {
    let Some(program) = &finish.plan.seccomp else {
        return Ok(());
    };
    let extra = filter_privilege(finish.plan);
    if extra & !sets.effective != 0 {
        let raised = CapSets {
            effective: sets.effective | extra,
            permitted: sets.permitted | extra,
            ..*sets
        };
        caps::set(&raised).during(|| "raise the privilege to install the seccomp filter")?;
    }
    let listener = program
        .install()
        .map_err(|error| std::io::Error::other(error.to_string()))
        .during(|| "install the seccomp filter")?;
    if let (Some(listener), Some(socket)) = (&listener, finish.notify) {
        hooks::send_listener(socket, listener, finish.plan, finish.pid, finish.state)
            .during(|| "hand over the seccomp listener")?;
    }
    if extra & !(sets.effective & sets.permitted) != 0 {
        caps::set(sets).during(|| "set capabilities")?;
    }
    std::mem::forget(listener);
    Ok(())
}
