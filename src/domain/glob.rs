//! Patterns with `*` and `?` that others wrote: host names, rules of sudo, filters of branches.

/// What the wildcards stand for. Every other character stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wildcards {
    /// `*` any text, `?` any character: ssh_config(5) and the arguments of a rule in sudoers(5).
    Anything,
    /// The same, but no slash: the path of a rule in sudoers(5).
    WithinPart,
    /// `*` any text without a slash, `**` any text: GitHub's filters of branches. `?` is in no branch's name.
    Branches,
}

/// A place in a pattern.
enum Part {
    /// Any text; with slashes or without.
    Text {
        slashes: bool,
    },
    /// Any character; also a slash or not.
    One {
        slash: bool,
    },
    Letter(char),
}

/// Whether the pattern describes the whole text.
///
/// All places of the pattern that are possible go over the text together: time grows with the product of the two lengths, and not with the
/// number of ways in which the text can be shared out among the stars.
pub fn matches(pattern: &str, text: &str, wildcards: Wildcards) -> bool {
    let parts = parts(pattern, wildcards);
    // A star may stand for nothing.
    let over_stars = |places: &mut [bool]| {
        for (at, part) in parts.iter().enumerate() {
            places[at + 1] |= places[at] && matches!(part, Part::Text { .. });
        }
    };
    let mut places = vec![false; parts.len() + 1];
    places[0] = true;
    over_stars(&mut places);
    for letter in text.chars() {
        let mut next = vec![false; places.len()];
        for (at, part) in parts.iter().enumerate().filter(|(at, _)| places[*at]) {
            match part {
                Part::Text { slashes } => next[at] |= *slashes || letter != '/',
                Part::One { slash } => next[at + 1] |= *slash || letter != '/',
                Part::Letter(wanted) => next[at + 1] |= *wanted == letter,
            }
        }
        over_stars(&mut next);
        places = next;
    }
    places[parts.len()]
}

fn parts(pattern: &str, wildcards: Wildcards) -> Vec<Part> {
    let mut letters = pattern.chars().peekable();
    let mut parts = Vec::new();
    while let Some(letter) = letters.next() {
        parts.push(match (letter, wildcards) {
            ('*', Wildcards::Anything) => Part::Text { slashes: true },
            ('*', Wildcards::Branches) => Part::Text { slashes: letters.next_if_eq(&'*').is_some() },
            ('*', Wildcards::WithinPart) => Part::Text { slashes: false },
            ('?', Wildcards::Anything) => Part::One { slash: true },
            ('?', Wildcards::WithinPart) => Part::One { slash: false },
            (letter, _) => Part::Letter(letter),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{Wildcards::*, matches};

    #[test]
    fn each_kind_of_pattern_is_read_as_its_program_reads_it() {
        for (wildcards, pattern, text, covers) in [
            (Branches, "main", "main", true),
            (Branches, "main", "mainline", false),
            (Branches, "release/*", "release/1", true),
            (Branches, "release/*", "release/1/2", false),
            (Branches, "release/**", "release/1/2", true),
            (Branches, "**", "a/b", true),
            (Branches, "*", "a/b", false),
            (Branches, "*-fix", "hot-fix", true),
            (Branches, "**/*", "a//b", true),
            (Branches, "*/*", "a/b/c", false),
            (Branches, "v?", "v1", false),
            (Anything, "**a?*", "xab", true),
            (Anything, "?", "", false),
            (Anything, "", "", true),
            (Anything, "*", "", true),
            (Anything, "*.shop.test", "a.b.shop.test", true),
            (Anything, "web?.shop.test", "web1.shop.test", true),
            (Anything, "reload *", "reload a/b", true),
            (Anything, "w?b", "wüb", true),
            (WithinPart, "/usr/*/nginx", "/usr/sbin/nginx", true),
            (WithinPart, "/usr/*/nginx", "/usr/local/sbin/nginx", false),
            (WithinPart, "/usr?sbin", "/usr/sbin", false),
            (WithinPart, "/bin/php?.?", "/bin/php8.2", true),
        ] {
            assert_eq!(matches(pattern, text, wildcards), covers, "{wildcards:?}: {pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_with_many_stars_is_read_in_no_time() {
        let began = std::time::Instant::now();
        for wildcards in [Anything, WithinPart, Branches] {
            assert!(!matches(&format!("{}b", "*a".repeat(100)), &"a".repeat(250), wildcards));
            assert!(matches(&"a*".repeat(60), &"a".repeat(200), wildcards));
        }
        assert!(matches(&"**/*".repeat(50), &"a/".repeat(100), Branches));
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
