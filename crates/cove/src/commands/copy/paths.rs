//! Paths as Docker's copies understand them: a trailing `/` or `/.` says that
//! a directory is meant, `/.` that its contents are. Texts only.

/// What precedes `:` in `CONTAINER:PATH`, if it is one, and the path.
pub(super) fn split_argument(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once(':') {
        Some((container, path)) if !argument.starts_with(['/', '.']) && !container.is_empty() => {
            (Some(container), path)
        }
        // Nothing before the colon is nobody's container.
        Some(("", path)) => (None, path),
        _ => (None, argument),
    }
}

/// Without `.`, `..` and needless slashes; `.` where nothing is left.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Absolute and clean, but with the `/` or `/.` it ended with.
pub(super) fn absolute(path: &str, directory: &str) -> String {
    let whole = if path.starts_with('/') {
        clean(path)
    } else {
        clean(&format!("{directory}/{path}"))
    };
    let mut kept = whole;
    if means_contents(path) {
        if !kept.ends_with('/') {
            kept.push('/');
        }
        kept.push('.');
    } else if path.ends_with('/') && !kept.ends_with('/') {
        kept.push('/');
    }
    kept
}

/// Whether the path ends with `.`: the contents of a directory.
pub(super) fn means_contents(path: &str) -> bool {
    base(path) == "."
}

/// Whether the path says that it is a directory.
pub(super) fn means_directory(path: &str) -> bool {
    path.ends_with('/') || means_contents(path)
}

/// The last component, without trailing slashes; `.` of nothing, `/` of the root.
pub(super) fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("") => "/",
        Some(name) => name,
    }
}

/// Directory and last component of a path; the last component of `a/.` is `.`.
pub(super) fn split(path: &str) -> (String, String) {
    let mut whole = clean(path);
    if means_contents(path) && whole != "." {
        if !whole.ends_with('/') {
            whole.push('/');
        }
        whole.push('.');
    }
    let name = base(&whole).to_owned();
    let directory = match whole.rsplit_once('/') {
        None => ".".to_owned(),
        Some((directory, _)) => clean(if directory.is_empty() { "/" } else { directory }),
    };
    (directory, name)
}

/// Where a copy is to go, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) path: String,
    pub(super) exists: bool,
    pub(super) is_dir: bool,
}

/// What is extracted where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The directory that must exist.
    pub(super) directory: String,
    /// What the first member is called there; `.` for the directory itself.
    pub(super) base: String,
}

/// Docker's rules: into a directory that exists, over a file that exists, or
/// as a new name. `name` is the source's last component.
pub(super) fn plan(
    name: &str,
    source_is_dir: bool,
    to: &Destination,
) -> Result<Plan, &'static str> {
    if to.exists && to.is_dir {
        // The root has no name of its own.
        let base = if name == "/" { "." } else { name };
        return Ok(Plan {
            directory: to.path.clone(),
            base: base.to_owned(),
        });
    }
    if to.exists && source_is_dir {
        return Err("cannot copy directory");
    }
    if !to.exists && !source_is_dir && means_directory(&to.path) {
        return Err("no such directory");
    }
    let (directory, base) = split(&to.path);
    Ok(Plan { directory, base })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_containers() {
        for (argument, container, path) in [
            ("c:/x", Some("c"), "/x"),
            ("c:", Some("c"), ""),
            ("c:a:b", Some("c"), "a:b"),
            ("/a:b", None, "/a:b"),
            ("./a:b", None, "./a:b"),
            ("..:b", None, "..:b"),
            ("a/b", None, "a/b"),
            ("-", None, "-"),
            (":x", None, "x"),
        ] {
            assert_eq!(split_argument(argument), (container, path), "{argument}");
        }
    }

    #[test]
    fn paths_keep_what_they_say_of_directories() {
        for (path, whole) in [
            ("a", "/w/a"),
            ("a/", "/w/a/"),
            ("a/.", "/w/a/."),
            ("a/./", "/w/a/."),
            (".", "/w/."),
            ("..", "/"),
            ("/", "/"),
            ("/.", "/."),
            ("/a/../b//c", "/b/c"),
        ] {
            assert_eq!(absolute(path, "/w"), whole, "{path}");
        }
        for (path, directory, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/a", "/", "a"),
            ("a", ".", "a"),
            ("/", "/", "/"),
            ("", ".", "."),
        ] {
            assert_eq!(
                split(path),
                (directory.to_owned(), name.to_owned()),
                "{path}"
            );
        }
    }

    #[test]
    fn what_goes_where() {
        const FILE: Option<bool> = Some(false);
        const DIR: Option<bool> = Some(true);
        // Source, whether it is a directory, destination, what is there.
        for (name, is_dir, path, there, planned) in [
            ("f", false, "/d", DIR, Ok(("/d", "f"))),
            ("f", false, "/d/", DIR, Ok(("/d/", "f"))),
            ("f", false, "/x", FILE, Ok(("/", "x"))),
            ("f", false, "/n", None, Ok(("/", "n"))),
            ("f", false, "/n/", None, Err("no such directory")),
            ("f", false, "/n/.", None, Err("no such directory")),
            ("s", true, "/d", DIR, Ok(("/d", "s"))),
            (".", true, "/d", DIR, Ok(("/d", "."))),
            ("/", true, "/d", DIR, Ok(("/d", "."))),
            ("s", true, "/x", FILE, Err("cannot copy directory")),
            ("s", true, "/p/n", None, Ok(("/p", "n"))),
            ("s", true, "/p/n/", None, Ok(("/p", "n"))),
            (".", true, "/p/n", None, Ok(("/p", "n"))),
            ("/", true, "/p/n", None, Ok(("/p", "n"))),
        ] {
            let to = Destination {
                path: path.to_owned(),
                exists: there.is_some(),
                is_dir: there == DIR,
            };
            let planned = planned.map(|(directory, base)| Plan {
                directory: directory.to_owned(),
                base: base.to_owned(),
            });
            assert_eq!(plan(name, is_dir, &to), planned, "{name} to {path}");
        }
    }
}
