//! Text of the site in an error, a log or a report.
//!
//! A page that fails may show a value of `.env`: a debug page, or an exception with an address and its password. The runner does not know these
//! values. So what is quoted goes through the filter on the server first (decision 20). Where there is no connection to the server, only words
//! that say how a site is are quoted.

use std::time::Duration;

use url::Url;

use super::verdict::Problem;
use crate::{
    clock::Clock,
    config::typed::Target,
    context::Ports,
    domain::Layout,
    transport::shell::{Script, Shell},
};

/// How long the filter may take. A verdict does not wait for its quotation.
const PATIENCE: Duration = Duration::from_secs(10);

/// By what a quotation is judged.
#[derive(Clone, Copy)]
pub enum Quotes<'a> {
    /// No server is at hand.
    Plain,
    /// The filter on the server knows the values of `.env`.
    Filtered { shell: &'a dyn Shell, layout: &'a Layout, php: &'a str },
}

impl<'a> Quotes<'a> {
    /// By the filter on the server of this site.
    pub fn of(ports: &'a Ports, target: &'a Target) -> Self {
        Self::Filtered { shell: &*ports.shell, layout: &target.layout, php: &target.server.php }
    }

    /// The text of a problem and its hint, without a secret of the server.
    pub(super) async fn described(
        self,
        problem: Option<Problem>,
        clock: &dyn Clock,
    ) -> Option<(String, Option<String>)> {
        let problem = problem?;
        let shown = match problem.quoted() {
            Some(said) => self.shown(said, clock).await,
            None => String::new(),
        };
        Some((problem.text(&shown), problem.hint))
    }

    /// The same of any text.
    pub(super) async fn shown(self, said: &str, clock: &dyn Clock) -> String {
        let Self::Filtered { shell, layout, php } = self else { return plain(said) };
        if let Some(shown) = harmless(said) {
            return shown;
        }
        let script = Script::new("quote", include_str!("quote.sh"))
            .hiding(layout.env_file())
            .timeout(PATIENCE)
            .var("PHP", php)
            .var("SAID", said);
        let asked = async { shell.run(script, &mut |_| {}).await.ok() };
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            // A connection that broke is made anew for longer than a verdict can wait.
            () = clock.sleep(PATIENCE) => None,
        };
        match answer.as_ref().and_then(|answer| answer.get("shown")) {
            Some(shown) => shown.to_owned(),
            None => format!("({} bytes, not shown: the filter on the server gave no answer)", said.len()),
        }
    }
}

/// Without the server: of an address the origin is quoted, and the rest where it is harmless.
pub(super) fn plain(said: &str) -> String {
    let address = || {
        let address = Url::parse(said.trim()).ok().filter(|address| matches!(address.scheme(), "http" | "https"))?;
        let rest = harmless(&address[url::Position::BeforePath..]).unwrap_or_else(|| "/...".to_owned());
        Some(format!("{}{rest}", address.origin().ascii_serialization()))
    };
    harmless(said).or_else(address).unwrap_or_else(|| {
        format!("({} bytes, not shown: without the server it is not known what in them is secret)", said.len())
    })
}

/// A value of `.env` that is shorter is not taken for a secret (`transport/hide.php`).
const SHORTEST: usize = 8;

/// Words that say how a site is, and of paths that a login leads to.
#[rustfmt::skip]
const WORDS: [&str; 32] = [
    "admin", "and", "auth", "degraded", "disabled", "down", "error", "fail", "failed", "failing", "fatal", "health", "healthy", "home", "is",
    "login", "maintenance", "no", "not", "ok", "pass", "ready", "running", "starting", "status", "stopped", "unavailable", "unhealthy",
    "unknown", "up", "warn", "warning",
];

/// A text in which no secret can be, as far as that is shown: a short one, and words of a health check.
fn harmless(said: &str) -> Option<String> {
    let said = said.trim();
    let known = |word: &str| word.is_empty() || WORDS.contains(&word.to_ascii_lowercase().as_str());
    let shown = said.len() < SHORTEST || said.split(|c: char| !c.is_alphanumeric()).all(known);
    shown.then(|| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_server_only_words_of_a_health_check_are_quoted() {
        for said in
            ["not ok", "\"degraded\"", "200", "false", "[]", "/login", "/admin/login", "secret7", "DOWN: unhealthy"]
        {
            assert_eq!(plain(said), said);
        }
        for said in [
            "Tr0ub4dor",
            "correcthorse",
            "status=Tr0ub4dor&3",
            "<title>Shop</title>",
            "/reset/Tr0ub4dor",
            "mysql://shop:Tr0ub4dor@db/shop",
        ] {
            assert!(plain(said).contains("bytes, not shown"), "{said}");
        }
        for (said, shown) in [
            ("https://shop.example.test/health", "https://shop.example.test/health"),
            ("https://user:Tr0ub4dor@shop.example.test/login?next=Tr0ub4dor", "https://shop.example.test/..."),
        ] {
            assert_eq!(plain(said), shown);
        }
    }
}
