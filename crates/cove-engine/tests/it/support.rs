//! What the tests share: an engine over roots of its own, with a busybox image.

use std::os::fd::AsFd;

use cove_engine::{Attachment, CreateRequest, Engine, Instance, Received, Roots, Silent};
use cove_model::control::{Attach, Exited, WaitUntil, WhenSlow};
use cove_model::image::RunConfig;
use cove_model::instance::Record;
use rustix::event::{PollFd, PollFlags, poll};
use testkit::leak::Snapshot;

/// The name of the image in every test.
pub(crate) const IMAGE: &str = "busybox:test";

/// An engine, and what is to be left of it in the end.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    // Torn down last.
    pub(crate) roots: testkit::roots::Roots,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let it = Self::without_image();
        let directory = tempfile::tempdir().unwrap();
        testkit::image::busybox::image().write_layout(directory.path(), IMAGE);
        let loaded = it.engine.images().load_layout(directory.path()).unwrap();
        assert_eq!(loaded.len(), 1);
        it
    }

    pub(crate) fn without_image() -> Self {
        let roots = testkit::roots::Roots::new();
        let engine = Engine::open(Roots {
            root: roots.root(),
            runroot: roots.runroot(),
        });
        Self {
            engine: engine.unwrap(),
            roots,
        }
    }

    /// An instance of a shell script, which is not started yet.
    pub(crate) fn create(&self, script: &str) -> Record {
        self.create_as(script, |_| {})
    }

    pub(crate) fn create_as(
        &self,
        script: &str,
        change: impl FnOnce(&mut CreateRequest),
    ) -> Record {
        let mut request = CreateRequest {
            image: IMAGE.to_owned(),
            run: RunConfig {
                cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
                ..RunConfig::default()
            },
            ..CreateRequest::default()
        };
        change(&mut request);
        let created = self.engine.instances().create(&request, &Silent).unwrap();
        self.get(created.id.as_str()).record
    }

    /// What there is of an installation that was used, to compare with later.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let record = self.create("true");
        let instances = self.engine.instances();
        instances.start(&record, None).unwrap();
        instances.wait(&record, WaitUntil::Removed).unwrap();
        instances.remove(&record, false).unwrap();
        Snapshot::take(&self.roots)
    }

    pub(crate) fn get(&self, name: &str) -> Instance {
        self.engine.instances().get(name).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let list = self.engine.instances().list();
        for instance in list.map(|list| list.instances).unwrap_or_default() {
            let removed = self.engine.instances().remove(&instance.record, true);
            if !std::thread::panicking() {
                removed.unwrap();
            }
        }
    }
}

/// All streams.
pub(crate) const ALL: Attach = Attach {
    stdin: true,
    stdout: true,
    stderr: true,
    start: false,
    size: None,
    when_slow: WhenSlow::Wait,
};

/// What an attachment gives until `enough` holds of its stdout, or it ends.
pub(crate) fn read_until(
    attachment: &mut Attachment<'_>,
    enough: impl Fn(&str) -> bool,
) -> (String, String, Option<Exited>) {
    let (mut out, mut err) = (String::new(), String::new());
    while !enough(&out) {
        if attachment.has_input() {
            attachment.send();
        }
        match attachment.receive().unwrap() {
            Received::Stdout(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
            Received::Stderr(bytes) => err.push_str(&String::from_utf8_lossy(bytes)),
            Received::Exited(exited) => return (out, err, Some(exited)),
            Received::Cut(failure) => panic!("{failure}"),
            Received::NotYet => {
                let mut events = PollFlags::IN;
                events.set(PollFlags::OUT, attachment.has_input());
                poll(
                    &mut [PollFd::from_borrowed_fd(attachment.as_fd(), events)],
                    None,
                )
                .unwrap();
            }
        }
    }
    (out, err, None)
}
