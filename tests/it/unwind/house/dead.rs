//! `recover` with a fault in it, after a run that died. It may leave undone what it was called for, but nothing worse: called again, it brings
//! that to its end.

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use gated_deploy_lab::runner::{Finished, Runner};

use super::{
    super::fault::{Cell, Fault, MARK, Plan, Stage},
    Found, House, Look, events,
};
use crate::{
    recover::recover,
    support::{BINARY, output},
};

impl House {
    fn recover(&self) -> Runner {
        recover(&self.story).time_limit(Duration::from_secs(180))
    }

    /// A release of this commit that died in this row, and its server with it: nobody goes back from it by himself. Its lease is over.
    fn dead(&self, commit: &str, row: &str) -> Found {
        let middle = Duration::from_millis(100);
        let plan = Plan { cell: Cell { stage: Stage::Release, row: row.to_owned(), fault: Fault::Killed }, middle };
        let finished = self.with_fault(self.releasing(commit)?, &plan).run_binary(&self.program);
        if !finished.raw_log.contains(MARK) || !output(&finished, "outcome").is_empty() {
            return Err(format!("the release that was to die did not:\n{}", finished.log));
        }
        self.on("pkill -KILL -f '[w]atchdog/.*/program' || true");
        self.wait_until_quiet(false)?;
        self.lease_is_over();
        Ok(())
    }

    fn lease_is_over(&self) {
        let lock = format!("{}/.gated-deploy/lock", self.base);
        self.on(&format!("if [ -d {lock} ]; then echo 1000 >{lock}/renewed; fi"));
    }

    fn recover_took(&self) -> Result<&'static HashMap<(&'static str, String), Duration>, String> {
        static TOOK: OnceLock<HashMap<(&'static str, String), Duration>> = OnceLock::new();
        if let Some(took) = TOOK.get() {
            return Ok(took);
        }
        self.dead(&self.another(&[&self.look()?.served]), "grace")?;
        let runner = self.recover();
        let finished = runner.run_binary(BINARY);
        if output(&finished, "outcome") != "rolled-back" {
            return Err(format!("the rehearsal did not go back:\n{}", finished.log));
        }
        let took = events(Stage::Recover, &runner, &finished)?;
        Ok(TOOK.get_or_init(|| took))
    }

    pub(super) fn recover_cell(&self, cell: &Cell) -> Found {
        let took = self.recover_took()?.get(&(cell.stage.name(), cell.row.clone())).copied();
        // Where a release has to be taken back, the rows after that are never reached: they come after one that died before its switch.
        let (died_in, took) = match took {
            Some(took) => ("grace", took),
            None => ("build-caches", Duration::from_millis(100)),
        };
        let before = self.look()?;
        let tried = self.another(&[&before.served]);
        self.dead(&tried, died_in)?;
        let plan = Plan { cell: cell.clone(), middle: (took / 2).min(Duration::from_secs(3)) };
        let finished = self.carry_out(self.with_fault(self.recover(), &plan), cell);
        let found = self.recovered(cell, &finished, &before, &tried);
        found.map_err(|problem| format!("{problem}\n--- the run with the fault:\n{}", finished.log))
    }

    fn recovered(&self, cell: &Cell, finished: &Finished, before: &Look, tried: &str) -> Found {
        if !finished.raw_log.contains(MARK) {
            return Err("the fault never happened".to_owned());
        }
        finished.assert_no_secret_leaks();
        let outcome = output(finished, "outcome");
        if outcome.is_empty() != (cell.fault == Fault::Killed) {
            return Err(format!("the run ended with the outcome `{outcome}` and exit code {}", finished.exit_code));
        }
        let handed_over = finished.state.get("phase").is_some_and(|phase| phase == "handed-over");
        if outcome == "stuck" && !handed_over {
            self.by_hand(finished)?;
        }
        self.wait_until_quiet(false)?;
        if ["rolled-back", "passed", "stuck"].contains(&outcome) && !handed_over {
            let after = self.look()?;
            if after.current != before.current {
                return Err(format!("it ended {outcome}, and {} is live", after.current));
            }
        }
        self.lease_is_over();
        let again = self.recover().run_binary(BINARY);
        if !["passed", "rolled-back"].contains(&output(&again, "outcome")) {
            return Err(format!("called again, it did not come to its end:\n{}", again.log));
        }
        let after = self.look()?;
        self.whole(&after, true)?;
        if after.current != before.current {
            return Err(format!("{} is live, and before the dead run it was {}", after.current, before.current));
        }
        let told: Vec<(&str, &str)> = after.book.lines[before.book.lines.len()..]
            .iter()
            .map(|line| (line.release.as_str(), line.outcome.as_str()))
            .collect();
        let [(release, outcome)] = told.as_slice() else { return Err(format!("the ledger tells {told:?}")) };
        if !release.ends_with(&tried[..8]) || ["live", "planned"].contains(outcome) {
            return Err(format!("of the dead run the ledger tells {told:?}"));
        }
        self.no_leftovers(&after)?;
        let state = format!("recover {outcome} {} {}", self.schema(), self.state());
        if !self.proven.borrow().contains(&state) {
            self.release(&self.another(&[&after.served, tried]))?;
            self.whole(&self.look()?, true)?;
            self.migrated()?;
            self.proven.borrow_mut().insert(state);
        }
        Ok(())
    }
}
