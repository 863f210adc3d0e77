//! Gives libFuzzer's bytes to the target that `FUZZ_TARGET` names. What a target does, and what must hold, stands in `src/fuzzing.rs`.

#![no_main]

use std::sync::LazyLock;

use gated_deploy::fuzzing::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let known = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("FUZZ_TARGET is one of {}", known()))
});

fuzz_target!(|bytes: &[u8]| (CHOSEN.run)(bytes));
