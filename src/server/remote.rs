//! Running a script from a step, and showing in the plan what would run.

use crate::{
    domain::{Failure, RemoteCommand},
    engine::step::{Act, Io, Local, StepResult, UndoAct, Undone},
    transport::shell::{Answer, Script, Shell},
};

/// Stands before every PHP program that starts an app, so that the app neither writes nor loads where other accounts can write.
pub const APP: &str = include_str!("app.php");

/// Runs a script; its output becomes lines of the step, its failure a failure of the step.
pub async fn run(shell: &dyn Shell, io: &Io, script: Script, doing: &str) -> Result<Answer, Failure> {
    shell.run(script, &mut |line| io.line(line)).await.map_err(|error| error.failure(doing))
}

/// A record that the script always gives. Its absence is a fault of ours, not of the server's.
pub fn required<'a>(answer: &'a Answer, key: &str, doing: &str) -> Result<&'a str, Failure> {
    answer.get(key).ok_or_else(|| Failure::bug(doing, format!("the script gave no `{key}`")))
}

/// A number that the script always gives.
pub fn number<T: std::str::FromStr>(answer: &Answer, key: &str, doing: &str) -> Result<T, Failure> {
    let text = required(answer, key, doing)?;
    text.trim().parse().map_err(|_| Failure::bug(doing, format!("`{key}` is `{text}`, not a number")))
}

/// The end of what a command printed.
#[derive(Default)]
pub struct Tail {
    pub lines: Vec<String>,
}

impl Tail {
    const LENGTH: usize = 20;

    pub fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.lines.len() == Self::LENGTH {
            self.lines.remove(0);
        }
        self.lines.push(line.to_owned());
    }
}

/// A size in KiB, as df, du and databases tell it; `None` if it is no number, or one beyond all disks: a foreign number must not cause an
/// overflow.
pub fn kib(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|kib| *kib <= 1 << 50)
}

/// A step together with what the plan prints for it.
pub struct Previewed<A, P> {
    act: A,
    preview: P,
}

/// Adds a preview to a step: the commands or sentences that say what it would do.
pub fn previewed<C, A, P>(act: A, preview: P) -> Previewed<A, P>
where
    A: Act<C>,
    P: Fn(&C) -> Vec<String>,
{
    Previewed { act, preview }
}

impl<C, A, P> Act<C> for Previewed<A, P>
where
    A: Act<C>,
    P: Fn(&C) -> Vec<String>,
{
    fn act<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, StepResult> {
        self.act.act(cx, io)
    }

    fn preview(&self, cx: &C) -> Vec<String> {
        (self.preview)(cx)
    }
}

/// An undo together with what a person types when it fails.
pub struct ByHand<U, P> {
    undo: U,
    commands: P,
}

pub fn by_hand<C, U, P>(undo: U, commands: P) -> ByHand<U, P>
where
    U: UndoAct<C>,
    P: Fn(&C) -> Vec<RemoteCommand>,
{
    ByHand { undo, commands }
}

impl<C, U, P> UndoAct<C> for ByHand<U, P>
where
    U: UndoAct<C>,
    P: Fn(&C) -> Vec<RemoteCommand>,
{
    fn undo<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, Result<Undone, Failure>> {
        self.undo.undo(cx, io)
    }

    fn by_hand(&self, cx: &C) -> Vec<String> {
        (self.commands)(cx).iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_all_disks_are_none() {
        assert_eq!(["12", " 12\n", "1125899906842624"].map(kib), [Some(12), Some(12), Some(1 << 50)]);
        assert_eq!(
            ["", "-1", "12 K", "1125899906842625", "18446744073709551615", "99999999999999999999"].map(kib),
            [None; 6]
        );
    }
}
