//! The rows of `history`.

use cove_engine::HistoryEntry;

use super::id;
use crate::human;
use crate::rows::row;
use crate::time::{self, Clock};

row! {
    /// What a row of `history` has.
    pub struct Step = "*formatter.historyContext" {
        comment: String = "Comment" "COMMENT",
        created_at: String = "CreatedAt" "CREATED AT",
        created_by: String = "CreatedBy" "CREATED BY",
        created_since: String = "CreatedSince" "CREATED",
        id: String = "ID" "IMAGE",
        size: String = "Size" "SIZE",
    }
}

impl Step {
    /// The columns of the table, when nobody names others.
    pub const DEFAULT: &[&str] = &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"];

    /// The row of a step; `cut` shortens long texts, `readable` rounds numbers.
    #[must_use]
    pub fn of(entry: &HistoryEntry, clock: &Clock, cut: bool, readable: bool) -> Self {
        let created = time::read(&entry.created);
        let by = entry.created_by.replace('\t', " ");
        let created_at = created.map_or_else(String::new, |time| clock.rfc3339(time));
        let since = created.filter(|_| readable).map(|time| clock.ago(time));
        Self {
            comment: entry.comment.clone(),
            created_since: since.unwrap_or_else(|| created_at.clone()),
            created_at,
            created_by: if cut { human::ellipsis(&by, 45) } else { by },
            id: entry
                .id
                .as_ref()
                .map_or_else(|| "<missing>".to_owned(), |image| id(image, cut)),
            size: if readable {
                human::short_size(entry.size)
            } else {
                entry.size.to_string()
            },
        }
    }
}
