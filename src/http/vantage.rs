//! The site, asked from a second place where the first one cannot ask it.

use std::rc::Rc;

use async_trait::async_trait;

use super::{Get, Reply, Site, Unanswered, Why};

/// Asks as the inputs say. A request that does not reach the site that way is made once more, and then on the server itself: a site
/// that could not be asked is rolled back, or needs manual action.
pub struct Vantages {
    first: Rc<dyn Site>,
    second: Rc<dyn Site>,
}

/// Where the second place is.
const ON_SERVER: &str = "on the server itself";

impl Vantages {
    pub fn new(first: Rc<dyn Site>, second: Rc<dyn Site>) -> Self {
        Self { first, second }
    }
}

#[async_trait(?Send)]
impl Site for Vantages {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        let mut answer = self.first.get(get.clone()).await;
        if answer.as_ref().is_err_and(|unanswered| !unanswered.why.reached()) {
            answer = self.first.get(get.clone()).await;
        }
        let first = match answer {
            Err(unanswered) if !unanswered.why.reached() => unanswered,
            answered => return answered,
        };
        match self.second.get(get).await {
            Ok(reply) => Ok(Reply { vantage: Some(format!("asked {ON_SERVER}, because: {first}")), ..reply }),
            // Nothing listens where the site should be.
            Err(second) if second.why == Why::Refused => {
                Err(Unanswered { text: format!("{ON_SERVER}: {second}; before that: {first}"), ..second })
            }
            // That the server does not reach the site otherwise says nothing about the site.
            Err(second) => Err(Unanswered { text: format!("{first}; {ON_SERVER}: {second}"), ..first }),
        }
    }

    fn within(&self, from: &str, location: &str) -> Option<String> {
        self.first.within(from, location)
    }
}
