//! What a publisher tells of: a backend or a service, by its name, and followed alike.

use std::sync::Arc;

use dbvitals_verdict::{Moment, Sign, Want};
use tokio::sync::watch;

use crate::agent::board::ServiceBoard;
use crate::agent::board::{BackendBoard, Board};

/// A backend or a service on the board.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Backend(Arc<BackendBoard>),
    Service(Arc<ServiceBoard>),
}

impl Subject {
    /// What bears this name.
    pub(crate) fn find(board: &Board, name: &str) -> Option<Self> {
        let backend = board.backend(name).map(Self::Backend);
        backend.or_else(|| board.service(name).map(Self::Service))
    }

    /// Whether it is the very same: after a reload, another backend may bear the name.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Backend(one), Self::Backend(other)) => Arc::ptr_eq(one, other),
            (Self::Service(one), Self::Service(other)) => Arc::ptr_eq(one, other),
            (Self::Backend(_), Self::Service(_)) | (Self::Service(_), Self::Backend(_)) => false,
        }
    }

    /// Follows it as somebody who wants this.
    pub(crate) fn follow(&self, want: Want) -> Follower {
        match self {
            Self::Backend(backend) => Follower {
                sign: backend.watch(),
                want,
            },
            // What it is worth to whom is concluded there.
            Self::Service(service) => Follower {
                sign: service.watch(want),
                want: Want::Any,
            },
        }
    }

    /// Since when its verdict holds, for somebody who wants this; `None` where it is its role that
    /// is not what is wanted, which may be newer.
    pub(crate) fn since(&self, want: Want) -> Option<Moment> {
        match self {
            Self::Backend(backend) => {
                let standing = backend.standing();
                Sign::from(&*standing).meets(want).then_some(standing.since)
            }
            Self::Service(service) => Some(service.standing(want).since),
        }
    }
}

/// The sign of a subject, followed by one publisher.
#[derive(Debug)]
pub(crate) struct Follower {
    sign: watch::Receiver<Sign>,
    want: Want,
}

impl Follower {
    /// The sign now, as it is for who wants this; [`changed`](Self::changed) waits for the next.
    pub(crate) fn sign(&mut self) -> Sign {
        self.sign.borrow_and_update().for_want(self.want)
    }

    /// Waits for another sign; `false` when there will be none. Cancel safe.
    pub(crate) async fn changed(&mut self) -> bool {
        self.sign.changed().await.is_ok()
    }
}
