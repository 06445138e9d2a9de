//! Histograms: one statement counts the values of many columns in one sample of rows.

use std::collections::HashMap;

use super::{
    Database, Histogram, IndexInfo, SAMPLED_COLUMNS_MAX, SurveyColumn, TypeKind, VALUE_CHARS_MAX, VALUES_MAX,
    quote_identifier,
};

/// A row of the answer: the column's number in the statement, a value, its rows, the different values of the column,
/// and the rows of the sample.
pub(super) struct Counted {
    pub(super) column: i64,
    pub(super) value: Option<String>,
    pub(super) rows: i64,
    pub(super) distinct: i64,
    pub(super) sampled: i64,
}

/// Whether the values of such a column can say a state, a time, a count or a name.
fn is_sampled(kind: TypeKind) -> bool {
    match kind {
        TypeKind::Text
        | TypeKind::Varchar(_)
        | TypeKind::Char(_)
        | TypeKind::Enum
        | TypeKind::Boolean
        | TypeKind::SmallInt
        | TypeKind::Integer
        | TypeKind::BigInt
        | TypeKind::Uuid
        | TypeKind::Timestamptz
        | TypeKind::Timestamp
        | TypeKind::Date
        | TypeKind::Float
        | TypeKind::Numeric => true,
        TypeKind::Json | TypeKind::Jsonb | TypeKind::Bytea | TypeKind::Other => false,
    }
}

/// The statement that counts the values of these columns in the rows that a query selects, which is given the list of
/// the columns.
pub(super) fn statement(database: Database, names: &[String], rows: impl FnOnce(&str) -> String) -> String {
    let list: Vec<String> =
        names.iter().enumerate().map(|(at, name)| format!("{} as c{at}", quote_identifier(name))).collect();
    let parts: Vec<String> = (0..names.len())
        .map(|at| {
            let value = match database {
                Database::Postgres => format!("left(c{at}::text, {VALUE_CHARS_MAX})"),
                Database::Sqlite => format!(
                    "case typeof(c{at}) when 'blob' then '(bytes)'
                     else substr(cast(c{at} as text), 1, {VALUE_CHARS_MAX}) end"
                ),
            };
            format!("select {at} as number, {value} as value from sample")
        })
        .collect();
    // Ties are broken by the value, so that the same table gives the same file.
    format!(
        "with sample as materialized ({}),
         listed as ({}),
         counted as (select number, value, count(*) as n from listed group by number, value),
         placed as (
           select
             number, value, n,
             count(*) over (partition by number) as distinct_values,
             sum(n) over (partition by number) as sampled,
             row_number() over (partition by number order by n desc, value) as place
           from counted
         )
         select
           cast(number as bigint) as number, value, cast(n as bigint) as n,
           cast(distinct_values as bigint) as distinct_values, cast(sampled as bigint) as sampled
         from placed
         where place <= {VALUES_MAX}
         order by number, place",
        rows(&list.join(", ")),
        parts.join("\nunion all "),
    )
}

/// The statement that walks along an index from one value to the next: each step is a single look-up.
pub(super) fn distinct_values_statement(table: &str, column: &str, database: Database) -> String {
    let name = quote_identifier(column);
    let cast = match database {
        Database::Postgres => "value::text",
        Database::Sqlite => "cast(value as text)",
    };
    format!(
        "with recursive found (value, place) as (
           select (select min({name}) from {table}), 1
           union all
           select (select min({name}) from {table} where {name} > found.value), place + 1
           from found
           where found.value is not null and place <= {VALUES_MAX}
         )
         select {cast} as value from found where value is not null limit {VALUES_MAX}"
    )
}

/// The histograms by column number.
pub(super) fn histograms(counted: Vec<Counted>, is_whole: bool) -> HashMap<i64, Histogram> {
    let mut histograms: HashMap<i64, Histogram> = HashMap::new();
    for row in counted {
        let histogram = histograms.entry(row.column).or_default();
        histogram.sampled = row.sampled;
        histogram.is_whole = is_whole;
        histogram.has_more = row.distinct > VALUES_MAX;
        histogram.values.push((row.value, row.rows));
    }
    histograms
}

/// The names of the columns whose values are read.
pub(super) fn sampled_names(columns: &[SurveyColumn]) -> Vec<String> {
    let sampled = columns.iter().filter(|column| is_sampled(column.kind)).take(SAMPLED_COLUMNS_MAX);
    sampled.map(|column| column.name.clone()).collect()
}

/// The columns whose values an index can list: those with few values in a sample that is not the whole table.
pub(super) fn listed_by_index(columns: &[SurveyColumn], indexes: &[IndexInfo]) -> Vec<String> {
    let leads = |name: &str| {
        let leads = |index: &IndexInfo| index.predicate.is_none() && index.columns.first().is_some_and(|c| c == name);
        indexes.iter().any(|index| index.valid && leads(index))
    };
    let has_few = |histogram: &Histogram| !histogram.is_whole && !histogram.has_more;
    let is_listed = |column: &&SurveyColumn| {
        (column.kind.is_text() || column.kind.is_integer() || column.kind == TypeKind::Enum)
            && column.values.as_ref().is_some_and(has_few)
            && leads(&column.name)
    };
    columns.iter().filter(is_listed).map(|column| column.name.clone()).collect()
}

/// Puts each histogram to its column. Columns of a table without rows have an empty one.
pub(super) fn assign(
    columns: &mut [SurveyColumn],
    names: &[String],
    mut found: HashMap<i64, Histogram>,
    is_whole: bool,
) {
    for (number, name) in (0_i64..).zip(names) {
        let histogram = found.remove(&number).unwrap_or(Histogram { is_whole, ..Histogram::default() });
        if let Some(column) = columns.iter_mut().find(|column| column.name == *name) {
            column.values = Some(histogram);
        }
    }
}

/// Adds values that the sample did not show.
pub(super) fn add_unsampled(histogram: &mut Histogram, values: Vec<String>) {
    for value in values {
        if histogram.rows_with(&value).is_none() {
            histogram.values.push((Some(value), 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_in_the_statement() {
        let names = ["a\"b".to_owned()];
        let sql = statement(Database::Postgres, &names, |columns| format!("select {columns} from \"t\" limit 5"));
        assert!(sql.contains("select \"a\"\"b\" as c0 from \"t\" limit 5"), "{sql}");
    }

    #[test]
    fn a_column_without_rows_has_an_empty_histogram() {
        let mut columns = [SurveyColumn::new("a", "text", TypeKind::Text)];
        assign(&mut columns, &["a".to_owned()], HashMap::new(), true);
        assert_eq!(columns[0].values, Some(Histogram { is_whole: true, ..Histogram::default() }));
    }
}
