//! `cargo xtask field`: one release pipeline on many kinds of servers and apps, as a matrix.
//!
//! A shape is a folder in `lab/shapes`: `shape.sh` runs as root on a server that nothing was released to yet, and its first lines say what
//! is expected; `app/` is laid over the lab's app, `policy.yml` becomes the policy file, and `check.sh` must succeed after the second release.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gated_deploy_lab::{
    Options, System,
    app::{self, Variant},
    image,
    runner::{Finished, Runner},
    story::{Built, Story, commit, push},
};

use crate::{shell, test::spent};

/// Servers at a time: they mostly wait for each other on two cores.
const LANES: usize = 2;

/// The rows of an audit that look at the server and the site.
const SERVER_ROWS: [&str; 4] = ["survey-server", "live-release", "site-health", "health-token"];
/// What it finds after a rollback by hand, on every shape.
const NEWEST: &str = "newest-not-live";

#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    /// Only shapes whose names begin so; several divided by commas
    #[arg(long, value_name = "SHAPES", value_delimiter = ',')]
    only: Vec<String>,
    /// Print the log of each run that went another way than expected
    #[arg(long)]
    logs: bool,
}

/// What is tried on each shape, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Plan,
    Preflight,
    First,
    Second,
    Unhealthy,
    Rollback,
    Audit,
}

impl Cell {
    const ALL: [(Self, &str); 7] = [
        (Self::Plan, "plan"),
        (Self::Preflight, "preflight"),
        (Self::First, "first"),
        (Self::Second, "second"),
        (Self::Unhealthy, "unhealthy"),
        (Self::Rollback, "rollback"),
        (Self::Audit, "audit"),
    ];

    fn of(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(cell, _)| *cell).with_context(|| format!("`{name}` is no cell of the matrix"))
    }

    /// The exit code of a run that does what it is for.
    fn exit_code(self) -> i32 {
        if self == Self::Unhealthy { 3 } else { 0 }
    }
}

#[derive(Debug, Default)]
struct Shape {
    name: String,
    what: String,
    folder: PathBuf,
    system: System,
    script: String,
    inputs: Vec<(String, String)>,
    /// What of the lab's app this one does not have.
    removes: Vec<String>,
    /// The code with which a cell must be refused.
    refused: BTreeMap<Cell, String>,
    /// What an audit finds here and not on the default shape.
    findings: BTreeSet<String>,
}

/// How a cell ended.
enum Ended {
    Works,
    RefusedRightly(String),
    Wrong(String),
}

impl Ended {
    fn word(&self) -> String {
        match self {
            Self::Works => "works".to_owned(),
            Self::RefusedRightly(code) => format!("refused rightly ({code})"),
            Self::Wrong(_) => "WRONG".to_owned(),
        }
    }
}

pub(crate) fn run(root: &Path, asked: &Asked) -> Result<()> {
    let shapes = read(&root.join("lab/shapes"), &asked.only)?;
    shell::run("cargo", &["build", "--locked", "--quiet", "--package", "gated-deploy", "--package", "xtask"])?;
    let binary = crate::built_binary()?;
    for shape in &shapes {
        image::ensure(shape.system).with_context(|| format!("building the server of {}", shape.name))?;
    }
    let (queue, rows) = (Mutex::new(VecDeque::from_iter(shapes)), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(shape) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                    let began = Instant::now();
                    let row = tried(&shape, root, &binary);
                    println!("field: {} took {}", shape.name, spent(began.elapsed()));
                    if let Ok(mut rows) = rows.lock() {
                        rows.insert(shape.name.clone(), (shape, row, began.elapsed()));
                    }
                }
            });
        }
    });
    let rows = rows.into_inner().map_err(|_| anyhow!("a lane panicked"))?;
    let wrong = print(&rows, asked.logs);
    ensure!(wrong == 0, "{wrong} cells went another way than their shape expects");
    gated_deploy_lab::stop_own_daemon()
}

type Row = Result<BTreeMap<Cell, Ended>>;

/// The matrix, and what went wrong. Gives the number of cells that did.
fn print(rows: &BTreeMap<String, (Shape, Row, Duration)>, logs: bool) -> usize {
    let heads: Vec<&str> = Cell::ALL.iter().map(|(_, name)| *name).collect();
    println!("\n| shape | {} | time |\n|---|{}---|", heads.join(" | "), "---|".repeat(heads.len()));
    let mut wrong = Vec::new();
    for (name, (shape, row, took)) in rows {
        let cells: Vec<String> = match row {
            Ok(cells) => {
                wrong.extend(cells.iter().filter_map(|(cell, ended)| match ended {
                    Ended::Wrong(text) => Some((format!("{name}, {cell:?}"), text.clone())),
                    _ => None,
                }));
                Cell::ALL.iter().map(|(cell, _)| cells.get(cell).map_or("-".to_owned(), Ended::word)).collect()
            }
            Err(error) => {
                wrong.push((name.clone(), format!("{error:#}")));
                vec!["could not be prepared".to_owned()]
            }
        };
        println!("| {name}: {} | {} | {} |", shape.what, cells.join(" | "), spent(*took));
    }
    for (place, text) in &wrong {
        let shown = if logs { text } else { text.lines().next().unwrap_or_default() };
        println!("\n{place}: {shown}");
    }
    wrong.len()
}

/// The shapes that are asked for.
fn read(folder: &Path, only: &[String]) -> Result<Vec<Shape>> {
    let mut shapes = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let folder = entry.context("listing the shapes")?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if only.is_empty() || only.iter().any(|begin| name.starts_with(begin.as_str())) {
            let text = fs::read_to_string(folder.join("shape.sh"));
            let text = text.with_context(|| format!("reading the script of {name}"))?;
            shapes.push(parse(name.clone(), folder, &text).with_context(|| format!("the first lines of {name}"))?);
        }
    }
    ensure!(!shapes.is_empty(), "no shape's name begins with {}", only.join(" or "));
    shapes.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(shapes)
}

/// `# what: ...`, `# debian: release`, `# init: systemd`, `# input: name=value`, `# refused: cells: code`, `# finds: id id`,
/// `# removes: path path`.
fn parse(name: String, folder: PathBuf, text: &str) -> Result<Shape> {
    let mut shape = Shape { name, folder, script: text.to_owned(), ..Shape::default() };
    for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        match key {
            "what" => value.clone_into(&mut shape.what),
            "debian" => shape.system.debian = value.parse()?,
            "init" => {
                ensure!(value == "systemd", "`{value}` starts no services here; leave the line out or write systemd");
                shape.system.systemd = true;
            }
            "input" => {
                let (name, value) = value.split_once('=').context("an input is written name=value")?;
                shape.inputs.push((name.to_owned(), value.replace("\\n", "\n")));
            }
            "refused" => {
                let (cells, code) = value.split_once(": ").context("a refusal is written cells: code")?;
                for cell in cells.split_whitespace() {
                    shape.refused.insert(Cell::of(cell)?, code.to_owned());
                }
            }
            "removes" => shape.removes.extend(value.split_whitespace().map(str::to_owned)),
            "finds" => shape.findings.extend(value.split_whitespace().map(str::to_owned)),
            _ => bail!("`{key}` is no key"),
        }
    }
    ensure!(!shape.what.is_empty(), "it does not say what it is (`# what: ...`)");
    Ok(shape)
}

/// Everything on a server of one shape.
fn tried(shape: &Shape, root: &Path, binary: &Path) -> Row {
    let story = Story::begin(binary, root, Options { system: shape.system, seed: false, ..Options::default() })?;
    story.lab.exec(&format!("set -eu\ncd /var/www/staging\n{}", shape.script)).context("shaping the server")?;
    let mut place = Place { shape, story: &story, ended: BTreeMap::new() };
    let (first, second, sick) = (commit("field one"), commit("field two"), commit("field three"));
    place.ship(&first, Variant::Healthy)?;
    place.run(Cell::Plan, &place.step("deploy-staging", &first)?.input("approval", ""));
    place.run(Cell::Preflight, &place.step("preflight", &first)?);
    if place.run(Cell::First, &place.step("deploy-staging", &first)?) {
        place.ship(&second, Variant::Healthy)?;
        if place.run(Cell::Second, &place.step("deploy-staging", &second)?) {
            place.check(Cell::Second)?;
        }
        place.ship(&sick, Variant::Sick500)?;
        place.run(Cell::Unhealthy, &place.step("deploy-staging", &sick)?);
        place.run(Cell::Rollback, &place.step("rollback", &second)?);
    }
    let audit = place.step("audit", &first)?;
    let finished = audit.run_binary(place.story.binary());
    let ended = place.audited(&audit, &finished);
    place.ended.insert(Cell::Audit, ended);
    Ok(place.ended)
}

/// A server of one shape, and how the cells on it ended.
struct Place<'a> {
    shape: &'a Shape,
    story: &'a Story,
    ended: BTreeMap<Cell, Ended>,
}

impl Place<'_> {
    /// Builds the app, with the shape's files in it.
    fn ship(&self, commit: &str, variant: Variant) -> Result<()> {
        let tree = app::source_for(self.shape.system, commit, variant)?;
        let files = self.shape.folder.join("app");
        for file in walkdir::WalkDir::new(&files).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
            let name = file.path().strip_prefix(&files).context("a file of the shape")?;
            tree.write(&name.to_string_lossy(), fs::read(file.path()).context("reading a file of the shape")?)?;
        }
        for path in &self.shape.removes {
            tree.remove(path)?;
        }
        let policy = self.policy()?;
        let job = self.story.runner(commit).input("stage", "build-gate").event("push", push(commit));
        let job = policy.iter().fold(job, |job, text| job.file(".github/gated-deploy.yml", text));
        self.story.publish(&Built::run(job, commit, &tree, self.story.binary())?)?;
        Ok(())
    }

    fn policy(&self) -> Result<Option<String>> {
        let file = self.shape.folder.join("policy.yml");
        file.is_file().then(|| fs::read_to_string(&file)).transpose().context("reading the shape's policy")
    }

    /// A step of this stage with what it takes.
    fn step(&self, stage: &str, commit: &str) -> Result<Runner> {
        let site = self.story.staging_site();
        let mut inputs = self.story.staging_inputs();
        inputs.extend([("stage", stage.to_owned())]);
        if stage != "deploy-staging" {
            inputs.extend([("environment", site.env_name)]);
        }
        inputs.retain(|name, _| match stage {
            "preflight" => !["approval", "grace-period"].contains(name),
            "rollback" => !name.starts_with("build-") && *name != "github-token",
            "audit" => !name.starts_with("build-") && !["approval", "grace-period"].contains(name),
            _ => true,
        });
        let runner = self
            .story
            .runner(commit)
            .secret(self.story.lab.private_key())
            .secret(&site.health_token)
            .event("workflow_dispatch", serde_json::json!({ "inputs": {}, "ref": "refs/heads/develop" }));
        let runner = inputs.iter().fold(runner, |runner, (name, value)| runner.input(name, value));
        let own = self.shape.inputs.iter().filter(|(name, _)| {
            stage == "deploy-staging" || inputs.contains_key(name.as_str()) || !name.starts_with("grace")
        });
        let runner = own.fold(runner, |runner, (name, value)| runner.input(name, value));
        Ok(self.policy()?.iter().fold(runner, |runner, text| runner.file(".github/gated-deploy.yml", text)))
    }

    /// An audit works if it finds on the server what its shape says, and nothing else. What it finds in the repository is another matter.
    fn audited(&self, step: &Runner, finished: &Finished) -> Ended {
        let wrong = |why: String| Ended::Wrong(format!("{why}\n{}", finished.log));
        let Some(file) = finished.outputs.get("report-json").filter(|file| !file.is_empty()) else {
            return self.judged(Cell::Audit, finished);
        };
        let text = fs::read_to_string(step.workspace().join(file)).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(all) = report["audit"]["findings"].as_array() else {
            return wrong("the report has no findings".to_owned());
        };
        let met = |finding: &&serde_json::Value| {
            finding["status"] != "met"
                && finding["step"].as_str().is_some_and(|step| SERVER_ROWS.contains(&step))
                && finding["id"] != NEWEST
        };
        let found: BTreeSet<String> =
            all.iter().filter(met).filter_map(|finding| finding["id"].as_str()).map(str::to_owned).collect();
        if found == self.shape.findings {
            return Ended::Works;
        }
        let names = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        wrong(format!("finds: {}; its shape says: {}", names(&found), names(&self.shape.findings)))
    }

    /// Whether the run did what it is for.
    fn run(&mut self, cell: Cell, runner: &Runner) -> bool {
        let finished = runner.run_binary(self.story.binary());
        let ended = self.judged(cell, &finished);
        let works = matches!(ended, Ended::Works);
        self.ended.insert(cell, ended);
        works
    }

    /// What only the server itself can say of the shape, as root.
    fn check(&mut self, cell: Cell) -> Result<()> {
        let file = self.shape.folder.join("check.sh");
        if file.is_file() {
            let script = fs::read_to_string(&file).context("reading the shape's check")?;
            if let Err(error) = self.story.lab.exec(&format!("set -eu\ncd /var/www/staging\n{script}")) {
                self.ended.insert(cell, Ended::Wrong(format!("check.sh failed\n{error:#}")));
            }
        }
        Ok(())
    }

    fn judged(&self, cell: Cell, finished: &Finished) -> Ended {
        let wrong = |why: String| Ended::Wrong(format!("{why}\n{}", finished.log));
        match self.shape.refused.get(&cell) {
            // 1 for what is refused, and 5 where something could not be asked: nothing changed in either.
            Some(code) if ![1, 5].contains(&finished.exit_code) => {
                wrong(format!("ended with {}, not refused ({code})", finished.exit_code))
            }
            Some(code) if !finished.log.contains(&format!("code: {code}")) => {
                wrong(format!("refused, but not with {code}"))
            }
            Some(code) => Ended::RefusedRightly(code.clone()),
            None if finished.exit_code != cell.exit_code() => {
                let code =
                    finished.log.lines().find_map(|line| line.trim().strip_prefix("code: ")).unwrap_or("no code");
                wrong(format!("ended with {}, {code}", finished.exit_code))
            }
            None => Ended::Works,
        }
    }
}
