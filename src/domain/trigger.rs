//! Events that start workflow runs, and who can cause them.

/// Events whose runs build code that an account with write access pushed. Runs of pull requests, comments and other workflows can build the
/// code of others, even inside this repository.
pub const BUILD_EVENTS: [&str; 6] =
    ["push", "workflow_dispatch", "schedule", "repository_dispatch", "merge_group", "release"];

/// Events that start a build whose bundle is checked and never released: they can be about the code of others.
pub const CHECK_EVENTS: [&str; 2] = ["pull_request", "workflow_run"];

/// Further events that need write access to the repository.
const WRITER_EVENTS: [&str; 4] = ["create", "delete", "deployment", "deployment_status"];

/// Whether a run of this event builds code that an account with write access pushed.
pub fn builds_own_code(event: &str) -> bool {
    BUILD_EVENTS.contains(&event)
}

/// Whether an account without write access can cause this event. An event that is not known counts as one of those.
pub fn open_to_others(event: &str) -> bool {
    !builds_own_code(event) && !WRITER_EVENTS.contains(&event)
}

/// What a merge queue calls the branch of a group of pull requests that is merged into `branch`.
pub fn merge_queue_target(head: &str) -> Option<&str> {
    head.strip_prefix("gh-readonly-queue/")?.rsplit_once('/').map(|(branch, _)| branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_that_is_not_listed_is_open_to_accounts_without_write_access() {
        for event in ["pull_request", "pull_request_target", "issue_comment", "workflow_run", "watch", "new_event", ""]
        {
            assert!(open_to_others(event) && !builds_own_code(event), "{event}");
        }
        for event in ["push", "workflow_dispatch", "schedule", "deployment_status"] {
            assert!(!open_to_others(event), "{event}");
        }
        assert_eq!(merge_queue_target("gh-readonly-queue/main/pr-7-0123"), Some("main"));
        assert_eq!(merge_queue_target("gh-readonly-queue/release/v1/pr-7-0123"), Some("release/v1"));
        assert_eq!(merge_queue_target("main"), None);
    }
}
