//! Events as Docker tells them: its document, its line, its filters.

use std::collections::BTreeMap;

use cove_model::Reference;
use cove_model::event::{Event, Executed, Happening, ImageChange, InstanceChange};
use jiff::Timestamp;

use crate::document::document;
use crate::filter::Filters;
use crate::time::Clock;

document! {
    /// Docker's `events.Message`.
    pub struct Message {
        status: String = "status" / "Status" omitempty,
        id: String = "id" / "ID" omitempty,
        from: String = "from" / "From" omitempty,
        kind: String = "Type",
        action: String = "Action",
        actor: Actor = "Actor",
        scope: String = "scope" / "Scope" omitempty,
        time: i64 = "time" / "Time" omitempty,
        time_nano: i64 = "timeNano" / "TimeNano" omitempty,
    }

    /// Which thing it happened to, and how.
    pub struct Actor {
        id: String = "ID",
        attributes: BTreeMap<String, String> = "Attributes",
    }
}

/// The name of the type, for the error texts of templates.
pub const TYPE: &str = "*events.Message";

impl Message {
    /// An event in Docker's words.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        match &event.what {
            Happening::Instance {
                id,
                name,
                image,
                labels,
                change,
            } => {
                let (action, own) = of_instance(change);
                let mut attributes = labels.clone();
                attributes.insert("image".to_owned(), image.clone());
                attributes.insert("name".to_owned(), name.clone());
                attributes.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
                Self {
                    from: image.clone(),
                    ..Self::new("container", action, id, attributes, event.time)
                }
            }
            Happening::Image {
                id,
                name,
                labels,
                change,
            } => {
                let mut attributes = labels.clone();
                let shown = match change {
                    ImageChange::Pull | ImageChange::Tag => name.as_ref().unwrap_or(id),
                    // Docker tells which image, and not which name.
                    ImageChange::Untag
                    | ImageChange::Load
                    | ImageChange::Save
                    | ImageChange::Import
                    | ImageChange::Delete => id,
                };
                attributes.insert("name".to_owned(), shown.clone());
                let action = of_image(*change).to_owned();
                Self::new("image", action, id, attributes, event.time)
            }
            Happening::InstancesPruned { reclaimed } => {
                Self::pruned("container", *reclaimed, event.time)
            }
            Happening::ImagesPruned { reclaimed } => Self::pruned("image", *reclaimed, event.time),
        }
    }

    fn pruned(kind: &str, reclaimed: u64, time: i64) -> Self {
        let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        Self::new(kind, "prune".to_owned(), "", attributes, time)
    }

    fn new(
        kind: &str,
        action: String,
        id: &str,
        attributes: BTreeMap<String, String>,
        time_nano: i64,
    ) -> Self {
        Self {
            status: action.clone(),
            id: id.to_owned(),
            from: String::new(),
            kind: kind.to_owned(),
            action,
            actor: Actor {
                id: id.to_owned(),
                attributes,
            },
            scope: "local".to_owned(),
            time: time_nano.div_euclid(1_000_000_000),
            time_nano,
        }
    }

    /// The line of `events`, without its end.
    #[must_use]
    pub fn line(&self, clock: &Clock) -> String {
        let stamp = Timestamp::from_nanosecond(self.time_nano.into()).unwrap_or_default();
        let stamp = clock.rfc3339_nano(stamp);
        let mut line = format!("{stamp} {} {} {}", self.kind, self.action, self.id);
        let pairs = self.actor.attributes.iter();
        let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        if !pairs.is_empty() {
            line.push_str(" (");
            line.push_str(&pairs.join(", "));
            line.push(')');
        }
        line
    }
}

/// Docker's action and the attributes of it alone.
fn of_instance(change: &InstanceChange) -> (String, Vec<(&'static str, String)>) {
    let plain = |action: &str| (action.to_owned(), Vec::new());
    let executed = |action: &str, what: &Executed| {
        let (program, arguments) = what
            .argv
            .split_first()
            .map_or(("", &[][..]), |(p, a)| (p, a));
        (
            format!("{action}: {program} {}", arguments.join(" ")),
            vec![("execID", what.exec.clone())],
        )
    };
    match change {
        InstanceChange::Create => plain("create"),
        InstanceChange::Attach => plain("attach"),
        InstanceChange::Detach => plain("detach"),
        InstanceChange::Start => plain("start"),
        InstanceChange::OutOfMemory => plain("oom"),
        InstanceChange::Die { exit_code } => {
            ("die".to_owned(), vec![("exitCode", exit_code.to_string())])
        }
        InstanceChange::Kill { signal } => {
            ("kill".to_owned(), vec![("signal", signal.to_string())])
        }
        InstanceChange::Stop => plain("stop"),
        InstanceChange::Restart => plain("restart"),
        InstanceChange::Pause => plain("pause"),
        InstanceChange::Unpause => plain("unpause"),
        InstanceChange::Rename { old_name } => (
            "rename".to_owned(),
            vec![("oldName", format!("/{old_name}"))],
        ),
        InstanceChange::Update => plain("update"),
        InstanceChange::Resize { rows, cols } => (
            "resize".to_owned(),
            vec![("height", rows.to_string()), ("width", cols.to_string())],
        ),
        InstanceChange::Top => plain("top"),
        InstanceChange::CopyOut => plain("archive-path"),
        InstanceChange::CopyIn => plain("extract-to-dir"),
        InstanceChange::Export => plain("export"),
        InstanceChange::Commit {
            comment,
            image,
            reference,
        } => (
            "commit".to_owned(),
            vec![
                ("comment", comment.clone()),
                ("imageID", image.clone()),
                ("imageRef", reference.clone().unwrap_or_default()),
            ],
        ),
        InstanceChange::ExecCreate(what) => executed("exec_create", what),
        InstanceChange::ExecStart(what) => executed("exec_start", what),
        InstanceChange::ExecDie { exec, exit_code } => (
            "exec_die".to_owned(),
            vec![
                ("execID", exec.clone()),
                ("exitCode", exit_code.to_string()),
            ],
        ),
        InstanceChange::Destroy => plain("destroy"),
    }
}

fn of_image(change: ImageChange) -> &'static str {
    match change {
        ImageChange::Pull => "pull",
        ImageChange::Tag => "tag",
        ImageChange::Untag => "untag",
        ImageChange::Load => "load",
        ImageChange::Save => "save",
        ImageChange::Import => "import",
        ImageChange::Delete => "delete",
    }
}

/// The filters that are about the id or the name of a thing, whatever it is,
/// by their beginning.
const NAMED: &[&str] = &[
    "config",
    "container",
    "daemon",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];

/// Which events are shown.
#[derive(Debug)]
pub struct Filter(Filters);

impl Filter {
    /// Reads filters.
    ///
    /// # Errors
    /// Docker's words, also for one that Docker would pass over.
    pub fn new(texts: &[String]) -> Result<Self, String> {
        let own = ["event", "image", "label", "scope", "type"];
        Filters::new(texts, &[NAMED, &own].concat()).map(Self)
    }

    /// Whether an event is shown.
    #[must_use]
    pub fn accepts(&self, event: &Message) -> bool {
        let Self(filters) = self;
        let name = event
            .actor
            .attributes
            .get("name")
            .map_or("", String::as_str);
        let named = |key: &&str| {
            filters.any(key, |value| {
                event.id.starts_with(value) || name.starts_with(value)
            })
        };
        self.is_action(&event.action)
            && filters.any("type", |value| event.kind == value)
            && filters.any("scope", |value| value == "local")
            && NAMED.iter().all(named)
            && self.is_of_image(event)
            && filters.labels(&event.actor.attributes)
    }

    /// Where one of them names an action without what follows it, the
    /// beginning of an action is enough for all.
    fn is_action(&self, action: &str) -> bool {
        let Self(filters) = self;
        let open = ["health_status", "exec_create", "exec_start"];
        let values = filters.get("event");
        let vague = values.iter().any(|value| open.contains(&value.as_str()));
        filters.any("event", |value| {
            action == value || (vague && action.starts_with(value))
        })
    }

    fn is_of_image(&self, event: &Message) -> bool {
        let Self(filters) = self;
        let key = if event.kind == "image" {
            "name"
        } else {
            "image"
        };
        let name = event.actor.attributes.get(key).map_or("", String::as_str);
        filters.any("image", |value| {
            let is = |text: &str| text == value || without_tag(text) == value;
            is(&event.id) || is(name)
        })
    }
}

/// The familiar name of a reference; what is none stays as it is.
fn without_tag(text: &str) -> String {
    Reference::parse_docker(text).map_or_else(|_| text.to_owned(), |name| name.familiar_name())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn instance(change: InstanceChange) -> Message {
        Message::of(&Event {
            time: 1_796_068_537_926_401_731,
            what: Happening::Instance {
                id: "3f83".to_owned(),
                name: "one".to_owned(),
                image: "busybox:latest".to_owned(),
                labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                change,
            },
        })
    }

    fn image(change: ImageChange, name: &str) -> Message {
        Message::of(&Event {
            time: 0,
            what: Happening::Image {
                id: "sha256:9c".to_owned(),
                name: Some(name.to_owned()),
                labels: BTreeMap::new(),
                change,
            },
        })
    }

    /// Without the time.
    fn line(document: &Message) -> String {
        let clock = Clock {
            now: Timestamp::UNIX_EPOCH,
            zone: TimeZone::UTC,
        };
        document.line(&clock)[31..].to_owned()
    }

    #[test]
    fn lines_are_dockers() {
        let executed = |argv: &[&str]| Executed {
            exec: "e1".to_owned(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
        };
        for (change, text) in [
            (
                InstanceChange::Start,
                "start 3f83 (a=b, image=busybox:latest, name=one)",
            ),
            (
                InstanceChange::Die { exit_code: 137 },
                "die 3f83 (a=b, exitCode=137, image=busybox:latest, name=one)",
            ),
            (
                InstanceChange::Rename {
                    old_name: "eins".to_owned(),
                },
                "rename 3f83 (a=b, image=busybox:latest, name=one, oldName=/eins)",
            ),
            (
                InstanceChange::ExecCreate(executed(&["echo", "a", "b c"])),
                "exec_create: echo a b c 3f83 (a=b, execID=e1, image=busybox:latest, name=one)",
            ),
            (
                InstanceChange::ExecStart(executed(&["true"])),
                "exec_start: true  3f83 (a=b, execID=e1, image=busybox:latest, name=one)",
            ),
            (
                InstanceChange::Commit {
                    comment: "msg".to_owned(),
                    image: "sha256:9c".to_owned(),
                    reference: Some("img:1".to_owned()),
                },
                "commit 3f83 (a=b, comment=msg, image=busybox:latest, imageID=sha256:9c, imageRef=img:1, name=one)",
            ),
        ] {
            assert_eq!(line(&instance(change)), format!("container {text}"));
        }
        let pruned = Message::of(&Event {
            time: 0,
            what: Happening::ImagesPruned { reclaimed: 7 },
        });
        assert_eq!(line(&pruned), "image prune  (reclaimed=7)");
        assert_eq!(
            line(&image(ImageChange::Untag, "foo:bar")),
            "image untag sha256:9c (name=sha256:9c)"
        );
    }

    #[test]
    fn documents_are_dockers() {
        let json = |message: &Message| serde_json::to_string(message).unwrap();
        assert_eq!(
            json(&instance(InstanceChange::Create)),
            r#"{"status":"create","id":"3f83","from":"busybox:latest","Type":"container","Action":"create","Actor":{"ID":"3f83","Attributes":{"a":"b","image":"busybox:latest","name":"one"}},"scope":"local","time":1796068537,"timeNano":1796068537926401731}"#
        );
        assert_eq!(
            json(&image(ImageChange::Tag, "img:1")),
            r#"{"status":"tag","id":"sha256:9c","Type":"image","Action":"tag","Actor":{"ID":"sha256:9c","Attributes":{"name":"img:1"}},"scope":"local"}"#
        );
    }

    #[test]
    fn filters_are_dockers() {
        let start = instance(InstanceChange::Start);
        let exec = instance(InstanceChange::ExecCreate(Executed {
            exec: "e".to_owned(),
            argv: vec!["ls".to_owned()],
        }));
        let tag = image(ImageChange::Tag, "busybox:1");
        for (filters, of_start, of_exec, of_tag) in [
            (&[] as &[&str], true, true, true),
            (&["type=container"], true, true, false),
            (&["type=container", "type=image"], true, true, true),
            (&["event=start"], true, false, false),
            (&["event=star"], false, false, false),
            (&["event=exec_create"], false, true, false),
            (&["event=exec_create: ls "], false, false, false),
            (&["event=exec_create", "event=t"], false, true, true),
            (&["container=on"], true, true, false),
            (&["container=3f"], true, true, false),
            (&["container=x"], false, false, false),
            (&["image=busybox"], true, true, true),
            (&["image=busybox:1"], false, false, true),
            (&["label=a"], true, true, false),
            (&["label=a=b"], true, true, false),
            (&["label=a=c"], false, false, false),
            (&["network=x"], false, false, false),
            (&["scope=local"], true, true, true),
        ] {
            let texts: Vec<String> = filters.iter().map(|&text| text.to_owned()).collect();
            let filter = Filter::new(&texts).unwrap();
            let shown = [&start, &exec, &tag].map(|event| filter.accepts(event));
            assert_eq!(shown, [of_start, of_exec, of_tag], "{filters:?}");
        }
        assert_eq!(
            Filter::new(&["foo=bar".to_owned()]).unwrap_err(),
            "Invalid filter 'foo'"
        );
    }
}
