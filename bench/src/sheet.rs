//! What came out of one case: medians, ratios, and whether what was aimed at is met.

use std::fmt;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::side::Series;

/// What is aimed at, for the first side of a sheet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    what: &'static str,
    /// The side that it is divided by; `None` for a plain figure.
    against: Option<&'static str>,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// At most so many times what another side comes to.
    pub(crate) fn at_most(ratio: f64, what: &'static str, against: &'static str) -> Self {
        Self {
            what,
            against: Some(against),
            bound: Bound::AtMost(ratio),
        }
    }

    /// At least so many times what another side comes to.
    pub(crate) fn at_least(ratio: f64, what: &'static str, against: &'static str) -> Self {
        Self {
            what,
            against: Some(against),
            bound: Bound::AtLeast(ratio),
        }
    }

    /// At most this, by itself.
    pub(crate) fn below(bound: f64, what: &'static str) -> Self {
        Self {
            what,
            against: None,
            bound: Bound::AtMost(bound),
        }
    }

    fn is_met(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    goal: Option<(Goal, bool)>,
}

impl Sheet {
    pub(crate) fn new(case: impl Into<String>, series: Vec<Series>) -> Self {
        Self {
            case: case.into(),
            series,
            goals: Vec::new(),
        }
    }

    /// Says what is aimed at.
    pub(crate) fn aim(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.series.iter().map(|series| {
            let median = median(&series.values);
            let own = self.series.first().map(|first| &first.side);
            let first = self
                .series
                .iter()
                .find(|it| Some(&it.side) == own && it.what == series.what)
                .filter(|it| it.side != series.side);
            let ratio = first.map(|first| self::median(&first.values) / median);
            let goal = self.goals.iter().find(|goal| {
                let against = goal.against.map_or(own.map(|it| &**it), Some);
                goal.what == series.what && against == Some(&*series.side)
            });
            let goal = goal.map(|goal| {
                let value = goal.against.map_or(Some(median), |_| ratio);
                (*goal, value.is_some_and(|value| goal.is_met(value)))
            });
            Line {
                series,
                median,
                ratio,
                goal,
            }
        })
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
                "goal": line.goal.map(|(goal, _)| goal.to_string()),
                "met": line.goal.map(|(_, met)| met),
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
            let least = line.series.values.iter().copied().fold(f64::MAX, f64::min);
            let most = line.series.values.iter().copied().fold(f64::MIN, f64::max);
            let goal = line.goal.map(|(goal, met)| match met {
                true => format!("{goal} met"),
                false => format!("{goal} MISSED"),
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
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99), 99.0);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert!(median(&[]).is_nan());
    }
}
