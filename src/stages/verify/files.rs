//! Which files of a release differ from its bundle's.

use std::time::Duration;

use crate::{
    context::Survey,
    domain::{
        Failure, RemotePath,
        bundle::{MANIFEST_PATH, Manifest},
    },
    engine::step::Io,
    server::remote,
    transport::shell::{Answer, Script},
};

/// So many files of a kind are named.
const NAMED: usize = 20;

/// What a release has that its bundle has not: links that the action makes, and what the app's caches are.
const OURS: [&str; 4] = [MANIFEST_PATH, ".env", "bootstrap/cache", "public/storage"];

/// Files that differ.
pub(super) struct Differences {
    /// "2 changed, 1 added"
    pub(super) counted: String,
    pub(super) lines: Vec<String>,
}

/// Compares a folder with the manifest that lies in it.
pub(super) async fn differences(
    cx: &Survey,
    io: &Io,
    dir: &RemotePath,
    manifest: Option<&str>,
) -> Result<Differences, Failure> {
    let read = manifest.and_then(|text| serde_json::from_str::<Manifest>(text).ok());
    let Some(manifest) = read.filter(|manifest| manifest.version == Manifest::VERSION) else {
        return Ok(Differences {
            counted: "which files differ is not known, because its manifest is missing or cannot be read".to_owned(),
            lines: vec![format!("{MANIFEST_PATH} cannot be read")],
        });
    };
    let skipped: Vec<&str> = OURS.into_iter().chain(cx.inputs.server.shared.iter().map(String::as_str)).collect();
    let script = Script::new("verify-tree", include_str!("tree.sh"))
        .repeatable()
        .var("DIR", dir.as_str())
        .list("LIST", records(&manifest, &skipped))
        .list("SKIP", &skipped)
        .var("MOST", NAMED.to_string())
        .timeout(Duration::from_secs(900));
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("comparing {dir} with its manifest")).await?;
    Ok(described(&answer))
}

/// The records of the bundle's files and links, as the script makes them of the folder.
fn records(manifest: &Manifest, skipped: &[&str]) -> Vec<String> {
    let is_ours = |path: &str| {
        skipped.iter().any(|ours| path.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let files = manifest.files.iter().filter(|(path, _)| !is_ours(path)).flat_map(|(path, file)| {
        [format!("{} ./{path}", if file.executable { 'x' } else { 'f' }), format!("{}  ./{path}", file.sha256)]
    });
    let links = manifest.links.iter().filter(|(path, _)| !is_ours(path));
    files.chain(links.map(|(path, target)| format!("l ./{path}\t{target}"))).collect()
}

fn described(answer: &Answer) -> Differences {
    let mut counted = Vec::new();
    let mut lines = Vec::new();
    for kind in ["changed", "added", "missing"] {
        let count: usize =
            answer.get(&format!("{kind}-count")).and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        if count == 0 {
            continue;
        }
        counted.push(format!("{count} {kind}"));
        lines.extend(answer.all(kind).map(|path| format!("{kind}: {path}")));
        if count > NAMED {
            lines.push(format!("{kind}: and {} more", count - NAMED));
        }
    }
    // The digest also covers folders, where links of the action lead, and the manifest itself.
    if counted.is_empty() {
        counted.push("no file differs from its manifest, so the manifest, a folder or a link was changed".to_owned());
    }
    Differences { counted: counted.join(", "), lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_counted_and_named_up_to_a_limit() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut records = vec![pair("changed-count", "2"), pair("changed", "a.php"), pair("changed", "b.php")];
        records.push(pair("added-count", "0"));
        records.push(pair("missing-count", "25"));
        records.extend((0..NAMED).map(|number| pair("missing", &format!("m{number}"))));
        let described = described(&Answer::new(records));
        assert_eq!(described.counted, "2 changed, 25 missing");
        assert_eq!((described.lines.len(), described.lines[1].as_str()), (2 + NAMED + 1, "changed: b.php"));
        assert_eq!(described.lines.last().map(String::as_str), Some("missing: and 5 more"));
        let none = super::described(&Answer::new(vec![pair("changed-count", "0")]));
        assert!(none.counted.starts_with("no file differs") && none.lines.is_empty());
    }
}
