//! The log: the one place that writes to standard output.
//!
//! Everything goes to one stream, because the order between two is not kept by the runner, and
//! each line is flushed, because a pipe is not a terminal.

use std::{cell::RefCell, io::Write, rc::Rc};

use super::clean::{self, LONGEST_LINE};
use crate::{domain::Secret, report::redact::Redactor};

/// The runner takes this many annotations of each kind from a step and drops the rest (actions/runner `ExecutionContext.cs`).
const MOST_ANNOTATIONS: usize = 10;
/// The runner cuts annotations after this many UTF-16 units (`ExecutionContext.cs`, too).
const LONGEST_MESSAGE: usize = 4096;

/// Who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The runner of GitHub Actions: groups, annotations and masks are commands in the text.
    Actions,
    /// A terminal or another CI: nothing but text.
    Plain,
}

/// Writes lines. Cheap to clone; all clones write to the same place, in order.
///
/// No text can issue a command through it: [`Log::line`] and [`Log::text`] defuse what looks like one, and commands have
/// methods of their own.
#[derive(Clone)]
pub struct Log {
    style: Style,
    redactor: Redactor,
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    out: Box<dyn Write>,
    errors: usize,
    warnings: usize,
}

impl Log {
    pub fn new(style: Style, redactor: Redactor, out: impl Write + 'static) -> Self {
        Self { style, redactor, shared: Rc::new(RefCell::new(Shared { out: Box::new(out), errors: 0, warnings: 0 })) }
    }

    pub fn style(&self) -> Style {
        self.style
    }

    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Tells the runner what to hide from now on, before anything else is printed: the secret, and each of its lines
    /// that is long enough to be its own. Outside Actions nobody listens, and nothing is printed.
    pub fn mask<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) {
        if self.style == Style::Plain {
            return;
        }
        for line in secrets.into_iter().flat_map(Secret::mask_lines) {
            self.write(&format!("::add-mask::{}", escape_data(line)));
        }
    }

    /// Hides a secret that was learnt in the middle of the run, here and in everything that is written from now on.
    pub fn hide(&self, secret: &Secret) {
        self.mask([secret]);
        self.redactor.learn(secret);
    }

    /// One line: cleaned, without secrets, cut when too long, and never a command.
    pub fn line(&self, line: &str) {
        let line = self.redactor.text(&clean::line(&self.redactor.text(line)));
        self.write(&clean::cut(&clean::harmless(&line), LONGEST_LINE));
    }

    /// A text of many lines, each behind `prefix`.
    pub fn text(&self, prefix: &str, text: &str) {
        // Before it is split, because a secret may have lines too short to be recognised on their own.
        for line in clean::lines(&self.redactor.text(text)) {
            self.line(&format!("{prefix}{line}"));
        }
    }

    /// What follows is folded away under `title` until [`Log::group_ends`].
    pub fn group(&self, title: &str) {
        self.command("group", None, title);
    }

    pub fn group_ends(&self) {
        self.command("endgroup", None, "");
    }

    /// An annotation on the run's page. Says nothing outside Actions, and nothing after the ninth: the log has its own
    /// lines for errors, and the last place belongs to the run's outcome.
    pub fn annotate_error(&self, title: &str, message: &str) {
        let mut shared = self.shared.borrow_mut();
        shared.errors += 1;
        let fits = shared.errors < MOST_ANNOTATIONS;
        drop(shared);
        if fits {
            self.command("error", Some(title), message);
        }
    }

    /// The annotation that tells how the run ended; to be made once.
    pub fn annotate_outcome(&self, title: &str, message: &str) {
        self.command("error", Some(title), message);
    }

    /// A warning: as an annotation in Actions (at most ten), else as text.
    pub fn warning(&self, title: &str, message: &str) {
        let mut shared = self.shared.borrow_mut();
        shared.warnings += 1;
        let fits = shared.warnings <= MOST_ANNOTATIONS;
        drop(shared);
        if self.style == Style::Actions && fits {
            self.command("warning", Some(title), message);
        } else {
            let (first, more) = message.split_once('\n').unwrap_or((message, ""));
            self.text("warning: ", first);
            self.text("  ", more);
        }
    }

    fn command(&self, name: &str, title: Option<&str>, message: &str) {
        if self.style == Style::Plain {
            return;
        }
        let message = self.redactor.text(message);
        let message: Vec<String> =
            clean::lines(&message).iter().map(|line| clean::harmless(&self.redactor.text(line))).collect();
        let message = escape_data(&cut_message(&message.join("\n")));
        match title {
            Some(title) => {
                let title = clean::harmless(&self.redactor.text(&clean::one_line(title)));
                self.write(&format!("::{name} title={}::{message}", escape_property(&title)));
            }
            None => self.write(&format!("::{name}::{message}")),
        }
    }

    fn write(&self, line: &str) {
        let mut shared = self.shared.borrow_mut();
        // When standard output is gone there is nobody left to tell, and the release matters more than its log.
        let _ = writeln!(shared.out, "{line}").and_then(|()| shared.out.flush());
    }
}

/// The data of a workflow command (packages/core/src/command.ts in actions/toolkit).
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command: as data, and what separates properties too.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

fn cut_message(message: &str) -> String {
    const NOTE: &str = "\n… (cut; the log has the rest)";
    if message.encode_utf16().count() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    let mut units = LONGEST_MESSAGE - NOTE.encode_utf16().count();
    let kept = message.chars().take_while(|c| {
        let fits = c.len_utf16() <= units;
        units = units.saturating_sub(c.len_utf16());
        fits
    });
    kept.chain(NOTE.chars()).collect()
}
