//! PHP-FPM and nginx: which of them serve the site, whether we may reload them, and reloading.

#[cfg(any(test, feature = "fuzzing"))]
use super::sudo::Rules;
use super::{
    Gateway, ServiceState,
    fpm::{self, Pool},
    nginx,
};
use crate::{
    domain::{Failure, Layout, RemoteCommand},
    engine::step::Io,
    errors,
    server::inspect::{
        config_file::ConfigFile,
        permissions::{Permissions, missing, permissions},
    },
    transport::shell::Shell,
};

/// What the server's configuration says about who serves the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// `php8.2-fpm`
    pub fpm: String,
    /// Seconds; `None` if the file could not be read.
    pub process_control_timeout: Option<u64>,
    /// How that was found, for the log.
    pub because: String,
    /// `8.2`; `None` for a service whose name does not say it.
    pub version: Option<String>,
    /// The pool, where one and no other can be the one.
    pub pool: Option<Pool>,
    /// The virtual host that serves `current`, by its first name.
    pub host: Option<String>,
    /// Whether nginx gives PHP the path behind the link (`$realpath_root`) or the link itself (`$document_root`), where it can be read.
    pub realpath_root: Option<bool>,
    /// Where PHP can be asked for a release that is not live, or why nowhere.
    pub gateway: Result<Gateway, String>,
}

/// Finds the FPM service of the site: from the virtual host that serves `current`, to the socket it passes to, to the pool that
/// listens there, to the version whose folder the pool lies in (F67: derived, not the first one found).
pub fn find(
    layout: &Layout,
    given: Option<&str>,
    nginx_files: &[ConfigFile],
    fpm_files: &[ConfigFile],
) -> Result<Serving, String> {
    let versions = fpm_versions(fpm_files);
    let pools = fpm::pools(fpm_files);
    let hosts = hosts_of(layout, nginx_files);
    let host = hosts.first();
    let serving = |version: &str, pool: Option<&Pool>, because: String| Serving {
        fpm: format!("php{version}-fpm"),
        process_control_timeout: process_control_timeout(version, fpm_files),
        because,
        version: Some(version.to_owned()),
        pool: pool.cloned(),
        host: host.and_then(|host| host.names.first().cloned()),
        realpath_root: host.and_then(|host| nginx::realpath_root(host, nginx_files)),
        gateway: gateway(layout, host, pool).and_then(|gateway| {
            let settings = settings(pool, host, fpm_files, nginx_files);
            settings.iter().try_for_each(|setting| setting.leaves_open(layout)).map(|()| gateway)
        }),
    };
    let only_pool = |version: &str| {
        let mut own = pools.iter().filter(|pool| pool.version == version);
        own.next().filter(|_| own.next().is_none())
    };
    let upstreams: Vec<nginx::Upstream> = nginx_files.iter().flat_map(|file| nginx::upstreams(&file.text)).collect();
    let mut found: Vec<Serving> = Vec::new();
    for host in &hosts {
        for pass in &host.fastcgi_pass {
            let targets = upstreams
                .iter()
                .find(|upstream| upstream.name == *pass)
                .map_or(vec![pass.clone()], |upstream| upstream.servers.clone());
            for target in targets {
                let Some(pool) = pools.iter().find(|pool| pool.listens_on(&target)) else { continue };
                let because = format!("{} passes to {target}, where {} listens", host.label(), pool.file);
                let next = serving(&pool.version, Some(pool), because);
                if !found.iter().any(|seen| seen.fpm == next.fpm) {
                    found.push(next);
                }
            }
        }
    }
    if let Some(service) = given {
        let version = service.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm")).unwrap_or_default();
        let derived = found.into_iter().find(|serving| serving.fpm == service);
        let mut named = derived.unwrap_or_else(|| serving(version, only_pool(version), String::new()));
        named.because = "`php-fpm-service` names it".to_owned();
        named.fpm = service.to_owned();
        named.version = named.version.filter(|version| !version.is_empty());
        return Ok(named);
    }
    match (found.as_slice(), versions.as_slice()) {
        ([one], _) => Ok(one.clone()),
        ([], [only]) => Ok(serving(only, only_pool(only), "it is the only PHP-FPM on the server".to_owned())),
        ([], []) => Err("no PHP-FPM was found on the server (/etc/php/*/fpm)".to_owned()),
        ([], many) => Err(format!(
            "no virtual host of nginx that serves {} names a pool, and the server has several PHP-FPM services: {}",
            layout.current(),
            many.join(", ")
        )),
        (several, _) => Err(format!(
            "several PHP-FPM services serve {}: {}",
            layout.current(),
            several.iter().map(|one| one.fpm.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Where the pool can be asked for a release that is not live.
fn gateway(layout: &Layout, host: Option<&nginx::VirtualHost>, pool: Option<&Pool>) -> Result<Gateway, String> {
    let Some(pool) = pool else { return Err("it is not known which pool of PHP-FPM serves the site".to_owned()) };
    // It may be another site's, which must not see this one's health token.
    let Some(host) = host else {
        return Err(format!("no virtual host of nginx is known to serve {}", layout.current()));
    };
    let Some(address) = pool.address() else {
        return Err(format!("the pool {} listens at {}, which is no whole path", pool.name, pool.listen));
    };
    let served = Some(host).and_then(|host| host.roots.iter().find_map(|root| below_current(layout, root)));
    let public = served.unwrap_or("/public").trim_end_matches('/').to_owned();
    Ok(Gateway { pool: pool.name.clone(), address, public, chroot: pool.chroot.clone() })
}

/// A setting of PHP that limits or adds what it loads.
struct Setting {
    name: String,
    value: String,
    /// Where it stands: "the pool shop", a file, "the virtual host shop.example.com".
    place: String,
}

/// The settings under which a pool serves the site, wherever they stand: a pool's own, PHP's, and those that come with each request, which a
/// worker keeps for the requests after it.
fn settings(
    pool: Option<&Pool>,
    host: Option<&nginx::VirtualHost>,
    fpm_files: &[ConfigFile],
    nginx_files: &[ConfigFile],
) -> Vec<Setting> {
    let mut given = Vec::new();
    if let Some(pool) = pool {
        let own = pool.open_basedir.iter().map(|folders| ("open_basedir".to_owned(), folders.clone()));
        let place = format!("the pool {}", pool.name);
        given.extend(own.chain(pool.loads.iter().cloned()).map(|(name, value)| Setting {
            name,
            value,
            place: place.clone(),
        }));
        for name in LOADS {
            let said = fpm::ini_setting(fpm_files, &pool.version, name);
            // The pool's own word counts.
            if let Some((file, value)) = said.filter(|_| !given.iter().any(|setting| setting.name == name)) {
                given.push(Setting { name: name.to_owned(), value: value.to_owned(), place: file.to_owned() });
            }
        }
    }
    if let Some(host) = host {
        let values = nginx::php_values(host, nginx_files);
        let settings = values.iter().filter_map(|line| line.split_once('='));
        let loads = settings.filter(|(name, _)| LOADS.contains(&name.trim()));
        given.extend(loads.map(|(name, value)| Setting {
            name: name.trim().to_owned(),
            value: value.trim().trim_matches('"').to_owned(),
            place: host.label(),
        }));
    }
    given
}

const LOADS: [&str; 3] = ["open_basedir", "auto_prepend_file", "opcache.preload"];

impl Setting {
    /// Whether the pool can be asked for a release that is not live.
    fn leaves_open(&self, layout: &Layout) -> Result<(), String> {
        let Self { name, value, place } = self;
        // nginx puts the folder of the live release in their place.
        let live = |path: &&str| {
            below_current(layout, path).is_some() || path.contains("$document_root") || path.contains("$realpath_root")
        };
        if name != "open_basedir" {
            return match live(&value.as_str()) {
                true => Err(format!("`{name}` of {place} loads {value}, which is code of the live release")),
                false => Ok(()),
            };
        }
        // PHP resolves the link: until the switch it leads to the live release, and PHP may open no other.
        match value.split(':').find(live) {
            Some(folder) => Err(format!(
                "`open_basedir` of {place} has {folder}, so it allows only the release that `current` leads to"
            )),
            None => Ok(()),
        }
    }
}

/// The part of a path behind `current`, with its slash.
fn below_current<'p>(layout: &Layout, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(layout.current().as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The virtual hosts that serve what lies behind `current`.
fn hosts_of(layout: &Layout, files: &[ConfigFile]) -> Vec<nginx::VirtualHost> {
    let hosts = files.iter().flat_map(|file| nginx::virtual_hosts(&file.text));
    hosts.filter(|host| host.roots.iter().any(|root| below_current(layout, root).is_some())).collect()
}

fn fpm_versions(files: &[ConfigFile]) -> Vec<String> {
    let mut versions: Vec<String> = files
        .iter()
        .filter(|file| !fpm::is_ini(file))
        .filter_map(|file| fpm::version_of(&file.path))
        .map(str::to_owned)
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

/// Every value of a key in FPM's INI dialect: `key = value`, comments after `;`.
fn ini_values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let line = line.split(';').next().unwrap_or_default();
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches('"'))
    })
}

/// PHP-FPM's time unit: plain seconds, or with `s`, `m`, `h`, `d`. Its default is 0: a reload cuts running requests.
fn process_control_timeout(version: &str, files: &[ConfigFile]) -> Option<u64> {
    let main = files
        .iter()
        .find(|file| fpm::version_of(&file.path) == Some(version) && file.path.ends_with("/php-fpm.conf"))?;
    let Some(value) = ini_values(&main.text, "process_control_timeout").last() else { return Some(0) };
    let (digits, factor) = match value.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(digits) => (
            digits,
            match value.as_bytes()[value.len() - 1] {
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86400,
                _ => 1,
            },
        ),
        None => (value, 1),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// Asks sudo which reload commands it allows, and picks one for each service. Every one that is missing is named, with the line
/// that would allow it.
pub async fn privileges(
    shell: &dyn Shell,
    io: &Io,
    user: &str,
    serving: &Serving,
    systemd: bool,
) -> Result<ServiceState, Failure> {
    let doing = "reading what sudo allows";
    let permissions = permissions(shell, io, Some(&serving.fpm), systemd, doing).await?;
    if let Some((cause, hint)) = missing(user, &permissions) {
        return Err(errors::services::sudo_rule_missing(cause, hint).failure(doing));
    }
    let commands =
        [Permissions::best(&permissions.fpm), Some(&permissions.test), Permissions::best(&permissions.nginx)];
    Ok(ServiceState {
        fpm: serving.fpm.clone(),
        reload: commands.into_iter().flatten().filter(|one| one.given()).map(|one| sudo(&one.command)).collect(),
        process_control_timeout: serving.process_control_timeout,
        gateway: serving.gateway.clone(),
    })
}

/// The commands of a reload, in the order in which they run.
pub fn reload_commands(permissions: &Permissions) -> Vec<RemoteCommand> {
    let commands =
        [Permissions::best(&permissions.fpm), Some(&permissions.test), Permissions::best(&permissions.nginx)];
    commands.into_iter().flatten().filter(|one| one.given()).map(|one| sudo(&one.command)).collect()
}

fn sudo(command: &str) -> RemoteCommand {
    RemoteCommand::new(["sudo", "-n"].into_iter().chain(command.split(' ')))
}

/// What the kernel calls the processes of a service: `php8.2-fpm` runs as `php-fpm8.2` (Debian's binary name).
pub fn process_name(service: &str) -> String {
    match service.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm")) {
        Some(version) => format!("php-fpm{version}"),
        None => service.to_owned(),
    }
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(text: &str) {
    let file = |path: &str| ConfigFile { path: path.to_owned(), text: text.to_owned() };
    let files = [
        file("/etc/nginx/nginx.conf"),
        file("/etc/nginx/fastcgi.conf"),
        file("/etc/php/8.3/fpm/pool.d/x.conf"),
        file("/etc/php/8.3/fpm/php-fpm.conf"),
    ];
    for host in nginx::virtual_hosts(text) {
        nginx::realpath_root(&host, &files);
    }
    nginx::upstreams(text);
    for pool in fpm::pools(&files) {
        assert!(!pool.listen.is_empty() && !pool.listen.contains('\n'));
        pool.listens_on("unix:/run/php/php8.3-fpm.sock");
    }
    process_control_timeout("8.3", &files);
    let rules = Rules::parse(text);
    let _ = (rules.of("/usr/bin/systemctl", "reload php8.3-fpm"), rules.of("/bin/x", text));
}

#[cfg(test)]
mod tests {
    use super::super::sudo::Leave;
    use super::*;
    use crate::server::{
        inspect::permissions::{Permission, Permissions, missing},
        services::reload::{by_hand, describe},
    };
    use crate::transport::shell::Answer;

    #[test]
    fn a_pool_that_is_not_the_sites_alone_or_runs_the_live_release_is_not_asked() {
        let layout = Layout::new("/srv/shop".parse().expect("a path"), "shared/.env");
        let host =
            nginx::VirtualHost { roots: vec!["/srv/shop/current/web".to_owned()], ..nginx::VirtualHost::default() };
        let pool = |loads: &[(&str, &str)]| Pool {
            name: "shop".to_owned(),
            listen: "/run/php/shop.sock".to_owned(),
            loads: loads.iter().map(|(name, file)| ((*name).to_owned(), (*file).to_owned())).collect(),
            ..Pool::default()
        };
        let asked = |host: Option<&nginx::VirtualHost>, pool: &Pool| {
            settings(Some(pool), host, &[], &[]).iter().try_for_each(|setting| setting.leaves_open(&layout))?;
            gateway(&layout, host, Some(pool)).map(|gateway| gateway.public)
        };
        assert_eq!(asked(Some(&host), &pool(&[])).as_deref(), Ok("/web"));
        assert_eq!(asked(Some(&host), &pool(&[("opcache.preload", "/srv/other/preload.php")])).as_deref(), Ok("/web"));
        for name in ["opcache.preload", "auto_prepend_file"] {
            let why = asked(Some(&host), &pool(&[(name, "/srv/shop/current/preload.php")])).expect_err(name);
            assert!(why.contains(name) && why.contains("code of the live release"), "{why}");
        }
        assert!(asked(None, &pool(&[])).expect_err("whose pool it is").contains("no virtual host"));
    }

    /// PHP's own configuration, and what nginx gives PHP with each request, limit a pool as its own file does.
    #[test]
    fn what_a_pool_may_open_is_read_wherever_it_stands() {
        let layout = Layout::new("/srv/shop".parse().expect("a path"), "shared/.env");
        let file = |path: &str, text: &str| ConfigFile { path: path.to_owned(), text: text.to_owned() };
        let found = |param: &str, own: &str, inis: &[(&str, &str)]| {
            let host = format!(
                "server {{ server_name shop; root /srv/shop/current/public; location / {{ fastcgi_pass unix:/run/shop.sock; {param} }} }}"
            );
            let pool = format!("[shop]\nlisten = /run/shop.sock\n{own}");
            let mut fpm_files = vec![file("/etc/php/8.3/fpm/pool.d/shop.conf", &pool)];
            fpm_files.extend(inis.iter().map(|(path, text)| file(path, text)));
            let nginx_files = [file("/etc/nginx/sites-enabled/shop", &host)];
            find(&layout, None, &nginx_files, &fpm_files).expect("a service").gateway.map(|gateway| gateway.pool)
        };
        let ini = "/etc/php/8.3/fpm/php.ini";
        let limited = "open_basedir = /srv/shop/current:/tmp";
        for (param, own, inis, named) in [
            ("", "", &[(ini, limited)][..], "`open_basedir` of /etc/php/8.3/fpm/php.ini has /srv/shop/current,"),
            (
                "",
                "",
                &[(ini, "auto_prepend_file = \"/srv/shop/current/a.php\"")],
                "`auto_prepend_file` of /etc/php/8.3",
            ),
            (
                "fastcgi_param PHP_ADMIN_VALUE \"open_basedir=$document_root/:/tmp\";",
                "",
                &[],
                "of the virtual host shop has $document_root/,",
            ),
            (
                "fastcgi_param PHP_VALUE \"open_basedir=/srv/shop/current/..:/tmp\";",
                "",
                &[],
                "of the virtual host shop has",
            ),
            ("", "php_admin_value[open_basedir] = /srv/shop/current", &[], "`open_basedir` of the pool shop has"),
        ] {
            let why = found(param, own, inis).expect_err(named);
            assert!(why.contains(named), "{why}");
        }
        for (param, own, inis) in [
            ("", "", &[(ini, "open_basedir = /srv/shop:/tmp")][..]),
            ("", "", &[("/etc/php/8.2/fpm/php.ini", limited)]),
            ("", "", &[(ini, limited), ("/etc/php/8.3/fpm/conf.d/90-own.ini", "open_basedir =")]),
            ("", "php_admin_value[open_basedir] = /srv/shop", &[(ini, limited)]),
            ("fastcgi_param PHP_VALUE \"memory_limit=$document_root\";", "", &[]),
        ] {
            assert_eq!(found(param, own, inis).as_deref(), Ok("shop"), "{param}{own}{inis:?}");
        }
    }

    #[test]
    fn fd10_what_does_not_run_is_started_by_hand_and_not_reloaded() {
        let by_hand = |reload: [&str; 3], stopped: &[&str]| {
            let reload = reload.map(|command| RemoteCommand::new(command.split(' ')));
            let stopped: Vec<String> = stopped.iter().map(|service| (*service).to_owned()).collect();
            let commands: Vec<String> = by_hand(&reload, &stopped).iter().map(ToString::to_string).collect();
            commands
        };
        let debian = ["sudo -n service php8.2-fpm reload", "sudo -n nginx -t", "sudo -n service nginx reload"];
        assert_eq!(by_hand(debian, &[]), debian);
        let started = ["sudo service php8.2-fpm start", "sudo -n nginx -t", "sudo -n service nginx reload"];
        assert_eq!(by_hand(debian, &["php8.2-fpm"]), started);
        let units =
            ["sudo -n systemctl reload php8.2-fpm.service", "sudo -n nginx -t", "sudo -n systemctl reload nginx"];
        let started = ["sudo systemctl start php8.2-fpm", "sudo -n nginx -t", "sudo systemctl start nginx"];
        assert_eq!(by_hand(units, &["nginx", "php8.2-fpm"]), started);
    }

    #[test]
    fn fd14_what_sudo_says_is_shown_and_decides_what_to_change() {
        let denied = |ignored: Option<&str>| Permission {
            command: "nginx -t".to_owned(),
            leave: Leave::Denied,
            ignored: ignored.map(str::to_owned),
            full: "/usr/sbin/nginx -t".to_owned(),
        };
        let permissions = |ignored, said: &[&str]| Permissions {
            fpm: vec![denied(ignored)],
            nginx: Vec::new(),
            test: denied(None),
            said: said.iter().map(|said| (*said).to_owned()).collect(),
        };
        let (cause, hint) = missing("deploy", &permissions(None, &[])).expect("something is missing");
        assert_eq!(cause, "deploy may not run: sudo -n nginx -t");
        assert!(hint.ends_with("deploy ALL=(root) NOPASSWD: /usr/sbin/nginx -t"), "{hint}");
        let tty = "sudo: sorry, you must have a tty to run sudo";
        let (cause, hint) = missing("deploy", &permissions(None, &[tty])).expect("something is missing");
        assert!(cause.ends_with(&format!("; sudo says: {tty}")), "{cause}");
        assert!(hint.ends_with("Defaults:deploy !requiretty"), "the rule is there already: {hint}");
        let (cause, hint) =
            missing("deploy", &permissions(Some("/usr/sbin/nginx *"), &[])).expect("something is missing");
        assert!(cause.contains("lists the rule `/usr/sbin/nginx *`") && cause.contains("no wildcards"), "{cause}");
        assert!(hint.ends_with("NOPASSWD: /usr/sbin/nginx -t"), "in full: {hint}");
    }

    #[test]
    fn fd15_what_is_said_of_a_pool_without_workers_is_true() {
        let answer = |key: &str| Answer::new(vec![(key.to_owned(), "php-fpm8.2".to_owned())]);
        let idle = describe(&answer("idle"), "php8.2-fpm");
        assert!(idle.contains("php-fpm8.2 runs without workers until the next request"), "{idle}");
        assert!(describe(&answer("unseen"), "php8.2-fpm").contains("could not be verified"));
    }
}
