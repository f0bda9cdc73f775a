//! A time in which nobody left an accept queue: what a frozen server looks like from outside.
//!
//! Lengths, who waits, and the time go in; nothing is asked here. `queues --watch` says it, and the
//! agent takes it for evidence.

use std::time::Duration;

use dbvitals_acceptqueue::Waiting;
use dbvitals_verdict::Moment;

/// A queue in which nobody was accepted between two looks, as far as one has looked.
#[derive(Debug, Clone)]
pub(crate) struct Standstill {
    since: Moment,
    /// How many waited when it began, and at the last look at which there were more.
    from: u32,
    length: u32,
    waiting: Waiting,
    steps: u32,
}

impl Standstill {
    /// What a first look shows: so many wait, and these.
    pub(crate) fn begin(length: u32, waiting: &Waiting, now: Moment) -> Self {
        let length = at_least_those(length, waiting);
        Self {
            since: now,
            from: length,
            length,
            waiting: waiting.clone(),
            steps: 0,
        }
    }

    /// Takes another look; answers whether it has grown. Where somebody was accepted meanwhile, or
    /// nobody is known to have waited all the time, it begins anew.
    pub(crate) fn look(&mut self, length: u32, waiting: &Waiting, now: Moment) -> bool {
        let length = at_least_those(length, waiting);
        let stands = !self.is_over_at(length) && waiting.stands_still_since(&self.waiting);
        if !stands {
            *self = Self::begin(length, waiting, now);
            return false;
        }
        // As long as nobody comes and nobody is accepted, it may just be a quiet time.
        let has_grown = length > self.length;
        if has_grown {
            self.length = length;
            self.waiting.clone_from(waiting);
            self.steps += 1;
        }
        has_grown
    }

    /// Whether somebody has left the queue, if so many wait now; who has, only a look tells.
    pub(crate) fn is_over_at(&self, length: u32) -> bool {
        length < self.length
    }

    /// How many waited when it began.
    pub(crate) fn from(&self) -> u32 {
        self.from
    }

    /// When it began.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// How long it lasts.
    pub(crate) fn lasts(&self, now: Moment) -> Duration {
        now.since(self.since)
    }

    /// At how many looks more waited than before, without anybody accepted.
    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }
}

/// It is asked later who waits than how many: whoever came in between is no growth at the next look.
fn at_least_those(length: u32, waiting: &Waiting) -> u32 {
    length.max(u32::try_from(waiting.peers.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use dbvitals_acceptqueue::Peer;

    use super::*;

    /// Clients from these ports are listed.
    pub(crate) fn listed(ports: &[u16]) -> Waiting {
        let peer = |port: &u16| Peer {
            address: Some(([127, 0, 0, 1], *port).into()),
            client_inode: None,
            has_closed: false,
            cookie: u64::from(*port),
        };
        Waiting {
            peers: ports.iter().map(peer).collect(),
            ..Waiting::default()
        }
    }

    /// At each look so many waited, and these were still there when it was asked who; answers the
    /// steps after each, and for how many looks it lasts.
    fn check(looks: &[(u32, &[u16])], steps: &[u32], lasts: u64) {
        let at = |look: u64| Moment::ORIGIN + Duration::from_millis(20 * look);
        let (length, ports) = looks[0];
        let mut still = Standstill::begin(length, &listed(ports), at(0));
        let mut told = vec![0];
        for (look, (length, ports)) in (1..).zip(&looks[1..]) {
            still.look(*length, &listed(ports), at(look));
            told.push(still.steps());
        }
        assert_eq!(told, steps);
        let last = at(looks.len() as u64 - 1);
        assert_eq!(still.lasts(last), Duration::from_millis(20 * lasts));
    }

    #[test]
    fn a_queue_that_grows_while_all_who_waited_still_do_stands_still() {
        check(
            &[(1, &[1]), (1, &[1]), (2, &[1, 2]), (3, &[1, 2, 3])],
            &[0, 0, 1, 2],
            3,
        );
    }

    #[test]
    fn one_whose_clients_were_all_accepted_before_anybody_was_listed_does_not() {
        check(&[(1, &[]), (2, &[]), (3, &[]), (4, &[])], &[0, 0, 0, 0], 0);
        check(
            &[(1, &[]), (2, &[7]), (3, &[8, 9]), (4, &[10])],
            &[0, 0, 0, 0],
            0,
        );
    }

    #[test]
    fn who_comes_between_length_and_list_is_no_growth() {
        check(&[(1, &[1, 2]), (2, &[1, 2])], &[0, 0], 1);
    }
}
