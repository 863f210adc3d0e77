//! `recover` with a fault in it, after a run that died. It may leave undone what it was called for, but nothing worse: called again, it brings
//! that to its end.

use std::time::Duration;

use gated_deploy_lab::{
    runner::{Finished, Runner},
    server::Environment::Staging,
};

use super::{
    super::fault::{Cell, FILLER, Fault, MARK, Point, Stage},
    Found, Guards, House, Look, asked_through_its_tunnel, is_of,
};
use crate::{
    recover::recover,
    support::{BINARY, output},
};

impl House<'_> {
    fn recover(&self) -> Runner {
        recover(&self.story).time_limit(Duration::from_secs(900))
    }

    /// A release of this commit that died in this row, and its server with it: nobody goes back from it by himself. Its lease is over.
    fn dead(&self, commit: &str, row: &str) -> Found {
        let cell = Cell {
            stage: Stage::Release,
            row: row.to_owned(),
            fault: Fault::Killed,
            point: Some(Point::Before),
            second: false,
        };
        let finished = self.with_fault(self.releasing(Staging, commit)?, &cell).run_binary(&self.program);
        if !finished.raw_log.contains(MARK) || !output(&finished, "outcome").is_empty() {
            return Err(format!("the release that was to die did not:\n{}", finished.log));
        }
        self.ask(Staging, "pkill -KILL -f '[w]atchdog/.*/program' || true")?;
        self.wait_until_quiet(Staging, Guards::No)?;
        self.lease_is_over()
    }

    pub(super) fn lease_is_over(&self) -> Found {
        let renewed = ".gated-deploy/lock/renewed";
        self.ask(Staging, &format!("[ ! -d .gated-deploy/lock ] || echo 1000 >{renewed}")).map(drop)
    }

    pub(super) fn recover_cell(&self, cell: &Cell) -> Found {
        // Where a release has to be taken back, the rows after that are never reached: they come after one that died before its switch.
        let died_in = if cell.row == "health" { "build-caches" } else { "grace" };
        let before = self.look(Staging)?;
        let tried = self.another(&[&before.served]);
        self.dead(&tried, died_in)?;
        let finished = self.carry_out(self.with_fault(self.recover(), cell), cell)?;
        let found = self.recovered(cell, &finished, &before, &tried);
        found.map_err(|problem| format!("{problem}\n--- the run with the fault:\n{}", finished.log))
    }

    fn recovered(&self, cell: &Cell, finished: &Finished, before: &Look, tried: &str) -> Found {
        if !finished.raw_log.contains(MARK) {
            return Err("the fault never happened".to_owned());
        }
        let outcome = output(finished, "outcome");
        if outcome.is_empty() != cell.fault.kills() {
            return Err(format!("the run ended with the outcome `{outcome}` and exit code {}", finished.exit_code));
        }
        let handed_over = finished.state.get("phase").is_some_and(|phase| phase == "handed-over");
        if outcome == "stuck" && !handed_over {
            self.by_hand(Staging, finished)?;
        }
        asked_through_its_tunnel(cell, finished)?;
        self.wait_until_quiet(Staging, Guards::No)?;
        if cell.fault == Fault::FullAndKilled {
            self.ask(Staging, &format!("rm -f {FILLER}"))?;
        }
        if ["rolled-back", "passed", "stuck"].contains(&outcome) && !handed_over {
            let after = self.look(Staging)?;
            if after.current != before.current {
                return Err(format!("it ended {outcome}, and {} is live", after.current));
            }
        }
        self.lease_is_over()?;
        let again = self.recover().run_binary(BINARY);
        if !["passed", "rolled-back"].contains(&output(&again, "outcome")) {
            return Err(format!("called again, it did not come to its end:\n{}", again.log));
        }
        let after = self.look(Staging)?;
        self.whole(Staging, &after, true)?;
        if after.current != before.current {
            return Err(format!("{} is live, and before the dead run it was {}", after.current, before.current));
        }
        self.nothing_foreign(&after.history.lines[before.history.lines.len()..], &[self.run.get()], &[])?;
        let told: Vec<(&str, &str)> = after.history.lines[before.history.lines.len()..]
            .iter()
            .filter(|line| is_of(line, self.run.get()))
            .map(|line| (line.release.as_str(), line.outcome.as_str()))
            .collect();
        let [(release, outcome)] = told.as_slice() else { return Err(format!("the ledger tells {told:?}")) };
        if !release.ends_with(&tried[..8]) || ["live", "planned"].contains(outcome) {
            return Err(format!("of the dead run the ledger tells {told:?}"));
        }
        self.no_leftovers(Staging, &after)?;
        let state = format!("recover {outcome} {} {}", self.schema(Staging)?, self.state(Staging)?);
        if !self.shared.is_proven(&state) {
            self.release(Staging, &self.another(&[&after.served, tried]))?;
            self.whole(Staging, &self.look(Staging)?, true)?;
            self.migrated(Staging)?;
            self.shared.prove(state);
        }
        Ok(())
    }
}
