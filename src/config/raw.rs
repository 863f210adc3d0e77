//! What was given, as text, from the first place that gives it: the command line, a variable, the policy file.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    rc::Rc,
};

use super::{
    environment::Environment,
    flags::Flags,
    policy::{self, Policy},
    problem::{Location, Problem},
    table::{self, INPUTS, Input, Preset},
    typed::UnreviewedSetting,
};
use crate::domain::{Secret, Stage};

/// The text of an input and where it came from.
#[derive(Debug, Clone)]
pub struct Given {
    pub text: String,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag,
    /// The variable's name.
    Variable(String),
    Policy(Location),
    Preset,
}

impl Given {
    pub fn location(&self) -> Option<Location> {
        match &self.source {
            Source::Policy(location) => Some(location.clone()),
            Source::Flag | Source::Variable(_) | Source::Preset => None,
        }
    }
}

/// Everything that was given.
#[derive(Debug)]
pub struct Raw<'e> {
    pub environment: &'e Environment,
    pub workspace: PathBuf,
    /// What is wrong so far: unknown names, secrets in open places, a policy file that cannot be read.
    pub problems: Vec<Problem>,
    values: BTreeMap<&'static str, Given>,
    secrets: BTreeMap<&'static str, Secret>,
    /// Texts that stood where no secret may stand: refused, and still kept out of everything that is printed.
    leaked: Vec<Secret>,
    /// Inputs that were passed, but empty.
    emptied: BTreeSet<&'static str>,
    policy: Policy,
    /// There is a policy file, and what it says is not known.
    pub policy_unread: bool,
    /// Which section of the policy holds.
    section: Option<String>,
    /// Every question that the policy was asked, with its answer.
    asked: Rc<RefCell<BTreeSet<UnreviewedSetting>>>,
}

impl<'e> Raw<'e> {
    pub fn collect(environment: &'e Environment, flags: Flags) -> Self {
        let mut raw = Self {
            environment,
            workspace: environment.workspace(),
            problems: flags.problems,
            values: flags.values.into_iter().filter_map(|(input, text)| given(input, &text, Source::Flag)).collect(),
            secrets: flags.secrets.into_iter().map(|(input, secret)| (input.name, secret)).collect(),
            leaked: flags.leaked,
            emptied: BTreeSet::new(),
            policy: Policy::default(),
            policy_unread: false,
            section: None,
            asked: Rc::default(),
        };
        for input in INPUTS {
            raw.variable(input);
        }
        raw.unknown_variables();
        let reading = policy::read(&raw.workspace, raw.text("config"));
        raw.policy = reading.policy;
        raw.policy_unread = reading.unread;
        raw.problems.extend(reading.problems);
        raw.leaked.extend(reading.leaked);
        raw.section = raw.environment_name();
        raw
    }

    /// The text of a named input or policy key, or its plain default.
    pub fn given(&self, name: &str) -> Option<Given> {
        self.directly(name).cloned().or_else(|| self.in_policy(name)).or_else(|| {
            match table::find_policy_key(name)?.preset {
                Preset::Is(text) => Some(Given { text: text.to_owned(), source: Source::Preset }),
                _ => None,
            }
        })
    }

    /// The same file seen from another environment: what was given for it goes by the names in `inputs` and `secrets` (here, there),
    /// and nothing else that was given for this run counts.
    pub fn seen_from(
        &self,
        environment: &str,
        inputs: &[(&str, &'static str)],
        secrets: &[(&str, &'static str)],
    ) -> Self {
        let values = inputs.iter().filter_map(|(here, there)| Some((*there, self.directly(here)?.clone())));
        // The first name that was given wins.
        let mut known = BTreeMap::new();
        for (here, there) in secrets {
            if let Some(secret) = self.secret(here) {
                known.entry(*there).or_insert_with(|| secret.clone());
            }
        }
        Self {
            environment: self.environment,
            workspace: self.workspace.clone(),
            problems: Vec::new(),
            values: values.collect(),
            secrets: known,
            leaked: Vec::new(),
            emptied: BTreeSet::new(),
            policy: self.policy.clone(),
            policy_unread: self.policy_unread,
            section: Some(environment.to_owned()),
            asked: self.asked.clone(),
        }
    }

    /// What the command line or a variable gave.
    pub fn directly(&self, name: &str) -> Option<&Given> {
        self.values.get(name)
    }

    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// Whether the input was passed with nothing in it.
    pub fn was_empty(&self, name: &str) -> bool {
        self.emptied.contains(name)
    }

    /// Every secret that was given, in its place or not.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.values().chain(&self.leaked)
    }

    /// What the policy said, or did not say, to whatever was not given directly.
    pub fn asked_of_policy(&self) -> Vec<UnreviewedSetting> {
        self.asked.borrow().iter().cloned().collect()
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.directly(name).map(|given| given.text.as_str())
    }

    fn in_policy(&self, name: &str) -> Option<Given> {
        let entry = self.policy.entry(self.section.as_deref(), name);
        if let Some(input) = table::find_policy_key(name) {
            let text = entry.map(|entry| entry.text.clone());
            let asked = UnreviewedSetting { section: self.section.clone(), input: input.name, text };
            self.asked.borrow_mut().insert(asked);
        }
        let entry = entry?;
        Some(Given { text: entry.text.clone(), source: Source::Policy(entry.location.clone()) })
    }

    /// The environment as far as it is known before anything is checked; it chooses the policy's section.
    fn environment_name(&self) -> Option<String> {
        let by_stage = || self.text("stage")?.parse::<Stage>().ok()?.default_environment();
        self.text("environment").or_else(by_stage).map(str::to_owned)
    }

    /// Looks for an input in the variables, unless the command line gave it.
    fn variable(&mut self, input: &'static Input) {
        let runner = input.runner_variable();
        // A shell that cannot export hyphens passes INPUT_SSH_HOST.
        let names = [runner.replace('-', "_"), runner, input.shell_variable()];
        for name in [&names[1], &names[0], &names[2]] {
            let Some(value) = self.environment.raw(name) else { continue };
            let Some(text) = value.to_str() else {
                self.problems.push(Problem::new(name, "is not UTF-8 text", "pass text"));
                return;
            };
            if text.trim().is_empty() {
                self.emptied.insert(input.name);
                continue;
            }
            if input.secret {
                self.secrets.entry(input.name).or_insert_with(|| Secret::new(text.trim()));
            } else if let Some((name, given)) = given(input, text, Source::Variable(name.clone())) {
                self.values.entry(name).or_insert(given);
            }
            return;
        }
    }

    /// A typo in `with:` only warns in the runner, and the run would go on without the input. Outside of Actions, foreign
    /// programs have variables such as INPUT_METHOD.
    fn unknown_variables(&mut self) {
        const RUNNERS_OWN: [&str; 2] = ["entrypoint", "args"];
        for variable in self.environment.names() {
            let runner = variable.strip_prefix("INPUT_").filter(|_| self.environment.in_actions());
            let Some(name) = runner.or_else(|| variable.strip_prefix("GATED_DEPLOY_")) else { continue };
            let name = name.to_lowercase().replace('_', "-");
            if table::find(&name).is_some() || RUNNERS_OWN.contains(&name.as_str()) {
                continue;
            }
            let shown = if runner.is_some() { &name } else { variable };
            let (problem, right) = match table::find_policy_key(&name) {
                Some(_) => ("is not an input".to_owned(), "set it in the policy file".to_owned()),
                None => ("is not known".to_owned(), meant(&name)),
            };
            self.problems.push(Problem::new(shown, problem, right));
        }
    }
}

fn meant(name: &str) -> String {
    match table::nearest(name, INPUTS.iter().map(|input| input.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "docs/inputs.md lists the inputs".to_owned(),
    }
}

/// A text, trimmed as the runner's toolkit does; nothing if it is empty, which the runner cannot tell from "not given".
fn given(input: &'static Input, text: &str, source: Source) -> Option<(&'static str, Given)> {
    let text = text.trim();
    (!text.is_empty()).then(|| (input.name, Given { text: text.to_owned(), source }))
}
