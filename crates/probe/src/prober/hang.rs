//! Logins that hang: one at a time, however often the server is asked.
//!
//! A server that is frozen, or whose logins wait for a lock, keeps what was begun with it: in its
//! accept queue, or in a process that does not look at its client. A probe each second would fill
//! the server with them. So a login that was not answered in time is kept, and the next probes wait
//! for it: it is the first thing that such a server will answer. When it does, it is finished and
//! left, and the probe that waits goes its own way. After a while it is given up all the same, for
//! a server may have forgotten it without a word.

use dbvitals_verdict::{Moment, Phase};

use super::{HUNG_FOR, LEAVE_WITHIN, Prober, Purpose};
use crate::failure::Failure;

impl Prober {
    /// Ends a probe whose time is up. If that was in its login, the login is kept.
    pub(super) fn fail_late(&mut self, key: usize, failure: Failure) {
        let now = self.clock.now();
        let line = self.lines.get(key);
        let hangs = line.is_some_and(|line| {
            let in_login = match &line.purpose {
                Purpose::Probe(probe) => {
                    matches!(probe.phase, Phase::Greeting | Phase::Tls | Phase::Login)
                }
                Purpose::Held(_) | Purpose::Hung { .. } | Purpose::Leaving { .. } => false,
            };
            let begun = line
                .conversation
                .as_ref()
                .is_some_and(|it| it.session.is_some());
            in_login && begun
        });
        let target = line.map(|line| line.target);
        let kept = target.and_then(|target| {
            let entry = self.entry_mut(target)?;
            (hangs && entry.hung.is_none()).then_some(target)
        });
        let Some(target) = kept else {
            self.fail_probe(key, failure);
            return;
        };
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let until = now + HUNG_FOR;
        let phase = match &line.purpose {
            Purpose::Probe(probe) => probe.phase,
            Purpose::Held(_) | Purpose::Hung { .. } | Purpose::Leaving { .. } => return,
        };
        let hung = Purpose::Hung { until, phase };
        if let Purpose::Probe(probe) = std::mem::replace(&mut line.purpose, hung) {
            let observation = probe.observe(Some(failure), false, now);
            self.observations.push_back((target, observation));
        }
        if let Some(entry) = self.entry_mut(target) {
            entry.fresh = None;
            entry.hung = Some(key);
        }
        self.wake_at(key, until);
    }

    /// The phase in which a login hangs.
    pub(super) fn hung_phase(&self, hung: usize) -> Option<Phase> {
        match self.lines.get(hung)?.purpose {
            Purpose::Hung { phase, .. } => Some(phase),
            Purpose::Probe(_) | Purpose::Held(_) | Purpose::Leaving { .. } => None,
        }
    }

    /// The server has something to say on a login that hung: it is finished and left.
    pub(super) fn end_hang(&mut self, key: usize, ended: bool) {
        let now = self.clock.now();
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let target = line.target;
        let until = now + LEAVE_WITHIN;
        line.purpose = Purpose::Leaving {
            until,
            said: false,
            shut: false,
        };
        self.leaving += 1;
        if let Some(entry) = self.entry_mut(target) {
            entry.hung = None;
            entry.leaving = Some(key);
        }
        self.wake_at(key, until);
        self.read_goodbye(key, ended);
        self.go_own_way(target, now);
    }

    /// A login has hung for so long that the server may have forgotten it.
    pub(super) fn give_up_hang(&mut self, key: usize) {
        let now = self.clock.now();
        let Some(line) = self.lines.try_remove(key) else {
            return;
        };
        if let Some(entry) = self.entry_mut(line.target) {
            entry.hung = None;
        }
        self.go_own_way(line.target, now);
    }

    /// A probe that waited for a login of before begins one of its own.
    fn go_own_way(&mut self, target: crate::order::TargetId, now: Moment) {
        let waiting = self.entry_mut(target).and_then(|entry| entry.fresh);
        let Some(key) = waiting else { return };
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let waits = line.conversation.is_none();
        if let Purpose::Probe(probe) = &mut line.purpose
            && waits
            && probe.waits_for_login
        {
            probe.waits_for_login = false;
            probe.begin(now);
            if let Some(target) = self.target(target) {
                self.resolve(key, &target, now);
            }
        }
    }
}
