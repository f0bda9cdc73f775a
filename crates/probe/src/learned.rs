//! What was learned of a server beyond one probe, and is kept with its target.
//!
//! Written when a session logs in and while its questions are answered; read when the next one is
//! put. Nothing here is a conclusion: it is what a server cannot say by itself, such as since when
//! it is cut off, or need not be asked twice.

use std::time::Duration;

use dbvitals_verdict::Moment;
use dbvitals_wire::{Answer, Greeting, Product};

/// After how long a server is asked anew, with the next login, for what it has and shows.
const BELIEVED_FOR: Duration = Duration::from_secs(600);

/// What is known of one target's server.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Who it said it was at the last login.
    pub(crate) product: Option<Product>,
    pub(crate) version: Option<String>,
    /// A moment at which the replica had all that its primary had then; the newest known.
    pub(crate) caught_up_at: Option<Moment>,
    /// The user may not see the state of replication.
    pub(crate) hides_replication: bool,
    /// The settings that it knows, as far as is known.
    pub(crate) settings: Settings,
    /// The variables that it has, of those that are of interest; empty before it said.
    pub(crate) variables: Vec<&'static str>,
    /// It is a node of a Galera cluster.
    pub(crate) is_galera: bool,
    /// Until when it is believed to be as it was.
    believed_until: Moment,
    /// The session of a write that did not end in time, and may still be waiting.
    pub(crate) stuck: Option<u32>,
    /// The newest answer to the target's statement, where the target wants it kept.
    pub(crate) answer: Option<Box<Answer>>,
}

/// What a MySQL or MariaDB session is set to before a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Settings {
    /// A time limit, and no waiting for the cluster.
    #[default]
    All,
    /// A time limit; the server was built without Galera.
    WithoutCluster,
    /// Nothing; the server is too old for a time limit.
    None,
}

impl Learned {
    /// Forgets what another server, or the same one after an upgrade, would answer otherwise; and
    /// from time to time all of it, since privileges are granted and settings made.
    pub(crate) fn note_login(&mut self, greeting: &Greeting, now: Moment) {
        let same = self.product == greeting.product && self.version == greeting.version;
        if same && now < self.believed_until {
            return;
        }
        *self = Self {
            product: greeting.product,
            version: greeting.version.clone(),
            caught_up_at: self.caught_up_at,
            stuck: self.stuck,
            believed_until: now + BELIEVED_FOR,
            ..Self::default()
        };
    }

    /// Notes that the replica had, `behind` ago, all that its primary had then.
    pub(crate) fn note_caught_up(&mut self, now: Moment, behind: Duration) {
        if now.since(Moment::ORIGIN) < behind {
            // That was before time is counted from.
            return;
        }
        self.caught_up_at = self.caught_up_at.max(Some(now - behind));
    }
}
