//! What is configured of a registry, its mirrors and short names.

/// How short names are turned into full ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShortNameMode {
    /// Several search registries leave the name ambiguous, which is an error.
    Enforcing,
    /// Several search registries are tried in their order.
    #[default]
    Permissive,
    /// Aliases are not looked at; search registries are tried in their order.
    Disabled,
}

/// For which references a mirror is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullFromMirror {
    /// For all.
    #[default]
    All,
    /// For those with a digest.
    DigestOnly,
    /// For those without one.
    TagOnly,
}

/// A place that holds the same content as a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What replaces the prefix.
    pub location: String,
    /// Whether unverified TLS and plain HTTP are allowed.
    pub insecure: bool,
    /// Which references it is asked for.
    pub pull: PullFromMirror,
}

/// What is configured for the names that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// The prefix, `*.example.com` for every host beneath a domain.
    pub prefix: String,
    /// What replaces the prefix; empty behind a wildcard means "nothing does".
    pub location: String,
    /// Whether unverified TLS and plain HTTP are allowed.
    pub insecure: bool,
    /// Whether pulling is forbidden.
    pub blocked: bool,
    /// Asked before the registry, in this order.
    pub mirrors: Vec<Mirror>,
}
