//! The plans that a backend was asked by, one after the other.

use dbvitals_verdict::{Moment, Plan};

/// A plan, and those that took its place by reloads, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plans {
    pub(crate) first: Plan,
    pub(crate) later: Vec<(Moment, Plan)>,
}

impl Plans {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Plan> {
        [&self.first]
            .into_iter()
            .chain(self.later.iter().map(|(_, plan)| plan))
    }

    /// The one that was in force at the end.
    pub(crate) fn last(&self) -> &Plan {
        self.later.last().map_or(&self.first, |(_, plan)| plan)
    }

    /// Others in their place, at the same times.
    pub(crate) fn try_map<E>(&self, other: impl Fn(&Plan) -> Result<Plan, E>) -> Result<Self, E> {
        let later = self.later.iter();
        Ok(Self {
            first: other(&self.first)?,
            later: later
                .map(|(at, plan)| Ok((*at, other(plan)?)))
                .collect::<Result<_, E>>()?,
        })
    }
}

impl From<Plan> for Plans {
    fn from(plan: Plan) -> Self {
        Self {
            first: plan,
            later: Vec::new(),
        }
    }
}
