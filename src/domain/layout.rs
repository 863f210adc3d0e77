//! Every path on the server, from one base.

use super::{ReleaseName, RemotePath};

/// Where things are under `base-dir`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Layout {
    base: RemotePath,
    env_file: RemotePath,
}

impl Layout {
    /// `env_file` is relative to the base and was checked by `path::relative`.
    pub fn new(base: RemotePath, env_file: &str) -> Self {
        let env_file = base.join(env_file);
        Self { base, env_file }
    }

    pub fn base(&self) -> &RemotePath {
        &self.base
    }

    pub fn releases(&self) -> RemotePath {
        self.base.join("releases")
    }

    pub fn release(&self, name: &ReleaseName) -> RemotePath {
        self.releases().join(name.as_str())
    }

    pub fn current(&self) -> RemotePath {
        self.base.join("current")
    }

    pub fn shared(&self) -> RemotePath {
        self.base.join("shared")
    }

    /// The environment's `.env`, linked into every release.
    pub fn env_file(&self) -> &RemotePath {
        &self.env_file
    }

    pub fn backups(&self) -> RemotePath {
        self.base.join("backups")
    }

    pub fn backup(&self, name: &ReleaseName) -> RemotePath {
        self.backups().join(name.as_str())
    }

    /// A link's text as runs write it: relative to the base. The server's scripts do the same with what they read (`plain_link`).
    pub fn plain(&self, link: &str) -> String {
        let text = link.trim_end_matches('/');
        let relative = text.strip_prefix(self.base.as_str()).and_then(|rest| rest.strip_prefix('/'));
        relative.unwrap_or(text).to_owned()
    }

    /// Our own state, mode 0700.
    pub fn state(&self) -> RemotePath {
        self.base.join(".gated-deploy")
    }

    pub fn lock(&self) -> RemotePath {
        self.state().join("lock")
    }

    pub fn ledger(&self) -> RemotePath {
        self.state().join("ledger.jsonl")
    }

    /// What runs wrote down on their way, a file for each release.
    pub fn journals(&self) -> RemotePath {
        self.state().join("journal")
    }

    pub fn journal(&self, name: &ReleaseName) -> RemotePath {
        self.journals().join(&format!("{name}.jsonl"))
    }

    /// What scripts say that go on when their connection breaks, until it was heard.
    pub fn jobs(&self) -> RemotePath {
        self.state().join("jobs")
    }

    /// Where the guards of unconfirmed releases are.
    pub fn watchdog(&self) -> RemotePath {
        self.state().join("watchdog")
    }

    /// The guard of a release, without the word for its state behind it.
    pub fn guard(&self, name: &ReleaseName) -> RemotePath {
        self.watchdog().join(name.as_str())
    }

    /// Where uploads land, next to the releases and on the same file system.
    pub fn uploads(&self) -> RemotePath {
        self.state().join("incoming")
    }

    /// The upload for a release: a name that no other file has.
    pub fn incoming(&self, name: &ReleaseName) -> RemotePath {
        self.uploads().join(&format!("{name}.tar.gz"))
    }
}

/// From the release that was live to the one that shall be. Deploying and rolling back are the same move with other ends (F84).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// What `current` pointed to when we looked, as runs write it; `None` before the first release.
    pub from: Option<String>,
    pub to: ReleaseName,
}

impl Move {
    /// The release that is left, if the link led to one.
    pub fn left(&self) -> Option<ReleaseName> {
        named(self.from.as_deref()?)
    }
}

/// The release that a link's text leads to: `releases/20251102_154900-f0959baf`, or absolute.
pub fn named(link: &str) -> Option<ReleaseName> {
    link.trim_end_matches('/').rsplit('/').next()?.parse().ok()
}

/// Whether two links lead to the same release, or say the same. An entry of an earlier version may have an absolute one.
pub fn same_link(one: Option<&str>, other: Option<&str>) -> bool {
    one == other || one.and_then(named).is_some_and(|release| other.and_then(named) == Some(release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_link_leads_to_the_same_release() {
        let layout = Layout::new("/srv/shop".parse().expect("a path"), ".env");
        let name = "20261101_080000-0123abcd";
        let (plain, absolute) = (format!("releases/{name}"), format!("/srv/shop/releases/{name}/"));
        assert_eq!(layout.plain(&absolute), plain);
        assert_eq!(
            ["releases/5", "/srv/shop2/releases/5"].map(|link| layout.plain(link)),
            ["releases/5", "/srv/shop2/releases/5"]
        );
        assert!(same_link(Some(&plain), Some(&absolute)) && same_link(None, None));
        assert!(!same_link(Some(&plain), None) && !same_link(Some("releases/5"), Some("releases/6")));
    }
}
