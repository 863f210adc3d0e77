//! How we touch the world: one trait and one adapter each. Only this room starts processes, opens sockets or asks the time.

pub mod clock;
pub mod github;
pub mod http;
pub mod process;
pub mod shell;
pub mod ssh;
