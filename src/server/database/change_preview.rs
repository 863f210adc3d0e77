//! The change preview: files, migrations, and what they cost. Read in the survey, so that the plan shows it and the approval is bound to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
};

use crate::{
    bundle::read,
    context::{Deploy, Opened, Survey, SurveyState},
    domain::{
        Failure,
        bundle::{MANIFEST_PATH, Manifest},
        migration::{Class, Measured, Reading, read},
        record::{BackupEstimate, ChangePreview, FileDelta, HealthRoute, PendingMigration, key},
        route,
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::{
        database::{self, Described, NO_MIGRATION},
        inspect::NOT_SURVEYED,
        remote,
    },
    transport::shell::{Answer, Script},
};

/// Where Laravel keeps an app's own migrations. Packages name other folders, which the live release knows.
const MIGRATIONS: &str = "database/migrations";
/// Where packages lie.
const VENDOR: &str = "vendor/";
/// What visitors can ask for.
const PUBLIC: &str = "public/";
/// Most bytes of one migration's source; a longer one is not read.
const LONGEST: u64 = 256 * 1024;

/// Most files that are named.
const NAMED: usize = 50;

/// Compares the bundle with the live release.
pub async fn look(cx: &Survey, io: &Io) -> StepResult {
    let (opened, server) = {
        let found = cx.state.borrow();
        let SurveyState { opened, server, .. } = &*found;
        (opened.clone(), server.as_ref().map(|server| server.live_tree.clone()))
    };
    let Some(opened) = opened else {
        return Ok(Done::skipped("there is no bundle: files and migrations are not known"));
    };
    let Some(tree) = server else { return Ok(Done::skipped(NOT_SURVEYED)) };
    let mut change_preview = match &tree {
        Some(tree) => with_live(cx, io, &opened, tree).await?,
        None => first_release(cx, &opened)?,
    };
    let on_staging = cx.state.borrow().staging.as_ref().and_then(|staging| staging.measured.clone());
    if let Some(on_staging) = on_staging {
        change_preview.migrations.iter_mut().for_each(|pending| pending.measured = measured(&on_staging, pending));
        change_preview.migrations_measured = true;
    }
    change_preview.health = health_routes(&opened, &cx.inputs.health.paths)?;
    change_preview.free_bytes = cx.state.borrow().server.as_ref().map_or(0, |server| server.free_bytes);
    change_preview.confirm_within_seconds = cx.inputs.server.confirm_within.as_secs();
    let text = describe(&change_preview);
    let worst = change_preview.migrations.iter().max_by_key(|migration| migration.class);
    let worst = worst.map(|worst| (worst.class, format!("{}: {}", worst.name, worst.class.meaning())));
    io.record(key::CHANGE_PREVIEW, &change_preview);
    cx.state.borrow_mut().change_preview = Some(Rc::new(change_preview));
    Ok(match worst {
        Some((Class::Destructive | Class::Contract, worst)) => Done::warned(format!("{text}; {worst}")),
        _ => Done::passed(text),
    })
}

fn first_release(cx: &Survey, opened: &Opened) -> Result<ChangePreview, Failure> {
    let manifest = &opened.manifest;
    let all = if cx.inputs.server.migrate { migrations(manifest, &[MIGRATIONS]) } else { BTreeMap::new() };
    Ok(ChangePreview {
        files: Some(FileDelta { added: manifest.files.len(), ..FileDelta::default() }),
        migrations: read_sources(opened, all)?,
        migrations_unknown: (!cx.inputs.server.migrate).then(|| NO_MIGRATION.to_owned()),
        ..ChangePreview::default()
    })
}

async fn with_live(cx: &Survey, io: &Io, opened: &Opened, tree: &str) -> Result<ChangePreview, Failure> {
    let doing = format!("reading the live release in {tree}");
    let script =
        Script::new("change-preview", concat!(include_str!("described.sh"), include_str!("change_preview.sh")))
            .repeatable()
            .var("TREE", tree)
            .var("PHP", &cx.inputs.server.php)
            .var("ENV_FILE", cx.inputs.layout.env_file().as_str())
            .var("MANIFEST", MANIFEST_PATH)
            .var("APP_PHP", remote::APP)
            .var("MIGRATIONS_PHP", include_str!("migrations.php"))
            .var("DATABASE_PHP", database::PROGRAM)
            .hiding(cx.inputs.layout.env_file());
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    let mut change_preview = ChangePreview { files: delta(&answer, &opened.manifest), ..ChangePreview::default() };
    let kib = |text: Option<&str>| text.and_then(remote::kib).map(|kib| kib * 1024);
    let described = Described::read(&answer, cx.inputs.layout.env_file());
    cx.state.borrow_mut().dump_judged = true;
    // A release would be refused when it backs the database up.
    if !described.obstacles.is_empty() {
        return Err(errors::preflight::refusal(&doing, described.obstacles));
    }
    if let Some(unseen) = described.unseen {
        io.warning(unseen);
    }
    let live = kib(cx.state.borrow().looked.as_ref().and_then(|looked| looked.answer.get("live-kib")));
    change_preview.backup =
        live.map(|app_bytes| BackupEstimate { app_bytes, database_bytes: described.kib.map(|kib| kib * 1024) });
    if !cx.inputs.server.migrate {
        change_preview.migrations_unknown = Some(NO_MIGRATION.to_owned());
        return Ok(change_preview);
    }
    let Some(ran) = answer.get("ran") else {
        io.warning(errors::database::migrations_not_listed());
        change_preview.migrations_unknown = Some("which migrations are pending is not known".to_owned());
        return Ok(change_preview);
    };
    let mut places: Vec<&str> = answer.get("paths").unwrap_or_default().lines().collect();
    if places.is_empty() {
        io.warning(errors::database::package_migrations_not_listed());
        places.push(MIGRATIONS);
    }
    let mut pending = migrations(&opened.manifest, &places);
    pending.retain(|name, _| ran.lines().all(|line| line != name));
    change_preview.migrations = read_sources(opened, pending)?;
    for package in newcomers(&answer, &opened.manifest) {
        io.warning(errors::database::new_package_migrates(package, &format!("{VENDOR}{package}")));
    }
    Ok(change_preview)
}

/// The migrations in these folders, or that these files are, by name: Laravel runs them in that order, wherever they lie. Folders
/// below a folder are not looked into by Laravel either.
fn migrations<'a>(manifest: &'a Manifest, places: &[&str]) -> BTreeMap<String, &'a str> {
    let named = |path: &'a String| {
        let (folder, file) = path.rsplit_once('/')?;
        let name = file.strip_suffix(".php")?;
        places.iter().any(|place| *place == folder || place == path).then(|| (name.to_owned(), path.as_str()))
    };
    manifest.files.keys().filter_map(named).collect()
}

/// Packages with migrations that the live release does not have, as `vendor/name`.
fn newcomers<'a>(answer: &Answer, new: &'a Manifest) -> BTreeSet<&'a str> {
    let Some(old) = answer.get("manifest").and_then(|text| serde_json::from_str::<Manifest>(text).ok()) else {
        return BTreeSet::new();
    };
    let package = |path: &'a String| {
        let rest = path.strip_prefix(VENDOR)?;
        let (name, inside) = rest.match_indices('/').nth(1).map(|(at, _)| (&rest[..at], &rest[at + 1..]))?;
        let migration = inside.ends_with(".php") && inside.split('/').rev().nth(1) == Some("migrations");
        let folder = format!("{VENDOR}{name}/");
        (migration && !old.files.keys().any(|path| path.starts_with(&folder))).then_some(name)
    };
    new.files.keys().filter_map(package).collect()
}

fn delta(answer: &Answer, new: &Manifest) -> Option<FileDelta> {
    if let Some(old) = answer.get("manifest").and_then(|text| serde_json::from_str::<Manifest>(text).ok()) {
        let gone: Vec<&String> = old.files.keys().filter(|path| !new.files.contains_key(*path)).collect();
        let changed = |(path, file): &(&String, &crate::domain::bundle::FileEntry)| {
            old.files.get(*path).is_some_and(|before| before.sha256 != file.sha256)
        };
        return Some(FileDelta {
            added: new.files.keys().filter(|path| !old.files.contains_key(*path)).count(),
            changed: new.files.iter().filter(changed).count(),
            removed: Some(gone.len()),
            public_gone: gone.into_iter().filter(|path| path.starts_with(PUBLIC)).cloned().collect(),
        });
    }
    let public: Vec<&str> = answer.get("public")?.lines().collect();
    let gone = public.into_iter().filter(|path| !new.files.contains_key(*path)).map(str::to_owned).collect();
    Some(FileDelta { added: 0, changed: 0, removed: None, public_gone: gone })
}

/// For `fuzzing`: what a plan says of the files of a bundle, whatever the live release has.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(answer: &Answer) {
    let Some(new) = answer.get("new").and_then(|text| serde_json::from_str::<Manifest>(text).ok()) else { return };
    if let Some(FileDelta { added, changed, public_gone, .. }) = delta(answer, &new) {
        assert!(added + changed <= new.files.len());
        assert!(public_gone.iter().all(|path| !new.files.contains_key(path)));
    }
    assert!(newcomers(answer, &new).iter().all(|package| package.matches('/').count() == 1));
    let places: Vec<&str> = answer.all("path").collect();
    assert!(migrations(&new, &places).values().all(|path| new.files.contains_key(*path)));
}

/// Where the bundle has the health paths, by what its own files say. Nothing of it is run.
fn health_routes(opened: &Opened, paths: &[String]) -> Result<Vec<HealthRoute>, Failure> {
    let files = &opened.manifest.files;
    let defining = files.keys().filter(|file| route::defines_routes(file)).map(String::as_str).collect();
    let sources = sources(&opened.bundle.path, &defining).map_err(|error| {
        let doing = "reading the routes in the bundle";
        errors::migration_result::unreadable(doing, &opened.bundle.path, &error)
    })?;
    let of = |path: &String| {
        let public = Some(route::public_file(path)).filter(|file| files.contains_key(file));
        let named =
            || sources.iter().find(|(file, source)| route::names(file, source, path)).map(|(file, _)| file.clone());
        HealthRoute { path: path.clone(), file: public.or_else(named) }
    };
    Ok(paths.iter().map(of).collect())
}

/// Reads the pending migrations in the bundle, as text.
fn read_sources(opened: &Opened, pending: BTreeMap<String, &str>) -> Result<Vec<PendingMigration>, Failure> {
    let doing = "reading the pending migrations in the bundle";
    let sources = sources(&opened.bundle.path, &pending.values().copied().collect())
        .map_err(|error| errors::migration_result::unreadable(doing, &opened.bundle.path, &error))?;
    let of = |(name, path): (String, &str)| {
        let sha256 = opened.manifest.files.get(path).map(|file| file.sha256.clone());
        let unread = || Reading {
            class: Class::Unknown,
            calls: vec![format!("unknown: its source is not UTF-8 text of at most {} KiB", LONGEST / 1024)],
            connections: Vec::new(),
        };
        let Reading { class, calls, connections } = sources.get(path).map_or_else(unread, |source| read(source));
        PendingMigration { name, file: path.to_owned(), sha256, class, calls, connections, measured: None }
    };
    Ok(pending.into_iter().map(of).collect())
}

/// The sources of some files by their paths, out of a bundle that was read and compared before.
fn sources(bundle: &Path, wanted: &BTreeSet<&str>) -> std::io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let give = |path: String, contents: Vec<u8>| {
        if let Ok(source) = String::from_utf8(contents) {
            found.insert(path, source);
        }
        found.len() < wanted.len()
    };
    if !wanted.is_empty() {
        read::each_file(bundle, |path, size| size <= LONGEST && wanted.contains(path), give)?;
    }
    Ok(found)
}

/// What the same file did on staging, the last time that it ran there.
pub(crate) fn measured(on_staging: &[Measured], pending: &PendingMigration) -> Option<Measured> {
    let same = |measured: &&Measured| measured.name == pending.name && measured.sha256 == pending.sha256;
    on_staging.iter().rev().find(same).filter(|measured| measured.sha256.is_some()).cloned()
}

fn describe(change_preview: &ChangePreview) -> String {
    let mut parts = Vec::new();
    if let Some(files) = &change_preview.files {
        parts.push(files.describe());
    }
    parts.push(match (change_preview.migrations.as_slice(), &change_preview.migrations_unknown) {
        (_, Some(why)) => why.clone(),
        ([], None) => "no migration is pending".to_owned(),
        (pending, None) => {
            let worst = pending.iter().map(|migration| migration.class).max().unwrap_or(Class::Unknown);
            let plural = if pending.len() == 1 { "" } else { "s" };
            format!("{} pending migration{plural}, {}", pending.len(), worst.word())
        }
    });
    parts.join("; ")
}

/// What the plan prints for the new folder.
pub fn files_preview(cx: &Deploy) -> Vec<String> {
    let Some(files) = cx.plan.change_preview.as_ref().and_then(|change_preview| change_preview.files.as_ref()) else {
        return Vec::new();
    };
    let mut lines = vec![files.describe()];
    lines.extend(files.public_gone.iter().take(NAMED).map(|path| format!("public file removed: {path}")));
    let more = files.public_gone.len().saturating_sub(NAMED);
    if more > 0 {
        lines.push(format!("and {more} more public files"));
    }
    lines
}
