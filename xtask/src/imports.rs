//! Which file of `src/` imports which, and which may. An import is a path of the crate (`crate::`, `super::`, `self::`, or through a name that a
//! `use` gave) to something that another file defines; re-exports are followed to the definition. Tests and what is only for the fuzzer count not.

use std::collections::{BTreeMap, BTreeSet};

/// What each folder of `src/` may import besides itself; more than a folder where it says so. ARCHITECTURE.md has it as a table.
const MAY: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("errors", &["domain"]),
    ("clock", &["domain"]),
    ("engine", &["domain"]),
    ("config", &["domain", "errors"]),
    ("transport", &["domain", "errors", "config::typed"]),
    ("http", &["domain", "errors", "transport::shell"]),
    ("github", &["domain", "errors", "clock", "http::client"]),
    // What the rows of a release know holds what each subject found; it is no subject itself.
    ("context", &["domain", "clock", "config::typed", "github", "http", "transport", "server"]),
    ("bundle", &["domain", "errors", "engine", "clock", "config::typed", "github", "context"]),
    (
        "server",
        &["domain", "errors", "engine", "clock", "config::typed", "github", "http", "transport", "bundle", "context"],
    ),
    ("report", &["domain", "errors", "engine::event"]),
];

/// Stages see all of it but each other.
const STAGES: [&str; 11] = [
    "domain",
    "errors",
    "engine",
    "clock",
    "config::typed",
    "github",
    "http",
    "transport",
    "bundle",
    "context",
    "server",
];

/// The subjects on the server: each may import those above it. The programs of the watchdog reload and restart workers, and the switch asks the
/// watchdog, so that `services` stands above it and `activation` below. `survey` looks at all of it.
const SUBJECTS: [&str; 15] = [
    "remote",
    "inspect",
    "lock",
    "ledger",
    "release_dir",
    "hooks",
    "database",
    "backup",
    "health",
    "services",
    "watchdog",
    "activation",
    "recovery",
    "survey",
    "staging",
];

/// Circles that are there still; a name that ends in `/` is a folder. This list only gets shorter.
const CIRCLES: [&[&str]; 2] = [
    // The table of all codes names each subject's file, and each of them uses its macro.
    &["errors/"],
    &["github/api.rs", "github/download.rs", "github/read.rs"],
];

type Path = Vec<String>;

/// A file as far as imports go.
struct File {
    module: Path,
    /// Absolute paths that are named, each with its line.
    paths: Vec<(usize, Path)>,
    /// What it re-exports: name and absolute path.
    exports: BTreeMap<String, Path>,
}

/// What is wrong with the imports between these files; names are relative to `src/`.
pub(crate) fn complaints(sources: &[(String, String)]) -> Vec<String> {
    let files: BTreeMap<&str, File> = sources
        .iter()
        .filter(|(name, _)| !name.starts_with("fuzzing") && !name.ends_with("tests.rs") && name != "main.rs")
        .map(|(name, text)| (name.as_str(), read(name, text)))
        .collect();
    let modules: BTreeMap<&[String], &str> = files.iter().map(|(name, file)| (file.module.as_slice(), *name)).collect();
    let mut problems = Vec::new();
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, file) in &files {
        for (line, path) in &file.paths {
            let Some(target) = defining(path, &files, &modules).filter(|target| target != name) else { continue };
            graph.entry(name).or_default().insert(target);
            if !may(name, &files[target].module) {
                problems.push(format!("src/{name}:{line}: `{}` may not import src/{target}", folder(name)));
            }
        }
    }
    let circles = circles(&graph);
    for circle in &circles {
        if !CIRCLES.iter().any(|known| {
            circle.iter().all(|file| {
                known.iter().any(|known| file == known || (known.ends_with('/') && file.starts_with(known)))
            })
        }) {
            problems.push(format!("these files import each other in a circle: {}", circle.join(", ")));
        }
    }
    for file in CIRCLES.iter().copied().flatten() {
        if files.contains_key(file) && files.len() > 100 && !circles.iter().any(|circle| circle.contains(file)) {
            problems
                .push(format!("src/{file} is in no circle any more: take it out of CIRCLES in xtask/src/imports.rs"));
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

fn folder(name: &str) -> String {
    let parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    let deep = matches!(parts[0], "server" | "stages") && parts.len() > 1 && parts[1] != "mod";
    parts[..if deep { 2 } else { 1 }].join("/")
}

fn may(name: &str, target: &[String]) -> bool {
    let own: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    let target: Vec<&str> = target.iter().map(String::as_str).collect();
    let (Some(room), Some(theirs)) = (own.first().copied(), target.first().copied()) else { return true };
    let allowed = |list: &[&str]| {
        list.iter().any(|path| {
            let path: Vec<&str> = path.split("::").collect();
            target.len() >= path.len() && target[..path.len()] == path[..]
        })
    };
    let place = |subject: &str| SUBJECTS.iter().position(|known| *known == subject);
    match room {
        "app" | "lib" => true,
        "server" if theirs == "server" => match (own.get(1), target.get(1)) {
            (Some(own), Some(theirs)) => {
                own == theirs || place(own).zip(place(theirs)).is_some_and(|(own, theirs)| theirs < own)
            }
            _ => true,
        },
        "stages" if theirs == "stages" => match (own.get(1), target.get(1)) {
            (Some(own), Some(theirs)) => own == theirs || *theirs == "shared",
            _ => true,
        },
        "stages" => allowed(&STAGES),
        _ if room == theirs => true,
        _ => MAY.iter().find(|(own, _)| *own == room).is_some_and(|(_, list)| allowed(list)),
    }
}

/// The file that defines what a path names.
fn defining<'a>(
    path: &[String],
    files: &BTreeMap<&'a str, File>,
    modules: &BTreeMap<&[String], &'a str>,
) -> Option<&'a str> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let name = modules[&path[..depth]];
        match path.get(depth).and_then(|item| files[name].exports.get(item)) {
            Some(real) => path = real.iter().chain(&path[depth + 1..]).cloned().collect(),
            None if depth == path.len() && depth > 0 => return None, // a module alone: what is used of it counts
            None if depth == 0 => return None,
            None => return Some(name),
        }
    }
    None
}

fn circles<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reach = |from: &'a str| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(file) = left.pop() {
            for next in graph.get(file).into_iter().flatten() {
                if seen.insert(*next) {
                    left.push(next);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = graph.keys().map(|file| (*file, reach(file))).collect();
    let mut found: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (file, seen) in &all {
        if seen.contains(file) {
            found.insert(
                seen.iter().filter(|other| all.get(*other).is_some_and(|back| back.contains(file))).copied().collect(),
            );
        }
    }
    found.into_iter().collect()
}

fn read(name: &str, text: &str) -> File {
    let mut module: Path = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    let tokens = tokens(&without_tests(text));
    let mut file = File { paths: Vec::new(), exports: BTreeMap::new(), module: module.clone() };
    let mut names: BTreeMap<String, Path> = BTreeMap::new();
    let mut rest = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (line, word) = &tokens[at];
        let begins = at == 0 || matches!(tokens[at - 1].1.as_str(), ";" | "}" | "{" | "]" | "pub" | ")");
        if word != "use" || !begins {
            rest.push((*line, word.clone()));
            at += 1;
            continue;
        }
        let public = at > 0 && matches!(tokens[at - 1].1.as_str(), "pub" | ")");
        let end = tokens[at..].iter().position(|(_, word)| word == ";").map_or(tokens.len(), |length| at + length);
        for (path, local) in leaves(&tokens[at + 1..end]) {
            let Some(path) = absolute(&path, &module, &names) else { continue };
            let own_child = path.starts_with(&module) && path.len() > module.len() + 1;
            if public {
                file.exports.insert(local.clone(), path.clone());
            }
            names.insert(local, path.clone());
            if !(public && own_child) {
                file.paths.push((*line, path));
            }
        }
        at = end + 1;
    }
    for words in rest.windows(3) {
        if words[0].1 == "mod" && words[2].1 == ";" {
            names.entry(words[1].1.clone()).or_insert_with(|| [module.as_slice(), &[words[1].1.clone()]].concat());
        }
    }
    // Paths in the code: from a root, or through the name of an import or of a module below.
    let mut at = 0;
    while at < rest.len() {
        let mut path = vec![rest[at].1.clone()];
        let begins = at == 0 || !matches!(rest[at - 1].1.as_str(), "::" | ".");
        let mut next = at + 1;
        while next + 1 < rest.len() && rest[next].1 == "::" && is_name(&rest[next + 1].1) {
            path.push(rest[next + 1].1.clone());
            next += 2;
        }
        if begins && path.len() > 1 {
            file.paths.extend(absolute(&path, &module, &names).map(|path| (rest[at].0, path)));
        }
        at = next;
    }
    file
}

fn absolute(path: &[String], module: &[String], names: &BTreeMap<String, Path>) -> Option<Path> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let (base, rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (module.to_vec(), &path[1..]),
        "super" => (module[..module.len().checked_sub(supers)?].to_vec(), &path[supers..]),
        first => (names.get(first)?.clone(), &path[1..]),
    };
    Some(base.into_iter().chain(rest.iter().filter(|part| *part != "self").cloned()).collect())
}

/// The branches of one `use`: path, and the name that it gets.
fn leaves(tokens: &[(usize, String)]) -> Vec<(Path, String)> {
    fn tree(words: &[&str], at: &mut usize, prefix: &[String], found: &mut Vec<(Path, String)>) {
        let mut path = prefix.to_vec();
        while *at < words.len() {
            match words[*at] {
                "{" => {
                    *at += 1;
                    while *at < words.len() && words[*at] != "}" {
                        tree(words, at, &path, found);
                        if words.get(*at) == Some(&",") {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                "::" => *at += 1,
                "as" => {
                    found.push((path, words.get(*at + 1).copied().unwrap_or_default().to_owned()));
                    *at += 2;
                    return;
                }
                "," | "}" => break,
                word => {
                    path.push(word.to_owned());
                    *at += 1;
                }
            }
        }
        let local = path.iter().rev().find(|part| *part != "self").cloned().unwrap_or_default();
        found.push((path, local));
    }
    let words: Vec<&str> = tokens.iter().map(|(_, word)| word.as_str()).collect();
    let mut found = Vec::new();
    tree(&words, &mut 0, &[], &mut found);
    found
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Without the tests at its end and without what only the fuzzer sees.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut parts = code.split("#[cfg(any(test, feature = \"fuzzing\"))]\n");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // Lines count on; the item ends at the first brace, or semicolon, in the first column.
        let end = if part.starts_with("use ") { part.find(";\n") } else { part.find("\n}\n").map(|at| at + 1) };
        let end = end.map_or(part.len(), |at| at + 1);
        kept.push_str(&"\n".repeat(1 + part[..end].matches('\n').count()));
        kept.push_str(&part[end..]);
    }
    kept
}

/// Names and signs with their lines; neither comments nor what stands in strings.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let (mut found, mut line, bytes) = (Vec::new(), 1, code.as_bytes());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &code[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = rest.find('"').unwrap_or(0) + 1;
            rest[begin..].find(&end).map_or(rest.len(), |found| begin + found + end.len())
        } else if bytes[at] == b'"' {
            let mut end = 1;
            while end < rest.len() && rest.as_bytes()[end] != b'"' {
                end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(rest.len())
        } else if bytes[at] == b'\'' {
            character(rest)
        } else if is_name(rest) {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push((line, rest[..length].to_owned()));
            length
        } else if rest.starts_with("::") {
            found.push((line, "::".to_owned()));
            2
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            if !c.is_whitespace() {
                found.push((line, c.to_string()));
            }
            c.len_utf8()
        };
        line += code[at..at + length].matches('\n').count();
        at += length;
    }
    found
}

/// How many `#` a raw string has that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a character, or of the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => {
            rest[2..].find('\'').map_or(1, |at| if rest[2..].starts_with('\'') { 4 } else { at + 3 })
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Vec<String> {
        complaints(&files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn an_import_of_what_stands_lower_is_seen() {
        let lock = ("server/lock/mod.rs", "pub use self::state::Holder;\npub fn take() {}\n");
        let state = ("server/lock/state.rs", "pub struct Holder;\n");
        let inspect = (
            "server/inspect/mod.rs",
            "use crate::{\n    domain::X,\n    server::lock::{self, Holder},\n};\nfn f() { lock::take() }\n",
        );
        assert_eq!(
            of(&[lock, state, inspect]),
            [
                "src/server/inspect/mod.rs:1: `server/inspect` may not import src/server/lock/state.rs",
                "src/server/inspect/mod.rs:5: `server/inspect` may not import src/server/lock/mod.rs",
            ]
        );
        let backup = ("server/backup.rs", "use super::lock::Holder;\n");
        assert_eq!(of(&[lock, state, backup]), Vec::<String>::new());
    }

    #[test]
    fn a_stage_that_imports_another_is_seen() {
        let audit = ("stages/audit/mod.rs", "pub fn files() {}\n");
        let fix = ("stages/fix/mod.rs", "fn f() { crate::stages::audit::files() }\n");
        assert_eq!(of(&[audit, fix]), ["src/stages/fix/mod.rs:1: `stages/fix` may not import src/stages/audit/mod.rs"]);
        let report = ("report/mod.rs", "use crate::stages::audit::files;\n");
        assert_eq!(of(&[audit, report]), ["src/report/mod.rs:1: `report` may not import src/stages/audit/mod.rs"]);
    }

    #[test]
    fn a_circle_is_seen_but_for_tests_comments_and_texts() {
        let one = ("domain/one.rs", "use super::two::B;\npub struct A(B);\n");
        let two = ("domain/two.rs", "pub struct B;\nfn f() -> super::one::A { todo!() }\n");
        assert_eq!(of(&[one, two]), ["these files import each other in a circle: domain/one.rs, domain/two.rs"]);
        let text = "/// [`super::one::A`]\npub struct B;\nconst C: char = '\"';\nconst X: &str = \"use super::one::A;\";\n\
                    #[cfg(any(test, feature = \"fuzzing\"))]\nfn fuzz() {\n    super::one::a();\n}\n#[cfg(test)]\nmod tests {\n    use super::super::one::A;\n}\n";
        assert_eq!(of(&[one, ("domain/two.rs", text)]), Vec::<String>::new());
    }
}
