//! Commands of the policy that run at certain moments of a release.

use std::{fmt, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use super::RemoteCommand;

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    BeforeMigrate,
    BeforeSwitch,
    AfterSwitch,
    AfterRollback,
}

impl Moment {
    pub const ALL: [Self; 4] = [Self::BeforeMigrate, Self::BeforeSwitch, Self::AfterSwitch, Self::AfterRollback];

    /// The key of the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeMigrate => "before-migrate",
            Self::BeforeSwitch => "before-switch",
            Self::AfterSwitch => "after-switch",
            Self::AfterRollback => "after-rollback",
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One command: words that no shell reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    pub run: Vec<String>,
    pub within: Duration,
    /// Whether its failure refuses the release, or rolls it back.
    pub required: bool,
    /// The entries of the app's `.env` that it gets as variables.
    pub env: Vec<String>,
}

impl Hook {
    /// The command as a person would type it.
    pub fn command(&self) -> String {
        RemoteCommand::new(self.run.iter().map(String::as_str)).to_string()
    }

    /// Whether it is a command of the app itself.
    pub fn is_artisan(&self) -> bool {
        self.run.first().is_some_and(|word| word == ARTISAN)
    }
}

/// The first word of a hook that is a command of the app: the site's own PHP runs it.
const ARTISAN: &str = "artisan";

/// All hooks of a policy, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hooks {
    before_migrate: Vec<Hook>,
    before_switch: Vec<Hook>,
    after_switch: Vec<Hook>,
    after_rollback: Vec<Hook>,
}

/// Why something cannot be a hook, and what would be right. The first continues the sentence that begins with the policy's key.
pub type Unfit = (String, String);

/// How long a hook may take where it does not say, and the limits of what it may say, in seconds.
const WITHIN: u64 = 60;
pub const SHORTEST: u64 = 1;
pub const LONGEST: u64 = 3600;

/// So many commands at one moment, words in one, and bytes in a word: more is a mistake.
const MOST: usize = 20;
const MOST_WORDS: usize = 100;
const LONGEST_WORD: usize = 4096;

const MOMENTS: &str =
    "write `before-migrate`, `before-switch`, `after-switch` or `after-rollback`, each with a list of commands";
const COMMANDS: &str = "write a command such as `artisan cache:clear`, or `{run: [artisan, \"cache:clear\"], within: 60s, required: true}`";
const WORDS: &str =
    "write it as a list of words: `{run: [first, second]}`. Each word reaches the program as it stands there";
const VARIABLES: &str = "name entries of the app's .env, such as `env: [STRIPE_KEY]`";

/// Characters by which a shell would change words. No shell reads a hook, so they would not do what they seem to do.
const FOR_A_SHELL: &[char] =
    &['\'', '"', '\\', '$', '`', ';', '|', '<', '>', '&', '*', '?', '[', ']', '(', ')', '{', '}', '!', '~', '#'];

/// Names that a hook has from elsewhere, or that change how a program starts.
// Some mean something to a shell itself.
const TAKEN: [&str; 14] = [
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "SHELL", "IFS", "PWD", "ENV", "OPTIND", "PPID", "UID", "EUID",
    "BASH_ENV",
];
const TAKEN_BEGINNINGS: [&str; 3] = ["GATED_DEPLOY_", "LD_", "APP_CONFIG_CACHE"];

impl Hooks {
    pub fn of(&self, moment: Moment) -> &[Hook] {
        match moment {
            Moment::BeforeMigrate => &self.before_migrate,
            Moment::BeforeSwitch => &self.before_switch,
            Moment::AfterSwitch => &self.after_switch,
            Moment::AfterRollback => &self.after_rollback,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Hook> {
        Moment::ALL.into_iter().flat_map(|moment| self.of(moment))
    }

    /// How long those of a moment may take together.
    pub fn time(&self, moment: Moment) -> Duration {
        self.of(moment).iter().map(|hook| hook.within).sum()
    }

    /// The entries of `.env` that they need, each once.
    pub fn variables(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.all().flat_map(|hook| &hook.env).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Every word of every command.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.all().flat_map(|hook| &hook.run).map(String::as_str)
    }

    /// Reads the policy's key, as JSON. `duration` reads a time limit.
    pub fn read(text: &str, duration: impl Fn(&str) -> Result<Duration, Unfit>) -> Result<Self, Unfit> {
        let Ok(Value::Object(moments)) = serde_json::from_str(text) else {
            return Err(("is not a mapping of moments".to_owned(), MOMENTS.to_owned()));
        };
        let mut hooks = Self::default();
        for (key, list) in &moments {
            let Some(moment) = Moment::ALL.into_iter().find(|moment| moment.as_str() == key) else {
                return Err((format!("has `{key}`, which is not the name of a moment"), MOMENTS.to_owned()));
            };
            let list = match list {
                Value::Null => &Vec::new(),
                Value::Array(list) => list,
                _ => return Err((format!("has `{key}`, which is not a list"), COMMANDS.to_owned())),
            };
            if list.len() > MOST {
                return Err((
                    format!("has `{key}` with {} commands", list.len()),
                    format!("write at most {MOST}; a script of the release can run more"),
                ));
            }
            let read = list.iter().enumerate().map(|(at, entry)| {
                hook(moment, entry, &duration)
                    .map_err(|(problem, right)| (format!("has, as command {} of `{key}`, {problem}", at + 1), right))
            });
            let read = read.collect::<Result<_, _>>()?;
            match moment {
                Moment::BeforeMigrate => hooks.before_migrate = read,
                Moment::BeforeSwitch => hooks.before_switch = read,
                Moment::AfterSwitch => hooks.after_switch = read,
                Moment::AfterRollback => hooks.after_rollback = read,
            }
        }
        Ok(hooks)
    }
}

/// One entry of a list. The problem names the entry by itself: "a text with `$`".
fn hook(moment: Moment, entry: &Value, duration: &impl Fn(&str) -> Result<Duration, Unfit>) -> Result<Hook, Unfit> {
    // A failure after a rollback has nothing left to undo.
    let required = moment != Moment::AfterRollback;
    let hook = match entry {
        Value::String(text) => {
            Hook { run: split(text)?, within: Duration::from_secs(WITHIN), required, env: Vec::new() }
        }
        Value::Object(keys) => mapping(keys, required, duration)?,
        _ => return Err(("neither a text nor a mapping".to_owned(), COMMANDS.to_owned())),
    };
    if hook.required && !required {
        let right =
            "remove `required`: a failure after a rollback is always a warning, because nothing is left to undo";
        return Err(("a hook after a rollback with `required: true`".to_owned(), right.to_owned()));
    }
    command(&hook.run)?;
    hook.env.iter().try_for_each(|name| variable(name))?;
    Ok(hook)
}

fn mapping(
    keys: &Map<String, Value>,
    required: bool,
    duration: &impl Fn(&str) -> Result<Duration, Unfit>,
) -> Result<Hook, Unfit> {
    if let Some(key) = keys.keys().find(|key| !["run", "within", "required", "env"].contains(&key.as_str())) {
        return Err((format!("a mapping in which `{key}` is not known"), COMMANDS.to_owned()));
    }
    let texts = |name: &str, right: &str| match keys.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let items: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            items.ok_or_else(|| (format!("`{name}` with an entry that is not text; quote it"), right.to_owned()))
        }
        Some(_) => Err((format!("`{name}` that is not a list"), right.to_owned())),
    };
    let within = match keys.get("within") {
        None | Some(Value::Null) => Duration::from_secs(WITHIN),
        Some(within) => {
            let text = within.as_str().map_or_else(|| within.to_string(), str::to_owned);
            duration(&text).map_err(|(problem, right)| (format!("`within: {text}`, which {problem}"), right))?
        }
    };
    let required = match keys.get("required") {
        None | Some(Value::Null) => required,
        Some(Value::Bool(required)) => *required,
        Some(_) => {
            return Err(("`required` that is neither true nor false".to_owned(), "write `true` or `false`".to_owned()));
        }
    };
    Ok(Hook { run: texts("run", WORDS)?, within, required, env: texts("env", VARIABLES)? })
}

/// A text is split at blanks, and nothing else in it has a meaning.
fn split(text: &str) -> Result<Vec<String>, Unfit> {
    match text.chars().find(|letter| FOR_A_SHELL.contains(letter)) {
        Some(letter) => Err((format!("a text with `{letter}`, and no shell reads it"), WORDS.to_owned())),
        None => Ok(text.split([' ', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()),
    }
}

fn command(words: &[String]) -> Result<(), Unfit> {
    let bad = |problem: &str| Err((problem.to_owned(), COMMANDS.to_owned()));
    match words {
        [] => return bad("no command"),
        [only] if only == ARTISAN => return bad("`artisan` without a command of it"),
        [first, ..] if first.is_empty() || first.starts_with('-') || first.contains('=') => {
            return bad("a first word that is not the name of a program");
        }
        _ => {}
    }
    if words.len() > MOST_WORDS || words.iter().any(|word| word.len() > LONGEST_WORD) {
        return bad("a command that is too long");
    }
    if words.iter().any(|word| word.chars().any(char::is_control)) {
        return bad("a word with control characters or several lines");
    }
    match words.iter().position(|word| looks_secret(word)) {
        // The word itself is not shown.
        Some(at) => Err((
            format!("a command whose word {} looks like a secret", at + 1),
            "put the value into the app's .env under a name, and pass that: `env: [NAME]`. Replace the secret, because it was readable in a file".to_owned(),
        )),
        None => Ok(()),
    }
}

fn variable(name: &str) -> Result<(), Unfit> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !letters || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err((format!("`env` with `{name}`, which is not the name of a variable"), VARIABLES.to_owned()));
    }
    if TAKEN.contains(&name) || TAKEN_BEGINNINGS.iter().any(|taken| name.starts_with(taken)) {
        return Err((
            format!("`env` with `{name}`, which a hook does not get from .env"),
            "give the entry of .env another name".to_owned(),
        ));
    }
    Ok(())
}

/// The beginnings of keys and tokens that their makers gave a beginning so that they can be found, and how long they are at least.
const TOKENS: [(&str, usize); 22] = [
    ("ghp_", 36),
    ("gho_", 36),
    ("ghu_", 36),
    ("ghs_", 36),
    ("ghr_", 36),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("pk_live_", 16),
    ("whsec_", 16),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("xoxa-", 20),
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 30),
    ("SG.", 40),
    ("npm_", 30),
    ("dop_v1_", 30),
    ("base64:", 30),
];

/// Names that stand before a value which is a secret: `--password=...`.
const SECRET_NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "apikey", "api-key", "api_key"];

/// Whether a word looks like a secret, or has one in it. Values of the run's own secrets are compared elsewhere.
pub fn looks_secret(word: &str) -> bool {
    let begins = |text: &str| TOKENS.iter().any(|(begin, least)| text.starts_with(begin) && text.len() >= *least);
    let parts = || word.split(['=', ':', '@', '/', ',', ' ', '?', '&', '"', '\'']);
    // JSON Web Tokens begin with the word `{"` in base64, and have three parts.
    let web_token = |text: &str| text.starts_with("eyJ") && text.split('.').count() == 3 && text.len() >= 40;
    let begins_in = word.match_indices("base64:").any(|(at, _)| begins(&word[at..]));
    begins(word)
        || begins_in
        || parts().any(|part| begins(part) || web_token(part))
        || named(word)
        || in_address(word)
        || word.contains("PRIVATE KEY-----")
}

/// `--password=hunter2`, but not `--password=` and not `--token-file=path`.
fn named(word: &str) -> bool {
    let Some((name, value)) = word.split_once('=') else { return false };
    let name = name.trim_start_matches('-').to_ascii_lowercase();
    value.len() >= 4 && SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

/// `https://name:password@host`.
fn in_address(word: &str) -> bool {
    let Some((_, rest)) = word.split_once("://") else { return false };
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    place.rsplit_once('@').is_some_and(|(account, _)| account.split_once(':').is_some_and(|(_, key)| !key.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Hooks, Unfit> {
        let hooks = serde_json::from_str::<Value>(text).expect("JSON").to_string();
        Hooks::read(&hooks, |text| match text.trim_end_matches('s').parse() {
            Ok(seconds @ SHORTEST..=LONGEST) => Ok(Duration::from_secs(seconds)),
            _ => Err(("is no duration".to_owned(), String::new())),
        })
    }

    #[test]
    fn hooks_are_texts_that_are_split_at_blanks_or_mappings_with_words() {
        let hooks = read(
            r#"{"before-migrate": ["artisan  down", {"run": ["sh", "-c", "echo $X; date"], "within": 5, "required": false, "env": ["STRIPE_KEY"]}],
                "after-switch": [{"run": ["curl", "https://example.com/?a=b"], "within": "90s"}], "before-switch": null, "after-rollback": ["true"]}"#,
        )
        .expect("hooks");
        let [down, shell] = hooks.of(Moment::BeforeMigrate) else { panic!("{hooks:?}") };
        assert_eq!(
            (down.run.as_slice(), down.within.as_secs(), down.required),
            (&["artisan".to_owned(), "down".to_owned()][..], 60, true)
        );
        assert!(down.is_artisan() && !shell.is_artisan());
        assert_eq!(
            (shell.command().as_str(), shell.within.as_secs(), shell.required),
            ("sh -c 'echo $X; date'", 5, false)
        );
        assert_eq!(hooks.variables(), ["STRIPE_KEY"]);
        assert_eq!(hooks.time(Moment::AfterSwitch), Duration::from_secs(90));
        assert!(hooks.of(Moment::BeforeSwitch).is_empty() && !hooks.of(Moment::AfterRollback)[0].required);
        assert_eq!(hooks.words().count(), 8);
    }

    #[test]
    fn what_only_a_shell_could_mean_is_refused() {
        for letter in FOR_A_SHELL {
            let text = serde_json::json!({"after-switch": [format!("echo a{letter}b")]}).to_string();
            let (problem, right) = read(&text).expect_err("refused");
            assert!(
                problem.contains(&format!("a text with `{letter}`")) && right.contains("list of words"),
                "{problem}"
            );
        }
    }

    #[test]
    fn what_is_no_hook_says_which_and_why() {
        for (entry, says) in [
            (r#""""#, "no command"),
            (r#""artisan""#, "without a command of it"),
            (r#"5"#, "neither a text nor a mapping"),
            (r#"{"run": "a b"}"#, "`run` that is not a list"),
            (r#"{"run": ["sleep", 5]}"#, "not text; quote it"),
            (r#"{"run": ["-x"]}"#, "not the name of a program"),
            (r#"{"run": ["A=b", "c"]}"#, "not the name of a program"),
            (r#"{"run": ["echo", "a\nb"]}"#, "control characters"),
            (r#"{"run": ["true"], "user": "root"}"#, "`user` is not known"),
            (r#"{"run": ["true"], "within": "2d"}"#, "`within: 2d`, which is no duration"),
            (r#"{"run": ["true"], "within": 3601}"#, "`within: 3601`"),
            (r#"{"run": ["true"], "required": "no"}"#, "neither true nor false"),
            (r#"{"run": ["true"], "env": ["A-B"]}"#, "not the name of a variable"),
            (r#"{"run": ["true"], "env": ["LD_PRELOAD"]}"#, "does not get from .env"),
            (r#"{"run": ["true"], "env": ["PATH"]}"#, "does not get from .env"),
        ] {
            let (problem, _) = read(&format!(r#"{{"before-switch": ["true", {entry}]}}"#)).expect_err(entry);
            assert!(
                problem.starts_with("has, as command 2 of `before-switch`, ") && problem.contains(says),
                "{entry}: {problem}"
            );
        }
        let (problem, _) = read(r#"{"after-rollback": [{"run": ["true"], "required": true}]}"#).expect_err("refused");
        assert!(problem.contains("`required: true`"), "{problem}");
        for (text, says) in [
            (r#"{"afterwards": []}"#, "`afterwards`"),
            (r#"{"after-switch": "a"}"#, "not a list"),
            ("[]", "not a mapping"),
        ] {
            assert!(read(text).expect_err(text).0.contains(says), "{text}");
        }
    }

    #[test]
    fn a_word_that_looks_like_a_secret_is_refused_and_not_shown() {
        // Put together here, so that no scanner finds a key in this file.
        let token = |begin: &str| format!("{begin}{}", "a1B2".repeat(10));
        for word in [
            token("ghp_"),
            token("sk_live_"),
            token("base64:"),
            format!("--key={}", token("AIza")),
            format!("X-Key: {}", token("glpat-")),
            format!("eyJ{0}.{0}.{0}", "a1B2".repeat(5)),
            "--password=hunter2".to_owned(),
            "MAIL_PASSWORD=hunter2".to_owned(),
            "https://ada:hunter2@example.com/x".to_owned(),
            "mysql://shop:hunter2@db".to_owned(),
        ] {
            let text = serde_json::json!({"after-switch": [{"run": ["curl", word]}]}).to_string();
            let (problem, right) = read(&text).expect_err(&word);
            assert!(
                problem.contains("word 2 looks like a secret") && !problem.contains(&word) && !right.contains(&word),
                "{problem}"
            );
        }
        for word in [
            "--token-file=/run/token",
            "--password=",
            "https://example.com:8443/a@b",
            "acb5820ced9479c074f688cc328bf03f341a511d",
            "cache:clear",
            "sk_live_",
            "--no-secrets",
        ] {
            assert!(!looks_secret(word), "{word}");
        }
    }
}
