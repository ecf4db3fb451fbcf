//! The environment of a process: variables of the form `NAME=value`, each name once.

use std::collections::HashSet;
use std::ffi::CString;

use super::invalid;
use crate::error::Result;

/// The variables as the program gets them. Of a name that is there more than once the last one counts
/// and keeps its place: most programs, C's `getenv` among them, look at the first they find.
///
/// # Errors
/// If one has no name or no value, which runc refuses as well.
pub(super) fn checked(list: &[String]) -> Result<Vec<CString>> {
    let mut seen = HashSet::with_capacity(list.len());
    let mut env = Vec::with_capacity(list.len() + 4);
    for variable in list.iter().rev() {
        let refuse = |why: &str| invalid(format!("environment variable {variable:?}: {why}"));
        let (name, _) = variable
            .split_once('=')
            .ok_or_else(|| refuse("it has no '='"))?;
        if name.is_empty() {
            return Err(refuse("its name is empty"));
        }
        if seen.insert(name) {
            env.push(CString::new(variable.as_bytes()).map_err(|_| refuse("it holds a NUL byte"))?);
        }
    }
    env.reverse();
    Ok(env)
}

/// Sets a variable of the runtime's own, whatever the specification says of it.
pub(crate) fn set(env: &mut Vec<CString>, name: &str, value: impl std::fmt::Display) {
    let prefix = format!("{name}=");
    env.retain(|one| !one.as_bytes().starts_with(prefix.as_bytes()));
    // A number or a path of ours holds no NUL.
    env.extend(CString::new(format!("{prefix}{value}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_last_of_a_name_counts_once() {
        let env = checked(&words(&["A=1", "B=", "AA=x", "A=2=3", "B=4", "C="])).unwrap();
        let shown: Vec<_> = env.iter().map(|one| one.to_str().unwrap()).collect();
        assert_eq!(shown, ["AA=x", "A=2=3", "B=4", "C="]);
        for bad in ["", "A", "=x", "=", "A=\0"] {
            let error = checked(&words(&["X=1", bad])).unwrap_err().to_string();
            assert!(error.contains("environment variable"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn one_of_the_runtimes_own_replaces() {
        let mut env = checked(&words(&["LISTEN_FDS=9", "LISTEN_FDS_X=1"])).unwrap();
        set(&mut env, "LISTEN_FDS", 2);
        assert_eq!(
            env,
            [c"LISTEN_FDS_X=1".to_owned(), c"LISTEN_FDS=2".to_owned()]
        );
    }
}
