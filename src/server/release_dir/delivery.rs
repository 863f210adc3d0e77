//! Delivery by content: what the live release has does not travel. The server copies it from there, and the digest of the whole tree decides as ever.

use std::{collections::BTreeSet, time::Duration};

use super::part::{self, Part};
use crate::{
    bundle::{
        pace::{Background, Pace},
        part as archive,
    },
    config::typed::Delivery,
    context::Deploy,
    domain::{
        Failure, FailureKind,
        bundle::{Bundle, Canonical, FileEntry, Manifest},
    },
    engine::step::Io,
    server::remote,
    transport::shell::Script,
};

pub(super) const OFFER: &str = concat!(include_str!("live-files.sh"), include_str!("offer.sh"));

/// A live release that takes longer to be read is not worth it, or has files with holes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the live release has less than one part in so many of a bundle's bytes, all of it is sent: that spares the copies.
const WORTH: u64 = 10;

/// The part of the bundle that must travel; `None` if all of it must: by policy, because nothing is live, or because it pays too little.
pub(super) async fn part(
    cx: &Deploy,
    io: &Io,
    bundle: &Bundle<Canonical>,
    manifest: &Manifest,
) -> Result<Option<Part>, Failure> {
    let (Delivery::Auto, Some(live)) = (cx.inputs.server.delivery, &cx.plan.server.live_tree) else { return Ok(None) };
    let Some(text) = part::around_files(bundle, manifest) else { return Ok(None) };
    let largest = manifest.files.values().map(|file| file.size).max().unwrap_or_default();
    let script = Script::new("offer", OFFER)
        .repeatable()
        .var("LIVE", live)
        .var("LARGEST", largest.to_string())
        .timeout(PATIENCE);
    let doing = format!("comparing the bundle with the live release {live}");
    let answer = match remote::run(&*cx.ports.shell, io, script, &doing).await {
        Ok(answer) => answer,
        Err(failure) => return whole_instead(io, failure),
    };
    let Some(offered) = answer.get("offered").and_then(part::offered) else {
        io.line("the live release did not say what it has: the whole bundle is sent");
        return Ok(None);
    };
    let is_there = |path: &str, file: &FileEntry| {
        offered.get(path).is_some_and(|offered| {
            offered.executable == file.executable && file.sha256.as_str().starts_with(&offered.digits)
        })
    };
    let (there, lacking): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|(path, file)| is_there(path, file));
    let bytes = |files: &[(&String, &FileEntry)]| files.iter().map(|(_, file)| file.size).sum::<u64>();
    if there.is_empty() || bytes(&there) < (bytes(&there) + bytes(&lacking)) / WORTH {
        return Ok(None);
    }
    let there_by_path: BTreeSet<&str> = there.iter().map(|(path, _)| path.as_str()).collect();
    let others = offered.keys().filter(|path| !there_by_path.contains(path.as_str())).cloned().collect();
    let wanted: BTreeSet<String> = lacking.iter().map(|(path, _)| (*path).clone()).collect();
    let path = cx.ports.scratch.join("part.tar.gz");
    let (from, to) = (bundle.path.clone(), path.clone());
    let pack = move |pace: &Pace| archive::write(&from, |path| wanted.contains(path), &to, pace);
    let total = Some(bytes(&there) + bytes(&lacking));
    let packed = Background::default().run(io, &*cx.ports.clock, "packing what the server lacks", total, pack).await?;
    Ok(Some(Part {
        path,
        size: packed.size,
        sha256: packed.sha256,
        live: live.clone(),
        largest,
        others,
        manifest: text,
        sent: lacking.len(),
        copied: there.len(),
    }))
}

/// Nothing is lost where the comparison fails: the whole bundle lies here.
fn whole_instead(io: &Io, failure: Failure) -> Result<Option<Part>, Failure> {
    if failure.kind == FailureKind::Cancelled {
        return Err(failure);
    }
    io.line(format!("{failure}; the whole bundle is sent"));
    Ok(None)
}
