//! `queues --watch`: sampled many times a second, told once a tick, and at once where something
//! happens.
//!
//! A sample costs tens of microseconds; where there are so many listeners that it costs more, samples
//! come more rarely, but one a tick. What is dearer (who waits, whose sockets, who is blocked) is asked
//! once a tick, and who is blocked a few times a second while a unix queue is full.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::Context;
use dbvitals_acceptqueue::{Blocked, Counters, Listener, Listeners};
use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use rustix::termios::tcgetwinsize;
use tokio::time::sleep;

use super::document::document;
use super::history::{Event, History, Key};
use super::page::{range, write_lines, write_watch};
use super::scope::{Found, NamespaceFacts, Scope, Snapshot, may_block};
use crate::cli::QueuesArgs;
use crate::commands::ending::Ending;
use crate::duration::{rfc3339, show};
use crate::exit::Exit;

/// From one sample to the next.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// For how many times the processor time that a sample took nobody samples again: a fiftieth of a
/// core at most.
const REST_FACTOR: u32 = 50;
/// From one look for blocked clients to the next, while a queue is full.
const BLOCKED_INTERVAL: Duration = Duration::from_millis(200);

/// Watches until told to end, or until the time is up.
pub(super) fn watch(scope: Scope, args: &QueuesArgs, json: bool) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(Watch::new(scope, args, json).run())
}

struct Watch {
    scope: Scope,
    clock: Clock,
    history: History,
    screen: Screen,
    json: bool,
    tick: Duration,
    tick_ends: Moment,
    ends: Option<Moment>,
    /// When clients blocked in a connect were looked for last.
    looked_for_blocked: Option<Moment>,
    /// What the namespaces counted at the end of the last tick.
    counted: Vec<(u64, Counters)>,
    /// Where nobody listened at the last tick.
    vacant: Vec<String>,
    /// What the table on the screen was drawn of.
    last: Option<Snapshot>,
    /// What happened in this tick.
    told: Vec<String>,
}

impl Watch {
    fn new(scope: Scope, args: &QueuesArgs, json: bool) -> Self {
        let clock = Clock::start();
        let now = clock.now();
        Self {
            scope,
            clock,
            history: History::begin(now),
            screen: Screen::new(),
            json,
            tick: args.interval,
            tick_ends: now + args.interval,
            ends: args.duration.map(|duration| now + duration),
            looked_for_blocked: None,
            counted: Vec::new(),
            vacant: Vec::new(),
            last: None,
            told: Vec::new(),
        }
    }

    async fn run(mut self) -> anyhow::Result<Exit> {
        let mut ending = Ending::new().context("failed to listen to signals")?;
        self.counted = counts(&self.scope.facts()?);
        let mut rest = Duration::ZERO;
        loop {
            let is_over = tokio::select! {
                biased;
                _ = ending.wait() => true,
                () = sleep(rest) => self.ends.is_some_and(|ends| self.clock.now() >= ends),
            };
            let spent = self.clock.processor_time();
            let (found, sampled) = self.scope.sample()?;
            self.take_sample(&found)?;
            let took = self.clock.processor_time().saturating_sub(spent);
            rest = rest_after(took, self.tick_ends.since(self.clock.now()));
            if is_over || self.clock.now() >= self.tick_ends {
                self.end_tick(found, &sampled)?;
            }
            if is_over {
                return Ok(self.history.worst);
            }
        }
    }

    fn take_sample(&mut self, found: &[Found]) -> anyhow::Result<()> {
        let now = self.clock.now();
        let mut events = Vec::new();
        for found in found {
            let observed = self.history.observe(self.key(found), &found.listener, now);
            events.extend(observed.into_iter().map(|event| (found, event)));
        }
        let has_filled = events.iter().any(|(_, event)| *event == Event::Filled);
        self.look_for_blocked(found, has_filled, now)?;
        let mut told = Vec::new();
        for (found, event) in events {
            // The look above may have come after the event was made.
            let event = self.with_blocked(self.key(found), event);
            told.push(sentence(&found.listener, &event));
        }
        for listener in self.history.end_sample() {
            told.push(sentence(&listener, &Event::Gone));
        }
        if !told.is_empty() {
            self.refresh(found);
        }
        self.tell(told, now)
    }

    /// Brings the lengths on the screen up to date.
    fn refresh(&mut self, found: &[Found]) {
        let entries = self.last.iter_mut().flat_map(|last| &mut last.entries);
        for shown in entries.map(|entry| &mut entry.found) {
            let same = |it: &&Found| {
                it.namespace == shown.namespace && it.listener.is_same_socket(&shown.listener)
            };
            if let Some(now) = found.iter().find(same) {
                shown.listener.clone_from(&now.listener);
            }
        }
    }

    fn look_for_blocked(
        &mut self,
        found: &[Found],
        at_once: bool,
        now: Moment,
    ) -> anyhow::Result<()> {
        let full: Vec<_> = found.iter().filter(|it| may_block(&it.listener)).collect();
        let last = self.looked_for_blocked;
        let is_due = last.is_none_or(|last| now.since(last) >= BLOCKED_INTERVAL);
        if full.is_empty() || !(at_once || is_due) {
            return Ok(());
        }
        self.looked_for_blocked = Some(now);
        let blocked = Blocked::find()?;
        for found in full {
            let count = blocked.at(&found.listener).count();
            self.history.note_blocked(self.key(found), count);
        }
        Ok(())
    }

    fn with_blocked(&self, key: Key, event: Event) -> Event {
        match (event, self.history.marks(key.0, key.1)) {
            (Event::Drained { after, peak, .. }, Some(marks)) => Event::Drained {
                after,
                peak,
                blocked_peak: marks.blocked_peak,
            },
            (event, _) => event,
        }
    }

    fn end_tick(&mut self, found: Vec<Found>, samples: &[Listeners]) -> anyhow::Result<()> {
        let now = self.clock.now();
        while self.tick_ends <= now {
            self.tick_ends = self.tick_ends + self.tick;
        }
        let vacant = self.scope.vacant(samples);
        let vacant: Vec<_> = vacant.iter().map(ToString::to_string).collect();
        let mut told = self.take_vacant(vacant);
        let snapshot = self.scope.snapshot(found, samples)?;
        told.extend(self.take_snapshot(&snapshot, now));
        self.tell(told, now)?;
        self.draw(&snapshot, now)?;
        self.last = Some(snapshot);
        Ok(())
    }

    /// Says where nobody listens, and where somebody does again.
    fn take_vacant(&mut self, vacant: Vec<String>) -> Vec<String> {
        if !vacant.is_empty() {
            self.history.worst = self.history.worst.worst(Exit::Critical);
        }
        let before = std::mem::replace(&mut self.vacant, vacant);
        let now = &self.vacant;
        let left = now.iter().filter(|place| !before.contains(place));
        let taken = before.iter().filter(|place| !now.contains(place));
        let left = left.map(|place| format!("nothing listens at {place}"));
        left.chain(taken.map(|place| format!("somebody listens at {place}")))
            .collect()
    }

    fn take_snapshot(&mut self, snapshot: &Snapshot, now: Moment) -> Vec<String> {
        let counts = counts(&snapshot.namespaces);
        let before = std::mem::replace(&mut self.counted, counts);
        let of = |counts: &[(u64, Counters)], id: u64| {
            let found = counts.iter().find(|(it, _)| *it == id);
            found.map_or_else(Counters::default, |(_, counters)| *counters)
        };
        let counted = |id: u64| of(&self.counted, id).since(&of(&before, id));
        let overflowed = self.history.end_tick(now, counted);
        let overflowed = overflowed.iter();
        let mut told: Vec<_> = overflowed.map(|(it, event)| sentence(it, event)).collect();
        for entry in &snapshot.entries {
            let (key, listener) = (self.key(&entry.found), &entry.found.listener);
            self.history.note_blocked(key, entry.blocked.unwrap_or(0));
            let waiting = entry.waiting.as_ref();
            let stuck = waiting.and_then(|it| self.history.note_waiting(key, it, now));
            told.extend(stuck.map(|event| sentence(listener, &event)));
        }
        told
    }

    fn key(&self, found: &Found) -> Key {
        let counted = self.counted.get(found.namespace);
        (counted.map_or(0, |(id, _)| *id), found.listener.inode)
    }

    fn tell(&mut self, sentences: Vec<String>, now: Moment) -> anyhow::Result<()> {
        if self.json {
            self.told.extend(sentences);
            return Ok(());
        }
        if sentences.is_empty() {
            return Ok(());
        }
        let time = time_of_day(&self.clock, now);
        let mut out = anstream::stdout().lock();
        self.screen.clear(&mut out)?;
        for sentence in sentences {
            writeln!(out, "{time}  {sentence}")?;
        }
        if let Some((snapshot, size)) = self.last.as_ref().zip(self.screen.size()) {
            self.screen.drawn = write_watch(&mut out, snapshot, &self.history, size)?;
        }
        Ok(out.flush()?)
    }

    fn draw(&mut self, snapshot: &Snapshot, now: Moment) -> anyhow::Result<()> {
        let is_named = !self.scope.places.is_empty();
        let mut out = anstream::stdout().lock();
        if self.json {
            let at = rfc3339(self.clock.wall(now));
            let told = std::mem::take(&mut self.told);
            let document = document(snapshot, is_named).watched(at, &self.history, &told);
            serde_json::to_writer(&mut out, &document)?;
            writeln!(out)?;
        } else if let Some(size) = self.screen.size() {
            self.screen.clear(&mut out)?;
            self.screen.drawn = write_watch(&mut out, snapshot, &self.history, size)?;
        } else {
            let time = time_of_day(&self.clock, now);
            write_lines(&mut out, snapshot, &self.history, &time, is_named)?;
        }
        Ok(out.flush()?)
    }
}

/// How long to wait for the next sample after one that took so much processor time.
fn rest_after(took: Duration, tick_lasts: Duration) -> Duration {
    (took * REST_FACTOR).min(tick_lasts).max(SAMPLE_INTERVAL)
}

/// The table that is drawn again and again, where standard output is a terminal.
struct Screen {
    is_terminal: bool,
    /// How many lines the table has that is there now.
    drawn: usize,
}

impl Screen {
    fn new() -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            drawn: 0,
        }
    }

    /// Columns and lines, of a terminal.
    fn size(&self) -> Option<(usize, usize)> {
        if !self.is_terminal {
            return None;
        }
        let size = tcgetwinsize(io::stdout()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 1);
        Some(size.map_or((80, 24), |it| {
            (it.ws_col.into(), usize::from(it.ws_row) - 1)
        }))
    }

    /// Takes the table away, so that what comes stands in its place.
    fn clear(&mut self, out: &mut impl Write) -> io::Result<()> {
        match std::mem::take(&mut self.drawn) {
            0 => Ok(()),
            lines => write!(out, "\x1b[{lines}A\x1b[J"),
        }
    }
}

fn counts(facts: &[NamespaceFacts]) -> Vec<(u64, Counters)> {
    facts.iter().map(|it| (it.id, it.counters)).collect()
}

fn sentence(listener: &Listener, event: &Event) -> String {
    let local = &listener.local;
    let length = listener.length;
    let limit = listener.limit;
    let queue = limit.map_or_else(|| length.to_string(), |limit| format!("{length}/{limit}"));
    match event {
        Event::Filled => format!("{local}: full, {queue}"),
        Event::HasRoom { after } => {
            format!("{local}: has room again after {}, {queue}", show(*after))
        }
        Event::Drained {
            after,
            peak,
            blocked_peak,
        } => {
            let blocked = match blocked_peak {
                0 => String::new(),
                count => format!(", at most {count} blocked in connect"),
            };
            format!(
                "{local}: drained, {} after it was full; peak {peak}{blocked}",
                show(*after)
            )
        }
        Event::Overflowed(count) => format!("{local}: {} overflows, {queue}", range(count)),
        Event::Stuck { from, to, during } => format!(
            "{local}: the server accepts nothing: {from} waited, {to} wait {} later, the first of them still",
            show(*during)
        ),
        Event::Gone => format!("{local}: listens no more"),
    }
}

/// To the millisecond, in UTC.
fn time_of_day(clock: &Clock, now: Moment) -> String {
    let wall = rfc3339(clock.wall(now));
    let time = wall.split_once('T').map_or("", |(_, time)| time);
    time.trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dear_samples_come_more_rarely_but_one_a_tick() {
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(0), ms(900)), SAMPLE_INTERVAL);
        assert_eq!(rest_after(ms(4), ms(900)), ms(200));
        assert_eq!(rest_after(ms(40), ms(900)), ms(900));
        assert_eq!(rest_after(ms(40), ms(0)), SAMPLE_INTERVAL);
    }
}
