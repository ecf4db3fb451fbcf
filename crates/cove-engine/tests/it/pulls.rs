//! Pulls that nobody wants any more.

use cove_engine::{Cancel, ErrorKind, LayerState, Progress, PullEvent, PullOptions};
use testkit::registry::Registry;

use crate::support::Fixture;

/// Cancels once the first bytes of a layer have come.
struct Impatient(Cancel);

impl Progress for Impatient {
    fn event(&self, event: &PullEvent<'_>) {
        match event {
            PullEvent::Layer {
                state: LayerState::Pulling { .. },
                ..
            } => self.0.cancel(),
            PullEvent::Missing { .. }
            | PullEvent::Resolved { .. }
            | PullEvent::Layer { .. }
            | PullEvent::Done { .. } => {}
        }
    }
}

pub(crate) fn one_that_is_cancelled_leaves_nothing() {
    let registry = Registry::with_busybox();
    let it = Fixture::without_image();
    let options = PullOptions::default();
    let impatient = Impatient(options.cancel.clone());
    let name = registry.reference("busybox:latest");
    let error = it.engine.images().pull(&name, &options, &impatient);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(it.engine.images().list().unwrap().is_empty());
    for directory in ["tmp", "leases", "layers"] {
        let left = std::fs::read_dir(it.roots.root().join(directory)).unwrap();
        assert_eq!(left.count(), 0, "{directory}");
    }
}
