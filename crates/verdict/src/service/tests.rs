//! What a service is worth: told in stories of a line each, and held against every combination of
//! up to three members.

use super::*;
use crate::Role;

const PRIMARY: Option<Role> = Some(Role::Primary);
const REPLICA: Option<Role> = Some(Role::Replica);

fn sign(verdict: Verdict, role: Option<Role>) -> Sign {
    let cause = (verdict == Verdict::Down).then_some(Cause::Refused);
    Sign {
        verdict,
        role,
        read_only: role == REPLICA,
        cause,
        class: cause.map(Cause::default_class),
        ..Sign::default()
    }
}

fn ordered(admin: Admin, sign: Sign) -> Sign {
    Sign { admin, ..sign }
}

fn full(role: Option<Role>) -> Sign {
    Sign {
        cause: Some(Cause::TooManyConnections),
        class: Some(Class::Full),
        ..sign(Verdict::Degraded, role)
    }
}

fn members(signs: &[Sign]) -> Vec<Member<'static>> {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let named = names.iter().zip(signs);
    named
        .map(|(name, sign)| Member {
            name,
            sign: *sign,
            passed_over: None,
        })
        .collect()
}

fn conclude(needs: ServiceNeeds, asked: Want, signs: &[Sign]) -> Conclusion {
    needs.conclude(asked, &members(signs))
}

fn wanting(want: Want, enough: usize) -> ServiceNeeds {
    ServiceNeeds {
        want,
        enough,
        multi_primary: None,
    }
}

const UP: Verdict = Verdict::Up;
const DEGRADED: Verdict = Verdict::Degraded;
const DOWN: Verdict = Verdict::Down;
const UNKNOWN: Verdict = Verdict::Unknown;

#[track_caller]
fn check(needs: ServiceNeeds, signs: &[Sign], expected: (Verdict, Option<&str>)) -> Conclusion {
    let conclusion = conclude(needs, Want::Any, signs);
    let told = (conclusion.verdict, conclusion.detail.as_deref());
    assert_eq!(told, expected, "{signs:?}");
    conclusion
}

#[test]
fn a_service_is_up_while_enough_of_its_members_fit() {
    let any = ServiceNeeds::default();
    let (up, down) = (sign(UP, None), sign(DOWN, None));
    check(any, &[up, down, down], (UP, None));
    check(any, &[full(None), up], (UP, None));
    let two = wanting(Want::Any, 2);
    check(two, &[up, full(None), down], (UP, None));
    let conclusion = check(
        two,
        &[up, down, ordered(Admin::Maint, up)],
        (
            DEGRADED,
            Some("1 of 3 fit, 2 are enough: b is down (refused), c is ordered maint"),
        ),
    );
    assert_eq!(conclusion.fit, [true, false, false]);
    assert_eq!(conclusion.cause, Some(Cause::Refused));
}

#[test]
fn a_service_whose_members_are_all_degraded_is_degraded_for_their_cause() {
    let conclusion = check(
        ServiceNeeds::default(),
        &[full(None), full(None)],
        (
            DEGRADED,
            Some(
                "2 of 2 fit, all of them degraded: a is degraded (too_many_connections), \
                 b is degraded (too_many_connections)",
            ),
        ),
    );
    assert_eq!(conclusion.class, Some(Class::Full));
}

#[test]
fn a_service_is_down_or_unknown_when_nobody_fits() {
    let any = ServiceNeeds::default();
    let (down, unknown) = (sign(DOWN, None), sign(UNKNOWN, None));
    check(
        any,
        &[down],
        (DOWN, Some("0 of 1 fit, 1 is enough: a is down (refused)")),
    );
    check(
        any,
        &[down, unknown],
        (
            UNKNOWN,
            Some("0 of 2 fit, 1 is enough: a is down (refused), b is unknown"),
        ),
    );
    // Whatever is found out about who is out by order, it will not fit.
    let out = ordered(Admin::Drain, unknown);
    check(
        any,
        &[down, out],
        (
            DOWN,
            Some("0 of 2 fit, 1 is enough: a is down (refused), b is ordered drain"),
        ),
    );
}

#[test]
fn only_what_is_wanted_counts_and_the_lost_primary_is_the_cause() {
    let pair = [sign(DOWN, PRIMARY), sign(UP, REPLICA)];
    let unfit = Sign {
        cause: Some(Cause::NotSynced),
        class: Some(Class::Unfit),
        ..sign(DOWN, REPLICA)
    };
    let conclusion = check(
        wanting(Want::Primary, 1),
        &[unfit, pair[0], pair[1]],
        (
            DOWN,
            Some(
                "0 of 3 fit, 1 is enough: a is down (not_synced), b is down (refused), \
                 c is a read-only replica",
            ),
        ),
    );
    assert_eq!(conclusion.cause, Some(Cause::Refused));
    check(wanting(Want::Replica, 1), &pair, (UP, None));
}

#[test]
fn who_asks_for_a_role_needs_one_member_of_it() {
    let needs = wanting(Want::Any, 2);
    let pair = [sign(UP, PRIMARY), sign(UP, REPLICA)];
    let fit = |asked| conclude(needs, asked, &pair).fit;
    assert_eq!(fit(Want::Any), [true, true]);
    assert_eq!(fit(Want::Primary), [true, false]);
    assert_eq!(fit(Want::Replica), [false, true]);
    assert_eq!(fit(Want::Writable), [true, false]);
    for asked in Want::ALL {
        assert_eq!(conclude(needs, asked, &pair).verdict, UP, "{asked}");
    }
    // The service's own want holds beside.
    let replicas = wanting(Want::Replica, 1);
    assert_eq!(conclude(replicas, Want::Primary, &pair).verdict, DOWN);
}

#[test]
fn who_is_passed_over_does_not_count_and_it_is_said_why() {
    let mut late = members(&[sign(DOWN, PRIMARY), sign(UP, REPLICA)]);
    late[1].passed_over = Some("it is 12 s behind".to_owned());
    let conclusion = ServiceNeeds::default().conclude(Want::Replica, &late);
    assert_eq!(
        conclusion.detail.as_deref(),
        Some("0 of 2 fit, 1 is enough: a is down (refused), b: it is 12 s behind")
    );
}

#[test]
fn two_primaries_are_an_alarm_unless_that_is_meant() {
    let primary = sign(UP, PRIMARY);
    let told = Some("a and b are primaries and take writes, each on its own");
    let pair = [primary, primary];
    let conclusion = check(ServiceNeeds::default(), &pair, (DEGRADED, told));
    assert_eq!(conclusion.alarm, Some(Alarm::TwoPrimaries));
    assert_eq!((conclusion.cause, conclusion.primaries), (None, vec![0, 1]));
    let meant = |multi_primary| ServiceNeeds {
        multi_primary,
        ..ServiceNeeds::default()
    };
    check(meant(Some(true)), &pair, (UP, None));
    // Galera nodes say it of themselves, and may still be told otherwise.
    let node = Sign {
        shares_writes: true,
        ..primary
    };
    check(meant(None), &[node, node], (UP, None));
    check(meant(Some(false)), &[node, node], (DEGRADED, told));
    check(meant(None), &[node, primary], (DEGRADED, told));
}

#[test]
fn who_takes_no_writes_or_no_traffic_makes_no_alarm() {
    let primary = sign(UP, PRIMARY);
    let read_only = Sign {
        read_only: true,
        ..primary
    };
    let others = [
        read_only,
        sign(DOWN, PRIMARY),
        sign(UNKNOWN, PRIMARY),
        ordered(Admin::Drain, primary),
        sign(UP, REPLICA),
    ];
    for other in others {
        let conclusion = check(ServiceNeeds::default(), &[primary, other], (UP, None));
        assert_eq!(conclusion.alarm, None, "{other:?}");
    }
    let conclusion = conclude(ServiceNeeds::default(), Want::Replica, &[primary, primary]);
    assert_eq!(conclusion.verdict, DOWN);
    // Those who read are not kept from it by what befalls those who write.
    let signs = [primary, primary, sign(UP, REPLICA)];
    let conclusion = conclude(ServiceNeeds::default(), Want::Replica, &signs);
    let alarm = Some(Alarm::TwoPrimaries);
    assert_eq!((conclusion.verdict, conclusion.alarm), (UP, alarm));
}

#[test]
fn the_mildest_order_is_the_service_s() {
    let check = |orders: &[Admin], expected| {
        let signs: Vec<_> = orders
            .iter()
            .map(|it| ordered(*it, sign(UP, None)))
            .collect();
        let conclusion = conclude(ServiceNeeds::default(), Want::Any, &signs);
        assert_eq!(conclusion.admin, expected);
    };
    check(&[Admin::Maint, Admin::Ready], Admin::Ready);
    check(&[Admin::Maint, Admin::Drain], Admin::Drain);
    check(&[Admin::Maint], Admin::Maint);
}

#[test]
fn of_many_members_some_are_named() {
    let conclusion = conclude(ServiceNeeds::default(), Want::Any, &[sign(DOWN, None); 7]);
    let detail = conclusion.detail.unwrap();
    assert!(
        detail.ends_with("e is down (refused), and 2 more"),
        "{detail}"
    );
}

// --- Every combination -------------------------------------------------------------------------

/// The verdicts, the worst first.
const LADDER: [Verdict; 4] = [DOWN, UNKNOWN, DEGRADED, UP];

fn every_sign() -> Vec<Sign> {
    let mut signs = Vec::new();
    for verdict in LADDER {
        for admin in [Admin::Ready, Admin::Drain] {
            for (role, read_only) in [
                (None, false),
                (PRIMARY, false),
                (PRIMARY, true),
                (REPLICA, true),
            ] {
                let sign = sign(verdict, role);
                signs.push(Sign {
                    admin,
                    read_only,
                    ..sign
                });
            }
        }
    }
    signs
}

/// Members of a service, up to three, the order of all but the first apart.
fn every_company() -> Vec<Vec<Sign>> {
    let signs = every_sign();
    let mut companies = vec![Vec::new()];
    for (place, one) in signs.iter().enumerate() {
        companies.push(vec![*one]);
        companies.extend(signs.iter().skip(place).map(|other| vec![*one, *other]));
    }
    companies
}

/// What a member is when it is a little better, its role left alone.
fn improved(sign: Sign) -> impl Iterator<Item = Sign> {
    let ready = ordered(Admin::Ready, sign);
    let place = LADDER.iter().position(|it| *it == sign.verdict);
    let next = place.and_then(|place| LADDER.get(place + 1));
    let next = next.map(|verdict| Sign {
        verdict: *verdict,
        ..sign
    });
    [Some(ready), next].into_iter().flatten()
}

/// How well a verdict is for traffic; what is not known is no better than down for who asks for a
/// role, since an unknown member may turn out to have another one.
fn worth(verdict: Verdict, needs: ServiceNeeds) -> usize {
    let place = LADDER.iter().position(|it| *it == verdict);
    let place = place.unwrap_or_default();
    match needs.want {
        Want::Any => place,
        Want::Primary | Want::Replica | Want::Writable => place.max(1),
    }
}

fn every_needs() -> impl Iterator<Item = ServiceNeeds> {
    let enough = |want| (1..=3).map(move |enough| wanting(want, enough));
    Want::ALL.into_iter().flat_map(enough)
}

#[test]
fn a_member_that_gets_better_never_makes_the_service_worse() {
    for others in every_company() {
        for one in every_sign() {
            for needs in every_needs() {
                let needs = ServiceNeeds {
                    // Two primaries are worse than one; everything else is as said.
                    multi_primary: Some(true),
                    ..needs
                };
                let judge = |sign| {
                    let mut all = others.clone();
                    all.push(sign);
                    conclude(needs, Want::Any, &all).verdict
                };
                let before = judge(one);
                for better in improved(one) {
                    let after = judge(better);
                    assert!(
                        worth(after, needs) >= worth(before, needs),
                        "{needs:?} {others:?} {one:?} is {before}, {better:?} {after}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_conclusion_is_what_the_members_make_it() {
    for others in every_company() {
        for one in every_sign() {
            let mut signs = others.clone();
            signs.push(one);
            for needs in every_needs() {
                let conclusion = conclude(needs, Want::Any, &signs);
                let fits = |sign: &Sign| sign.is_fit() && sign.meets(needs.want);
                let fit = signs.iter().filter(|it| fits(it)).count();
                assert_eq!(conclusion.fit_count(), fit);
                let alarm = signs.iter().filter(|it| it.is_fit() && it.is_primary());
                let alarm = alarm.count() > 1;
                assert_eq!(conclusion.alarm.is_some(), alarm);
                match conclusion.verdict {
                    Verdict::Up => assert!(fit >= needs.enough),
                    Verdict::Degraded => assert!(fit > 0),
                    Verdict::Unknown | Verdict::Down => assert_eq!(fit, 0),
                }
                // Whatever is not well is said, and said of the right member.
                let well = conclusion.verdict == Verdict::Up && !alarm;
                assert_eq!(
                    conclusion.detail.is_none(),
                    well,
                    "{signs:?} {conclusion:?}"
                );
                let first = members(&signs)
                    .into_iter()
                    .zip(&conclusion.fit)
                    .find(|(_, fit)| !**fit);
                if let (Some((member, _)), true) = (first, fit < needs.enough) {
                    let detail = conclusion.detail.unwrap();
                    assert!(detail.contains(&format!("{} is ", member.name)), "{detail}");
                }
            }
        }
    }
}
