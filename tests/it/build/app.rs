//! A small Laravel app as a build job leaves it, and the stage run on it.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Instant,
};

use gated_deploy::{
    bundle::read,
    clock::SystemClock,
    config::typed::{BuildGate, RunIdentity},
    domain::{
        CommitSha, Failure, Outcome,
        bundle::{self, Manifest},
        gate::{FrontEnd, GateReport},
        record::{BundleRecord, key},
    },
    engine::{
        Events, Reader,
        event::{Body, Event},
        run_table,
    },
    stages::build_gate,
};
use tempfile::TempDir;
use tokio::sync::watch;

pub(super) const COMMIT: &str = "f0959bafc0ffee00112233445566778899aabbcc";

pub(super) fn commit() -> CommitSha {
    COMMIT.parse().expect("it is a commit")
}

/// Text that is armoured like a private key. Put together here, so that no scanner finds a key in this project.
pub(super) fn private_key() -> String {
    let data = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";
    format!("-----BEGIN {kind}-----\n{data}\n-----END {kind}-----\n", kind = "PRIVATE KEY")
}

const FILES: [(&str, &str); 17] = [
    ("artisan", "#!/usr/bin/env php\n<?php // starts the console\n"),
    ("composer.json", r#"{"name": "acme/shop", "require": {"php": "^8.2", "acme/mail": "^1.0"}}"#),
    (
        "composer.lock",
        r#"{"packages": [{"name": "acme/mail", "version": "1.2.0"}], "packages-dev": [{"name": "acme/test", "version": "3.0.0"}]}"#,
    ),
    ("package-lock.json", r#"{"lockfileVersion": 3}"#),
    ("public/index.php", "<?php require __DIR__.'/../vendor/autoload.php';\n"),
    ("public/healthcheck.php", "<?php echo 'ok';\n"),
    ("public/build/manifest.json", MANIFEST),
    ("public/build/assets/app-BXl3rVqT.js", "console.log('shop')\n"),
    ("public/build/assets/app-C9sDk2_x.css", "body{margin:0}\n"),
    ("public/build/assets/logo-Dx4kXJAl.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>\n"),
    ("vendor/autoload.php", "<?php return new Loader;\n"),
    (
        "vendor/composer/installed.json",
        r#"{"packages": [{"name": "acme/mail", "version": "1.2.0"}], "dev": false, "dev-package-names": []}"#,
    ),
    ("vendor/composer/platform_check.php", "<?php\nif (!(PHP_VERSION_ID >= 80200)) {\n}\n"),
    ("bootstrap/app.php", "<?php return new Application;\n"),
    ("config/app.php", "<?php return ['name' => 'Shop'];\n"),
    ("routes/web.php", "<?php Route::get('/', fn () => 'shop');\n"),
    ("app/Models/Order.php", "<?php class Order {}\n"),
];

const MANIFEST: &str = r#"{
  "resources/js/app.js": {
    "file": "assets/app-BXl3rVqT.js", "src": "resources/js/app.js", "isEntry": true,
    "css": ["assets/app-C9sDk2_x.css"], "assets": ["assets/logo-Dx4kXJAl.svg"]
  }
}"#;

/// A workspace with a built app in `shop/`, and an output folder outside of it.
pub(super) struct App {
    workspace: TempDir,
    pub(super) output: PathBuf,
}

impl App {
    /// Everything is in order.
    pub(super) fn sound() -> Self {
        let workspace = tempfile::tempdir().expect("a temporary folder");
        let app = Self { output: workspace.path().join("out"), workspace };
        for (path, text) in FILES {
            app.put(path, text);
        }
        app.executable("artisan");
        app
    }

    pub(super) fn source(&self) -> PathBuf {
        self.workspace.path().join("shop")
    }

    pub(super) fn workspace(&self) -> &Path {
        self.workspace.path()
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.source().join(path)
    }

    pub(super) fn put(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is below the source")).expect("folders can be made");
        fs::write(path, contents).expect("files can be written");
        self
    }

    pub(super) fn link(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.path(path)).expect("links can be made");
        self
    }

    pub(super) fn remove(&self, path: &str) -> &Self {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it was there");
        self
    }

    pub(super) fn executable(&self, path: &str) -> &Self {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o775)).expect("modes can be set");
        self
    }

    pub(super) fn inputs(&self) -> BuildGate {
        BuildGate {
            commit: commit(),
            event: Some("push".to_owned()),
            source: self.source(),
            output: self.output.clone(),
            workspace: self.workspace.path().to_owned(),
            artifact_name: "deployment-bundle".to_owned(),
            shared: ["storage", "public/uploads"].map(str::to_owned).into(),
            front_end: FrontEnd::Vite,
            run: RunIdentity::default(),
        }
    }

    pub(super) fn run(&self) -> Run {
        run(self.inputs(), watch::channel(false).1)
    }

    pub(super) fn bundle(&self) -> PathBuf {
        self.output.join(bundle::file_name(&commit()))
    }

    /// Runs the stage, which has to pass, and reads the manifest of its bundle.
    pub(super) fn manifest(&self) -> Manifest {
        self.run().passed();
        read::inspect(&self.bundle()).expect("a bundle of our own is in order").0
    }

    /// Names of what lies in the output folder.
    pub(super) fn written(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.output)
            .map(|folder| folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }
}

/// What a run told.
pub(super) struct Run {
    pub(super) outcome: Outcome,
    events: Vec<Event>,
}

pub(super) fn run(inputs: BuildGate, cancel: watch::Receiver<bool>) -> Run {
    struct Keep(Rc<RefCell<Vec<Event>>>);
    impl Reader for Keep {
        fn read(&mut self, event: &Event) {
            self.0.borrow_mut().push(event.clone());
        }
    }
    let kept = Rc::new(RefCell::new(Vec::new()));
    let began = Instant::now();
    let events = Events::new(Box::new(move || (0, began.elapsed())), vec![Box::new(Keep(kept.clone()))]);
    let survey = build_gate::Survey::new(inputs, Rc::new(SystemClock::since(began)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let decide = async |survey| build_gate::decide(survey);
    let outcome = runtime.block_on(run_table("build-gate", &build_gate::table(), survey, decide, &events, cancel));
    let events = kept.take();
    Run { outcome, events }
}

impl Run {
    #[track_caller]
    pub(super) fn passed(&self) -> &Self {
        assert_eq!(self.outcome, Outcome::Passed);
        self
    }

    /// The refusal, which changed nothing.
    #[track_caller]
    pub(super) fn refused(&self) -> &Failure {
        assert_eq!(self.outcome.exit_code(), 1, "{:?}", self.outcome);
        self.outcome.cause().expect("a refusal has a cause")
    }

    /// Everything that the refusal says, in one text.
    #[track_caller]
    pub(super) fn refusal_text(&self) -> String {
        let failure = self.refused();
        format!("{failure}\n{}\n{}", failure.details.join("\n"), failure.hint.as_deref().unwrap_or_default())
    }

    fn record(&self, wanted: &str) -> Option<&serde_json::Value> {
        self.events.iter().find_map(|event| match &event.body {
            Body::Recorded { key, value, .. } if key == wanted => Some(value),
            _ => None,
        })
    }

    pub(super) fn gates(&self) -> GateReport {
        let value = self.record(key::GATES).expect("the gates are told").clone();
        serde_json::from_value(value).expect("it is a gate report")
    }

    pub(super) fn bundle_fact(&self) -> Option<BundleRecord> {
        self.record(key::BUNDLE).map(|value| serde_json::from_value(value.clone()).expect("it is a bundle"))
    }

    pub(super) fn lines(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match &event.body {
                Body::Line { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn warnings(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match &event.body {
                Body::Warned { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

/// Runs a tool of the system and gives what it printed.
#[track_caller]
pub(super) fn tool(command: &mut Command) -> String {
    let output = command.output().expect("the tool is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}
