//! The creator's side of a start: state directory, cgroup, `clone3`, and what only a process
//! outside can do for the init. Whatever fails, everything made before is undone.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cove_sys::clone::{CLEAR_SIGHAND, CloneArgs, Cloned, clone3};
use cove_sys::mountattr::{MountAttr, attr, mount_setattr, set_propagation};
use cove_sys::ns;
use oci_spec::runtime::Spec;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::process::{Pid, Signal, geteuid, pidfd_send_signal};

use crate::cgroup::{self, Backend};
use crate::error::{Error, Result};
use crate::hooks::{self, Output, Setting};
use crate::init::{self, Cgroup, Given, Init, mount::Prepared};
use crate::netdev::{self, NetDevice};
use crate::newborn::Newborn;
use crate::options::{CreateOptions, StartMode};
use crate::placement;
use crate::plan::{HookKind, IdMaps, Ids, Kind, Plan, invalid, set_variable};
use crate::protocol::{Channel, Command, heard_or_gone};
use crate::sockets::{
    console_socket, forward_console, forward_pidfd, notify_socket, pidfd_socket, signal_start,
    start_socket, until_executed,
};
use crate::state::{NOTIFY_DIRECTORY, StateDir, Status, Stored};
use crate::userns;

/// A container that is set up; its program does not run yet.
#[derive(Debug)]
pub struct Created {
    /// The init, which is a child of the caller and has to be waited for by it.
    pub pid: Pid,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// The master side of its terminal, if there is one and it was not sent elsewhere.
    pub console: Option<OwnedFd>,
    /// What was ignored or clamped, one sentence each.
    pub warnings: Vec<String>,
    channel: Channel,
    mode: StartMode,
    dir: StateDir,
    stored: Stored,
}

impl Created {
    /// Lets the user's program run; returns once it is executed and the poststart hooks are done.
    ///
    /// # Errors
    /// If the program cannot be executed or a hook fails; the init has then ended, or is killed, and
    /// the container waits for [`Container::delete`](crate::Container::delete).
    pub fn start(self) -> Result<Vec<String>> {
        let mut warnings = self.warnings;
        match self.mode {
            StartMode::Detached => {
                warnings.extend(signal_start(&self.dir)?);
            }
            StartMode::Direct => {
                self.channel
                    .command(Command::Go)
                    .map_err(|e| Error::os("start the init", e))?;
                warnings.extend(until_executed(&self.channel, None)?);
                // A process that is killed closes its end of the channel as well.
                if !cove_sys::proc::has_executed(self.stored.pid).unwrap_or(true) {
                    return Err(Error::InitDied("the start"));
                }
            }
        }
        poststart(&self.stored, self.pidfd.as_fd())?;
        Ok(warnings)
    }

    /// What became of the container's id: where its state lies.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.dir.path
    }
}

/// Creates a container: everything is set up and the init waits to execute the user's program.
///
/// The caller must be single-threaded, and waits for the init as for any child.
///
/// # Errors
/// One variant per step; nothing is left behind then.
pub fn create(spec: &Spec, mut options: CreateOptions<'_>) -> Result<Created> {
    crate::state::check_id(options.id)?;
    let bundle = std::path::absolute(options.bundle)
        .map_err(|e| Error::path("find bundle", options.bundle, e))?;
    let plan = Plan::new(spec, &bundle)?;
    let notify = notify_socket(&plan)?;
    let console = console_socket(&plan, &options.console)?;
    let pidfd = pidfd_socket(options.pidfd_socket)?;
    let dir = StateDir::make(options.state_root, options.id)?;
    let mut undo = Undo {
        dir: Some(dir),
        cgroup: None,
        process: None,
    };
    let stored = stored(&plan, &options, &bundle);
    let ending = stored.ending();
    let streams = [console.as_ref(), pidfd.as_ref()];
    let created = create_in(&plan, &mut options, stored, notify, streams, &mut undo);
    created.map_err(|cause| {
        drop(undo);
        // Whatever it was that failed: what earlier hooks set up only these undo.
        cause.undoing(hooks::run_poststop(&ending))
    })
}

fn create_in(
    plan: &Plan<'_>,
    options: &mut CreateOptions<'_>,
    mut stored: Stored,
    notify: Option<OwnedFd>,
    [console, pidfd_socket]: [Option<&OwnedFd>; 2],
    undo: &mut Undo,
) -> Result<Created> {
    let dir = undo
        .dir
        .as_ref()
        .ok_or_else(|| invalid("no state directory"))?;
    let placing = match placement::request(plan, options)? {
        Some(request) => Some((placement::free(&request)?, request)),
        None => None,
    };
    // Before anything is made, what a later delete needs to clean up should this process be killed.
    dir.write(&Stored {
        intent: placement::intent(plan, options),
        ..stored.ending()
    })?;
    let failed = |source| Error::Cgroup { source };
    let mut to_come = Vec::new();
    if let Some((host, request)) = &placing {
        let cgroup = host.begin(request).map_err(failed)?;
        stored.cgroup = cgroup.record().clone();
        to_come = cgroup.to_come();
        undo.cgroup = Some(cgroup);
    }
    if options.notify {
        // Whoever the container's program is goes through it.
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&dir.fd, NOTIFY_DIRECTORY, mode)
            .and_then(|()| rustix::fs::chmodat(&dir.fd, NOTIFY_DIRECTORY, mode, AtFlags::empty()))
            .map_err(|e| Error::state("create", dir.path.join(NOTIFY_DIRECTORY), e))?;
    }
    let listener = match options.start {
        StartMode::Detached => Some(start_socket(dir)?),
        StartMode::Direct => None,
    };
    let in_new_userns = plan.namespaces.new & ns::USER != 0;
    let cgroup = undo.cgroup.as_deref();
    let (ours, theirs) = Channel::pair().map_err(|e| Error::os("make a socket pair", e))?;
    let netdevs = netdev::find(plan.linux)?;
    let offsets = plan.time_offsets();
    let second = plan.namespaces.goes_on_in_second();
    let given = given(plan, options.rootfs.take(), in_new_userns)?;
    let hook_output = Output::open(
        stored.hooks.as_ref(),
        &HookKind::OF_CREATION,
        &stored.annotations,
    )?;
    let init = Init {
        plan,
        channel: theirs,
        listener,
        given,
        stdio: std::mem::take(&mut options.stdio),
        cgroup: if to_come.is_empty() {
            Cgroup::Own(&stored.cgroup)
        } else {
            Cgroup::ToCome(&to_come)
        },
        // A second process goes on beside the report of it.
        gate: in_new_userns || !netdevs.is_empty() || offsets.is_some() || second,
        mapped: in_new_userns,
        inherited: inherited(options.preserve_fds.saturating_add(options.listen_fds))?,
        env: environment(plan, options.listen_fds),
        no_pivot: options.no_pivot,
        keyring: keyring_name(options.no_new_keyring, options.id),
        netdevs: &netdevs,
        state: stored.oci(Status::Creating),
        notify,
        hook_output: &hook_output,
    };
    let (gate, listens) = (init.gate, init.listener.is_some());
    let process = undo.process.insert(clone_init(plan, init, &ours, cgroup)?);
    let early = process.settle(&ours, "set-up", second, offsets.as_deref())?;
    stored.pid = process.number();
    if in_new_userns {
        let linux = plan.linux;
        let uid = linux
            .and_then(|l| l.uid_mappings().as_deref())
            .unwrap_or_default();
        let gid = linux
            .and_then(|l| l.gid_mappings().as_deref())
            .unwrap_or_default();
        userns::map(stored.pid, uid, gid)?;
    }
    if let Some(score) = plan.process.oom_score_adj {
        oom_score(stored.pid, score)?;
    }
    if !netdevs.is_empty() {
        hand_over_devices(plan, &netdevs, stored.pid)?;
    }
    if gate {
        heard_or_gone(ours.command(Command::Continue))
            .map_err(|e| Error::os("let the init go on", e))?;
    }
    if let (Some((_, request)), false, Some(cgroup)) =
        (&placing, to_come.is_empty(), &mut undo.cgroup)
    {
        cgroup.complete(request).map_err(failed)?;
        stored.cgroup = cgroup.record().clone();
        placement::let_in(&ours, &to_come, &**cgroup)?;
    }
    let heard = process.hear_out(&ours, "set-up", None, |pid| {
        stored.pid = pid;
        let state = stored.oci(Status::Creating);
        for kind in [HookKind::Prestart, HookKind::CreateRuntime] {
            let setting = Setting {
                env: None,
                output: &hook_output,
            };
            hooks::run(plan.hooks(kind), kind, &state, setting)?;
        }
        ours.command(Command::Continue)
            .map_err(|e| Error::os("go on after hooks", e))
    })?;
    stored.pid = process.number();
    let (start_time, _) =
        cove_sys::proc::start_time(stored.pid).map_err(|e| Error::os("identify the init", e))?;
    stored.start_time = start_time;
    let console = forward_console(heard.master, &options.console, console)?;
    forward_pidfd(process.pidfd(), "standard", pidfd_socket)?;
    let dir = undo
        .dir
        .as_ref()
        .ok_or_else(|| invalid("no state directory"))?;
    dir.write(&stored)?;
    if let Some(path) = options.pid_file {
        write_pid_file(path, stored.pid)?;
    }
    if listens {
        // From here on the init no longer depends on this process.
        ours.command(Command::Go)
            .map_err(|e| Error::os("release the init", e))?;
        dir.unlock();
    }
    let process = undo.process.take().ok_or(Error::InitDied("set-up"))?;
    let (pid, pidfd) = process.release("set-up")?;
    let dir = undo
        .dir
        .take()
        .ok_or_else(|| invalid("no state directory"))?;
    undo.cgroup = None;
    let mut warnings = plan.warnings.clone();
    warnings.extend(early);
    warnings.extend(heard.warnings);
    Ok(Created {
        pid,
        pidfd,
        console,
        warnings,
        channel: ours,
        mode: options.start,
        dir,
        stored,
    })
}

/// What has been made so far; undone when dropped, in reverse.
#[derive(Debug)]
struct Undo {
    dir: Option<StateDir>,
    cgroup: Option<Box<dyn Backend>>,
    process: Option<Newborn>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        // The first error is what the caller hears; a failure here could only hide it.
        drop(self.process.take());
        if let Some(cgroup) = self.cgroup.take() {
            drop(cgroup.signal(Signal::KILL));
            drop(cgroup.delete());
        }
        if let Some(dir) = self.dir.take() {
            drop(dir.remove());
        }
    }
}

fn stored(plan: &Plan<'_>, options: &CreateOptions<'_>, bundle: &Path) -> Stored {
    let spec = plan.spec;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Stored {
        oci_version: spec.version().clone(),
        id: options.id.to_owned(),
        bundle: bundle.to_owned(),
        rootfs: plan.rootfs.clone(),
        created: now.as_secs(),
        owner: geteuid().as_raw(),
        annotations: spec.annotations().clone().unwrap_or_default(),
        pid: 0,
        start_time: 0,
        detached: options.start == StartMode::Detached,
        namespaces: plan.namespaces.all(),
        cgroup: cgroup::Record::default(),
        intent: None,
        hooks: spec.hooks().clone(),
        process: spec.process().clone(),
        seccomp: plan.linux.and_then(|linux| linux.seccomp().clone()),
        personality: plan.linux.and_then(|linux| linux.personality().clone()),
        memory_policy: plan.linux.and_then(|linux| linux.memory_policy().clone()),
    }
}

fn hand_over_devices(plan: &Plan<'_>, devices: &[NetDevice], pid: i32) -> Result<()> {
    if let Some(join) = plan
        .namespaces
        .join
        .iter()
        .find(|join| join.kind == ns::NET)
    {
        return netdev::hand_over(devices, &join.fd);
    }
    let path = format!("/proc/{pid}/ns/net");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::openat(CWD, &path, flags, Mode::empty())
        .map_err(|e| Error::path("open", &path, e))?;
    netdev::hand_over(devices, &namespace)
}

fn clone_init(
    plan: &Plan<'_>,
    init: Init<'_>,
    ours: &Channel,
    cgroup: Option<&dyn Backend>,
) -> Result<Newborn> {
    let names = &plan.namespaces;
    // Cgroup and time cannot be made here.
    let at_once = names.made_at_once();
    let flags = if at_once {
        names.new & !(ns::CGROUP | ns::TIME)
    } else {
        0
    };
    let mut joins = names.join.iter();
    let join_pid = joins.find(|join| join.kind == ns::PID && at_once);
    let _back = join_pid
        .map(|join| PidNamespace::enter(join.fd.as_fd()))
        .transpose()?;
    let args = CloneArgs {
        flags: flags | CLEAR_SIGHAND,
        cgroup: cgroup.and_then(Backend::clone_fd),
    };
    // SAFETY: by the contract of `create` the caller has one thread.
    #[expect(unsafe_code, reason = "the init is made by one clone3")]
    let cloned = unsafe { clone3(&args) };
    match cloned.map_err(|e| Error::os("make the container's first process", e))? {
        Cloned::Child => {
            ours.close_copy();
            init::run(init)
        }
        Cloned::Parent { pid, pidfd } => Ok(Newborn::new(pid, pidfd)),
    }
}

/// For the time it lives, children of this thread are made in another pid namespace.
#[derive(Debug)]
pub(crate) struct PidNamespace {
    own: OwnedFd,
}

impl PidNamespace {
    /// `target` is a pid namespace, or a pidfd of a process in it.
    pub(crate) fn enter(target: BorrowedFd<'_>) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(CWD, "/proc/self/ns/pid", flags, Mode::empty())
            .map_err(|e| Error::path("open", "/proc/self/ns/pid", e))?;
        ns::setns(target, ns::PID).map_err(|e| Error::os("join the pid namespace", e))?;
        Ok(Self { own })
    }
}

impl Drop for PidNamespace {
    fn drop(&mut self) {
        // Going back to one's own namespace cannot be refused.
        drop(ns::setns(&self.own, ns::PID));
    }
}

/// Mounts that the init could not open with the rights it has in its user namespace, and those
/// whose ids are mapped, which takes the rights of the filesystem's owner.
fn given(plan: &Plan<'_>, root: Option<OwnedFd>, new_userns: bool) -> Result<Given> {
    let mut binds = Vec::new();
    binds.resize_with(plan.mounts.len(), || None);
    let open_all = (new_userns || plan.namespaces.joins(ns::USER)) && geteuid().is_root();
    for (slot, entry) in binds.iter_mut().zip(&plan.mounts) {
        let Kind::Bind { recursive } = entry.kind else {
            continue;
        };
        if (!open_all && entry.idmap.is_none()) || entry.inside.is_some() {
            continue;
        }
        let prepared: Prepared = init::mount::bind(entry, recursive)?;
        // The copy was made among the host's mounts, and the init's own are cut off from them: it
        // hears of them, for `rslave`, and tells them nothing.
        let propagation = match plan.propagation {
            Some((flag, _)) if flag == libc::MS_PRIVATE => libc::MS_PRIVATE,
            Some(_) | None => libc::MS_SLAVE,
        };
        set_propagation(&prepared.mount, true, propagation)
            .map_err(|e| Error::path("cut off", &entry.source, e))?;
        if let Some(maps) = &entry.idmap {
            let userns = mount_namespace(plan, maps)?;
            let change = MountAttr {
                set: attr::IDMAP,
                userns: Some(userns.as_fd()),
                ..MountAttr::default()
            };
            mount_setattr(&prepared.mount, maps.recursive, &change)
                .map_err(|e| Error::path("idmap mount", entry.dest, e))?;
        }
        *slot = Some(prepared);
    }
    let root = match root {
        None if open_all => {
            let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
                | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC
                | rustix::mount::OpenTreeFlags::AT_RECURSIVE;
            let tree = rustix::mount::open_tree(CWD, &plan.rootfs, flags)
                .map_err(|e| Error::path("open root filesystem", &plan.rootfs, e))?;
            // As it would be where the init copies it itself.
            let propagation = match plan.propagation {
                Some((flag, _)) if flag != libc::MS_SLAVE => libc::MS_PRIVATE,
                Some(_) | None => libc::MS_SLAVE,
            };
            set_propagation(&tree, true, propagation)
                .map_err(|e| Error::path("cut off", &plan.rootfs, e))?;
            Some(tree)
        }
        other => other,
    };
    let userns = new_userns || plan.namespaces.joins(ns::USER);
    let nodes = if userns && init::rootfs::own_dev(plan) {
        init::nodes::filesystem(plan)?
    } else {
        None
    };
    Ok(Given { root, binds, nodes })
}

/// The user namespace that says how a mount maps ids.
fn mount_namespace(plan: &Plan<'_>, maps: &IdMaps<'_>) -> Result<OwnedFd> {
    match &maps.ids {
        Ids::Mapped { uid, gid } => userns::for_mount(uid, gid),
        Ids::Joined => {
            let mut joins = plan.namespaces.join.iter();
            let user = joins.find(|join| join.kind == ns::USER);
            let user = user.ok_or_else(|| invalid("no user namespace to map ids by"))?;
            let copy = user.fd.try_clone();
            copy.map_err(|e| Error::path("duplicate", &user.path, e))
        }
    }
}

/// The caller's descriptors from 3 on that the program is handed. Where it passed fewer than it says,
/// the number may be one of our own, which leads to the host.
pub(crate) fn inherited(count: u32) -> Result<u32> {
    let missing = (3..)
        .zip(0..count)
        .find(|(number, _)| !cove_sys::fds::is_inherited(*number));
    match missing {
        None => Ok(count),
        Some((number, _)) => Err(invalid(format!(
            "descriptor {number} is to be preserved, but is not open"
        ))),
    }
}

pub(crate) fn environment(plan: &Plan<'_>, listen_fds: u32) -> Vec<CString> {
    let mut env = plan.process.env.clone();
    if listen_fds > 0 {
        set_variable(&mut env, "LISTEN_FDS", listen_fds);
        set_variable(&mut env, "LISTEN_PID", 1);
    }
    env
}

pub(crate) fn keyring_name(none: bool, id: &str) -> Option<CString> {
    if none {
        None
    } else {
        CString::new(format!("_ses.{id}")).ok()
    }
}

pub(crate) fn oom_score(pid: i32, score: i32) -> Result<()> {
    let path = format!("/proc/{pid}/oom_score_adj");
    let write = || {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &path, flags, Mode::empty())?;
        rustix::io::write(&file, score.to_string().as_bytes())
    };
    write()
        .map(drop)
        .map_err(|e| Error::path("write", &path, e))
}

pub(crate) fn poststart(stored: &Stored, pidfd: BorrowedFd<'_>) -> Result<()> {
    let kind = HookKind::Poststart;
    let run = || {
        let output = Output::open(stored.hooks.as_ref(), &[kind], &stored.annotations)?;
        let setting = Setting {
            env: None,
            output: &output,
        };
        let hooks = kind.of(stored.hooks.as_ref());
        hooks::run(hooks, kind, &stored.oci(Status::Running), setting)
    };
    run().inspect_err(|_| {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    })
}

/// Written beside and renamed, so that whoever watches for the file finds it whole.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let next: PathBuf = path.with_file_name(name);
    std::fs::write(&next, pid.to_string())
        .and_then(|()| std::fs::rename(&next, path))
        .map_err(|e| Error::path("write pid file", path, e))
}
