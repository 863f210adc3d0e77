//! Values that must never be seen.

use std::fmt;

use zeroize::Zeroizing;

/// A secret value. It has no `Display`, its `Debug` prints `***`, it cannot become a word of a
/// [`RemoteCommand`](super::RemoteCommand), and its memory is overwritten when it goes.
///
/// It is masked at birth: `inputs` prints the `::add-mask::` commands ([`Secret::mask_lines`]) before anything else is printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself. Grep for this word to see every place where a secret is used.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to tell the runner to mask: the whole value when it is one line, and each line of a longer one that is
    /// long enough to be the secret's own. Armour (`-----BEGIN`) and short lines (`}`) are left out: masking them
    /// would wreck the log, and the runner has no minimum length (actions/runner `ActionCommandManager.cs`).
    pub fn mask_lines(&self) -> Vec<&str> {
        let value = self.0.trim();
        let lines: Vec<&str> = value.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [] => Vec::new(),
            [one] => vec![one],
            many => many.iter().copied().filter(|line| line.len() >= 8 && !line.starts_with("-----")).collect(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
