//! What all stories share.

use std::path::Path;

use gated_deploy_lab::{Options, runner::Finished, story::Story};

/// The built action.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_gated-deploy");

/// The project's root, where `action.yml` lies.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A server with a first healthy release on both sites, and GitHub.
#[track_caller]
pub(crate) fn story() -> Story {
    story_on(Options::default())
}

#[track_caller]
pub(crate) fn story_on(options: Options) -> Story {
    Story::begin(BINARY, root(), options).expect("the lab must start; `cargo xtask lab` says what is missing")
}

/// The run ended as documented: exit code and `outcome` output agree with each other and with what is expected.
#[track_caller]
pub(crate) fn assert_ended(finished: &Finished, exit_code: i32, outcome: &str) {
    assert_eq!(
        (finished.exit_code, output(finished, "outcome")),
        (exit_code, outcome),
        "the run ended in another way:\n{}",
        finished.raw_log
    );
    finished.assert_no_secret_leaks();
}

/// An output, or nothing.
pub(crate) fn output<'a>(finished: &'a Finished, name: &str) -> &'a str {
    finished.outputs.get(name).map_or("", String::as_str)
}

/// Everything in `parts` stands in `text`.
#[track_caller]
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

/// Gives the account 33 a right by an access list, as `setfacl` does.
pub(crate) fn give_access(path: &Path, right: u16) {
    // Its version; then owner, account, group, mask and others: tag, right, number.
    let mut list = 2_u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    for (tag, right, number) in [(1, 7, none), (2, right, 33), (4, right, none), (16, right, none), (32, 0, none)] {
        let entry: (u16, u16, u32) = (tag, right, number);
        list.extend(entry.0.to_le_bytes().into_iter().chain(entry.1.to_le_bytes()).chain(entry.2.to_le_bytes()));
    }
    rustix::fs::setxattr(path, "system.posix_acl_access", &list, rustix::fs::XattrFlags::empty())
        .expect("a file system with access lists");
}
