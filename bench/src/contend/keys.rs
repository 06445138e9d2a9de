//! The keys that contenders add: new ones, and some that exist already.

/// Keys that no table has yet.
pub(super) fn new_keys(items: u64) -> Vec<String> {
    let run: u64 = rand::random();
    (0..items).map(|n| format!("{run:016x}-{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

/// New keys for each existing one: a tenth of the added keys exists.
const NEW_FOR_ONE_THERE: u64 = 9;

/// How many keys are in the table if this many new ones meet some of them.
pub(crate) fn keys_there(items: u64) -> u64 {
    items / NEW_FOR_ONE_THERE
}

/// The statement that inserts those.
pub(crate) fn insert_keys_there(items: u64) -> String {
    format!(
        "insert into items (id) select 'there-' || reverse(lpad(n::text, 12, '0')) from generate_series(1, {}) n",
        keys_there(items)
    )
}

/// This many new keys, with the existing ones spread evenly among them.
pub(super) fn keys_of_which_some_are_there(items: u64) -> Vec<String> {
    let mut keys = Vec::new();
    for (n, key) in (1..).zip(new_keys(items)) {
        keys.push(key);
        if n % NEW_FOR_ONE_THERE == 0 {
            let digits: String = format!("{:012}", n / NEW_FOR_ONE_THERE).chars().rev().collect();
            keys.push(format!("there-{digits}"));
        }
    }
    keys
}
