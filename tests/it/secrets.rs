//! Secrets, looked for in every byte that came out, on both machines.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use gated_deploy_lab::{
    app::Variant,
    runner::{Runner, forms_of},
    story::{Story, commit},
};

use crate::support::{assert_ended, output, story};

/// The argument lists of every process that this test started, again and again while runs work. What else the machine runs is no
/// concern of its runs: other tests have keys as well, and all keys begin alike.
struct Watcher {
    stop: Arc<AtomicBool>,
    seen: JoinHandle<BTreeSet<String>>,
}

impl Watcher {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let seen = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !asked.load(Ordering::SeqCst) {
                for process in descendants(std::process::id()) {
                    if let Ok(line) = fs::read(format!("/proc/{process}/cmdline")) {
                        seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
                    }
                }
                thread::sleep(Duration::from_millis(50));
            }
            seen
        });
        Self { stop, seen }
    }

    fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.seen.join().expect("the watcher")
    }
}

/// The processes that this one started, and those that they started.
fn descendants(ancestor: u32) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // proc(5): the name in parentheses may hold anything; state and parent come after the last one.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((process.file_name().to_str()?.parse().ok()?, parent))
        })
        .collect();
    let mut found = BTreeSet::from([ancestor]);
    loop {
        let more = parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(process, _)| *process);
        let more: Vec<u32> = more.filter(|process| !found.contains(process)).collect();
        if more.is_empty() {
            found.remove(&ancestor);
            return found;
        }
        found.extend(more);
    }
}

/// The same on the server; it puts each word into `/tmp/seen`.
const WATCH: &str = "(while [ ! -e /tmp/stop ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; sleep 0.02; done >/tmp/seen &) >/dev/null 2>&1";

/// A dump of so little may be over before anybody looks: this one begins when its arguments have been seen.
const PATIENT_DUMP: &str = "printf '%s\\n' '#!/bin/sh' 'until grep -aq mariadb-dump /tmp/seen; do :; done' 'exec /usr/bin/mariadb-dump \"$@\"' \
                            >/usr/local/bin/mariadb-dump && chmod 755 /usr/local/bin/mariadb-dump";

/// Every file that was written since, wherever: those where a secret belongs apart. Laravel keeps the whole configuration in its
/// cache, which is part of the copy of the live release in the backup.
const WRITTEN: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run/lab -o -path /var/lib/mysql \\) -prune -o -type f -newer /tmp/began \
                       ! -path '*/shared/.env/*' ! -path '*/bootstrap/cache/*' ! -path '*/backups/*/app.tar.gz' ! -name seen -print0; \
                       find /var/www/staging -type f -newer /tmp/began ! -path '*/shared/.env/*' ! -path '*/bootstrap/cache/*' ! -path '*/backups/*/app.tar.gz' ! -name seen -print0";

/// The staging step, with every way to report, which knows the database's password when it sees it.
fn runner(story: &Story, commit: &str, password: &str) -> Runner {
    story.staging(commit).input("report-dir", "reports").looked_for(password)
}

#[test]
fn f40_no_secret_is_seen_on_either_machine_however_a_run_ends() {
    let story = story();
    let site = story.staging_site();
    let ship = |word: &str, variant: Variant| {
        let commit = commit(word);
        story.ship(&commit, variant).expect("the build");
        commit
    };
    let sick = ship("sick with eyes on it", Variant::Sick500);
    let failing = ship("failing with eyes on it", Variant::FailingMigration);
    let well = ship("well with eyes on it", Variant::Healthy);
    let password = story.lab.exec("grep ^DB_PASSWORD= /var/www/staging/shared/.env/staging.env").expect("the password");
    // Its last word has nothing that a shell, .env or JSON would write otherwise.
    let password = password.trim_end().trim_end_matches('"').rsplit(' ').next().expect("a word").to_owned();
    assert!(password.len() >= 12, "{password}");
    story.lab.exec("touch -d '1 second ago' /tmp/began").expect("a mark in time");
    story.lab.exec(WATCH).expect("a watcher");
    story.lab.exec(PATIENT_DUMP).expect("a dump that waits to be seen");
    let watcher = Watcher::start();

    let mut reports = String::new();
    for (commit, phrase, exit_code, outcome) in [
        (&sick, None, 3, "rolled-back"),
        (&failing, None, 1, "refused"),
        (&well, Some(""), 0, "planned"),
        (&well, None, 0, "live"),
    ] {
        let runner = runner(&story, commit, &password);
        let runner = match phrase {
            Some(phrase) => runner.input("approval", phrase),
            None => runner,
        };
        let finished = runner.run_binary(story.binary());
        assert_ended(&finished, exit_code, outcome);
        for entry in fs::read_dir(runner.workspace().join("reports")).expect("the reports") {
            reports += &fs::read_to_string(entry.expect("a report").path()).expect("text");
        }
        assert!(reports.contains(output(&finished, "sha")), "the reports are there");
    }
    let here = watcher.stop().into_iter().collect::<Vec<_>>().join("\n");
    story.lab.exec("touch /tmp/stop").expect("ending the watcher");
    // Each word once: no secret here has a blank in it.
    let there =
        story.lab.exec("tr ' ' '\\n' </tmp/seen | tr -cd '[:print:]\\n' | sort -u").expect("what the watcher saw");
    assert!(there.contains("--defaults-file=/dev/stdin"), "the watcher saw the dump at work");
    assert!(here.contains("gated-deploy"), "the watcher saw the action at work");

    let private = story.lab.private_key();
    let secrets = [password.as_str(), &site.health_token, private.trim_end(), story.github.token()];
    let forms: Vec<String> = secrets.iter().flat_map(|secret| forms_of(secret)).collect();
    assert!(forms.len() > 20, "each in several forms: {}", forms.len());
    for form in &forms {
        for (place, text) in [
            ("an argument list on the server", &there),
            ("an argument list on the runner", &here),
            ("a report", &reports),
        ] {
            assert!(!text.contains(form.as_str()), "a secret is in {place}");
        }
    }
    // On the server, file by file; the patterns go there by standard input's twin, a file outside of what is searched.
    let patterns = forms.join("\n");
    let found = story
        .lab
        .exec(&format!(
            "umask 077; cat >/dev/shm/patterns <<'PATTERNS'\n{patterns}\nPATTERNS\n\
             {{ {WRITTEN}; }} >/dev/shm/written; tr '\\0' '\\n' </dev/shm/written | grep -c ledger.jsonl; \
             xargs -0 -a /dev/shm/written grep -l -a -F -f /dev/shm/patterns; \
             grep -z 'gz$' /dev/shm/written | while IFS= read -r -d '' file; do if gzip -dc \"$file\" | grep -q -a -F -f /dev/shm/patterns; then echo \"$file\"; fi; done; rm /dev/shm/patterns"
        ))
        .expect("looking through the files");
    let (count, files) = found.split_once('\n').expect("a count first");
    assert_ne!(count, "0", "what the runs wrote was looked through");
    assert_eq!(files.trim(), "", "secrets are in files of the server");
    let open =
        story.lab.exec("find /var/www/staging/backups -mindepth 1 -perm /077 | head").expect("the backups' modes");
    assert_eq!(open, "", "what a backup has to hold is for its owner alone");
}
