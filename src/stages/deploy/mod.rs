//! `deploy`: a release. Open `table.rs` first: it is the whole release on one screen.

pub mod plan;
pub mod table;

pub use self::{
    plan::settle,
    table::{production, table},
};
