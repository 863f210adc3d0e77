//! What one row of the pre-flight looked at: every line of it is told, whatever becomes of the others.

use crate::{
    context::Survey,
    domain::{
        Warning,
        record::{Finding, Judgement, key},
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
};

pub(crate) struct Sheet<'a> {
    cx: &'a Survey,
    io: &'a Io,
    doing: String,
    findings: Vec<Finding>,
    problems: Vec<errors::Problem>,
}

impl<'a> Sheet<'a> {
    /// `doing` is what the row does, for its failure.
    pub(crate) fn new(cx: &'a Survey, io: &'a Io, doing: impl Into<String>) -> Self {
        Self { cx, io, doing: doing.into(), findings: Vec::new(), problems: Vec::new() }
    }

    pub(crate) fn passed(&mut self, check: impl Into<String>, found: impl Into<String>) {
        self.add(check.into(), found.into(), Judgement::Passed, None);
    }

    /// `found` must make sense by itself: it is told among the warnings of the run.
    pub(crate) fn warned(&mut self, check: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) {
        let (found, hint) = (found.into(), hint.into());
        self.io.warn(&found, Some(hint.clone()));
        self.add(check.into(), found, Judgement::Warned, Some(hint));
    }

    /// The same with the code of the warning.
    pub(crate) fn warning(&mut self, check: impl Into<String>, warning: Warning) {
        self.io.warning(warning.clone());
        self.add(check.into(), warning.text, Judgement::Warned, warning.hint);
    }

    /// What it says must make sense by itself: it is the cause of the row's failure.
    pub(crate) fn failed(&mut self, check: impl Into<String>, problem: errors::Problem) {
        let hint = std::iter::once(&problem.hint).chain(&problem.details).map(String::as_str).collect::<Vec<_>>();
        self.add(check.into(), problem.cause.clone(), Judgement::Failed, Some(hint.join("\n")));
        self.problems.push(problem);
    }

    fn add(&mut self, check: String, found: String, judgement: Judgement, hint: Option<String>) {
        self.findings.push(Finding { step: self.io.step().clone(), check, found, judgement, hint });
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.judgement == Judgement::Passed)
    }

    /// Tells the lines and ends the row; `text` is what it says when everything is as it should be. A row that has a warning says
    /// that instead: "its configuration is whole" must not stand beside a question that nobody answered (F90).
    pub(crate) fn end(self, text: impl Into<String>) -> StepResult {
        let warned: Vec<String> = self
            .findings
            .iter()
            .filter(|finding| finding.judgement == Judgement::Warned)
            .map(|finding| finding.found.clone())
            .collect();
        let mut found = self.cx.state.borrow_mut();
        found.findings.extend(self.findings);
        self.io.record(key::FINDINGS, &found.findings);
        if !self.problems.is_empty() {
            return Err(errors::preflight::refusal(&self.doing, self.problems));
        }
        Ok(match warned.as_slice() {
            [] => Done::passed(text),
            warned => Done::warned(warned.join("; ")),
        })
    }
}
