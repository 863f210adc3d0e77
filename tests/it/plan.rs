//! The plan says what would happen, exactly, and an approval can be bound to it.

use std::fs;

use gated_deploy_lab::{
    app::{self, TempTree, Variant},
    runner::Runner,
    story::{STAGING_PHRASE, Story, commit},
};

use crate::support::{assert_ended, assert_says, output, story};

fn tree(commit: &str) -> TempTree {
    app::source(commit, Variant::Healthy).expect("the tree")
}

/// One migration that does this.
pub(crate) fn migration(up: &str) -> String {
    format!(
        "<?php\n\nuse Illuminate\\Support\\Facades\\{{DB, Schema}};\n\nreturn new class extends \
         Illuminate\\Database\\Migrations\\Migration\n{{\n    public function up()\n    {{\n        {up}\n    }}\n}};\n"
    )
}

fn ship(story: &Story, commit: &str, tree: &TempTree) {
    story.publish(&story.build(commit, tree).expect("the build")).expect("the artifact");
}

fn planned(story: &Story, runner: &Runner) -> gated_deploy_lab::runner::Finished {
    let before = story.lab.tree_digest("/var/www").expect("the tree");
    let temporary = story.lab.exec("ls -A /tmp").expect("ls");
    let finished = runner.clone().input("approval", "").run_binary(story.binary());
    assert_ended(&finished, 0, "planned");
    assert_eq!(story.lab.tree_digest("/var/www").expect("the tree"), before, "a plan changes nothing");
    assert_eq!(story.lab.exec("ls -A /tmp").expect("ls"), temporary, "and leaves nothing behind");
    finished
}

#[test]
fn f19_f63_se1_fd1_the_plan_names_what_vanishes_and_what_each_migration_does_and_runs_none_of_it() {
    let story = story();
    let first = commit("with a leaflet");
    let old = tree(&first);
    old.write("public/leaflet.txt", "for visitors").expect("a file");
    ship(&story, &first, &old);
    assert_ended(&story.deploy(&first), 0, "live");

    let second = commit("without it");
    let new = tree(&second);
    let add = |name: &str, up: &str| {
        new.write(&format!("database/migrations/{name}.php"), migration(up)).expect("a migration");
    };
    add("2031_01_01_000000_add", "Schema::table('notes', fn ($table) => $table->string('nickname')->nullable());");
    add("2031_01_02_000000_take", "Schema::table('notes', fn ($table) => $table->dropColumn('body'));");
    add("2031_01_03_000000_stop", "DB::table('notes')->delete(); App\\Models\\OfTheNewRelease::all();");
    // What one migration of a plan once did: it ran, but for the statements of the default connection.
    add(
        "2031_01_04_000000_report",
        "touch('/tmp/ran-by-plan'); file_put_contents(storage_path('ran-by-plan'), ''); \
         Schema::connection('reports')->create('made_by_plan', fn ($table) => $table->id());",
    );
    new.write("app/New.php", "<?php\n").expect("a file");
    ship(&story, &second, &new);
    let columns = "mariadb -N -e 'select count(*) from notes; show columns from notes; show tables' lab_staging";
    let before = story.lab.exec(columns).expect("the table");

    let finished = planned(&story, &story.staging(&second));

    assert_eq!(story.lab.exec(columns).expect("the table"), before, "nothing was migrated, nothing was deleted");
    for text in [&finished.summary, &finished.log] {
        assert_says(
            text,
            &[
                "5 new, 1 changed, 1 removed; ",
                "public file removed: public/leaflet.txt",
                "2031_01_01_000000_add [expand]",
                "database/migrations/2031_01_01_000000_add.php, SHA-256 ",
                "its source adds a column",
                "2031_01_02_000000_take [destructive]",
                "its source drops a table or column",
                "2031_01_03_000000_stop [destructive]",
                "its source changes rows; cannot tell: calls all()",
                "2031_01_04_000000_report [unknown]",
                "it names another database connection: reports",
                "/health must answer 200 with a healthy body; in the bundle: routes/web.php",
                "/api/health-check must answer 200 with a healthy body; in the bundle: routes/api.php",
                "/healthcheck.php must answer 200 with a healthy body; in the bundle: public/healthcheck.php",
                "(sudo allows it)",
                "expected downtime: none",
                "MB are free",
            ],
        );
    }
    assert!(!finished.summary.contains("at most 0.0 "), "the backup has a size: {}", finished.summary);
    assert_says(&finished.summary, &["at most "]);
    let last = finished.log.lines().rfind(|line| line.starts_with("plan: ")).expect("a last line");
    assert_says(last, &["plan: ", " steps, ", " changes; digest ", &output(&finished, "plan-digest")[..16]]);

    // A plan claims nothing about what it was not to look at.
    let policy = "migrate: false\nenvironments:\n  staging: {}\n";
    let off = planned(&story, &story.staging(&second).file(".github/gated-deploy.yml", policy));
    assert_says(&off.summary, &["no migration runs (`migrate` is false)"]);
    assert!(!off.summary.contains("no migration is pending"), "{}", off.summary);

    // A policy that sets what once decided about this stays valid.
    let policy = "preview-sql: true\nenvironments:\n  staging: {}\n";
    let finished = planned(&story, &story.staging(&second).file(".github/gated-deploy.yml", policy));
    assert_says(&finished.summary, &["2031_01_01_000000_add [expand]"]);
}

#[test]
fn f63_the_plan_names_the_migrations_of_packages_too() {
    let story = story();
    let first = commit("with a package");
    let package = "vendor/acme/ledger/database/migrations";
    let with_package = |commit: &str| {
        let tree = tree(commit);
        let old = "2030_01_01_000000_begin";
        let body = migration("Schema::create('accounts', fn ($table) => $table->id());");
        tree.write(&format!("{package}/{old}.php"), body).expect("a migration");
        let provider = fs::read_to_string(tree.path().join("app/Providers/AppServiceProvider.php")).expect("the file");
        let load = format!("boot()\n    {{\n        $this->loadMigrationsFrom(base_path('{package}'));");
        let provider = provider.replace("boot()\n    {", &load);
        tree.write("app/Providers/AppServiceProvider.php", provider).expect("the provider");
        tree
    };
    ship(&story, &first, &with_package(&first));
    let live = story.deploy(&first);
    assert_ended(&live, 0, "live");
    assert_says(&live.summary, &["2030_01_01_000000_begin"]);

    let second = commit("with two packages");
    let tree = with_package(&second);
    let up = migration("Schema::table('accounts', fn ($table) => $table->string('owner')->nullable());");
    tree.write(&format!("{package}/2031_01_01_000000_owner.php"), &up).expect("a migration");
    tree.write("vendor/acme/audit/src/database/migrations/2031_02_01_000000_trail.php", &up)
        .expect("another package's");
    ship(&story, &second, &tree);

    let finished = planned(&story, &story.staging(&second));

    assert_says(
        &finished.summary,
        &[
            "1 pending migration, expand",
            "2031_01_01_000000_owner [expand]",
            "its source adds a column",
            "the package acme/audit is new and has migrations",
        ],
    );
    assert!(
        !finished.summary.contains("begin [") && !finished.summary.contains("acme/ledger is new"),
        "{}",
        finished.summary
    );
}

#[test]
fn an_approval_with_a_digest_is_void_when_a_migration_or_the_server_has_changed() {
    let story = story();
    let commit = commit("bound to the plan");
    let with = |up: &str| {
        let tree = tree(&commit);
        tree.write("database/migrations/2031_01_01_000000_add.php", migration(up)).expect("a migration");
        ship(&story, &commit, &tree);
    };
    with("Schema::create('shelves', fn ($table) => $table->id());");
    let digest = |finished: &gated_deploy_lab::runner::Finished| output(finished, "plan-digest")[..16].to_owned();
    let runner = story.staging(&commit);
    let first = digest(&planned(&story, &runner));
    assert_eq!(digest(&planned(&story, &runner)), first, "the same plan has the same digest");
    let approved = |digest: &str| runner.clone().input("approval", &format!("{STAGING_PHRASE} {digest}"));

    let void = |digest: &str| {
        let finished = approved(digest).run_binary(story.binary());
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.log, &["it is for the plan", digest, "Read the new plan"]);
        assert_eq!(output(&finished, "executed"), "false");
    };
    // The same commit, built again with a migration that does something else.
    with("Schema::dropIfExists('notes');");
    void(&first);
    let second = digest(&planned(&story, &runner));
    // Somebody migrates by hand.
    story
        .lab
        .exec(
            "mariadb -e \"insert into migrations (migration, batch) values ('2031_01_01_000000_add', 9)\" lab_staging",
        )
        .expect("a row");
    void(&second);

    let third = digest(&planned(&story, &runner));
    let finished = approved(&third).run_binary(story.binary());
    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["nothing to migrate"]);
}
