//! Which release a link or an answer names.

use crate::{
    domain::{CommitSha, ReleaseName},
    http::Reply,
};
use serde_json::Value;

/// The release that an answer of the one-time file names.
pub fn named(reply: &Reply) -> Option<String> {
    let object: Value = serde_json::from_slice(&reply.body).ok().filter(|_| reply.status == 200)?;
    Some(object.get("gated-deploy")?.as_str()?.to_owned())
}

/// The name of the folder that a link leads to.
pub fn folder(link: &str) -> &str {
    link.trim_end_matches('/').rsplit('/').next().unwrap_or(link)
}

/// Whether what `current` pointed to is a release of this commit.
pub(crate) fn same_commit(link: &str, commit: &CommitSha) -> bool {
    folder(link).parse::<ReleaseName>().is_ok_and(|release| release.short_sha() == commit.short())
}
