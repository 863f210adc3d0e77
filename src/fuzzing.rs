//! For the fuzzer and its corpus: one function for each parser of bytes that others wrote, and what must hold whatever they wrote.
//!
//! `docs/fuzzing.md` says how to run them. The tests below give every target each file of its corpus, and mutations of it, in every run of
//! the test suite. What is needed from inside a module stands there, in a function called `fuzz`.

use std::{io::Cursor, time::Duration};

use crate::{
    bundle::{artifact::unpack, composer, link, pace::Pace, read, vite},
    config::{event, policy, table, value},
    domain::{
        CommitSha, ReleaseName, RemotePath, Secret, Sha256Digest, bundle, command,
        key::PrivateKey,
        known_hosts::{self, KnownHosts, Verdict},
        ledger, migration, path,
    },
    github,
    http::Reply,
    report::{
        Log, Redactor, Style,
        record::{outputs, stored},
        render::{clean, markdown, show},
    },
    server::{
        database::change_preview,
        health::{naming, probe},
        inspect::serving,
        ledger::History,
        lock, recovery,
        release_dir::part,
        watchdog,
    },
    stages::shared::{checks::access, workflow},
    transport::{
        shell::Answer,
        ssh::{answer, offer},
    },
};

/// A parser, by the name of its folder in `fuzz/corpus`.
pub struct Target {
    pub name: &'static str,
    /// Panics if what must hold does not.
    pub run: fn(&[u8]),
}

pub const TARGETS: &[Target] = &[
    Target { name: "answer", run: answer::fuzz },
    Target { name: "archive", run: |bytes| drop(archive(bytes)) },
    Target { name: "artifact-zip", run: artifact_zip },
    Target { name: "bundle", run: bundle },
    Target { name: "bundle-tar", run: bundle_tar },
    Target { name: "composer", run: composer::fuzz },
    Target { name: "event", run: event::fuzz },
    Target { name: "github", run: github::fuzz },
    Target { name: "guard", run: |bytes| text(bytes, watchdog::fuzz) },
    Target { name: "health", run: health },
    Target { name: "inputs", run: |bytes| text(bytes, inputs) },
    Target { name: "job", run: answer::fuzz_job },
    Target { name: "known-hosts", run: |bytes| text(bytes, hosts) },
    Target { name: "ledger", run: ledger_lines },
    Target { name: "live-files", run: part::fuzz },
    Target { name: "log", run: |bytes| text(bytes, log) },
    Target { name: "manifest", run: manifest },
    Target { name: "offer", run: offer::fuzz },
    Target { name: "output", run: |bytes| text(bytes, outputs::fuzz) },
    Target { name: "policy", run: |bytes| text(bytes, policy_file) },
    Target { name: "private-key", run: |bytes| text(bytes, private_key) },
    Target { name: "report", run: report },
    Target { name: "server", run: |bytes| text(bytes, server) },
    Target { name: "services", run: |bytes| text(bytes, serving::fuzz) },
    Target { name: "sql", run: |bytes| text(bytes, sql) },
    Target { name: "vite", run: vite::fuzz },
    Target { name: "words", run: |bytes| text(bytes, words) },
    Target { name: "workflow", run: |bytes| text(bytes, workflow::fuzz) },
];

/// Bytes become text as everywhere: what is no UTF-8 is replaced.
fn text(bytes: &[u8], run: impl FnOnce(&str)) {
    run(&String::from_utf8_lossy(bytes));
}

/// Small enough that the fuzzer reaches them.
const LIMITS: read::Limits = read::Limits { unpacked: 1 << 20, entries: 100, ratio: 200, manifest: 1 << 16 };

/// Lines of known_hosts, and who is let in by them.
fn hosts(text: &str) {
    const BLOB: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0 01234567890123456789012345678901";
    let Ok(known) = KnownHosts::parse(text) else { return };
    assert!(!known.is_empty());
    for port in [22, 2222] {
        let verdict = known.check("a.example", port, "ssh-ed25519", BLOB);
        assert!(verdict != Verdict::Accepted || known.key_types_for("a.example", port).contains(&"ssh-ed25519"));
        assert_ne!(known.check("a.example", port, "ssh-dss", BLOB), Verdict::Accepted, "a type that we do not know");
        // Whatever else they say, a key that is revoked for everybody is nobody's.
        let revoked =
            format!("{text}\n@revoked * {}", known_hosts::line_for("x", 22, "ssh-ed25519", BLOB).replacen("x ", "", 1));
        if let Ok(known) = KnownHosts::parse(&revoked) {
            assert_eq!(known.check("a.example", port, "ssh-ed25519", BLOB), Verdict::Revoked);
        }
    }
}

/// A passphrase, NUL, and the key; or a key alone.
fn private_key(text: &str) {
    let (passphrase, text) = match text.split_once('\0') {
        Some((passphrase, text)) => (Some(Secret::new(passphrase)), text),
        None => (None, text),
    };
    match PrivateKey::parse(&Secret::new(text), passphrase.as_ref()) {
        Ok(key) => {
            let again = PrivateKey::parse(key.pem(), None).expect("our own form of a key that signs");
            assert_eq!(again.fingerprint(), key.fingerprint());
        }
        Err(problem) => assert!(!problem.hint().is_empty()),
    }
}

fn policy_file(text: &str) {
    let reading = policy::parse("policy.yml", text);
    for (input, entry) in reading.policy.entries() {
        assert!(input.policy && !input.secret, "{} stands in a file", input.name);
        assert!(entry.location.line.is_none_or(|line| line <= text.lines().count()));
    }
    for problem in &reading.problems {
        assert!(!problem.to_string().contains(['\n', '\u{1b}']), "{problem:?}");
    }
}

/// One text as the value of every kind of input. What is taken must not be able to mean anything to a shell, a log or a header.
fn inputs(text: &str) {
    for input in table::INPUTS.iter().chain(table::POLICY_KEYS) {
        let _ = value::check(input.kind, text);
    }
    let tame = |text: &str| {
        assert!(
            !text.chars().any(|c| c.is_control() || c.is_whitespace() || "$`;&|<>\"'\\(){}*?!#".contains(c)),
            "{text:?}"
        )
    };
    if let Ok(host) = value::host(text) {
        tame(&host);
    }
    if let Ok(user) = value::user(text) {
        tame(&user);
    }
    if let Ok(Some(service)) = value::service(text) {
        tame(&service);
    }
    if let Ok(name) = value::environment(text) {
        tame(name.as_str());
    }
    if let Ok(dir) = value::base_dir(text) {
        assert!(dir.as_str().starts_with('/') && dir.as_str().len() > 1 && !dir.as_str().chars().any(char::is_control));
        assert!(dir.as_str().split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")));
    }
    if let Ok(url) = value::site(text) {
        assert!(matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.username().is_empty());
    }
    if let Ok(time) = value::duration(text, 0, u64::MAX) {
        assert_eq!(value::duration(&value::show_seconds(time.as_secs()), 0, u64::MAX), Ok(time));
    }
    if let Ok(paths) = value::health_paths(text) {
        assert!(
            paths
                .iter()
                .all(|(path, _)| path.starts_with('/') && !path.chars().any(|c| c.is_control() || c.is_whitespace()))
        );
    }
    if let Ok(folders) = value::folders(text) {
        assert!(folders.iter().all(|folder| path::relative(folder).is_ok()), "{folders:?}");
    }
    if let Ok(id) = value::run_id(text) {
        assert!(id > 0);
    }
    if let Ok(program) = value::program(text) {
        assert!(!program.starts_with('-') && !program.chars().any(char::is_control));
    }
}

/// Names, digests, paths, links, and words for the server's shell.
fn words(text: &str) {
    if let Ok(release) = text.parse::<ReleaseName>() {
        assert_eq!(release.as_str(), text);
        release.made_at();
    }
    if let Ok(commit) = text.parse::<CommitSha>() {
        assert_eq!(commit.as_str().len(), 40);
    }
    if let Ok(digest) = text.parse::<Sha256Digest>() {
        assert_eq!(digest.as_str().len(), 64);
    }
    if let Ok(path) = text.parse::<RemotePath>() {
        assert_eq!(path.as_str().parse::<RemotePath>().as_ref(), Ok(&path));
    }
    if let Some((at, target)) = text.split_once('\0')
        && path::relative(at).is_ok()
        && let Ok(inside) = link::destination(at, target)
    {
        assert!(path::relative(&inside).is_ok(), "{inside:?}");
    }
    assert_eq!(unquoted(&command::quote(text)).as_deref(), Some(text));
    let inline = markdown::inline(text);
    assert!(!inline.contains(['<', '>', '|', '`', '\n', '\r', '\u{1b}']), "{inline:?}");
    let code = markdown::code(text).replace("<code>", "").replace("</code>", "");
    assert!(!code.contains(['<', '>', '|', '\n', '\r']), "{code:?}");
    let block = markdown::block(&[text.to_owned()], 10, 1000);
    let fence: String = block.chars().take_while(|c| *c == '`').collect();
    assert_eq!(block.lines().filter(|line| line.trim_start().starts_with(&fence)).count(), 2, "{block:?}");
}

/// A statement of a migration: blanks around it and the case of letters change nothing. And a migration's source, which can be any text.
fn sql(text: &str) {
    let reading = migration::read(text);
    assert!(
        !reading.calls.is_empty() && (reading.connections.is_empty() || reading.class >= migration::Class::Unknown)
    );
    assert_eq!(migration::classify(text), migration::classify(&format!("  {}\n", text.to_ascii_uppercase())));
}

/// What a POSIX shell makes of one word: single quotes, and a backslash before a quote outside of them.
fn unquoted(word: &str) -> Option<String> {
    let (mut plain, mut quoted, mut rest) = (String::new(), false, word.chars());
    while let Some(c) = rest.next() {
        match c {
            '\'' => quoted = !quoted,
            '\\' if !quoted => plain.push(rest.next()?),
            c if !quoted && (c.is_whitespace() || "$`;&|<>\"(){}*?!#~=[]^".contains(c)) => return None,
            c => plain.push(c),
        }
    }
    (!quoted).then_some(plain)
}

/// The artifact's zip. What comes out is never more than it says.
fn artifact_zip(bytes: &[u8]) {
    let mut out = Vec::new();
    let taken = unpack::taken(Cursor::new(bytes), "bundle", || Ok(&mut out), &Pace::default());
    if let Ok(taken) = taken {
        assert_eq!((taken.size, taken.sha256), (out.len() as u64, Sha256Digest::of(&out)));
        assert!(taken.others.iter().all(|name| !name.starts_with('/') && name.split('/').all(|part| part != "..")));
    }
}

/// A bundle as it is downloaded.
fn bundle(bytes: &[u8]) {
    if let Ok((manifest, inspection)) = read::read_all(bytes, &LIMITS, &Pace::default()) {
        sound(&manifest);
        assert_eq!((inspection.size, inspection.files), (bytes.len() as u64, manifest.files.len()));
        assert!(inspection.unpacked <= LIMITS.unpacked);
    }
}

/// An archive that was taken.
pub(crate) struct Taken {
    /// What is sent to the server.
    pub(crate) sent: Vec<u8>,
    /// What that unpacks to.
    pub(crate) tree: bundle::Listing,
    /// What of it stood in the archive itself: no manifest that was made, and whether something was left out.
    pub(crate) by: read::Maker,
}

/// The archive of a bundle that plain tar made, or `build-gate`: what is written of it reads the same, and is written the same.
pub(crate) fn archive(bytes: &[u8]) -> Option<Taken> {
    let commit: CommitSha = "0123456789abcdef0123456789abcdef01234567".parse().expect("a commit");
    let rewrite = |bytes: &[u8]| {
        let mut packed = Vec::new();
        let mut gzip = flate2::GzBuilder::new().read(bytes, flate2::Compression::none());
        std::io::Read::read_to_end(&mut gzip, &mut packed).expect("memory can be read");
        read::rewrite_all(|| Ok(packed.as_slice()), Vec::new(), &commit, &LIMITS, &Pace::default())
    };
    let first = rewrite(bytes).ok()?;
    sound(&first.manifest);
    let again = rewrite(&first.to).expect("what we write is taken");
    assert_eq!(again.by, read::Maker::BuildGate, "what we write is canonical");
    assert!(again.to == first.to, "what is canonical stays as it is");
    assert_eq!((&again.manifest, &again.inspection.tree.manifest), (&first.manifest, &first.inspection.tree.manifest));
    assert_eq!(again.inspection.tree, first.inspection.tree);
    assert!(first.by != read::Maker::BuildGate || first.to == bytes, "what is canonical is sent as it came");
    let tree = bundle::Listing::of(&first.manifest, &first.inspection.tree);
    Some(Taken { sent: first.to, tree, by: first.by })
}

/// The archive inside of a bundle: compressed here, because hardly a mutation of compressed bytes gets past the check sums.
fn bundle_tar(bytes: &[u8]) {
    let mut gzip = flate2::GzBuilder::new().read(bytes, flate2::Compression::none());
    let mut packed = Vec::new();
    if std::io::Read::read_to_end(&mut gzip, &mut packed).is_ok() {
        bundle(&packed);
    }
}

fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = read::parse_manifest(bytes)
        && read::check_manifest(&manifest, &LIMITS).is_ok()
    {
        sound(&manifest);
        let again = serde_json::to_vec(&manifest).expect("our own form");
        assert_eq!(read::parse_manifest(&again).as_ref(), Ok(&manifest));
    }
}

fn sound(manifest: &bundle::Manifest) {
    for name in manifest.files.keys().chain(manifest.links.keys()) {
        assert!(path::relative(name).is_ok(), "{name:?}");
    }
    for (at, target) in &manifest.links {
        assert!(path::relative(&link::destination(at, target).expect("inside")).is_ok());
    }
}

fn ledger_lines(bytes: &[u8]) {
    if let Ok(chain) = ledger::follow(bytes) {
        // One line more follows only if it names the one before it.
        let head = chain.head.map_or_else(ledger::beginning, |head| head.to_string());
        let sound =
            [bytes.strip_suffix(b"\n").unwrap_or(bytes), format!("\n{{\"prev\":\"{head}\"}}").as_bytes()].concat();
        if chain.lines > 0 {
            assert_eq!(ledger::follow(&sound).map(|chain| chain.lines), Ok(chain.lines + 1));
        }
        let wrong = String::from_utf8_lossy(&sound).replace(&head, &"f".repeat(64));
        assert!(chain.lines == 0 || ledger::follow(wrong.as_bytes()).is_err());
    }
    let text = String::from_utf8_lossy(bytes);
    let history = History::of(&text);
    assert_eq!(history.lines.len() + history.unreadable, text.lines().count());
    for name in ["staging", "production"] {
        let standings = history.standings(&name.parse().expect("a name"));
        standings.confirmed().iter().for_each(|release| assert!(standings.get(release).is_some()));
    }
}

/// What a server, an API or an app says, on its way to the log: with a secret in it, which is the first line.
fn log(text: &str) {
    let (word, said) = text.split_once('\n').unwrap_or(("", text));
    // What is short, or what our own words and marks could make, cannot be told from ordinary text.
    let word = word.trim();
    let secret = (word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| Secret::new(word));
    let redactor = Redactor::new(&secret);
    let hidden =
        |text: &str| assert!(!secret.as_ref().is_some_and(|secret| text.contains(secret.expose())), "{text:?}");
    for style in [Style::Actions, Style::Plain] {
        let out = Written::default();
        let log = Log::new(style, redactor.clone(), out.clone());
        log.line(said);
        log.text("  ", said);
        log.text("", said);
        let plain = out.take();
        hidden(&plain);
        assert!(!plain.chars().any(|c| c != '\n' && c.is_control()), "{plain:?}");
        assert!(
            plain.lines().all(|line| !line.trim_start().starts_with("::") && line.len() < clean::LONGEST_LINE + 100),
            "{plain:?}"
        );
        assert!(!plain.contains("##["), "{plain:?}");

        log.annotate_error(said, said);
        log.warning(said, said);
        log.group(said);
        let commands = out.take();
        // As the runner reads it: the `A` of `%3A` and what follows it may spell a secret that was never there.
        hidden(&read_by_the_runner(&commands));
        assert!(!commands.chars().any(|c| c != '\n' && c.is_control()) && !commands.contains("##["), "{commands:?}");
        if style == Style::Actions {
            let begins: Vec<&str> =
                commands.lines().map(|line| line.split([' ', ':']).nth(2).unwrap_or_default()).collect();
            assert_eq!(begins, ["error", "warning", "group"], "{commands:?}");
        }
    }
    hidden(&redactor.as_shown(said));
    hidden(&clean::one_line(&redactor.as_shown(said)));
    // Not as it is written: the digits of `\u0012` and what follows them may spell a secret that was never there.
    hidden(redactor.value(&serde_json::Value::from(said)).as_str().unwrap_or_default());
}

/// The escapes of workflow commands undone (packages/core/src/command.ts in actions/toolkit).
fn read_by_the_runner(commands: &str) -> String {
    let escapes = [("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")];
    escapes.iter().fold(commands.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

/// A place to write to that can be looked at.
#[derive(Clone, Default)]
struct Written(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

impl Written {
    fn take(&self) -> String {
        String::from_utf8(self.0.take()).expect("the log is text")
    }
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A report that somebody gives to `show`, and what is seen of it.
fn report(bytes: &[u8]) {
    if let Ok(stored) = stored::read(bytes) {
        let shown = show::text(&stored);
        assert!(!shown.chars().any(|c| c != '\n' && c.is_control()), "{shown:?}");
    }
}

/// What our scripts find on a server, in records that end with NUL: names of files and of accounts, files of earlier releases.
fn server(text: &str) {
    let record = |record: &str| record.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let answer = Answer::new(text.split('\0').filter_map(record).collect());
    if let Some(holder) = lock::Holder::read(&answer) {
        assert!(!(holder.gone && holder.kept), "the lock of a stuck run stays");
    }
    recovery::fuzz(&answer);
    change_preview::fuzz(&answer);
    access::fuzz(&answer);
}

/// An answer of the app: its status (two bytes), then its body.
fn health(bytes: &[u8]) {
    let [high, low, body @ ..] = bytes else { return };
    let reply = Reply {
        status: u16::from_be_bytes([*high, *low]) % 600,
        headers: vec![("location".to_owned(), String::from_utf8_lossy(body).into_owned())],
        body: body.to_vec(),
        length: body.len() as u64,
        took: Duration::ZERO,
        vantage: None,
    };
    let expect = ["ok".to_owned(), "healthy".to_owned()];
    let problem = probe::judge(&reply, &expect, None);
    assert!(reply.status == 200 || problem.is_some(), "only 200 is healthy");
    assert!(!body.trim_ascii().is_empty() || problem.is_some(), "an empty body proves nothing");
    probe::answered_as(&reply);
    naming::named(&reply);
}

#[cfg(test)]
mod gnu_tar {
    mod tests;
}
#[cfg(test)]
mod tests;
