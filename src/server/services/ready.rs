//! Whether PHP-FPM and nginx run, and survive a reload. A reload activates every configuration change since the last one: with a
//! configuration that it cannot read, PHP-FPM ends, for every site of the server.
//!
//! PHP-FPM and nginx test their configurations themselves, where sudo allows it. What a test by an account that is not root cannot tell is
//! not guessed.

pub mod rows;

pub use self::rows::{again, look, survey};

use crate::{
    domain::{Failure, Warning, format},
    engine::step::Io,
    errors,
    server::{
        inspect::{About, Problem, problem, serving},
        remote,
    },
    transport::shell::{Answer, Script, Shell},
};

const CAN_RELOAD: &str = concat!(include_str!("processes.sh"), include_str!("ready.sh"), include_str!("can-reload.sh"));

/// What the server said of both services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    pub broken: Vec<Problem>,
    pub stopped: Vec<Stopped>,
    pub changed: Vec<Changed>,
    /// The tests that passed, as they were typed: `sudo -n nginx -t`.
    pub tested: Vec<String>,
    /// The tests without a result, and what they printed.
    pub untested: Vec<(String, String)>,
    /// What could end a service and is not known, and what to do.
    pub unverified: Vec<Warning>,
}

/// A service that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    pub service: String,
    pub problem: Problem,
}

/// A file that the next reload makes active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub service: String,
    pub path: String,
    /// How long ago it changed.
    pub seconds: i64,
}

impl Ready {
    fn read(answer: &Answer) -> Self {
        let parts = |key| answer.all(key).map(|record| record.split('\n').map(str::to_owned).collect::<Vec<_>>());
        let broken = parts("broken").filter_map(|parts| match parts.as_slice() {
            [_, what, mend, ..] => Some(problem(About::Services, errors::services::config_broken(what, mend))),
            _ => None,
        });
        let stopped = parts("stopped").filter_map(|parts| match parts.as_slice() {
            [service, state, start, beside, ..] => Some(Stopped::new(service, state, start, beside)),
            _ => None,
        });
        let changed = parts("changed").filter_map(|parts| match parts.as_slice() {
            [service, path, seconds] => {
                Some(Changed { service: service.clone(), path: path.clone(), seconds: seconds.parse().ok()? })
            }
            _ => None,
        });
        let untested = parts("untested").map(|mut parts| (parts.remove(0), parts.pop().unwrap_or_default()));
        let unverified = parts("unverified").filter_map(|parts| match parts.as_slice() {
            [what, action, ..] => Some(errors::services::config_unverified(what, action)),
            _ => None,
        });
        Self {
            unverified: unverified.collect(),
            broken: broken.collect(),
            stopped: stopped.collect(),
            changed: changed.collect(),
            tested: answer.all("tested").map(str::to_owned).collect(),
            untested: untested.collect(),
        }
    }

    /// The services that do not run.
    pub fn down(&self) -> Vec<String> {
        self.stopped.iter().map(|stopped| stopped.service.clone()).collect()
    }

    /// Everything that prevents a reload.
    pub fn problems(&self) -> Vec<Problem> {
        let stopped = self.stopped.iter().map(|stopped| stopped.problem.clone());
        stopped.chain(self.broken.iter().cloned()).collect()
    }

    /// Warns of files that the reload activates and of what is not known, and logs the tests without a result.
    fn tell(&self, io: &Io) {
        for changed in &self.changed {
            io.warning(changed.warning());
        }
        for unverified in &self.unverified {
            io.warning(unverified.clone());
        }
        for (test, said) in &self.untested {
            io.line(format!("{test} is inconclusive: {said}"));
        }
    }
}

impl Stopped {
    fn new(service: &str, state: &str, start: &str, beside: &str) -> Self {
        let state = if state.is_empty() { String::new() } else { format!(" ({state})") };
        let problem = problem(About::Services, errors::services::stopped(service, &state, start, beside));
        Self { service: service.to_owned(), problem }
    }
}

impl Changed {
    /// What it means, and what to do.
    pub fn warning(&self) -> Warning {
        errors::services::config_not_active(&self.service, &self.path, &format::age(self.seconds))
    }
}

/// The names by which a script knows the services; `current` and the release that will be behind it, where that is known.
pub fn named(script: Script, fpm: &str, (current, next): (&str, &str)) -> Script {
    script
        .var("FPM_NAME", serving::process_name(fpm))
        .var("NGINX_NAME", "nginx")
        .var("FPM_SERVICE", fpm)
        .var("NGINX_SERVICE", "nginx")
        .var("PROC", "/proc")
        .var("RUN", "/run")
        .var("ETC", "/etc")
        .var("CURRENT", current)
        .var("NEXT", next)
}

async fn ask(shell: &dyn Shell, io: &Io, fpm: &str, places: (&str, &str), doing: &str) -> Result<Ready, Failure> {
    let script = named(Script::new("can-reload", CAN_RELOAD).repeatable(), fpm, places);
    remote::run(shell, io, script, doing).await.map(|answer| Ready::read(&answer))
}

const DOING: &str = "checking whether PHP-FPM and nginx can be reloaded";

/// The same after a reload that failed. If the server does not answer now, the reload's own failure counts.
pub async fn afterwards(shell: &dyn Shell, io: &Io, fpm: &str) -> Ready {
    match ask(shell, io, fpm, ("", ""), "checking why the reload failed").await {
        Ok(ready) => ready,
        Err(failure) => {
            io.line(failure.to_string());
            Ready::default()
        }
    }
}
