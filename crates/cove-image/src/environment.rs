//! What the surroundings of the process say: variables and well-known paths.
//!
//! Read once at the edge and passed as values, so that every lookup below is
//! a function of its arguments.

use std::path::{Path, PathBuf};

/// The variables and paths that configuration and credentials are found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `$XDG_CACHE_HOME`.
    pub cache_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The user's number, for `/run/containers/<uid>/auth.json`.
    pub uid: u32,
    /// `$CONTAINERS_REGISTRIES_CONF`: the only registries.conf to read.
    pub registries_conf: Option<PathBuf>,
    /// `$REGISTRY_AUTH_FILE`: the only file of credentials to read.
    pub auth_file: Option<PathBuf>,
    /// `$DOCKER_CONFIG`: the directory of Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `$HTTP_PROXY`, for requests over plain HTTP.
    pub http_proxy: Option<String>,
    /// `$HTTPS_PROXY`, for requests over TLS.
    pub https_proxy: Option<String>,
    /// `$ALL_PROXY`, where the two above are silent.
    pub all_proxy: Option<String>,
    /// `$NO_PROXY`: hosts that are asked directly.
    pub no_proxy: Option<String>,
    /// `$PATH`, where credential helpers are looked for.
    pub path: Option<std::ffi::OsString>,
    /// What `/etc` and `/run` are beneath; `/` but in tests.
    pub system_root: PathBuf,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        // Lower case wins, as with curl: a CGI program's HTTP_PROXY comes from a request header.
        let proxy = |name: &str| text(&name.to_lowercase()).or_else(|| text(name));
        Self {
            home: path("HOME"),
            config_home: path("XDG_CONFIG_HOME"),
            cache_home: path("XDG_CACHE_HOME"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            uid: rustix::process::getuid().as_raw(),
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            auth_file: path("REGISTRY_AUTH_FILE"),
            docker_config: path("DOCKER_CONFIG"),
            http_proxy: proxy("HTTP_PROXY"),
            https_proxy: proxy("HTTPS_PROXY"),
            all_proxy: proxy("ALL_PROXY"),
            no_proxy: proxy("NO_PROXY"),
            path: std::env::var_os("PATH"),
            system_root: PathBuf::from("/"),
        }
    }

    /// An environment in which everything lies beneath `root` and nothing is set.
    #[must_use]
    pub fn beneath(root: &Path) -> Self {
        Self {
            home: Some(root.join("home")),
            system_root: root.to_owned(),
            ..Self::default()
        }
    }

    /// `$XDG_CONFIG_HOME/containers` or `~/.config/containers`.
    pub(crate) fn user_containers(&self) -> Option<PathBuf> {
        let base = self.config_home.clone();
        let base = base.or_else(|| self.home.as_ref().map(|home| home.join(".config")))?;
        Some(base.join("containers"))
    }

    /// Where Podman records the short names that its user has chosen.
    pub(crate) fn short_names(&self) -> Option<PathBuf> {
        let file = "containers/short-name-aliases.conf";
        if self.uid == 0 {
            return Some(self.system("var/cache").join(file));
        }
        let base = self.cache_home.clone();
        let base = base.or_else(|| self.home.as_ref().map(|home| home.join(".cache")))?;
        Some(base.join(file))
    }

    /// A path of the system, such as `etc/containers`.
    pub(crate) fn system(&self, path: &str) -> PathBuf {
        self.system_root.join(path)
    }

    /// Docker's `config.json`.
    pub(crate) fn docker_config_file(&self) -> Option<PathBuf> {
        let base = self.docker_config.clone();
        let base = base.or_else(|| self.home.as_ref().map(|home| home.join(".docker")))?;
        Some(base.join("config.json"))
    }
}
