//! `cargo xtask lab`: a server to play with.

use std::io::{Write as _, stdin};

use anyhow::{Context, Result};
use gated_deploy_lab::{Environment, Lab, Options};

/// Starts a server, says how to reach it, and removes it on Enter.
pub(crate) fn run() -> Result<()> {
    let lab = Lab::start(Options::default())?;
    let keys = tempfile::tempdir().context("making a folder for the key")?;
    let key = keys.path().join("id_ed25519");
    let mut file = std::fs::File::create(&key).context("writing the key")?;
    file.write_all(lab.private_key().as_bytes()).context("writing the key")?;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).context("guarding the key")?;
    std::fs::write(keys.path().join("known_hosts"), lab.known_hosts()).context("writing known_hosts")?;
    let ssh = lab.ssh_addr();
    println!(
        "ssh -i {} -o UserKnownHostsFile={} -p {} deploy@{}",
        key.display(),
        keys.path().join("known_hosts").display(),
        ssh.port(),
        ssh.ip()
    );
    for environment in [Environment::Staging, Environment::Production] {
        let site = lab.site(environment);
        println!("curl -H 'Host: {}' http://{}/", site.host, lab.http_addr());
        println!("    base-dir {}, health token {}", site.base_dir, site.health_token);
    }
    println!("docker exec -it {} bash", &lab.container_id()[..12]);
    println!("Enter ends it.");
    stdin().read_line(&mut String::new()).context("waiting")?;
    Ok(())
}
