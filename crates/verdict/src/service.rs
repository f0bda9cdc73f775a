//! What a service is worth, concluded from what is known of its backends.
//!
//! Pure, like the rest of this crate: the signs of the members go in, a conclusion comes out, and
//! the same signs always make the same one. What a service was before does not matter; when it
//! changed is for the caller to know.
//!
//! A member fits when traffic may go there and its role is what is wanted. A service is up while
//! enough members fit, degraded while some do, and down when none does. Two primaries that take
//! writes are an alarm, however well they are: data that is written to both comes apart.

use std::fmt;

use crate::{Admin, Cause, Class, Sign, Verdict, Want};

/// Members that are named in a detail; of more it is said how many there are.
const NAMED_MAX: usize = 5;

/// What a service needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceNeeds {
    /// What a member must be to count.
    pub want: Want,
    /// How many members must fit for the service to be up; at least 1.
    pub enough: usize,
    /// Whether several primaries are right; where nobody says, as the servers tell: Galera nodes
    /// and members of a replication group with several primaries share the writes by design.
    pub multi_primary: Option<bool>,
}

impl Default for ServiceNeeds {
    fn default() -> Self {
        Self {
            want: Want::Any,
            enough: 1,
            multi_primary: None,
        }
    }
}

/// A backend as a member of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// The backend's name.
    pub name: &'a str,
    /// What is known of it.
    pub sign: Sign,
    /// Why it does not count for who asks, in words like "it is 12 s behind"; beyond its sign.
    pub passed_over: Option<String>,
}

/// What is wrong with a service, although its members are well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// Two members take writes and follow nobody.
    TwoPrimaries,
}

impl Alarm {
    /// All alarms.
    pub const ALL: [Self; 1] = [Self::TwoPrimaries];

    /// The name in JSON, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoPrimaries => "two_primaries",
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The conclusion on a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conclusion {
    /// The verdict.
    pub verdict: Verdict,
    /// The mildest order that an operator gave to a member.
    pub admin: Admin,
    /// The cause of the member that matters most, where the service is not up.
    pub cause: Option<Cause>,
    /// The class of that cause.
    pub class: Option<Class>,
    /// What is the case, in a sentence for people; `None` while all is well.
    pub detail: Option<String>,
    /// Which members fit, in their order.
    pub fit: Vec<bool>,
    /// The places of the members that traffic may go to and that are primaries and take writes.
    pub primaries: Vec<usize>,
    /// What is wrong beside.
    pub alarm: Option<Alarm>,
}

impl Conclusion {
    /// How many members fit.
    pub fn fit_count(&self) -> usize {
        self.fit.iter().filter(|fit| **fit).count()
    }

    /// The conclusion in as few words as that on a backend; a service has no role.
    pub fn sign(&self) -> Sign {
        Sign {
            verdict: self.verdict,
            admin: self.admin,
            cause: self.cause,
            class: self.class,
            alarm: self.alarm,
            ..Sign::default()
        }
    }
}

impl ServiceNeeds {
    /// Concludes what a service is worth to somebody who asks for this; `Want::Any` asks for the
    /// service as it is set. Who asks for a role needs one member of it, since `enough` is
    /// said of the service as a whole.
    pub fn conclude(&self, asked: Want, members: &[Member<'_>]) -> Conclusion {
        let question = Question {
            wants: [self.want, asked],
            enough: match asked == Want::Any || asked == self.want {
                true => self.enough,
                false => 1,
            },
            members,
        };
        let (primaries, alarm) = self.primaries(members);
        // To whom only replicas matter, nothing comes apart.
        let alarmed = alarm.is_some() && !question.wants.contains(&Want::Replica);
        let verdict = question.verdict(alarmed);
        let decisive = question.decisive().map(|member| member.sign);
        let decisive = decisive.filter(|_| verdict != Verdict::Up);
        let told = alarm.map(|alarm| self.tell_alarm(alarm, &primaries, members));
        let short = (verdict != Verdict::Up).then(|| question.tell()).flatten();
        let sentences: Vec<_> = told.into_iter().chain(short).collect();
        Conclusion {
            verdict,
            admin: mildest(members),
            cause: decisive.and_then(|sign| sign.cause),
            class: decisive.and_then(|sign| sign.class),
            detail: (!sentences.is_empty()).then(|| sentences.join("; ")),
            fit: members.iter().map(|it| question.fits(it)).collect(),
            primaries,
            alarm,
        }
    }

    /// Who takes writes, and whether those are too many.
    fn primaries(&self, members: &[Member<'_>]) -> (Vec<usize>, Option<Alarm>) {
        let is_primary = |member: &Member<'_>| member.sign.is_fit() && member.sign.is_primary();
        let primaries: Vec<_> = members
            .iter()
            .enumerate()
            .filter(|(_, member)| is_primary(member))
            .map(|(place, _)| place)
            .collect();
        let share = || {
            let mut signs = primaries.iter().filter_map(|place| members.get(*place));
            signs.all(|member| member.sign.shares_writes)
        };
        let wrong = primaries.len() > 1 && !self.multi_primary.unwrap_or_else(share);
        (primaries, wrong.then_some(Alarm::TwoPrimaries))
    }

    fn tell_alarm(&self, alarm: Alarm, primaries: &[usize], members: &[Member<'_>]) -> String {
        let names = primaries.iter().filter_map(|place| members.get(*place));
        let names: Vec<_> = names.map(|member| member.name).collect();
        match alarm {
            Alarm::TwoPrimaries => format!(
                "{} are primaries and take writes, each on its own",
                names.join(" and ")
            ),
        }
    }
}

/// What is asked of the members.
struct Question<'a> {
    /// All of which a member has to be.
    wants: [Want; 2],
    enough: usize,
    members: &'a [Member<'a>],
}

impl Question<'_> {
    fn verdict(&self, alarmed: bool) -> Verdict {
        let fit = self.members.iter().filter(|it| self.fits(it));
        let (count, well) = fit.fold((0, false), |(count, well), member| {
            (count + 1, well || member.sign.verdict == Verdict::Up)
        });
        // Somebody who is out by order will not fit, whatever is found out.
        let unknown = |member: &Member<'_>| {
            let Sign { verdict, admin, .. } = member.sign;
            verdict == Verdict::Unknown && admin == Admin::Ready
        };
        match count {
            0 if self.members.iter().any(unknown) => Verdict::Unknown,
            0 => Verdict::Down,
            _ if count < self.enough || !well || alarmed => Verdict::Degraded,
            _ => Verdict::Up,
        }
    }

    fn fits(&self, member: &Member<'_>) -> bool {
        let sign = member.sign;
        let wanted = self.wants.into_iter().all(|want| sign.meets(want));
        sign.is_fit() && wanted && member.passed_over.is_none()
    }

    fn fit_count(&self) -> usize {
        self.members.iter().filter(|it| self.fits(it)).count()
    }

    /// The members that keep the service from being up: those that do not fit where too few do,
    /// and else those that are degraded.
    fn wanting(&self) -> impl Iterator<Item = &Member<'_>> {
        let too_few = self.fit_count() < self.enough;
        let is_wanting = move |member: &&Member<'_>| match too_few {
            true => !self.fits(member),
            false => self.fits(member) && member.sign.verdict != Verdict::Up,
        };
        self.members.iter().filter(is_wanting)
    }

    /// The one among them that matters most: one that could serve but for its cause, before one
    /// that is out by order or is something else; the worst of them.
    fn decisive(&self) -> Option<&Member<'_>> {
        self.wanting().min_by_key(|member| {
            let sign = member.sign;
            let is_wanted = self.wants.into_iter().all(|want| sign.meets(want));
            (sign.admin != Admin::Ready, !is_wanted, rank(sign.class))
        })
    }

    /// Says how many fit and what is the case with the others; `None` where that is no reason.
    fn tell(&self) -> Option<String> {
        let (count, enough) = (self.fit_count(), self.enough);
        let wanting: Vec<_> = self.wanting().map(|member| self.tell_of(member)).collect();
        let need = match (count >= enough, enough) {
            (true, _) if wanting.len() < count => return None,
            (true, _) => "all of them degraded".to_owned(),
            (false, 1) => "1 is enough".to_owned(),
            (false, _) => format!("{enough} are enough"),
        };
        let named = wanting.iter().take(NAMED_MAX).map(String::as_str);
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match wanting.len().checked_sub(NAMED_MAX) {
            None | Some(0) => String::new(),
            Some(more) => format!(", and {more} more"),
        };
        let all = self.members.len();
        Some(format!("{count} of {all} fit, {need}: {named}{more}"))
    }

    fn tell_of(&self, member: &Member<'_>) -> String {
        let (name, sign) = (member.name, member.sign);
        if sign.admin != Admin::Ready {
            return format!("{name} is ordered {}", sign.admin);
        }
        if !sign.is_fit() || self.fits(member) {
            let verdict = sign.verdict;
            return match sign.cause {
                Some(cause) => format!("{name} is {verdict} ({cause})"),
                None => format!("{name} is {verdict}"),
            };
        }
        match (&member.passed_over, sign.role) {
            (Some(why), _) if self.wants.into_iter().all(|want| sign.meets(want)) => {
                format!("{name}: {why}")
            }
            (_, None) => format!("{name} is of unknown role"),
            (_, Some(role)) if sign.read_only => format!("{name} is a read-only {}", role.name()),
            (_, Some(role)) => format!("{name} is a {}", role.name()),
        }
    }
}

/// The worst first; nothing known of it last.
fn rank(class: Option<Class>) -> u8 {
    match class {
        Some(Class::Dead) => 0,
        Some(Class::Unfit) => 1,
        Some(Class::Full) => 2,
        Some(Class::Slow) => 3,
        Some(Class::Ours) => 4,
        Some(Class::Passing) => 5,
        None => 6,
    }
}

fn mildest(members: &[Member<'_>]) -> Admin {
    let orders = [Admin::Ready, Admin::Drain, Admin::Maint];
    let given = |order: &Admin| members.iter().any(|it| it.sign.admin == *order);
    orders.into_iter().find(given).unwrap_or_default()
}

#[cfg(test)]
mod tests;
