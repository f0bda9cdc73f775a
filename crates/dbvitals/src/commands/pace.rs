//! A pace typed on the command line: what `explain` and `replay` put in place of a plan's own.

use dbvitals_verdict::Plan;

use crate::cli::PaceArgs;
use crate::misuse::Misuse;

impl PaceArgs {
    /// The plan at this pace, refused as `serve` refuses it where it contradicts itself.
    pub(crate) fn apply(&self, name: &str, plan: &Plan) -> Result<Plan, Misuse> {
        let mut plan = plan.clone();
        let places = [
            (self.interval, &mut plan.interval),
            (self.timeout, &mut plan.timeout),
            (self.fast_interval, &mut plan.fast_interval),
            (self.down_interval, &mut plan.down_interval),
            (self.confirm_interval, &mut plan.confirm_interval),
            (self.fresh_interval, &mut plan.fresh_interval),
            (self.stale_after, &mut plan.stale_after),
        ];
        for (given, place) in places {
            *place = given.unwrap_or(*place);
        }
        plan.slow_over = self.slow_over.or(plan.slow_over);
        plan.rise = self.rise.unwrap_or(plan.rise);
        plan.fall = self.fall.unwrap_or(plan.fall);
        match plan.check() {
            Ok(()) => Ok(plan),
            Err(error) => Err(Misuse(format!("{name}: {error}"))),
        }
    }
}
