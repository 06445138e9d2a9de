//! The table at the end of a workload.

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;

use crate::contest::Outcome;
use crate::number::{median, readable};
use crate::plan::Plan;

impl Outcome {
    /// The rounds of one figure; NaN if it could not be read.
    pub(crate) fn figure(&self, name: &str) -> Vec<f64> {
        self.rounds.iter().map(|round| round.get(name).copied().unwrap_or(f64::NAN)).collect()
    }

    /// The median of a figure over the rounds that have it.
    pub(crate) fn median(&self, name: &str) -> f64 {
        median(&self.figure(name).into_iter().filter(|value| value.is_finite()).collect::<Vec<_>>())
    }

    /// The ratio of a figure to another contender's, round by round.
    pub(crate) fn ratios(&self, name: &str, other: &Outcome) -> Vec<f64> {
        self.figure(name).iter().zip(other.figure(name)).map(|(own, other)| own / other).collect()
    }
}

/// Figures that are followed by their ratio to the first contender's.
const COSTS: [&str; 2] = ["wal_bytes_per_item", "server_cpu_us_per_item"];

/// Medians of every figure, and the ratios of the first figure to the first contender, round by round.
pub(crate) fn print(plan: &Plan, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else { return };
    let main = plan.figures[0];
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    let ratio_title = format!("{main} / {}: of medians; round by round", first.label);
    let mut head = vec!["medians".to_owned(), ratio_title];
    head.extend(plan.figures.iter().map(|figure| figure.replace('_', " ")));
    table.set_header(head);
    for outcome in outcomes {
        let ratios: Vec<String> = outcome.ratios(main, first).into_iter().map(readable).collect();
        let of_medians = readable(outcome.median(main) / first.median(main));
        let mut row = vec![outcome.label.clone(), format!("{of_medians}; {}", ratios.join(" "))];
        row.extend(plan.figures.iter().map(|figure| {
            let value = readable(outcome.median(figure));
            if !COSTS.contains(figure) {
                return value;
            }
            format!("{value} ({})", readable(outcome.median(figure) / first.median(figure)))
        }));
        if let Some(failure) = &outcome.failure {
            row = vec![outcome.label.clone(), format!("no result: {failure}")];
        }
        table.add_row(row);
    }
    println!("{}, {} rounds\n{table}", plan.title, plan.rounds);
}
