//! Medians, and the table at the end.

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;

/// One contender's rates, round by round, in items a second.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) contender: &'static str,
    pub(crate) rounds: Vec<f64>,
}

impl Rates {
    pub(crate) fn new(contender: &'static str) -> Rates {
        Rates { contender, rounds: Vec::new() }
    }

    /// The median of the ratios to another contender, round by round.
    fn ratio_to(&self, other: &Rates) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(own, other)| own / other).collect())
    }
}

/// The middle value; the mean of the two middle ones of an even number.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Rates and their ratios to the first contender.
pub(crate) fn print_rates(title: &str, all: &[Rates]) {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["contender", "items/s, median", "min", "max", "ratio to the first, median"]);
    for rates in all {
        let least = rates.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.rounds.iter().copied().fold(0.0, f64::max);
        table.add_row([
            rates.contender.to_owned(),
            format!("{:.0}", median(rates.rounds.clone())),
            format!("{least:.0}"),
            format!("{most:.0}"),
            format!("{:.2}", rates.ratio_to(&all[0])),
        ]);
    }
    println!("{title}\n{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
