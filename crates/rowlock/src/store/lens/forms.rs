//! How a column holds the value of its role: as a time in another form, as JSON, as an expiry.

use super::super::identifier::Dialect;
use super::{Lens, WRITTEN, column};
use crate::pipeline::{ColumnSpec, Form, Role};

/// A time in ISO 8601, as SQLite's `strftime` writes it.
const ISO: &str = "%Y-%m-%dT%H:%M:%fZ";

impl Lens {
    /// A role's value from a column that holds it in another form.
    pub(super) fn read_form(&self, spec: &ColumnSpec, raw: &str) -> String {
        let value = match &spec.none {
            Some(none) => format!("nullif({raw}, {none})"),
            None => raw.to_owned(),
        };
        let expiry = self.pipeline.stale_after().as_secs_f64();
        match (spec.form, self.dialect) {
            (Form::Native | Form::SqliteDatetime, _) | (Form::TimestampUtc, Dialect::Sqlite) => value,
            (Form::TimestampUtc, Dialect::Postgres) => format!("({value} at time zone 'UTC')"),
            (Form::EpochSeconds, Dialect::Postgres) => format!("to_timestamp({value}::float8)"),
            (Form::EpochMillis, Dialect::Postgres) => format!("to_timestamp({value}::float8 / 1000)"),
            (Form::Json, Dialect::Postgres) => format!("({value} #>> '{{}}')"),
            (Form::Expiry, Dialect::Postgres) => format!("({value} - make_interval(secs => {expiry:?}))"),
            (Form::EpochSeconds, Dialect::Sqlite) => format!("strftime('{ISO}', {value}, 'unixepoch')"),
            (Form::EpochMillis, Dialect::Sqlite) => format!("strftime('{ISO}', {value} / 1000.0, 'unixepoch')"),
            (Form::Json, Dialect::Sqlite) => format!("({value} ->> '$')"),
            (Form::Expiry, Dialect::Sqlite) => format!("strftime('{ISO}', {value}, '-{expiry:.3} seconds')"),
        }
    }

    /// What a column takes for a role's value. A form without fractions of a second rounds a due time up, so that an
    /// item waits no shorter, and all other times down, so that none is in the future. A time may be random, so it
    /// stands in the result once.
    pub(super) fn write_form(&self, role: Role, spec: &ColumnSpec, value: &str) -> String {
        let expiry = self.pipeline.stale_after().as_secs_f64();
        let time = format!("({value})::timestamptz");
        let (rounded, added) = if role == Role::RetryAfter { ("ceil", "0.999") } else { ("floor", "0") };
        let written = match (spec.form, self.dialect) {
            (Form::Native, _) | (Form::TimestampUtc, Dialect::Sqlite) => format!("({value})"),
            (Form::TimestampUtc, Dialect::Postgres) => format!("({time} at time zone 'UTC')"),
            (Form::EpochSeconds, Dialect::Postgres) => format!("{rounded}(extract(epoch from {time}))::bigint"),
            (Form::EpochMillis, Dialect::Postgres) => format!("{rounded}(extract(epoch from {time}) * 1000)::bigint"),
            (Form::SqliteDatetime, Dialect::Postgres) => {
                format!("to_char({time} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')")
            }
            (Form::Json, Dialect::Postgres) => format!("to_jsonb(({value})::text)"),
            (Form::Expiry, Dialect::Postgres) => format!("({time} + make_interval(secs => {expiry:?}))"),
            (Form::EpochSeconds, Dialect::Sqlite) => {
                format!("cast(strftime('%s', {value}, '+{added} seconds') as integer)")
            }
            (Form::EpochMillis, Dialect::Sqlite) => {
                format!("cast(round((julianday({value}) - 2440587.5) * 86400000.0) as integer)")
            }
            (Form::SqliteDatetime, Dialect::Sqlite) => {
                format!("strftime('%Y-%m-%d %H:%M:%S', {value}, '+{added} seconds')")
            }
            (Form::Json, Dialect::Sqlite) => format!("iif(({value}) is null, null, json_quote({value}))"),
            (Form::Expiry, Dialect::Sqlite) => format!("strftime('{ISO}', {value}, '+{expiry:.3} seconds')"),
        };
        let kept = column(Some(WRITTEN), self.pipeline.columns().name(role));
        match (&spec.none, spec.keep) {
            (_, true) => format!("coalesce({written}, {kept})"),
            (Some(none), false) => format!("coalesce({written}, {none})"),
            (None, false) => written,
        }
    }
}
