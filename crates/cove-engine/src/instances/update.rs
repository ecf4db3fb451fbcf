//! Changing an instance that exists: its name, its limits, its restart policy.

use cove_model::control::Request;
use cove_model::instance::{Limits, Record, RestartPolicy};

use super::create::validate_limits;
use crate::Engine;
use crate::error::{Error, Result};
use crate::spec;

impl Engine {
    /// Gives an instance another name.
    ///
    /// # Errors
    /// When the name is taken or breaks the grammar.
    pub fn rename(&self, record: &Record, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name == record.name {
            return Err(Error::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        self.state.rename(&record.id, name).map_err(Error::State)
    }

    /// Changes limits and restart policy, of a running instance at once.
    ///
    /// # Errors
    /// When a limit makes no sense or the kernel refuses it; nothing is
    /// recorded then.
    pub fn update(
        &self,
        record: &Record,
        change: impl FnOnce(&mut Limits),
        restart: Option<RestartPolicy>,
    ) -> Result<()> {
        let mut changed = record.clone();
        change(&mut changed.spec.limits);
        validate_limits(&changed.spec.limits)?;
        if let Some(policy) = restart {
            if changed.spec.auto_remove && policy != RestartPolicy::No {
                return Err(Error::Conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container"
                        .to_owned(),
                ));
            }
            changed.spec.restart = policy;
        }
        let running = self.status(record)?.state.is_running();
        if running && changed.spec.limits != record.spec.limits {
            let resources = spec::resources(&changed.spec, &[], None)?;
            cove_sandbox::Container::load(&self.roots.sandbox(), record.id.as_str())
                .and_then(|container| container.update(&spec::without_devices(resources)))
                .map_err(Error::Sandbox)?;
        }
        let durable = !changed.spec.auto_remove;
        self.state
            .change(&record.id, durable, |record| {
                record.spec.limits = changed.spec.limits;
                record.spec.restart = changed.spec.restart;
            })
            .map_err(Error::State)?;
        match restart {
            Some(policy) if running => self.ask(record, &Request::UpdateRestart { policy }),
            _ => Ok(()),
        }
    }
}
