//! A table and its roles, as the rules look at them: columns by role, and expressions over them.

use super::roles::{Roles, State};
use crate::survey::{Database, Survey, SurveyColumn, TypeKind, quote_identifier, quote_table};

/// From this number on, an integer is a time in milliseconds: as seconds it would be the year 5138.
const MILLIS_MIN: &str = "100000000000";

/// A text that begins with a day that every month has, and a time. Its first 16 characters can be converted.
const TIME_TO_MINUTES: &str = "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[ T]([01][0-9]|2[0-3]):[0-5][0-9]";

/// A table with one reading of it as a queue.
#[derive(Clone, Copy)]
pub(super) struct Queue<'a> {
    pub(super) survey: &'a Survey,
    pub(super) roles: &'a Roles,
}

/// What the text of a comparison with a word depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct SqlShape {
    pub(super) is_postgres: bool,
    pub(super) status_is_text: bool,
}

impl<'a> Queue<'a> {
    pub(super) fn new(survey: &'a Survey, roles: &'a Roles) -> Queue<'a> {
        Queue { survey, roles }
    }

    pub(super) fn is_postgres(self) -> bool {
        is_postgres(self.survey)
    }

    pub(super) fn column(self, name: &str) -> Option<&'a SurveyColumn> {
        self.survey.column(name)
    }

    pub(super) fn status_column(self) -> Option<&'a SurveyColumn> {
        self.roles.status.as_deref().and_then(|name| self.column(name))
    }

    pub(super) fn lease_column(self) -> Option<&'a SurveyColumn> {
        self.roles.lease.as_ref().and_then(|lease| self.column(&lease.column))
    }

    /// The table's name, quoted.
    pub(super) fn table(self) -> String {
        quote_table(&self.survey.table)
    }

    /// The state as a predicate; `None` if the table cannot say it.
    pub(super) fn is(self, state: &State) -> Option<String> {
        let status_is_text = self.status_column().is_some_and(|column| column.kind.is_text());
        let shape = SqlShape { is_postgres: self.is_postgres(), status_is_text };
        state.sql(self.roles.status.as_deref(), shape)
    }

    /// The key of a row as one text.
    pub(super) fn key_text(self) -> String {
        let columns: Vec<String> =
            self.roles.key.iter().map(|name| format!("cast({} as text)", quote_identifier(name))).collect();
        if columns.is_empty() { "cast(null as text)".to_owned() } else { columns.join(" || ', ' || ") }
    }

    /// The first column of the key, for messages.
    pub(super) fn key_name(self) -> String {
        if self.roles.key.is_empty() { "a key".to_owned() } else { self.roles.key.join(", ") }
    }

    /// Seconds since the time that a column holds, in SQL; `None` where its type is no time.
    pub(super) fn age(self, name: &str) -> Option<String> {
        age(self.survey, self.column(name)?)
    }

    /// Seconds since the row was last changed or, failing that, inserted; NULL if no column says it.
    pub(super) fn age_of_row(self, but_not: &str) -> String {
        let names = [self.roles.updated.as_deref(), self.roles.created.as_deref()];
        let ages: Vec<String> =
            names.into_iter().flatten().filter(|name| *name != but_not).filter_map(|name| self.age(name)).collect();
        match ages.as_slice() {
            [] if self.is_postgres() => "null::float8".to_owned(),
            [] => "null".to_owned(),
            [one] => one.clone(),
            _ => format!("coalesce({})", ages.join(", ")),
        }
    }
}

pub(super) fn is_postgres(survey: &Survey) -> bool {
    matches!(survey.database, Database::Postgres)
}

/// Whether a column of this type may hold a time. On SQLite any may.
pub(super) fn may_hold_time(survey: &Survey, kind: TypeKind) -> bool {
    match kind {
        TypeKind::Timestamptz | TypeKind::Timestamp | TypeKind::Integer | TypeKind::BigInt => true,
        TypeKind::Text | TypeKind::Varchar(_) | TypeKind::Float | TypeKind::Numeric => true,
        _ => !is_postgres(survey) && !matches!(kind, TypeKind::Boolean | TypeKind::Bytea),
    }
}

/// Seconds since the time in a column; negative if it is in the future, NULL if there is none.
fn age(survey: &Survey, column: &SurveyColumn) -> Option<String> {
    let name = quote_identifier(&column.name);
    if !is_postgres(survey) {
        return Some(format!(
            "case typeof({name}) \
             when 'text' then (julianday('now') - julianday({name})) * 86400.0 \
             when 'integer' then unixepoch('now') - case when {name} = 0 then null \
             when {name} >= {MILLIS_MIN} then {name} / 1000.0 else {name} end \
             when 'real' then unixepoch('now') - case when {name} >= {MILLIS_MIN} then {name} / 1000.0 else {name} end \
             end"
        ));
    }
    // An infinite time cannot be subtracted from.
    let of_times = |now: &str| {
        format!(
            "case when isfinite({name}) then extract(epoch from {now} - {name})::float8 \
             when {name} > {now} then -1e12 when {name} < {now} then 1e12 end"
        )
    };
    match column.kind {
        TypeKind::Timestamptz => Some(of_times("statement_timestamp()")),
        TypeKind::Timestamp => Some(of_times("(statement_timestamp() at time zone 'utc')")),
        TypeKind::Integer | TypeKind::BigInt | TypeKind::Float | TypeKind::Numeric => Some(format!(
            "extract(epoch from statement_timestamp())::float8 - case when {name} >= {MILLIS_MIN} \
             then {name} / 1000.0 else nullif({name}, 0) end::float8"
        )),
        // Only what certainly is a time is converted: an error would end the query.
        TypeKind::Text | TypeKind::Varchar(_) => Some(format!(
            "case when {name} ~ '{TIME_TO_MINUTES}' then extract(epoch from \
             statement_timestamp() - left({name}, 16)::timestamp at time zone 'utc')::float8 end"
        )),
        _ => None,
    }
}
