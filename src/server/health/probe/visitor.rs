//! Who asks the site, and by which way.

use crate::{
    clock::Clock,
    config::typed::HealthPolicy,
    context::{Deploy, Ports},
    http::Site,
};

/// Who asks the site, and by which rules.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    pub site: &'a dyn Site,
    pub clock: &'a dyn Clock,
    pub health: &'a HealthPolicy,
    /// The status that the home page had before anything changed, where it was asked.
    pub home_before: Option<u16>,
}

impl<'a> Visitor<'a> {
    /// Asks from a second place where the first does not reach the site: what is found decides whether a release stays.
    pub fn of(ports: &'a Ports, health: &'a HealthPolicy) -> Self {
        Self { site: &*ports.anywhere, clock: &*ports.clock, health, home_before: None }
    }

    /// Asks by the way that the inputs name, and by no other.
    pub(crate) fn as_configured(ports: &'a Ports, health: &'a HealthPolicy) -> Self {
        Self { site: &*ports.site, ..Self::of(ports, health) }
    }

    pub(crate) fn after(cx: &'a Deploy) -> Self {
        Self { home_before: cx.plan.home, ..Self::of(&cx.ports, &cx.inputs.health) }
    }
}
