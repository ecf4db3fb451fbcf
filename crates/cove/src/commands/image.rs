//! The commands of images.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};

use cove_docker::filter::Filters;
use cove_docker::image::{Filter, Named, Row, Step, id};
use cove_docker::rows::{self, Line};
use cove_docker::{human, time};
use cove_engine::{ErrorKind, ImageInfo, ImportRequest, PullOptions, Removal, SaveFormat};
use cove_model::Reference;
use cove_model::image::Platform;

use super::archive::write_archive;
use super::each;
pub(crate) use super::login::{login, logout};
use super::tables::NoFlags;
use super::tables::image::{
    HistoryFlags, ImagePruneFlags, ImagesFlags, ImportFlags, LoadFlags, PullFlags, RmiFlags,
    SaveFlags,
};
use crate::outcome::{Failure, Outcome};
use crate::progress::Report;
use crate::settings::Session;
use crate::signals::Interrupt;
use crate::{output, parse, zone};

/// Fetches an image.
pub(crate) fn pull(session: &Session, flags: &PullFlags, args: &[String]) -> Outcome {
    let name = args[0].as_str();
    let quiet = flags.quiet;
    let reference =
        Reference::parse_docker(name).map_err(|error| Failure::plain(error.to_string()))?;
    let platform = platform(&flags.platform)?;
    if !quiet && reference.tag().is_none() && reference.digest().is_none() {
        output::line("Using default tag: latest")?;
    }
    let report = Report::of_pull(quiet);
    let interrupt = Interrupt::watch()?;
    let options = PullOptions {
        platform,
        cancel: interrupt.cancel.clone(),
    };
    let pulled = session
        .images()?
        .pull(name, &options, &report)
        .map_err(|error| interrupt.ended(error))?;
    output::line(&full_name(&pulled.reference))?;
    Ok(0)
}

/// What `--platform` says.
fn platform(text: &str) -> Result<Option<Platform>, Failure> {
    match text {
        "" => Ok(None),
        text => parse::platform::parse(text)
            .map(Some)
            .map_err(Failure::plain),
    }
}

/// A name with its registry.
fn full_name(reference: &Reference) -> String {
    let mut name = reference.name();
    if let Some(tag) = reference.tag() {
        name.push(':');
        name.push_str(tag);
    }
    if let Some(digest) = reference.digest() {
        name.push('@');
        name.push_str(&digest.to_string());
    }
    name
}

/// Lists images.
pub(crate) fn images(session: &Session, flags: &ImagesFlags, args: &[String]) -> Outcome {
    let engine = session.engine()?;
    let clock = zone::clock();
    let filter = Filter::new(engine, &clock, &flags.filter, args)?;
    let mut list = engine.images().list()?;
    if list.is_empty()
        && let Some(words) = session.roots_are_elsewhere("images")
    {
        output::note(&words);
    }
    list.iter().for_each(warn_of_damage);
    filter.select(&mut list);
    let format = flags.format.as_str();
    let digests = flags.digests || format.contains(".Digest");
    let named: Vec<Named<'_>> = list
        .iter()
        .flat_map(|image| filter.names(image, digests))
        .collect();
    let cut = !flags.no_trunc;
    if flags.quiet && format.is_empty() {
        let ids = named.iter().map(|named| id(&named.image.id, cut));
        output::text(&ids.map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(0);
    }
    let line = |named| Line {
        row: Row::of(named, &clock, cut),
        labels: &named.image.config.config.labels,
    };
    let lines: Vec<Line<'_, Row>> = named.iter().map(line).collect();
    let default = if flags.digests {
        Row::WITH_DIGESTS
    } else {
        Row::DEFAULT
    };
    output::text(&rows::render(format, default, &lines).map_err(Failure::plain)?)?;
    Ok(0)
}

/// An image that cannot be used is listed all the same: it can be removed.
fn warn_of_damage(image: &ImageInfo) {
    if let Some(damage) = &image.damage {
        output::note(&format!("WARNING: {damage}"));
    }
}

/// Shows how an image came to be.
pub(crate) fn history(session: &Session, flags: &HistoryFlags, args: &[String]) -> Outcome {
    let engine = session.engine()?;
    let name = args[0].as_str();
    check_platform(&engine.images().get(name)?, name, &flags.platform)?;
    let cut = !flags.no_trunc;
    let readable = flags.human.unwrap_or(true);
    let clock = zone::clock();
    let entries = engine.images().history(name)?;
    let steps = entries
        .iter()
        .map(|entry| Step::of(entry, &clock, cut, readable));
    let format = flags.format.as_str();
    if flags.quiet && format.is_empty() {
        let ids: String = steps.map(|step| format!("{}\n", step.id)).collect();
        output::text(&ids)?;
        return Ok(0);
    }
    let lines = rows::plain(steps);
    output::text(&rows::render(format, Step::DEFAULT, &lines).map_err(Failure::plain)?)?;
    Ok(0)
}

/// Refuses an image that is not for the platform of `--platform`.
pub(crate) fn check_platform(image: &ImageInfo, name: &str, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let wanted = parse::platform::parse(text).map_err(Failure::plain)?;
    if image.is_for(&wanted) {
        return Ok(());
    }
    Err(Failure::error(format!(
        "image with reference {name} was found but does not provide the specified platform ({text})"
    )))
}

/// Gives an image another name.
pub(crate) fn tag(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    let target = &args[1];
    for name in [&args[0], target] {
        Reference::parse_docker(name).map_err(|error| {
            Failure::plain(format!(
                "Error parsing reference: \"{name}\" is not a valid repository/tag: {error}"
            ))
        })?;
    }
    session.images()?.tag(&args[0], target)?;
    Ok(0)
}

/// Removes names, and the images that lost their last one.
pub(crate) fn rmi(session: &Session, flags: &RmiFlags, args: &[String]) -> Outcome {
    let force = flags.force;
    let parents = !flags.no_prune;
    let engine = session.engine()?;
    each(args, |name| {
        Reference::parse_docker(name).map_err(|error| Failure::error(error.to_string()))?;
        let removals = match engine.images().remove(name, force, parents) {
            // What is not there is as good as removed, when one insists.
            Err(error) if force && error.kind() == ErrorKind::NotFound => {
                output::note(&format!("Error: {}", Failure::from(error).message));
                return Ok(());
            }
            other => other?,
        };
        let lines: String = removals
            .iter()
            .map(|removal| removed(removal, true))
            .collect();
        output::text(&lines)
    })
}

/// The line that tells of a removal; `prune` writes it small.
fn removed(removal: &Removal, capital: bool) -> String {
    match (removal, capital) {
        (Removal::Untagged(name), true) => format!("Untagged: {name}\n"),
        (Removal::Untagged(name), false) => format!("untagged: {name}\n"),
        (Removal::Deleted(id), true) => format!("Deleted: {id}\n"),
        (Removal::Deleted(id), false) => format!("deleted: {id}\n"),
    }
}

/// Removes images that nothing needs.
pub(crate) fn image_prune(session: &Session, flags: &ImagePruneFlags, _: &[String]) -> Outcome {
    let all = flags.all;
    let question = if all {
        "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?"
    } else {
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue?"
    };
    if !flags.force && !output::confirm(question)? {
        return Ok(0);
    }
    let (text, reclaimed) = prune(session, all, &flags.filter)?;
    output::text(&text)?;
    output::line(&format!(
        "Total reclaimed space: {}",
        human::size(reclaimed)
    ))?;
    Ok(0)
}

/// Removes images that nothing needs; what to tell, and the bytes given back.
pub(crate) fn prune(
    session: &Session,
    all: bool,
    filters: &[String],
) -> Result<(String, u64), Failure> {
    let known = ["label", "label!", "until", "dangling"];
    let filters = Filters::new(filters, &known).map_err(Failure::error)?;
    let all = all || filters.truth("dangling").map_err(Failure::error)? == Some(false);
    let until = filters.until(&zone::clock()).map_err(Failure::error)?;
    let report = session.images()?.prune(all, |image| {
        let old = until
            .is_none_or(|until| time::read(&image.created).is_some_and(|created| created < until));
        // Nobody knows what labels a damaged image has.
        let unknown = image.damage.is_some() && !filters.get("label!").is_empty();
        !(old && !unknown && filters.labels(&image.config.config.labels))
    })?;
    if report.removals.is_empty() {
        return Ok((String::new(), report.reclaimed));
    }
    let lines: String = report
        .removals
        .iter()
        .map(|removal| removed(removal, false))
        .collect();
    Ok((format!("Deleted Images:\n{lines}\n"), report.reclaimed))
}

/// Writes images as an archive that Docker and OCI tools load.
pub(crate) fn save(session: &Session, flags: &SaveFlags, args: &[String]) -> Outcome {
    write_archive(&flags.output, "save image", |out| {
        Ok(session.images()?.save(args, SaveFormat::Docker, out)?)
    })
}

/// Reads images from an archive.
pub(crate) fn load(session: &Session, flags: &LoadFlags, _: &[String]) -> Outcome {
    let input: Box<dyn Read + Send> = match flags.input.as_str() {
        "" if io::stdin().is_terminal() => {
            return Err(Failure::plain(
                "requested load from stdin, but stdin is empty",
            ));
        }
        "" => Box::new(io::stdin()),
        path => open(path)?,
    };
    // There is no progress for --quiet to keep back.
    for loaded in session.images()?.load(input)? {
        if loaded.names.is_empty() {
            output::line(&format!("Loaded image ID: {}", loaded.id))?;
        }
        for name in &loaded.names {
            output::line(&format!("Loaded image: {}", name.familiar()))?;
        }
    }
    Ok(0)
}

/// Opens an archive.
fn open(path: &str) -> Result<Box<dyn Read + Send>, Failure> {
    let file = File::open(path).map_err(|error| output::open_failure(path, &error))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::plain(format!("read {path}: is a directory")));
    }
    Ok(Box::new(file))
}

/// Makes an image of one layer from a tar archive.
pub(crate) fn import(session: &Session, flags: &ImportFlags, args: &[String]) -> Outcome {
    let (source, reference) = match args {
        [source] => (source.as_str(), None),
        [source, reference] => (source.as_str(), Some(reference.as_str())),
        _ => return Err(Failure::plain("import takes a file and, at most, a name")),
    };
    let engine = session.engine()?;
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| source.starts_with(scheme));
    let input: Box<dyn Read + Send> = match source {
        "-" => Box::new(io::stdin()),
        url if is_url => {
            let content = engine.images().download(url)?;
            output::line(&format!("Downloading from {url}"))?;
            Box::new(content)
        }
        path => open(path)?,
    };
    let message = match flags.message.as_str() {
        "" if is_url => format!("Imported from {source}"),
        "" => "Imported from -".to_owned(),
        message => message.to_owned(),
    };
    let request = ImportRequest {
        name: reference.map(str::to_owned),
        platform: platform(&flags.platform)?,
        message,
        changes: flags.change.clone(),
    };
    let id = engine.images().import(input, &request)?;
    output::line(&id.to_string())?;
    Ok(0)
}
