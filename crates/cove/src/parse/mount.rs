//! `--mount type=bind,source=…,target=…`: one line of CSV.

use std::path::Path;

use cove_model::instance::{Mount, MountSource};

use super::volume::{clean, is_root};

/// What `--mount` said, before it is known to be possible.
#[derive(Debug, Default)]
struct Request {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    propagation: Option<String>,
    non_recursive: bool,
    tmpfs: Vec<String>,
    bind_options: bool,
    volume_options: bool,
}

/// Whether a text can be a mount; what needs the host is left to [`parse`].
///
/// # Errors
/// Docker's words.
pub(crate) fn check(text: &str) -> Result<(), String> {
    read(text).map(drop)
}

/// One mount.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<Mount, String> {
    let request = read(text)?;
    let kind = request.kind.as_str();
    let invalid = |reason: String| format!("invalid mount config for type \"{kind}\": {reason}");
    let absolute = |path: &str| format!("invalid mount path: '{path}' mount path must be absolute");
    let source = match kind {
        "bind" => {
            if request.source.is_empty() {
                return Err(invalid("field Source must not be empty".to_owned()));
            }
            if !request.source.starts_with('/') {
                return Err(invalid(absolute(&request.source)));
            }
            let known = [
                "private", "rprivate", "shared", "rshared", "slave", "rslave",
            ];
            if let Some(mode) = &request.propagation
                && !known.contains(&mode.as_str())
            {
                return Err(invalid(format!("invalid propagation mode: {mode}")));
            }
            MountSource::Bind {
                path: clean(Path::new(&request.source)),
                propagation: request.propagation,
                non_recursive: request.non_recursive,
                create: false,
            }
        }
        "tmpfs" => {
            if !request.source.is_empty() {
                return Err(invalid("field Source must not be specified".to_owned()));
            }
            MountSource::Tmpfs {
                options: request.tmpfs.join(","),
                mount: true,
            }
        }
        "volume" => {
            return Err(invalid(
                "volumes are not supported yet; use type=bind with a host directory".to_owned(),
            ));
        }
        "image" | "npipe" | "cluster" => return Err(invalid("not supported".to_owned())),
        _ => return Err(invalid("mount type unknown".to_owned())),
    };
    if !request.target.starts_with('/') {
        return Err(invalid(absolute(&request.target)));
    }
    if is_root(&request.target) {
        return Err(invalid(
            "invalid specification: destination can't be '/'".to_owned(),
        ));
    }
    Ok(Mount {
        source,
        target: request.target,
        read_only: request.read_only,
    })
}

fn read(text: &str) -> Result<Request, String> {
    let mut request = Request {
        kind: "volume".to_owned(),
        ..Request::default()
    };
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        set(&mut request, &field, &key, value)?;
    }
    if request.target.is_empty() {
        return Err("target is required".to_owned());
    }
    let mixed = |options: &str| {
        Err(format!(
            "cannot mix '{options}-*' options with mount type '{}'",
            request.kind
        ))
    };
    match request.kind.as_str() {
        kind if kind != "volume" && request.volume_options => mixed("volume"),
        kind if kind != "bind" && request.bind_options => mixed("bind"),
        kind if kind != "tmpfs" && !request.tmpfs.is_empty() => mixed("tmpfs"),
        _ => Ok(request),
    }
}

fn set(request: &mut Request, field: &str, key: &str, value: Option<&str>) -> Result<(), String> {
    let truth = |value: Option<&str>| match value {
        None => Ok(true),
        Some(value) => cove_model::go::parse_bool(value)
            .ok_or_else(|| format!("invalid value for {key}: {value}")),
    };
    match key {
        "readonly" | "ro" => {
            request.read_only = truth(value)?;
            return Ok(());
        }
        "bind-nonrecursive" => {
            request.bind_options = true;
            request.non_recursive = truth(value)?;
            return Ok(());
        }
        "volume-nocopy" => {
            request.volume_options = true;
            return truth(value).map(drop);
        }
        _ => {}
    }
    let value = value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
    match key {
        "type" => request.kind = value.to_lowercase(),
        "source" | "src" => request.source = value.to_owned(),
        "target" | "dst" | "destination" => request.target = value.to_owned(),
        "consistency" => {}
        "bind-propagation" => {
            request.bind_options = true;
            request.propagation = Some(value.to_lowercase());
        }
        "bind-recursive" => {
            request.bind_options = true;
            request.non_recursive = match value {
                "enabled" => false,
                "disabled" => true,
                "writable" | "readonly" => {
                    return Err(format!("bind-recursive={value} is not supported yet"));
                }
                _ => {
                    return Err(format!(
                        "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            };
        }
        "tmpfs-size" => {
            let size = cove_model::size::parse(value)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
            request.tmpfs.push(format!("size={size}"));
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .ok_or_else(|| format!("invalid value for {key}: {value}"))?;
            request.tmpfs.push(format!("mode={mode:o}"));
        }
        key if key.starts_with("volume-") => request.volume_options = true,
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// The fields of one line of CSV.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) = match rest.split_once(',') {
                Some((field, after)) => (field, Some(after)),
                None => (rest, None),
            };
            if field.contains('"') {
                return Err("parse error: bare \" in non-quoted field".to_owned());
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut chars = quoted.char_indices().peekable();
        let end = loop {
            match chars.next() {
                Some((_, '"')) if chars.peek().is_some_and(|&(_, next)| next == '"') => {
                    chars.next();
                    field.push('"');
                }
                Some((at, '"')) => break at + 1,
                Some((_, c)) => field.push(c),
                None => {
                    return Err("parse error: extraneous or missing \" in quoted-field".to_owned());
                }
            }
        };
        fields.push(field);
        match quoted[end..].strip_prefix(',') {
            Some(after) => rest = after,
            None if quoted[end..].is_empty() => return Ok(fields),
            None => return Err("parse error: extraneous or missing \" in quoted-field".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let mount =
            parse("type=bind,source=/a,target=/b,readonly,bind-propagation=rslave").unwrap();
        assert_eq!(
            mount,
            Mount {
                source: MountSource::Bind {
                    path: "/a".into(),
                    propagation: Some("rslave".to_owned()),
                    non_recursive: false,
                    create: false,
                },
                target: "/b".to_owned(),
                read_only: true,
            }
        );
        let mount = parse("type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        assert_eq!(
            mount.source,
            MountSource::Tmpfs {
                options: "size=1048576,mode=1770".to_owned(),
                mount: true,
            }
        );
        let mount = parse("type=bind,\"src=/a,b\",dst=/x,readonly=false").unwrap();
        assert!(
            matches!(mount.source, MountSource::Bind { path, .. } if path == Path::new("/a,b"))
        );
    }

    #[test]
    fn mistakes_of_grammar_are_found_early() {
        for (text, message) in [
            ("type=bind", "target is required"),
            ("foo", "invalid field 'foo' must be a key=value pair"),
            (
                "type=tmpfs,target=/x,foo=q",
                "unexpected key 'foo' in 'foo=q'",
            ),
            (
                "type=tmpfs,target=/x,tmpfs-size=q",
                "invalid value for tmpfs-size: q",
            ),
            (
                "type=bind,src=/tmp,target=/x,readonly=foo",
                "invalid value for readonly: foo",
            ),
            (
                "type=bind,src=/tmp,target=/x,tmpfs-mode=1",
                "cannot mix 'tmpfs-*' options with mount type 'bind'",
            ),
            (
                "\"a",
                "parse error: extraneous or missing \" in quoted-field",
            ),
        ] {
            assert_eq!(check(text).unwrap_err(), message, "{text}");
        }
    }

    #[test]
    fn the_rest_is_found_when_the_mount_is_made() {
        for (text, message) in [
            (
                "type=foo,target=/x",
                "invalid mount config for type \"foo\": mount type unknown",
            ),
            (
                "type=bind,target=/x",
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            (
                "type=bind,src=rel,target=/x",
                "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
            ),
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
        assert!(
            parse("source=v,target=/x")
                .unwrap_err()
                .contains("volumes are not supported")
        );
    }
}
