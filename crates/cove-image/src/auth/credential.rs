//! What a registry is shown, and the secrets in it.

use std::fmt;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, to be sent and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// What a registry is shown to prove who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A user's name and password.
    Basic {
        /// The name.
        username: String,
        /// The password or personal token.
        password: Secret,
    },
    /// A refresh token that a token service exchanges for bearer tokens.
    IdentityToken(Secret),
    /// A bearer token that the registry takes as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// A user's name and password.
    #[must_use]
    pub fn basic(username: &str, password: &str) -> Self {
        Self::Basic {
            username: username.to_owned(),
            password: Secret::new(password),
        }
    }
}
