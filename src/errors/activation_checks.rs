//! What is compared right before `current` is switched.

use super::codes;
use crate::domain::Failure;

codes! {
    CURRENT_MOVED = "current-moved", Refused {
        meaning: "`current` points to another release than the plan was made for. Nothing was switched.",
        cause: "Another run, another tool or a person released or rolled back meanwhile.",
        action: "See which release is live: `readlink current`. Then start the release again.",
    }
}

/// Another release is live than the plan says.
pub fn current_moved(doing: &str, planned: Option<&str>, now: Option<&str>) -> Failure {
    let name = |link: Option<&str>| link.filter(|link| !link.is_empty()).unwrap_or("nothing").to_owned();
    CURRENT_MOVED
        .failure(doing, format!("`current` points to {}; the plan was made for {}", name(now), name(planned)))
        .hint("Another run or a person released meanwhile. See which release is live: readlink current. Then start the release again.")
}
