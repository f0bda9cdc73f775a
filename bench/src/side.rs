//! The sides of a comparison, and how they take turns.

/// What one run of a side came to.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// What was measured, as the table calls it: `client CPU`, `p99 lateness`.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// One value, or as many as the run gave.
    pub(crate) values: Vec<f64>,
}

impl Measured {
    /// One value.
    pub(crate) fn new(what: &'static str, unit: &'static str, value: f64) -> Self {
        Self {
            what,
            unit,
            values: vec![value],
        }
    }
}

type Run<'a> = Box<dyn FnMut() -> anyhow::Result<Vec<Measured>> + 'a>;

/// One way of doing what a row compares.
pub(crate) struct Side<'a> {
    name: String,
    run: Run<'a>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnMut() -> anyhow::Result<Vec<Measured>> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// All values of one quantity on one side.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) side: String,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
}

/// Runs each side once a round, every other round in reverse, so that what changes on the machine
/// meanwhile meets all sides alike.
pub(crate) fn in_turn(rounds: u32, sides: &mut [Side<'_>]) -> anyhow::Result<Vec<Series>> {
    let mut series: Vec<Vec<Series>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<_> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let side = &mut sides[index];
            for measured in (side.run)()? {
                add(&mut series[index], &side.name, measured);
            }
        }
    }
    Ok(series.into_iter().flatten().collect())
}

fn add(series: &mut Vec<Series>, side: &str, measured: Measured) {
    match series.iter_mut().find(|it| it.what == measured.what) {
        Some(known) => known.values.extend(measured.values),
        None => series.push(Series {
            side: side.to_owned(),
            what: measured.what,
            unit: measured.unit,
            values: measured.values,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn sides_take_turns_and_every_other_round_is_reversed() {
        let order = RefCell::new(String::new());
        let side = |name: &'static str| {
            let order = &order;
            Side::new(name, move || {
                order.borrow_mut().push_str(name);
                Ok(vec![Measured::new("time", "s", 1.0)])
            })
        };
        let series = in_turn(2, &mut [side("a"), side("b")]).unwrap();
        assert_eq!(*order.borrow(), "abba");
        assert_eq!(series.len(), 2);
        assert_eq!(series[1].values, [1.0, 1.0]);
    }
}
