//! The samples, counted. Pure: the same answers at the same times always give the same downtime report.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    domain::record::{AnsweredBy, DowntimeReport, FailedRequest, FirstAnswer},
    http::Connection,
};

/// Failures that are told one by one. The others are counted.
const SHOWN: usize = 10;

/// Answers before the switch whose times are kept.
const TIMED: usize = 200;

/// Which release an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

/// One request and what came of it. Times count from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub path: String,
    pub connection: Connection,
    pub asked: Duration,
    pub answered: Duration,
    /// The status, or why there is none.
    pub status: Result<u16, Missing>,
    /// Who answered, where the answer names a release.
    pub side: Option<Side>,
    /// Whether any status below 500 will do: a page that not every release has.
    pub lenient: bool,
}

/// Why a request has no status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// The site gave none.
    Failed(String),
    /// The request did not reach the site, so that it says nothing of what visitors meet.
    NotAsked(String),
}

/// Counts what was seen, in the order in which it was asked, and keeps no more than extremes and the first few failures: however
/// long a run takes, this stays small.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Answered out of turn; at most as many as can be asked while one request waits for its time to run out.
    early: BTreeMap<u64, Seen>,
    /// The number of the request that is counted next.
    next: u64,
    /// Statuses from 400 to 499 that the site gave before the switch: basic auth, a missing page. They are no failures after it.
    usual: BTreeSet<u16>,
    switched: Option<Duration>,
    turned_back: Option<Duration>,
    requests: u64,
    failures: u64,
    not_asked: u64,
    held_back: u64,
    first_failures: Vec<(Duration, FailedRequest)>,
    slowest: Duration,
    outages: u64,
    down: Duration,
    down_since: Option<Duration>,
    by: AnsweredBy,
    first_new: Option<Duration>,
    last_old: Option<Duration>,
    old_again: Option<Duration>,
    /// From when on answers count as steady, and how many there were in a row.
    settling: Option<Duration>,
    steady: u64,
    /// How long answers took before the switch, by page and connection: the first ones, which are enough for a median.
    usual_times: Vec<(String, Connection, Duration)>,
    reloaded: Option<Duration>,
    /// Of the first request after the switch, and after the reload.
    first_after_switch: Option<FirstAnswer>,
    first_after_reload: Option<FirstAnswer>,
    remarks: Vec<String>,
}

impl Samples {
    /// Takes in request number `number`, counted from 0. Gives how many have been counted so far.
    pub(super) fn take(&mut self, number: u64, seen: Seen) -> u64 {
        self.early.insert(number, seen);
        while let Some(seen) = self.early.remove(&self.next) {
            self.next += 1;
            self.count(seen);
        }
        self.next
    }

    /// The link is about to be renamed: times are told from here.
    pub(super) fn switching(&mut self, now: Duration) {
        self.switched.get_or_insert(now);
    }

    /// PHP-FPM was reloaded.
    pub(super) fn reloaded(&mut self, now: Duration) {
        self.reloaded.get_or_insert(now);
    }

    /// The rollback is about to switch.
    pub(super) fn turning_back(&mut self, now: Duration) {
        self.turned_back.get_or_insert(now);
    }

    /// The new release is expected to answer alone: requests that are asked from now on count as steady.
    pub(super) fn settling(&mut self, now: Duration) {
        self.settling = Some(now);
        self.steady = 0;
    }

    /// So many answers in a row were the new release's. Those that name no release do not count.
    pub(super) fn steady(&self) -> u64 {
        self.steady
    }

    /// Something that a reader of the downtime report must know; said once.
    pub(super) fn remark(&mut self, text: String) {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    fn count(&mut self, seen: Seen) {
        // It neither begins an outage nor ends one.
        if let Err(Missing::NotAsked(cause)) = &seen.status {
            self.not_asked += 1;
            if self.not_asked == 1 {
                self.remark(format!("requests that did not reach the site are counted separately; the first: {cause}"));
            }
            return;
        }
        self.requests += 1;
        self.slowest = self.slowest.max(seen.answered.saturating_sub(seen.asked));
        match self.problem(&seen) {
            Some(cause) => self.fail(seen, cause),
            None => self.succeed(&seen),
        }
    }

    fn problem(&mut self, seen: &Seen) -> Option<String> {
        match &seen.status {
            Err(Missing::Failed(cause) | Missing::NotAsked(cause)) => Some(cause.clone()),
            Ok(429) => {
                self.held_back += 1;
                None
            }
            Ok(status @ 400..=499) if self.switched.is_none() => {
                self.usual.insert(*status);
                None
            }
            Ok(status @ 400..=499) if seen.lenient || self.usual.contains(status) => None,
            Ok(status @ 400..) => Some(format!("answered {status}")),
            Ok(_) => None,
        }
    }

    fn fail(&mut self, seen: Seen, cause: String) {
        self.failures += 1;
        if self.down_since.is_none() {
            self.down_since = Some(seen.asked);
            self.outages += 1;
        }
        self.old_again = None;
        self.steady = 0;
        if self.first_failures.len() < SHOWN {
            let failed = FailedRequest {
                at_ms: 0,
                path: seen.path,
                connection: match seen.connection {
                    Connection::Fresh => "fresh",
                    Connection::Kept => "kept",
                }
                .to_owned(),
                cause,
                took_ms: millis(seen.answered.saturating_sub(seen.asked)),
            };
            self.first_failures.push((seen.asked, failed));
        }
    }

    /// The median is of the same page over the same kind of connection: a new one costs a handshake.
    fn time(&mut self, seen: &Seen) {
        let took = seen.answered.saturating_sub(seen.asked);
        let Some(switched) = self.switched else {
            if self.usual_times.len() < TIMED {
                self.usual_times.push((seen.path.clone(), seen.connection, took));
            }
            return;
        };
        if seen.asked < switched || self.turned_back.is_some() {
            return;
        }
        let same = self.usual_times.iter().filter(|(path, by, _)| *path == seen.path && *by == seen.connection);
        let mut times: Vec<Duration> = same.map(|(_, _, took)| *took).collect();
        times.sort_unstable();
        let Some(median) = times.get(times.len() / 2) else { return };
        let first = FirstAnswer { took_us: micros(took), median_before_us: micros(*median) };
        self.first_after_switch.get_or_insert(first);
        if self.reloaded.is_some_and(|reloaded| seen.asked >= reloaded) {
            self.first_after_reload.get_or_insert(first);
        }
    }

    fn succeed(&mut self, seen: &Seen) {
        self.time(seen);
        if let Some(since) = self.down_since.take() {
            self.down += seen.answered.saturating_sub(since);
        }
        // An answer that names no release, or that only holds the request back, says neither.
        self.steady = match (seen.side, self.settling) {
            (Some(Side::Old), _) => 0,
            (Some(Side::New), Some(since)) if seen.asked >= since && seen.status != Ok(429) => self.steady + 1,
            _ => self.steady,
        };
        let back = self.turned_back.is_some_and(|back| seen.asked >= back);
        match seen.side {
            None => self.by.unnamed += 1,
            Some(Side::New) => {
                self.by.new += 1;
                let first = self.first_new.unwrap_or(seen.answered);
                self.first_new = Some(first.min(seen.answered));
                self.old_again = None;
            }
            Some(Side::Old) => {
                self.by.old += 1;
                if back {
                    self.old_again.get_or_insert(seen.answered);
                } else {
                    self.last_old = self.last_old.max(Some(seen.answered));
                }
            }
        }
    }

    /// What was seen until `now`. An outage that has not ended counts until then.
    pub(super) fn downtime_report(
        &self,
        began: Duration,
        now: Duration,
        paths: Vec<String>,
        rate: u32,
        budget: Duration,
    ) -> DowntimeReport {
        let zero = self.switched.unwrap_or(began);
        let relative = |at: Duration| millis_between(zero, at);
        let down = self.down + self.down_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        DowntimeReport {
            paths,
            rate,
            lasted_ms: millis(now.saturating_sub(began)),
            requests: self.requests,
            failures: self.failures,
            not_asked: self.not_asked,
            held_back: self.held_back,
            first_failures: self
                .first_failures
                .iter()
                .map(|(asked, failed)| FailedRequest { at_ms: relative(*asked), ..failed.clone() })
                .collect(),
            slowest_ms: millis(self.slowest),
            outages: self.outages,
            downtime_ms: millis_up(down),
            budget_ms: millis(budget),
            answered_by: self.by,
            first_new_ms: self.first_new.map(relative),
            side_by_side_ms: match (self.first_new, self.last_old) {
                (Some(new), Some(old)) => Some(millis_up(old.saturating_sub(new))),
                _ => None,
            },
            old_again_ms: match (self.turned_back, self.old_again) {
                (Some(back), Some(again)) => Some(millis_up(again.saturating_sub(back))),
                _ => None,
            },
            first_after_switch: self.first_after_switch,
            first_after_reload: self.first_after_reload,
            remarks: self.remarks.clone(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Rounded up: the downtime report never says less than what was seen.
fn millis_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn millis_between(zero: Duration, at: Duration) -> i64 {
    let signed = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    if at >= zero { signed(at - zero) } else { -signed(zero - at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn seen(asked: u64, took: u64, status: u16, side: Option<Side>) -> Seen {
        Seen {
            path: "/health".to_owned(),
            connection: Connection::Fresh,
            asked: ms(asked),
            answered: ms(asked + took),
            status: Ok(status),
            side,
            lenient: false,
        }
    }

    fn failed(cause: &str) -> Missing {
        Missing::Failed(cause.to_owned())
    }

    #[test]
    fn fd8_requests_that_did_not_reach_the_site_are_no_downtime_and_end_none() {
        let lost = |asked| Seen {
            status: Err(Missing::NotAsked("the SSH connection broke".to_owned())),
            ..seen(asked, 900, 0, None)
        };
        let mut samples = Samples::default();
        samples.take(0, seen(0, 5, 200, None));
        samples.switching(ms(20));
        for number in 1..=40 {
            samples.take(number, lost(number * 50));
        }
        let downtime_report = describe(&samples, 2500);
        assert_eq!(
            (
                downtime_report.requests,
                downtime_report.not_asked,
                downtime_report.failures,
                downtime_report.downtime_ms
            ),
            (1, 40, 0, 0)
        );
        assert_eq!((downtime_report.slowest_ms, downtime_report.outages), (5, 0), "{downtime_report:?}");
        assert_eq!(downtime_report.remarks.len(), 1, "{downtime_report:?}");
        // The site fails, the line breaks, the site answers: when it was healthy again is not known.
        samples.take(41, seen(2600, 10, 502, None));
        samples.take(42, lost(2650));
        samples.take(43, seen(2700, 10, 200, None));
        assert_eq!(describe(&samples, 2800).downtime_ms, 110);
    }

    fn describe(samples: &Samples, now: u64) -> DowntimeReport {
        samples.downtime_report(ms(0), ms(now), vec!["/health".to_owned()], 20, ms(5000))
    }

    #[test]
    fn downtime_is_from_the_first_failed_request_to_the_next_answer() {
        let mut samples = Samples::default();
        let statuses = [200, 200, 502, 503, 200, 200, 504, 200];
        for (number, status) in statuses.into_iter().enumerate() {
            let number = number as u64;
            samples.take(number, seen(number * 50, 10, status, None));
            if number == 0 {
                samples.switching(ms(30));
            }
        }
        let downtime_report = describe(&samples, 400);
        // 100 to 210, and 300 to 360.
        assert_eq!(
            (downtime_report.requests, downtime_report.failures, downtime_report.outages, downtime_report.downtime_ms),
            (8, 3, 2, 170)
        );
        let first = &downtime_report.first_failures[0];
        assert_eq!((first.at_ms, first.cause.as_str(), first.took_ms), (70, "answered 502", 10));
    }

    #[test]
    fn an_outage_that_goes_on_counts_until_now() {
        let mut samples = Samples::default();
        samples.take(0, seen(0, 5, 200, None));
        samples.take(1, Seen { status: Err(failed("no connection: Connection refused")), ..seen(50, 1, 0, None) });
        assert_eq!(describe(&samples, 1050).downtime_ms, 1000);
    }

    #[test]
    fn answers_are_counted_in_the_order_in_which_they_were_asked() {
        let mut samples = Samples::default();
        samples.take(0, seen(0, 5, 200, None));
        // Asked second, and the last to end: it ran into its time limit while others were answered.
        assert_eq!(samples.take(2, seen(100, 10, 200, None)), 1);
        assert_eq!(samples.take(3, seen(150, 10, 200, None)), 1);
        let late = Seen { status: Err(failed("no answer in time")), ..seen(50, 10_000, 0, None) };
        assert_eq!(samples.take(1, late), 4);
        let downtime_report = describe(&samples, 11_000);
        assert_eq!(
            (downtime_report.failures, downtime_report.downtime_ms, downtime_report.slowest_ms),
            (1, 60, 10_000)
        );
    }

    #[test]
    fn old_and_new_side_by_side_and_the_way_back() {
        use crate::server::health::sampler::samples::Side::{New, Old};
        let mut samples = Samples::default();
        samples.take(0, seen(0, 5, 200, Some(Old)));
        samples.switching(ms(20));
        let sides = [Old, New, Old, Old, New, New];
        for (number, side) in (1..).zip(sides) {
            samples.take(number, seen(number * 50, 5, 200, Some(side)));
        }
        let downtime_report = describe(&samples, 400);
        assert_eq!((downtime_report.first_new_ms, downtime_report.side_by_side_ms), (Some(85), Some(100)));
        assert_eq!(
            (downtime_report.answered_by.old, downtime_report.answered_by.new, downtime_report.old_again_ms),
            (4, 3, None)
        );

        samples.turning_back(ms(345));
        let back = [(200, Some(New)), (200, Some(Old)), (502, None), (200, Some(Old)), (200, Some(Old))];
        for (number, (status, side)) in (7..).zip(back) {
            samples.take(number, seen(number * 50, 5, status, side));
        }
        let downtime_report = describe(&samples, 700);
        assert_eq!(downtime_report.side_by_side_ms, Some(100), "the way back is another matter");
        assert_eq!(
            downtime_report.old_again_ms,
            Some(160),
            "from 345 to the answer after the last that was not the old one's"
        );
    }

    #[test]
    fn the_first_answer_after_switch_and_reload_stands_beside_the_usual_one_of_its_kind() {
        let kept = |seen| Seen { connection: Connection::Kept, ..seen };
        let mut samples = Samples::default();
        // New connections take 30 ms, kept ones 10 ms.
        for number in (0..10).step_by(2) {
            samples.take(number, seen(number * 50, 30, 200, None));
            samples.take(number + 1, kept(seen(number * 50 + 50, 10, 200, None)));
        }
        assert_eq!(describe(&samples, 500).first_after_switch, None);
        samples.switching(ms(520));
        // Asked before the switch, and answered after it.
        samples.take(10, seen(510, 90, 200, None));
        samples.take(11, kept(seen(550, 15, 200, None)));
        samples.take(12, seen(600, 31, 200, None));
        samples.reloaded(ms(640));
        samples.take(13, Seen { status: Err(failed("refused")), ..kept(seen(650, 1, 0, None)) });
        samples.take(14, seen(700, 120, 200, None));
        samples.take(15, kept(seen(750, 11, 200, None)));
        let first =
            |took: u64, median: u64| Some(FirstAnswer { took_us: took * 1000, median_before_us: median * 1000 });
        let report = describe(&samples, 800);
        assert_eq!((report.first_after_switch, report.first_after_reload), (first(15, 10), first(120, 30)));
    }

    #[test]
    fn a_page_that_was_refused_before_the_switch_may_be_refused_after_it() {
        let mut samples = Samples::default();
        samples.take(0, seen(0, 5, 401, None));
        samples.switching(ms(20));
        samples.take(1, seen(50, 5, 401, None));
        samples.take(2, seen(100, 5, 404, None));
        samples.take(3, Seen { lenient: true, ..seen(150, 5, 404, None) });
        samples.take(4, seen(200, 5, 429, None));
        let downtime_report = describe(&samples, 300);
        assert_eq!((downtime_report.failures, downtime_report.held_back), (1, 1));
        assert_eq!(downtime_report.first_failures[0].cause, "answered 404");
    }

    #[test]
    fn steady_are_answers_of_the_new_release_in_a_row() {
        use crate::server::health::sampler::samples::Side::{New, Old};
        let mut samples = Samples::default();
        let mut number = 0;
        let mut next = |samples: &mut Samples, status, side| {
            samples.take(number, seen(number * 50, 5, status, side));
            number += 1;
            samples.steady()
        };
        samples.switching(ms(0));
        assert_eq!(next(&mut samples, 200, Some(New)), 0, "nothing is counted yet");
        samples.settling(ms(40));
        assert_eq!(next(&mut samples, 200, Some(New)), 1);
        assert_eq!(next(&mut samples, 200, None), 1, "an answer that names no release");
        assert_eq!(next(&mut samples, 429, Some(New)), 1, "the web server held the request back");
        assert_eq!(next(&mut samples, 200, Some(New)), 2);
        assert_eq!(next(&mut samples, 200, Some(Old)), 0);
        assert_eq!(next(&mut samples, 200, Some(New)), 1);
        assert_eq!(next(&mut samples, 502, None), 0);
        assert_eq!(next(&mut samples, 200, Some(New)), 1);
        // Asked before, and answered late.
        samples.settling(ms(9 * 50 + 1));
        assert_eq!(next(&mut samples, 200, Some(New)), 0);
    }

    #[test]
    fn however_many_requests_fail_few_are_kept() {
        let mut samples = Samples::default();
        samples.switching(ms(0));
        for number in 0..100_000 {
            samples.take(number, seen(number * 50, 5, 500, None));
        }
        let downtime_report = describe(&samples, 5_000_000);
        assert_eq!(
            (downtime_report.failures, downtime_report.first_failures.len(), samples.early.len()),
            (100_000, SHOWN, 0)
        );
    }
}
