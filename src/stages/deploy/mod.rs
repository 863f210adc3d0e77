//! `deploy`: a release. Open `table.rs` first: it is the whole release on one screen.

pub mod plan;
pub mod table;

pub use self::{
    plan::decide,
    table::{production, table},
};
