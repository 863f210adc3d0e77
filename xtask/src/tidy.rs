//! `cargo xtask tidy`: the rules of the project that a machine can check. They stand in ARCHITECTURE.md as sentences.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{dependencies, documents, imports, words};

/// Words that only one module may use, and why.
const WORDS: [(&str, &str, &str); 5] = [
    ("std::env::var", "config", "only `config` reads the environment"),
    ("process::Command", "", "the action starts no process on the runner"),
    ("TcpStream", "transport", "only `transport` opens sockets"),
    ("Utc::now", "clock", "only `clock` asks the time of day"),
    ("println!", "", "only `report` writes, through its log"),
];

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    for file in files(&root.join("src"), "rs")? {
        // Tests may do what the code may not.
        if file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(root.join("src")).unwrap_or(&file).to_string_lossy().into_owned();
        problems.extend(complaints(&name, &text));
        sources.push((name, text));
    }
    problems.extend(imports::complaints(&sources));
    for file in files(&root.join("src"), "php")? {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        problems.extend(global_names(&file.strip_prefix(root).unwrap_or(&file).to_string_lossy(), &text));
    }
    problems.extend(broken_documents(root)?);
    problems.extend(words::complaints(root)?);
    problems.extend(dependencies::complaints(root)?);
    problems.extend(shellcheck(root)?);
    problems.extend(other_features()?);
    if problems.is_empty() {
        println!("xtask: everything is tidy");
        return Ok(());
    }
    bail!("not tidy:\n{}", problems.join("\n"))
}

/// Every Markdown file of ours, the tests that they name, and the comments that name them.
fn broken_documents(root: &Path) -> Result<Vec<String>> {
    let in_root = fs::read_dir(root).with_context(|| format!("reading {}", root.display()))?;
    let in_root = in_root.filter_map(|entry| Some(entry.ok()?.path()));
    let documents: Vec<PathBuf> = in_root
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain(files(&root.join("docs"), "md")?)
        .collect();
    let known = documents.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect();
    let mut problems = Vec::new();
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "lab/src", "lab/tests", "xtask/src"] {
        for file in files(&root.join(folder), "rs")? {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            tests.extend(documents::functions(&text).map(str::to_owned));
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            problems.extend(documents::missing(&name, &text, &known));
        }
    }
    for file in documents {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        problems.extend(documents::complaints(&name, &text, &tests));
    }
    Ok(problems)
}

/// What is wrong with one source file. What stands in a `#[cfg(test)]` module at its end is not looked at.
fn complaints(name: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let room = name.split(['/', '.']).next().unwrap_or_default();
    let mut problems = Vec::new();
    for (word, owner, why) in WORDS {
        let line = code.lines().position(|line| line.contains(word) && !line.trim_start().starts_with("//"));
        if let (Some(line), true) = (line, room != owner) {
            problems.push(format!("src/{name}:{}: `{word}`: {why}", line + 1));
        }
    }
    if room == "stages" && (name.ends_with("/table.rs") || name.ends_with("/list.rs")) {
        let line = code.lines().position(|line| line.trim_start().starts_with("if ") || line.contains(" if "));
        let line =
            line.filter(|line| !code.lines().nth(*line).is_some_and(|line| line.contains("//") || line.contains('"')));
        problems.extend(line.map(|line| format!("src/{name}:{}: a stage's table contains no `if`", line + 1)));
    }
    problems
}

/// What a PHP program of ours may name without the prefix: names that Laravel gives.
const NAMES_OF_OTHERS: [&str; 1] = ["LARAVEL_START"];

/// Global names of a PHP program that runs beside an app. The app may have any name, and PHP ends where one is declared twice.
fn global_names(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(more) = ["abstract ", "final ", "readonly "].iter().find_map(|word| rest.strip_prefix(word)) {
            rest = more.trim_start();
        }
        let declared = ["function ", "class ", "interface ", "trait ", "enum "]
            .iter()
            .find_map(|word| rest.strip_prefix(word))
            // An indented one is a class's own.
            .or_else(|| line.strip_prefix("const "))
            .or_else(|| rest.strip_prefix("define('"));
        let Some(declared) = declared else { continue };
        let end = declared.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(declared.len());
        let declared = &declared[..end];
        if !declared.is_empty() && !declared.starts_with("gated_deploy_") && !NAMES_OF_OTHERS.contains(&declared) {
            problems.push(format!("{name}:{}: `{declared}` is a global name without `gated_deploy_`", number + 1));
        }
    }
    problems
}

/// Every program for the server, as the server's shell will see it: after the prelude.
fn shellcheck(root: &Path) -> Result<Vec<String>> {
    let prelude = fs::read_to_string(root.join("src/transport/prelude.sh")).context("reading the prelude")?;
    let whole = tempfile::Builder::new().suffix(".sh").tempfile().context("making a file for shellcheck")?;
    let mut problems = Vec::new();
    let mut scripts = files(&root.join("src"), "sh")?;
    scripts.retain(|script| !["prelude.sh", "hide.sh"].iter().any(|name| script.ends_with(name)));
    for script in scripts {
        let program = fs::read_to_string(&script).with_context(|| format!("reading {}", script.display()))?;
        fs::write(whole.path(), format!("#!/bin/sh\n{prelude}\nprogram() {{\n{program}\n}}\nprogram\n"))
            .context("writing for shellcheck")?;
        // Names that the tool assigns, or that the prelude defines for others.
        let output = Command::new("shellcheck")
            .args(["--shell=sh", "--exclude=SC2154,SC2034,SC2153,SC2317,SC2329", "--format=gcc"])
            .arg(whole.path())
            .output()
            .context("starting shellcheck: apt-get install shellcheck")?;
        let text = String::from_utf8_lossy(&output.stdout)
            .replace(&*whole.path().to_string_lossy(), &script.to_string_lossy());
        ensure!(
            output.status.code().is_some_and(|code| code <= 1),
            "shellcheck failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        problems.extend(text.lines().map(|line| format!("{line} (lines count from the prelude's first)")));
    }
    Ok(problems)
}

/// Libraries that `cargo xtask` would compile with other features than the tests have, and so a second time.
fn other_features() -> Result<Vec<String>> {
    let tree = |args: &[&str]| -> Result<BTreeSet<String>> {
        let output = Command::new("cargo")
            .args(["tree", "--locked", "--prefix=none", "--format={p} {f}"])
            .args(args)
            .output()
            .context("starting cargo tree")?;
        ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).replace(" (*)", "").replace("(proc-macro) ", "");
        Ok(text.lines().map(str::to_owned).collect())
    };
    let ours = tree(&["--package=xtask", "--edges=normal,build"])?;
    let tests = tree(&["--workspace", "--edges=normal,build,dev"])?;
    let of = |library: &&String| {
        format!("xtask/Cargo.toml: the tests have `{library}` with more features; name those there, too")
    };
    Ok(ours.difference(&tests).collect::<Vec<_>>().iter().map(of).collect())
}

pub(crate) fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry.with_context(|| format!("listing {}", dir.display()))?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_another_room_are_seen() {
        assert_eq!(
            complaints("server/x.rs", "let x = std::env::var(\"HOME\");\n"),
            ["src/server/x.rs:1: `std::env::var`: only `config` reads the environment"]
        );
        assert_eq!(complaints("config/x.rs", "let x = std::env::vars_os();\n"), Vec::<String>::new());
    }

    #[test]
    fn a_global_name_of_php_without_the_prefix_is_seen() {
        let text = "<?php\nfunction open(array $x): PDO\n{\n}\nif (true) {\n    function later() {}\n}\nfinal class Values\n{\n    const MOST = 1;\n    \
                    public static function of(): self {}\n}\nconst ALL = 1;\ndefine('EVERY', 1);\ndefine('LARAVEL_START', 1);\n\
                    function gated_deploy_open() {}\n$call = function (string $x) {};\nfunction () {};\n";
        let found =
            |line: usize, name: &str| format!("x.php:{line}: `{name}` is a global name without `gated_deploy_`");
        assert_eq!(
            global_names("x.php", text),
            [found(2, "open"), found(6, "later"), found(8, "Values"), found(13, "ALL"), found(14, "EVERY")]
        );
    }
}
