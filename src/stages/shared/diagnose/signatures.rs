//! What releases are known to fail by, and what each leaves in a log.

/// A known failure, recognised by its text in a log.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// Kebab-case.
    pub id: &'static str,
    /// The failure class of docs/failure-classes.md, where it is one.
    pub class: Option<&'static str>,
    /// What programs, services and the answers of a site say, as the log has it: one of them in a line is enough. Own errors: `code: ` and
    /// the code, which stays what it is when the text changes.
    pub words: &'static [&'static str],
    pub cause: &'static str,
    pub to_do: &'static str,
}

const fn sign(
    id: &'static str,
    class: &'static str,
    words: &'static [&'static str],
    cause: &'static str,
    to_do: &'static str,
) -> Signature {
    let class = if class.is_empty() { None } else { Some(class) };
    Signature { id, class, words, cause, to_do }
}

/// The special before the general: what stands first wins, whatever else the log says.
#[rustfmt::skip]
pub static SIGNATURES: &[Signature] = &[
    // Keys and access.
    sign("key-malformed", "F31", &["error in libcrypto", "\": invalid format", "is not a private key", "Error loading key"],
        "the private key in the secret is malformed: wrong line ends, a missing last newline, or a part of it",
        "store the whole file again: gh secret set NAME < id_ed25519; this action repairs line ends and a missing newline"),
    sign("secret-empty", "F29", &["ssh-private-key: is empty", "ssh-private-key: is missing"],
        "a secret is empty in the job: it belongs to another environment, or the run is a fork's pull request",
        "set the `environment:` of the secret in the job, or store the secret in the repository"),
    sign("host-key-unknown", "F38", &["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "code: host-key-mismatch", "code: host-key-unusable"],
        "the server showed a host key that is not in known_hosts",
        "compare the fingerprint on the server itself, then put its line into ssh-known-hosts"),
    sign("key-not-accepted", "F35", &["Permission denied (publickey", "code: ssh-key-denied"],
        "the server does not accept the key",
        "add the public key to ~/.ssh/authorized_keys of the deploy user (mode 600, its folder mode 700)"),
    sign("agent-lost", "F34", &["Could not open a connection to your authentication agent"],
        "the SSH agent of an earlier step has ended",
        "use this action, which needs no agent, or start the agent in the step that uses it"),
    sign("session-broke", "F39", &["client_loop: send disconnect", "Connection closed by remote host", "code: connection-lost"],
        "the SSH connection broke during the release",
        "run `stage: recover`; check for a firewall that ends idle connections"),
    sign("sudo-password", "F67", &["sudo: a password is required", "sudo: a terminal is required", "sudo: no tty present", "may not run sudo", "code: sudo-rule-missing"],
        "sudo asks for a password, or does not allow the command",
        "allow that command without a password in /etc/sudoers.d; `stage: preflight` prints the line"),
    sign("host-not-found", "", &["Could not resolve host", "failed to lookup address information", "Temporary failure in name resolution", "Name or service not known"],
        "a host's name could not be resolved",
        "check the name, and that the runner reaches a name server"),

    // What the workflow did on its way.
    sign("quoting-lost", "F44", &["-c: option requires an argument", "syntax error near unexpected token", "unexpected EOF while looking for matching"],
        "quotes were lost on the way to the server's shell",
        "do not build shell commands in YAML: use this action, or a script file"),
    sign("heredoc", "F43", &["delimited by end-of-file", "here-document at line"],
        "a heredoc in the workflow's YAML has no end: its last line is indented",
        "put the script into a file of its own"),
    sign("unbound-variable", "F45", &[": unbound variable", ": parameter not set"],
        "a script uses a variable that is not set",
        "set the variable in the step's `env:`; check for an empty secret or input"),
    sign("changed-while-read", "F18", &["file changed as we read it"],
        "a file changed while tar packed its folder",
        "write the archive outside that folder, and end every process that writes to it"),
    sign("archive-in-itself", "F17", &["is the archive; not dumped", "archive cannot contain itself"],
        "the archive was written into the folder that it packs",
        "write it outside that folder; build-gate leaves out its own output"),
    sign("not-allowed-by-token", "", &["Resource not accessible by integration", "code: github-forbidden", "code: github-right-missing"],
        "the job's token has no right for this request",
        "add the right to the job's `permissions:`; the line above names the request"),
    sign("bad-credentials", "", &["Bad credentials"],
        "GitHub did not accept the token: it is wrong, or its job has ended",
        "use ${{ github.token }} of the job itself"),
    sign("api-limit", "", &["API rate limit exceeded", "code: github-rate-limited", "secondary rate limit"],
        "GitHub's API answered too many requests of this token",
        "run it again in an hour"),
    sign("action-deprecated", "F14", &["uses a deprecated version of"],
        "GitHub no longer runs this version of an action",
        "use the current version of the action, pinned to a commit"),
    sign("artifact-missing", "F7", &["Unable to find any artifacts", "Artifact not found", "Unable to download artifact", "No artifacts found", "code: artifact-missing", "code: artifact-gone"],
        "the build has no artifact of that name, or the artifact belongs to another run",
        "build that commit again; use the same name for artifact-name and for the upload"),
    sign("build-missing", "", &["code: build-missing", "code: build-failed"],
        "no build of the commit succeeded",
        "correct the build and run it again, then run this again"),
    sign("bundle-incomplete", "F10", &["vendor/autoload.php): Failed to open stream", "Failed opening required", "Could not open input file: artisan", "code: bundle-incomplete", "code: release-gates-failed"],
        "the release lacks files that the app needs: vendor/, artisan or the front end",
        "run build-gate, which names every missing file, and correct the build"),
    sign("digest-differs", "F27", &["computed checksum did NOT match", "code: artifact-digest-mismatch", "code: bundle-digest-mismatch"],
        "the downloaded bytes differ from the built bytes",
        "run it again; if the error stays, do not use that artifact: build the commit again"),

    // The build.
    sign("npm-lock", "F24", &["`npm ci` can only install", "npm ci can only install"],
        "package-lock.json does not fit package.json",
        "run npm install, and commit package-lock.json"),
    sign("composer-lock", "F24", &["lock file does not contain a compatible set of packages", "The lock file is not up to date", "is not present in the lock file"],
        "composer.lock does not fit composer.json, or this PHP",
        "run composer update --lock, and commit composer.lock"),
    sign("php-version", "F23", &["Composer dependencies require a PHP version", "does not satisfy that requirement"],
        "the PHP version is older than the packages require",
        "build with the server's PHP version; set config.platform.php to it"),
    sign("vite-manifest", "F20", &["Vite manifest not found", "Unable to locate file in Vite manifest"],
        "the front end was not built, or its manifest is not in the bundle",
        "run npm run build before the bundle is made"),
    sign("memory", "", &["Allowed memory size of", "JavaScript heap out of memory", "Out of memory: Killed"],
        "a program exceeded its memory limit",
        "raise memory_limit (php -d memory_limit=1G) or NODE_OPTIONS=--max-old-space-size"),
    sign("tests-failed", "", &["FAIL  Tests\\", "FAILURES!", "[ERROR] Found "],
        "tests or static analysis failed; the release is not the cause",
        "correct the code that they name; no release was made"),

    // The app on its server.
    sign("cache-path", "F22", &["Please provide a valid cache path"],
        "Laravel's folders below storage/framework are missing",
        "create storage/framework/{cache,sessions,views} in the shared storage, or release with this action, which creates them"),
    sign("not-writable", "F66", &["could not be opened in append mode", "chmod: changing permissions of", "chown: changing ownership of", "directory must be present and writable"],
        "the deploy user and PHP-FPM's user cannot write each other's shared files",
        "give both users a common group, and set setgid: `stage: preflight` prints the commands"),
    sign("database-login", "F41", &["SQLSTATE[HY000] [1045]", "Access denied for user"],
        "the database does not accept the user and password of .env",
        "compare DB_USERNAME and DB_PASSWORD; a password with # or $ needs quotes in .env"),
    sign("database-away", "", &["SQLSTATE[HY000] [2002]", "Can't connect to local MySQL server", "Can't connect to local server through socket"],
        "the database does not answer at DB_HOST",
        "check that the database runs, and check DB_HOST from the server"),
    sign("migration-failed", "F63", &["Base table or view already exists", "Duplicate column name", "SQLSTATE[42S", "code: migration-failed"],
        "a migration failed: its table or column exists already, or one that it needs is missing",
        "run `php artisan migrate:status` on the server, and write the next migration so that it can follow; completed migrations stay"),
    sign("dump-failed", "F56", &["mysqldump: Got error", "mysqldump: Error", "mariadb-dump: Got error", "the PROCESS privilege", "code: dump-failed", "code: dump-object-unreadable"],
        "the database could not be backed up",
        "grant its user the rights that the line names (LOCK TABLES, SELECT, SHOW VIEW, TRIGGER), or use --no-tablespaces"),
    sign("disk-full", "", &["No space left on device", "Disk quota exceeded", "code: backup-no-room", "code: release-no-room", "code: release-no-inodes", "code: storage-full"],
        "the disk of the runner or of the server is full",
        "run df -h and df -i on the server; lower keep-releases and keep-backups; on the runner, remove files that the job does not need"),
    sign("lock-held", "F15", &["code: lock-held"],
        "another run was releasing to the same server folder",
        "wait for that run, and set `concurrency:` in the workflow, or `lock-wait`"),

    // The site.
    sign("basic-auth", "", &["asks for a user name and password (basic auth)"],
        "the web server requires a password before the application answers",
        "exclude the health endpoints from basic auth, or set `health-via: tunnel` and `health-address` to a listener without it"),
    sign("maintenance-mode", "", &["the application is in maintenance mode"],
        "the application is in maintenance mode (php artisan down)",
        "on the server, in the folder current, run: php artisan up"),
    sign("certificate-issuer", "", &["invalid peer certificate: UnknownIssuer", "unable to get local issuer certificate", "SSL certificate problem: self-signed"],
        "the runner does not trust the issuer of the site's certificate",
        "set `ca-certificates` to the certificate of your authority; for a public one, let the web server send the whole chain"),
    sign("certificate-expired", "", &["invalid peer certificate: certificate expired", "SSL certificate problem: certificate has expired"],
        "the site's certificate has expired",
        "renew the certificate on the server, and reload the web server"),
    sign("certificate-name", "", &["invalid peer certificate: certificate not valid for name", "no alternative certificate subject name matches"],
        "the site's certificate is for other names",
        "give the site a certificate for the host in url, or correct url"),
    sign("forwarding-forbidden", "", &["the SSH server forwards no connection to", "administratively prohibited"],
        "the SSH server forbids the tunnel to the site",
        "set AllowTcpForwarding local in /etc/ssh/sshd_config, and remove no-port-forwarding from the key's line in authorized_keys"),
    sign("home-page", "", &["visitors get status", "visitors are redirected more than"],
        "the home page of the release fails although its health endpoints answer",
        "read storage/logs/laravel.log of that release; `home-path` in the policy sets another page, or none"),
    sign("token-refused", "F68", &["the probe is misconfigured, the token is missing or wrong", "returned error: 401", "returned error: 403", "HTTP/1.1 401", "HTTP/2 401", "401 Unauthorized", "403 Forbidden"],
        "the site refused the health token",
        "set healthcheck-token to the value of HEALTHCHECK_TOKEN on the server; `stage: audit` compares their digests"),
    sign("probe-cannot-fail", "F69", &["code: health-check-cannot-fail", "code: health-token-unchecked"],
        "the health check cannot fail",
        "give each health path its own route that fails when the app fails, and answer 404 to unknown pages"),
    sign("stale-code", "F74", &["stale code in OPcache"],
        "PHP-FPM still served the old code after the switch",
        "reload the service that serves the site; nginx must pass $realpath_root, not $document_root"),
    sign("site-sick", "F52", &[": 500 instead of ", ": 502 instead of ", ": 503 instead of ", ": 504 instead of ", "returned error: 500", "returned error: 502", "returned error: 503", "500 Internal Server Error", "502 Bad Gateway", "code: site-unhealthy"],
        "the site answered as unhealthy",
        "read storage/logs/laravel.log of that release and PHP-FPM's log at that time"),
    sign("phrase-wrong", "", &["code: approval-phrase-wrong", "code: approval-digest-short", "code: approval-outdated"],
        "the approval is not the phrase of this stage, or it is for a plan that has changed",
        "read the plan again, and set `approval` to its phrase"),

    // General words, which stand in many logs: only where nothing else was said.
    sign("nobody-listens", "", &["Connection refused", "Failed to connect to", "ssh: connect to host", "Connection timed out", "No route to host"],
        "no service listens at that address, or a firewall blocks it",
        "check that the service runs, check host and port, and check that this runner can reach it"),
    sign("program-missing", "", &["command not found", "sh: 1: ", "exit code 127", "ended with status 127"],
        "a program is not installed, or not in the PATH of a non-interactive shell",
        "install it, or set its absolute path; SSH commands do not read .bashrc"),
    sign("runner-lost", "", &["lost communication with the server", "received a shutdown signal"],
        "the runner was lost during the job",
        "run it again; the next run rolls back or completes an interrupted release"),
    sign("timed-out", "", &["has exceeded the maximum execution time", "The action has timed out", "code: script-timed-out"],
        "a step exceeded its time limit",
        "find the slow step in the log; raise timeout-minutes only if the step needs it"),
    sign("cancelled", "", &["The operation was canceled"],
        "a user or a newer run cancelled it",
        "check `concurrency:` of the workflow; the next run rolls back or completes an interrupted release"),
];

/// What stands before the code of an own error.
const CODE: &str = "code: ";

/// The first signature that a line shows, with the last such line.
pub fn recognise(lines: &[String]) -> Option<(&'static Signature, &str)> {
    SIGNATURES.iter().find_map(|signature| {
        let (codes, texts): (Vec<&str>, Vec<&str>) = signature.words.iter().partition(|word| word.starts_with(CODE));
        let says = |line: &&String| texts.iter().any(|text| line.contains(text));
        let line = lines.iter().rev().find(says).map(String::as_str);
        Some((signature, line.or_else(|| own_error(lines, &codes))?))
    })
}

/// The last error with one of these codes, which stands in the line below it. A warning has a code as well, and is no reason.
fn own_error<'l>(lines: &'l [String], codes: &[&str]) -> Option<&'l str> {
    let pairs = lines.windows(2).rev();
    let of = |pair: &'l [String]| {
        let [error, code] = pair else { return None };
        (error.starts_with("error: ") && codes.contains(&code.trim())).then_some(error.as_str())
    };
    pairs.into_iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        domain::{CommitSha, Failure, Sha256Digest},
        errors,
    };

    #[track_caller]
    fn recognised(id: &str, line: &str) {
        let lines =
            ["Deploying".to_owned(), line.to_owned(), "##[error]Process completed with exit code 1.".to_owned()];
        let found = recognise(&lines).unwrap_or_else(|| panic!("not recognised: {line}"));
        assert_eq!((found.0.id, found.1), (id, line));
    }

    /// As the console prints it: the error, then its code.
    #[track_caller]
    fn recognised_error(id: &str, failure: &Failure) {
        let details = failure.details.iter().map(|detail| format!("  detail: {detail}"));
        let error = [format!("error: {failure}"), format!("  code: {}", failure.code)];
        let lines: Vec<String> = error.into_iter().chain(details).collect();
        let (signature, line) = recognise(&lines).unwrap_or_else(|| panic!("not recognised: {lines:?}"));
        assert_eq!(signature.id, id, "{lines:?}");
        assert!(!line.trim().starts_with(CODE), "{line}");
    }

    #[test]
    fn each_word_is_recognised_as_what_it_stands_for_and_ids_are_unique() {
        for signature in SIGNATURES {
            for word in signature.words.iter().filter(|word| !word.starts_with(CODE)) {
                recognised(signature.id, &format!("2 {word} x"));
            }
            assert_eq!(SIGNATURES.iter().filter(|other| other.id == signature.id).count(), 1, "{}", signature.id);
            assert!(signature.cause.len() > 10 && signature.to_do.len() > 10, "{}", signature.id);
        }
    }

    /// A code that the program does not have, or a text that it no longer prints, recognises nothing.
    #[test]
    fn what_is_said_by_the_program_itself_is_said_by_it() {
        for code in SIGNATURES.iter().flat_map(|signature| signature.words).filter_map(|word| word.strip_prefix(CODE)) {
            assert!(errors::all().any(|known| known.name == code), "{code}");
        }
        let verdict = include_str!("../../../server/health/probe/verdict.rs");
        let site = include_str!("../../../http/site.rs");
        let inputs = include_str!("../../../config/parse.rs");
        let status = "{status} instead of {wanted}";
        for (own, shown, source) in [
            ("asks for a user name and password (basic auth)", "", verdict),
            ("the probe is misconfigured, the token is missing or wrong", "", verdict),
            ("the application is in maintenance mode", "", verdict),
            ("stale code in OPcache", "", verdict),
            ("visitors get status", "", verdict),
            ("visitors are redirected more than", "", verdict),
            (": 500 instead of ", status, verdict),
            ("the SSH server forwards no connection to", "", site),
            ("ssh-private-key: is empty", "\"is empty\"", inputs),
            ("ssh-private-key: is missing", "\"is missing\"", inputs),
        ] {
            let printed = if shown.is_empty() { own } else { shown };
            assert!(source.contains(printed), "{printed} is not printed");
            assert!(SIGNATURES.iter().any(|signature| signature.words.contains(&own)), "{own} is no word");
        }
    }

    #[test]
    fn own_errors_are_recognised_by_their_codes() {
        let (doing, cause) = ("working", || "it failed".to_owned());
        let (commit, digest): (CommitSha, _) =
            ("2e5059da6506c733b535221baf223261098ef57d".parse().expect("a commit"), Sha256Digest::of("x"));
        let health = |text: &str| {
            let report = serde_json::from_value(serde_json::json!({ "attempt": 1, "of": 1, "endpoints": [
                { "path": "/health", "status": 500, "problem": text, "answered_as": null, "took_ms": 4 }] }));
            errors::health::unhealthy(doing, &report.expect("a report"), vec![format!("/health: {text}")])
        };
        let lease = Duration::from_secs(145);
        for (id, failure) in [
            (
                "secret-empty",
                errors::general::inputs_invalid(["ssh-private-key: is empty; pass it".to_owned()].into_iter()),
            ),
            ("host-key-unknown", errors::ssh::host_key_mismatch(doing, cause(), "line")),
            ("host-key-unknown", errors::ssh::host_key_unusable(doing, cause())),
            ("key-not-accepted", errors::ssh::key_denied(doing, cause(), "deploy", "line")),
            ("session-broke", errors::ssh::connection_lost(doing, cause())),
            ("sudo-password", errors::services::sudo_rule_missing(cause(), cause()).failure(doing)),
            ("not-allowed-by-token", errors::github::forbidden(doing, cause())),
            ("api-limit", errors::github::rate_limited(doing, cause(), lease)),
            ("artifact-missing", errors::artifact::artifact_gone(doing, cause(), "build.yml", &commit)),
            ("build-missing", errors::artifact::build_missing(cause(), &commit, "none ran", "build.yml")),
            ("build-missing", errors::artifact::build_failed(cause(), 1, "failure", "https://github.com", None)),
            ("bundle-incomplete", errors::preflight::gates_failed("8/9", Vec::new())),
            ("digest-differs", errors::artifact::bundle_digest(cause(), cause())),
            ("digest-differs", errors::artifact::artifact_digest(1, 2, &digest, &digest)),
            ("migration-failed", errors::migration_result::failed(doing, "1", &[], [])),
            ("disk-full", errors::of_script("backup-no-room", doing, &[])),
            ("dump-failed", errors::of_script("dump-failed", doing, &[])),
            ("lock-held", errors::lock::held(doing, "run 4711 by @acme", Duration::ZERO, "/srv/lock", lease)),
            ("probe-cannot-fail", errors::health::blind("/x")),
            ("probe-cannot-fail", errors::health::token_unchecked(&["/health".to_owned()])),
            ("token-refused", health("403: the probe is misconfigured, the token is missing or wrong")),
            ("stale-code", health("answers as 0123456, expected acb5820c: stale code in OPcache")),
            ("maintenance-mode", health("503: the application is in maintenance mode")),
            ("site-sick", health("500 instead of 204")),
            ("site-sick", health("no JSON")),
            ("timed-out", errors::ssh::script_timed_out(doing, cause())),
            ("phrase-wrong", errors::approval::phrase_wrong("x", "GO")),
            ("phrase-wrong", errors::approval::outdated("0123", "GO", &digest)),
        ] {
            recognised_error(id, &failure);
        }
        // Bytes that changed on the runner after packing are another matter than bytes that changed on their way.
        let packed = errors::build::bundle_changed(cause(), &digest, &digest);
        assert!(recognise(&[format!("error: {packed}"), format!("  code: {}", packed.code)]).is_none());
        let warned = ["warning: the connection broke".to_owned(), "  code: connection-lost".to_owned()];
        assert!(recognise(&warned).is_none(), "a warning is no reason");
    }

    #[test]
    fn keys_and_access() {
        for (id, line) in [
            ("key-malformed", "Load key \"/home/runner/.ssh/id_ed25519\": error in libcrypto"),
            ("key-malformed", "Load key \"/tmp/key\": invalid format"),
            ("host-key-unknown", "Host key verification failed."),
            ("key-not-accepted", "deploy@a.example.com: Permission denied (publickey,password)."),
            ("agent-lost", "Could not open a connection to your authentication agent."),
            ("session-broke", "client_loop: send disconnect: Broken pipe"),
            ("sudo-password", "sudo: a password is required"),
            ("host-not-found", "ssh: Could not resolve hostname a.example: Name or service not known"),
        ] {
            recognised(id, line);
        }
    }

    #[test]
    fn what_the_workflow_did() {
        for (id, line) in [
            ("quoting-lost", "bash: -c: option requires an argument"),
            (
                "heredoc",
                "/home/runner/work/_temp/1.sh: line 9: warning: here-document at line 2 delimited by end-of-file (wanted `EOF')",
            ),
            ("unbound-variable", "/home/runner/work/_temp/1.sh: line 3: RELEASE: unbound variable"),
            ("changed-while-read", "tar: .: file changed as we read it"),
            ("archive-in-itself", "tar: ./bundle.tar.gz: file is the archive; not dumped"),
            ("not-allowed-by-token", "HttpError: Resource not accessible by integration"),
            ("bad-credentials", "HttpError: Bad credentials"),
            ("api-limit", "API rate limit exceeded for installation ID 1."),
            (
                "action-deprecated",
                "##[error]This request has been automatically failed because it uses a deprecated version of `actions/upload-artifact: v3`.",
            ),
            (
                "artifact-missing",
                "##[error]Unable to download artifact(s): Artifact not found for name: deployment-bundle",
            ),
            (
                "bundle-incomplete",
                "PHP Warning:  require(/srv/app/vendor/autoload.php): Failed to open stream: No such file or directory",
            ),
            ("digest-differs", "sha256sum: WARNING: 1 computed checksum did NOT match"),
        ] {
            recognised(id, line);
        }
    }

    #[test]
    fn the_build() {
        for (id, line) in [
            (
                "npm-lock",
                "npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.",
            ),
            (
                "composer-lock",
                "Your lock file does not contain a compatible set of packages. Please run composer update.",
            ),
            (
                "php-version",
                "Composer detected issues in your platform: Your Composer dependencies require a PHP version \">= 8.3.0\".",
            ),
            ("vite-manifest", "Vite manifest not found at: /srv/app/public/build/manifest.json"),
            (
                "memory",
                "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried to allocate 4096 bytes)",
            ),
            ("tests-failed", " [ERROR] Found 3 errors"),
        ] {
            recognised(id, line);
        }
    }

    #[test]
    fn the_app_on_its_server() {
        for (id, line) in [
            ("cache-path", "  Please provide a valid cache path."),
            (
                "not-writable",
                "The stream or file \"storage/logs/laravel.log\" could not be opened in append mode: Permission denied",
            ),
            (
                "database-login",
                "SQLSTATE[HY000] [1045] Access denied for user 'shop'@'localhost' (using password: YES)",
            ),
            ("database-away", "SQLSTATE[HY000] [2002] Connection refused"),
            (
                "migration-failed",
                "SQLSTATE[42S01]: Base table or view already exists: 1050 Table 'drafts' already exists",
            ),
            (
                "dump-failed",
                "mysqldump: Error: 'Access denied; you need (at least one of) the PROCESS privilege(s) for this operation'",
            ),
            ("disk-full", "tar: app.tar.gz: Cannot write: No space left on device"),
        ] {
            recognised(id, line);
        }
    }

    #[test]
    fn the_site() {
        for (id, line) in [
            ("token-refused", "curl: (22) The requested URL returned error: 401"),
            ("site-sick", "curl: (22) The requested URL returned error: 500"),
            ("certificate-issuer", "/health: no connection: invalid peer certificate: UnknownIssuer"),
            ("home-page", "every endpoint is healthy, but /: visitors get status 500"),
        ] {
            recognised(id, line);
        }
    }

    #[test]
    fn words_that_stand_in_many_logs_count_only_where_nothing_else_was_said() {
        for (id, line) in [
            ("nobody-listens", "curl: (7) Failed to connect to 127.0.0.1 port 80: Connection refused"),
            ("program-missing", "bash: line 4: composer: command not found"),
            ("program-missing", "##[error]Process completed with exit code 127."),
            ("runner-lost", "##[error]The hosted runner lost communication with the server."),
            (
                "timed-out",
                "##[error]The job running on runner x has exceeded the maximum execution time of 30 minutes.",
            ),
            ("cancelled", "##[error]The operation was canceled."),
        ] {
            recognised(id, line);
        }
        let both = ["Connection refused", "Permission denied (publickey).", "Connection refused"].map(str::to_owned);
        assert_eq!(
            recognise(&both).map(|(signature, line)| (signature.id, line)),
            Some(("key-not-accepted", "Permission denied (publickey)."))
        );
        assert!(recognise(&["all is well".to_owned()]).is_none() && recognise(&[]).is_none());
    }
}
