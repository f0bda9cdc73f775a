//! A staged fault: what to probe, what happens to it, and all that has to live meanwhile.
//!
//! Entries of the catalogue build scenes; the report plays them. An act gets the [`Stage`], where
//! it finds the agent that watches, if one does, and can leave what has to live on.

use std::any::Any;
use std::time::Duration;

use rustix::process::Pid;

use super::Stand;
use super::database::Database;
use crate::scripted::{Script, ScriptedDatabase, ScriptedServer};

type Act = Box<dyn FnOnce(&mut Stage) + Send>;

/// A staged fault.
pub(super) struct Scene {
    /// What to probe.
    pub(super) urls: Vec<String>,
    /// The password to probe with.
    pub(super) password: &'static str,
    /// How long a probe of `check` may take.
    pub(super) timeout: Duration,
    /// The words before the program that surround it with what the scene needs.
    pub(super) surroundings: Vec<String>,
    /// Whether the fault is there from the start; else the first act is the fault.
    pub(super) from_start: bool,
    /// Whether the agent's port for HTTP is out of reach; then its transitions tell.
    pub(super) is_apart: bool,
    /// What happens.
    pub(super) acts: Vec<Act>,
    /// What has to hold once `check` has asked.
    pub(super) afterwards: Option<Box<dyn FnOnce() + Send>>,
    pub(super) stage: Stage,
}

/// What acts find and leave.
#[derive(Default)]
pub(super) struct Stage {
    /// The agent that watches; `None` while `check` is tried.
    pub(super) agent: Option<Pid>,
    props: Vec<Box<dyn Any + Send>>,
}

impl Stage {
    /// Lets something live as long as the scene.
    pub(super) fn keep(&mut self, prop: impl Any + Send) {
        self.props.push(Box::new(prop));
    }

    /// Ends whatever of this kind was kept.
    pub(super) fn dismiss<T: Any>(&mut self) {
        self.props.retain(|prop| !prop.is::<T>());
    }
}

impl Scene {
    /// A scene of one URL.
    pub(super) fn at(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            password: "secret",
            timeout: Duration::from_secs(1),
            surroundings: Vec::new(),
            from_start: false,
            is_apart: false,
            acts: Vec::new(),
            afterwards: None,
            stage: Stage::default(),
        }
    }

    /// A scene around a real server.
    pub(super) fn of(database: &Database) -> Self {
        Self::at(database.url()).with(database.clone())
    }

    /// A scene of a real server, as its product's defaults have it, and one act.
    pub(super) fn plain(stand: Stand, act: fn(&Database)) -> Self {
        let database = Database::plain(stand);
        Self::of(&database).then(move |_| act(&database))
    }

    /// A scene of a scripted database in good mood, and one act.
    pub(super) fn scripted(stand: Stand, act: fn(&ScriptedDatabase)) -> Self {
        let database = ScriptedDatabase::start(stand.dialect());
        Self::at(stand.url(database.address())).then(move |stage| {
            act(&database);
            stage.keep(database);
        })
    }

    /// A scene of something that is no database, from the start.
    pub(super) fn script(stand: Stand, script: Script) -> Self {
        let server = ScriptedServer::start(script);
        Self::at(stand.url(server.address())).with(server)
    }

    /// Lets something live as long as the scene.
    pub(super) fn with(mut self, prop: impl Any + Send) -> Self {
        self.stage.keep(prop);
        self
    }

    /// Says that the fault is there already, so that acts only end it.
    pub(super) fn there_already(mut self) -> Self {
        self.from_start = true;
        self
    }

    /// Says what has to hold once `check` has asked, and panics where it does not.
    pub(super) fn afterwards(mut self, look: impl FnOnce() + Send + 'static) -> Self {
        self.afterwards = Some(Box::new(look));
        self
    }

    /// Adds an act.
    pub(super) fn then(mut self, act: impl FnOnce(&mut Stage) + Send + 'static) -> Self {
        self.acts.push(Box::new(act));
        self
    }
}
