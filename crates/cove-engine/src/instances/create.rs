//! Making an instance: resolve the image, plan the spec, commit the record.

use std::fs;
use std::path::Path;

use cove_model::event::InstanceChange;
use cove_model::instance::{Driver, ImageUse, InstanceId, InstanceSpec, MountSource, Record};
use cove_storage::Lease;

use super::Instances;
use super::limits;
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::plan::{self, Others};
use crate::progress::Progress;
use crate::request::{CreateRequest, NamespaceRequest, NetworkRequest};

/// What was made.
#[derive(Debug, Clone)]
pub struct Created {
    /// The instance's id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// An id that nothing else has.
pub(crate) fn random_id() -> Result<InstanceId> {
    let mut bytes = [0; 32];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => Ok(InstanceId::from_random(bytes)),
        Err(errno) => Err(Error::Stream {
            action: "make a random id",
            source: errno.into(),
        }),
    }
}

impl Instances<'_> {
    /// Makes an instance that does not run yet. Once this returns, it
    /// survives a power cut, unless it is to be removed when it ends.
    ///
    /// # Errors
    /// When the image is not to be had, the name is taken, or what is asked
    /// for contradicts itself; nothing is left then.
    pub fn create(&self, request: &CreateRequest, progress: &dyn Progress) -> Result<Created> {
        let draft = plan::check(request, HostFacts::look())?;
        self.engine.require_root()?;
        let asked = &draft.spec().limits;
        let host = limits::Host::of(asked);
        limits::check(asked, &host)?;
        // What of it the host keeps, before anything is fetched: to refuse costs the user nothing.
        let mut kept = asked.clone();
        let warnings = limits::keepable(&mut kept, &host)?;
        let others = self.others(request)?;
        let image = self.engine.images().for_run(
            &request.image,
            request.pull,
            request.platform.as_ref(),
            progress,
        )?;
        let id = random_id()?;
        let mut spec = draft.complete(request, &others, &image.config.config, &id)?;
        spec.limits = kept;
        // Until the record says so, the lease says that the layers are in use.
        let lease = Lease::new(&self.engine.store).map_err(Error::Storage)?;
        lease.protect(&image.layers).map_err(Error::Storage)?;
        if !self
            .engine
            .store
            .ready(&image.layers)
            .map_err(Error::Storage)?
        {
            return Err(Error::NoSuchImage {
                name: request.image.clone(),
            });
        }
        let name = request.name.as_deref().map(without_slash);
        let reservation = self
            .engine
            .state
            .reserve(id.clone(), name)
            .map_err(Error::State)?;
        // Once the name is ours, so that nothing is left of a refusal.
        prepare_bind_sources(&spec)?;
        let record = Record {
            id: id.clone(),
            name: reservation.name().to_owned(),
            created: jiff::Timestamp::now().to_string(),
            driver: Driver::default(),
            image: ImageUse {
                name: request.image.clone(),
                id: image.id,
                layers: image.layers.clone(),
            },
            spec,
        };
        self.engine
            .store
            .prepare(&reservation.directory(), &record.image.layers)
            .map_err(Error::Storage)?;
        reservation.commit(&record).map_err(Error::State)?;
        drop(lease);
        self.note(&record, InstanceChange::Create);
        Ok(Created {
            id,
            name: record.name,
            warnings,
        })
    }

    /// The other instances that a request names.
    fn others(&self, request: &CreateRequest) -> Result<Others> {
        let find = |name: &str| self.engine.state.find(name).map(Some).map_err(Error::State);
        let joined = |mode: &NamespaceRequest| match mode {
            NamespaceRequest::Instance(name) => find(name),
            NamespaceRequest::Default
            | NamespaceRequest::Private
            | NamespaceRequest::Shareable
            | NamespaceRequest::Bare
            | NamespaceRequest::Host => Ok(None),
        };
        Ok(Others {
            network: match &request.network {
                NetworkRequest::Instance(name) => find(name)?,
                NetworkRequest::Default
                | NetworkRequest::None
                | NetworkRequest::Host
                | NetworkRequest::Named(_) => None,
            },
            pid: joined(&request.namespaces.pid)?,
            ipc: joined(&request.namespaces.ipc)?,
        })
    }
}

/// Docker's names once began with a slash. A wrong name is refused as it was said.
fn without_slash(name: &str) -> &str {
    let rest = name
        .strip_prefix('/')
        .filter(|rest| cove_state::valid_name(rest));
    rest.unwrap_or(name)
}

/// `-v` makes a missing directory, `--mount` insists on it.
fn prepare_bind_sources(spec: &InstanceSpec) -> Result<()> {
    for mount in &spec.mounts {
        let MountSource::Bind { path, create, .. } = &mount.source else {
            continue;
        };
        match fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && *create => {
                fs::create_dir_all(path).map_err(|source| Error::File {
                    action: "make the bind source",
                    path: path.clone(),
                    source,
                })?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing_source(path));
            }
            Err(source) => {
                let action = "look at the bind source";
                return Err(Error::File {
                    action,
                    path: path.clone(),
                    source,
                });
            }
        }
    }
    Ok(())
}

fn missing_source(path: &Path) -> Error {
    Error::Invalid(format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}",
        path.display()
    ))
}
