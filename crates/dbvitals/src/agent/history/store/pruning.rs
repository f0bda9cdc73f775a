//! What is older than it is kept for goes; so does the oldest where there is no more room.
//!
//! A piece at a time, each in a transaction of its own, so that the log beside the file stays short
//! however much there is to prune.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use super::{BYTES_MAX, SLOT_MINUTES, Store, Trouble};
use crate::agent::history::{AHEAD_MAX, DIGESTS_KEPT, TRANSITIONS_KEPT};

/// How many transitions there may be, so that a flapping fleet leaves room for digests.
const TRANSITIONS_MAX: i64 = 50_000;
/// Transitions that are removed at once.
const PIECE: i64 = 1000;
/// Above this much in use, room is made…
const HIGH_WATER: u64 = BYTES_MAX / 8 * 7;
/// …until this much is.
const LOW_WATER: u64 = BYTES_MAX / 4 * 3;
/// How long a run has to have lasted before it removes what is ahead of its clock: it may be its own
/// that is wrong, as after a start without a battery, and somebody may set it right.
const TRUSTED_AFTER: Duration = Duration::from_secs(24 * 3600);

impl Store {
    /// Removes what is not kept any longer.
    pub(in crate::agent::history) fn prune(&mut self, now_ms: i64) -> Result<(), Trouble> {
        self.prune_within(now_ms, HIGH_WATER, LOW_WATER)
    }

    pub(super) fn prune_within(
        &mut self,
        now_ms: i64,
        high_water: u64,
        low_water: u64,
    ) -> Result<(), Trouble> {
        let run = self.run(now_ms)?;
        if now_ms - run.began_ms >= millis(TRUSTED_AFTER) {
            while self.drop_ahead(now_ms)? {}
        }
        let oldest_kept = now_ms - millis(TRANSITIONS_KEPT);
        while self.drop_transitions(oldest_kept, now_ms)? {}
        let slot_kept = (now_ms - millis(DIGESTS_KEPT)).div_euclid(60_000 * SLOT_MINUTES);
        while self.oldest_slot()?.is_some_and(|slot| slot < slot_kept) {
            self.drop_oldest_slot(now_ms)?;
        }
        self.note_since("transitions", oldest_kept)?;
        self.note_since("digests", now_ms - millis(DIGESTS_KEPT))?;
        self.connection
            .execute("DELETE FROM run WHERE seen_ms < ?", [oldest_kept])?;
        let gone = "DELETE FROM backend WHERE seen_ms < ?";
        if self.connection.execute(gone, [oldest_kept])? > 0 {
            self.backends.clear();
        }
        if self.bytes_in_use()? > high_water {
            while self.bytes_in_use()? > low_water && self.make_room(now_ms)? {}
        }
        Ok(())
    }

    /// Removes some of what is ahead of the clock, or else of the oldest digests, or else
    /// transitions; `false` where there are none.
    fn make_room(&mut self, now_ms: i64) -> Result<bool, Trouble> {
        if self.drop_ahead(now_ms)? {
            return Ok(true);
        }
        if self.oldest_slot()?.is_some() {
            self.drop_oldest_slot(now_ms)?;
            return Ok(true);
        }
        let transitions = self.transitions()?;
        match transitions {
            0 => Ok(false),
            _ => self.drop_transitions_but(transitions - PIECE, now_ms),
        }
    }

    /// Removes some of what only a wrong clock can have written; says whether there was any.
    fn drop_ahead(&mut self, now_ms: i64) -> Result<bool, Trouble> {
        let ahead = now_ms + millis(AHEAD_MAX);
        let digests = self.connection.execute(
            "DELETE FROM digest WHERE slot = (SELECT max(slot) FROM digest) AND slot > ?",
            [ahead.div_euclid(60_000 * SLOT_MINUTES)],
        )?;
        let runs = self
            .connection
            .execute("DELETE FROM run WHERE began_ms > ?", [ahead])?;
        Ok(self.drop_transitions_after(ahead)? || digests + runs > 0)
    }

    /// Removes some of the transitions after a time; says whether there were any.
    fn drop_transitions_after(&mut self, time_ms: i64) -> Result<bool, Trouble> {
        let dropped = self.connection.execute(
            "DELETE FROM transition WHERE id IN
                 (SELECT id FROM transition WHERE at_ms > ? ORDER BY at_ms DESC LIMIT ?)",
            params![time_ms, PIECE],
        )?;
        Ok(dropped > 0)
    }

    pub(super) fn oldest_slot(&self) -> Result<Option<i64>, Trouble> {
        let oldest = "SELECT min(slot) FROM digest";
        Ok(self.connection.query_row(oldest, [], |row| row.get(0))?)
    }

    fn drop_oldest_slot(&mut self, now_ms: i64) -> Result<(), Trouble> {
        if let Some(slot) = self.oldest_slot()? {
            self.connection
                .execute("DELETE FROM digest WHERE slot = ?", [slot])?;
            let slot_ends = (slot + 1) * SLOT_MINUTES * 60_000;
            self.note_since("digests", slot_ends.min(now_ms))?;
        }
        Ok(())
    }

    /// Removes some of what is older than this, or beyond the count; says whether there is more.
    fn drop_transitions(&mut self, oldest_kept: i64, now_ms: i64) -> Result<bool, Trouble> {
        let dropped = self.connection.execute(
            "DELETE FROM transition WHERE id IN
                 (SELECT id FROM transition WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
            params![oldest_kept, PIECE],
        )?;
        let beyond = self.drop_transitions_but(TRANSITIONS_MAX, now_ms)?;
        Ok(beyond || i64::try_from(dropped).is_ok_and(|dropped| dropped == PIECE))
    }

    /// Removes some beyond this many, those ahead of the clock and then the oldest; says whether it
    /// did.
    fn drop_transitions_but(&mut self, count: i64, now_ms: i64) -> Result<bool, Trouble> {
        let beyond = (self.transitions()? - count.max(0)).min(PIECE);
        if beyond <= 0 {
            return Ok(false);
        }
        if self.drop_transitions_after(now_ms + millis(AHEAD_MAX))? {
            return Ok(true);
        }
        let last: Option<i64> = self
            .connection
            .query_row(
                "SELECT at_ms FROM transition ORDER BY at_ms, id LIMIT 1 OFFSET ?",
                [beyond - 1],
                |row| row.get(0),
            )
            .optional()?;
        self.connection.execute(
            "DELETE FROM transition WHERE id IN
                 (SELECT id FROM transition ORDER BY at_ms, id LIMIT ?)",
            [beyond],
        )?;
        if let Some(last) = last {
            self.note_since("transitions", (last + 1).min(now_ms))?;
        }
        Ok(true)
    }

    fn transitions(&self) -> Result<i64, Trouble> {
        let count = "SELECT count(*) FROM transition";
        Ok(self.connection.query_row(count, [], |row| row.get(0))?)
    }

    /// From this time on everything is there, if not from a later one.
    fn note_since(&self, what: &str, since_ms: i64) -> Result<(), Trouble> {
        self.connection.execute(
            "UPDATE kept SET since_ms = max(since_ms, ?) WHERE what = ?",
            params![since_ms, what],
        )?;
        Ok(())
    }

    /// What the tables hold; the file itself never shrinks, it is filled again.
    pub(super) fn bytes_in_use(&self) -> Result<u64, Trouble> {
        let number = |name: &str| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
        };
        let pages = number("page_count")? - number("freelist_count")?;
        let bytes = pages.saturating_mul(number("page_size")?);
        Ok(u64::try_from(bytes).unwrap_or_default())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
