//! The commands: each takes its arguments and ends in an [`Exit`](crate::exit::Exit).

pub(crate) mod advise;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
mod ending;
pub(crate) mod explain;
pub(crate) mod man;
mod pace;
pub(crate) mod pings;
pub(crate) mod queues;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod wait;

use dbvitals_probe::Target;
use dbvitals_verdict::Depth;

use crate::cli::PasswordArgs;
use crate::expectation::Expectation;
use crate::misuse::{Misuse, tell};
use crate::password;
use crate::shared_parts::SharedParts;
use crate::target_url::TargetUrl;

/// What a command line asks of all its targets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) depth: Option<Depth>,
    pub(crate) expectation: Expectation,
    /// Whether it makes no difference what a URL says the target must be.
    pub(crate) ignores_expectation: bool,
}

/// Reads the targets of a command line, with their passwords and depths.
pub(crate) fn read_targets(
    arguments: &[String],
    asked: Asked,
    source: &PasswordArgs,
    shared: &mut SharedParts,
) -> Result<Vec<(TargetUrl, Target, Depth)>, Misuse> {
    let given = source.password_file.as_deref().map(password::from_file);
    let given = given.transpose().map_err(|error| error.to_string())?;
    let mut targets = Vec::new();
    for argument in arguments {
        let mut url = TargetUrl::parse(argument)?;
        let own = match asked.ignores_expectation {
            true => Expectation::default(),
            false => url.expectation,
        };
        url.expectation = asked.expectation.or(own);
        let depth = asked.depth.or(url.depth);
        // A flag raises the depth; what a URL says of both has to agree with itself.
        let depth = depth.map(|depth| depth.max(asked.expectation.depth().unwrap_or(depth)));
        let depth = depth.unwrap_or_else(|| url.default_depth());
        url.check_depth(depth)?;
        let password = match (&given, &url.password) {
            (Some(password), _) => Some(password.clone()),
            (None, Some(password)) => {
                tell(&format!(
                    "the password in the URL of {} can be seen in the process list; use --password-file or {}",
                    url.name,
                    password::VARIABLE
                ));
                Some(password.clone())
            }
            (None, None) => password::ambient(&url.name).map_err(|error| error.to_string())?,
        };
        let target = url.target(password, shared)?;
        targets.push((url, target, depth));
    }
    Ok(targets)
}
