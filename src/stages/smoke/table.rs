//! `smoke`: checks the health of a site. It only reads, and can run on a schedule.

use super::Smoke;

use crate::{
    engine::{
        Table,
        step::{observe, together},
    },
    stages::smoke,
};

/// Steps 19 and 20 without a release. Both are asked, so that one failure does not hide the other.
pub fn table() -> Table<Smoke, ()> {
    Table {
        survey: vec![together(vec![
            observe("health", "19 Check that the site is healthy", smoke::health),
            observe("assets", "20 Check every Vite asset", smoke::assets),
        ])],
        apply: Vec::new(),
    }
}
