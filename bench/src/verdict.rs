//! Whether the goals are met, and how much the rounds differ.

use std::collections::BTreeMap;

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;

use crate::contest::Outcome;
use crate::goals::{GOALS, Goal, Limit, peer_goals};
use crate::number::readable;

/// A workload's outcomes, and the size at which they were measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// `None` in a result that does not say.
    pub(crate) scale: Option<f64>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// By workload.
pub(crate) type Results = BTreeMap<String, Measured>;

/// A goal's value, or the reason why there is none.
#[derive(Debug, PartialEq)]
enum Value {
    NotMeasured,
    NoResult,
    Unavailable,
    Is {
        of_medians: f64,
        /// The least and the most of the rounds.
        rounds: Option<(f64, f64)>,
        rounds_count: usize,
        scale: Option<f64>,
    },
}

/// A contender's outcome; `None` if it did not take part, or not to the end.
fn outcome<'a>(results: &'a Results, workload: &str, label: &str) -> Result<(&'a Outcome, Option<f64>), Value> {
    let measured = results.get(workload).ok_or(Value::NotMeasured)?;
    let found = measured.outcomes.iter().find(|outcome| outcome.label == label).ok_or(Value::NotMeasured)?;
    if found.failure.is_some() { Err(Value::NoResult) } else { Ok((found, measured.scale)) }
}

/// The smaller of two sizes: a value from two sizes counts as measured at the smaller one.
fn smaller(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one?.min(other?))
}

fn value(of_medians: f64, rounds: &[f64], scale: Option<f64>) -> Value {
    if !of_medians.is_finite() {
        return Value::Unavailable;
    }
    let finite: Vec<f64> = rounds.iter().copied().filter(|round| round.is_finite()).collect();
    let least = finite.iter().copied().reduce(f64::min);
    let most = finite.iter().copied().reduce(f64::max);
    Value::Is { of_medians, rounds: least.zip(most), rounds_count: finite.len(), scale }
}

fn measure(goal: &Goal, results: &Results) -> Result<Value, Value> {
    let (own, scale) = outcome(results, goal.workload, goal.contender)?;
    let Some((workload, label)) = goal.over else {
        let rounds = own.figure(goal.figure);
        return Ok(value(own.median(goal.figure), &rounds, scale));
    };
    let (over, over_scale) = outcome(results, workload, label)?;
    let of_medians = own.median(goal.figure) / over.median(goal.figure);
    // Rounds of two workloads did not run side by side.
    let rounds = if workload == goal.workload { own.ratios(goal.figure, over) } else { Vec::new() };
    Ok(value(of_medians, &rounds, smaller(scale, over_scale)))
}

/// Rowlock's drain over the fastest of these peers', if all of them ran.
fn against(peers: &[&str], results: &Results) -> Result<Value, Value> {
    const RATE: &str = "items_per_s";
    let (own, scale) = outcome(results, "drain", "rowlock")?;
    let mut fastest: Option<&Outcome> = None;
    for peer in peers {
        let (peer, _) = outcome(results, "drain", peer)?;
        if fastest.is_none_or(|fastest| peer.median(RATE) > fastest.median(RATE)) {
            fastest = Some(peer);
        }
    }
    let fastest = fastest.ok_or(Value::NotMeasured)?;
    Ok(value(own.median(RATE) / fastest.median(RATE), &own.ratios(RATE, fastest), scale))
}

impl Limit {
    fn verdict(self, value: f64) -> &'static str {
        let is_met = match self {
            Limit::AtLeast(least) => value >= least,
            Limit::AtMost(most) => value <= most,
            Limit::ForTheRecord => return "for the record",
        };
        if is_met { "met" } else { "NOT MET" }
    }

    fn text(self) -> String {
        match self {
            Limit::AtLeast(least) => format!("≥ {}", readable(least)),
            Limit::AtMost(most) => format!("≤ {}", readable(most)),
            Limit::ForTheRecord => String::new(),
        }
    }
}

/// The cells of a goal's row. There is no verdict on a measurement at less than full size.
fn row(name: &str, value: &Value, limit: Limit) -> [String; 5] {
    let (measured, rounds, verdict) = match value {
        Value::NotMeasured => ("not measured".to_owned(), String::new(), String::new()),
        Value::NoResult => ("no result".to_owned(), String::new(), String::new()),
        Value::Unavailable => ("could not be had".to_owned(), String::new(), String::new()),
        Value::Is { of_medians, rounds, rounds_count, scale } => {
            let range = rounds.map_or_else(String::new, |(least, most)| {
                format!("{}–{} of {rounds_count}", readable(least), readable(most))
            });
            let verdict = match scale {
                Some(scale) if *scale >= 1.0 => limit.verdict(*of_medians).to_owned(),
                Some(scale) => format!("no verdict at scale {scale}"),
                None => "no verdict: of unknown scale".to_owned(),
            };
            (readable(*of_medians), range, verdict)
        }
    };
    [name.to_owned(), measured, rounds, limit.text(), verdict]
}

/// Every goal: its value, the least and the most of the rounds, its limit, met or not.
pub(crate) fn print(results: &Results) {
    let either = |value: Result<Value, Value>| value.unwrap_or_else(|none| none);
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["goal (ratios of medians)", "measured", "rounds", "limit", ""]);
    for goal in &GOALS {
        table.add_row(row(goal.measure, &either(measure(goal, results)), goal.limit));
    }
    for goal in peer_goals() {
        table.add_row(row(goal.measure, &either(against(&goal.peers, results)), goal.limit));
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(label: &str, rates: &[f64]) -> Outcome {
        Outcome {
            label: label.to_owned(),
            settings: String::new(),
            command: Vec::new(),
            rounds: rates.iter().map(|rate| [("items_per_s".to_owned(), *rate)].into()).collect(),
            statements: Vec::new(),
            failure: None,
        }
    }

    fn drain(scale: f64, outcomes: Vec<Outcome>) -> Results {
        [("drain".to_owned(), Measured { scale: Some(scale), outcomes })].into()
    }

    #[test]
    fn there_is_no_verdict_without_all_the_peers() {
        let own = ran("rowlock", &[30.0, 50.0]);
        let one = drain(1.0, vec![own.clone(), ran("awa", &[10.0, 10.0])]);
        assert_eq!(against(&["awa", "pgmq"], &one), Err(Value::NotMeasured));
        let mut broken = ran("pgmq", &[20.0]);
        broken.failure = Some("lost an item".to_owned());
        let two = drain(1.0, vec![own.clone(), ran("awa", &[10.0, 10.0]), broken]);
        assert_eq!(against(&["awa", "pgmq"], &two), Err(Value::NoResult));
        let both = drain(1.0, vec![own, ran("awa", &[10.0, 10.0]), ran("pgmq", &[20.0, 20.0])]);
        let value = against(&["awa", "pgmq"], &both).expect("a value");
        assert_eq!(row("", &value, Limit::AtLeast(2.0))[1..], ["2.00", "1.50–2.50 of 2", "≥ 2.00", "met"]);
    }

    #[test]
    fn there_is_no_verdict_below_full_size() {
        let small = drain(0.5, vec![ran("rowlock", &[9.0]), ran("raw", &[10.0])]);
        let value = measure(&GOALS[0], &small).expect("a value");
        assert_eq!(row("", &value, GOALS[0].limit)[4], "no verdict at scale 0.5");
    }
}
