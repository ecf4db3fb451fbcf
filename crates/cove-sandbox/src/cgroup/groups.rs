//! A container's directories by the controllers that are in them.

use super::dir::Dir;

/// A container's open directories.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// v1 hierarchies with their controllers.
    pub(super) named: Vec<(Vec<String>, Dir)>,
    /// The unified hierarchy.
    pub(super) unified: Option<Dir>,
}

/// Where a controller is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home<'a> {
    V1(&'a Dir),
    V2(&'a Dir),
}

impl Groups {
    /// The directory of a v1 controller.
    pub(super) fn named(&self, controller: &str) -> Option<&Dir> {
        self.named
            .iter()
            .find(|(controllers, _)| controllers.iter().any(|name| name == controller))
            .map(|(_, dir)| dir)
    }

    /// Where a controller is; `file` tells whether the unified one has it.
    pub(super) fn home(&self, v1: &str, file: &str) -> Option<Home<'_>> {
        if let Some(dir) = self.named(v1) {
            return Some(Home::V1(dir));
        }
        self.unified
            .as_ref()
            .filter(|dir| dir.has(file))
            .map(Home::V2)
    }
}
