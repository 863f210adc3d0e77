//! A server that others start from: an image of one on which something has happened already.

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::docker::docker;
use crate::image;
use crate::server::Lab;
use crate::system::System;
use crate::workspace::lock;

const REPOSITORY: &str = "gated-deploy-lab-snapshot";

/// The sites lie outside of what docker keeps (a tmpfs, a volume): they are laid where `lab-init` fills an empty site from. The services
/// end as they do before a server is switched off; keys and tokens stay, so that every server started from here is this one.
const STOP: &str = "set -eu
for service in nginx php8.2-fpm mariadb; do service $service stop; done
for site in staging production; do
    rm -rf /opt/lab/www/$site
    cp -a /var/www/$site /opt/lab/www/$site
done
rm -f /run/lab-database-ready";

/// The name of an image of the server that `make` makes, made once for equal `parts`: everything that it depends on. One that was made of
/// others is removed.
pub fn ensure(parts: &[&[u8]], make: impl FnOnce() -> Result<Lab>) -> Result<String> {
    let mut hash = Sha256::new();
    for part in [image::ensure(System::default())?.name.as_bytes(), STOP.as_bytes()].iter().chain(parts) {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let tag: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{REPOSITORY}:{tag}");
    let _lock = lock("snapshot.lock")?;
    if docker(["image", "inspect", "--format", "{{.Id}}", &name]).is_ok() {
        return Ok(name);
    }
    let server = make()?;
    server.exec(STOP).context("stopping the services of the server to keep")?;
    docker(["commit", server.container_id(), &name]).context("keeping the server as an image")?;
    drop(server);
    for old in docker(["images", "--format", "{{.Tag}}", REPOSITORY])?.lines().filter(|old| *old != tag) {
        // Another process may run servers of it.
        let _ = docker(["rmi", &format!("{REPOSITORY}:{old}")]);
    }
    Ok(name)
}
