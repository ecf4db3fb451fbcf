//! A bare command line on top of the crate, for tests and measurements: each operation is what its
//! name says, a failure is one line on standard error and exit status 1 (126/127 for a program
//! that cannot run).

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cove_sandbox::{
    CgroupManagerChoice, Console, Container, CreateOptions, Error, ExecOptions, InitFault,
    StartMode, create, list, load_process, load_spec,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    cove_sys::exec::wait_for_own_children();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os("COVE_RT_UNSEALED").is_none()
        && let Err(error) = cove_sys::seal::ensure_sealed()
    {
        eprintln!("seal: {error}");
        return ExitCode::FAILURE;
    }
    match run(&args) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("{text}");
            ExitCode::from(match error.downcast_ref::<Error>() {
                Some(Error::Init {
                    fault: InitFault::NotFound,
                    ..
                }) => 127,
                Some(Error::Init {
                    fault: InitFault::NotExecutable,
                    ..
                }) => 126,
                _ => 1,
            })
        }
    }
}

struct Args<'a> {
    words: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Args<'a> {
    fn parse(args: &'a [String]) -> Self {
        let mut all = Args {
            words: Vec::new(),
            options: Vec::new(),
        };
        for arg in args {
            match arg.strip_prefix("--") {
                Some(option) => all
                    .options
                    .push(option.split_once('=').unwrap_or((option, ""))),
                None => all.words.push(arg),
            }
        }
        all
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.options
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    fn word(&self, at: usize) -> Anyhow<&'a str> {
        self.words
            .get(at)
            .copied()
            .ok_or_else(|| "an argument is missing".into())
    }
}

fn run(args: &[String]) -> Anyhow<u8> {
    let args = Args::parse(args);
    let root = PathBuf::from(args.get("root").unwrap_or("/run/cove-rt"));
    let operation = args.word(0)?;
    if operation == "list" {
        println!("{}", list(&root)?.join("\n"));
        return Ok(0);
    }
    let id = args.word(1)?;
    if matches!(operation, "create" | "run") {
        return launch(&args, &root, id, operation == "run");
    }
    let container = Container::load(&root, id)?;
    match operation {
        "start" => warn(&container.start()?),
        "state" => println!("{}", serde_json::to_string(&container.state()?)?),
        "kill" => container.kill(args.word(2)?.parse()?, args.get("all").is_some())?,
        "delete" => warn(&container.delete(args.get("force").is_some())?),
        "ps" => println!("{:?}", container.ps()?),
        "pause" => container.pause()?,
        "resume" => container.resume()?,
        "stats" => println!("{:?}", container.stats()?),
        "update" => drop(container.update(&serde_json::from_str(args.word(2)?)?)?),
        "exec" => return exec(&args, &container),
        other => return Err(format!("{other} is unknown").into()),
    }
    Ok(0)
}

fn launch(args: &Args<'_>, root: &Path, id: &str, run: bool) -> Anyhow<u8> {
    let bundle = PathBuf::from(args.get("bundle").unwrap_or("."));
    let loaded = load_spec(&bundle.join("config.json"))?;
    warn(&loaded.warnings);
    let mut options = CreateOptions::new(id, &bundle, root);
    options.pid_file = args.get("pid-file").map(Path::new);
    options.no_pivot = args.get("no-pivot").is_some();
    options.preserve_fds = args.get("preserve-fds").map_or(Ok(0), str::parse)?;
    if args.get("no-cgroup").is_some() {
        options.cgroup = CgroupManagerChoice::None;
    }
    if let Some(path) = args.get("console-socket") {
        options.console = Console::Socket(Path::new(path));
    }
    if let Some(path) = args.get("rootfs-fd-of") {
        options.rootfs = Some(rustix::mount::open_tree(
            rustix::fs::CWD,
            path,
            rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
                | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )?);
    }
    if run {
        options.start = StartMode::Direct;
    }
    let mut created = create(&loaded.value, options)?;
    warn(&created.warnings);
    created.warnings.clear();
    if !run {
        return Ok(0);
    }
    let pidfd = created.pidfd.try_clone()?;
    let master = created.console.take();
    let started = created.start();
    if let Ok(warnings) = &started {
        warn(warnings);
        if let Some(master) = master {
            copy(&master)?;
        }
    }
    let status = wait(&pidfd)?;
    Container::load(root, id)?.delete(true)?;
    started?;
    Ok(status)
}

fn exec(args: &Args<'_>, container: &Container) -> Anyhow<u8> {
    let loaded = load_process(Path::new(args.word(2)?))?;
    warn(&loaded.warnings);
    let options = ExecOptions {
        pid_file: args.get("pid-file").map(Path::new),
        preserve_fds: args.get("preserve-fds").map_or(Ok(0), str::parse)?,
        ..ExecOptions::default()
    };
    let child = container.exec(&loaded.value, options)?;
    warn(&child.warnings);
    if let Some(master) = &child.console {
        copy(master)?;
    }
    wait(&child.pidfd)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// What the terminal shows, until its last user is gone.
fn copy(master: impl AsFd) -> Anyhow<()> {
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::io::read(master.as_fd(), &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => return Ok(()),
            Ok(length) => {
                rustix::io::write(rustix::stdio::stdout(), &buffer[..length])?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn wait(pidfd: impl AsFd) -> Anyhow<u8> {
    let _number = pidfd.as_fd().as_raw_fd();
    let status = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let status = status.ok_or("no status")?;
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    Ok(u8::try_from(code & 0xff)?)
}
