//! `--mount type=bind,source=…,target=…`: one line of CSV.

use cove_engine::request::MountRequest;

/// What `--mount` said, with what it is checked for itself.
#[derive(Debug, Default)]
struct Said {
    mount: MountRequest,
    tmpfs: Vec<String>,
    bind_options: bool,
    volume_options: bool,
}

/// One mount, before it is known to be possible.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<MountRequest, String> {
    let mut said = Said::default();
    "volume".clone_into(&mut said.mount.kind);
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        set(&mut said, &field, &key, value)?;
    }
    if said.mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    let mixed = |options: &str| {
        Err(format!(
            "cannot mix '{options}-*' options with mount type '{}'",
            said.mount.kind
        ))
    };
    match said.mount.kind.as_str() {
        kind if kind != "volume" && said.volume_options => mixed("volume"),
        kind if kind != "bind" && said.bind_options => mixed("bind"),
        kind if kind != "tmpfs" && !said.tmpfs.is_empty() => mixed("tmpfs"),
        _ => Ok(MountRequest {
            options: said.tmpfs.join(","),
            ..said.mount
        }),
    }
}

fn set(said: &mut Said, field: &str, key: &str, value: Option<&str>) -> Result<(), String> {
    let truth = |value: Option<&str>| match value {
        None => Ok(true),
        Some(value) => cove_model::go::parse_bool(value)
            .ok_or_else(|| format!("invalid value for {key}: {value}")),
    };
    match key {
        "readonly" | "ro" => {
            said.mount.read_only = truth(value)?;
            return Ok(());
        }
        "bind-nonrecursive" => {
            said.bind_options = true;
            said.mount.non_recursive = truth(value)?;
            return Ok(());
        }
        "volume-nocopy" => {
            said.volume_options = true;
            return truth(value).map(drop);
        }
        _ => {}
    }
    let value = value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
    match key {
        "type" => said.mount.kind = value.to_lowercase(),
        "source" | "src" => said.mount.source = value.into(),
        "target" | "dst" | "destination" => said.mount.target = value.to_owned(),
        "consistency" => {}
        "bind-propagation" => {
            said.bind_options = true;
            said.mount.propagation = Some(value.to_lowercase());
        }
        "bind-recursive" => {
            said.bind_options = true;
            said.mount.non_recursive = match value {
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
            said.tmpfs.push(format!("size={size}"));
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .ok_or_else(|| format!("invalid value for {key}: {value}"))?;
            said.tmpfs.push(format!("mode={mode:o}"));
        }
        key if key.starts_with("volume-") => said.volume_options = true,
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
            MountRequest {
                kind: "bind".to_owned(),
                source: "/a".into(),
                target: "/b".to_owned(),
                read_only: true,
                propagation: Some("rslave".to_owned()),
                ..MountRequest::default()
            }
        );
        let mount = parse("type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        assert_eq!(mount.options, "size=1048576,mode=1770");
        let mount = parse("type=bind,\"src=/a,b\",dst=/x,readonly=false").unwrap();
        assert_eq!(mount.source.to_str(), Some("/a,b"));
        // Whether it can be is not asked here.
        assert_eq!(parse("src=v,dst=x").unwrap().kind, "volume");
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
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
    }
}
