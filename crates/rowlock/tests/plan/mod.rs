//! A plan of PostgreSQL's, as it ran, and what must hold of every one.

use serde_json::Value;

use super::{BATCH, TABLE};

/// The plan of a statement, under one way of planning.
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
    /// the table is read through these indexes only.
    pub(crate) fn check(&self, indexes: &[&str]) {
        for node in self.nodes() {
            let kind = node["Node Type"].as_str().expect("a node type");
            let on_table = node["Relation Name"] == TABLE;
            assert!(!(kind == "Seq Scan" && on_table), "{} scans the whole table:\n{:#}", self.verb, self.root);
            if kind == "Sort" {
                // What goes in: a limit above it asks for few of what comes out.
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

    /// Reads by an index the rows that it is for and no other, and the leases once, for the hash, and not once a row. (The
    /// catalogue is another matter.)
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

/// How many rows a node gave, all in all.
pub(crate) fn rows_of(node: &Value) -> f64 {
    node["Actual Rows"].as_f64().unwrap_or(0.0) * node["Actual Loops"].as_f64().unwrap_or(1.0)
}
