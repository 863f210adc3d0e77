//! What the live release made of the schema that migrations left: whether its code still works there.

use serde::{Deserialize, Serialize};

/// The health of the release that was live when migrations had run, and before anything was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVerdict {
    pub verdict: Verdict,
    /// The first page that is unhealthy, with its answer; or why the release was not asked. Nothing that the app threw: that stands in a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Healthy,
    /// It was healthy before the migrations, and is not any more.
    Unhealthy,
    /// It was not asked, or what it answered says nothing of the migrations.
    NotAsked,
}

impl SchemaVerdict {
    pub fn healthy() -> Self {
        Self { verdict: Verdict::Healthy, why: None }
    }

    pub fn unhealthy(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unhealthy, why: Some(why.into()) }
    }

    pub fn not_asked(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotAsked, why: Some(why.into()) }
    }

    pub fn is_unhealthy(&self) -> bool {
        self.verdict == Verdict::Unhealthy
    }

    /// `unhealthy (/health: 503 instead of 200)`
    pub fn describe(&self) -> String {
        let word = match self.verdict {
            Verdict::Healthy => "healthy",
            Verdict::Unhealthy => "unhealthy",
            Verdict::NotAsked => "not asked",
        };
        self.why.as_ref().map_or_else(|| word.to_owned(), |why| format!("{word} ({why})"))
    }
}
