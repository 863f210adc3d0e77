//! `smoke`: asks a site, changes nothing, needs no server.

pub mod table;

pub use self::table::table;

use std::rc::Rc;

use crate::{
    clock::Clock,
    config::typed,
    domain::{Failure, gate::FrontEnd, record::key},
    engine::{Decided, Decision, Done, StepResult, step::Io},
    http::Site,
    server::health::probe::{self, Quotes, Visitor},
};

/// What the rows know.
pub struct Smoke {
    pub inputs: typed::Smoke,
    pub site: Rc<dyn Site>,
    pub clock: Rc<dyn Clock>,
}

impl Smoke {
    fn visitor(&self) -> Visitor<'_> {
        Visitor {
            site: &*self.site,
            clock: &*self.clock,
            health: &self.inputs.health,
            home_before: None,
            layout: None,
            quotes: Quotes::Plain,
        }
    }
}

/// Every endpoint, two rounds in a row, and a page that must not be healthy (F69).
pub async fn health(cx: &Smoke, io: &Io) -> StepResult {
    io.record(key::ENVIRONMENT, cx.inputs.environment.as_str());
    io.record(key::URL, cx.inputs.site.url.as_str());
    probe::well(cx.visitor(), io).await
}

/// Every Vite asset that the site's own manifest names.
pub async fn assets(cx: &Smoke, io: &Io) -> StepResult {
    if cx.inputs.front_end == FrontEnd::None {
        return Ok(Done::skipped(probe::NO_FRONT_END));
    }
    probe::served_assets(cx.visitor(), None, io).await
}

/// There is nothing to approve: nothing follows.
pub fn decide(_: Smoke) -> Result<Decided<()>, Failure> {
    Ok(Decided { cx: (), decision: Decision::Go })
}
