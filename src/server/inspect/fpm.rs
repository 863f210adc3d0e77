//! Reading PHP-FPM's configuration, as far as one must to learn which pool serves a site, and as whom.

use super::config_file::ConfigFile;

/// A pool: one `[section]` of a file in `pool.d`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// The PHP version whose folder the file lies in: `8.2`.
    pub version: String,
    pub listen: String,
    /// The account that PHP runs as; without it PHP-FPM itself does not run as root.
    pub user: Option<String>,
    /// Without it the group of the account.
    pub group: Option<String>,
    /// What PHP sees as the root of the file system.
    pub chroot: Option<String>,
    /// The folders that PHP may open files in, as the file says, divided by colons.
    pub open_basedir: Option<String>,
    /// The files that PHP runs before every request, or keeps in every process, with the names of their settings.
    pub loads: Vec<(String, String)>,
}

impl Pool {
    /// Whether nginx reaches this pool by a target of `fastcgi_pass`.
    pub fn listens_on(&self, target: &str) -> bool {
        let socket = target.strip_prefix("unix:").unwrap_or(target);
        let port = |text: &str| text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok()).map(str::to_owned);
        let local =
            |text: &str| !text.contains(':') || text.starts_with("127.0.0.1:") || text.starts_with("localhost:");
        // A bare port listens on every address of the machine.
        self.listen == socket
            || port(&self.listen).is_some()
                && port(&self.listen) == port(socket)
                && local(&self.listen)
                && local(socket)
    }

    /// Where this machine reaches it, as PHP's `stream_socket_client` takes it; `None` for a path that only PHP-FPM can resolve.
    pub fn address(&self) -> Option<String> {
        if self.listen.starts_with('/') {
            return Some(format!("unix://{}", self.listen));
        }
        let (host, port) = self.listen.rsplit_once(':').unwrap_or(("", &self.listen));
        port.parse::<u16>().ok()?;
        Some(match host {
            "" | "*" | "0.0.0.0" => format!("tcp://127.0.0.1:{port}"),
            "[::]" => format!("tcp://[::1]:{port}"),
            host => format!("tcp://{host}:{port}"),
        })
    }
}

/// Every pool of every version.
pub fn pools(files: &[ConfigFile]) -> Vec<Pool> {
    files
        .iter()
        .filter(|file| !is_ini(file))
        .filter_map(|file| Some((file, version_of(&file.path)?)))
        .flat_map(|(file, version)| in_file(file, version))
        .collect()
}

/// What PHP's own configuration of a version says of this setting, with the file in which it says it. The last file counts, as PHP reads them in
/// the order of their names.
pub fn ini_setting<'f>(files: &'f [ConfigFile], version: &str, name: &str) -> Option<(&'f str, &'f str)> {
    let own = files.iter().filter(|file| is_ini(file) && version_of(&file.path) == Some(version));
    let mut said: Vec<(&str, &str)> = own
        .flat_map(|file| file.text.lines().map(|line| (file.path.as_str(), line.split(';').next().unwrap_or_default())))
        .filter_map(|(path, line)| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| (path, value.trim().trim_matches('"')))
        })
        .collect();
    // `conf.d` comes after `php.ini`.
    said.sort_by_key(|(path, _)| path.contains("/conf.d/"));
    said.pop().filter(|(_, value)| !value.is_empty())
}

/// PHP's own configuration, and none of PHP-FPM.
pub fn is_ini(file: &ConfigFile) -> bool {
    file.path.ends_with(".ini")
}

/// `/etc/php/8.2/fpm/...` gives `8.2`.
pub fn version_of(path: &str) -> Option<&str> {
    let version = path.strip_prefix("/etc/php/")?.split('/').next()?;
    (!version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')).then_some(version)
}

fn in_file(file: &ConfigFile, version: &str) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for line in file.text.lines().map(|line| line.split(';').next().unwrap_or_default().trim()) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            pools.push(Pool {
                name: name.trim().to_owned(),
                file: file.path.clone(),
                version: version.to_owned(),
                ..Pool::default()
            });
        } else if let (Some(pool), Some((key, value))) = (pools.last_mut(), line.split_once('=')) {
            // FPM puts the pool's name in the place of `$pool` (php-fpm's documentation, "Configuration").
            let value = value.trim().trim_matches('"').replace("$pool", &pool.name);
            let key = key.trim();
            match key {
                "listen" => pool.listen = value,
                "user" => pool.user = Some(value),
                "group" => pool.group = Some(value),
                "chroot" => pool.chroot = Some(value).filter(|folder| !folder.is_empty()),
                "php_value[opcache.preload]"
                | "php_admin_value[opcache.preload]"
                | "php_value[auto_prepend_file]"
                | "php_admin_value[auto_prepend_file]" => {
                    let name = key.split_once('[').map_or(key, |(_, name)| name.trim_end_matches(']'));
                    pool.loads.push((name.to_owned(), value));
                }
                "php_value[open_basedir]" | "php_admin_value[open_basedir]" => {
                    pool.open_basedir = Some(value).filter(|folders| !folders.is_empty());
                }
                _ => {}
            }
        }
    }
    pools.retain(|pool| pool.name != "global" && !pool.listen.is_empty());
    pools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f67_each_section_of_a_file_is_a_pool_of_its_own() {
        let text = "; listen = /commented/out\n[global]\npid = /run/x\n[shop]\nuser = $pool\ngroup = \"www-data\"\nlisten = /run/php/$pool.sock ; here\n\
                    listen.owner = nobody\n[admin]\nlisten = 127.0.0.1:9001\nuser=admin";
        let files = [
            ConfigFile { path: "/etc/php/8.3/fpm/pool.d/shop.conf".to_owned(), text: text.to_owned() },
            ConfigFile { path: "/opt/other.conf".to_owned(), text: text.to_owned() },
        ];
        let pools = pools(&files);
        let [shop, admin] = pools.as_slice() else { panic!("{pools:?}") };
        assert_eq!((shop.user.as_deref(), shop.group.as_deref()), (Some("shop"), Some("www-data")));
        assert_eq!((shop.version.as_str(), admin.group.as_deref()), ("8.3", None));
        assert!(shop.listens_on("unix:/run/php/shop.sock") && !shop.listens_on("unix:/run/php/admin.sock"));
        assert!(admin.listens_on("127.0.0.1:9001") && admin.listens_on("localhost:9001"));
        assert!(!admin.listens_on("10.0.0.7:9001") && !admin.listens_on("127.0.0.1:9000"));
    }

    #[test]
    fn a_pool_is_reached_where_it_listens() {
        let address = |listen: &str| Pool { listen: listen.to_owned(), ..Pool::default() }.address();
        for (listen, reached) in [
            ("/run/php/shop.sock", "unix:///run/php/shop.sock"),
            ("9000", "tcp://127.0.0.1:9000"),
            ("*:9000", "tcp://127.0.0.1:9000"),
            ("0.0.0.0:9000", "tcp://127.0.0.1:9000"),
            ("[::]:9000", "tcp://[::1]:9000"),
            ("127.0.0.1:9001", "tcp://127.0.0.1:9001"),
            ("[::1]:9001", "tcp://[::1]:9001"),
            ("php.internal:9001", "tcp://php.internal:9001"),
        ] {
            assert_eq!(address(listen).as_deref(), Some(reached), "{listen}");
        }
        assert_eq!([address("run/shop.sock"), address("host:name")], [None, None]);
    }
}
