//! The front end's manifest: what Laravel looks up when it renders a page (F20, F78).

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use serde::Deserialize;

use super::{
    check::{Check, Findings},
    rules,
    tree::Tree,
};
use crate::{
    domain::{
        Warning,
        gate::{self, VITE_CONFIGS, VITE_MANIFEST as MANIFEST},
        path::relative,
    },
    errors::build,
};

/// The folder that the manifest's entries are relative to.
const FOLDER: &str = "public/build";

/// One chunk of a Vite manifest (vite.dev, "Backend Integration"); fields that we do not judge are not read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    file: String,
    #[serde(default)]
    css: Vec<String>,
    #[serde(default)]
    assets: Vec<String>,
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default)]
    dynamic_imports: Vec<String>,
    #[serde(default)]
    is_entry: bool,
}

type Chunks = BTreeMap<String, Chunk>;

/// Checks every file that the manifest names, and that a build wrote it. The result is a warning, if there is one.
pub(crate) fn check(tree: &Tree, findings: &mut Findings) -> Option<Warning> {
    let mut problem = |problem: String| findings.add(Check::ViteManifest, problem);
    let json = match tree.contents(MANIFEST) {
        Ok(Some(json)) => json,
        // Its absence is a matter of the nine gates.
        Ok(None) => return None,
        Err(error) => {
            problem(error);
            return None;
        }
    };
    let chunks: Chunks = match serde_json::from_slice(&json) {
        Ok(chunks) => chunks,
        Err(error) => {
            problem(format!("{MANIFEST} is not a Vite manifest: {error}"));
            return None;
        }
    };
    if chunks.is_empty() {
        problem(format!("{MANIFEST} has no entries: it is a placeholder, not the result of a build"));
        return None;
    }
    for imported in dangling_imports(&chunks) {
        problem(imported);
    }
    let files: BTreeSet<&str> = chunks.values().flat_map(Chunk::files).collect();
    let bad: Vec<String> = files.iter().filter_map(|file| bad_file(tree, file)).collect();
    let whole = bad.is_empty();
    bad.into_iter().for_each(&mut problem);
    if let Some(placeholder) = whole.then(|| placeholder(tree, &chunks)).flatten() {
        problem(placeholder);
    }
    let hashed = files.iter().any(|file| carries_hash(file));
    (!hashed).then(|| build::assets_not_hashed(MANIFEST))
}

/// What refers to Vite in an app that says to have no front end; `None` if nothing does. The views of packages are theirs.
///
/// A view that cannot be read says nothing of Vite: it is a problem of its own.
pub(crate) fn referred_to(tree: &Tree, findings: &mut Findings) -> Option<String> {
    if let Some(config) = VITE_CONFIGS.iter().find(|path| tree.entries.contains_key(**path)) {
        return Some(gate::vite_config(config));
    }
    let mut views = tree.files().filter(|(path, _)| path.ends_with(".blade.php") && !rules::is_vendor(path));
    views.find_map(|(path, _)| match tree.contents(path) {
        Ok(contents) => asks_for_assets(&contents.unwrap_or_default()).then(|| gate::vite_view(path)),
        Err(problem) => {
            findings.add(Check::Readable, problem);
            None
        }
    })
}

/// Whether a view renders Vite's tags. One that looks for the manifest itself, as Laravel's welcome page does, is rendered without it, too.
fn asks_for_assets(view: &[u8]) -> bool {
    has_directive(&without_comments(view)) && memmem::find(view, b"build/manifest.json").is_none()
}

/// As Blade finds its directives: no letter and no second `@` before it, and the whole name. `gates.sh` has the same rule.
fn has_directive(view: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    memmem::find_iter(view, b"@vite").any(|at| {
        let name = &view[at + 1..];
        let name = &name[..name.iter().position(|byte| !word(byte)).unwrap_or(name.len())];
        let free = at == 0 || !word(&view[at - 1]) && view[at - 1] != b'@';
        free && matches!(name, b"vite" | b"viteReactRefresh")
    })
}

/// Blade compiles no comment.
fn without_comments(view: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::new(), view);
    while let Some(begin) = memmem::find(rest, b"{{--") {
        let Some(end) = memmem::find(&rest[begin + 4..], b"--}}") else { break };
        kept.extend_from_slice(&rest[..begin]);
        rest = &rest[begin + 4 + end + 4..];
    }
    kept.extend_from_slice(rest);
    kept
}

impl Chunk {
    fn files(&self) -> impl Iterator<Item = &str> {
        [&self.file].into_iter().chain(&self.css).chain(&self.assets).map(String::as_str)
    }
}

fn dangling_imports(chunks: &Chunks) -> Vec<String> {
    chunks
        .iter()
        .flat_map(|(key, chunk)| chunk.imports.iter().chain(&chunk.dynamic_imports).map(move |import| (key, import)))
        .filter(|(_, import)| !chunks.contains_key(*import))
        .map(|(key, import)| format!("`{key}` imports `{import}`, which is not in the manifest"))
        .collect()
}

fn bad_file(tree: &Tree, file: &str) -> Option<String> {
    if let Err(problem) = relative(file) {
        return Some(format!("it names `{}`: {problem}", file.escape_debug()));
    }
    match tree.file(&format!("{FOLDER}/{file}")) {
        None => Some(format!("it names {file}, which is not in {FOLDER}")),
        Some(known) if known.stamp.size == 0 => Some(format!("it names {file}, which is empty")),
        Some(_) => None,
    }
}

/// Why the manifest, although all its files are there, was not written by a build. Placeholders that were made to satisfy
/// a gate have no entry point, or scripts without a single character.
fn placeholder(tree: &Tree, chunks: &Chunks) -> Option<String> {
    if !chunks.values().any(|chunk| chunk.is_entry) {
        return Some(format!(
            "{MANIFEST} has no entry point (`isEntry`): it is a placeholder, not the result of a build"
        ));
    }
    let mut entries = chunks.values().filter(|chunk| chunk.is_entry);
    let blank = entries.all(|chunk| {
        let contents = tree.contents(&format!("{FOLDER}/{}", chunk.file));
        matches!(contents, Ok(Some(bytes)) if bytes.trim_ascii().is_empty())
    });
    blank.then(|| {
        format!("every entry point of {MANIFEST} is a blank file: they are placeholders, not the result of a build")
    })
}

/// `assets/app-BXl3rVqT.js`: Vite's default names end in eight characters of a hash before the extension.
fn carries_hash(file: &str) -> bool {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let hash = stem.as_bytes().rsplitn(2, |byte| matches!(byte, b'-' | b'.')).next().unwrap_or_default();
    // A hash may contain `-` itself, so the last eight are looked at too.
    let tail = &stem.as_bytes()[stem.len().saturating_sub(9)..];
    hash.len() >= 8 && stem.len() > hash.len() || (tail.len() == 9 && tail[0] == b'-')
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(chunks) = serde_json::from_slice::<Chunks>(bytes) else { return };
    dangling_imports(&chunks);
    for file in chunks.values().flat_map(Chunk::files) {
        carries_hash(file);
        if let Ok(path) = relative(file) {
            assert!(!path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | "..")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{asks_for_assets, carries_hash};

    #[test]
    fn fd19_a_view_that_needs_no_manifest_asks_for_no_assets() {
        for view in [
            "@vite('resources/js/app.js')",
            "<head>\n@viteReactRefresh",
            "@@vite and @vite([])",
            "é@vite(['a'])",
            "{{-- a --}} @vite([]) {{-- b --}}",
            "{{-- not closed @vite([])",
        ] {
            assert!(asks_for_assets(view.as_bytes()), "{view}");
        }
        for view in [
            "<p>vite</p>",
            "write to info@@vite",
            "write to info@vite.example",
            "npm install @vitejs/plugin-vue @vite_x",
            "{{-- @vite([]) --}} {{--\n@viteReactRefresh\n--}}",
            "@if (file_exists(public_path('build/manifest.json')) || file_exists(public_path('hot')))\n@vite(['a'])\n@endif",
        ] {
            assert!(!asks_for_assets(view.as_bytes()), "{view}");
        }
    }

    #[test]
    fn hashed_names_are_distinguished_from_plain_ones() {
        for name in [
            "assets/app-BXl3rVqT.js",
            "assets/app-B-l3rVq_.css",
            "app-4ed993c7.js",
            "assets/inter-latin-wght-normal-Dx4kXJAl.woff2",
        ] {
            assert!(carries_hash(name), "{name}");
        }
        for name in ["assets/app.js", "app-admin.js", "app.css", "js/app-x.js"] {
            assert!(!carries_hash(name), "{name}");
        }
    }
}
