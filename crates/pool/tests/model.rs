//! The pool's books under every interleaving that a scheduler can find.
//!
//! Includes the very files that the pool is made of, over shuttle's mutex instead of the standard
//! library's, and lets tasks ask, wait, give up and return while a keeper opens, tries, loses and
//! closes connections. Whoever asks and does not give up is served, or the schedule ends in a
//! deadlock, which shuttle reports with the schedule that led there. A failure prints how to
//! replay it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    dead_code,
    reason = "the pool uses more of its books than the model does"
)]

#[path = "../src/books.rs"]
mod books;
#[path = "../src/ledger.rs"]
mod ledger;
#[path = "../src/line.rs"]
mod line;
#[path = "../src/outage.rs"]
mod outage;
#[path = "../src/seat.rs"]
mod seat;
#[path = "../src/turn.rs"]
mod turn;

/// What the ledger is built on here.
mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
}

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dbvitals_verdict::Moment;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng as _, thread_rng};

use crate::books::{Bounds, Lay, Order, Stay, Tenant};
use crate::ledger::{Answer, Failed, Ledger};
use crate::seat::{Asker, Refusal};
use crate::turn::Turn;

/// A connection: what it is, and where it is counted.
#[derive(Debug)]
struct Token {
    name: u64,
    hung_up: Arc<AtomicBool>,
}

impl Token {
    fn new(name: u64) -> Self {
        Self {
            name,
            hung_up: Arc::default(),
        }
    }
}

impl Tenant for Token {
    fn has_hung_up(&self) -> bool {
        self.hung_up.load(Ordering::SeqCst)
    }
}

/// A pool, and what must hold of it whatever happens.
struct World {
    ledger: Ledger<Token>,
    /// The tokens that are open, as the keeper and the users know it.
    live: shuttle::sync::Mutex<BTreeSet<u64>>,
    names: shuttle::sync::atomic::AtomicU64,
    max_open: usize,
}

/// How a checkout of the model goes.
#[derive(Debug, Clone, Copy)]
struct Conduct {
    /// Gives up at any moment, woken or not.
    hasty: bool,
    /// When the pool sends it home.
    deadline: Moment,
    /// Finds what it was given dead, or in doubt, once.
    finds: Option<Find>,
    /// What it does at the end.
    ends: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Find {
    Dead,
    Doubt,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Returns,
    Breaks,
    Unsettled,
    Dismisses,
}

/// A deadline that comes, and one that does not.
const SOON: Moment = Moment::from_nanos(1);
const LATE: Moment = Moment::from_nanos(u64::MAX - 2);

const PATIENT: Conduct = Conduct {
    hasty: false,
    deadline: LATE,
    finds: None,
    ends: End::Returns,
};

const HASTY: Conduct = Conduct {
    hasty: true,
    ..PATIENT
};

impl Conduct {
    /// Has itself polled again whether or not it is served.
    fn stay_awake(&self, cx: &Context<'_>) {
        if self.hasty {
            cx.waker().wake_by_ref();
        }
    }
}

impl World {
    fn new(max_open: usize, min_idle: usize) -> Arc<Self> {
        let bounds = Bounds {
            max_open,
            max_idle: max_open,
            min_idle,
            newest_first: false,
            pause_max: Duration::from_nanos(1),
        };
        Arc::new(Self {
            ledger: Ledger::new(bounds),
            live: shuttle::sync::Mutex::new(BTreeSet::new()),
            names: shuttle::sync::atomic::AtomicU64::new(0),
            max_open,
        })
    }

    /// Checks out, uses and gives back; says whether it was served.
    async fn check_out(&self, mut conduct: Conduct) -> Result<bool, Refusal> {
        let mut again = false;
        loop {
            let Some(token) = self.receive(&mut conduct, again).await? else {
                return Ok(false);
            };
            assert!(self.live.lock().unwrap().contains(&token.name), "{token:?}");
            match conduct.finds.take() {
                Some(Find::Dead) => self.bury(token),
                Some(Find::Doubt) => self.ledger.try_out(token),
                None => {
                    yield_now().await;
                    self.end(token, conduct.ends);
                    return Ok(true);
                }
            }
            again = true;
        }
    }

    /// What the pool's own future does; `None` for one that gave up.
    async fn receive(&self, conduct: &mut Conduct, again: bool) -> Result<Option<Token>, Refusal> {
        let asker = Asker {
            since: Moment::ORIGIN,
            deadline: conduct.deadline,
            again,
        };
        let mut turn: Option<Turn<'_, Token>> = None;
        poll_fn(|cx| {
            let Some(turn) = &mut turn else {
                return match self.ledger.ask(asker, Moment::ORIGIN, cx.waker()) {
                    Answer::Member(token) => Poll::Ready(Ok(Some(token))),
                    Answer::Closed => Poll::Ready(Err(Refusal::Closed)),
                    Answer::Wait(place) => {
                        turn = Some(place);
                        conduct.stay_awake(cx);
                        Poll::Pending
                    }
                };
            };
            // It may be waiting still, or have been served and not looked yet.
            if conduct.hasty && thread_rng().gen_bool(0.3) {
                return Poll::Ready(Ok(None));
            }
            let outcome = turn.poll(cx).map_ok(Some);
            if outcome.is_pending() {
                conduct.stay_awake(cx);
            }
            outcome
        })
        .await
    }

    fn end(&self, token: Token, end: End) {
        match end {
            End::Returns => {
                if let Some(token) = self.ledger.put_back(token, Some(Moment::ORIGIN)) {
                    self.bury(token);
                }
            }
            End::Breaks => self.bury(token),
            End::Unsettled => self.ledger.settle(token),
            End::Dismisses => self.ledger.dismiss(token),
        }
    }

    fn bury(&self, token: Token) {
        self.live.lock().unwrap().remove(&token.name);
        if token.name.is_multiple_of(3) {
            self.ledger.note_stillborn(Moment::ORIGIN, 0.0);
        }
        self.ledger
            .bury(Moment::ORIGIN, token.name.is_multiple_of(2));
    }

    /// Carries out one order; the first `failures` attempts fail.
    async fn carry_out(&self, order: Order<Token>, failures: &mut usize) {
        // The keeper is not alone: whatever it does takes time.
        yield_now().await;
        let now = Moment::ORIGIN + Duration::from_secs(1);
        match order {
            Order::Open if *failures > 0 => {
                *failures -= 1;
                let failed = Failed {
                    started: Moment::ORIGIN,
                    pause_min: Duration::ZERO,
                    rejected: false,
                    chance: 0.0,
                };
                self.ledger.note_failure(failed, now);
            }
            Order::Open => {
                let name = self.names.fetch_add(1, Ordering::SeqCst);
                let mut live = self.live.lock().unwrap();
                live.insert(name);
                assert!(live.len() <= self.max_open, "{} are open", live.len());
                drop(live);
                self.ledger.admit(Token::new(name), now);
            }
            Order::Try(token) | Order::Settle(token) => match thread_rng().gen_bool(0.5) {
                true if !token.has_hung_up() => self.ledger.keep(token, now, Lay::Oldest),
                _ => {
                    self.live.lock().unwrap().remove(&token.name);
                    self.ledger.end_trial(now, true);
                }
            },
            Order::Close(token) => {
                self.live.lock().unwrap().remove(&token.name);
                self.ledger.end_closing(now);
            }
        }
    }

    fn resize(&self, max_open: usize) {
        let bounds = Bounds {
            max_open,
            max_idle: max_open,
            min_idle: 0,
            newest_first: true,
            pause_max: Duration::from_nanos(1),
        };
        self.ledger.set_bounds(bounds, Moment::ORIGIN);
    }

    /// Nothing is out, nobody waits, and the books agree with what there is.
    fn settled(&self) {
        let census = self.ledger.census();
        assert_eq!((census.leased, census.waiting), (0, 0), "{census:?}");
        assert!(census.open() <= self.max_open, "{census:?}");
        let live = self.live.lock().unwrap().len();
        assert_eq!(census.open() - census.opening, live, "{census:?}");
    }
}

/// Runs the keeper for ever, beside the tasks; shuttle ends it with the main task. As the pool's
/// own, it sleeps until somebody wakes it or its alarm is due: here, once it has seen that nobody
/// woke it, which is as late as an alarm can be.
fn keep(world: &Arc<World>, mut failures: usize) {
    let world = Arc::clone(world);
    spawn(async move {
        loop {
            let mut alarm = None;
            let order = poll_fn(|cx| match world.ledger.poll_order(cx) {
                Poll::Ready(order) => Poll::Ready(Some(order)),
                Poll::Pending => {
                    alarm = world.ledger.alarm();
                    match alarm.is_some_and(|alarm| alarm < LATE) {
                        true => Poll::Ready(None),
                        false => Poll::Pending,
                    }
                }
            });
            match (order.await, alarm) {
                (Some(order), _) => world.carry_out(order, &mut failures).await,
                (None, Some(alarm)) => {
                    yield_now().await;
                    world.ledger.tick(alarm);
                }
                (None, None) => {}
            }
        }
    });
}

/// Begins checkouts side by side.
fn check_out_all(
    world: &Arc<World>,
    conducts: &[Conduct],
) -> Vec<JoinHandle<Result<bool, Refusal>>> {
    let check_out = |conduct: &Conduct| {
        let (world, conduct) = (Arc::clone(world), *conduct);
        spawn(async move { world.check_out(conduct).await })
    };
    conducts.iter().map(check_out).collect()
}

/// Runs checkouts side by side and looks at the end whether all that may be had was served.
fn explore(max_open: usize, failures: usize, conducts: &'static [Conduct]) {
    let world = World::new(max_open, 0);
    keep(&world, failures);
    let tasks: Vec<_> = conducts
        .iter()
        .map(|conduct| {
            let world = Arc::clone(&world);
            spawn(async move {
                let served = world.check_out(*conduct).await;
                match (conduct.hasty, conduct.deadline) {
                    (true, _) => assert!(served.is_ok()),
                    (false, SOON) => {
                        assert!(matches!(served, Ok(true) | Err(Refusal::TimedOut)));
                    }
                    (false, _) => assert_eq!(served, Ok(true)),
                }
            })
        })
        .collect();
    block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
        all_can_be_had(&world, max_open).await;
    });
    world.settled();
}

/// No permit was lost: as many as may be open can still be had, all at once.
async fn all_can_be_had(world: &World, max_open: usize) {
    let mut held = Vec::new();
    for _ in 0..max_open {
        let token = world.receive(&mut { PATIENT }, false).await;
        held.push(token.unwrap().unwrap());
    }
    for token in held {
        world.end(token, End::Returns);
    }
}

const SCHEDULES: usize = 1_000;

#[test]
fn everybody_is_served_in_the_end() {
    shuttle::check_random(|| explore(1, 0, &[PATIENT; 4]), SCHEDULES);
    shuttle::check_random(|| explore(2, 0, &[PATIENT; 5]), SCHEDULES);
}

#[test]
fn one_that_gives_up_passes_on_what_it_was_given() {
    const CROWD: &[Conduct] = &[PATIENT, HASTY, PATIENT, HASTY, PATIENT];
    shuttle::check_random(|| explore(1, 0, CROWD), SCHEDULES);
    shuttle::check_pct(|| explore(2, 0, CROWD), SCHEDULES, 3);
}

#[test]
fn connections_that_are_lost_are_replaced_for_those_who_wait() {
    const BREAKS: Conduct = Conduct {
        ends: End::Breaks,
        ..PATIENT
    };
    const DISMISSES: Conduct = Conduct {
        ends: End::Dismisses,
        ..PATIENT
    };
    const UNSETTLED: Conduct = Conduct {
        ends: End::Unsettled,
        ..PATIENT
    };
    const CROWD: &[Conduct] = &[BREAKS, DISMISSES, UNSETTLED, PATIENT, BREAKS];
    shuttle::check_random(|| explore(1, 0, CROWD), SCHEDULES);
    shuttle::check_random(|| explore(2, 0, CROWD), SCHEDULES);
}

#[test]
fn what_is_found_dead_or_in_doubt_costs_nobody_the_turn() {
    const FINDS_DEAD: Conduct = Conduct {
        finds: Some(Find::Dead),
        ..PATIENT
    };
    const IN_DOUBT: Conduct = Conduct {
        finds: Some(Find::Doubt),
        ..PATIENT
    };
    const HASTY_IN_DOUBT: Conduct = Conduct {
        finds: Some(Find::Doubt),
        ..HASTY
    };
    const CROWD: &[Conduct] = &[FINDS_DEAD, IN_DOUBT, PATIENT, HASTY_IN_DOUBT];
    shuttle::check_random(|| explore(1, 0, CROWD), SCHEDULES);
    shuttle::check_pct(|| explore(2, 0, CROWD), SCHEDULES, 3);
}

#[test]
fn an_outage_ends_for_all_who_wait() {
    const CROWD: &[Conduct] = &[PATIENT, HASTY, PATIENT, PATIENT];
    shuttle::check_random(|| explore(2, 3, CROWD), SCHEDULES);
}

#[test]
fn whose_time_is_up_goes_home_and_what_was_on_its_way_goes_to_the_next() {
    const BRIEF: Conduct = Conduct {
        deadline: SOON,
        ..PATIENT
    };
    const CROWD: &[Conduct] = &[BRIEF, PATIENT, BRIEF, HASTY, PATIENT];
    shuttle::check_random(|| explore(1, 0, CROWD), SCHEDULES);
    shuttle::check_random(|| explore(2, 2, CROWD), SCHEDULES);
}

#[test]
fn a_resize_health_checks_and_successors_beside_it_lose_nothing() {
    shuttle::check_random(
        || {
            let world = World::new(3, 0);
            keep(&world, 1);
            let tasks = check_out_all(&world, &[PATIENT, HASTY, PATIENT, PATIENT]);
            block_on(async {
                for max_open in [1, 3, 2] {
                    world.resize(max_open);
                    yield_now().await;
                    world.ledger.seek_evidence(Moment::ORIGIN);
                    world.ledger.replace(Moment::ORIGIN);
                    yield_now().await;
                }
                for task in tasks {
                    assert!(task.await.unwrap().is_ok());
                }
            });
            block_on(async {
                all_can_be_had(&world, 2).await;
                while world.ledger.census().closing > 0 {
                    yield_now().await;
                }
            });
            world.settled();
        },
        SCHEDULES,
    );
}

#[test]
fn what_hung_up_is_never_laid_down_or_handed_on() {
    shuttle::check_random(
        || {
            let world = World::new(1, 0);
            keep(&world, 0);
            block_on(async {
                let token = world.receive(&mut { PATIENT }, false).await;
                let token = token.unwrap().unwrap();
                let (name, hung_up) = (token.name, Arc::clone(&token.hung_up));
                let watching = {
                    let world = Arc::clone(&world);
                    spawn(async move {
                        // As the keeper does: the mark first, then a look at what is idle.
                        hung_up.store(true, Ordering::SeqCst);
                        let concerns = |token: &mut Token| match token.has_hung_up() {
                            true => Stay::Take,
                            false => Stay::Idle,
                        };
                        for token in world.ledger.inspect(Moment::ORIGIN, concerns) {
                            world.live.lock().unwrap().remove(&token.name);
                            world.ledger.end_trial(Moment::ORIGIN, true);
                        }
                    })
                };
                world.end(token, End::Returns);
                watching.await.unwrap();
                let next = world.receive(&mut { PATIENT }, false).await;
                let next = next.unwrap().unwrap();
                assert_ne!(next.name, name, "it was marked and looked for by then");
                world.end(next, End::Returns);
            });
        },
        SCHEDULES,
    );
}

#[test]
fn where_nobody_is_let_in_nobody_waits_and_nobody_is_forgotten() {
    shuttle::check_random(
        || {
            let world = World::new(2, 0);
            let keeper = Arc::clone(&world);
            spawn(async move {
                let order = poll_fn(|cx| keeper.ledger.poll_order(cx)).await;
                assert!(matches!(order, Order::Open));
                let failed = Failed {
                    started: Moment::ORIGIN,
                    pause_min: Duration::ZERO,
                    rejected: true,
                    chance: 0.0,
                };
                while keeper.ledger.census().waiting < 3 {
                    yield_now().await;
                }
                keeper.ledger.note_failure(failed, Moment::ORIGIN);
            });
            let tasks = check_out_all(&world, &[PATIENT; 3]);
            block_on(async {
                for task in tasks {
                    assert_eq!(task.await.unwrap(), Err(Refusal::Rejected));
                }
            });
        },
        SCHEDULES,
    );
}

#[test]
fn a_pool_that_is_orphaned_lets_nobody_wait_and_keeps_nothing() {
    shuttle::check_random(
        || {
            let world = World::new(2, 0);
            keep(&world, 0);
            let tasks = check_out_all(&world, &[PATIENT, PATIENT, HASTY, PATIENT]);
            block_on(async {
                yield_now().await;
                drop(world.ledger.orphan());
                for task in tasks {
                    let outcome = task.await.unwrap();
                    assert!(matches!(outcome, Ok(_) | Err(Refusal::Closed)));
                }
            });
            let census = world.ledger.census();
            assert_eq!((census.idle, census.leased), (0, 0), "{census:?}");
            // What came back since was dropped, not queued for a keeper that is gone.
            assert!(
                world
                    .ledger
                    .poll_order(&Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        },
        SCHEDULES,
    );
}

#[test]
fn the_idle_are_inspected_while_others_come_and_go() {
    shuttle::check_random(
        || {
            let world = World::new(2, 1);
            keep(&world, 0);
            let tasks = check_out_all(&world, &[PATIENT; 3]);
            block_on(async {
                for _ in 0..3 {
                    let taken = world.ledger.inspect(Moment::ORIGIN, |_| {
                        match thread_rng().gen_range(0..4) {
                            0 => Stay::Idle,
                            1 => Stay::Trial,
                            2 => Stay::Close,
                            _ => Stay::Take,
                        }
                    });
                    yield_now().await;
                    for token in taken {
                        match thread_rng().gen_range(0..3) {
                            0 => world.ledger.lay_back(token),
                            1 => world.ledger.try_taken(token),
                            _ => {
                                world.live.lock().unwrap().remove(&token.name);
                                world.ledger.end_trial(Moment::ORIGIN, false);
                            }
                        }
                    }
                    yield_now().await;
                }
                for task in tasks {
                    assert_eq!(task.await.unwrap(), Ok(true));
                }
            });
        },
        SCHEDULES,
    );
}

#[test]
fn a_close_refuses_everybody_and_ends_with_nothing_open() {
    shuttle::check_random(
        || {
            let world = World::new(2, 0);
            keep(&world, 0);
            let tasks = check_out_all(&world, &[PATIENT; 4]);
            block_on(async {
                yield_now().await;
                world.ledger.close();
                for task in tasks {
                    let outcome = task.await.unwrap();
                    assert!(matches!(outcome, Ok(true) | Err(Refusal::Closed)));
                }
                while world.ledger.census().open() > 0 {
                    yield_now().await;
                }
            });
            assert_eq!(world.live.lock().unwrap().len(), 0);
        },
        SCHEDULES,
    );
}

/// A task that counts how often it was woken.
#[derive(Default)]
struct Sleeper(AtomicUsize);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

const ASKER: Asker = Asker {
    since: Moment::ORIGIN,
    deadline: LATE,
    again: false,
};

/// Asks where nothing is idle.
fn wait<'w>(world: &'w World, again: bool, sleeper: &Arc<Sleeper>) -> Turn<'w, Token> {
    let asker = Asker { again, ..ASKER };
    let waker = Waker::from(Arc::clone(sleeper));
    match world.ledger.ask(asker, Moment::ORIGIN, &waker) {
        Answer::Wait(turn) => turn,
        Answer::Member(_) | Answer::Closed => panic!("nothing is idle"),
    }
}

fn is_served(turn: &mut Turn<'_, Token>, sleeper: &Arc<Sleeper>) -> bool {
    let waker = Waker::from(Arc::clone(sleeper));
    let outcome = turn.poll(&Context::from_waker(&waker));
    matches!(outcome, Poll::Ready(Ok(_)))
}

#[test]
fn who_comes_away_with_nothing_goes_before_all_others() {
    let alone = || {
        let world = World::new(1, 0);
        let sleeper = Arc::default();
        let mut first = wait(&world, false, &sleeper);
        let mut again = wait(&world, true, &sleeper);
        let _order = world.ledger.poll_order(&Context::from_waker(Waker::noop()));
        world.ledger.admit(Token::new(0), Moment::ORIGIN);
        assert!(is_served(&mut again, &sleeper));
        assert!(!is_served(&mut first, &sleeper));
    };
    shuttle::check_random(alone, 1);
}

#[test]
fn a_waiter_that_moved_to_another_task_is_woken_there() {
    let alone = || {
        let world = World::new(1, 0);
        let (here, there) = (Arc::default(), Arc::default());
        let mut turn = wait(&world, false, &here);
        assert!(!is_served(&mut turn, &there));
        let _order = world.ledger.poll_order(&Context::from_waker(Waker::noop()));
        world.ledger.admit(Token::new(0), Moment::ORIGIN);
        let woken = |sleeper: &Arc<Sleeper>| sleeper.0.load(Ordering::SeqCst);
        assert_eq!((woken(&here), woken(&there)), (0, 1));
    };
    shuttle::check_random(alone, 1);
}

#[test]
fn the_line_is_served_in_the_order_in_which_it_formed() {
    shuttle::check_random(
        || {
            let world = World::new(1, 0);
            keep(&world, 0);
            let order = Arc::new(shuttle::sync::Mutex::new(Vec::new()));
            block_on(async {
                let first = world
                    .receive(&mut { PATIENT }, false)
                    .await
                    .unwrap()
                    .unwrap();
                let mut tasks = Vec::new();
                for number in 0..3 {
                    let (world_of, order) = (Arc::clone(&world), Arc::clone(&order));
                    tasks.push(spawn(async move {
                        let token = world_of.receive(&mut { PATIENT }, false).await;
                        order.lock().unwrap().push(number);
                        world_of.end(token.unwrap().unwrap(), End::Returns);
                    }));
                    while world.ledger.census().waiting <= number {
                        yield_now().await;
                    }
                }
                world.end(first, End::Returns);
                for task in tasks {
                    task.await.unwrap();
                }
            });
            assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        },
        SCHEDULES,
    );
}
