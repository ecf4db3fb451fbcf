//! Credentials for registries.

use cove_image::{Client, Credential, CredentialStore, Environment, Options, Registries};

use super::Images;
use crate::error::{Error, Result, sentence};

/// The registry that `login` without a name means.
const DEFAULT_REGISTRY: &str = "docker.io";

impl Images<'_> {
    /// Verifies credentials with a registry and keeps them; returns where.
    ///
    /// # Errors
    /// When the registry refuses them, or they cannot be kept.
    pub fn login(&self, registry: Option<&str>, user: &str, password: &str) -> Result<String> {
        let registry = name_of(registry);
        let environment = Environment::of_process();
        let registries =
            Registries::load(&environment).map_err(|error| Error::Invalid(sentence(&error)))?;
        let (host, policy) = registries.login_endpoint(&registry);
        let store = CredentialStore::new(environment.clone());
        let client = Client::new(environment, store.clone(), Options::default());
        let given = Credential::basic(user, password);
        let kept = client
            .login(&host, policy, &registry, &given)
            .map_err(Error::Registry)?;
        let stored = store
            .store(&registry, &kept)
            .map_err(|error| Error::Invalid(sentence(&error)))?;
        Ok(stored.path.display().to_string())
    }

    /// Forgets the credentials for a registry; returns what to tell the user.
    ///
    /// # Errors
    /// When a file cannot be changed, or a helper fails.
    pub fn logout(&self, registry: Option<&str>) -> Result<String> {
        let registry = name_of(registry);
        let store = CredentialStore::new(Environment::of_process());
        let erased = store
            .erase(&registry)
            .map_err(|error| Error::Invalid(sentence(&error)))?;
        Ok(erased.message(&registry))
    }
}

/// What the user calls the registry, without a scheme and a path.
fn name_of(registry: Option<&str>) -> String {
    let text = registry.unwrap_or(DEFAULT_REGISTRY);
    let text = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text);
    text.split('/').next().unwrap_or(text).to_owned()
}
