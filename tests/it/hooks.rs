//! Hooks: commands of the policy at certain moments of a release.

use std::time::Duration;

use gated_deploy_lab::{
    app::{self, Variant},
    github::GitHub,
    runner::{Runner, Signal},
    server::{SEED_COMMIT, SEED_RELEASE},
    story::{Story, commit},
};
use serde_json::json;

use crate::{
    plan::migration,
    rollback::rollback,
    support::{BINARY, assert_ended, assert_says, output, story},
};

const POLICY: &str = ".github/gated-deploy.yml";
const BASE: &str = "/var/www/staging";

/// A machine that others keep busy takes a minute for what takes seconds here.
const PATIENCE: Duration = Duration::from_secs(300);

/// A hook that notes when and where it ran.
const NOTES: &str = r#"{run: [sh, -c, 'printf "%s %s %s %s\n" "$GATED_DEPLOY_MOMENT" "$(pwd -P)" "$(readlink /var/www/staging/current)" "$GATED_DEPLOY_COMMIT" >>/tmp/hooked']}"#;

/// A step whose policy has these hooks.
fn with(step: Runner, hooks: &str) -> Runner {
    step.file(POLICY, &format!("hooks:\n{hooks}environments:\n  staging: {{}}\n"))
}

/// What hooks noted since this was asked last.
fn noted(story: &Story) -> Vec<String> {
    let text = story.lab.exec("cat /tmp/hooked 2>/dev/null; rm -f /tmp/hooked").expect("notes");
    text.lines().map(str::to_owned).collect()
}

fn nothing_of(story: &Story, release: &str) {
    let left = story.lab.exec(&format!("cd {BASE}; ls -A releases .gated-deploy .gated-deploy/jobs")).expect("ls");
    assert!(!left.contains("lock") && (release.is_empty() || !left.contains(release)), "{left}");
    // Whatever a hook of this file leaves behind sleeps for so long.
    story.lab.exec("! pgrep -x sleep -a | grep -F ' 600'").expect("no process of a hook is left");
}

#[test]
fn hooks_run_at_their_moments_and_in_order_and_a_plan_runs_none() {
    let story = story();
    let first = commit("with hooks");
    let tree = app::source(&first, Variant::Healthy).expect("the tree");
    let up = "Schema::create('hooked', fn ($table) => $table->id());";
    tree.write("database/migrations/2031_01_01_000000_hooked.php", migration(up)).expect("the migration");
    let console = "<?php\nuse Illuminate\\Support\\Facades\\{Artisan, Log, Schema};\nArtisan::command('hooked {--word=}', function () {\n    \
         Log::error('logged by a hook');\n    \
         $this->info('hooked in ' . basename(base_path()) . ' with ' . $this->option('word') . ', ' . (Schema::hasTable('hooked') ? 'migrated' : 'not migrated'));\n    return 0;\n});\n";
    tree.write("routes/console.php", console).expect("the command");
    story.publish(&story.build(&first, &tree).expect("the build")).expect("the artifact");
    let password =
        story.lab.exec(&format!("sed -n 's/^DB_PASSWORD=//p' {BASE}/shared/.env/staging.env")).expect(".env");
    // As the parser of .env reads it: between double quotes a backslash takes the next character.
    let password = password.trim().trim_matches('"').replace("\\\"", "\"").replace("\\$", "$");
    let password = password.as_str();
    assert!(password.len() >= 8, "a value that the filter hides");
    let hooks = format!(
        "  before-migrate:\n    - {NOTES}\n    - artisan hooked --word=before\n\
         \x20 before-switch:\n    - {NOTES}\n    - {{run: [sh, -c, 'echo made >public/made-before.txt']}}\n\
         \x20 after-switch:\n    - {NOTES}\n    - {{run: [artisan, hooked, \"--word=a b\"], env: [DB_PASSWORD]}}\n    \
         - {{run: [sh, -c, 'echo \"::error::pwned $DB_PASSWORD\"; printf %s \"$DB_PASSWORD\" >/tmp/value; echo made >public/made-after.txt'], env: [DB_PASSWORD], within: 2m}}\n\
         \x20 after-rollback:\n    - {NOTES}\n    - artisan hooked --word=back\n"
    );
    let step = || with(story.staging(&first).looked_for(password), &hooks);

    let plan = step().input("approval", "").run_binary(story.binary());
    assert_ended(&plan, 0, "planned");
    assert_eq!(noted(&story), Vec::<String>::new(), "a plan runs no hook");
    for text in [&plan.summary, &plan.log] {
        assert_says(
            text,
            &[
                "artisan hooked '--word=before' (within 60 s; a failure refuses the release; what it did stays)",
                "artisan hooked '--word=a b', with DB_PASSWORD of .env (within 60 s; a failure rolls the release back; what it did stays)",
                "artisan hooked '--word=back' (within 60 s; a failure is a warning; what it did stays)",
            ],
        );
    }

    let live = step().run_binary(story.binary());
    assert_ended(&live, 0, "live");
    let release = output(&live, "release").to_owned();
    let at = |moment: &str, release: &str, current: &str, commit: &str| {
        format!("{moment} {BASE}/releases/{release} releases/{current} {commit}")
    };
    let seed = SEED_RELEASE.rsplit('/').next().expect("a name");
    assert_eq!(
        noted(&story),
        [
            at("before-migrate", &release, seed, &first),
            at("before-switch", &release, seed, &first),
            at("after-switch", &release, &release, &first),
        ]
    );
    assert_says(
        &live.log,
        &[
            &format!("hooked in {release} with before, not migrated"),
            &format!("hooked in {release} with a b, migrated"),
            "not run: there was no automatic rollback",
        ],
    );
    // What a hook prints gives the runner no command, and tells no value of .env.
    assert!(!live.annotations.iter().any(|annotation| annotation.message.contains("pwned")), "{:?}", live.annotations);
    assert!(live.log.contains("pwned ***") && !live.raw_log.contains(password), "{}", live.log);
    assert_eq!(story.lab.exec("cat /tmp/value").expect("the value"), password);
    // An artisan command of a hook has the protections of the action's other ones: the app logs to the run.
    assert_says(&live.log, &["logged by a hook"]);
    story
        .lab
        .exec(&format!("! grep -rF 'logged by a hook' {BASE}/shared/storage/logs"))
        .expect("no log of the site has it");
    nothing_of(&story, "");

    // What hooks wrote to the release was confirmed with it.
    let second = commit("after hooks");
    story.ship(&second, Variant::Healthy).expect("the build");
    let next = story.deploy(&second);
    assert_ended(&next, 0, "live");
    assert_says(&next.log, &["unchanged since it was confirmed"]);
    assert_says(&next.log, &["no hook is configured (`hooks` has no `after-switch`)"]);

    let back = with(rollback(&story).looked_for(password), &hooks).run_binary(story.binary());
    assert_ended(&back, 0, "live");
    assert_eq!(noted(&story), [at("after-rollback", &release, &release, &first)], "{}", back.log);
    assert_says(&back.log, &[&format!("hooked in {release} with back, migrated")]);
    nothing_of(&story, "");
}

#[test]
fn a_required_hook_that_fails_refuses_or_rolls_back_and_any_other_warns() {
    let story = story();
    let new = commit("with hooks that fail");
    let tree = app::source(&new, Variant::Healthy).expect("the tree");
    let up = "Schema::create('hooked', fn ($table) => $table->id());";
    tree.write("database/migrations/2031_01_01_000000_hooked.php", migration(up)).expect("the migration");
    story.publish(&story.build(&new, &tree).expect("the build")).expect("the artifact");
    let deploy = |hooks: &str| with(story.staging(&new), hooks).run_binary(story.binary());
    let migrated = || {
        let count = "mariadb -N -e \"select count(*) from migrations where migration like '%hooked'\" lab_staging";
        story.lab.exec(count).expect("the migrations").trim().to_owned()
    };
    let seed = SEED_RELEASE.rsplit('/').next().expect("a name");

    let failing = "{run: [sh, -c, 'sleep 600 & echo these are the last words; exit 7']}";
    let refused =
        deploy(&format!("  before-migrate: [{failing}]\n  before-switch: [{NOTES}]\n  after-rollback: [{NOTES}]\n"));
    assert_ended(&refused, 1, "refused");
    assert_eq!(migrated(), "0");
    assert_says(&refused.log, &["code: hook-failed"]);
    for text in [&refused.log, &refused.summary] {
        assert_says(
            text,
            &[
                "the before-migrate hook ",
                "ended with status 7",
                "these are the last words",
                "what they did before the migrations stays",
            ],
        );
    }
    assert!(
        refused.annotations.iter().any(|annotation| annotation.message.contains("ended with status 7")),
        "{:?}",
        refused.annotations
    );
    assert_eq!(noted(&story), Vec::<String>::new(), "neither a later hook nor one after a rollback");
    nothing_of(&story, output(&refused, "release"));

    let refused = deploy("  before-switch: [no-such-program]\n");
    assert_ended(&refused, 1, "refused");
    assert_says(&refused.summary, &["ended with status 127: it was not found"]);
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
    nothing_of(&story, output(&refused, "release"));

    // After the switch: rolled back, and only then the hooks after a rollback, whose failure is a warning.
    let slow = "{run: [sh, -c, 'echo it begins; sleep 600'], within: 1s}";
    let back = deploy(&format!("  after-switch: [{slow}]\n  after-rollback: [{{run: [\"false\"]}}, {NOTES}]\n"));
    assert_ended(&back, 3, "rolled-back");
    assert_says(&back.log, &["code: hook-timed-out"]);
    assert_says(&back.summary, &["took longer than 1 s and was ended", "it begins"]);
    assert_says(&back.log, &["the after-rollback hook `false` ended with status 1", "1 of 2 failed: false"]);
    assert_eq!(noted(&story), [format!("after-rollback {BASE}/releases/{seed} releases/{seed} ")], "{}", back.log);
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
    nothing_of(&story, output(&back, "release"));

    // What is missing in .env is said before anything changes, in a plan, too.
    let missing = "  after-switch: [{run: [\"true\"], env: [APP_KEY, NO_SUCH_ENTRY]}]\n";
    for approval in ["", gated_deploy_lab::story::STAGING_PHRASE] {
        let refused = with(story.staging(&new).input("approval", approval), missing).run_binary(story.binary());
        assert_ended(&refused, 1, "refused");
        assert_says(&refused.log, &["hook-variable-missing", "has no entry NO_SUCH_ENTRY"]);
    }

    let may_fail = |command: &str| format!("{{run: {command}, required: false, within: 1s}}");
    let warned = deploy(&format!(
        "  before-migrate: [{}]\n  before-switch: [{}, {NOTES}]\n  after-switch: [{}]\n",
        may_fail("[sh, -c, 'kill -9 $PPID; sleep 600']"),
        may_fail("[sh, -c, 'kill -9 0']"),
        may_fail("[sleep, \"600\"]"),
    ));
    assert_ended(&warned, 0, "live");
    assert_says(&warned.summary, &["hook-failed", "hook-timed-out", "with 4 warnings", "url-unencrypted"]);
    assert_eq!((noted(&story).len(), migrated().as_str()), (1, "1"), "the hooks after one that fails ran");
    nothing_of(&story, "");
}

#[test]
fn a_run_that_is_cancelled_ends_its_hook_and_runs_none_after_the_rollback() {
    let story = story();
    let new = commit("cancelled in a hook");
    story.ship(&new, Variant::Healthy).expect("the build");
    // What is waited for is printed by the hook alone: its command stands in the log before it begins.
    let sleeps = "{run: [sh, -c, 'echo it works | tr a-z A-Z; sleep 600'], within: 10m}";
    for (moment, code, outcome) in
        [("before-migrate", 1, "refused"), ("before-switch", 1, "refused"), ("after-switch", 3, "rolled-back")]
    {
        let hooks = format!("  {moment}: [{sleeps}]\n  after-rollback: [{NOTES}]\n");
        let step = with(story.staging(&new).input("confirm-within", "1h"), &hooks);
        let running = step.unhurried().spawn_binary(story.binary());
        running.wait_for_line("IT WORKS", PATIENCE);
        running.signal(Signal::INT);
        let finished = running.wait();
        assert_ended(&finished, code, outcome);
        assert_eq!(noted(&story), Vec::<String>::new(), "{moment}");
        assert_eq!(finished.log.contains("hooks-not-run"), moment == "after-switch", "{moment}: {}", finished.log);
        assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE), "{moment}");
        nothing_of(&story, output(&finished, "release"));
    }
}

/// Whoever can open a pull request decides no command that runs on the server.
#[test]
fn se11_hooks_of_an_unreviewed_policy_run_nothing() {
    let github = GitHub::start([127, 0, 0, 1].into());
    let key = crate::rows::some_key();
    let step = |policy: &str| {
        let inputs = [
            ("stage", "rollback"),
            ("environment", "staging"),
            ("approval", "STAGING-TEST FREIGEGEBEN"),
            ("github-token", github.token()),
            ("ssh-host", "127.0.0.1"),
            ("ssh-port", "1"),
            ("ssh-private-key", key),
            ("ssh-known-hosts", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"),
            ("base-dir", "/var/www/staging"),
            ("url", "http://127.0.0.1:1"),
        ];
        let step = Runner::new().api_url(github.api_url()).secret(github.token()).secret(key);
        let step = step.event("pull_request_target", json!({}));
        inputs
            .into_iter()
            .fold(step, |step, (name, value)| step.input(name, value))
            .file(POLICY, policy)
            .run_binary(BINARY)
    };
    let policy = |hooks: &str| format!("{hooks}environments:\n  staging: {{}}\n");
    let theirs = policy("hooks:\n  after-rollback: [touch /tmp/pwned]\n");
    github.file("main", POLICY, &policy(""));
    let finished = step(&theirs);
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["hooks differs from the default branch's policy", "policy-unreviewed"]);
    // Reviewed, they are no reason to refuse: the run goes on to the server, which is not there.
    github.file("main", POLICY, &theirs);
    let finished = step(&theirs);
    assert_ended(&finished, 5, "failed");
    // Neither may a branch leave out what is reviewed.
    let finished = step(&policy(""));
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["hooks differs from the default branch's policy"]);
}
