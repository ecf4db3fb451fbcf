//! What happened to the things of an installation, as its journal tells it.
//! A face gives these facts its own words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970, by the wall clock.
    pub time: i64,
    /// What it was.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened, by the kind of thing that it happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// To one instance.
    Instance {
        /// Its id.
        id: String,
        /// Its name at that time.
        name: String,
        /// Its image as the user wrote it.
        image: String,
        /// Its labels.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// What became of it.
        change: InstanceChange,
    },
    /// To one image.
    Image {
        /// Its id; of a pull the name that was pulled.
        id: String,
        /// The name that it is about, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Its labels.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// What became of it.
        change: ImageChange,
    },
    /// Instances that were down were removed, each with an event of its own.
    InstancesPruned {
        /// Bytes given back.
        reclaimed: u64,
    },
    /// Images that nothing used were removed, each with an event of its own.
    ImagesPruned {
        /// Bytes given back.
        reclaimed: u64,
    },
}

/// What can become of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceChange {
    /// It was made.
    Create,
    /// A client is about to see its streams.
    Attach,
    /// A client left it by its keys.
    Detach,
    /// It runs.
    Start,
    /// A process of it was killed for want of memory.
    OutOfMemory,
    /// A run of it ended.
    Die {
        /// 0–255, 128+n for signal n.
        exit_code: i32,
    },
    /// It was sent a signal.
    Kill {
        /// The signal's number.
        signal: i32,
    },
    /// It was stopped by a user.
    Stop,
    /// It was stopped and started by a user.
    Restart,
    /// It was frozen.
    Pause,
    /// It was thawed.
    Unpause,
    /// It was given another name.
    Rename {
        /// The name that it had.
        old_name: String,
    },
    /// Its limits or its restart policy were changed.
    Update,
    /// Its terminal was given a size.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Its processes were listed.
    Top,
    /// Files were copied out of it.
    CopyOut,
    /// Files were copied into it.
    CopyIn,
    /// Its root was written as an archive.
    Export,
    /// An image was made of it.
    Commit {
        /// The remark.
        comment: String,
        /// The image's id.
        image: String,
        /// The image's name, where it was given one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// Another program is about to run in it.
    ExecCreate(Executed),
    /// Another program is being started in it.
    ExecStart(Executed),
    /// Another program in it ended.
    ExecDie {
        /// The id of the execution.
        exec: String,
        /// 0–255, 128+n for signal n.
        exit_code: i32,
    },
    /// It was removed.
    Destroy,
}

/// A program that is executed in an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// The id of the execution.
    pub exec: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
}

/// What can become of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageChange {
    /// It was fetched from a registry.
    Pull,
    /// It was given a name.
    Tag,
    /// A name was taken from it.
    Untag,
    /// It came out of an archive of images.
    Load,
    /// It was written into an archive of images.
    Save,
    /// It was made of an archive of files.
    Import,
    /// It was removed.
    Delete,
}

impl Happening {
    /// The same without what users choose the length of: for a journal that
    /// bounds its lines.
    pub fn shorten(&mut self) {
        match self {
            Self::Instance { labels, change, .. } => {
                labels.clear();
                if let InstanceChange::ExecCreate(executed) | InstanceChange::ExecStart(executed) =
                    change
                {
                    executed.argv.truncate(1);
                }
            }
            Self::Image { labels, .. } => labels.clear(),
            Self::InstancesPruned { .. } | Self::ImagesPruned { .. } => {}
        }
    }
}
