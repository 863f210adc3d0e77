//! Step 20: the files of the front end are there, and are this release's (F78).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use serde::Deserialize;

use super::{
    Visitor,
    verdict::{Problem, excerpt},
};
use crate::{
    context::Deploy,
    domain::{
        Failure, Sha256Digest,
        bundle::Manifest,
        gate::FrontEnd,
        record::{Score, key},
    },
    engine::{Done, Io, StepResult},
    errors,
    http::{Get, Reply, Site},
};

/// Where Laravel serves Vite's output, and where it lies in the bundle.
const SERVED: &str = "/build";
const BUNDLED: &str = "public/build";

/// Files asked for at the same time.
const AT_ONCE: usize = 8;

/// How often a file is asked for that got no answer, or a server error. A wrong answer counts at once.
const TRIES: u32 = 3;

/// How long one file may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// An entry of Vite's manifest, as far as it names files. `imports` name other entries, not files.
#[derive(Deserialize)]
struct Chunk {
    file: String,
    #[serde(default)]
    css: Vec<String>,
    #[serde(default)]
    assets: Vec<String>,
}

/// What is wrong with a file, and whether asking again may help.
struct Fault {
    text: String,
    passing: bool,
}

/// Why no assets are asked for.
pub const NO_FRONT_END: &str = "the policy says `front-end: none`";

/// Asks for the manifest and for every file that it names. No token goes along: visitors have none.
pub async fn assets(cx: &Deploy, io: &Io) -> StepResult {
    if cx.front_end() == FrontEnd::None {
        let none = "the release was built without a front end";
        return Ok(Done::skipped(if cx.source.is_some() { NO_FRONT_END } else { none }));
    }
    let manifest = cx.state.borrow().manifest.clone();
    served_assets(Visitor::of(&cx.ports, &cx.inputs.health).on(&cx.ports, &cx.inputs), manifest.as_deref(), io).await
}

/// The same for any site. With a bundle's manifest, what is served must be what the bundle holds.
pub async fn served_assets(visitor: Visitor<'_>, manifest: Option<&Manifest>, io: &Io) -> StepResult {
    let files = listed(visitor, manifest).await?;
    let mut open: BTreeSet<String> = files.clone();
    let mut problems = Vec::new();
    for attempt in 1..=TRIES {
        let asked: Vec<(String, Option<Fault>)> = stream::iter(std::mem::take(&mut open))
            .map(|file| async {
                let problem = check(visitor.site, &file, manifest).await.err();
                (file, problem)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (file, problem) in asked {
            match problem {
                Some(problem) if problem.passing && attempt < TRIES => drop(open.insert(file)),
                Some(problem) => problems.push(format!("{SERVED}/{file}: {}", problem.text)),
                None => {}
            }
        }
        if open.is_empty() {
            break;
        }
        io.line(format!("{} files got no valid answer and are requested again", open.len()));
        visitor.clock.sleep(visitor.health.interval).await;
    }
    let score = Score { passed: files.len() - problems.len(), total: files.len() };
    io.record(key::ASSETS, score);
    problems.sort();
    match problems.first() {
        None => Ok(Done::passed(format!("{}/{}", score.passed, score.total))),
        Some(first) => Err(errors::health::assets(score, first, &problems)),
    }
}

/// The files that the site's manifest names, relative to `build/`. The manifest must be the bundle's own, byte for byte.
async fn listed(visitor: Visitor<'_>, bundled: Option<&Manifest>) -> Result<BTreeSet<String>, Failure> {
    let reply =
        get(visitor.site, "manifest.json").await.map_err(|problem| errors::health::asset_manifest(problem.text))?;
    if let Some(entry) = bundled.and_then(|manifest| manifest.files.get(&format!("{BUNDLED}/manifest.json"))) {
        let got = Sha256Digest::of(&reply.body);
        if got != entry.sha256 {
            return Err(errors::health::asset_manifest(format!(
                "it is not the manifest of this release (SHA-256 {} instead of {})",
                got.short(),
                entry.sha256.short()
            )));
        }
    }
    let chunks: BTreeMap<String, Chunk> = match serde_json::from_slice(&reply.body) {
        Ok(chunks) => chunks,
        Err(error) => {
            let begins = Problem::quoting("it begins: ", &reply.body, "");
            let (begins, _) = visitor.quotes.described(Some(begins), visitor.clock).await.unwrap_or_default();
            // The error's own text quotes values.
            let place = format!("line {}, column {}", error.line(), error.column());
            return Err(errors::health::asset_manifest(format!("it is not a Vite manifest: {place}; {begins}")));
        }
    };
    let files: BTreeSet<String> =
        chunks.into_values().flat_map(|chunk| [vec![chunk.file], chunk.css, chunk.assets].concat()).collect();
    if files.is_empty() {
        return Err(errors::health::asset_manifest("it names no files, so nothing would be checked".to_owned()));
    }
    match files.iter().find(|file| file.is_empty() || file.starts_with('/') || file.split('/').any(|part| part == ".."))
    {
        Some(odd) => Err(errors::health::asset_manifest(format!(
            "it names `{}`, which is not a file below /build",
            excerpt(odd.as_bytes())
        ))),
        None => Ok(files),
    }
}

async fn check(site: &dyn Site, file: &str, bundled: Option<&Manifest>) -> Result<(), Fault> {
    let reply = get(site, file).await?;
    let wrong = |text: String| Err(Fault { text, passing: false });
    let kind = reply.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if !plausible(file, &kind) {
        return wrong(format!("its content type is `{kind}`"));
    }
    if reply.length == 0 {
        return wrong("it is empty".to_owned());
    }
    // A compressed body has another length; we ask for none, but a proxy may know better.
    let encoded = reply.header("content-encoding").is_some_and(|encoding| encoding != "identity");
    match bundled.and_then(|manifest| manifest.files.get(&format!("{BUNDLED}/{file}"))) {
        Some(entry) if !encoded && entry.size != reply.length => {
            wrong(format!("it has {} bytes, the bundle's has {}", reply.length, entry.size))
        }
        _ => Ok(()),
    }
}

async fn get(site: &dyn Site, file: &str) -> Result<Reply, Fault> {
    let get = Get { path: format!("{SERVED}/{file}"), timeout: ANSWER_TIMEOUT, ..Get::default() };
    let reply = site.get(get).await.map_err(|error| Fault { text: error.to_string(), passing: true })?;
    match reply.status {
        200 => Ok(reply),
        status => Err(Fault { text: format!("{status} instead of 200"), passing: status >= 500 }),
    }
}

/// Whether a file can have this content type. An application that answers every path with its home page says text/html.
fn plausible(file: &str, kind: &str) -> bool {
    match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js" | "mjs") => kind.contains("javascript") || kind.contains("ecmascript"),
        Some("css") => kind.starts_with("text/css"),
        Some("html" | "htm") => true,
        _ => !kind.starts_with("text/html"),
    }
}
