//! The commands that are about no single kind of thing.

use std::collections::BTreeSet;

use cove_engine::{Engine, ErrorKind, Fate, ImageInfo, Object};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::container::is_active;
use super::image::check_platform;
use super::list::status_text;
use super::tables::system::{
    ContainerInspectFlags, FormatFlags, ImageInspectFlags, InspectFlags, SystemDfFlags,
    SystemFsckFlags, SystemPruneFlags,
};
use super::{container, image};
use crate::build;
use crate::format::template::{Failure as TemplateFailure, Missing, Template};
use crate::format::{human, json as text, tabs, time};
use crate::inspect;
use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::settings::Session;

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
            let documents = found.into_iter().map(|(document, _)| document).collect();
            output::line(&if wanted.format == "json" {
                text::escaped(&documents)
            } else {
                text::pretty(&documents)
            })?;
        }
        Some(template) => {
            let mut lines = String::new();
            for (document, hidden) in &found {
                match template.render(document, &hidden(document)) {
                    Ok(line) => lines.push_str(&format!("{line}\n")),
                    Err(error) => {
                        output::text(&lines)?;
                        return Err(template_failure(error));
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

/// A document, and what gives what it does not show.
type Found = (Value, fn(&Value) -> Value);

fn find(engine: &Engine, name: &str, wanted: &Wanted<'_>) -> Result<Found, Failure> {
    let kind = wanted.kind;
    if kind != Kind::Image {
        match engine.instances().get(name) {
            Ok(instance) => {
                let document = inspect::container::document(engine, &instance, wanted.size);
                return Ok((document, inspect::hidden::of_container));
            }
            Err(error) if kind == Kind::Any && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    match engine.images().get(name) {
        Ok(image) => {
            check_platform(&image, name, wanted.platform)?;
            let document = inspect::image::document(&image, &engine.roots().root);
            Ok((document, inspect::hidden::of_image))
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
    Template::parse(source, Missing::Key, false)
        .map(Some)
        .map_err(template_failure)
}

fn template_failure(error: TemplateFailure) -> Failure {
    match error {
        TemplateFailure::Parse(message) => {
            Failure::plain(format!("template parsing error: {message}")).with_code(64)
        }
        TemplateFailure::Execute(message) => {
            Failure::plain(format!("template parsing error: {message}"))
        }
    }
}

/// Prints a document through `--format`, or else as `plain` says.
pub(super) fn show(format: &str, document: &Value, plain: impl FnOnce() -> String) -> Outcome {
    match template(format)? {
        Some(template) => {
            let line = template
                .render(document, &Value::Null)
                .map_err(template_failure)?;
            output::line(&line)?;
        }
        None => output::text(&plain())?,
    }
    Ok(0)
}

/// Shows which Cove this is.
pub(crate) fn version(_: &Session, flags: &FormatFlags, _: &[String]) -> Outcome {
    let version = build::VERSION;
    let built = build::date();
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy().into_owned();
    // One program is client and engine, so both say the same.
    let own = json!({
        "Version": version,
        "ApiVersion": "",
        "GitCommit": build::COMMIT,
        "BuildTime": built.map(|date| date.to_string()).unwrap_or_default(),
        "Os": "linux",
        "Arch": go_architecture(),
        "KernelVersion": kernel,
    });
    let document = json!({"Client": own, "Server": own});
    show(&flags.format, &document, || {
        format!(
            "Cove:\n Version:           {version}\n Git commit:        {}\n Built:             {}\n OS/Arch:           linux/{}\n Kernel version:    {kernel}\n",
            build::short_commit(),
            built.map_or_else(|| "unknown".to_owned(), time::ansi_c),
            go_architecture()
        )
    })
}

pub(super) fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
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

/// One line of `system df`.
struct Usage {
    kind: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

/// Shows what takes how much of the disk.
pub(crate) fn system_df(session: &Session, flags: &SystemDfFlags, _: &[String]) -> Outcome {
    if flags.verbose && !flags.format.is_empty() {
        return Err(Failure::plain(
            "the verbose and the format options conflict",
        ));
    }
    let engine = session.engine()?;
    let images = engine.images().list()?;
    let instances = engine.instances().list()?;
    let used: BTreeSet<_> = instances
        .iter()
        .map(|instance| instance.record.image.id)
        .collect();
    let sizes: Vec<u64> = instances
        .iter()
        .map(|instance| engine.instances().written(&instance.record))
        .collect();
    let active = |index: usize| is_active(instances[index].status.state);
    // Layers that images share are stored, and counted, once.
    let mut layers = std::collections::BTreeMap::new();
    let mut needed = BTreeSet::new();
    for image in &images {
        for layer in &image.layers {
            let path = engine
                .roots()
                .root
                .join("layers")
                .join(layer.hex())
                .join("diff");
            layers
                .entry(*layer)
                .or_insert_with(|| cove_engine::size_of_tree(&path));
            if used.contains(&image.id) {
                needed.insert(*layer);
            }
        }
    }
    let spare = layers
        .iter()
        .filter(|(layer, _)| !needed.contains(*layer))
        .map(|(_, size)| size);
    let usages = [
        Usage {
            kind: "Images",
            total: images.len(),
            active: images
                .iter()
                .filter(|image| used.contains(&image.id))
                .count(),
            size: layers.values().sum(),
            reclaimable: spare.sum(),
        },
        Usage {
            kind: "Containers",
            total: instances.len(),
            active: (0..instances.len()).filter(|&index| active(index)).count(),
            size: sizes.iter().sum(),
            reclaimable: (0..sizes.len())
                .filter(|&index| !active(index))
                .map(|index| sizes[index])
                .sum(),
        },
    ];
    if flags.verbose {
        let mut images_used = std::collections::BTreeMap::new();
        for instance in &instances {
            *images_used
                .entry(instance.record.image.id)
                .or_insert(0_usize) += 1;
        }
        let now = Timestamp::now();
        let ago =
            |text: &str| time::read(text).map_or_else(|| "N/A".to_owned(), |at| time::ago(at, now));
        let mut table = String::from("REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\tCONTAINERS\n");
        for image in &images {
            let name = image.tags.first();
            table.push_str(&format!(
                "{}\t{}\t{}\t{}\t{}\t{}\n",
                name.map_or_else(|| "<none>".to_owned(), cove_model::Reference::familiar_name),
                name.and_then(cove_model::Reference::tag)
                    .unwrap_or("<none>"),
                &image.id.hex()[..12],
                ago(&image.created),
                human::short_size(image.size),
                images_used.get(&image.id).unwrap_or(&0),
            ));
        }
        output::text(&format!("Images space usage:\n\n{}", tabs::docker(&table)))?;
        let mut table =
            String::from("CONTAINER ID\tIMAGE\tLOCAL VOLUMES\tSIZE\tCREATED\tSTATUS\tNAMES\n");
        for (instance, size) in instances.iter().zip(&sizes) {
            let record = &instance.record;
            table.push_str(&format!(
                "{}\t{}\t0\t{}\t{}\t{}\t{}\n",
                record.id.short(),
                record.image.name,
                human::short_size(*size),
                ago(&record.created),
                status_text(&instance.status, now),
                record.name,
            ));
        }
        output::text(&format!(
            "\nContainers space usage:\n\n{}",
            tabs::docker(&table)
        ))?;
        return Ok(0);
    }
    let rows: Vec<crate::format::rows::Row> = usages.iter().map(usage_row).collect();
    let default = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];
    output::text(&USAGE.render(&flags.format, &default, &rows)?)?;
    Ok(0)
}

const USAGE: crate::format::rows::Columns = crate::format::rows::Columns {
    type_name: "*formatter.diskUsageImagesContext",
    fields: &[
        ("Active", "ACTIVE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("TotalCount", "TOTAL"),
        ("Type", "TYPE"),
    ],
};

fn usage_row(usage: &Usage) -> crate::format::rows::Row {
    let share = if usage.size == 0 {
        0
    } else {
        u128::from(usage.reclaimable) * 100 / u128::from(usage.size)
    };
    let texts = [
        usage.active.to_string(),
        format!("{} ({share}%)", human::size(usage.reclaimable)),
        human::size(usage.size),
        usage.total.to_string(),
        usage.kind.to_owned(),
    ];
    crate::format::rows::Row {
        values: texts.into_iter().map(Into::into).collect(),
        ..Default::default()
    }
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
