//! `cargo xtask pictures`: job summaries as GitHub shows them, light and dark, for the documentation.
//!
//! The summaries are the snapshots of `tests/it/summary.rs`, so that a picture shows what a test asserts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Options, Parser, html};

use crate::shell;

/// A snapshot, and the height of its picture in CSS pixels.
const PICTURES: [(&str, u32); 4] = [("live", 670), ("planned", 865), ("rolled-back", 875), ("stuck", 1135)];
const WIDTH: u32 = 1000;
/// What a page of the documentation can bear.
const LARGEST: u64 = 200_000;

/// The colour schemes, as Blink numbers them.
const SCHEMES: [(&str, u32); 2] = [("light", 1), ("dark", 0)];

pub(crate) fn run(root: &Path) -> Result<()> {
    shell::need("chromium", "chromium fonts-liberation fonts-noto-color-emoji")?;
    let scratch = tempfile::tempdir().context("making a folder for the pages")?;
    let folder = root.join("docs/pictures");
    fs::create_dir_all(&folder).context("making docs/pictures")?;
    for (name, height) in PICTURES {
        let page = scratch.path().join(format!("{name}.html"));
        fs::write(&page, page_of(&snapshot(root, name)?)).context("writing a page")?;
        for (scheme, number) in SCHEMES {
            let picture = folder.join(format!("summary-{name}-{scheme}.png"));
            take(&page, &picture, scratch.path(), height, number)?;
            let size = fs::metadata(&picture).with_context(|| format!("{} was not made", picture.display()))?.len();
            ensure!(size <= LARGEST, "{} has {size} bytes, more than {LARGEST}", picture.display());
            println!("xtask: {} ({size} bytes)", picture.display());
        }
    }
    Ok(())
}

/// The Markdown of a snapshot, without insta's own lines.
fn snapshot(root: &Path, name: &str) -> Result<String> {
    let path: PathBuf = root.join(format!("tests/it/snapshots/it__summary__{name}.snap"));
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut parts = text.splitn(3, "---\n");
    let body = parts.nth(2).with_context(|| format!("{} is no snapshot of insta", path.display()))?;
    Ok(body.to_owned())
}

fn page_of(markdown: &str) -> String {
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH));
    let style = include_str!("pictures.css");
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <style>{style}</style></head><body><main>{body}</main></body></html>"
    )
}

fn take(page: &Path, picture: &Path, scratch: &Path, height: u32, scheme: u32) -> Result<()> {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"])
        // On a busy machine the picture is taken before the page is painted whole.
        .args(["--run-all-compositor-stages-before-draw", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", scratch.join("profile").display()))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--window-size={WIDTH},{height}"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .context("starting chromium")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "chromium: {}: {}", output.status, said.trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No Markdown is left over, so that GitHub shows no stars and pipes either.
    #[test]
    fn every_summary_is_markdown_that_renders_whole() {
        let root = crate::root().expect("the project's folder");
        let folder = fs::read_dir(root.join("tests/it/snapshots")).expect("the snapshots");
        let names = folder.filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_prefix("it__summary__")?.strip_suffix(".snap")?.to_owned())
        });
        let names: Vec<String> = names.collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            let markdown = snapshot(root, &name).expect("a snapshot");
            let page = page_of(&markdown);
            let tables = markdown.lines().filter(|line| line.starts_with("| ---") || line.starts_with("| :--")).count();
            assert_eq!(page.matches("<table>").count(), tables, "{name}:\n{page}");
            let shown = page.split("<main>").nth(1).expect("the page");
            for left in ["**", "| ", "```", "&lt;details", "&lt;br", "](<"] {
                let prose: String =
                    shown.split("<pre>").map(|part| part.rsplit("</pre>").next().unwrap_or("")).collect();
                assert!(!prose.contains(left), "{name}: {left} is left over:\n{prose}");
            }
        }
    }
}
