//! What only a server with settings of its own shows: a private sshd on loopback.

use std::{
    fs::{self, File},
    future::Future,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use gated_deploy::{
    config::typed::SshAccess,
    domain::{RemotePath, Roots, Secret, key::PrivateKey, known_hosts::KnownHosts},
    http::{Get, HttpSite, Site as _, Unanswered, Why},
    transport::{
        shell::{Answer, Script, Shell as _, ShellError},
        ssh::Ssh,
    },
};

/// An sshd of our own; it ends with the test.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Server {
    /// `settings` are lines for sshd_config. The server has an ed25519 and an RSA host key, and lets `key` in.
    pub(crate) fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for sshd");
        sh(
            folder.path(),
            "ssh-keygen -q -t ed25519 -N '' -f host_ed25519; ssh-keygen -q -t rsa -b 2048 -N '' -f host_rsa",
        );
        sh(folder.path(), "ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized_keys");
        let port = free_port();
        let path = folder.path().display();
        let config = format!(
            "{settings}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {path}/host_ed25519\nHostKey {path}/host_rsa\n\
             AuthorizedKeysFile {path}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n"
        );
        fs::write(folder.path().join("config"), config).expect("writing the configuration");
        // Where sshd wants to lock itself in; its service makes it at the start of the machine.
        let _ = fs::create_dir_all("/run/sshd");
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(folder.path().join("config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts; it is in the package openssh-server");
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait().expect("asking for sshd");
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "sshd does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { folder, port, process }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).expect(file)
    }

    /// A line for known_hosts with this host key.
    pub(crate) fn line(&self, key: &str) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.read(&format!("{key}.pub")))
    }

    pub(crate) fn access(&self, known_hosts: &str) -> SshAccess {
        let user = sh(self.folder.path(), "id -un").trim().to_owned();
        let key = PrivateKey::parse(&Secret::new(self.read("key")), None).expect("a key");
        let known_hosts = KnownHosts::parse(known_hosts).expect("lines");
        SshAccess { host: "127.0.0.1".to_owned(), port: self.port, user, key, known_hosts }
    }

    pub(crate) fn ssh(&self) -> Ssh {
        Ssh::new(&self.access(&self.line("host_ed25519")))
    }

    fn ssh_through(&self, line: &Line) -> Ssh {
        let known_hosts = format!("[127.0.0.1]:{} {}", line.port, self.read("host_ed25519.pub"));
        Ssh::new(&SshAccess { port: line.port, ..self.access(&known_hosts) })
    }

    /// The processes of the shells that it started for a script, and that have none yet or work.
    fn shells(&self) -> Vec<u32> {
        let shells = fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let ours = |word: &[u8]| {
                word.starts_with(b"SSH_CONNECTION=") && word.ends_with(format!(" {}", self.port).as_bytes())
            };
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            (line.starts_with(b"/bin/sh\0-s\0") && environment.split(|byte| *byte == 0).any(ours)).then_some(pid)
        });
        shells.collect()
    }

    pub(crate) fn logins(&self) -> usize {
        self.read("log").matches("Accepted publickey").count()
    }
}

/// sshd cannot be told to choose a port. One that the kernel chooses could be given to a connection before sshd has it, and whoever connects to
/// such a port while nothing listens there may meet itself: so it is one that the kernel gives to no connection (ip_local_port_range).
fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let tries = std::iter::repeat_with(|| TRIED.fetch_add(1, Ordering::Relaxed).wrapping_mul(101));
    let first = std::process::id().wrapping_mul(7919);
    let ports =
        tries.take(1000).map(|step| 12_000 + u16::try_from(first.wrapping_add(step) % 20_000).unwrap_or_default());
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sh(folder: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().expect("sh");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

pub(crate) async fn run(ssh: &Ssh, program: &'static str) -> Result<Answer, ShellError> {
    ssh.run(Script::new("test", program), &mut |_| {}).await
}

/// Asks until it is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_running(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(marker))
}

/// What the parser takes, the server must see a signature of: one row per format (F31, F32).
#[test]
fn f31_every_key_that_is_accepted_logs_in() {
    let server = Server::start("");
    for (make, passphrase) in [
        ("ssh-keygen -q -t ed25519 -N '' -f made", None),
        ("ssh-keygen -q -t ed25519 -N 'a b c' -f made", Some("a b c")),
        ("ssh-keygen -q -t rsa -b 2048 -N '' -f made", None),
        ("ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f made", None),
        ("ssh-keygen -q -t rsa -b 2048 -m PEM -N 'a b c' -f made", Some("a b c")),
        ("ssh-keygen -q -t rsa -b 2048 -m PKCS8 -N 'a b c' -f made", Some("a b c")),
        ("ssh-keygen -q -t ecdsa -b 256 -N '' -f made", None),
        ("ssh-keygen -q -t ecdsa -b 256 -m PEM -N '' -f made", None),
        ("ssh-keygen -q -t ecdsa -b 384 -N '' -f made", None),
        ("ssh-keygen -q -t ecdsa -b 521 -N '' -f made", None),
        ("openssl genpkey -algorithm ed25519 -out made", None),
    ] {
        sh(server.folder.path(), &format!("rm -f made made.pub; {make}"));
        let key = PrivateKey::parse(&Secret::new(server.read("made")), passphrase.map(Secret::new).as_ref());
        let key = key.unwrap_or_else(|problem| panic!("{make}: {problem}"));
        fs::write(server.folder.path().join("authorized_keys"), key.authorized_line()).expect("letting the key in");
        let access = SshAccess { key, ..server.access(&server.line("host_ed25519")) };
        wait(Ssh::new(&access).connect()).unwrap_or_else(|error| panic!("{make}: {error}"));
    }
}

#[test]
fn f38_the_server_is_asked_for_the_key_that_is_known() {
    let server = Server::start("");
    let connect = |known_hosts: &str| wait(Ssh::new(&server.access(known_hosts)).connect());
    let print = |key: &str| {
        sh(server.folder.path(), &format!("ssh-keygen -lf {key}.pub")).split(' ').nth(1).expect("a print").to_owned()
    };

    // It likes to show ed25519; only its RSA key is known.
    for known in [server.line("host_rsa"), print("host_rsa"), format!("ssh-rsa {}", print("host_rsa"))] {
        let greeting = connect(&known).unwrap_or_else(|error| panic!("{known}: {error}"));
        assert_eq!(greeting.host_key, format!("{} (ssh-rsa)", print("host_rsa")), "{known}");
    }
    assert!(connect(&server.line("host_ed25519")).is_ok());
    assert!(connect(&print("host_ed25519")).is_ok());

    // Not one of its keys: what it showed, what was expected.
    let other = print("key");
    let error = connect(&other).expect_err("an unknown key");
    assert!(
        matches!(&error, ShellError::HostKey { got, expected, .. } if *got == print("host_ed25519") && expected.contains(&other)),
        "{error:?}"
    );

    // A type that it does not have.
    sh(server.folder.path(), "ssh-keygen -q -t ecdsa -N '' -f nobodys");
    let error = connect(&server.line("nobodys")).expect_err("no such key");
    assert!(matches!(&error, ShellError::HostKeyUnusable(text) if text.contains("ecdsa-sha2-nistp256")), "{error:?}");

    let revoked = format!("{}@revoked * {}", server.line("host_ed25519"), server.read("host_ed25519.pub"));
    let error = connect(&revoked).expect_err("a revoked key");
    assert!(error.to_string().contains("revokes"), "{error}");
    assert!(connect(&format!("other.test {}", server.read("host_ed25519.pub"))).is_err());
}

#[test]
fn a_port_that_speaks_something_else_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a guest");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("an answer");
    });
    let sshd = Server::start("");
    let access =
        SshAccess { port, ..sshd.access(&sshd.read("host_ed25519.pub").replacen("ssh-", "127.0.0.1 ssh-", 1)) };
    let error = wait(Ssh::new(&access).connect()).expect_err("not SSH");
    server.join().expect("the server's thread");
    assert!(
        matches!(&error, ShellError::Unreachable(text) if text.contains(&format!("127.0.0.1:{port}"))),
        "{error:?}"
    );
}

/// A server that asks for signs of life gets them between two scripts too, and waiting costs nothing (F39).
#[test]
fn f39_an_idle_connection_answers_and_rests() {
    let server = Server::start("ClientAliveInterval 1\nLogLevel DEBUG1");
    let ssh = server.ssh();
    wait(run(&ssh, "put a b")).expect("an answer");
    let before = cpu_ticks();
    until("the server has an answer to its keepalive", || server.read("log").contains("for keepalive"));
    assert!(cpu_ticks() - before < 50, "half a second of work while idle");
    wait(run(&ssh, "put a b")).expect("an answer");
    assert_eq!(server.logins(), 1, "{}", server.read("log"));
}

/// Hundredths of a second that this process has worked.
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// The TCP sockets of this process that listen, by their inodes.
fn listening() -> Vec<String> {
    let own: Vec<String> = fs::read_dir("/proc/self/fd")
        .expect("descriptors")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.display().to_string())
        .collect();
    ["tcp", "tcp6"]
        .iter()
        .flat_map(|table| {
            fs::read_to_string(format!("/proc/self/net/{table}"))
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter(|fields| fields.get(3).is_some_and(|state| state == "0A"))
        .filter_map(|fields| fields.get(9).cloned())
        .filter(|inode| own.contains(&format!("socket:[{inode}]")))
        .collect()
}

#[test]
fn scripts_uploads_and_tunnels_work_side_by_side() {
    let server = Server::start("");
    let ssh = server.ssh();
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let web_port = web.local_addr().expect("an address").port();
    let pages = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = web.accept().expect("a guest");
            // What is left unread when the connection ends would reset it, and take the answer with it.
            let (mut request, mut part) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut part).expect("a request");
                assert!(read > 0, "half a request: {request:?}");
                request.extend_from_slice(&part[..read]);
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                .expect("an answer");
        }
    });
    let folder = server.folder.path().display().to_string();
    let target = server.folder.path().join("sent");
    let to: RemotePath = target.to_str().expect("a path").parse().expect("a path");
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&vec![9; 8_000_000]).expect("writing");
    std::io::Seek::rewind(&mut file).expect("rewinding");
    wait(async {
        let mut no_bytes = |_| {};
        // Each is done only when all of them have begun.
        let meet = |name| {
            let program = "head -c \"$BYTES\" /dev/zero | tr '\\0' x; : >\"$FOLDER/$NAME\"
                for other in one two three; do until [ -e \"$FOLDER/$other\" ]; do sleep 0.05; done; done; put name \"$NAME\"";
            let bytes = if name == "three" { "3000000" } else { "0" };
            Script::new("test", program).var("FOLDER", &*folder).var("NAME", name).var("BYTES", bytes)
        };
        let (mut one, mut two, mut three) = (|_| {}, |_| {}, |_| {});
        let visit = async {
            let before = listening();
            let entrance = ssh.tunnel("127.0.0.1", web_port).await.expect("a tunnel");
            assert_eq!(listening(), before, "SE16: no port that other accounts of this machine could use");
            let visitors = tokio::task::spawn_blocking(move || {
                (0..3).all(|_| {
                    let (mut visitor, mut page) =
                        (UnixStream::connect(entrance.path()).expect("the tunnel"), String::new());
                    visitor.write_all(b"GET / HTTP/1.1\r\nhost: any.example\r\n\r\n").expect("a request");
                    visitor.read_to_string(&mut page).expect("an answer");
                    page.starts_with("HTTP/1.1 200 ")
                })
            });
            assert!(visitors.await.expect("visitors"), "the tunnel carries pages");
        };
        let (first, second, third, sent, ()) = tokio::join!(
            ssh.run(meet("one"), &mut one),
            ssh.run(meet("two"), &mut two),
            ssh.run(meet("three"), &mut three),
            ssh.send(file, 8_000_000, &to, &mut no_bytes),
            visit,
        );
        for (answer, expected) in [(first, "one"), (second, "two"), (third, "three")] {
            assert_eq!(answer.expect("an answer").get("name"), Some(expected));
        }
        sent.expect("sent");
    });
    pages.join().expect("the pages");
    assert_eq!(fs::metadata(target).expect("the file").len(), 8_000_000);
    assert_eq!(server.logins(), 1);
}

/// The reader is slower than the server at times and faster at others; neither waits for the other longer than it must.
#[test]
fn a_flood_of_log_lines_never_stands_still() {
    let server = Server::start("");
    let ssh = server.ssh();
    let (mut lines, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
    let script = Script::new("test", "head -c 60000000 /dev/zero | tr '\\0' 'x' | fold -w 1000 >&2");
    wait(ssh.run(script, &mut |_| {
        lines += 1;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if lines % 10_000 == 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }))
    .expect("an answer");
    // As many as a script may log, a note, and the end of what was left out.
    assert_eq!(lines, 20_000 + 1 + 20);
    assert!(longest < Duration::from_secs(30), "{longest:?} without a line");
}

/// sshd drops what is one too many before it says a word.
#[test]
fn a_server_that_others_log_in_at_is_asked_again() {
    let server = Server::start("MaxStartups 1");
    let mut other = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    other.read_exact(&mut [0; 4]).expect("it is sshd's one login that is not finished");
    let ssh = server.ssh();
    let (greeting, ()) = wait(async {
        tokio::join!(ssh.connect(), async {
            while !server.read("log").contains("MaxStartups") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(other);
        })
    });
    greeting.expect("a connection, when the other one is gone");
    assert_eq!(server.logins(), 1);
}

/// To add the key that is there already would help nobody.
#[test]
fn fd44_a_server_that_wants_more_than_a_key_says_what() {
    for setting in ["AuthenticationMethods publickey,password", "PubkeyAuthentication no"] {
        let server = Server::start(&format!("PermitRootLogin yes\nPasswordAuthentication yes\n{setting}"));
        let error = wait(server.ssh().connect()).expect_err("a key alone is not enough");
        assert!(
            matches!(&error, ShellError::SecondFactor { methods, .. } if methods.contains("password")),
            "{error:?}"
        );
        let failure = error.failure("connecting");
        assert_eq!(failure.code, "ssh-second-factor");
        assert!(failure.hint.is_some_and(|hint| hint.contains("AuthenticationMethods publickey")));
    }
    // One that allows two attempts closes the connection at the question for other methods: then nothing is known of a second factor.
    for attempts in ["", "\nMaxAuthTries 2"] {
        let server = Server::start(&format!("DenyUsers *{attempts}"));
        let failure = wait(server.ssh().connect()).expect_err("nobody is let in").failure("connecting");
        assert_eq!(failure.code, "ssh-key-denied", "{failure:?}");
        let hint = failure.hint.expect("a hint");
        assert!(hint.contains("authorized_keys") && hint.contains("journalctl -u ssh"), "{hint}");
    }
}

#[test]
fn fd44_of_a_banner_the_last_line_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let banner = folder.path().join("banner");
    let last = format!("The system is going down{}", "!".repeat(500));
    fs::write(&banner, format!("**** Terms of use ****\n\n{last}\n\n")).expect("a banner");
    let server = Server::start(&format!("DenyUsers *\nBanner {}", banner.display()));
    let failure = wait(server.ssh().connect()).expect_err("nobody is let in").failure("connecting");
    let cause = &failure.cause;
    assert!(cause.contains(&last[..200]) && !cause.contains(&last[..201]) && !cause.contains("Terms"), "{cause}");
}

#[test]
fn a_port_that_closes_every_connection_is_given_up_and_told() {
    let server = Server::start("");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("an address").port();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = visits.clone();
    std::thread::spawn(move || closed.incoming().for_each(|_| _ = counted.fetch_add(1, Ordering::SeqCst)));
    let access = SshAccess {
        port,
        ..server.access(&server.line("host_ed25519").replace(&server.port.to_string(), &port.to_string()))
    };
    let error = wait(Ssh::new(&access).connect()).expect_err("nobody is there");
    assert_eq!(error, ShellError::Throttled(format!("127.0.0.1:{port}")));
    let failure = error.failure("connecting");
    assert!(failure.hint.is_some_and(|hint| hint.contains("MaxStartups") && hint.contains("ssh-port")));
    assert_eq!(visits.load(Ordering::SeqCst), 5, "again after 1, 2, 4 and 8 s");
}

/// Ten scripts, one right after the other, over a line that carries one way at a time: first what the client says, until the server can do
/// nothing more with it; then what the server says, until the script is done.
#[test]
fn a_script_costs_one_round_trip() {
    let server = Server::start("LogLevel DEBUG1");
    let line = Line::to(server.port);
    let ssh = server.ssh_through(&line);
    let counted = |what: &str| server.read("log").matches(what).count();
    let opened = || counted("server_input_channel_open: ctype session");
    let started = || counted("request exec reply 1");
    wait(run(&ssh, "put a b")).expect("an answer");
    until("three shells wait", || started() == 4);
    for turn in 0..10 {
        let path = |name: &str| server.folder.path().join(format!("{name}-{turn}"));
        let (works, go) = (path("works"), path("go"));
        let script = Script::new("test", ": >\"$WORKS\"; until [ -e \"$GO\" ]; do sleep 0.01; done; put a b")
            .var("WORKS", works.to_str().expect("a path"))
            .var("GO", go.to_str().expect("a path"));
        line.silent.store(true, Ordering::SeqCst);
        line.held.store(false, Ordering::SeqCst);
        let mut on_line = |_| {};
        let answer = wait(async {
            let turns = async {
                // The shell for the script after the next one is opened meanwhile, and the one for the next script is started.
                while !works.exists() || opened() < turn + 5 || started() < turn + 4 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                line.held.store(true, Ordering::SeqCst);
                line.silent.store(false, Ordering::SeqCst);
                fs::write(&go, "").expect("a file");
                std::future::pending::<()>().await;
            };
            tokio::select! {
                answer = ssh.run(script, &mut on_line) => answer,
                () = turns => unreachable!("it waits"),
            }
        });
        line.silent.store(false, Ordering::SeqCst);
        assert_eq!(answer.unwrap_or_else(|error| panic!("turn {turn}: {error}")).get("a"), Some("b"));
    }
    line.held.store(false, Ordering::SeqCst);
    assert_eq!(server.logins(), 1);
}

#[test]
fn a_server_with_one_session_is_enough() {
    for sessions in 1..=3 {
        let server = Server::start(&format!("MaxSessions {sessions}\nLogLevel VERBOSE"));
        let ssh = server.ssh();
        let to = remote(&server.folder.path().join("sent"));
        for round in 0..10 {
            wait(run(&ssh, "put a b")).expect("an answer");
            send(&ssh, b"a file", &to).0.expect("sent");
            // With a shell that waits for its script, and with one that is just being started.
            until("a shell waits", || round % 2 == 0 || !server.shells().is_empty());
        }
        assert_eq!(server.logins(), 1);
    }
}

/// One after the other, where the server allows no more.
#[test]
fn scripts_that_run_beside_others_wait_for_a_session() {
    for sessions in 1..=3 {
        let server = Server::start(&format!("MaxSessions {sessions}"));
        let ssh = server.ssh();
        for round in 0..5 {
            let script = || Script::new("test", "put a b");
            let mut lines: Vec<_> = (0..4).map(|_| |_| {}).collect();
            let answers = wait(join_all(lines.iter_mut().map(|on_line| ssh.run(script(), on_line))));
            for answer in answers {
                let answer = answer.unwrap_or_else(|error| panic!("{sessions} sessions, round {round}: {error}"));
                assert_eq!(answer.get("a"), Some("b"));
            }
        }
        assert_eq!(server.logins(), 1);
    }
}

/// Its time begins when it has a session, since what has that may be a backup. What is given up while it waits is never begun.
#[test]
fn a_script_that_waits_for_a_session_uses_none_of_its_time() {
    const LIMIT: Duration = Duration::from_secs(4);
    let server = Server::start("MaxSessions 1");
    let ssh = server.ssh();
    let path = |name: &str| server.folder.path().join(name).to_str().expect("a path").to_owned();
    let (gate, never) = (path("gate"), path("never"));
    wait(async {
        let first = Script::new("first", "echo works; until [ -e \"$GATE\" ]; do sleep 0.05; done; put a b");
        let (told, mut works) = tokio::sync::mpsc::unbounded_channel();
        let mut on_line = move |line: String| drop(told.send(line));
        let first = ssh.run(first.var("GATE", &gate), &mut on_line);
        let beside = async {
            works.recv().await.expect("it works");
            let given_up = Script::new("never", ": >\"$NEVER\"").var("NEVER", &never);
            let mut quiet = |_: String| {};
            tokio::select! {
                answer = ssh.run(given_up, &mut quiet) => panic!("it did not wait: {answer:?}"),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
            let second = Script::new("second", "put a b").timeout(LIMIT);
            let mut quiet = |_: String| {};
            // Longer than it may take once it has begun.
            let opens = async {
                tokio::time::sleep(LIMIT + Duration::from_secs(2)).await;
                fs::write(&gate, "").expect("the gate");
            };
            tokio::join!(ssh.run(second, &mut quiet), opens).0
        };
        let (first, second) = tokio::join!(first, beside);
        for answer in [first, second] {
            assert_eq!(answer.expect("an answer").get("a"), Some("b"));
        }
    });
    assert!(!Path::new(&never).exists(), "what was given up was begun");
    assert_eq!(server.logins(), 1);
}

/// A session for the script, and one for a shell that waits: it makes room for the command that ends the script.
#[test]
fn a_shell_that_waits_makes_room() {
    let server = Server::start("MaxSessions 2");
    let ssh = server.ssh();
    wait(run(&ssh, "put a b")).expect("an answer");
    for _ in 0..5 {
        let works = server.folder.path().join("works");
        let _ = fs::remove_file(&works);
        let script = Script::new("test", ": >\"$WORKS\"; sleep 607.25").var("WORKS", works.to_str().expect("a path"));
        given_up_at(&ssh, script, &works);
        let answer = wait(run(&ssh, "put left \"$(pgrep -f 'sleep 607[.]25' || true)\"")).expect("an answer");
        assert_eq!(answer.get("left"), Some(""));
    }
    assert_eq!(server.logins(), 1, "no second connection was needed");
}

/// By the end of the run, and by a line that breaks.
#[test]
fn shells_that_wait_end_with_their_connection() {
    let server = Server::start("");
    let ssh = server.ssh();
    wait(run(&ssh, "put a b")).expect("an answer");
    until("three shells wait", || server.shells().len() == 3);
    let before = server.shells();
    let broke = wait(ssh.run(breaking("BREAK sleep 600"), &mut |_| {}));
    assert!(matches!(broke, Err(ShellError::Dropped(_))), "{broke:?}");
    // The script had one of them; the next script ends that.
    until("the others ended with the line", || {
        server.shells().iter().filter(|shell| before.contains(shell)).count() < 2
    });
    wait(run(&ssh, "put a b")).expect("an answer");
    until("three new shells wait", || {
        server.shells().len() == 3 && !server.shells().iter().any(|shell| before.contains(shell))
    });
    drop(ssh);
    until("they ended with the run", || server.shells().is_empty());
}

/// By a person who tidies up, or for want of memory.
#[test]
fn a_shell_that_was_ended_while_it_waited_is_replaced() {
    let server = Server::start("");
    let ssh = server.ssh();
    wait(run(&ssh, "put a b")).expect("an answer");
    for _ in 0..10 {
        until("three shells wait", || server.shells().len() == 3);
        for shell in server.shells() {
            sh(server.folder.path(), &format!("kill -KILL {shell}"));
        }
        let answer = wait(run(&ssh, "put a b")).expect("an answer");
        assert_eq!(answer.get("a"), Some("b"));
        // What was ended is replaced by the scripts that find it ended.
        wait(run(&ssh, "put a b")).expect("an answer");
        wait(run(&ssh, "put a b")).expect("an answer");
    }
    assert_eq!(server.logins(), 1);
}

/// An upload takes such a shell, too.
#[test]
fn an_upload_is_not_lost_with_a_shell_that_was_ended_while_it_waited() {
    let server = Server::start("");
    let ssh = server.ssh();
    wait(run(&ssh, "put a b")).expect("an answer");
    for round in 0..10_u8 {
        until("three shells wait", || server.shells().len() == 3);
        for shell in server.shells() {
            sh(server.folder.path(), &format!("kill -KILL {shell}"));
        }
        let path = server.folder.path().join(format!("upload-{round}"));
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, &[round; 100_000]).expect("its bytes");
        let to = path.to_str().expect("a path").parse().expect("a path");
        wait(ssh.send(file, 100_000, &to, &mut |_| {})).expect("sent");
        assert_eq!(fs::read(&path).expect("what was sent"), vec![round; 100_000]);
        // What was ended is replaced by the scripts that find it ended.
        wait(run(&ssh, "put a b")).expect("an answer");
        wait(run(&ssh, "put a b")).expect("an answer");
    }
    assert_eq!(server.logins(), 1);
}

/// What is to be ended has the only session: it is ended over a new connection, and what follows begins after that.
#[test]
fn fd36_a_script_that_has_the_only_session_is_ended_all_the_same() {
    let server = Server::start("MaxSessions 1");
    let ssh = server.ssh();
    wait(async {
        let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let mut on_line = move |line: String| drop(told.send(line));
        tokio::select! {
            answer = ssh.run(Script::new("test", "echo started; sleep 604.25"), &mut on_line) => panic!("it ended: {answer:?}"),
            Some(_) = seen.recv() => {}
        }
    });
    let asked = Instant::now();
    let answer = wait(
        ssh.run(Script::new("test", "put left \"$(pgrep -f 'sleep 604[.]25' || true)\"").repeatable(), &mut |_| {}),
    );
    assert_eq!(answer.expect("an answer").get("left"), Some(""));
    // How fast that is depends on the machine; that it does not wait for the script does not.
    assert!(asked.elapsed() < Duration::from_secs(60), "it waited for the script: {:?}", asked.elapsed());
}

/// Keys are exchanged anew every 16 MB here. The file is never in memory as a whole, nor is the window's worth of it more than once.
#[test]
fn two_hundred_megabytes_stream_through_new_keys() {
    const SIZE: u64 = 200 << 20;
    let server = Server::start("RekeyLimit 16M");
    let ssh = server.ssh();
    let file = tempfile::tempfile().expect("a file");
    file.set_len(SIZE).expect("a long file");
    let before = peak_memory_kb();
    let mut last = 0;
    wait(ssh.send(file, SIZE, &"/dev/shm/gated-deploy-test-200".parse().expect("a path"), &mut |sent| {
        assert!(sent >= last, "progress goes forward");
        last = sent;
    }))
    .expect("sent");
    let _ = fs::remove_file("/dev/shm/gated-deploy-test-200");
    assert_eq!(last, SIZE);
    assert!(peak_memory_kb() - before < 16 << 10, "{} KB more", peak_memory_kb() - before);
}

pub(crate) fn peak_memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// The kernel takes megabytes ahead of a slow line, and what a script says would stand behind them.
#[test]
fn a_script_beside_an_upload_waits_for_little_of_it() {
    const SIZE: u64 = 64 << 20;
    let server = Server::start("");
    let (line, passed) = Line::slow(server.port);
    let ssh = server.ssh_through(&line);
    let file = tempfile::tempfile().expect("a file");
    file.set_len(SIZE).expect("a long file");
    let to = remote(&server.folder.path().join("sent"));
    let behind = wait(async {
        let upload = async {
            let sent = ssh.send(file, SIZE, &to, &mut |_| {}).await;
            panic!("the line is too fast: {sent:?}");
        };
        let beside = async {
            // By then the kernel has taken what it takes.
            while passed.load(Ordering::SeqCst) < 1 << 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let before = passed.load(Ordering::SeqCst);
            run(&ssh, "put a b").await.expect("an answer");
            passed.load(Ordering::SeqCst) - before
        };
        tokio::select! {
            () = upload => unreachable!("it panics"),
            behind = beside => behind,
        }
    });
    assert!(behind < 1 << 20, "{} KiB of the upload came first", behind / 1024);
}

#[test]
fn an_upload_that_is_no_longer_waited_for_stops() {
    const SIZE: u64 = 4 << 30;
    let server = Server::start("");
    let ssh = server.ssh();
    let folder = server.folder.path().canonicalize().expect("its path");
    let target = folder.join("sent");
    let to: RemotePath = target.to_str().expect("a path").parse().expect("a path");
    let file = tempfile::tempfile().expect("a file");
    file.set_len(SIZE).expect("a long file");
    wait(async {
        let (began, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let receivers = "for file in /proc/[0-9]*/fd/*; do pid=${file#/proc/}; \
             [ \"$(readlink $file)\" != \"$PWD/sent\" ] || kill -s STOP ${pid%%/*}; done";
        let mut stopped = false;
        let mut on_bytes = move |sent| {
            // What receives it would end with its input, soon or late.
            if sent >= 8 << 20 && !std::mem::replace(&mut stopped, true) {
                sh(&folder, receivers);
            }
            began.send(sent).unwrap_or_default();
        };
        tokio::select! {
            result = ssh.send(file, SIZE, &to, &mut on_bytes) => panic!("it ended: {result:?}"),
            // More than the server takes before somebody reads it: the file is open there.
            () = async { while seen.recv().await.is_some_and(|sent| sent < 8 << 20) {} } => {}
        }
    });
    // It has ended before anything else begins, or it could make the file anew that an undo removes.
    let open =
        "for file in /proc/[0-9]*/fd/*; do [ \"$(readlink \"$file\")\" != \"$TARGET\" ] || put open \"$file\"; done";
    let looks = Script::new("test", open).var("TARGET", to.as_str());
    let answer = wait(ssh.run(looks, &mut |_| {})).expect("the connection is free again");
    assert_eq!(answer.get("open"), None);
    assert!(fs::metadata(&target).expect("a part").len() < SIZE / 4);
}

/// Answers every request but one for `/held`; gives where it listens, and how many of those it has.
fn site() -> (u16, Arc<AtomicUsize>) {
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = web.local_addr().expect("an address").port();
    let held = Arc::new(AtomicUsize::new(0));
    let (told, mut kept) = (held.clone(), Vec::new());
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.expect("a guest");
            let (mut request, mut part) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(read @ 1..) => request.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            if request.starts_with(b"GET /held ") {
                kept.push(stream);
                told.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    (port, held)
}

fn asked(site: &HttpSite) -> Result<u16, Unanswered> {
    wait(site.get(get("/health"))).map(|reply| reply.status)
}

fn get(path: &str) -> Get {
    Get { path: path.to_owned(), timeout: Duration::from_secs(20), ..Get::default() }
}

fn through(ssh: &Rc<Ssh>, port: u16) -> HttpSite {
    HttpSite::through("http://shop.example".parse().expect("a URL"), ssh.clone(), "127.0.0.1", port, Roots::default())
}

#[test]
fn fd8_a_tunnel_is_opened_anew_after_its_connection_broke() {
    let server = Server::start("");
    let ssh = Rc::new(server.ssh());
    let (port, held) = site();
    let site = through(&ssh, port);
    assert_eq!(asked(&site), Ok(200));
    for logins in 2..4 {
        // For whoever asks at that moment, the line is the reason, and not the site.
        let (broke, met) = wait(async {
            let mut on_line = |_| {};
            let breaks = async {
                while held.load(Ordering::SeqCst) < logins - 1 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                ssh.run(breaking("BREAK sleep 1"), &mut on_line).await
            };
            tokio::join!(breaks, site.get(get("/held")))
        });
        assert!(matches!(broke, Err(ShellError::Dropped(_))), "{broke:?}");
        let met = met.expect_err("the line broke");
        assert_eq!(met.why, Why::Line, "{met}");
        assert_eq!(asked(&site), Ok(200), "login {logins}");
        assert_eq!(server.logins(), logins, "{}", server.read("log"));
    }
}

#[test]
fn fd8_a_silent_line_is_not_a_silent_site() {
    let server = Server::start("");
    let line = Line::to(server.port);
    let ssh = Rc::new(server.ssh_through(&line));
    let (port, _held) = site();
    let site = through(&ssh, port);
    assert_eq!(asked(&site), Ok(200));
    let hurried = |path: &str| Get { timeout: Duration::from_secs(1), ..get(path) };
    let why = |path: &str| wait(site.get(hurried(path))).expect_err("no answer").why;
    assert_eq!(why("/held"), Why::Late);
    line.silent.store(true, Ordering::SeqCst);
    assert_eq!(why("/health"), Why::Line);
    line.silent.store(false, Ordering::SeqCst);
    assert_eq!(asked(&site), Ok(200));
}

#[test]
fn fd9_forbidden_forwarding_and_a_port_without_a_listener_are_named() {
    for setting in ["AllowTcpForwarding no", "PermitOpen 127.0.0.1:1"] {
        let server = Server::start(setting);
        let forbidden = asked(&through(&Rc::new(server.ssh()), site().0)).expect_err("no tunnel");
        assert_eq!(forbidden.why, Why::Forwarding, "{forbidden}");
        assert!(forbidden.text.contains("administratively prohibited"), "{forbidden}");
    }
    let server = Server::start("");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let empty = asked(&through(&Rc::new(server.ssh()), free)).expect_err("nothing listens");
    assert_eq!(empty.why, Why::TunnelTarget, "{empty}");
    assert!(empty.text.contains(&format!("nothing answers at 127.0.0.1:{free} on the server")), "{empty}");
}

/// A line that can fall silent: once armed, nothing that the server says comes through from the moment it is told something long. While it is
/// held, nothing that the client says comes through.
struct Line {
    port: u16,
    armed: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
}

impl Line {
    fn to(server_port: u16) -> Self {
        let entrance = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = entrance.local_addr().expect("an address").port();
        let line = Self { port, armed: Arc::default(), silent: Arc::default(), held: Arc::default() };
        let (armed, silent, silenced) = (line.armed.clone(), line.silent.clone(), line.silent.clone());
        let held = line.held.clone();
        std::thread::spawn(move || {
            let (client, _) = entrance.accept().expect("a guest");
            let server = TcpStream::connect(("127.0.0.1", server_port)).expect("sshd");
            let (up, down) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            std::thread::spawn(move || {
                pass(up, server, |length| {
                    if length > 1000 && armed.load(Ordering::SeqCst) {
                        silent.store(true, Ordering::SeqCst);
                    }
                    while held.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
            });
            pass(down, client, |_| {
                while silenced.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        });
        line
    }

    /// One that carries a quarter of a megabyte in a second, and how much it has carried to the server.
    fn slow(server_port: u16) -> (Self, Arc<AtomicUsize>) {
        const RATE: f64 = 256.0 * 1024.0;
        let entrance = TcpListener::bind("127.0.0.1:0").expect("a port");
        // What waits does so at the sender's end.
        socket2::SockRef::from(&entrance).set_recv_buffer_size(64 * 1024).expect("a small buffer");
        let port = entrance.local_addr().expect("an address").port();
        let line = Self { port, armed: Arc::default(), silent: Arc::default(), held: Arc::default() };
        let passed = Arc::new(AtomicUsize::new(0));
        let counted = passed.clone();
        std::thread::spawn(move || {
            let (client, _) = entrance.accept().expect("a guest");
            let server = TcpStream::connect(("127.0.0.1", server_port)).expect("sshd");
            let (up, down) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            std::thread::spawn(move || {
                pass(up, server, |length| {
                    std::thread::sleep(Duration::from_secs_f64(length as f64 / RATE));
                    counted.fetch_add(length, Ordering::SeqCst);
                });
            });
            pass(down, client, |_| {});
        });
        (line, passed)
    }
}

/// Copies until one side is gone; `before` sees the length of each piece first.
fn pass(mut from: TcpStream, mut to: TcpStream, mut before: impl FnMut(usize)) {
    let mut buffer = [0; 32 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        before(length);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Runs a script until this file is there; then nobody waits for it any more.
fn given_up_at(ssh: &Ssh, script: Script, file: &Path) {
    wait(async {
        let mut on_line = |_| {};
        let is_there = async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            result = ssh.run(script, &mut on_line) => panic!("it ended: {result:?}"),
            () = is_there => {}
        }
    });
}

/// The script runs, and what it said of itself is still under way when nobody waits for it any more. The connection goes, too.
#[test]
fn f39_a_script_that_could_not_yet_be_heard_does_not_live_on() {
    let server = Server::start("");
    let line = Line::to(server.port);
    let ssh = server.ssh_through(&line);
    wait(run(&ssh, "put a b")).expect("an answer");
    line.armed.store(true, Ordering::SeqCst);
    let started = server.folder.path().join("started");
    let script =
        Script::new("test", "echo >\"$STARTED\"; sleep 600.125").var("STARTED", started.to_str().expect("a path"));
    given_up_at(&ssh, script, &started);
    until("it works", || is_running("sleep 600.125"));
    line.armed.store(false, Ordering::SeqCst);
    line.silent.store(false, Ordering::SeqCst);
    drop(ssh);
    assert!(!is_running("sleep 600.125"), "it was ended before the connection was");
}

/// An undo must not overlap what it takes back: neither where the script had told its process, nor where that was still under way.
#[test]
fn f39_f86_nothing_begins_before_what_was_given_up_has_ended() {
    let server = Server::start("");
    let line = Line::to(server.port);
    let ssh = server.ssh_through(&line);
    wait(run(&ssh, "put a b")).expect("an answer");
    let working = server.folder.path().join("working");
    let about = |program| Script::new("test", program).var("WORKING", working.to_str().expect("a path"));
    let slow = "exec 2>/dev/null; trap 'sleep 0.5; rm \"$WORKING\"; exit' TERM; : >\"$WORKING\"; sleep 604.25 || :";
    let is_there = || {
        let look = about("[ ! -e \"$WORKING\" ] || put there yes");
        wait(ssh.run(look, &mut |_| {})).expect("an answer").get("there").is_some()
    };
    given_up_at(&ssh, about(slow), &working);
    assert!(!is_there(), "it had ended when the next one began");
    line.armed.store(true, Ordering::SeqCst);
    given_up_at(&ssh, about(slow), &working);
    line.armed.store(false, Ordering::SeqCst);
    line.silent.store(false, Ordering::SeqCst);
    assert!(!is_there(), "it had ended when the next one began, though it could not be heard");
}

/// What arrives while the connection is read on behalf of something else must not lie there until the next sign of life, 15 s later.
#[test]
fn f39_no_script_waits_for_the_next_keepalive() {
    let server = Server::start("");
    for connection in 0..30 {
        let line = Line::to(server.port);
        let ssh = server.ssh_through(&line);
        for script in 0..3 {
            let began = Instant::now();
            wait(run(&ssh, "put a b")).expect("an answer");
            let took = began.elapsed();
            assert!(took < Duration::from_secs(14), "script {script} over connection {connection} took {took:?}");
        }
    }
}

/// Side by side over one connection: the server's word on one command must not be taken for a word on another.
#[test]
fn f39_scripts_that_begin_side_by_side_all_begin() {
    let server = Server::start("");
    for connection in 0..10 {
        let line = Line::to(server.port);
        let ssh = server.ssh_through(&line);
        for round in 0..4 {
            let answers = wait(join_all((0..5).map(|_| run(&ssh, "put a b; echo x; echo y"))));
            for answer in answers {
                let answer =
                    answer.unwrap_or_else(|error| panic!("round {round} over connection {connection}: {error}"));
                assert_eq!(answer.get("a"), Some("b"), "round {round} over connection {connection}");
            }
        }
    }
}

#[test]
fn a_process_in_the_background_does_not_hold_up_the_answer() {
    let server = Server::start("");
    let ssh = server.ssh();
    let began = Instant::now();
    let answer = wait(run(&ssh, "sleep 30.5 & put a b")).expect("an answer");
    assert_eq!(answer.get("a"), Some("b"));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

#[test]
fn f37_noise_of_the_start_up_files_is_told() {
    // What a start-up file prints comes first; here the forced command stands for it.
    let server = Server::start("ForceCommand echo Welcome to this server; eval \"$SSH_ORIGINAL_COMMAND\"");
    let answer = wait(run(&server.ssh(), "put a b")).expect("an answer");
    assert_eq!((answer.get("a"), answer.noise()), (Some("b"), Some("Welcome to this server")));
}

/// Ends the process that carries this connection, as a line that breaks does: what it had started lives on. A server that runs as the
/// user who logs in has one process for both halves of it.
const BREAK: &str = "kill -KILL \"$PPID\"; ";

/// A script that breaks its connection in the middle of its work.
fn breaking(program: &str) -> Script {
    // For the length of the tests; scripts are texts of the program.
    Script::new("test", Box::leak(program.replace("BREAK", BREAK).into_boxed_str()))
}

/// What lies in a folder, or nothing if there is none.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn remote(path: &Path) -> RemotePath {
    path.to_str().expect("a path").parse().expect("a path")
}

/// Its work is done once, every line is told once, in order, and the answer is whole; also where the connection breaks in the middle
/// of a line, of a record, and more than once.
#[test]
fn f39_work_goes_on_when_its_connection_breaks() {
    let server = Server::start("");
    let ssh = server.ssh();
    let folder = server.folder.path().join("state");
    let jobs = folder.join("jobs");
    let count = server.folder.path().join("count");
    let script = breaking(
        "echo x >>\"$COUNT\"; put first \"$(seq 1 3000)\"; seq 1 5000; printf 'half a '; sleep 0.5; BREAK sleep 0.5; echo line; printf 'second=a' >&3; \
         sleep 2; printf 'b\\0' >&3; put list \"$(ls -A \"$JOBS\")\"; seq 5001 9000; put third 3",
    )
    .var("COUNT", count.to_str().expect("a path"))
    .var("JOBS", jobs.to_str().expect("a path"))
    .detached(&remote(&jobs));
    let mut lines = Vec::new();
    let answer = wait(ssh.run(script, &mut |line| lines.push(line))).expect("an answer");

    assert_eq!(fs::read_to_string(&count).expect("the count"), "x\n", "it worked once");
    assert_eq!((answer.get("second"), answer.get("third")), (Some("ab"), Some("3")));
    assert_eq!(answer.get("first").map(|text| text.lines().count()), Some(3000));
    assert_eq!(answer.all("first").count(), 1);
    let broke: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("the connection broke")).collect();
    assert_eq!(broke.len(), 1, "{lines:?}");
    let told: Vec<String> = lines.into_iter().filter(|line| !line.starts_with("the connection broke")).collect();
    let numbers = |range: std::ops::RangeInclusive<u32>| range.map(|number| number.to_string());
    let all: Vec<String> = numbers(1..=5000).chain(["half a line".to_owned()]).chain(numbers(5001..=9000)).collect();
    assert!(told == all, "{} lines were told, {} were printed", told.len(), all.len());
    assert_eq!(server.logins(), 2);

    // Its folder was nobody else's to read, and the next script takes it away.
    assert_eq!(sh(&folder, "stat -c %a jobs jobs/*").trim(), "700\n700");
    assert_eq!(answer.get("list").map(|list| list.lines().count()), Some(1));
    wait(run(&ssh, "put a b")).expect("an answer");
    assert_eq!(names_in(&jobs), [""; 0]);
}

/// What only watches the time must not hold the connection's ends: whoever waits would wait for it, too.
#[test]
fn f39_the_end_of_work_that_goes_on_is_seen_at_once() {
    let server = Server::start("");
    let script = Script::new(
        "test",
        "sleep 0.3; for process in $(pgrep -g $$ -x sh); do
             [ \"$process\" = $$ ] || for end in /proc/\"$process\"/fd/*; do put held \"$(readlink \"$end\")\"; done
         done",
    );
    let script = script.detached(&remote(&server.folder.path().join("jobs")));
    let answer = wait(server.ssh().run(script, &mut |_| {})).expect("an answer");
    assert_eq!(answer.all("held").collect::<Vec<_>>(), ["/dev/null"; 3]);
}

/// No other file has what only the shell's memory should: the program, its values, its secrets.
#[test]
fn f40_what_goes_on_without_its_connection_leaves_no_secret_in_a_file() {
    let server = Server::start("");
    let jobs = server.folder.path().join("jobs");
    let script = breaking(
        "echo working; put length \"${#TOKEN}\"; BREAK sleep 1; \
         if grep -r -l 's3[c]ret-marked' \"$PLACE\"; then put found yes; fi; put seen \"$(cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 's3[c]ret-marked' || true)\"",
    )
    .secret("TOKEN", &Secret::new("s3cret-marked"))
    .var("PLACE", server.folder.path().to_str().expect("a path"))
    .detached(&remote(&jobs));
    let answer = wait(server.ssh().run(script, &mut |_| {})).expect("an answer");
    assert_eq!((answer.get("length"), answer.get("found"), answer.get("seen")), (Some("13"), None, Some("0")));
}

#[test]
fn f39_work_that_ended_without_an_answer_is_not_begun_again() {
    let server = Server::start("");
    let ssh = server.ssh();
    let (jobs, count) = (server.folder.path().join("jobs"), server.folder.path().join("count"));
    // As after a reboot: nothing runs any more, and what was written is there, or not even that.
    for gone in ["", "rm -rf \"$JOBS\"; "] {
        let _ = fs::remove_file(&count);
        let program = format!("echo x >>\"$COUNT\"; put first 1; sleep 0.5; {gone}BREAK kill -KILL $$");
        let script = breaking(&program)
            .var("COUNT", count.to_str().expect("a path"))
            .var("JOBS", jobs.to_str().expect("a path"))
            .detached(&remote(&jobs));
        let error = wait(ssh.run(script, &mut |_| {})).expect_err("no answer");
        assert!(
            matches!(&error, ShellError::Dropped(why) if why.contains("ended without an answer")),
            "{gone}: {error:?}"
        );
        assert_eq!(fs::read_to_string(&count).expect("the count"), "x\n", "{gone}: it worked once");
    }
}

/// It said no, or failed, while nobody listened: that is heard all the same.
#[test]
fn f39_how_it_ended_is_heard_over_another_connection() {
    let server = Server::start("");
    let ssh = server.ssh();
    let jobs = remote(&server.folder.path().join("jobs"));
    let end = |program: &str| wait(ssh.run(breaking(program).detached(&jobs), &mut |_| {})).expect_err("no success");
    let error = end("BREAK refuse made-up path='no room'");
    assert!(
        matches!(&error, ShellError::Refused { code, values, .. } if code == "made-up" && values[..] == [("path".to_owned(), "no room".to_owned())]),
        "{error:?}"
    );
    let error = end("BREAK echo why; false; put never reached");
    assert!(
        matches!(&error, ShellError::Failed { status, tail } if status == "status 1" && *tail == ["why"]),
        "{error:?}"
    );
}

/// Over the connection that it was begun on, over the one that it was attached to again, and when its time is over.
#[test]
fn f39_work_that_nobody_waits_for_any_more_ends_although_it_could_go_on() {
    let server = Server::start("");
    let ssh = server.ssh();
    let jobs = remote(&server.folder.path().join("jobs"));
    let cancelled = |script: Script, word: &str| {
        wait(async {
            let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
            let mut on_line = move |line: String| drop(told.send(line));
            let heard = async {
                while let Some(line) = seen.recv().await {
                    if line == word {
                        return;
                    }
                }
            };
            tokio::select! {
                answer = ssh.run(script, &mut on_line) => panic!("it ended: {answer:?}"),
                () = heard => {}
            }
        });
    };
    cancelled(breaking("echo started; sleep 601.25").detached(&jobs), "started");
    until("it was ended", || !is_running("sleep 601.25"));
    cancelled(breaking("echo started; BREAK echo on; sleep 602.25").detached(&jobs), "on");
    until("it was ended over another connection", || !is_running("sleep 602.25"));
    let script = breaking("echo started; BREAK sleep 603.25").timeout(Duration::from_secs(3)).detached(&jobs);
    let result = wait(ssh.run(script, &mut |_| {}));
    assert!(matches!(result, Err(ShellError::TimedOut(_))), "{result:?}");
    until("it was ended when its time was over", || !is_running("sleep 603.25"));
}

#[test]
fn fd32_work_that_is_never_ended_outlives_whoever_waited_for_it() {
    let server = Server::start("");
    let ssh = server.ssh();
    let jobs = server.folder.path().join("jobs");
    let gate = server.folder.path().join("gate");
    let work = |program: &str| {
        let script = breaking(&format!(
            "echo started; put first 1; {program} until [ -e \"$GATE\" ]; do sleep 0.05; done; put last 2"
        ));
        script.var("GATE", gate.to_str().expect("a path")).detached(&remote(&jobs)).never_ended("the lock")
    };
    let left = |script: Script, word: &str| {
        wait(async {
            let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
            let mut on_line = move |line: String| drop(told.send(line));
            let heard = async {
                while let Some(line) = seen.recv().await {
                    if line == word {
                        return;
                    }
                }
            };
            tokio::select! {
                answer = ssh.run(script, &mut on_line) => panic!("it ended: {answer:?}"),
                () = heard => {}
            }
        });
    };
    left(work(""), "started");
    left(work("BREAK echo on;"), "on");
    // The limit also counts the way to the server, so a slow machine needs a longer one for the work to begin within it.
    let begun = (0..7).map(|doubled| Duration::from_secs(1 << doubled)).position(|limit| {
        let mut started = false;
        let result = wait(ssh.run(work("").timeout(limit), &mut |line| started |= line == "started"));
        assert!(matches!(result, Err(ShellError::TimedOut(_))), "{result:?}");
        started
    });
    assert!(begun.is_some(), "it began");
    let begun = fs::read_dir(server.folder.path().join("jobs")).expect("the jobs").count();
    assert!(begun >= 3, "{begun}");
    // Whatever runs next does not wait for it either.
    wait(run(&ssh, "put a b")).expect("an answer");
    drop(ssh);
    fs::write(&gate, "").expect("a gate");
    let answers = || sh(server.folder.path(), "cat jobs/*/answer | tr '\\0' '\\n' | grep -c '^last=2$' || true");
    until("each of them came to its end", || answers().trim() == begun.to_string());
    assert_eq!(sh(server.folder.path(), "cat jobs/*/finishes"), "the lock\n".repeat(begun));
}

/// A program that prints at each login is passed over on the second connection, too.
#[test]
fn f37_f39_noise_of_the_second_connection_is_not_part_of_the_answer() {
    let server = Server::start(
        "ForceCommand printf 'key=noise\\0'; echo Welcome; echo noise >&2; eval \"$SSH_ORIGINAL_COMMAND\"",
    );
    let jobs = remote(&server.folder.path().join("jobs"));
    let script =
        breaking("put key one; echo first; sleep 0.5; BREAK sleep 1; put key two; echo second").detached(&jobs);
    let mut lines = Vec::new();
    let answer = wait(server.ssh().run(script, &mut |line| lines.push(line))).expect("an answer");
    assert_eq!(answer.all("key").collect::<Vec<_>>(), ["one", "two"]);
    lines.retain(|line| !line.starts_with("the connection broke"));
    assert_eq!(lines, ["noise", "first", "second"]);
}

#[test]
fn f39_what_may_be_repeated_is_run_again_and_the_first_is_ended_before() {
    let server = Server::start("");
    let ssh = server.ssh();
    let count = server.folder.path().join("count");
    let program = "echo x >>\"$COUNT\"; if [ \"$(wc -l <\"$COUNT\")\" -eq 1 ]; then BREAK sleep 604.25; fi; \
         put left \"$(pgrep -f 'sleep 604[.]25' || true)\"";
    let script = breaking(program).var("COUNT", count.to_str().expect("a path"));
    let error = wait(ssh.run(script.clone(), &mut |_| {})).expect_err("it is not repeatable");
    assert!(matches!(error, ShellError::Dropped(_)), "{error:?}");
    fs::remove_file(&count).expect("the count");
    let answer = wait(ssh.run(script.repeatable(), &mut |_| {})).expect("an answer");
    assert_eq!(answer.get("left"), Some(""));
    assert_eq!(fs::read_to_string(&count).expect("the count"), "x\nx\n");
}

/// A server that turns us away on the way back does so for good; one that is not there for a while is waited for.
#[test]
fn f39_a_server_that_comes_back_is_waited_for_and_one_that_says_no_is_not() {
    let server = Server::start("");
    let ssh = server.ssh();
    let jobs = remote(&server.folder.path().join("jobs"));
    let script = |program| breaking(program).detached(&jobs);
    // The work itself starts the server again, with the same settings.
    let again = script(
        "kill \"$LISTENER\"; BREAK sleep 2; put done yes; setsid /usr/sbin/sshd -f \"$CONFIG\" -o PidFile=\"$CONFIG.pid\" -E \"$CONFIG.log\" \
         </dev/null >/dev/null 2>&1 3>&-",
    )
    .var("LISTENER", server.process.id().to_string())
    .var("CONFIG", server.folder.path().join("config").to_str().expect("a path"));
    let began = Instant::now();
    let answer = wait(ssh.run(again, &mut |_| {})).expect("an answer");
    assert_eq!(answer.get("done"), Some("yes"));
    assert!(began.elapsed() > Duration::from_secs(2));
    let end = Again(server.folder.path().join("config.pid"));

    let answer = wait(async {
        let mut on_line = |_| {};
        let back = server.folder.path().join("back");
        let work = script("echo >\"$BACK\"; mv \"$KEYS\" \"$KEYS.gone\"; BREAK sleep 1; put done yes")
            .var("BACK", back.to_str().expect("a path"))
            .var("KEYS", server.folder.path().join("authorized_keys").to_str().expect("a path"));
        ssh.run(work, &mut on_line).await
    });
    assert!(matches!(answer, Err(ShellError::Denied { .. })), "{answer:?}");
    let logins = server.logins();
    let began = Instant::now();
    assert!(wait(run(&ssh, "put a b")).is_err());
    assert!(began.elapsed() < Duration::from_secs(20) && server.logins() == logins, "it is not asked again");
    drop(end);
}

/// A server that was started again, by the file with its process number; it ends with the test.
struct Again(std::path::PathBuf);

impl Drop for Again {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(&self.0) {
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
    }
}

fn send(ssh: &Ssh, bytes: &[u8], to: &RemotePath) -> (Result<(), ShellError>, Vec<u64>) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("writing");
    let mut told = Vec::new();
    let result = wait(ssh.send(file, bytes.len() as u64, to, &mut |there| told.push(there)));
    (result, told)
}

/// Only what is missing is sent; a file that is too long is none of ours, and a link is not followed.
#[test]
fn f39_an_upload_goes_on_where_the_server_s_part_ends() {
    let server = Server::start("");
    let ssh = server.ssh();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    let path = server.folder.path().join("sent");
    let to = remote(&path);
    for (there, first) in [(&bytes[..0], 0), (&bytes[..1_234_567], 1_234_567), (&bytes[..], 3_000_000)] {
        fs::write(&path, there).expect("a part");
        let (result, told) = send(&ssh, &bytes, &to);
        result.expect("sent");
        assert_eq!((told.first(), told.last()), (Some(&first), Some(&3_000_000)));
        assert!(fs::read(&path).expect("the file") == bytes, "from {first} on");
    }
    fs::write(&path, [&bytes[..], b"more"].concat()).expect("too long a part");
    send(&ssh, &bytes, &to).0.expect("sent");
    assert!(fs::read(&path).expect("the file") == bytes);
    let other = server.folder.path().join("other");
    fs::write(&other, "somebody's").expect("another file");
    fs::remove_file(&path).expect("the file");
    std::os::unix::fs::symlink(&other, &path).expect("a link");
    send(&ssh, &bytes, &to).0.expect("sent");
    assert_eq!(fs::read_to_string(&other).expect("the other"), "somebody's");
    assert!(fs::read(&path).expect("the file") == bytes);
}
