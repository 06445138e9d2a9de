//! The handled items in one number: a sum over their keys, which differs from the expected one if one item was left out
//! and another done twice. A count of runs would not show that. It costs an addition for each item, the same for every
//! contender, and the sums of several processes add up.

/// What a run of the handler on this item in this stage adds. The key's last eight digits are the item's number.
pub(crate) fn of_key(key: &str, stage: u64) -> u64 {
    let digits = key.len().checked_sub(8).and_then(|start| key.get(start..));
    // A foreign key that should not be handled: a number that no item has.
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(u64::MAX);
    mix(number ^ (stage << 32))
}

/// The sum for a run of the handler on each item in each stage.
pub(crate) fn of_all(items: u64, stages: u64) -> u64 {
    let runs = (0..stages).flat_map(|stage| (1..=items).map(move |number| mix(number ^ (stage << 32))));
    runs.fold(0, u64::wrapping_add)
}

/// The finalizer of MurmurHash3: neighbouring numbers end up far apart, so that sums hide nothing.
fn mix(mut number: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        number = (number ^ (number >> 33)).wrapping_mul(factor);
    }
    number ^ (number >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_left_out_and_another_done_twice_is_seen() {
        let sum = |numbers: &[u64]| {
            let of = |number: &u64| of_key(&format!("{:024x}{number:08x}", number * 7), 0);
            numbers.iter().map(of).fold(0, u64::wrapping_add)
        };
        assert_eq!(sum(&[3, 1, 2, 4]), of_all(4, 1));
        assert_ne!(sum(&[1, 1, 3, 4]), of_all(4, 1));
        assert_ne!(sum(&[2, 2, 2, 4]), of_all(4, 1));
        assert_ne!(of_all(4, 1).wrapping_mul(2), of_all(4, 2), "a stage is not another");
    }
}
