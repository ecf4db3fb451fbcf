//! The commands that are about no single kind of thing.

use cove_docker::container::Container;
use cove_docker::document::Show;
use cove_docker::image::Image;
use cove_docker::rows::{self, Line, Row};
use cove_docker::template::{Mistake, Template};
use cove_docker::usage::{self, DiskUsage};
use cove_docker::version::Version;
use cove_docker::{Inspected, human, json, time};
use cove_engine::{Engine, ErrorKind, Fate, ImageInfo, Object};

use super::image::check_platform;
use super::tables::system::{
    ContainerInspectFlags, FormatFlags, ImageInspectFlags, InspectFlags, SystemDfFlags,
    SystemFsckFlags, SystemPruneFlags,
};
use super::{container, image};
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::{build, output, zone};

/// What a name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Container,
    Image,
}

/// What is to be shown of what is named.
struct Wanted<'a> {
    kind: Kind,
    format: &'a str,
    size: bool,
    platform: &'a str,
}

/// Shows everything about containers and images.
pub(crate) fn inspect(session: &Session, flags: &InspectFlags, args: &[String]) -> Outcome {
    let kind = match flags.r#type.as_str() {
        "" => Kind::Any,
        "container" => Kind::Container,
        "image" => Kind::Image,
        other => {
            return Err(Failure::plain(format!(
                "unknown type: \"{other}\": must be one of \"container\", \"image\""
            )));
        }
    };
    let wanted = Wanted {
        kind,
        format: &flags.format,
        size: flags.size,
        platform: "",
    };
    inspect_all(session, &wanted, args)
}

/// Shows everything about containers.
pub(crate) fn container_inspect(
    session: &Session,
    flags: &ContainerInspectFlags,
    args: &[String],
) -> Outcome {
    let wanted = Wanted {
        kind: Kind::Container,
        format: &flags.format,
        size: flags.size,
        platform: "",
    };
    inspect_all(session, &wanted, args)
}

/// Shows everything about images.
pub(crate) fn image_inspect(
    session: &Session,
    flags: &ImageInspectFlags,
    args: &[String],
) -> Outcome {
    let wanted = Wanted {
        kind: Kind::Image,
        format: &flags.format,
        size: false,
        platform: &flags.platform,
    };
    inspect_all(session, &wanted, args)
}

fn inspect_all(session: &Session, wanted: &Wanted<'_>, names: &[String]) -> Outcome {
    let engine = session.engine()?;
    // All documents are one list, unless a template takes them one by one.
    let template = match wanted.format {
        "json" => None,
        format => template(format)?,
    };
    let mut found = Vec::new();
    let mut failed = Vec::new();
    for name in names {
        match find(engine, name, wanted) {
            Ok(one) => found.push(one),
            Err(failure) => failed.push(failure),
        }
    }
    match &template {
        None => {
            output::line(&if wanted.format == "json" {
                json::escaped(&found)
            } else {
                json::pretty(&found)
            })?;
        }
        Some(template) => {
            let mut lines = String::new();
            for document in &found {
                match template.render(document) {
                    Ok(line) => lines.push_str(&format!("{line}\n")),
                    Err(mistake) => {
                        output::text(&lines)?;
                        return Err(template_failure(mistake));
                    }
                }
            }
            if found.is_empty() {
                lines.push('\n');
            }
            output::text(&lines)?;
        }
    }
    let Some(last) = failed.pop() else {
        return Ok(0);
    };
    for failure in failed {
        output::note(&format!("Error: {}", failure.message));
    }
    Err(last)
}

fn find(engine: &Engine, name: &str, wanted: &Wanted<'_>) -> Result<Inspected, Failure> {
    let kind = wanted.kind;
    if kind != Kind::Image {
        match engine.instances().get(name) {
            Ok(instance) => {
                let container = Container::of(engine, &instance, wanted.size);
                return Ok(Inspected::Container(Box::new(container)));
            }
            Err(error) if kind == Kind::Any && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    match engine.images().get(name) {
        Ok(image) => {
            check_platform(&image, name, wanted.platform)?;
            Ok(Inspected::Image(Box::new(Image::of(engine, &image))))
        }
        Err(error) if kind == Kind::Any && error.kind() == ErrorKind::NotFound => {
            Err(Failure::error(format!("No such object: {name}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The template of `--format`, if there is one.
fn template(format: &str) -> Result<Option<Template>, Failure> {
    let source = match format {
        "" => return Ok(None),
        "json" => "{{json .}}",
        source => source,
    };
    Template::parse(source).map(Some).map_err(template_failure)
}

fn template_failure(mistake: Mistake) -> Failure {
    match mistake {
        Mistake::Parse(message) => {
            Failure::plain(format!("template parsing error: {message}")).with_code(64)
        }
        Mistake::Execute(message) => Failure::plain(format!("template parsing error: {message}")),
    }
}

/// Prints a document through `--format`, or else as `plain` says.
pub(super) fn show(format: &str, document: &dyn Show, plain: impl FnOnce() -> String) -> Outcome {
    match template(format)? {
        Some(template) => {
            let line = template.render(document).map_err(template_failure)?;
            output::line(&line)?;
        }
        None => output::text(&plain())?,
    }
    Ok(0)
}

/// Shows which Cove this is.
pub(crate) fn version(_: &Session, flags: &FormatFlags, _: &[String]) -> Outcome {
    let build = build::this();
    let version = Version::of(&build);
    let own = &version.client;
    show(&flags.format, &version, || {
        format!(
            "Cove:\n Version:           {}\n Git commit:        {}\n Built:             {}\n OS/Arch:           {}/{}\n Kernel version:    {}\n",
            own.version,
            build::short_commit(),
            build
                .date
                .map_or_else(|| "unknown".to_owned(), time::ansi_c),
            own.os,
            own.arch,
            own.kernel_version,
        )
    })
}

/// Verifies every stored image.
pub(crate) fn system_fsck(session: &Session, flags: &SystemFsckFlags, _: &[String]) -> Outcome {
    let repair = flags.repair;
    let engine = session.engine()?;
    let problems = engine.fsck(repair)?;
    // A damaged record, which is one of the problems, only hides the names.
    let known = engine.images().list().unwrap_or_default();
    let mut lines = String::new();
    let mut kept = 0;
    for problem in &problems {
        let images: Vec<String> = problem.images.iter().map(|id| named(&known, id)).collect();
        let what = match &problem.object {
            Object::Blob(digest) => format!("blob {digest}"),
            Object::Layer(digest) => format!("layer {digest}"),
            Object::Image(digest) => format!("the record {digest}"),
            Object::Name(digest) => format!("the name record {digest}"),
        };
        let users = if images.is_empty() {
            "no image".to_owned()
        } else {
            images.join(", ")
        };
        let fate = match problem.fate {
            Fate::Left => "",
            Fate::Pullable => "; the next pull brings it back",
            Fate::Removed => "; removed, nothing needs it",
            Fate::Remade => "; made anew",
            Fate::InUse => "; kept, a container uses it",
            Fate::OnlyHere => "; kept, no registry is known to have it",
        };
        kept += usize::from(matches!(problem.fate, Fate::InUse | Fate::OnlyHere));
        lines.push_str(&format!(
            "{what} of {users}: {}{fate}\n",
            problem.findings.join("; ")
        ));
    }
    output::text(&lines)?;
    if problems.is_empty() {
        output::line("No problems found")?;
        return Ok(0);
    }
    match (repair, kept) {
        (true, 0) => return Ok(0),
        (true, kept) => {
            return Err(Failure::error(format!("{kept} problems are left")));
        }
        (false, _) => {}
    }
    Err(Failure::error(format!(
        "{} problems found; `{} system fsck --repair` removes what is damaged where a pull can bring it back",
        problems.len(),
        session.program
    )))
}

/// An image by the name people know, or else by its id.
fn named(images: &[ImageInfo], id: &cove_model::Digest) -> String {
    let image = images.iter().find(|image| image.id == *id);
    let name = image.and_then(|image| image.tags.first().map(cove_model::Reference::familiar));
    name.unwrap_or_else(|| id.to_string())
}

/// Shows what takes how much of the disk.
pub(crate) fn system_df(session: &Session, flags: &SystemDfFlags, _: &[String]) -> Outcome {
    if flags.verbose && !flags.format.is_empty() {
        return Err(Failure::plain(
            "the verbose and the format options conflict",
        ));
    }
    let engine = session.engine()?;
    let usage = DiskUsage::of(engine)?;
    if flags.verbose {
        let clock = zone::clock();
        let images = rows::plain(usage.images(&clock));
        let images = table("", DiskUsage::IMAGES, &images)?;
        output::text(&format!("Images space usage:\n\n{images}"))?;
        let containers = rows::plain(usage.containers(engine, &clock));
        let containers = table("", DiskUsage::CONTAINERS, &containers)?;
        output::text(&format!("\nContainers space usage:\n\n{containers}"))?;
        return Ok(0);
    }
    let lines = rows::plain(usage.summary());
    output::text(&table(&flags.format, usage::Row::DEFAULT, &lines)?)?;
    Ok(0)
}

fn table<R: Row>(format: &str, default: &[&str], lines: &[Line<'_, R>]) -> Result<String, Failure> {
    rows::render(format, default, lines).map_err(Failure::plain)
}

/// Removes containers that are down and images that nothing needs.
pub(crate) fn system_prune(session: &Session, flags: &SystemPruneFlags, _: &[String]) -> Outcome {
    let all = flags.all;
    if !flags.force {
        let images = if all {
            "all images without at least one container associated to them"
        } else {
            "all dangling images"
        };
        let question = format!(
            "WARNING! This will remove:\n  - all stopped containers\n  - {images}\n\nAre you sure you want to continue?"
        );
        if !output::confirm(&question)? {
            return Ok(0);
        }
    }
    let (own, code) = container::prune(session, &flags.filter)?;
    let (lines, theirs) = image::prune(session, all, &flags.filter)?;
    output::text(&lines)?;
    output::line(&format!(
        "Total reclaimed space: {}",
        human::size(own + theirs)
    ))?;
    Ok(code)
}
