//! The app to release: a built source tree on this machine, healthy or broken in one of the ways that releases are.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::docker::docker;
use crate::image::{self, Image};
use crate::system::System;
use crate::workspace::{lock, run, scratch};

const PROVIDER: &str = "app/Providers/AppServiceProvider.php";
const HEALTH: &str = "app/Http/Controllers/HealthController.php";
const MANIFEST: &str = "public/build/manifest.json";
const MIGRATIONS: &str = "database/migrations";

/// In PHP: whether nginx serves the request (its `fastcgi_params`).
pub const SERVED_BY_NGINX: &str = "str_starts_with($_SERVER['SERVER_SOFTWARE'] ?? '', 'nginx/')";

/// What is special about a source tree. Several can be combined with [`TempTree::with`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variant {
    /// Everything works.
    Healthy,
    /// Every page, `/health` too, answers 500 as soon as nginx serves the release; all checks before the switch pass, the canary too.
    Sick500,
    /// The same in this environment alone.
    Sick500In(String),
    /// Every page answers 500, whoever asks PHP-FPM; `artisan` works, so all gates pass.
    Throws,
    /// Every request takes this much longer.
    SlowBoot(Duration),
    /// `vendor/autoload.php` throws.
    BrokenAutoload,
    /// Two migrations more: the first creates the table `drafts`, the second throws.
    FailingMigration,
    /// One migration more, which creates a table of this name.
    ExtraMigration(String),
    /// This file or folder is missing.
    MissingFile(String),
    /// No answer says which commit it comes from.
    Nameless,
    /// Vite's manifest names a script that is not there.
    BrokenAsset,
}

/// A source tree of its own, gone when dropped.
#[derive(Debug)]
pub struct TempTree {
    dir: tempfile::TempDir,
}

/// A complete built source tree: `vendor/`, `public/build/`, no `.git`, and `commit` stamped into `config/release.php`.
pub fn source(commit: &str, variant: Variant) -> Result<TempTree> {
    source_for(System::default(), commit, variant)
}

/// The same with the framework and the skeleton that go with a system.
pub fn source_for(system: System, commit: &str, variant: Variant) -> Result<TempTree> {
    let image = image::ensure(system)?;
    let template = template(&image)?;
    let dir = scratch("app").context("creating a folder for the app")?;
    // Whole copies: a test may write to any file, and the gates look at times and links of each.
    run(Command::new("cp")
        .args(["--archive", "--reflink=auto", "--no-target-directory"])
        .args([&template, dir.path()]))?;
    let tree = TempTree { dir };
    tree.write("config/release.php", format!("<?php\n\nreturn ['commit' => '{commit}'];\n"))?;
    tree.with(variant)
}

impl TempTree {
    /// The root of the tree.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, given by its path in the tree; missing folders are made.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.inside(path)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    }

    /// Removes a file, or a folder with everything in it.
    pub fn remove(&self, path: &str) -> Result<()> {
        let path = self.inside(path)?;
        let removed =
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))
    }

    /// Puts `new` in the place of `old`, which must be there.
    pub fn replace(&self, path: &str, old: &str, new: &str) -> Result<()> {
        let file = self.inside(path)?;
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        if !text.contains(old) {
            bail!("{path} does not contain {old:?}");
        }
        self.write(path, text.replace(old, new))
    }

    /// Breaks (or extends) the tree in one more way.
    pub fn with(self, variant: Variant) -> Result<Self> {
        match variant {
            Variant::Healthy => {}
            Variant::Sick500 => self.run_on_every_request(&format!(
                "if ({SERVED_BY_NGINX}) {{ throw new \\RuntimeException('this release is sick'); }}"
            ))?,
            Variant::Sick500In(environment) => self.run_on_every_request(&format!(
                "if ({SERVED_BY_NGINX} && $this->app->environment('{environment}')) {{ throw new \\RuntimeException('this release is sick here'); }}"
            ))?,
            Variant::Throws => self.run_on_every_request("throw new \\RuntimeException('this release throws');")?,
            Variant::SlowBoot(extra) => self.run_on_every_request(&format!("usleep({});", extra.as_micros()))?,
            Variant::BrokenAutoload => {
                self.write(
                    "vendor/autoload.php",
                    "<?php\n\nthrow new RuntimeException('this autoloader is broken');\n",
                )?;
            }
            Variant::FailingMigration => {
                self.add_migration("2024_03_01_090000_create_drafts_table", &create_table("drafts"))?;
                self.add_migration(
                    "2024_03_02_090000_fill_drafts",
                    "throw new RuntimeException('this migration fails');",
                )?;
            }
            Variant::ExtraMigration(table) => {
                self.add_migration(&format!("2024_03_01_090000_create_{table}_table"), &create_table(&table))?;
            }
            Variant::MissingFile(path) => self.remove(&path)?,
            Variant::Nameless => {
                let line = "            'commit' => config('release.commit'),\n";
                self.replace(HEALTH, line, "")?;
                self.replace("public/healthcheck.php", ", 'commit' => $release['commit']", "")?;
            }
            Variant::BrokenAsset => self.point_manifest_at_nothing()?,
        }
        Ok(self)
    }

    fn run_on_every_request(&self, statement: &str) -> Result<()> {
        let body = format!(
            "{{\n        if (! $this->app->runningInConsole()) {{\n            {statement}\n        }}\n    }}"
        );
        self.replace(PROVIDER, "{\n    }", &body)
    }

    fn add_migration(&self, name: &str, up: &str) -> Result<()> {
        let class = format!(
            "return new class extends Illuminate\\Database\\Migrations\\Migration\n{{\n    public function up()\n    {{\n        {up}\n    }}\n}};\n"
        );
        self.write(&format!("{MIGRATIONS}/{name}.php"), format!("<?php\n\n{class}"))
    }

    fn point_manifest_at_nothing(&self) -> Result<()> {
        let path = self.inside(MANIFEST)?;
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut manifest: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        manifest["resources/js/app.js"]["file"] = "assets/app-00000000.js".into();
        self.write(MANIFEST, manifest.to_string())
    }

    fn inside(&self, path: &str) -> Result<PathBuf> {
        let path = Path::new(path);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("{} is not a path inside the tree", path.display());
        }
        Ok(self.path().join(path))
    }
}

fn create_table(name: &str) -> String {
    format!("Illuminate\\Support\\Facades\\Schema::create('{name}', fn ($table) => $table->id());")
}

/// The built app, taken out of the image once.
fn template(image: &Image) -> Result<PathBuf> {
    let template = image.work_dir()?.join("app");
    if template.exists() {
        return Ok(template);
    }
    let _lock = lock("app.lock")?;
    if !template.exists() {
        let part = template.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        let container = docker(["create", &image.name])?;
        let copied = docker(["cp", &format!("{}:/opt/lab/app", container.trim()), &part.to_string_lossy()]);
        docker(["rm", container.trim()])?;
        copied?;
        fs::rename(&part, &template).with_context(|| format!("creating {}", template.display()))?;
    }
    Ok(template)
}
