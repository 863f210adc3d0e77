//! What may go wrong with a row, put into a table on purpose. The tests of a stage loop over its table with it, so that a new row is
//! swept the day it is added (F79, F82, F86). The action is built without it (feature `fault`).

use std::rc::Rc;

use async_trait::async_trait;

use super::step::{Act, Cleanup, CleanupAct, Ending, Entry, Io, Local, Row, StepResult, Undo, UndoAct, Undone, Work};
use crate::domain::Failure;

/// What happens to one piece of work of a row.
#[async_trait(?Send)]
pub trait Fault<C> {
    /// Comes before the work. Its error is the work's, which then is not done.
    async fn before(&self, _cx: &C, _io: &Io) -> Result<(), Failure> {
        Ok(())
    }

    /// Goes on beside the work; the work has ended when both have.
    async fn beside(&self, _cx: &C, _io: &Io) {}

    /// The work goes on from here, until `leaves`: what runs meanwhile is its own, whatever other lanes do.
    fn enters(&self) {}

    fn leaves(&self) {}

    /// Comes after the work, however that ended. Its error is the work's.
    async fn after(&self, _cx: &C, _io: &Io) -> Result<(), Failure> {
        Ok(())
    }
}

/// Puts a fault into what the row does; false if there is no such row, or if it does nothing (a commit).
pub fn into_act<C: 'static>(entries: &mut [Entry<C>], row: &str, fault: Rc<dyn Fault<C>>) -> bool {
    let Some(row) = find(entries, row) else { return false };
    match &mut row.work {
        Work::Observe(act) | Work::Hold(act, _) | Work::Change(act, _) | Work::Check(act) => {
            let inner = std::mem::replace(act, Box::new(Nothing));
            *act = Box::new(Faulty { inner, fault });
            true
        }
        Work::Commit => false,
    }
}

/// Puts a fault into how the row is undone or given back; false if there is no such row, or if nothing of it is.
pub fn into_undo<C: 'static>(entries: &mut [Entry<C>], row: &str, fault: Rc<dyn Fault<C>>) -> bool {
    let Some(row) = find(entries, row) else { return false };
    match &mut row.work {
        Work::Change(_, Undo::Do { act, .. }) => {
            let inner = std::mem::replace(act, Box::new(Nothing));
            *act = Box::new(Faulty { inner, fault });
            true
        }
        Work::Hold(_, Cleanup { act, .. }) => {
            let inner = std::mem::replace(act, Box::new(Nothing));
            *act = Box::new(Faulty { inner, fault });
            true
        }
        _ => false,
    }
}

fn find<'t, C>(entries: &'t mut [Entry<C>], row: &str) -> Option<&'t mut Row<C>> {
    entries.iter_mut().flat_map(Entry::rows_mut).find(|found| found.id.as_str() == row)
}

/// Work with a fault in it.
struct Faulty<W: ?Sized, C> {
    fault: Rc<dyn Fault<C>>,
    inner: Box<W>,
}

impl<C> Act<C> for Faulty<dyn Act<C>, C> {
    fn act<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, StepResult> {
        Box::pin(async move {
            self.fault.before(cx, io).await?;
            let (result, ()) =
                futures_util::join!(seen(self.inner.act(cx, io), &*self.fault), self.fault.beside(cx, io));
            self.fault.after(cx, io).await?;
            result
        })
    }

    fn preview(&self, cx: &C) -> Vec<String> {
        self.inner.preview(cx)
    }
}

impl<C> UndoAct<C> for Faulty<dyn UndoAct<C>, C> {
    fn undo<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, Result<Undone, Failure>> {
        Box::pin(async move {
            self.fault.before(cx, io).await?;
            let (result, ()) =
                futures_util::join!(seen(self.inner.undo(cx, io), &*self.fault), self.fault.beside(cx, io));
            self.fault.after(cx, io).await?;
            result
        })
    }

    fn by_hand(&self, cx: &C) -> Vec<String> {
        self.inner.by_hand(cx)
    }
}

impl<C> CleanupAct<C> for Faulty<dyn CleanupAct<C>, C> {
    fn cleanup<'a>(&'a self, cx: &'a C, io: &'a Io, ending: &'a Ending) -> Local<'a, Result<String, Failure>> {
        Box::pin(async move {
            self.fault.before(cx, io).await?;
            let (result, ()) =
                futures_util::join!(seen(self.inner.cleanup(cx, io, ending), &*self.fault), self.fault.beside(cx, io));
            self.fault.after(cx, io).await?;
            result
        })
    }
}

/// Says whenever the work goes on.
async fn seen<C, T>(mut work: Local<'_, T>, fault: &dyn Fault<C>) -> T {
    std::future::poll_fn(|context| {
        fault.enters();
        let polled = work.as_mut().poll(context);
        fault.leaves();
        polled
    })
    .await
}

/// Stands in the row while its work is taken out and put back.
struct Nothing;

impl<C> Act<C> for Nothing {
    fn act<'a>(&'a self, _: &'a C, _: &'a Io) -> Local<'a, StepResult> {
        Box::pin(async { Err(Failure::bug("working on this step", "its work was taken out of the table")) })
    }
}

impl<C> UndoAct<C> for Nothing {
    fn undo<'a>(&'a self, _: &'a C, _: &'a Io) -> Local<'a, Result<Undone, Failure>> {
        Box::pin(async { Err(Failure::bug("undoing this step", "its undo was taken out of the table")) })
    }
}

impl<C> CleanupAct<C> for Nothing {
    fn cleanup<'a>(&'a self, _: &'a C, _: &'a Io, _: &'a Ending) -> Local<'a, Result<String, Failure>> {
        Box::pin(async { Err(Failure::bug("cleaning up", "its clean-up was taken out of the table")) })
    }
}

#[cfg(test)]
mod tests;
