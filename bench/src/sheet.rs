//! What came out of one case: medians, ratios, and whether what was aimed at is met.

use std::fmt;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::side::Series;

/// What is aimed at, for the first side of a sheet: a bound, or several of which one is enough.
#[derive(Debug, Clone)]
pub(crate) struct Goal(Vec<Aim>);

/// One bound.
#[derive(Debug, Clone, Copy)]
struct Aim {
    what: &'static str,
    /// The side that it is divided by; `None` for a plain figure.
    against: Option<&'static str>,
    of: Of,
    bound: Bound,
}

/// Which of the values is held against a bound.
#[derive(Debug, Clone, Copy)]
enum Of {
    Median,
    Most,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// At most so many times what another side comes to.
    pub(crate) fn at_most(ratio: f64, what: &'static str, against: &'static str) -> Self {
        Self::one(what, Some(against), Of::Median, Bound::AtMost(ratio))
    }

    /// At least so many times what another side comes to.
    pub(crate) fn at_least(ratio: f64, what: &'static str, against: &'static str) -> Self {
        Self::one(what, Some(against), Of::Median, Bound::AtLeast(ratio))
    }

    /// At most this, by itself.
    pub(crate) fn below(bound: f64, what: &'static str) -> Self {
        Self::one(what, None, Of::Median, Bound::AtMost(bound))
    }

    /// At most this, by itself, and every time.
    pub(crate) fn always_below(bound: f64, what: &'static str) -> Self {
        Self::one(what, None, Of::Most, Bound::AtMost(bound))
    }

    /// This one or another.
    pub(crate) fn or(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn one(what: &'static str, against: Option<&'static str>, of: Of, bound: Bound) -> Self {
        Self(vec![Aim {
            what,
            against,
            of,
            bound,
        }])
    }
}

impl Aim {
    /// Whether it says something of this quantity of this side.
    fn is_of(&self, series: &Series, own: &str) -> bool {
        self.what == series.what && self.against.unwrap_or(own) == series.side
    }

    /// What was not measured meets nothing.
    fn is_met(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Of::Median => {}
            Of::Most => f.write_str("always ")?,
        }
        match self.bound {
            Bound::AtMost(bound) => write!(f, "<= {}", figure(bound)),
            Bound::AtLeast(bound) => write!(f, ">= {}", figure(bound)),
        }
    }
}

/// What came out of one case.
#[derive(Debug)]
pub(crate) struct Sheet {
    case: String,
    series: Vec<Series>,
    goals: Vec<Goal>,
}

/// One line of a sheet.
struct Line<'a> {
    series: &'a Series,
    median: f64,
    /// What the first side comes to, divided by this one.
    ratio: Option<f64>,
    goal: Option<Judged>,
}

/// What is aimed at in a line, and whether the goal that it belongs to is met.
struct Judged {
    aim: String,
    is_met: bool,
}

impl Sheet {
    pub(crate) fn new(case: impl Into<String>, series: Vec<Series>) -> Self {
        Self {
            case: case.into(),
            series,
            goals: Vec::new(),
        }
    }

    /// Says what is aimed at. What nobody measured gets a line too, where it is missed.
    pub(crate) fn aim(mut self, goal: Goal) -> Self {
        for aim in &goal.0 {
            let own = self.own().to_owned();
            if !self.series.iter().any(|series| aim.is_of(series, &own)) {
                self.series.push(Series {
                    side: aim.against.map_or(own, str::to_owned),
                    what: aim.what,
                    unit: "",
                    values: Vec::new(),
                });
            }
        }
        self.goals.push(goal);
        self
    }

    /// The side of dbvitals.
    fn own(&self) -> &str {
        self.series.first().map_or("", |first| &first.side)
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.series.iter().map(|series| Line {
            series,
            median: median(&series.values),
            ratio: self.ratio(series),
            goal: self.judged(series),
        })
    }

    /// What the first side comes to, divided by another.
    fn ratio(&self, series: &Series) -> Option<f64> {
        let own = self.own();
        if own == series.side {
            return None;
        }
        let mut all = self.series.iter();
        let first = all.find(|it| it.side == own && it.what == series.what)?;
        Some(median(&first.values) / median(&series.values))
    }

    /// The goal that this line is about.
    fn judged(&self, series: &Series) -> Option<Judged> {
        let own = self.own();
        let about = |goal: &&Goal| goal.0.iter().any(|aim| aim.is_of(series, own));
        let goal = self.goals.iter().find(about)?;
        let aim = goal.0.iter().find(|aim| aim.is_of(series, own))?;
        let among = if goal.0.len() > 1 { " or another" } else { "" };
        Some(Judged {
            aim: format!("{aim}{among}"),
            is_met: goal.0.iter().any(|aim| self.is_met(aim)),
        })
    }

    fn is_met(&self, aim: &Aim) -> bool {
        let own = self.own();
        let series = self.series.iter().find(|series| aim.is_of(series, own));
        let value = series.and_then(|series| match (aim.against, aim.of) {
            (Some(_), _) => self.ratio(series),
            (None, Of::Median) => Some(median(&series.values)),
            (None, Of::Most) => series.values.iter().copied().reduce(f64::max),
        });
        value.is_some_and(|value| aim.is_met(value))
    }

    /// A JSON object for each line.
    pub(crate) fn json(&self, row: &str) -> Vec<Value> {
        let object = |line: Line<'_>| {
            json!({
                "schema": "dbvitals.bench.v1",
                "row": row,
                "case": self.case,
                "side": line.series.side,
                "what": line.series.what,
                "unit": line.series.unit,
                "median": line.median,
                "runs": line.series.values.len(),
                "values": line.series.values,
                "ratio": line.ratio,
                "goal": line.goal.as_ref().map(|goal| &goal.aim),
                "met": line.goal.as_ref().map(|goal| goal.is_met),
            })
        };
        self.lines().map(object).collect()
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY);
        let heads = [
            "side", "what", "median", "unit", "least", "most", "ratio", "goal",
        ];
        table.set_header(heads);
        for line in self.lines() {
            let values = || line.series.values.iter().copied();
            let least = values().reduce(f64::min).unwrap_or(f64::NAN);
            let most = values().reduce(f64::max).unwrap_or(f64::NAN);
            let goal = line.goal.map(|goal| match goal.is_met {
                true => format!("{} met", goal.aim),
                false => format!("{} MISSED", goal.aim),
            });
            table.add_row([
                line.series.side.clone(),
                line.series.what.to_owned(),
                figure(line.median),
                line.series.unit.to_owned(),
                figure(least),
                figure(most),
                line.ratio.map(figure).unwrap_or_default(),
                goal.unwrap_or_default(),
            ]);
        }
        for column in [2, 4, 5, 6] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{}\n{table}", self.case)
    }
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which such a share of all lies.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    let place = (last * share).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// A figure with three digits that count, or all of those before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size.is_nan() => "-".to_owned(),
        f64::INFINITY => "never".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(side: &str, values: &[f64]) -> Series {
        Series {
            side: side.to_owned(),
            what: "client CPU",
            unit: "ns",
            values: values.to_vec(),
        }
    }

    /// Whether a goal is met by what dbvitals and a peer came to, by the line of each side.
    fn judge(goal: Goal, own: &[f64], peer: &[f64]) -> [Value; 2] {
        let runs = vec![series("dbvitals", own), series("bare loop", peer)];
        let lines = Sheet::new("few", runs).aim(goal).json("ping");
        [lines[0]["met"].clone(), lines[1]["met"].clone()]
    }

    #[test]
    fn a_peers_line_has_what_the_first_side_comes_to_by_it() {
        let runs = vec![
            series("dbvitals", &[300.0, 100.0, 210.0]),
            series("bare loop", &[200.0]),
        ];
        let sheet = Sheet::new("few", runs).aim(Goal::at_most(1.1, "client CPU", "bare loop"));
        let lines = sheet.json("ping");
        assert_eq!(lines[0]["median"], 210.0);
        assert_eq!(lines[0]["ratio"], Value::Null);
        assert_eq!(lines[1]["ratio"], 1.05);
        assert_eq!(lines[1]["met"], true);
    }

    #[test]
    fn a_share_of_what_a_peer_needs_can_be_met_and_missed() {
        let goal = || Goal::at_most(1.1, "client CPU", "bare loop");
        assert_eq!(judge(goal(), &[1.1], &[1.0])[1], true);
        assert_eq!(judge(goal(), &[1.2], &[1.0])[1], false);
    }

    #[test]
    fn as_much_as_a_peer_does_can_be_met_and_missed() {
        let goal = || Goal::at_least(1.0, "client CPU", "bare loop");
        assert_eq!(judge(goal(), &[3.0], &[3.0])[1], true);
        assert_eq!(judge(goal(), &[2.9], &[3.0])[1], false);
    }

    #[test]
    fn a_plain_figure_can_be_met_and_missed() {
        let goal = || Goal::below(5.0, "client CPU");
        assert_eq!(judge(goal(), &[1.0, 2.0, 9.0], &[1.0])[0], true);
        assert_eq!(judge(goal(), &[1.0, 6.0, 9.0], &[1.0])[0], false);
    }

    #[test]
    fn what_holds_every_time_is_missed_by_a_single_run() {
        let goal = || Goal::always_below(5.0, "client CPU");
        assert_eq!(judge(goal(), &[1.0, 2.0, 5.0], &[9.0])[0], true);
        assert_eq!(judge(goal(), &[1.0, 2.0, 5.1], &[1.0])[0], false);
        assert_eq!(judge(goal(), &[1.0, f64::INFINITY], &[1.0])[0], false);
    }

    #[test]
    fn of_two_goals_in_one_either_is_enough_and_both_can_be_missed() {
        let share = Goal::at_most(0.2, "client CPU", "bare loop");
        let goal = || share.clone().or(Goal::below(5.0, "client CPU"));
        assert_eq!(judge(goal(), &[4.0], &[5.0]), [true, true]);
        assert_eq!(judge(goal(), &[6.0], &[30.0]), [true, true]);
        assert_eq!(judge(goal(), &[6.0], &[29.0]), [false, false]);
    }

    #[test]
    fn what_nobody_measured_is_missed_and_shown() {
        let runs = || vec![series("dbvitals", &[1.0])];
        for goal in [
            Goal::below(5.0, "p99"),
            Goal::always_below(5.0, "p99"),
            Goal::at_most(5.0, "client CPU", "bare loop"),
        ] {
            let lines = Sheet::new("few", runs()).aim(goal).json("ping");
            assert_eq!(lines[1]["met"], false);
        }
        let sheet = Sheet::new("few", runs()).aim(Goal::below(5.0, "p99"));
        assert!(sheet.to_string().contains("MISSED"), "{sheet}");
    }

    #[test]
    fn what_never_came_is_said_to_be_so() {
        let sheet = Sheet::new("few", vec![series("dbvitals", &[f64::INFINITY])]);
        assert!(sheet.to_string().contains("never"), "{sheet}");
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99), 99.0);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert!(median(&[]).is_nan());
    }
}
