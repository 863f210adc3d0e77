//! What one row of the pre-flight looked at: every line of it is told, whatever becomes of the others.

use std::borrow::Cow;

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
        let finding = self.finding(check, found.into(), Judgement::Passed);
        self.findings.push(finding);
    }

    /// Its text must make sense by itself: it is one of the warnings of the run.
    pub(crate) fn warned(&mut self, check: impl Into<String>, warning: impl Into<Warning>) {
        let warning = warning.into();
        let finding = self.finding(check, warning.text.clone(), Judgement::Warned);
        self.findings.push(Finding { code: warning.code.clone(), hint: warning.hint.clone(), ..finding });
        self.io.warning(warning);
    }

    /// What it says must make sense by itself: it is the cause of the row's failure.
    pub(crate) fn failed(&mut self, check: impl Into<String>, problem: errors::Problem) {
        let finding = self.finding(check, problem.cause.clone(), Judgement::Failed);
        let help: Vec<&str> = std::iter::once(&problem.hint).chain(&problem.details).map(String::as_str).collect();
        self.findings.push(Finding { code: problem.code.clone(), hint: Some(help.join("\n")), ..finding });
        self.problems.push(problem);
    }

    fn finding(&self, check: impl Into<String>, found: String, judgement: Judgement) -> Finding {
        Finding {
            step: self.io.step().clone(),
            check: check.into(),
            found,
            judgement,
            code: Cow::default(),
            hint: None,
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.judgement == Judgement::Passed)
    }

    /// Records the lines and ends the row; `text` is what it says when everything is as it should be. A row that has a warning says
    /// that instead: "its configuration is whole" must not stand beside a question without an answer (F90).
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
