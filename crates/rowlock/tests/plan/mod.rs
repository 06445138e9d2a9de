//! A PostgreSQL plan as it ran, and the rules for every plan.

mod shapes;

use serde_json::Value;

use super::{BATCH, MODES, Scene, TABLE};

/// The plan of a statement, made in one way.
pub(crate) struct Plan {
    pub(crate) verb: String,
    pub(crate) root: Value,
}

impl Plan {
    pub(crate) fn nodes(&self) -> Vec<&Value> {
        let mut nodes = vec![&self.root];
        let mut next = 0;
        while next < nodes.len() {
            if let Some(children) = nodes[next]["Plans"].as_array() {
                nodes.extend(children);
            }
            next += 1;
        }
        nodes
    }

    /// No scan of the whole table, no sort of more than the batch, no join that compares every row with every other;
    /// only these indexes are used to read the table.
    pub(crate) fn check(&self, indexes: &[&str]) {
        for node in self.nodes() {
            let kind = node["Node Type"].as_str().expect("a node type");
            let on_table = node["Relation Name"] == TABLE;
            assert!(!(kind == "Seq Scan" && on_table), "{} scans the whole table:\n{:#}", self.verb, self.root);
            if kind == "Sort" {
                // The input of a limit: the limit above it asks for only a few of its rows.
                let inputs = node["Plans"].as_array().expect("a sort has an input").iter();
                let sorted: f64 = inputs.filter(|input| input["Parent Relationship"] == "Outer").map(rows_of).sum();
                assert!(sorted <= BATCH as f64, "{} sorts {sorted} rows:\n{:#}", self.verb, self.root);
            }
            let removed = ["Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck"];
            let wasted: f64 = removed.iter().filter_map(|field| node[*field].as_f64()).sum();
            let wasted = wasted * node["Actual Loops"].as_f64().unwrap_or(1.0);
            assert!(wasted <= 3.0 * BATCH as f64, "{} looks at {wasted} rows in vain:\n{:#}", self.verb, self.root);
        }
        self.check_indexes(indexes);
    }

    /// By an index it reads only the rows that it needs, and it reads the leases once, for the hash, and not once for
    /// each row. (The catalogue is exempt.)
    pub(crate) fn check_batch(&self, items: usize) {
        let is_meant = |kind, node: &Value| node["Node Type"] == kind && node["Relation Name"] != "pg_attribute";
        let of_kind = |kind| self.nodes().into_iter().find(|node| is_meant(kind, node));
        let node = |kind| of_kind(kind).unwrap_or_else(|| panic!("no {kind} in {:#}", self.root));
        assert_eq!(rows_of(node("Index Scan")), items as f64, "{:#}", self.root);
        assert_eq!(node("Function Scan")["Actual Loops"].as_f64(), Some(1.0), "{:#}", self.root);
    }

    pub(crate) fn check_indexes(&self, indexes: &[&str]) {
        let seen: Vec<&str> = self.nodes().into_iter().filter_map(|node| node["Index Name"].as_str()).collect();
        for index in indexes {
            assert!(seen.iter().any(|name| name.starts_with(index)), "{} does not use {index}: {seen:?}", self.verb);
        }
    }
}

/// How many rows a node returned in all.
pub(crate) fn rows_of(node: &Value) -> f64 {
    node["Actual Rows"].as_f64().unwrap_or(0.0) * node["Actual Loops"].as_f64().unwrap_or(1.0)
}
