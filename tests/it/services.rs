//! PHP-FPM and nginx of a server that others use, too: what they wrote, what does not run, what runs beside it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    process::Command,
    time::{Duration, SystemTime},
};

use gated_deploy::transport::shell::Script;
use gated_deploy_lab::{
    app::{self, Variant},
    runner::Signal,
    server::{SEED_COMMIT, SEED_RELEASE},
    story::{Story, commit},
};

use crate::{
    failures::answers_of,
    plan::migration,
    recover::{recover, switched},
    site::Folder,
    support::{assert_ended, assert_says, story},
    watchdog::{time_passes, until},
};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const RELOAD: &str = concat!(
    include_str!("../../src/server/services/processes.sh"),
    include_str!("../../src/server/services/ready.sh"),
    include_str!("../../src/server/services/reload.sh")
);

const CAN_RELOAD: &str = concat!(
    include_str!("../../src/server/services/processes.sh"),
    include_str!("../../src/server/services/ready.sh"),
    include_str!("../../src/server/services/can-reload.sh")
);

// One of our scripts, on a server that consists of files.

/// A server with PHP-FPM 9.9 and nginx, both running and whole, whose deploy user has no rule for a test.
fn server() -> Folder {
    let here = Folder::new();
    for (pid, parent, uid, name) in [
        (1, 0, 0, "init"),
        (100, 1, 0, "php-fpm9.9"),
        (101, 100, 33, "php-fpm9.9"),
        (110, 1, 0, "nginx"),
        (111, 110, 33, "nginx"),
    ] {
        here.process(pid, parent, uid, name);
    }
    here.write("proc/uptime", "100000.00 1.00\n");
    here.write("run/nginx.pid", "110\n");
    here.write(
        "etc/php/9.9/fpm/php-fpm.conf",
        &format!("[global]\ninclude={}/*.conf\n", here.path("etc/php/9.9/fpm/pool.d")),
    );
    here.write("etc/php/9.9/fpm/pool.d/app.conf", "[app]\nuser = root\ngroup = root\nlisten = /dev/app.sock\n");
    here.write("etc/nginx/nginx.conf", "http {\n  include sites-enabled/*;\n}\n");
    here.write("etc/nginx/sites-enabled/app", "server { listen 80; root /srv/current/public; }\n");
    tool(&here, "sudo", "exit 1");
    tool(&here, "php-fpm9.9", "echo 'NOTICE: configuration file /dev/fd/4 test is successful' >&2");
    tool(&here, "nginx", "echo 'nginx: the configuration file test is successful' >&2");
    // It has read all of this.
    here.write("run/php/php9.9-fpm.pid", "100");
    here
}

/// A program that the script finds first.
fn tool(here: &Folder, name: &str, does: &str) {
    here.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{does}\n"));
    here.mode(&format!("bin/{name}"), 0o755);
}

type Records = Vec<(String, String)>;

fn run(here: &Folder, script: Script) -> Records {
    run_in(here, Command::new("sh"), script)
}

fn run_in(here: &Folder, mut shell: Command, script: Script) -> Records {
    let script = script
        .var("FPM_NAME", "php-fpm9.9")
        .var("NGINX_NAME", "nginx")
        .var("FPM_SERVICE", "php9.9-fpm")
        .var("NGINX_SERVICE", "nginx")
        .var("PROC", here.path("proc"))
        .var("RUN", here.path("run"))
        .var("ETC", here.path("etc"));
    shell.env("PATH", format!("{}:{}", here.path("bin"), std::env::var("PATH").expect("a path")));
    answers_of(shell, &script)
}

fn can_reload(here: &Folder) -> Records {
    run(here, Script::new("can-reload", CAN_RELOAD).var("CURRENT", here.path("current")).var("NEXT", here.path("next")))
}

/// The same as an account that is not root, whatever runs this test.
fn as_another_account(here: &Folder) -> Records {
    let script = Script::new("can-reload", CAN_RELOAD).var("CURRENT", "").var("NEXT", "");
    for folder in ["", "bin"] {
        here.mode(folder, 0o755);
    }
    let root = fs::metadata("/proc/self").expect("this process").uid() == 0;
    let mut shell = Command::new(if root { "setpriv" } else { "sh" });
    if root {
        shell.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
    }
    run_in(here, shell, script)
}

/// A reload; `does` is what PHP-FPM does then, in the folder of the processes.
fn reload(here: &Folder, does: &str) -> BTreeMap<String, String> {
    tool(here, "reload-fpm", &format!("set -e\ncd {}\n{does}", here.path("proc")));
    tool(here, "reload-nginx", &format!("cd {}; mv 111 112; sed -i s/111/112/g 112/stat", here.path("proc")));
    let script = Script::new("reload", RELOAD)
        .var("FPM_COMMAND", "reload-fpm")
        .var("NGINX_COMMAND", "reload-nginx")
        .var("WAIT", "600")
        .var("CURRENT", "")
        .var("NEXT", "");
    run(here, script).into_iter().collect()
}

/// The first worker ends and another one begins.
const NEW_WORKER: &str = "mv 101 102; sed -i s/101/102/g 102/stat";

fn all<'r>(records: &'r Records, key: &str) -> Vec<&'r str> {
    records.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
}

/// What is broken; there is nothing else.
#[track_caller]
fn broken(here: &Folder) -> String {
    let records = can_reload(here);
    assert_eq!(all(&records, "stopped"), [""; 0], "{records:?}");
    all(&records, "broken").join("\n")
}

#[test]
fn fd10_what_would_end_php_fpm_is_named_with_file_and_line() {
    let here = server();
    assert_eq!(broken(&here), "");
    let file = "etc/php/9.9/fpm/pool.d/zz-other.conf";
    let place = here.path(file);
    for (settings, says) in [
        ("user = no-such-account\ngroup = root", ":3): `user = no-such-account`: this account does not exist"),
        ("user = root\ngroup = no-such-$pool", ":4): `group = no-such-other`: this group does not exist"),
        (
            "user = 4711\ngroup = root\nlisten.owner = no-such-account",
            ":5): `listen.owner = no-such-account`: this account",
        ),
        ("group = root", ":1) has no `user`"),
    ] {
        here.write(file, &format!("[other]\nlisten = /dev/other.sock\n{settings} ; why not\n"));
        assert_says(
            &broken(&here),
            &[&format!("pool `other` ({place}{says}"), &format!("Correct {place}, then run: php-fpm9.9 -t")],
        );
    }
    here.write(file, "[other]\nuser = root\nlisten = /no/such/folder/other.sock\n");
    assert_says(
        &broken(&here),
        &[&format!("({place}:3): `listen = /no/such/folder/other.sock`: the folder /no/such/folder")],
    );
    // An include inside a pool, and variables of the service, are not known here: nothing is said of them.
    here.write(file, "[other]\nlisten = 9001\ninclude = /etc/php/common.inc\n");
    assert_eq!(broken(&here), "");
    here.write(file, "[other]\nuser = ${FPM_USER}\ngroup = 'root'\nlisten = ${FPM_LISTEN}\n");
    assert_eq!(broken(&here), "");
    // Where the list of who may connect says it, the owner is not looked at; nor is what is no setting.
    here.write(
        file,
        "[other]\nuser = root\nlisten = 9001\nlisten.acl_users = x\nlisten.owner = no-such-account\n;user = gone\n",
    );
    assert_eq!(broken(&here), "");
    // A master that another account runs changes none.
    here.write(file, "[other]\nuser = no-such-account\nlisten = 9001\n");
    here.process(100, 1, 33, "php-fpm9.9");
    here.folder("run/systemd/system");
    tool(&here, "systemctl", "printf 'MainPID=100\\nLoadState=loaded\\nActiveState=active\\n'");
    assert_eq!(broken(&here), "");
}

#[test]
fn fd10_a_folder_that_php_fpm_needs_when_it_starts_is_looked_for() {
    let here = server();
    let file = "etc/php/9.9/fpm/pool.d/zz-other.conf";
    let place = here.path(file);
    // What PHP-FPM opens or enters when it starts. Its own test as the deploy user cannot: the folders may be root's.
    for (settings, line, says) in [
        ("access.log = /no/such/x.log", 4, "`access.log = /no/such/x.log`: the folder /no/such does not exist"),
        ("access.log = gone-$pool/x.log", 4, "`access.log = gone-other/x.log`: a relative path, and its folder"),
        ("access.log = /etc", 4, "`access.log = /etc`: /etc is a folder"),
        ("slowlog = /no/such/slow\nrequest_slowlog_timeout = 5s", 4, "`slowlog = /no/such/slow`: the folder /no/such"),
        ("chdir = /no/such", 4, "`chdir = /no/such`: the folder /no/such does not exist"),
        ("chdir = /etc/passwd", 4, "`chdir = /etc/passwd`: the folder /etc/passwd does not exist"),
        ("chroot = /no/such", 4, "`chroot = /no/such`: the folder /no/such does not exist"),
        ("chroot = /etc\nchdir = /no", 5, "`chdir = /etc//no`: the folder /etc//no does not exist"),
        ("prefix = /no/such", 4, "`prefix = /no/such`: the folder /no/such does not exist"),
        ("prefix = /etc\naccess.log = no/$pool.log", 5, "`access.log = /etc/no/other.log`: the folder /etc/no"),
        ("listen = /etc", 4, "`listen = /etc`: /etc is a folder"),
    ] {
        here.write(file, &format!("[other]\nuser = root\ngroup = root\n{settings}\n"));
        assert_says(&broken(&here), &[&format!("pool `other` ({place}:{line}): {says}")]);
    }
    here.write(file, "[other]\nuser = root\nrequest_slowlog_timeout = 5s\n");
    assert_says(&broken(&here), &[&format!("({place}:3) has `request_slowlog_timeout` and no `slowlog`")]);
    here.write(file, "[global]\nerror_log = /no/such/error.log\npid = /no/run/fpm.pid\n");
    assert_says(
        &broken(&here),
        &[
            &format!("section `global` ({place}:2): `error_log = /no/such/error.log`: the folder /no/such does not"),
            &format!("section `global` ({place}:3): `pid = /no/run/fpm.pid`: the folder /no/run does not exist"),
        ],
    );
    // What PHP-FPM does not open, and what is there, is no obstacle.
    for settings in [
        "slowlog = /no/such/slow",
        "slowlog = /no/such/slow\nrequest_slowlog_timeout = 0",
        "slowlog = /tmp/slow\nrequest_slowlog_timeout = 5s\naccess.log = lib/$pool.log\nchdir = /",
        "chroot = /etc\nchdir = /",
        "access.log = $unknown/x.log",
        "[global]\nerror_log = syslog\npid = run/fpm.pid",
    ] {
        here.write(file, &format!("[other]\nuser = root\ngroup = root\n{settings}\n"));
        assert_eq!(broken(&here), "", "{settings}");
    }
}

/// PHP-FPM read its configuration at this time.
fn has_read(here: &Folder, time: SystemTime) {
    let number = fs::File::options().write(true).open(here.path("run/php/php9.9-fpm.pid")).expect("the file");
    number.set_modified(time).expect("its time");
}

/// The socket of a program, as the kernel lists it in /proc/net.
fn socket(here: &Folder, address: &str, uid: u32, inode: u32) {
    let family = if address.len() > 16 { "tcp6" } else { "tcp" };
    let mut list =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n".to_owned();
    list += &format!(
        "   0: {address} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  {uid:4}        0 {inode} 1 0\n"
    );
    // A connection is no listener.
    list += "   1: 0100007F:2329 0100007F:D000 01 00000000:00000000 00:00000000 00000000  4711        0 9 1 0\n";
    here.write(&format!("proc/net/{family}"), &list);
}

#[test]
fn fd10_a_port_that_another_program_has_ends_php_fpm_and_is_named() {
    let here = server();
    let file = "etc/php/9.9/fpm/pool.d/zz-other.conf";
    let place = here.path(file);
    let pool = |listen: &str| here.write(file, &format!("[other]\nuser = root\ngroup = root\n{listen}\n"));
    has_read(&here, SystemTime::now() - Duration::from_secs(60));
    // The new pool wants 127.0.0.1:9000 or the same port of all addresses; whoever has it is not this master.
    for (listen, has) in [
        ("listen = 127.0.0.1:9000", "0100007F:2328"),
        ("listen = 127.0.0.1:9000", "00000000:2328"),
        ("listen = 127.0.0.1:9000", "00000000000000000000000000000000:2328"),
        ("listen = 9000", "0100007F:2328"),
        ("listen = 0.0.0.0:9000", "0100007F:2328"),
        ("listen = [::1]:9000", "00000000000000000000000001000000:2328"),
    ] {
        fs::remove_dir_all(here.path("proc/net")).ok();
        socket(&here, has, 33, 7);
        pool(listen);
        let says = format!("pool `other` ({place}:4): `{listen}`: another program listens on port 9000");
        assert_says(&broken(&here), &[&says, "ss -ltnp"]);
    }
    pool("listen = /dev/other.sock\npm.status_listen = 127.0.0.1:9000");
    fs::remove_dir_all(here.path("proc/net")).expect("the lists");
    socket(&here, "0100007F:2328", 33, 7);
    assert_says(&broken(&here), &["`pm.status_listen = 127.0.0.1:9000`: another program"]);
    // Root's program may be this master itself. Its workers name the pools that it has: a new one has no port yet.
    socket(&here, "0100007F:2328", 0, 7);
    pool("listen = 127.0.0.1:9000");
    here.write("proc/101/cmdline", "php-fpm: pool app\0");
    assert_says(&broken(&here), &["another program listens on port 9000"]);
    // Another address, another port, and a connection are no obstacle.
    for listen in ["listen = 127.0.0.2:9000", "listen = 127.0.0.1:9001", "listen = [::1]:9000"] {
        pool(listen);
        assert_eq!(broken(&here), "", "{listen}");
    }
    // A pool that runs has its port: nothing changed since PHP-FPM read its configuration.
    pool("listen = 127.0.0.1:9000");
    here.write("proc/101/cmdline", "php-fpm: pool other\0");
    has_read(&here, SystemTime::now() + Duration::from_secs(60));
    assert_eq!(broken(&here), "");
    assert_eq!(all(&can_reload(&here), "unverified"), [""; 0]);
    // Its file changed since: whether it had this port before is not known.
    has_read(&here, SystemTime::now() - Duration::from_secs(60));
    let records = can_reload(&here);
    assert_eq!(all(&records, "broken"), [""; 0], "{records:?}");
    assert_says(all(&records, "unverified")[0], &[&format!("{place}:4"), "port 9000"]);
    // Whoever may look into the master knows it.
    here.folder("proc/100/fd");
    std::os::unix::fs::symlink("socket:[7]", here.path("proc/100/fd/5")).expect("a link");
    assert_eq!(all(&can_reload(&here), "unverified"), [""; 0]);
    fs::remove_file(here.path("proc/100/fd/5")).expect("the link");
    std::os::unix::fs::symlink("socket:[8]", here.path("proc/100/fd/5")).expect("a link");
    assert_says(&broken(&here), &["another program listens on port 9000"]);
    // A socket in a folder, which another version of PHP-FPM listens on.
    here.write(
        "proc/net/unix",
        "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 00010000 0001 01 9 /dev/other.sock\n",
    );
    pool("listen = /dev/other.sock");
    assert_eq!(broken(&here), "", "a pool of which a worker runs has its socket");
    here.write("proc/101/cmdline", "php-fpm: pool app\0");
    assert_says(&broken(&here), &["`listen = /dev/other.sock`: another program listens on this socket"]);
}

/// nginx goes on as it was, and says why in its log alone: `nginx -t` binds nothing.
#[test]
fn fd10_a_port_of_nginx_that_another_program_has_is_named() {
    let here = server();
    let place = here.path("etc/nginx/sites-enabled/zz");
    let host = |listen: &str| here.write("etc/nginx/sites-enabled/zz", &format!("server {{\n  listen {listen};\n}}\n"));
    for (listen, has) in [
        ("9000", "00000000:2328"),
        ("*:9000 default_server", "0100007F:2328"),
        ("127.0.0.1:9000 ssl", "00000000:2328"),
        ("[::]:9000", "00000000000000000000000000000000:2328"),
    ] {
        fs::remove_dir_all(here.path("proc/net")).ok();
        socket(&here, has, 1001, 7);
        host(listen);
        let address = listen.split(' ').next().expect("an address");
        assert_says(
            &broken(&here),
            &[&format!("{place}:2: `listen {address}`: another program listens on port 9000"), "ss -ltnp"],
        );
        // Both ways to a reload see it.
        let answer = reload(&here, NEW_WORKER);
        assert_eq!(answer["refused"], "nginx-not-reloaded");
        assert_says(&answer["value.fault"], &["port 9000"]);
        fs::rename(here.path("proc/102"), here.path("proc/101")).expect("the worker");
        here.process(101, 100, 33, "php-fpm9.9");
    }
    // Another family, address, port or protocol, and what is no number.
    for listen in [
        "[::1]:9000",
        "127.0.0.2:9001",
        "9000 udp",
        "9000 quic reuseport",
        "unix:/run/9000",
        "localhost:9000",
        "9000-9010",
    ] {
        fs::remove_dir_all(here.path("proc/net")).ok();
        socket(&here, "0100007F:2328", 1001, 7);
        host(listen);
        assert_eq!(broken(&here), "", "{listen}");
    }
    // A socket that root made may be nginx's own.
    fs::remove_dir_all(here.path("proc/net")).expect("the lists");
    socket(&here, "00000000:2328", 0, 7);
    host("9000");
    let records = can_reload(&here);
    assert_eq!(all(&records, "broken"), [""; 0], "{records:?}");
    assert_says(all(&records, "unverified")[0], &[&format!("{place}:2"), "port 9000"]);
    // Whoever may look into the master knows it.
    here.folder("proc/110/fd");
    std::os::unix::fs::symlink("socket:[7]", here.path("proc/110/fd/5")).expect("a link");
    assert_eq!(all(&can_reload(&here), "unverified"), [""; 0]);
    assert_eq!(broken(&here), "");
    fs::remove_file(here.path("proc/110/fd/5")).expect("the link");
    std::os::unix::fs::symlink("socket:[8]", here.path("proc/110/fd/5")).expect("a link");
    assert_says(&broken(&here), &["another program listens on port 9000"]);
    // The ports of all sites are nginx's own, and what it has read already it listens on.
    fs::remove_dir_all(here.path("proc/110/fd")).expect("the sockets");
    socket(&here, "00000000:0050", 0, 7);
    host("80");
    assert_eq!(all(&can_reload(&here), "unverified"), [""; 0]);
    socket(&here, "00000000:2328", 1001, 7);
    host("9000");
    here.write("proc/uptime", "100000.00 1.00\n");
    here.write("proc/111/stat", &format!("111 (nginx) S 110 {}{} 0 0\n", "0 ".repeat(17), 99_999 * 100));
    assert_eq!(broken(&here), "");
}

/// A socket of IPv6 may take IPv4 as well, and a service may listen in a network of its own.
#[test]
fn fd10_a_socket_of_both_families_and_a_network_of_its_own_are_known() {
    let here = server();
    let place = here.path("etc/nginx/sites-enabled/zz");
    here.write("etc/nginx/sites-enabled/zz", "server {\n  listen 9000;\n}\n");
    let every = "00000000000000000000000000000000:2328";
    socket(&here, every, 1001, 7);
    let says = |only: &str| {
        let other = "LISTEN 0 5 [::1]:25 [::]:* ino:6 sk:1 v6only:1";
        tool(
            &here,
            "ss",
            &format!("echo '{other}'; echo 'LISTEN 0 5 *:9000 *:* uid:1001 ino:7 sk:2 cgroup:/x {only}'"),
        );
    };
    says("v6only:0");
    assert_says(&broken(&here), &[&format!("{place}:2: `listen 9000`: another program listens on port 9000")]);
    says("v6only:1");
    assert_eq!(broken(&here), "");
    assert_eq!(all(&can_reload(&here), "unverified"), [""; 0]);
    says("");
    let records = can_reload(&here);
    assert_eq!(all(&records, "broken"), [""; 0], "{records:?}");
    assert_says(all(&records, "unverified")[0], &[&format!("{place}:2"), "whether it takes IPv4 as well is not known"]);
    // One of nginx's own takes IPv6 alone.
    socket(&here, every, 0, 7);
    assert_eq!(all(&can_reload(&here), "unverified"), [""; 0]);
    assert_eq!(broken(&here), "");
    // PHP-FPM can have an address of IPv4 beside one that takes IPv6 alone.
    socket(&here, every, 1001, 7);
    fs::remove_file(here.path("etc/nginx/sites-enabled/zz")).expect("the host");
    has_read(&here, SystemTime::now() - Duration::from_secs(60));
    let file = "etc/php/9.9/fpm/pool.d/zz-other.conf";
    here.write(file, "[other]\nuser = root\ngroup = root\nlisten = 127.0.0.1:9000\n");
    assert_says(&broken(&here), &["another program listens on port 9000"]);
    says("v6only:1");
    assert_eq!(broken(&here), "");

    // In the network of the services themselves nothing listens there; in this account's it does not count.
    says("v6only:0");
    here.write("etc/nginx/sites-enabled/zz", "server {\n  listen 9000;\n}\n");
    assert_says(&broken(&here), &["`listen 9000`", "`listen = 127.0.0.1:9000`"]);
    for master in [100, 110] {
        here.folder(&format!("proc/{master}/net"));
        here.write(&format!("proc/{master}/net/tcp"), "  sl  local_address\n");
    }
    assert_eq!(broken(&here), "");
    // And the other way round.
    fs::rename(here.path("proc/net/tcp6"), here.path("proc/110/net/tcp6")).expect("the list");
    assert_says(&broken(&here), &["`listen 9000`: another program listens on port 9000"]);
}

/// nginx runs no code of the app: that it was not reloaded is judged by what visitors get.
#[test]
fn fd10_a_reload_that_fails_at_nginx_is_told_apart() {
    let here = server();
    tool(&here, "sleep", "sed -i 's/^[0-9]*/200000/' $(dirname \"$0\")/../proc/uptime");
    let script = |fpm: &str, nginx: &str| {
        tool(&here, "reload-fpm", &format!("set -e\ncd {}\n{fpm}", here.path("proc")));
        tool(&here, "reload-nginx", nginx);
        let script = Script::new("reload", RELOAD)
            .var("FPM_COMMAND", "reload-fpm")
            .var("NGINX_COMMAND", "reload-nginx")
            .var("WAIT", "600")
            .var("UPTIME", here.path("proc/uptime"))
            .var("CURRENT", "")
            .var("NEXT", "");
        let records: BTreeMap<_, _> = run(&here, script).into_iter().collect();
        here.write("proc/uptime", "100000.00 1.00\n");
        records["refused"].clone()
    };
    assert_eq!(script(NEW_WORKER, "exit 1"), "nginx-reload-failed");
    fs::remove_dir_all(here.path("proc/102")).expect("the worker");
    here.process(101, 100, 33, "php-fpm9.9");
    assert_eq!(script(NEW_WORKER, "true"), "nginx-not-renewed");
    fs::remove_dir_all(here.path("proc/102")).expect("the worker");
    here.process(101, 100, 33, "php-fpm9.9");
    assert_eq!(script("true", "true"), "old-workers-remain");
}

#[test]
fn fd10_an_address_that_is_not_of_this_machine_ends_php_fpm_and_is_named() {
    let here = server();
    let file = "etc/php/9.9/fpm/pool.d/zz-other.conf";
    let pool = |listen: &str| here.write(file, &format!("[other]\nuser = root\ngroup = root\nlisten = {listen}\n"));
    socket(&here, "0100007F:1F90", 0, 7);
    tool(
        &here,
        "ip",
        "echo '1: lo inet 127.0.0.1/8 scope host lo'; echo '2: eth0 inet 192.0.2.10/24 scope global eth0'",
    );
    for listen in ["203.0.113.7:9001", "[2001:db8::7]:9001"] {
        pool(listen);
        assert_says(
            &broken(&here),
            &[&format!("zz-other.conf:4): `listen = {listen}`: this machine does not have"), "ip -o addr"],
        );
    }
    for listen in ["192.0.2.10:9001", "127.0.0.9:9001", "0.0.0.0:9001", "9001", "[::]:9001", "localhost:9001"] {
        pool(listen);
        assert_eq!(broken(&here), "", "{listen}");
    }
    pool("no-such-host.invalid:9001");
    assert_says(&broken(&here), &["`listen = no-such-host.invalid:9001`: this name has no address"]);
    // Where the kernel lets programs take any address, none is missing.
    pool("203.0.113.7:9001");
    here.write("proc/sys/net/ipv4/ip_nonlocal_bind", "1\n");
    assert_eq!(broken(&here), "");
    // Without the list of addresses nothing is known of it.
    here.write("proc/sys/net/ipv4/ip_nonlocal_bind", "0\n");
    tool(&here, "ip", "exit 1");
    let records = can_reload(&here);
    assert_eq!(all(&records, "broken"), [""; 0], "{records:?}");
    assert_says(all(&records, "unverified")[0], &["zz-other.conf:4", "203.0.113.7"]);
}

#[test]
fn fd10_one_file_that_cannot_be_read_hides_no_error_of_another() {
    let here = server();
    let broken_file = "etc/php/9.9/fpm/pool.d/zz-other.conf";
    here.write(broken_file, "[other]\nuser = root\nlisten = 9001\npm = bogus\n");
    let hidden = here.path("etc/php/9.9/fpm/pool.d/aa-hidden.conf");
    here.write("etc/php/9.9/fpm/pool.d/aa-hidden.conf", "[hidden]\nuser = root\n");
    here.mode("etc/php/9.9/fpm/pool.d/aa-hidden.conf", 0);
    tool(
        &here,
        "php-fpm9.9",
        "line=$(grep -n bogus /dev/fd/4 | cut -d : -f 1); [ -n \"$line\" ] || exit 0
         echo \"[x] ERROR: [/dev/fd/4:$line] value is NULL or bogus\" >&2; exit 78",
    );
    let records = as_another_account(&here);
    assert_says(&all(&records, "broken").join("\n"), &[&format!("({}:4)", here.path(broken_file))]);
    assert_says(&all(&records, "unverified").join("\n"), &[&hidden]);
    // What can be read is whole: the other file is told all the same.
    here.write(broken_file, "[other]\nuser = root\nlisten = 9001\n");
    let records = as_another_account(&here);
    assert_eq!((all(&records, "broken"), all(&records, "tested")), (Vec::new(), vec!["nginx -t"]), "{records:?}");
    assert_says(&all(&records, "unverified").join("\n"), &[&hidden]);
}

#[test]
fn fd10_php_fpm_judges_its_configuration_itself_and_the_line_is_that_of_the_file() {
    let here = server();
    let file = "etc/php/9.9/fpm/pool.d/zz-other.conf";
    here.write(
        file,
        "; a comment\n\n[other]\nuser = root\nlisten = 9001\nchdir = /\nslowlog = /var/log/slow.log\nnonsense = 1\n",
    );
    // It is not given the log that only root can open, nor one that it would make.
    let says = "conf=$(cat /dev/fd/4); case $conf in *slow.log* | *chdir* | *chroot*) exit 3 ;; esac
        line=$(printf '%s\\n' \"$conf\" | grep -n nonsense | cut -d : -f 1)
        echo \"[29-Nov-2026 22:50:50] ERROR: [/dev/fd/4:$line] unknown entry 'nonsense'\" >&2; exit 78";
    tool(&here, "php-fpm9.9", says);
    assert_says(&broken(&here), &[&format!("php-fpm9.9 -t: unknown entry 'nonsense' ({}:8)", here.path(file))]);
    tool(
        &here,
        "php-fpm9.9",
        "echo '[x] ALERT: [pool other] pm.min_spare_servers(0) must be a positive value' >&2; exit 78",
    );
    assert_says(&broken(&here), &["[pool other] pm.min_spare_servers(0)", &format!("({}:3)", here.path(file))]);
    // What an account that is not root cannot see says nothing of the configuration.
    tool(
        &here,
        "php-fpm9.9",
        "echo '[x] ERROR: failed to open error_log (/var/log/x): Permission denied (13)' >&2; exit 78",
    );
    let records = can_reload(&here);
    assert_eq!((all(&records, "broken"), all(&records, "untested").len()), (Vec::new(), 1), "{records:?}");
    // Where a rule of sudo allows it, root's word counts, whatever it is.
    tool(
        &here,
        "sudo",
        "case $* in '-n -l php-fpm9.9 -t') ;; '-n php-fpm9.9 -t') echo 'PHP Fatal error: no' >&2; exit 70 ;; *) exit 1 ;; esac",
    );
    assert_says(&broken(&here), &["php-fpm9.9 -t: PHP Fatal error: no"]);
}

#[test]
fn fd10_what_is_loaded_before_the_first_request_is_looked_for_where_it_will_be() {
    let here = server();
    here.folder("current");
    let ini = "etc/php/9.9/fpm/conf.d/10-opcache.ini";
    here.write(
        ini,
        &format!(
            "zend_extension=opcache.so\nopcache.preload={}\nopcache.preload_user=root\n",
            here.path("current/preload.php")
        ),
    );
    here.write("current/preload.php", "<?php");
    let missing = format!("`opcache.preload` ({}:2): {} does not exist", here.path(ini), here.path("next/preload.php"));
    assert_says(&broken(&here), &[&missing]);
    here.write("next/preload.php", "<?php");
    assert_eq!(broken(&here), "");
    here.write("etc/php/9.9/fpm/conf.d/20-user.ini", "opcache.preload_user=no-such-account\n");
    assert_says(&broken(&here), &["`opcache.preload_user = no-such-account`: this account does not exist"]);
    here.write("etc/php/9.9/fpm/conf.d/20-user.ini", "opcache.enable=0\n");
    fs::remove_file(here.path("next/preload.php")).expect("the file");
    assert_eq!(broken(&here), "", "OPcache is off");
}

#[test]
fn fd11_a_certificate_that_is_not_there_is_named_with_the_file_that_names_it() {
    let here = server();
    let emerg =
        "echo 'nginx: [emerg] 1#1: cannot load certificate \"/no/such.pem\": BIO_new_file() failed' >&2; exit 1";
    tool(&here, "nginx", emerg);
    let block = "server {\n  listen 443 ssl; # ssl_certificate /not/this;\n  ssl_certificate \"/no/such.pem\"; ssl_certificate_key tls/no.key;\n  ssl_dhparam $variable;\n}\n";
    here.write("etc/nginx/sites-enabled/zz", block);
    let place = here.path("etc/nginx/sites-enabled/zz");
    assert_says(
        &broken(&here),
        &[
            &format!("{place}:3: `ssl_certificate`: /no/such.pem does not exist"),
            &format!("{place}:3: `ssl_certificate_key`: {} does not exist", here.path("etc/nginx/tls/no.key")),
        ],
    );
    assert!(!broken(&here).contains("/not/this") && !broken(&here).contains("variable"));
    // What nginx names itself, without a file of ours to look for.
    here.write("etc/nginx/sites-enabled/zz", "nonsense on;\n");
    tool(
        &here,
        "nginx",
        "echo 'nginx: [emerg] 1#1: unknown directive \"nonsense\" in /etc/nginx/sites-enabled/zz:1' >&2; exit 1",
    );
    assert_says(&broken(&here), &["unknown directive \"nonsense\" in /etc/nginx/sites-enabled/zz:1"]);
    // An account that may not read the keys, or not listen, says nothing of the configuration.
    tool(&here, "nginx", "echo 'nginx: [emerg] 1#1: bind() to 0.0.0.0:80 failed (13: Permission denied)' >&2; exit 1");
    let records = can_reload(&here);
    assert_eq!(all(&records, "broken"), [""; 0], "{records:?}");
    assert_says(all(&records, "untested")[0], &["nginx -t", "Permission denied"]);
}

#[test]
fn fd10_files_that_the_next_reload_makes_active_are_named() {
    let here = server();
    // Both services read their configuration just now.
    let up = "100000.00";
    let ticks = 99_999 * 100;
    here.write("proc/uptime", &format!("{up} 1.00\n"));
    here.write("proc/111/stat", &format!("111 (nginx) S 110 {}{ticks} 0 0\n", "0 ".repeat(17)));
    assert_eq!(all(&can_reload(&here), "changed"), [""; 0]);
    // PHP-FPM did so a day ago, and all of its files are newer.
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let number = fs::File::options().write(true).open(here.path("run/php/php9.9-fpm.pid")).expect("the file");
    number.set_modified(yesterday).expect("its time");
    let records = can_reload(&here);
    let changed = all(&records, "changed");
    assert_eq!(changed.len(), 2, "{records:?}");
    assert_says(changed[1], &["php9.9-fpm\n", "/pool.d/app.conf\n"]);
    // So did nginx; a worker that ends its last requests is no witness.
    here.process(112, 110, 33, "nginx");
    here.write("proc/112/cmdline", "nginx: worker process is shutting down");
    assert_eq!(all(&can_reload(&here), "changed").len(), 2);
    fs::remove_file(here.path("proc/112/cmdline")).expect("the file");
    assert_eq!(all(&can_reload(&here), "changed").len(), 4);
}

#[test]
fn fd13_fd12_a_service_that_does_not_run_is_named_whatever_runs_beside_it() {
    let here = server();
    fs::remove_dir_all(here.path("proc/110")).expect("nginx");
    here.process(120, 1, 0, "apache2");
    assert_eq!(all(&can_reload(&here), "stopped"), ["nginx\n\nsudo service nginx start\napache2"]);
    // A second master of that name is none of the service, whose file is gone with its own.
    here.process(110, 1, 0, "nginx");
    fs::remove_file(here.path("run/php/php9.9-fpm.pid")).expect("the file");
    here.write("proc/100/cmdline", "php-fpm: master process (/srv/container/php-fpm.conf)");
    assert_eq!(all(&can_reload(&here), "stopped"), ["php9.9-fpm\n\nsudo service php9.9-fpm start\n"]);
    // With systemd its word counts, where processes are hidden, too.
    here.write("proc/100/cmdline", "php-fpm: master process (/etc/php/9.9/fpm/php-fpm.conf)");
    assert_eq!(all(&can_reload(&here), "stopped"), [""; 0]);
    here.folder("run/systemd/system");
    tool(
        &here,
        "systemctl",
        "case $* in *php9.9*) printf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\nResult=exit-code\\nMainPID=0\\n' ;; *) printf 'LoadState=loaded\\nActiveState=active\\nMainPID=110\\n' ;; esac",
    );
    let records = can_reload(&here);
    assert_says(
        all(&records, "stopped")[0],
        &["php9.9-fpm\n", "Result=exit-code", "\nsudo systemctl start php9.9-fpm\n"],
    );
    // A server that hides its processes says nothing else.
    fs::remove_dir_all(here.path("proc")).expect("all processes");
    here.folder("proc");
    assert_eq!(all(&can_reload(&here), "stopped").len(), 1);
    fs::remove_dir_all(here.path("run/systemd")).expect("systemd");
    assert_eq!(all(&can_reload(&here), "stopped"), [""; 0]);
}

#[test]
fn fd12_a_service_that_ends_when_it_is_reloaded_is_seen_at_once() {
    let here = server();
    let answer = reload(&here, "rm -r 100 101");
    assert_eq!((&*answer["refused"], &*answer["value.service"]), ("service-ended", "php9.9-fpm"));
    assert_eq!((&*answer["value.state"], &*answer["value.start"]), ("", "sudo service php9.9-fpm start"));
    // One that is not there cannot be reloaded, and the reason is told.
    let again = reload(&here, "exit 1");
    assert_eq!(again["refused"], "reload-of-stopped-service");
    assert_eq!((&*again["value.command"], &*again["value.service"]), ("reload-fpm", "php9.9-fpm"));
    assert_eq!(again["value.start"], "sudo service php9.9-fpm start");
    // The command of one that runs failed.
    let failed = reload(&server(), "exit 1");
    assert_eq!((&*failed["refused"], &*failed["value.command"]), ("reload-failed", "reload-fpm"));
    // Where processes are hidden, systemd says it.
    let here = server();
    fs::remove_dir_all(here.path("proc")).expect("all processes");
    here.folder("proc");
    here.folder("run/systemd/system");
    tool(
        &here,
        "systemctl",
        "printf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\nResult=exit-code\\nMainPID=0\\n'",
    );
    let answer = reload(&here, "");
    assert_eq!((&*answer["refused"], &*answer["value.service"]), ("service-ended", "php9.9-fpm"));
    assert_says(&answer["value.state"], &[" (", "ActiveState=failed", "Result=exit-code"]);
}

#[test]
fn fd10_a_reload_does_not_end_php_fpm_for_the_file_of_somebody_else() {
    let here = server();
    assert_eq!(reload(&here, NEW_WORKER).get("refused"), None);
    here.write("etc/php/9.9/fpm/pool.d/zz-other.conf", "[other]\nuser = no-such-account\nlisten = 9001\n");
    let answer = reload(&here, "touch reloaded");
    assert_eq!((&*answer["refused"], &*answer["value.service"]), ("fpm-not-reloaded", "php9.9-fpm"));
    assert_says(&answer["value.fault"], &["zz-other.conf:2", "no-such-account"]);
    assert!(!fs::exists(here.path("proc/reloaded")).expect("a folder"), "it was not reloaded");
}

#[test]
fn fd15_a_pool_without_workers_is_seen() {
    let here = server();
    fs::remove_dir_all(here.path("proc/101")).expect("the worker");
    let answer = reload(&here, "true");
    assert_eq!((answer.get("refused"), answer.get("unseen")), (None, None), "{answer:?}");
    assert_eq!(answer["idle"], "php-fpm9.9");
}

#[test]
fn fd14_what_sudo_says_is_answered() {
    let here = server();
    let ask = |commands: [&str; 2]| {
        run(
            &here,
            Script::new("privileges", include_str!("../../src/server/inspect/privileges.sh"))
                .list("COMMANDS", commands),
        )
    };
    tool(
        &here,
        "sudo",
        "case $* in *' nginx -t') ;; *) echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1 ;; esac",
    );
    let records = ask(["nginx -t", "systemctl reload nginx"]);
    assert_eq!(all(&records, "allowed"), ["nginx -t"]);
    assert_eq!(all(&records, "said"), ["sudo: sorry, you must have a tty to run sudo"]);
}

// A real server.

/// A pool of an account that was removed, and a virtual host whose certificate nobody has made.
const POOL: &str =
    "[other]\nuser = gone\ngroup = gone\nlisten = /run/php/other.sock\npm = static\npm.max_children = 1\n";
const POOL_FILE: &str = "/etc/php/8.2/fpm/pool.d/zz-other.conf";
const HOST: &str =
    "server { listen 443 ssl; ssl_certificate /etc/ssl/none.pem; ssl_certificate_key /etc/ssl/none.key; }\n";
const HOST_FILE: &str = "/etc/nginx/sites-enabled/zz";

#[track_caller]
fn assert_unharmed(story: &Story) {
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
    let failed = story.lab.exec("cat /visits; grep -c 200 /visits").expect("every answer so far");
    assert!(!failed.contains("50") && !failed.contains("000"), "visitors met a failure:\n{failed}");
}

#[test]
fn fd10_fd11_what_others_wrote_neither_goes_live_with_a_release_nor_ends_the_site() {
    let story = story();
    let commit = commit("not with these files");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    // Somebody works on the server meanwhile: as the migration runs, and once more when the release has been switched to.
    let meanwhile = format!("file_exists('/pool-too') && file_put_contents('{POOL_FILE}', \"{POOL}\");");
    tree.write("database/migrations/2031_01_01_000000_other.php", migration(&meanwhile)).expect("the migration");
    let live = "<?php\nif (realpath('/var/www/staging/current') === dirname(__DIR__)) { file_put_contents('HOST_FILE', 'HOST'); }\nreturn [];\n";
    let live = live.replace("HOST_FILE", HOST_FILE).replace("HOST", HOST.trim_end());
    tree.write("config/meanwhile.php", &live).expect("the configuration");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let server = |script: &str| story.lab.exec(script).expect("the server");
    let visits = "chmod 777 /etc/php/8.2/fpm/pool.d /etc/nginx/sites-enabled
        (while sleep 0.2; do curl -s -o /dev/null -w '%{http_code}\\n' -H 'Host: staging.lab.test' http://127.0.0.1/healthcheck.php >>/visits; done) >/dev/null 2>&1 &";
    server(visits);

    // Before: both are named, with file, line and what to type, and no phrase would change that.
    server(&format!("cat >{POOL_FILE} <<'END'\n{POOL}END\ncat >{HOST_FILE} <<'END'\n{HOST}END"));
    for runner in [story.staging(&commit).input("approval", ""), story.staging(&commit)] {
        let finished = runner.run_binary(story.binary());
        assert_ended(&finished, 1, "refused");
        assert_says(
            &finished.log,
            &[
                &format!("pool `other` ({POOL_FILE}:2): `user = gone`: this account does not exist"),
                &format!("Correct {POOL_FILE}, then run: php-fpm8.2 -t"),
                &format!("{HOST_FILE}:1: `ssl_certificate`: /etc/ssl/none.pem does not exist"),
                &format!("{POOL_FILE} changed "),
                "ago and is not active yet: the reload will activate it",
            ],
        );
    }
    assert_unharmed(&story);

    // What PHP-FPM's own test as the deploy user does not see, and what would end it.
    server(&format!(
        "rm {HOST_FILE}; perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 9077, Listen => 5) or die; sleep' >/dev/null 2>&1 &"
    ));
    for (setting, says) in [
        ("access.log = /var/www/gone/x.log", "the folder /var/www/gone does not exist"),
        ("listen = 127.0.0.1:9077", "another program listens on port 9077"),
        ("listen = 203.0.113.7:9001", "this machine does not have the address 203.0.113.7"),
    ] {
        server(&format!(
            "cat >{POOL_FILE} <<'END'\n[other]\nuser = www-data\ngroup = www-data\nlisten = /run/php/other.sock\npm = static\npm.max_children = 1\n{setting}\nEND"
        ));
        let finished = story.deploy(&commit);
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.log, &[&format!("pool `other` ({POOL_FILE}:7): `{setting}`: {says}")]);
        assert_unharmed(&story);
    }

    // Between plan and switch: nothing is switched.
    server(&format!("rm {POOL_FILE}; touch /pool-too"));
    let finished = story.deploy(&commit);
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.summary, &[POOL_FILE]);
    assert!(!finished.log.contains("going-back"), "{}", finished.log);
    assert_unharmed(&story);

    // Between switch and reload: what visitors get is the old release, so that it was not reloaded is a warning.
    server(&format!("rm -f {POOL_FILE} /pool-too"));
    let finished = story.deploy(&commit);
    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.summary, &[HOST_FILE, "answers as itself", "sudo -n service nginx reload"]);
    assert!(!finished.summary.contains("Manual action required"), "{}", finished.summary);
    assert_unharmed(&story);

    // The same for a run that ended after the switch, and whose rollback another one completes.
    server(&format!("rm -f {HOST_FILE}"));
    let (dead, running) = switched(&story, "killed beside this file");
    running.signal(Signal::KILL);
    // A reboot ends the watchdog as well.
    server("pkill -KILL -f '[w]atchdog/.*/program'");
    running.wait();
    // What its migrations came to is in its lock, and no folder of a job is left.
    let state = "/var/www/staging/.gated-deploy";
    assert_eq!(
        server(&format!("tr '\\036' '\\n' <{state}/lock/migrated | grep status; ls -A {state}/jobs")),
        "status=0\n"
    );
    time_passes(&story);
    server(&format!("cat >{HOST_FILE} <<'END'\n{HOST}END"));
    let finished = recover(&story).run_binary(story.binary());
    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.summary, &[HOST_FILE, "answers as itself", "sudo -n service nginx reload"]);
    assert!(!finished.summary.contains("Manual action required"), "{}", finished.summary);
    assert_unharmed(&story);
    let again = recover(&story).run_binary(story.binary());
    assert_ended(&again, 0, "passed");
    assert_says(&again.summary, &["no leftovers"]);
    assert!(!server("ls /var/www/staging/releases").contains(&dead[..8]), "its folder is removed");
    let line = server(&format!("tail -n 1 {state}/ledger.jsonl"));
    assert_says(&line, &["reverted-by-watchdog", "\"migrations\":[]"]);
}

/// nginx goes on as it was, and so does the site: that nginx was not reloaded is a warning.
#[test]
fn fd10_a_port_of_nginx_that_is_taken_before_its_reload_calls_nobody() {
    let story = story();
    let commit = commit("beside a taken port");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    let host = "server { listen 9078; return 204; }";
    let live = format!(
        "<?php\nif (realpath('/var/www/staging/current') === dirname(__DIR__)) {{ file_put_contents('{HOST_FILE}', '{host}'); }}\nreturn [];\n"
    );
    tree.write("config/meanwhile.php", &live).expect("the configuration");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let server = |script: &str| story.lab.exec(script).expect("the server");
    let listens =
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 9078, Listen => 5) or die; sleep'";
    // 9078 as the kernel writes it.
    let taken = || server("cat /proc/net/tcp").contains(":2376 ");
    server(&format!("chmod 777 /etc/nginx/sites-enabled; {listens} >/dev/null 2>&1 & echo $! >/taken"));
    until("the port is taken", PATIENCE, taken);

    // Made by root, its socket may be nginx's own: the plan cannot tell.
    let finished = story.staging(&commit).input("confirm-within", "10m").run_binary(story.binary());
    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.log, &["code: nginx-not-renewed"]);
    assert_says(&finished.summary, &["answers as itself", "sudo -n service nginx reload"]);
    assert!(!finished.summary.contains("Manual action required"), "{}", finished.summary);
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);

    // Another account's cannot be.
    server("kill $(cat /taken)");
    until("the port is free", PATIENCE, || !taken());
    server(&format!("setpriv --reuid=www-data --clear-groups {listens} >/dev/null 2>&1 &"));
    until("the port is taken", PATIENCE, taken);
    let finished = story.deploy(&commit);
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &[&format!("{HOST_FILE}:1: `listen 9078`: another program listens on port 9078")]);
}

#[test]
fn fd12_fd13_fd15_the_services_that_serve_the_site_are_looked_at_and_no_others() {
    let story = story();
    let server = |script: &str| story.lab.exec(script).expect("the server");
    // A second master of that name, with a worker that never ends; and a site whose workers start on demand.
    server(
        "mkdir /srv/second; sed 's,^include.*,include=/srv/second/*.pool,; s,^pid.*,pid=/run/second.pid,; s,^error_log.*,error_log=/dev/null,' \
             /etc/php/8.2/fpm/php-fpm.conf >/srv/second/php-fpm.conf
         printf '[second]\\nuser=www-data\\ngroup=www-data\\nlisten=/run/second.sock\\npm=static\\npm.max_children=1\\n' >/srv/second/x.pool
         php-fpm8.2 --fpm-config /srv/second/php-fpm.conf
         sed -i 's/^pm = dynamic/pm = ondemand/; s/^pm.max_children.*/&\\npm.process_idle_timeout = 1s/' /etc/php/8.2/fpm/pool.d/*.conf
         service php8.2-fpm reload",
    );
    let commit = commit("beside another master");
    story.ship(&commit, Variant::Healthy).expect("the build");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert!(!finished.log.contains("could not be verified"), "{}", finished.log);
    server("test -e /proc/$(cat /run/second.pid)");

    // Stopped: its name beside it does not make it run. nginx, with Apache in its place, which only a copy of another program plays.
    for (stop, start, says) in [
        (
            "service php8.2-fpm stop",
            "service php8.2-fpm start",
            ["php8.2-fpm is not running", "Start it: sudo service php8.2-fpm start"],
        ),
        (
            "service nginx stop; cp /bin/sleep /srv/apache2; (/srv/apache2 600 >/dev/null 2>&1 &)",
            "service nginx start",
            ["nginx is not running, but apache2 is", "A site that apache2 serves cannot be released"],
        ),
    ] {
        server(stop);
        let finished = story.staging(&commit).input("approval", "").run_binary(story.binary());
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.summary, &says);
        server(start);
    }
}
