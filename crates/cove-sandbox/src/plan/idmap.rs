//! Ids of idmapped mounts: whose mapping counts, and crun's way to write one as an option.

use std::borrow::Cow;

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Mount};

use super::invalid;
use crate::error::Result;

/// Ids of an idmapped mount.
#[derive(Debug, Clone)]
pub(crate) struct IdMaps<'a> {
    pub ids: Ids<'a>,
    pub recursive: bool,
}

/// Where the ids of the mount's files lead.
#[derive(Debug, Clone)]
pub(crate) enum Ids<'a> {
    /// By these mappings.
    Mapped {
        uid: Cow<'a, [LinuxIdMapping]>,
        gid: Cow<'a, [LinuxIdMapping]>,
    },
    /// As those of the user namespace that the container joins.
    Joined,
}

/// The `idmap` or `ridmap` among a mount's options.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    recursive: bool,
    /// What follows the equals sign: crun's own mappings.
    own: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    pub(super) fn parse(option: &'a str) -> Option<Self> {
        let (name, own) = match option.split_once('=') {
            Some((name, own)) => (name, Some(own)),
            None => (option, None),
        };
        let recursive = match name {
            "idmap" => false,
            "ridmap" => true,
            _ => return None,
        };
        Some(Self { recursive, own })
    }
}

/// What the container's specification says of its user namespace.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Container<'a> {
    pub(super) uid: &'a [LinuxIdMapping],
    pub(super) gid: &'a [LinuxIdMapping],
    pub(super) joins: bool,
}

/// The mount's own mappings come first, then those of its option, then the container's.
pub(super) fn resolve<'a>(
    mount: &'a Mount,
    wanted: Option<Wanted<'a>>,
    container: Container<'a>,
) -> Result<Option<IdMaps<'a>>> {
    let dest = mount.destination();
    let uid = mount.uid_mappings().as_deref().unwrap_or_default();
    let gid = mount.gid_mappings().as_deref().unwrap_or_default();
    if uid.is_empty() != gid.is_empty() {
        return Err(invalid(format!(
            "mount {dest:?} has mappings for users or groups only"
        )));
    }
    let recursive = wanted.is_some_and(|wanted| wanted.recursive);
    let borrowed = |uid: &'a [_], gid: &'a [_]| Ids::Mapped {
        uid: Cow::Borrowed(uid),
        gid: Cow::Borrowed(gid),
    };
    let ids = match wanted {
        _ if !uid.is_empty() => borrowed(uid, gid),
        None => return Ok(None),
        Some(Wanted { own: Some(own), .. }) => option(own, container)
            .map_err(|reason| invalid(format!("mount {dest:?}: idmap={own}: {reason}")))?,
        Some(_) if container.joins => Ids::Joined,
        Some(_) if container.uid.is_empty() => {
            return Err(invalid(format!(
                "mount {dest:?} is idmapped, but there are no mappings"
            )));
        }
        Some(_) => borrowed(container.uid, container.gid),
    };
    Ok(Some(IdMaps { ids, recursive }))
}

/// `uids=0-1000-10#10-2000-5;gids=@0-0-10`: triples of an id of the files, the id it becomes and
/// their number. With `@` the second is one of the container's.
fn option(text: &str, container: Container<'_>) -> std::result::Result<Ids<'static>, &'static str> {
    let (mut uid, mut gid) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (kind, list) = part.split_once('=').ok_or("uids=… and gids=… are known")?;
        let (maps, of_container) = match kind {
            "uids" => (&mut uid, container.uid),
            "gids" => (&mut gid, container.gid),
            _ => return Err("uids=… and gids=… are known"),
        };
        for triple in list.split('#') {
            maps.push(mapping(triple, of_container)?);
        }
    }
    if uid.is_empty() || gid.is_empty() {
        return Err("it takes uids=… and gids=…");
    }
    Ok(Ids::Mapped {
        uid: Cow::Owned(uid),
        gid: Cow::Owned(gid),
    })
}

fn mapping(
    text: &str,
    container: &[LinuxIdMapping],
) -> std::result::Result<LinuxIdMapping, &'static str> {
    let (relative, text) = match text.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let numbers: Vec<u32> = text
        .split('-')
        .map_while(|number| number.parse().ok())
        .collect();
    let &[file, id, size] = numbers.as_slice() else {
        return Err("a range is three numbers, such as 0-1000-10");
    };
    if text.split('-').count() != 3 || size == 0 {
        return Err("a range is three numbers, such as 0-1000-10");
    }
    let id = if relative {
        let of_host = |map: &LinuxIdMapping| {
            let offset = id.checked_sub(map.container_id())?;
            let rest = map.size().checked_sub(offset)?;
            (rest >= size).then(|| map.host_id().checked_add(offset))?
        };
        let found = container.iter().find_map(of_host);
        found.ok_or("what is relative (@) lies in one range of the container's own mappings")?
    } else {
        id
    };
    LinuxIdMappingBuilder::default()
        .container_id(file)
        .host_id(id)
        .size(size)
        .build()
        .map_err(|_| "it is no mapping")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triple(map: &LinuxIdMapping) -> [u32; 3] {
        [map.container_id(), map.host_id(), map.size()]
    }

    #[test]
    fn options_of_crun() {
        let own = mapping("0-100000-65536", &[]).unwrap();
        let container = Container {
            uid: &[own],
            gid: &[own],
            joins: false,
        };
        let ids = option("uids=0-1-10#10-11-10;gids=@0-100-10", container).unwrap();
        let Ids::Mapped { uid, gid } = ids else {
            panic!()
        };
        let uid: Vec<_> = uid.iter().map(triple).collect();
        assert_eq!(uid, [[0, 1, 10], [10, 11, 10]]);
        let gid: Vec<_> = gid.iter().map(triple).collect();
        assert_eq!(gid, [[0, 100_100, 10]]);
        for bad in [
            "",
            "uids=0-1-10",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-2-3;gids=0-1-1",
            "uids=0-1-0;gids=0-1-1",
            "uids=0-1-x;gids=0-1-1",
            "uids=@0-65530-10;gids=0-1-1",
            "users=0-1-1;gids=0-1-1",
        ] {
            assert!(option(bad, container).is_err(), "{bad}");
        }
    }
}
