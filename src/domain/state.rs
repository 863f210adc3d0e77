//! What a run leaves to its post step, by name: `GITHUB_STATE` hands each value on as `STATE_<name>`.

/// How far the run came: one of the words of the row that it was about to begin, or [`ENDED`], or [`HANDED_OVER`].
pub const PHASE: &str = "phase";

/// The release that it made, or rolled back to.
pub const RELEASE: &str = "release";

/// The number of its deploy lock.
pub const LOCK: &str = "lock";

/// The run is over and has left nothing to do.
pub const ENDED: &str = "ended";

/// The run is over, and had no time (or no connection) to bring everything to its end.
pub const HANDED_OVER: &str = "handed-over";
