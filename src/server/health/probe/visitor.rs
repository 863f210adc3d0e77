//! Who asks the site, and by which way.

use crate::{
    clock::Clock,
    config::typed::{HealthPolicy, Target},
    context::{Deploy, Ports},
    domain::Layout,
    http::Site,
    server::health::probe::quotes::Quotes,
};

/// Who asks the site, and by which rules.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    pub site: &'a dyn Site,
    pub clock: &'a dyn Clock,
    pub health: &'a HealthPolicy,
    /// The status that the home page had before anything changed, where it was asked.
    pub home_before: Option<u16>,
    /// Where the site lies on its server, where that is known: `smoke` does not know it.
    pub layout: Option<&'a Layout>,
    /// How text of the site is quoted.
    pub quotes: Quotes<'a>,
}

impl<'a> Visitor<'a> {
    /// Asks from a second place where the first does not reach the site: what is found decides whether a release stays.
    pub fn of(ports: &'a Ports, health: &'a HealthPolicy) -> Self {
        Self {
            site: &*ports.anywhere,
            clock: &*ports.clock,
            health,
            home_before: None,
            layout: None,
            quotes: Quotes::Plain,
        }
    }

    /// Asks by the way that the inputs name, and by no other.
    pub(crate) fn as_configured(ports: &'a Ports, health: &'a HealthPolicy) -> Self {
        Self { site: &*ports.site, ..Self::of(ports, health) }
    }

    pub(crate) fn after(cx: &'a Deploy) -> Self {
        Self { home_before: cx.plan.home, ..Self::of(&cx.ports, &cx.inputs.health).on(&cx.ports, &cx.inputs) }
    }

    /// Names the site's folders in what it advises, and quotes the site by the filter on its server.
    #[must_use]
    pub fn on(self, ports: &'a Ports, target: &'a Target) -> Self {
        Self { layout: Some(&target.layout), quotes: Quotes::of(ports, target), ..self }
    }

    /// Where Laravel writes its log.
    pub(in crate::server::health) fn log(&self) -> String {
        const LOG: &str = "storage/logs/laravel.log";
        match self.layout {
            Some(layout) => format!("{}/{LOG}", layout.shared()),
            None => format!("`{LOG}` in the site's shared folder"),
        }
    }
}
