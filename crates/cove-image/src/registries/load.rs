//! Finds registries.conf and its drop-ins.

use std::io;
use std::path::{Path, PathBuf};

use super::{Document, ParseError, Registries};
use crate::environment::Environment;
use crate::files;

/// Why the configuration of registries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file says what it cannot say.
    #[error("cannot use {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The file that the user named is not there.
    #[error("{} does not exist, but CONTAINERS_REGISTRIES_CONF names it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

impl Registries {
    /// Reads `$CONTAINERS_REGISTRIES_CONF`, else the user's
    /// `containers/registries.conf`, else the system's; then, unless the
    /// first was given, `registries.conf.d/*.conf` of the system and of the
    /// user, by name, a file of the user hiding the system's of the same
    /// name; then the short-name aliases that were recorded for the user.
    /// Without any file, Docker's rules hold.
    ///
    /// # Errors
    /// When a file exists but cannot be read or understood.
    pub fn load(environment: &Environment) -> Result<Self, LoadError> {
        let mut all = Self::default();
        if let Some(path) = &environment.registries_conf {
            let document = read(path)?.ok_or_else(|| LoadError::Missing { path: path.clone() })?;
            all.overlay(document);
            return Ok(all);
        }
        let system = environment.system("etc/containers");
        let user = environment.user_containers();
        let main = user
            .iter()
            .chain([&system])
            .map(|base| base.join("registries.conf"));
        for path in main {
            if let Some(document) = read(&path)? {
                all.overlay(document);
                break;
            }
        }
        let mut drop_ins = std::collections::BTreeMap::new();
        for base in [Some(&system), user.as_ref()].into_iter().flatten() {
            let directory = base.join("registries.conf.d");
            let paths = files::list(&directory, ".conf").map_err(|source| LoadError::Read {
                path: directory,
                source,
            })?;
            for path in paths {
                drop_ins.insert(path.file_name().map(ToOwned::to_owned), path);
            }
        }
        for path in drop_ins.values() {
            if let Some(document) = read(path)? {
                all.overlay(document);
            }
        }
        if let Some(path) = environment.short_names()
            && let Some(document) = read(&path)?
        {
            all.overlay(document);
        }
        Ok(all)
    }
}

fn read(path: &Path) -> Result<Option<Document>, LoadError> {
    let text = files::read(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    text.map(|text| Document::parse(&text))
        .transpose()
        .map_err(|source| LoadError::Parse {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::put;

    #[test]
    fn later_files_win_and_the_users_hide_the_systems() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/containers");
        let own = root.path().join("home/.config/containers");
        let mut environment = Environment::beneath(root.path());
        assert_eq!(
            Registries::load(&environment).unwrap(),
            Registries::default()
        );

        put(
            &etc.join("registries.conf"),
            "unqualified-search-registries = ['a.b']",
        );
        put(
            &etc.join("registries.conf.d/000-shortnames.conf"),
            "[aliases]\n'x' = 'sys.io/x'\n'y' = 'sys.io/y'",
        );
        put(
            &etc.join("registries.conf.d/50-m.conf"),
            "[[registry]]\nlocation = 'm.io'\nblocked = true",
        );
        put(
            &own.join("registries.conf.d/50-m.conf"),
            "[[registry]]\nlocation = 'm.io'",
        );
        put(
            &own.join("registries.conf.d/60-a.conf"),
            "[aliases]\n'x' = 'own.io/x'\n'y' = ''",
        );
        let all = Registries::load(&environment).unwrap();
        assert_eq!(all.search.as_deref().unwrap(), ["a.b"]);
        assert_eq!(all.aliases.len(), 1);
        assert_eq!(all.aliases["x"], "own.io/x");
        assert!(!all.registries()[0].blocked);

        put(
            &own.join("registries.conf"),
            "unqualified-search-registries = ['c.d']",
        );
        let all = Registries::load(&environment).unwrap();
        assert_eq!(all.search.as_deref().unwrap(), ["c.d"]);

        let only = root.path().join("only.conf");
        environment.registries_conf = Some(only.clone());
        assert!(matches!(
            Registries::load(&environment),
            Err(LoadError::Missing { .. })
        ));
        put(&only, "[[registry]]\nprefix = '*'");
        assert!(matches!(
            Registries::load(&environment),
            Err(LoadError::Parse { .. })
        ));
        put(&only, "");
        assert_eq!(
            Registries::load(&environment).unwrap(),
            Registries::default()
        );
    }
}
