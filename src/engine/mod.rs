//! Steps in order, undo in reverse. The engine has no word of deployment: it runs tables of rows.
//!
//! Five words make a row. `observe` reads, and runs in plan mode too. `hold` takes something and gives it back however
//! the run ends. `change` alters the world and says how to undo that, or why not. `check` reads after a change;
//! failing unwinds. `commit`: from here on nothing is rolled back.

pub mod event;
#[cfg(any(test, feature = "fault"))]
pub mod fault;
pub mod run;
pub mod step;

pub use crate::engine::{
    event::{Event, Events, Reader, Verdict},
    run::{Cancel, Decided, Decision, run_table},
    step::{Done, Ending, Entry, Io, Row, StepResult, Table, Undone},
};
