//! What the sweep does to tables and connections before they are used (docs/testing.md). The action alters nothing.
#![cfg_attr(not(feature = "fault"), allow(unreachable_pub))]

use std::rc::Rc;

use crate::{
    context::{Deploy, Survey},
    engine::Table,
    stages::recover,
    transport::shell::Shell,
};

/// The table of a stage that changes a site.
pub type SiteTable = Table<Survey, Deploy>;

/// The table of `recover`, and of the post step.
pub type RecoverTable = Table<recover::Survey, recover::Recover>;

/// What is done to a table before it runs, and to the connections to servers that its rows use.
pub trait Alter {
    fn site(&self, _table: &mut SiteTable) {}
    fn recover(&self, _table: &mut RecoverTable) {}
    fn shell(&self, shell: Rc<dyn Shell>) -> Rc<dyn Shell> {
        shell
    }
}

pub(super) struct Unaltered;

impl Alter for Unaltered {}
