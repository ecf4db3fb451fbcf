//! Making an instance: resolve the image, plan the spec, commit the record.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use cove_model::image::{Platform, RunConfig};
use cove_model::instance::{
    Driver, ImageUse, InstanceId, InstanceSpec, MountSource, NamespaceMode, NetworkMode, Record,
};

use cove_storage::Lease;

use super::Instances;
use super::limits;
use crate::error::{Error, Result};
use crate::images::{ImageInfo, PullPolicy};
use crate::progress::Progress;

/// What a user asks for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The name; a free one is made up without it.
    pub name: Option<String>,
    /// The image as the user wrote it.
    pub image: String,
    /// When to ask the registry.
    pub pull: PullPolicy,
    /// The image's platform, when not the host's.
    pub platform: Option<Platform>,
    /// What the flags say; in `run` only what they set, the image fills the rest.
    pub spec: InstanceSpec,
    /// `--entrypoint`; an empty list resets the image's.
    pub entrypoint: Option<Vec<String>>,
    /// The words after the image.
    pub command: Vec<String>,
}

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

impl Instances<'_> {
    /// Makes an instance that does not run yet. Once this returns, it
    /// survives a power cut, unless it is to be removed when it ends.
    ///
    /// # Errors
    /// When the image is not to be had, the name is taken, or what is asked
    /// for contradicts itself; nothing is left then.
    pub fn create(&self, request: &CreateRequest, progress: &dyn Progress) -> Result<Created> {
        self.engine.require_root()?;
        let mut warnings = validate(&request.spec)?;
        warnings.extend(crate::spec::lacking(&request.spec.security)?);
        if let NamespaceMode::Instance(other) = &request.spec.namespaces.ipc {
            joinable_ipc(&self.engine.state.get(other).map_err(Error::State)?)?;
        }
        let image = self.engine.images().for_run(
            &request.image,
            request.pull,
            request.platform.as_ref(),
            progress,
        )?;
        let mut bytes = [0; 32];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(
            |errno| Error::Stream {
                action: "make a random id",
                source: errno.into(),
            },
        )?;
        let id = InstanceId::from_random(bytes);
        let mut spec = plan(request, &image, &id)?;
        if let NetworkMode::Instance(other) = &spec.network
            && spec.namespaces.uts == NamespaceMode::Private
        {
            // Who shares a network answers to the name that is known there.
            let other = self.engine.state.get(other).map_err(Error::State)?.spec;
            spec.hostname = other.hostname;
            spec.domainname = other.domainname;
            if spec.hostname.is_empty() {
                let host = rustix::system::uname();
                spec.hostname = host.nodename().to_string_lossy().into_owned();
            }
        }
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
        let durable = !spec.auto_remove;
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
        reservation.commit(&record, durable).map_err(Error::State)?;
        drop(lease);
        Ok(Created {
            id,
            name: record.name,
            warnings,
        })
    }
}

/// Completes what the flags say with the image and the defaults.
fn plan(request: &CreateRequest, image: &ImageInfo, id: &InstanceId) -> Result<InstanceSpec> {
    let mut spec = request.spec.clone();
    let base = &image.config.config;
    let (entrypoint, cmd) = match (&request.entrypoint, request.command.is_empty()) {
        // A new entrypoint makes the image's default arguments meaningless.
        (Some(entrypoint), empty) => {
            let entrypoint = entrypoint
                .iter()
                .filter(|word| !word.is_empty())
                .cloned()
                .collect();
            (Some(entrypoint), (!empty).then(|| request.command.clone()))
        }
        (None, true) => (base.entrypoint.clone(), base.cmd.clone()),
        (None, false) => (base.entrypoint.clone(), Some(request.command.clone())),
    };
    let mut argv = entrypoint.clone().unwrap_or_default();
    argv.extend(cmd.iter().flatten().cloned());
    if argv.is_empty() {
        return Err(Error::Invalid("No command specified".to_owned()));
    }
    spec.run = merge(&spec.run, base);
    spec.run.entrypoint = entrypoint;
    spec.run.cmd = cmd;
    spec.argv = argv;
    if !spec.run.working_dir.is_empty() && !spec.run.working_dir.starts_with('/') {
        return Err(Error::Invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            spec.run.working_dir
        )));
    }
    if spec.hostname.is_empty() && spec.namespaces.uts == NamespaceMode::Private {
        id.short().clone_into(&mut spec.hostname);
    }
    Ok(spec)
}

/// Docker's names once began with a slash. A wrong name is refused as it was said.
fn without_slash(name: &str) -> &str {
    let rest = name
        .strip_prefix('/')
        .filter(|rest| cove_state::valid_name(rest));
    rest.unwrap_or(name)
}

/// The user's configuration over the image's.
fn merge(flags: &RunConfig, image: &RunConfig) -> RunConfig {
    let or = |flag: &String, image: &String| if flag.is_empty() { image } else { flag }.clone();
    let key = |pair: &str| pair.split_once('=').map_or(pair, |(key, _)| key).to_owned();
    let overridden: HashSet<String> = flags.env.iter().map(|pair| key(pair)).collect();
    let mut merged = image.clone();
    // The user's come first, as Docker shows them; `KEY` without a value takes
    // the image's variable away.
    let own = flags.env.iter().filter(|pair| pair.contains('='));
    let others = image
        .env
        .iter()
        .filter(|pair| !overridden.contains(&key(pair)));
    merged.env = own.chain(others).cloned().collect();
    merged.user = or(&flags.user, &image.user);
    merged.working_dir = or(&flags.working_dir, &image.working_dir);
    merged.labels.extend(flags.labels.clone());
    merged.exposed_ports.extend(flags.exposed_ports.clone());
    merged.volumes.extend(flags.volumes.clone());
    if flags.stop_signal.is_some() {
        merged.stop_signal.clone_from(&flags.stop_signal);
    }
    if flags.healthcheck.is_some() {
        merged.healthcheck.clone_from(&flags.healthcheck);
    }
    merged
}

fn invalid<T>(text: &str) -> Result<T> {
    Err(Error::Invalid(text.to_owned()))
}

/// What contradicts itself is refused before anything is made.
fn validate(spec: &InstanceSpec) -> Result<Vec<String>> {
    let warnings = limits::check(&spec.limits, &limits::Host::of(&spec.limits))?;
    crate::logging::check(&spec.log)?;
    let mut targets = HashSet::new();
    for mount in &spec.mounts {
        if !mount.target.starts_with('/') {
            return Err(Error::Invalid(format!(
                "invalid mount path: '{}' mount path must be absolute",
                mount.target
            )));
        }
        if mount.target.split('/').any(|part| part == "..") {
            return Err(Error::Invalid(format!(
                "invalid mount path: '{}'",
                mount.target
            )));
        }
        let target = mount.target.trim_end_matches('/');
        if target.is_empty() {
            return invalid("invalid volume specification: destination can't be '/'");
        }
        if !targets.insert(target) {
            return Err(Error::Invalid(format!("Duplicate mount point: {target}")));
        }
    }
    Ok(warnings)
}

/// Only what says so lets others into its IPC namespace, in Docker's words.
fn joinable_ipc(other: &Record) -> Result<()> {
    match other.spec.namespaces.ipc {
        NamespaceMode::Private | NamespaceMode::Bare => Err(Error::Conflict(format!(
            "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            other.id
        ))),
        NamespaceMode::Shareable | NamespaceMode::Host | NamespaceMode::Instance(_) => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use cove_model::instance::Mount;

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn image(entrypoint: Option<&[&str]>, cmd: Option<&[&str]>) -> ImageInfo {
        let mut image = ImageInfo::for_tests();
        image.config.config.entrypoint = entrypoint.map(words);
        image.config.config.cmd = cmd.map(words);
        image
    }

    #[test]
    fn program_and_arguments_follow_dockers_rules() {
        for (entrypoint, cmd, flag, command, argv) in [
            (None, Some(&["sh"][..]), None, &[][..], Some(&["sh"][..])),
            (None, Some(&["sh"]), None, &["ls"], Some(&["ls"])),
            (Some(&["e"][..]), Some(&["c"]), None, &[], Some(&["e", "c"])),
            (
                Some(&["e"]),
                Some(&["c"]),
                None,
                &["x", "y"],
                Some(&["e", "x", "y"]),
            ),
            (
                Some(&["e"]),
                Some(&["c"]),
                Some(&["f"][..]),
                &[],
                Some(&["f"]),
            ),
            (
                Some(&["e"]),
                Some(&["c"]),
                Some(&["f"]),
                &["x"],
                Some(&["f", "x"]),
            ),
            (
                Some(&["e"]),
                Some(&["c"]),
                Some(&[""]),
                &["x"],
                Some(&["x"]),
            ),
            (Some(&["e"]), Some(&["c"]), Some(&[""]), &[], None),
            (None, None, None, &[], None),
        ] {
            let request = CreateRequest {
                entrypoint: flag.map(words),
                command: words(command),
                ..CreateRequest::default()
            };
            let id = InstanceId::from_random([1; 32]);
            let result = plan(&request, &image(entrypoint, cmd), &id);
            match argv {
                Some(argv) => assert_eq!(result.unwrap().argv, words(argv)),
                None => assert_eq!(result.unwrap_err().to_string(), "No command specified"),
            }
        }
    }

    #[test]
    fn the_users_environment_wins_by_key() {
        let image = RunConfig {
            env: words(&["A=1", "B=2", "C=3"]),
            ..RunConfig::default()
        };
        let flags = RunConfig {
            env: words(&["B=x=y", "C", "D="]),
            ..RunConfig::default()
        };
        assert_eq!(merge(&flags, &image).env, words(&["B=x=y", "D=", "A=1"]));
    }

    #[test]
    fn contradictions_are_refused() {
        let tmpfs = |target: &str| Mount {
            source: MountSource::Tmpfs {
                options: String::new(),
                mount: false,
            },
            target: target.to_owned(),
            read_only: false,
        };
        let mounts = |mounts| InstanceSpec {
            mounts,
            ..InstanceSpec::default()
        };
        for (spec, word) in [
            (mounts(vec![tmpfs("relative")]), "absolute"),
            (mounts(vec![tmpfs("/")]), "destination"),
            (mounts(vec![tmpfs("/a/../b")]), "invalid mount path"),
            (mounts(vec![tmpfs("/a"), tmpfs("/a/")]), "Duplicate"),
        ] {
            let error = validate(&spec).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(validate(&InstanceSpec::default()).is_ok());
    }
}
