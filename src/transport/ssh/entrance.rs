//! The local end of a tunnel: a Unix socket that no other account can use.

use std::{
    fs::Permissions,
    io,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
};

use rustix::{net::sockopt::socket_peercred, process::geteuid};
use tempfile::TempDir;

/// A port on the loopback interface is open to every account of the runner, and its target may be closed to all others.
pub(super) struct Entrance {
    listener: UnixListener,
    /// Mode 0700; removed with the tunnel.
    folder: TempDir,
}

impl Entrance {
    pub(super) fn open() -> io::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("gated-deploy-").permissions(Permissions::from_mode(0o700)).tempdir()?;
        let listener = UnixListener::bind(folder.path().join(NAME))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, folder })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// The next connection of this account. One of another account is closed.
    pub(super) fn accept(&self) -> Option<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().ok()?;
            if socket_peercred(&stream).is_ok_and(|peer| peer.uid == geteuid()) {
                return Some(stream);
            }
        }
    }
}

const NAME: &str = "tunnel";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn its_folder_is_this_accounts_alone_and_goes_with_it() {
        let entrance = Entrance::open().expect("a socket");
        let path = entrance.path();
        let folder = path.parent().expect("its folder").to_owned();
        assert_eq!(fs::metadata(&folder).expect("its mode").permissions().mode() & 0o777, 0o700);
        assert!(entrance.accept().is_none(), "nothing waits");
        let _visitor = UnixStream::connect(&path).expect("a connection");
        assert!(entrance.accept().is_some());
        drop(entrance);
        assert!(!folder.exists());
    }
}
