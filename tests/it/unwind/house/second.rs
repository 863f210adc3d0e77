//! A second run of another commit, which waits for the deploy lock while the first one meets its fault. It goes on when the first one has ended,
//! or has died and its lease is over, and finds or takes back what that one left.

use std::{
    fs,
    time::{Duration, Instant},
};

use gated_deploy_lab::{
    runner::{Finished, Runner},
    server::Environment::Staging,
};

use super::{
    super::fault::{Cell, MARK, open, second_waits},
    Found, Guards, House, Look, is_of,
};
use crate::support::{BINARY, output};

/// A machine that others keep busy takes a minute for what takes seconds here.
const PATIENCE: Duration = Duration::from_secs(300);

/// The number of the second run.
const SECOND: u64 = 50_000_000;

/// What the second run says while a migration of the first one goes on.
const MIGRATES: &str = "the migration of an interrupted run is still running";

impl House<'_> {
    pub(super) fn beside_a_second(&self, cell: &Cell, first: Runner, before: &Look, tried: &str) -> Found {
        let other = self.another(&[&before.served, tried]);
        let second = self.releasing(Staging, &other)?.run_id(SECOND).input("lock-wait", "2m");
        let running = first.spawn_binary(&self.program);
        running.wait_for_line("Take the deploy lock: ", PATIENCE);
        let waiting = second.spawn_binary(BINARY);
        waiting.wait_for_line("waiting up to 120 s for run https://", PATIENCE);
        fs::write(second_waits(&self.gate.borrow()), "").map_err(|error| format!("telling the first run: {error}"))?;
        let finished = running.wait();
        let killed = cell.fault.kills();
        let migrates = killed && cell.row == "migrate";
        if !migrates {
            open(&self.gate.borrow());
        }
        self.after_the_run(&first, cell, &finished)?;
        if migrates {
            // Its migration renews the lease for as long as it runs.
            let deadline = Instant::now() + PATIENCE;
            while !waiting.raw_log().contains(MIGRATES) {
                if Instant::now() > deadline {
                    return Err(format!("the second run does not wait for the migration:\n{}", waiting.raw_log()));
                }
                self.lease_is_over()?;
                std::thread::sleep(Duration::from_millis(200));
            }
            open(&self.gate.borrow());
        } else if killed || handed_over(&finished) {
            // No script of the first run outlasts the lease.
            self.wait_until_quiet(Staging, Guards::No)?;
            self.lease_is_over()?;
        }
        let second = waiting.wait();
        let found = self.both(cell, [&finished, &second], before, tried);
        found.map_err(|problem| {
            format!("{problem}\n--- the run with the fault:\n{}\n--- the second run:\n{}", finished.log, second.log)
        })
    }

    /// What became of the site, and what each of the two runs and the ledger say of it.
    fn both(&self, cell: &Cell, [first, second]: [&Finished; 2], before: &Look, tried: &str) -> Found {
        if !first.raw_log.contains(MARK) {
            return Err("the fault never happened".to_owned());
        }
        let ended = |run: &Finished| (output(run, "outcome").to_owned(), run.exit_code);
        if ended(first).0 == "stuck" && !handed_over(first) {
            // The lock stays until a person has been there, so nobody waits for it.
            let holder = format!(
                "another run holds the deploy lock: run https://github.com/acme/shop/actions/runs/{} ",
                self.run.get()
            );
            if ended(second) != ("refused".to_owned(), 1) || !second.log.contains(&holder) {
                return Err(format!("behind a stuck run the second one ended {:?}", ended(second)));
            }
            return self.judge(cell, first, before, tried);
        }
        if ended(second) != ("live".to_owned(), 0) {
            return Err(format!("the second run ended {:?}", ended(second)));
        }
        self.wait_until_quiet(Staging, Guards::Stand)?;
        let after = self.look(Staging)?;
        self.whole(Staging, &after, true)?;
        if after.current != output(second, "release") {
            return Err(format!("the second run says live, and current is {}", after.current));
        }
        let run = self.run.get();
        let outcome = if handed_over(first) { "" } else { output(first, "outcome") };
        let lines = &after.history.lines[before.history.lines.len()..];
        self.nothing_foreign(lines, &[run, SECOND], &self.owed.borrow())?;
        let of = |run| lines.iter().filter(move |line| is_of(line, run)).map(|line| line.outcome.as_str());
        let (firsts, seconds): (Vec<&str>, Vec<&str>) = (of(run).collect(), of(SECOND).collect());
        if seconds != ["live"] {
            return Err(format!("of the second run the ledger says {seconds:?}"));
        }
        // The server has confirmed it before its run died.
        let confirmed = ["confirm", "live", "deploy-lock"].contains(&cell.row.as_str());
        let told = match (outcome, confirmed) {
            ("", true) => firsts == ["live"],
            // One that handed over may have written its line itself before its time was over.
            ("", false) => {
                [["failed"], ["reverted-by-watchdog"], [output(first, "outcome")]].iter().any(|told| firsts == told)
            }
            _ => firsts == [outcome],
        };
        if !told {
            return Err(format!("the first run ended `{outcome}`, and the ledger says {firsts:?} of it"));
        }
        self.owed.take();
        self.used_up.set(false);
        self.migrated(Staging)?;
        self.no_leftovers(Staging, &after)
    }
}

fn handed_over(run: &Finished) -> bool {
    run.state.get("phase").is_some_and(|phase| phase == "handed-over")
}
