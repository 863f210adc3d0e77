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
    app::{self, Variant},
    runner::{Runner, forms_of},
    story::{Story, commit},
};

use crate::support::{assert_ended, assert_says, output, story};

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
const PATIENT_DUMP: &str = "printf '%s\\n' '#!/bin/sh' 'until grep -aq defaults-extra-file /tmp/seen; do :; done' 'exec /usr/bin/mariadb-dump \"$@\"' \
                            >/usr/local/bin/mariadb-dump && chmod 755 /usr/local/bin/mariadb-dump";

/// Every file that was written since, wherever: those where a secret belongs apart. Laravel keeps the whole configuration in its
/// cache, which is part of the copy of the live release in the backup.
const WRITTEN: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run/lab -o -path /var/lib/mysql -o -path /run/mysqld \\) -prune -o -type f -newer /tmp/began \
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
    assert!(there.contains("--defaults-extra-file=/dev/stdin"), "the watcher saw the dump at work");
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

/// What the app itself says passes a filter on the server: values of `.env` that the runner knows nothing of, the data in statements, and
/// more lines than anybody reads.
#[test]
fn se8_se17_what_the_app_says_leaves_the_server_without_the_values_of_env() {
    const WORD: &str = "Tr0ub4dor&3/of-the+app";
    const ENV: &str = "/var/www/staging/shared/.env/staging.env";
    // Two keys in one value, as Laravel has them.
    const FIRST: &str = "Zmlyc3Qgb2YgdGhlIGVhcmxpZXIga2V5cyE=";
    const SECOND: &str = "c2Vjb25kIG9mIHRoZSBlYXJsaWVyIGtleXM=";
    let story = story();
    story
        .lab
        .exec(&format!("printf 'SPARE_STORE=production\\nVENDOR_SECRET=\"%s\"\\nAPP_PREVIOUS_KEYS=base64:{FIRST},base64:{SECOND}\\n' '{WORD}' >>{ENV}"))
        .expect("a secret that only the server knows");
    let up = "$env = file_get_contents(base_path('.env')); $word = preg_replace('/.*VENDOR_SECRET=\"(.*)\".*/s', '$1', $env);
        foreach ([$word, json_encode($word), rawurlencode($word), base64_encode($word), bin2hex($word), substr($word, 0, 15) . '...'] as $form) {
            echo 'said: ', $form, PHP_EOL; fwrite(STDERR, 'cried: ' . $form . PHP_EOL); }
        foreach (explode(',', preg_replace('/.*APP_PREVIOUS_KEYS=(\\S+).*/s', '$1', $env)) as $key) { echo 'key: ', $key, ' is ', base64_decode(substr($key, 7)), PHP_EOL; }
        echo chunk_split(base64_encode($env), 76, PHP_EOL), chunk_split(bin2hex($env), 64, PHP_EOL);
        echo 'cut in two: ', substr($word, 0, 13); flush(); usleep(300000); echo substr($word, 13), PHP_EOL, 'in production', PHP_EOL;
        for ($line = 0; $line < 400000; $line++) { echo 'line ', $line, ' of what a migration prints', PHP_EOL; }
        DB::table('nowhere')->insert(['body' => \"data of a customer (new)\\nsecond line of it\", 'word' => $word]);";
    let commit = commit("a talkative migration");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    tree.write("database/migrations/2031_01_01_000000_talk.php", crate::plan::migration(up)).expect("a migration");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");

    let runner = story.staging(&commit).input("report-dir", "reports");
    let finished = runner.clone().run_binary(story.binary());
    assert_ended(&finished, 1, "refused");

    let mut texts = vec![("the log", finished.log.clone()), ("the summary", finished.summary.clone())];
    let mut journal = 0;
    for entry in fs::read_dir(runner.workspace().join("reports")).expect("the reports") {
        let path = entry.expect("a report").path();
        let text = fs::read_to_string(&path).expect("text");
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            journal = text.len();
        }
        texts.push(("a report", text));
    }
    // Encoded values as they are wrapped: what is left between two stars is not theirs.
    let encoded: String = WORD.bytes().map(|byte| format!("{byte:02x}")).collect();
    let parts = (0..=encoded.len() - 16).step_by(2).map(|at| encoded[at..at + 16].to_owned());
    let forms: Vec<String> = forms_of(WORD)
        .into_iter()
        .chain(parts)
        .chain([FIRST, SECOND, "first of the earlier keys", "second of the earlier keys"].map(str::to_owned))
        .chain(["data of a customer".to_owned(), "second line of it".to_owned(), WORD[..13].to_owned()])
        .collect();
    for (place, text) in &texts {
        for form in &forms {
            assert!(!text.contains(form.as_str()), "{form} is in {place}");
        }
    }
    assert_says(
        &finished.log,
        &[
            "said: ***\n",
            "key: *** is ***\n",
            "cried: ***\n",
            "cut in two: ***\n",
            "in production\n",
            "are left out: one script may print 10000 lines",
            "line 399999 of",
        ],
    );
    assert_says(&finished.log, &["insert into `nowhere`"]);
    assert!(journal > 0 && journal < 6 << 20, "the journal has {journal} bytes");
    let jobs: u64 = story
        .lab
        .exec("du -sb /var/www/staging/.gated-deploy/jobs 2>/dev/null | cut -f 1 || echo 0")
        .expect("the jobs")
        .trim()
        .parse()
        .unwrap_or(0);
    assert!(jobs < 4 << 20, "jobs/ has {jobs} bytes");

    // Without the filter nothing of it is passed on, and the release itself goes on.
    story.lab.exec("printf '#!/bin/sh\\ncase $1 in -n) exit 1 ;; *) exec /usr/bin/php \"$@\" ;; esac\\n' >/usr/local/bin/php; chmod 755 /usr/local/bin/php").expect("a PHP that runs no filter");
    let withheld = story.staging(&commit).run_binary(story.binary());
    assert_ended(&withheld, 1, "refused");
    assert_says(&withheld.log, &["output withheld: the filter that hides the values of"]);
    assert!(!withheld.log.contains("said: "), "{}", withheld.log);
}

/// A page that fails may show a value of `.env`. The runner does not know it, so what is quoted of a page goes through the filter on the server:
/// before the switch, and of the live release.
#[test]
fn se8_what_a_health_page_says_is_quoted_without_the_values_of_env() {
    const WORD: &str = "Tr0ub4dor&3/of-the+app";
    const CONTROLLER: &str = "app/Http/Controllers/HealthController.php";
    const SAYS: &str = "public function shallow()\n    {\n        return response('cannot reach https://api:' . env('VENDOR_SECRET', config('app.vendor')) . '@vendor.test', 200);\n";
    let story = story();
    story
        .lab
        .exec(&format!("printf 'VENDOR_SECRET=\"%s\"\\n' '{WORD}' >>/var/www/staging/shared/.env/staging.env"))
        .expect("a secret that only the server knows");
    let commit = commit("whose health page shows a secret");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    tree.replace(CONTROLLER, "public function shallow()\n    {\n", SAYS).expect("the controller");
    // `env()` is empty in cached configuration.
    tree.replace("config/app.php", "return [", "return ['vendor' => env('VENDOR_SECRET'),").expect("the configuration");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");

    let quoted = "cannot reach https://api:***@vendor.test";
    let refused = |code: &str| {
        let runner = story.staging(&commit).looked_for(WORD).input("report-dir", "reports");
        let finished = runner.run_binary(story.binary());
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.summary, &[code]);
        assert_says(&finished.log, &["the body is not ok or healthy", quoted]);
        let reports = fs::read_dir(runner.workspace().join("reports")).expect("the reports");
        let reports: String =
            reports.map(|entry| fs::read_to_string(entry.expect("a report").path()).expect("text")).collect();
        for (place, text) in [("the log", &finished.log), ("the summary", &finished.summary), ("a report", &reports)] {
            for form in forms_of(WORD) {
                assert!(!text.contains(&form), "{form} is in {place}");
            }
        }
        assert_says(&reports, &[quoted]);
    };
    refused("canary-unhealthy");

    // The live release says the same, and is asked before anything changes.
    story
        .lab
        .exec(&format!(
            "cd /var/www/staging/current && sed -i \"s|return response()->json(\\[|return response('cannot reach https://api:{}@vendor.test', 200); return response()->json([|\" {CONTROLLER} && service php8.2-fpm reload",
            WORD.replace('&', "\\&")
        ))
        .expect("a live release that shows it");
    refused("site-unhealthy");
}
