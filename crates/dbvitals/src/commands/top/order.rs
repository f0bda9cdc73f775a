//! An order from within: the form that is filled in, and the clerk who gives it to the agent.

use std::convert::Infallible;

use tokio::sync::mpsc;

use crate::agent_client::AgentClient;
use crate::cli::AdminState;
use crate::commands::set::{self, Wish};
use crate::commands::status::shown;
use crate::duration;
use crate::misuse::Misuse;

/// An order that was filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) name: String,
    pub(super) state: AdminState,
    pub(super) patience: Option<std::time::Duration>,
    pub(super) reason: Option<String>,
    /// Where the agent was found that told of this backend.
    pub(super) place: String,
}

/// The form of an order.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) name: String,
    pub(super) state: AdminState,
    pub(super) patience: String,
    pub(super) reason: String,
    /// Whether the reason is being written, rather than the time.
    pub(super) at_reason: bool,
    /// What is wrong with it.
    pub(super) wrong: Option<String>,
}

impl Form {
    pub(super) fn new(name: &str, state: AdminState) -> Self {
        Self {
            name: name.to_owned(),
            state,
            patience: String::new(),
            reason: String::new(),
            // Ready is for good.
            at_reason: state == AdminState::Ready,
            wrong: None,
        }
    }

    /// Goes to the other field.
    pub(super) fn turn(&mut self) {
        self.at_reason = !self.at_reason || self.state == AdminState::Ready;
    }

    /// What is being written.
    pub(super) fn field(&mut self) -> &mut String {
        match self.at_reason {
            true => &mut self.reason,
            false => &mut self.patience,
        }
    }

    /// The order, or what is wrong with it.
    pub(super) fn order(&self, place: &str) -> Result<Order, String> {
        let patience = match self.patience.trim() {
            "" => None,
            text => Some(duration::parse(text)?),
        };
        let reason = Some(self.reason.trim()).filter(|it| !it.is_empty());
        Wish::new(self.state, patience, reason).map_err(|Misuse(why)| why)?;
        Ok(Order {
            name: self.name.clone(),
            state: self.state,
            patience,
            reason: reason.map(str::to_owned),
            place: place.to_owned(),
        })
    }
}

/// What an order is called, and what it does.
pub(super) fn words(state: AdminState) -> (&'static str, &'static str) {
    match state {
        AdminState::Ready => ("ready", "back as soon as it is fit"),
        AdminState::Drain => ("drain", "what runs goes on, nothing new is sent there"),
        AdminState::Maint => ("maint", "nothing is sent there"),
    }
}

/// Gives orders, one after the other, and says what became of each.
pub(super) async fn clerk(
    client: &AgentClient,
    mut orders: mpsc::Receiver<Order>,
    answers: mpsc::Sender<String>,
) -> Infallible {
    while let Some(order) = orders.recv().await {
        let given = give(client, &order).await;
        let answer = given.unwrap_or_else(|error| shown(&format!("{error:#}")));
        // Whoever asked has gone.
        let _ = answers.send(answer).await;
    }
    std::future::pending().await
}

async fn give(client: &AgentClient, order: &Order) -> anyhow::Result<String> {
    let wish = Wish::new(order.state, order.patience, order.reason.as_deref())?;
    let mut session = client.open().await?;
    let place = session.place().to_string();
    if place != order.place {
        // It may be another agent, with a backend of the same name.
        let why = format!(
            "no order was given: what is shown is told at {}, and orders would go to {place}; name the agent with --agent",
            order.place
        );
        return Err(Misuse(why).into());
    }
    let answer = set::give(&mut session, &order.name, &wish).await?;
    set::told(&answer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_form_becomes_an_order_only_if_it_makes_sense() {
        let mut form = Form::new("orders-2", AdminState::Drain);
        form.field().push_str("30m");
        form.turn();
        form.field().push_str(" disk swap ");
        let order = form.order("/c").unwrap();
        assert_eq!(order.patience, Some(Duration::from_secs(1800)));
        assert_eq!(order.reason.as_deref(), Some("disk swap"));

        form.patience = "30".to_owned();
        assert!(form.order("/c").unwrap_err().contains("no duration"));
        form.patience.clear();
        form.reason = "x".repeat(501);
        assert!(form.order("/c").unwrap_err().contains("500 bytes"));
    }

    #[test]
    fn ready_has_a_reason_and_no_time() {
        let mut form = Form::new("orders-2", AdminState::Ready);
        form.turn();
        form.field().push('x');
        assert_eq!((form.patience.as_str(), form.reason.as_str()), ("", "x"));
    }
}
