//! All places of credentials together: lookup, login, logout.

use std::path::{Path, PathBuf};

use cove_model::reference::DEFAULT_REGISTRY;

use super::document::{DOCKER_HUB_KEY, Document};
use super::helper::Helper;
use super::{AuthError, Credential, HelperError, helper};
use crate::environment::Environment;
use crate::files;

/// Finds, keeps and erases credentials.
#[derive(Debug, Clone, Default)]
pub struct CredentialStore {
    environment: Environment,
    explicit: Vec<(String, Credential)>,
}

/// Where a credential went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The file that was written.
    pub path: PathBuf,
    /// The helper that keeps the secret; without one the file holds it
    /// unencrypted, which the user is warned of.
    pub helper: Option<String>,
}

/// What a logout found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// Credentials were there and are gone.
    Removed,
    /// There were none.
    NotLoggedIn,
}

impl Erased {
    /// Docker's words for it.
    #[must_use]
    pub fn message(self, registry: &str) -> String {
        let server = server_name(registry);
        match self {
            Self::Removed => format!("Removing login credentials for {server}"),
            Self::NotLoggedIn => format!("Not logged in to {server}"),
        }
    }
}

struct File {
    path: PathBuf,
    docker: bool,
}

impl CredentialStore {
    /// The credentials that the environment leads to.
    #[must_use]
    pub const fn new(environment: Environment) -> Self {
        Self {
            environment,
            explicit: Vec::new(),
        }
    }

    /// Lets a credential of the caller (a flag, an API header) go before all
    /// files, for one registry.
    #[must_use]
    pub fn with_explicit(mut self, registry: &str, credential: Credential) -> Self {
        self.explicit
            .push((canonical(registry).to_owned(), credential));
        self
    }

    /// The credential for a repository of a registry, `None` for anonymous.
    ///
    /// # Errors
    /// When a file that exists cannot be used, or a helper fails.
    pub fn lookup(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, AuthError> {
        let registry = canonical(registry);
        if let Some((_, credential)) = self.explicit.iter().find(|(name, _)| name == registry) {
            return Ok(Some(credential.clone()));
        }
        for file in self.files() {
            let Some(document) = read(&file.path)? else {
                continue;
            };
            if let Some(name) = document.own_helper(registry)
                && let Some(found) = self.ask(name, registry)?
            {
                return Ok(Some(found));
            }
            let found =
                document
                    .lookup(registry, repository)
                    .map_err(|source| AuthError::Document {
                        path: file.path.clone(),
                        source,
                    })?;
            if found.is_some() {
                return Ok(found);
            }
            if let Some(name) = document.store_helper()
                && let Some(found) = self.ask(name, registry)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps a credential in the first file of the lookup order that names
    /// the registry already (a later file would be shadowed by it), else in
    /// `$REGISTRY_AUTH_FILE`, else in Docker's `config.json`, which Podman
    /// and Docker read too. A helper that the file names gets the secret.
    ///
    /// # Errors
    /// When the file cannot be read or replaced, or the helper fails.
    pub fn store(&self, registry: &str, credential: &Credential) -> Result<Stored, AuthError> {
        let registry = canonical(registry);
        let mut chosen = None;
        for file in self.files() {
            let document = read(&file.path)?;
            let named = document.as_ref().is_some_and(|found| {
                found.mentions(registry) || found.own_helper(registry).is_some()
            });
            if named || file.docker || self.environment.auth_file.is_some() {
                chosen = Some((file, document.unwrap_or_default()));
                break;
            }
        }
        let (file, mut document) = chosen.ok_or(AuthError::NoPlace)?;
        let key = match registry {
            DEFAULT_REGISTRY if file.docker => DOCKER_HUB_KEY,
            registry => registry,
        };
        let name = document
            .own_helper(registry)
            .or_else(|| document.store_helper());
        let name = name.map(str::to_owned);
        if let Some(name) = &name {
            helper::store(self.helper(name), server_name(registry), credential)
                .map_err(|source| failed("storing", name, source))?;
        }
        document.remove_spellings(registry, key);
        document.set(
            key,
            if name.is_some() {
                None
            } else {
                Some(credential)
            },
        );
        write(&file.path, &document)?;
        Ok(Stored {
            path: file.path,
            helper: name,
        })
    }

    /// Erases the registry's credentials from every file and helper, so that
    /// the next request is anonymous. Keys of single repositories stay.
    ///
    /// # Errors
    /// When a file cannot be read or replaced, or a helper fails.
    pub fn erase(&self, registry: &str) -> Result<Erased, AuthError> {
        let registry = canonical(registry);
        let mut erased = Erased::NotLoggedIn;
        for file in self.files() {
            let Some(mut document) = read(&file.path)? else {
                continue;
            };
            let name = document
                .own_helper(registry)
                .or_else(|| document.store_helper());
            if let Some(name) = name
                && self.ask(name, registry)?.is_some()
            {
                helper::erase(self.helper(name), server_name(registry))
                    .map_err(|source| failed("erasing", name, source))?;
                erased = Erased::Removed;
            }
            if document.remove(registry) {
                write(&file.path, &document)?;
                erased = Erased::Removed;
            }
        }
        Ok(erased)
    }

    fn helper<'a>(&'a self, name: &'a str) -> Helper<'a> {
        Helper {
            name,
            path: self.environment.path.as_deref(),
        }
    }

    fn ask(&self, name: &str, registry: &str) -> Result<Option<Credential>, AuthError> {
        helper::get(self.helper(name), server_name(registry))
            .map_err(|source| failed("getting", name, source))
    }

    fn files(&self) -> Vec<File> {
        let environment = &self.environment;
        if let Some(path) = &environment.auth_file {
            return vec![File {
                path: path.clone(),
                docker: false,
            }];
        }
        let runtime = match &environment.runtime_dir {
            Some(directory) => directory.join("containers/auth.json"),
            None => environment.system(&format!("run/containers/{}/auth.json", environment.uid)),
        };
        let mut files = vec![File {
            path: runtime,
            docker: false,
        }];
        if let Some(directory) = environment.user_containers() {
            files.push(File {
                path: directory.join("auth.json"),
                docker: false,
            });
        }
        if let Some(path) = environment.docker_config_file() {
            files.push(File { path, docker: true });
        }
        files
    }
}

fn canonical(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" | "" => DEFAULT_REGISTRY,
        registry => registry,
    }
}

/// What Docker and its helpers call a registry.
fn server_name(registry: &str) -> &str {
    if canonical(registry) == DEFAULT_REGISTRY {
        DOCKER_HUB_KEY
    } else {
        registry
    }
}

fn failed(action: &'static str, helper: &str, source: HelperError) -> AuthError {
    AuthError::Helper {
        action,
        helper: helper.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Option<Document>, AuthError> {
    let text = files::read(path).map_err(|source| AuthError::Read {
        path: path.to_owned(),
        source,
    })?;
    text.map(|text| Document::parse(&text))
        .transpose()
        .map_err(|source| AuthError::Document {
            path: path.to_owned(),
            source,
        })
}

fn write(path: &Path, document: &Document) -> Result<(), AuthError> {
    files::replace_private(path, document.to_text().as_bytes()).map_err(|source| AuthError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::document::basic;
    use crate::files::put;

    #[test]
    fn files_are_asked_in_the_order_of_the_manual() {
        let root = tempfile::tempdir().unwrap();
        let store = CredentialStore::new(Environment::beneath(root.path()));
        let entry = |pair: &str| {
            use base64::Engine as _;
            let auth = base64::engine::general_purpose::STANDARD.encode(pair);
            format!(r#"{{"auths":{{"a.b":{{"auth":"{auth}"}}}}}}"#)
        };
        assert_eq!(store.lookup("a.b", "x").unwrap(), None);
        for (path, user) in [
            ("home/.docker/config.json", "docker"),
            ("home/.config/containers/auth.json", "config"),
            ("run/containers/0/auth.json", "runtime"),
        ] {
            put(&root.path().join(path), &entry(&format!("{user}:pw")));
            assert_eq!(
                store.lookup("a.b", "x").unwrap(),
                Some(basic(user, "pw")),
                "{path}"
            );
        }
        let explicit = store.clone().with_explicit("a.b", basic("flag", "pw"));
        assert_eq!(
            explicit.lookup("a.b", "x").unwrap(),
            Some(basic("flag", "pw"))
        );
        assert_eq!(store.erase("a.b").unwrap(), Erased::Removed);
        assert_eq!(store.lookup("a.b", "x").unwrap(), None);
        assert_eq!(store.erase("a.b").unwrap(), Erased::NotLoggedIn);
    }

    #[test]
    fn a_login_goes_to_dockers_file_unless_another_would_shadow_it() {
        let root = tempfile::tempdir().unwrap();
        let store = CredentialStore::new(Environment::beneath(root.path()));
        let docker = root.path().join("home/.docker/config.json");
        put(
            &docker,
            r#"{"detachKeys":"ctrl-x","auths":{"index.docker.io":{"auth":"eDp5"}}}"#,
        );
        let stored = store.store("docker.io", &basic("me", "pw")).unwrap();
        assert_eq!(
            stored,
            Stored {
                path: docker.clone(),
                helper: None
            }
        );
        let text = files::read(&docker).unwrap().unwrap();
        assert!(text.contains("detachKeys") && text.contains(DOCKER_HUB_KEY));
        assert!(
            !text.contains("eDp5"),
            "the old spelling would still be found: {text}"
        );
        assert_eq!(
            store.lookup("docker.io", "x/y").unwrap(),
            Some(basic("me", "pw"))
        );

        let runtime = root.path().join("run/containers/0/auth.json");
        put(&runtime, r#"{"auths":{"a.b":{"auth":"eDp5"}}}"#);
        assert_eq!(
            store.store("a.b", &basic("me", "pw")).unwrap().path,
            runtime
        );
        assert_eq!(store.lookup("a.b", "x").unwrap(), Some(basic("me", "pw")));
        assert_eq!(
            Erased::Removed.message("docker.io"),
            "Removing login credentials for https://index.docker.io/v1/"
        );
    }

    #[test]
    fn a_broken_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let store = CredentialStore::new(Environment::beneath(root.path()));
        let path = root.path().join("home/.docker/config.json");
        put(&path, "{");
        let error = store.lookup("a.b", "x").unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}
