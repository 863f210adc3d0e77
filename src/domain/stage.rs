//! What a run does, and where.

use std::{fmt, str::FromStr};

/// The stages of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    BuildGate,
    DeployStaging,
    DeployProduction,
    Preflight,
    Smoke,
    Verify,
    Rollback,
    Audit,
    Fix,
    Recover,
}

impl Stage {
    /// All of them, in the order in which a reader meets them.
    pub const ALL: &[Self] = &[
        Self::BuildGate,
        Self::DeployStaging,
        Self::DeployProduction,
        Self::Preflight,
        Self::Smoke,
        Self::Verify,
        Self::Rollback,
        Self::Audit,
        Self::Fix,
        Self::Recover,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuildGate => "build-gate",
            Self::DeployStaging => "deploy-staging",
            Self::DeployProduction => "deploy-production",
            Self::Preflight => "preflight",
            Self::Smoke => "smoke",
            Self::Verify => "verify",
            Self::Rollback => "rollback",
            Self::Audit => "audit",
            Self::Fix => "fix",
            Self::Recover => "recover",
        }
    }

    /// Whether it may change something on a server, so that a run of it can leave something behind.
    pub fn can_leave_something(self) -> bool {
        matches!(self, Self::DeployStaging | Self::DeployProduction | Self::Rollback | Self::Recover)
    }

    /// The environment a stage works on when none is given.
    pub fn default_environment(self) -> Option<&'static str> {
        match self {
            Self::BuildGate => None,
            Self::DeployStaging | Self::Smoke => Some("staging"),
            Self::DeployProduction
            | Self::Preflight
            | Self::Verify
            | Self::Rollback
            | Self::Audit
            | Self::Fix
            | Self::Recover => Some("production"),
        }
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|stage| stage.as_str() == text).ok_or_else(|| format!("`{text}` is not a stage"))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The environment whose proof production asks for.
pub const STAGING: &str = "staging";

/// The name of an environment: `staging`, `production`, or one's own word of lower-case letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvironmentName(String);

impl EnvironmentName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvironmentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word =
            !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if word && !text.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not an environment's name (lower-case letters, digits and hyphens)"))
        }
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text_serde!(Stage, EnvironmentName);
