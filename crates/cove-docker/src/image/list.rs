//! The rows of `images`, and which there are.

use std::collections::BTreeSet;

use cove_engine::{Engine, ImageInfo};
use cove_model::{Digest, Reference, glob};
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::filter::{Between, Filters};
use crate::human;
use crate::rows::row;
use crate::time::{self, Clock};

row! {
    /// What a row of `images` has.
    pub struct Row = "*formatter.imageContext" {
        containers: String = "Containers" "CONTAINERS",
        created_at: String = "CreatedAt" "CREATED AT",
        created_since: String = "CreatedSince" "CREATED",
        digest: String = "Digest" "DIGEST",
        id: String = "ID" "IMAGE ID",
        repository: String = "Repository" "REPOSITORY",
        shared_size: String = "SharedSize" "SHARED SIZE",
        size: String = "Size" "SIZE",
        tag: String = "Tag" "TAG",
        unique_size: String = "UniqueSize" "UNIQUE SIZE",
        virtual_size: String = "VirtualSize" "SIZE",
    }
}

const FILTERS: &[&str] = &[
    "dangling",
    "label",
    "label!",
    "before",
    "since",
    "reference",
    "until",
];

/// What a list says of what is not there.
const NONE: &str = "<none>";
/// What a list says of what nobody looked up.
const UNKNOWN: &str = "N/A";

/// Which images a list has, and under which names.
#[derive(Debug)]
pub struct Filter {
    filters: Filters,
    dangling: Option<bool>,
    until: Option<Timestamp>,
    between: Between,
    patterns: Vec<String>,
}

impl Filter {
    /// Reads `name=value` texts, and patterns of names.
    ///
    /// # Errors
    /// When a filter makes no sense or names what is not there.
    pub fn new(engine: &Engine, clock: &Clock, texts: &[String], names: &[String]) -> Result<Self> {
        let filters = Filters::new(texts, FILTERS).map_err(Error::Invalid)?;
        let created = |other: &str| engine.images().get(other).map(|image| image.created);
        Ok(Self {
            dangling: filters.truth("dangling").map_err(Error::Invalid)?,
            until: filters.until(clock).map_err(Error::Invalid)?,
            between: Between::new(&filters, created).map_err(Error::Engine)?,
            patterns: [filters.get("reference"), names].concat(),
            filters,
        })
    }

    /// Keeps the images that are wanted, the newest first.
    pub fn select(&self, list: &mut Vec<ImageInfo>) {
        list.retain(|image| {
            let created = time::read(&image.created);
            let old = |until| created.is_some_and(|created| created < until);
            self.dangling
                .is_none_or(|wanted| image.tags.is_empty() == wanted)
                && self.filters.labels(&image.config.config.labels)
                && self.between.holds(&image.created)
                && self.until.is_none_or(old)
        });
        // By time, not by text: some are written with another offset.
        list.sort_by_cached_key(|image| std::cmp::Reverse(time::read(&image.created)));
    }

    /// The names under which an image is listed: one for each that a pattern
    /// matches. Digests of those that have a tag are looked up with `digests` only.
    #[must_use]
    pub fn names<'a>(&self, image: &'a ImageInfo, digests: bool) -> Vec<Named<'a>> {
        Named::all(image, &self.patterns, digests)
    }
}

/// An image under one of its names.
#[derive(Debug)]
pub struct Named<'a> {
    /// The image.
    pub image: &'a ImageInfo,
    repository: String,
    tag: String,
    digest: String,
}

impl<'a> Named<'a> {
    /// The image under the first of its names.
    #[must_use]
    pub fn first(image: &'a ImageInfo) -> Self {
        let name = image.tags.first();
        Self {
            image,
            repository: name.map_or_else(|| NONE.to_owned(), Reference::familiar_name),
            tag: name.and_then(Reference::tag).unwrap_or(NONE).to_owned(),
            digest: NONE.to_owned(),
        }
    }

    fn all(image: &'a ImageInfo, patterns: &[String], digests: bool) -> Vec<Self> {
        let wanted = |reference: &&Reference| {
            patterns.is_empty()
                || patterns.iter().any(|pattern| {
                    glob::matches(pattern, &reference.familiar())
                        || glob::matches(pattern, &reference.familiar_name())
                })
        };
        let digest_of = |name: &str| {
            let mut names = image.repo_digests.iter();
            let found = names.find(|digest| digest.familiar_name() == name);
            found
                .and_then(Reference::digest)
                .map_or_else(|| NONE.to_owned(), ToString::to_string)
        };
        let named = |repository: String, tag: &str, digest: String| Self {
            image,
            repository,
            tag: tag.to_owned(),
            digest,
        };
        let mut rows = Vec::new();
        for tag in image.tags.iter().filter(wanted) {
            let repository = tag.familiar_name();
            let digest = if digests {
                digest_of(&repository)
            } else {
                NONE.to_owned()
            };
            rows.push(named(repository, tag.tag().unwrap_or(NONE), digest));
        }
        // A name by content alone is shown where no tag has that repository.
        let tagged: BTreeSet<String> = image.tags.iter().map(Reference::familiar_name).collect();
        for reference in image.repo_digests.iter().filter(wanted) {
            let repository = reference.familiar_name();
            if !tagged.contains(&repository) {
                let digest = digest_of(&repository);
                rows.push(named(repository, NONE, digest));
            }
        }
        if image.tags.is_empty() && image.repo_digests.is_empty() && patterns.is_empty() {
            rows.push(named(NONE.to_owned(), NONE, NONE.to_owned()));
        }
        rows
    }
}

impl Row {
    /// The columns of the table, when nobody names others.
    pub const DEFAULT: &[&str] = &["Repository", "Tag", "ID", "CreatedSince", "Size"];
    /// The same with digests.
    pub const WITH_DIGESTS: &[&str] =
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"];

    /// The row of an image; `cut` shortens its id.
    #[must_use]
    pub fn of(named: &Named<'_>, clock: &Clock, cut: bool) -> Self {
        let image = named.image;
        let created = time::read(&image.created);
        let unknown = || UNKNOWN.to_owned();
        Self {
            containers: unknown(),
            created_at: created.map_or_else(unknown, |time| clock.go_string(time)),
            created_since: created.map_or_else(unknown, |time| clock.ago(time)),
            digest: named.digest.clone(),
            id: id(&image.id, cut),
            repository: named.repository.clone(),
            shared_size: unknown(),
            size: human::short_size(image.size),
            tag: named.tag.clone(),
            unique_size: unknown(),
            virtual_size: human::size(image.size),
        }
    }
}

/// An id as lists show it.
#[must_use]
pub fn id(id: &Digest, cut: bool) -> String {
    if cut {
        id.hex()[..12].to_owned()
    } else {
        id.to_string()
    }
}
