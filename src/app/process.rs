//! This process itself.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps secrets out of core dumps, and other processes of this account from reading this one's memory (`ptrace`, `/proc/PID/mem`).
/// Programs that it starts write no core dumps either.
pub fn keep_memory_private() {
    // Lowering a limit and giving up a right are never refused; where the kernel knows neither, there is nothing to turn off.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn nothing_of_this_process_can_be_dumped() {
        keep_memory_private();
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        assert!(matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)));
    }
}
