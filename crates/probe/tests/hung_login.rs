//! A probe that waited for a login of before: the wait is no part of what it took.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{Address, Clock, Order, Prober, Protocol, Target, TargetId};
use dbvitals_testkit::{Dialect, Mood, ScriptedDatabase};
use dbvitals_verdict::{Cause, Depth, Observation, Outcome, Path, ProbeId};
use dbvitals_wire::Credentials;

/// How late the server is with its first words.
const LATE: Duration = Duration::from_secs(2);
/// How long the first probe waits for them.
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

fn ask(prober: &mut Prober, clock: Clock, timeout: Duration) -> Observation {
    prober.start(Order {
        target: TargetId(0),
        probe: ProbeId(1),
        path: Path::Fresh,
        depth: Depth::Ping,
        deadline: clock.now() + timeout,
        hold: false,
    });
    loop {
        if let Some((_, observation)) = prober.poll_observation() {
            return observation;
        }
        prober.wait(None).expect("the kernel lets one wait");
    }
}

#[test]
fn who_waited_for_a_login_that_hung_took_as_long_as_its_own_phases() {
    let database = ScriptedDatabase::start(Dialect::MySql);
    database.switch(Mood::Slow(LATE));
    let clock = Clock::start();
    let mut prober = Prober::new(clock).expect("an epoll descriptor");
    let address = Address::Tcp {
        host: database.address().ip().to_string(),
        port: database.address().port(),
    };
    let mut target = Target::new(Protocol::MySql, address);
    target.credentials = Some(Credentials::new("vitals").with_password("secret").into());
    prober.add_target(TargetId(0), Arc::new(target));
    let hung = ask(&mut prober, clock, SHORT);
    assert_eq!(hung.outcome, Outcome::Fail(Cause::NoGreeting), "{hung:?}");
    database.switch(Mood::Fine);

    let asked = clock.now();
    let seen = ask(&mut prober, clock, LONG);
    assert_eq!(seen.outcome, Outcome::Pass, "{seen:?}");
    let waited = seen.started.since(asked);
    let phases: Duration = seen.phases.iter().map(|(_, took, _)| took).sum();
    // What lies between its phases is no wait, on a busy machine either.
    assert!(
        seen.took() - phases < LATE / 4,
        "{seen:?}, after {waited:?}"
    );
    assert!(waited > LATE / 2, "{seen:?}, after {waited:?}");
}
