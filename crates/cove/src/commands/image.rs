//! The commands of images.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};

use cove_engine::{ErrorKind, ImageInfo, ImportRequest, PullOptions, Removal, SaveFormat};
use cove_model::Reference;
use cove_model::glob;
use cove_model::image::Platform;
use jiff::Timestamp;

use super::archive::write_archive;
use super::container::until;
use super::each;
pub(crate) use super::login::{login, logout};
use super::tables::NoFlags;
use super::tables::image::{
    HistoryFlags, ImagePruneFlags, ImagesFlags, ImportFlags, LoadFlags, PullFlags, RmiFlags,
    SaveFlags,
};
use crate::format::rows::{Columns, Row};
use crate::format::{human, time};
use crate::outcome::{Failure, Outcome};
use crate::parse::filter::{Between, Filters};
use crate::progress::Report;
use crate::settings::Session;
use crate::{output, parse};

use super::list::ellipsis;

const COLUMNS: Columns = Columns {
    type_name: "*formatter.imageContext",
    fields: &[
        ("Containers", "CONTAINERS"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("SharedSize", "SHARED SIZE"),
        ("Size", "SIZE"),
        ("Tag", "TAG"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("VirtualSize", "SIZE"),
    ],
};

const STEPS: Columns = Columns {
    type_name: "*formatter.historyContext",
    fields: &[
        ("Comment", "COMMENT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("CreatedSince", "CREATED"),
        ("ID", "IMAGE"),
        ("Size", "SIZE"),
    ],
};

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
    let pulled = session
        .images()?
        .pull(name, &PullOptions { platform }, &report)?;
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

/// One row of `images` before it is shown.
struct Listed<'a> {
    image: &'a ImageInfo,
    repository: String,
    tag: String,
    digest: String,
}

/// Lists images.
pub(crate) fn images(session: &Session, flags: &ImagesFlags, args: &[String]) -> Outcome {
    let engine = session.engine()?;
    let known = [
        "dangling",
        "label",
        "label!",
        "before",
        "since",
        "reference",
        "until",
    ];
    let filters = Filters::new(&flags.filter, &known).map_err(Failure::error)?;
    let dangling = filters.truth("dangling").map_err(Failure::error)?;
    let until = until(&filters)?;
    let between = Between::new(&filters, |other| {
        engine.images().get(other).map(|image| image.created)
    })?;
    let mut patterns: Vec<String> = filters.get("reference").to_vec();
    patterns.extend(args.iter().cloned());
    let mut list = engine.images().list()?;
    if list.is_empty()
        && let Some(words) = session.roots_are_elsewhere("images")
    {
        output::note(&words);
    }
    list.iter().for_each(warn_of_damage);
    // By time, not by text: some are written with another offset.
    list.sort_by_cached_key(|image| std::cmp::Reverse(time::read(&image.created)));
    let digests = flags.digests || flags.format.contains(".Digest");
    let mut listed = Vec::new();
    for image in &list {
        let keep = dangling.is_none_or(|wanted| image.tags.is_empty() == wanted)
            && filters.labels(&image.config.config.labels)
            && between.holds(&image.created)
            && until.is_none_or(|until| {
                time::read(&image.created).is_some_and(|created| created < until)
            });
        if keep {
            listed.extend(names(image, &patterns, digests));
        }
    }
    let trunc = !flags.no_trunc;
    if flags.quiet && flags.format.is_empty() {
        let ids = listed
            .iter()
            .map(|row| format!("{}\n", id(row.image, trunc)));
        output::text(&ids.collect::<String>())?;
        return Ok(0);
    }
    let now = Timestamp::now();
    let rows: Vec<Row> = listed
        .iter()
        .map(|listed| row(listed, now, trunc))
        .collect();
    let default: &[&str] = if flags.digests {
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        &["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    output::text(&COLUMNS.render(&flags.format, default, &rows)?)?;
    Ok(0)
}

/// An image that cannot be used is listed all the same: it can be removed.
fn warn_of_damage(image: &ImageInfo) {
    if let Some(damage) = &image.damage {
        output::note(&format!("WARNING: {damage}"));
    }
}

/// The rows of an image: one per name that a pattern matches.
fn names<'a>(image: &'a ImageInfo, patterns: &[String], digests: bool) -> Vec<Listed<'a>> {
    const NONE: &str = "<none>";
    let wanted = |reference: &Reference| {
        patterns.is_empty()
            || patterns.iter().any(|pattern| {
                glob::matches(pattern, &reference.familiar())
                    || glob::matches(pattern, &reference.familiar_name())
            })
    };
    let digest_of = |name: &str| {
        let found = image
            .repo_digests
            .iter()
            .find(|digest| digest.familiar_name() == name);
        found
            .and_then(Reference::digest)
            .map_or_else(|| NONE.to_owned(), ToString::to_string)
    };
    let mut rows: Vec<Listed<'_>> = Vec::new();
    for tag in image.tags.iter().filter(|tag| wanted(tag)) {
        let repository = tag.familiar_name();
        let digest = if digests {
            digest_of(&repository)
        } else {
            NONE.to_owned()
        };
        let tag = tag.tag().unwrap_or(NONE).to_owned();
        rows.push(Listed {
            image,
            repository,
            tag,
            digest,
        });
    }
    // A name by content alone is shown where no tag has that repository.
    let tagged: BTreeSet<String> = image.tags.iter().map(Reference::familiar_name).collect();
    for reference in image
        .repo_digests
        .iter()
        .filter(|reference| wanted(reference))
    {
        let repository = reference.familiar_name();
        if !tagged.contains(&repository) {
            let digest = digest_of(&repository);
            rows.push(Listed {
                image,
                repository,
                tag: NONE.to_owned(),
                digest,
            });
        }
    }
    if image.tags.is_empty() && image.repo_digests.is_empty() && patterns.is_empty() {
        let none = || NONE.to_owned();
        rows.push(Listed {
            image,
            repository: none(),
            tag: none(),
            digest: none(),
        });
    }
    rows
}

fn id(image: &ImageInfo, trunc: bool) -> String {
    if trunc {
        image.id.hex()[..12].to_owned()
    } else {
        image.id.to_string()
    }
}

fn row(listed: &Listed<'_>, now: Timestamp, trunc: bool) -> Row {
    let image = listed.image;
    let created = time::read(&image.created);
    let unknown = || "N/A".to_owned();
    let texts = [
        unknown(),
        created.map_or_else(unknown, time::go_string),
        created.map_or_else(unknown, |time| time::ago(time, now)),
        listed.digest.clone(),
        id(image, trunc),
        listed.repository.clone(),
        unknown(),
        human::short_size(image.size),
        listed.tag.clone(),
        unknown(),
        human::size(image.size),
    ];
    Row {
        values: texts.into_iter().map(Into::into).collect(),
        labels: image.config.config.labels.clone(),
    }
}

/// Shows how an image came to be.
pub(crate) fn history(session: &Session, flags: &HistoryFlags, args: &[String]) -> Outcome {
    let engine = session.engine()?;
    let name = args[0].as_str();
    check_platform(&engine.images().get(name)?, name, &flags.platform)?;
    let trunc = !flags.no_trunc;
    let readable = flags.human.unwrap_or(true);
    let now = Timestamp::now();
    let entries = engine.images().history(name)?;
    let mut rows = Vec::with_capacity(entries.len());
    for entry in &entries {
        let id = match (&entry.id, trunc) {
            (None, _) => "<missing>".to_owned(),
            (Some(id), true) => id.hex()[..12].to_owned(),
            (Some(id), false) => id.to_string(),
        };
        let created = time::read(&entry.created);
        let by = entry.created_by.replace('\t', " ");
        let created_by = if trunc { ellipsis(&by, 45) } else { by };
        let at = created.map_or_else(String::new, time::rfc3339);
        let since = match created {
            Some(created) if readable => time::ago(created, now),
            _ => at.clone(),
        };
        let size = if readable {
            human::short_size(entry.size)
        } else {
            entry.size.to_string()
        };
        let texts = [entry.comment.clone(), at, created_by, since, id, size];
        rows.push(Row {
            values: texts.into_iter().map(Into::into).collect(),
            ..Row::default()
        });
    }
    if flags.quiet && flags.format.is_empty() {
        let ids = rows.iter().filter_map(|row| row.values[4].as_str());
        output::text(&ids.map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(0);
    }
    let default = ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"];
    output::text(&STEPS.render(&flags.format, &default, &rows)?)?;
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
    let engine = session.engine()?;
    each(args, |name| {
        Reference::parse_docker(name).map_err(|error| Failure::error(error.to_string()))?;
        let removals = match engine.images().remove(name, force) {
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
    let until = until(&filters)?;
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
