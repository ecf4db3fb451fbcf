//! `cp`: files between a container and the host, with Docker's rules for what
//! goes where. Both sides speak tar; one thread packs, the other extracts.

mod host;
mod paths;

use std::io::{self, BufWriter, IsTerminal as _, Read, Write};
use std::path::Path;

use cove_engine::{Engine, ErrorKind, Extract, Owner, PathStat};
use cove_model::instance::Record;

use super::record;
use super::tables::container::CpFlags;
use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::settings::Session;
use cove_docker::human;
use host::Source;
pub(super) use host::{check_output, missing_parent};
use paths::{Destination, split_argument};

/// How a copy is made.
struct Options {
    archive: bool,
    follow: bool,
    quiet: bool,
}

/// Copies between a container and the host.
pub(crate) fn cp(session: &Session, flags: &CpFlags, args: &[String]) -> Outcome {
    let [source, destination] = args else {
        return Err(Failure::plain("requires 2 arguments"));
    };
    if source.is_empty() {
        return Err(Failure::plain("source can not be empty"));
    }
    if destination.is_empty() {
        return Err(Failure::plain("destination can not be empty"));
    }
    let options = Options {
        archive: flags.archive,
        follow: flags.follow_link,
        quiet: flags.quiet.unwrap_or(!io::stdout().is_terminal()),
    };
    let ends = (split_argument(source), split_argument(destination));
    match ends {
        ((Some(_), ""), (None, _)) | ((None, _), (Some(_), "")) => {
            Err(Failure::error("bad parameter: path cannot be empty"))
        }
        ((Some(container), from), (None, to)) => {
            let record = record(session, container)?;
            from_container(session.engine()?, &record, from, to, &options)
        }
        ((None, from), (Some(container), path)) => {
            let record = record(session, container)?;
            let to = Place { container, path };
            to_container(session.engine()?, &record, from, to, &options)
        }
        ((Some(_), _), (Some(_), _)) => Err(Failure::plain(
            "copying between containers is not supported",
        )),
        ((None, _), (None, _)) => Err(Failure::plain("must specify at least one container source")),
    }
}

/// A path in a container, as the user wrote both.
#[derive(Clone, Copy)]
struct Place<'a> {
    container: &'a str,
    path: &'a str,
}

fn from_container(
    engine: &Engine,
    record: &Record,
    from: &str,
    to: &str,
    options: &Options,
) -> Outcome {
    // A link that is followed keeps its own name.
    let name = paths::base(&paths::absolute(from, "/")).to_owned();
    let mut path = from.to_owned();
    if options.follow
        && let Some(target) = engine.instances().stat_path(record, &path)?.link_target
    {
        path = target;
    }
    if to == "-" {
        let base = if name == "/" { "." } else { &name };
        let mut out = Told::new(io::stdout());
        let copied = engine
            .instances()
            .copy_out(record, &path, base, !options.follow, &mut out);
        return match out.broken {
            Some(error) => Err(output::write_failure(&error)),
            None => {
                tell("not copied", copied?);
                Ok(0)
            }
        };
    }
    let to = paths::absolute(to, &here()?);
    let destination = host::destination(&to)?;
    let stat = engine.instances().stat_path(record, &path)?;
    let plan = paths::plan(&name, stat.is_dir(), &destination).map_err(Failure::plain)?;
    let directory = host::open_directory(&plan.directory)?;
    let extract = Extract {
        owner: if options.archive {
            Owner::Archive
        } else {
            Owner::Caller
        },
        // Who names a device means it; what else is in a tree is the container's choice.
        devices: options.archive || stat.is_device(),
        follow: None,
    };
    let shown = Path::new(&plan.directory);
    let (left, skipped, size) = piped(
        |out| {
            Ok(engine
                .instances()
                .copy_out(record, &path, &plan.base, !options.follow, out)?)
        },
        |input| {
            cove_engine::extract(&directory, shown, input, &extract)
                .map_err(|error| cove_engine::Error::Storage(error).into())
        },
    )?;
    tell("not copied", left);
    tell("not copied without --archive", skipped);
    summary(options, size, &to);
    Ok(0)
}

fn to_container(
    engine: &Engine,
    record: &Record,
    from: &str,
    to: Place<'_>,
    options: &Options,
) -> Outcome {
    let destination = inside(engine, record, to)?;
    let shown = format!("{}:{}", to.container, destination.path);
    let (left, skipped, size) = if from == "-" {
        if !destination.is_dir {
            return Err(Failure::plain(format!(
                "destination \"{}:{}\" must be a directory",
                to.container, to.path
            )));
        }
        let mut input = Counted::new(io::stdin());
        let skipped =
            engine
                .instances()
                .copy_in(record, &destination.path, &mut input, options.archive)?;
        (Vec::new(), skipped, input.count)
    } else {
        let from = paths::absolute(from, &here()?);
        let source = Source::open(&from, options.follow)?;
        let plan =
            paths::plan(paths::base(&from), source.is_dir, &destination).map_err(Failure::plain)?;
        piped(
            |out| host::pack(&source, &from, &plan.base, out),
            |input| {
                Ok(engine
                    .instances()
                    .copy_in(record, &plan.directory, input, options.archive)?)
            },
        )?
    };
    tell("not copied", left);
    tell("not copied", skipped);
    summary(options, size, &shown);
    Ok(0)
}

/// What is in a container where a copy is to go; a symbolic link is followed.
fn inside(engine: &Engine, record: &Record, to: Place<'_>) -> Result<Destination, Failure> {
    let found = |path: &str| -> Result<Option<PathStat>, Failure> {
        match engine.instances().stat_path(record, path) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let mut path = to.path.to_owned();
    let mut stat = found(&path)?;
    if let Some(target) = stat.as_mut().and_then(|stat| stat.link_target.take()) {
        stat = found(&target)?;
        path = target;
    }
    if stat.as_ref().is_some_and(PathStat::is_device) {
        return Err(Failure::plain(format!(
            "destination \"{}:{}\" must be a directory or a regular file: got a device",
            to.container, to.path
        )));
    }
    Ok(Destination {
        path,
        exists: stat.is_some(),
        is_dir: stat.is_some_and(|stat| stat.is_dir()),
    })
}

fn tell(what: &str, left_out: Vec<String>) {
    for name in left_out {
        output::note(&format!("{what}: {name}"));
    }
}

/// Runs both sides with a pipe between them: what each left out, and the bytes
/// that went through.
fn piped(
    pack: impl FnOnce(&mut dyn Write) -> Result<Vec<String>, Failure> + Send,
    extract: impl FnOnce(&mut dyn Read) -> Result<Vec<String>, Failure>,
) -> Result<(Vec<String>, Vec<String>, u64), Failure> {
    let (reader, writer) = io::pipe().map_err(|error| Failure::plain(error.to_string()))?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut out = Told::new(BufWriter::with_capacity(64 << 10, writer));
            let packed = pack(&mut out);
            // A side that stopped listening knows why.
            if out.broken.is_some() {
                Ok(Vec::new())
            } else {
                packed
            }
        });
        let mut input = Counted::new(reader);
        let extracted = extract(&mut input);
        let count = input.count;
        drop(input);
        let left = packing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((left, extracted?, count))
    })
}

fn summary(options: &Options, size: u64, to: &str) {
    if !options.quiet {
        output::note(&format!(
            "Successfully copied {} to {to}",
            human::short_size(size)
        ));
    }
}

fn here() -> Result<String, Failure> {
    let directory = std::env::current_dir()
        .map_err(|error| Failure::plain(format!("cannot tell the current directory: {error}")))?;
    directory
        .into_os_string()
        .into_string()
        .map_err(|_| Failure::plain("the current directory's name is not valid UTF-8"))
}

/// A writer that remembers whether it was the one that failed.
struct Told<W> {
    inner: W,
    broken: Option<io::Error>,
}

impl<W> Told<W> {
    const fn new(inner: W) -> Self {
        Self {
            inner,
            broken: None,
        }
    }

    fn told<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let copy = io::Error::from(error.kind());
            // Whoever writes tries again after an interruption.
            if copy.kind() != io::ErrorKind::Interrupted {
                self.broken = Some(error);
            }
            copy
        })
    }
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.told(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.told(result)
    }
}

/// A reader that counts.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R> Counted<R> {
    const fn new(inner: R) -> Self {
        Self { inner, count: 0 }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}
