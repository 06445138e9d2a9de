//! Rows as records: each row is decoded by itself, so that a bad one harms no other.

use std::panic::AssertUnwindSafe;

use sqlx::FromRow;

use crate::claim::ClaimDetails;
use crate::pipeline::Status;
use crate::store::{ClaimedRow, ItemRow, Store};
use crate::{Error, Key, Lease, Result};

/// A record type that a store's rows decode to: any type that derives `sqlx::FromRow` and is `Send`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a record of `{S}`: the store's rows do not decode to it",
    label = "not a record of this store",
    note = "a record implements `sqlx::FromRow` for the store's rows: `#[derive(sqlx::FromRow)]`",
    note = "if it derives that, check its fields: sqlx must decode the type of each from this database, which for \
            some types takes a feature of sqlx",
    note = "it is also `Send` and `'static`; `rowlock::JsonRecord` is a record for any table"
)]
pub trait Record<S: Store>: for<'r> FromRow<'r, S::Row> + Send + 'static {}

// Otherwise the compiler would ask for a `FromRow` over all lifetimes, and say nothing of records.
#[diagnostic::do_not_recommend]
impl<S: Store, R: for<'r> FromRow<'r, S::Row> + Send + 'static> Record<S> for R {}

/// One item, as the table has it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Item<R> {
    /// Its key.
    pub key: Key,
    /// Its state; `None` for a word that the pipeline does not know.
    pub status: Option<Status>,
    /// The word that the table has.
    pub word: String,
    /// The record.
    pub record: R,
}

/// A page of items, as the table has them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Items<R> {
    /// The items, in order.
    pub items: Vec<Item<R>>,
    /// Items whose row does not decode to the record, with the reason.
    pub undecodable: Vec<(Key, String)>,
    /// The key with which to ask for the next page; `None` on the last page, and for a preview.
    pub next: Option<Key>,
}

/// A claimed row as a record; otherwise its lease, and the reason why it does not decode.
pub(crate) fn decode<S: Store, R: Record<S>>(row: ClaimedRow<S::Row>) -> Result<(R, ClaimDetails), (Lease, Error)> {
    let ClaimedRow { lease, retry_count, reset_count, suspect, row } = row;
    match decode_row(&lease.key, &row) {
        Ok(record) => Ok((record, ClaimDetails { lease, retry_count, reset_count, suspect })),
        Err(error) => Err((lease, error)),
    }
}

pub(crate) fn decode_item<Row: sqlx::Row, R: for<'r> FromRow<'r, Row>>(item: ItemRow<Row>) -> Result<Item<R>> {
    let ItemRow { key, status, word, row, .. } = item;
    let record = decode_row(&key, &row)?;
    Ok(Item { key, status, word, record })
}

pub(crate) fn decode_items<Row, R>(rows: Vec<ItemRow<Row>>, next: Option<Key>) -> Items<R>
where
    Row: sqlx::Row,
    R: for<'r> FromRow<'r, Row>,
{
    let mut decoded = Items { items: Vec::with_capacity(rows.len()), undecodable: Vec::new(), next };
    for row in rows {
        let key = row.key.clone();
        match decode_item(row) {
            Ok(item) => decoded.items.push(item),
            Err(error) => decoded.undecodable.push((key, error.to_string())),
        }
    }
    decoded
}

/// A user's decoder may panic, and so may the driver's (at a time of infinity).
fn decode_row<Row: sqlx::Row, R: for<'r> FromRow<'r, Row>>(key: &Key, row: &Row) -> Result<R> {
    let decoded = std::panic::catch_unwind(AssertUnwindSafe(|| R::from_row(row)));
    let source = match decoded {
        Ok(Ok(record)) => return Ok(record),
        Ok(Err(source)) => source,
        Err(panic) => sqlx::Error::Decode(format!("the decoder panicked: {}", panic_words(&*panic)).into()),
    };
    Err(Error::Decode { key: key.clone(), source })
}

/// The message of a panic, if it is text.
pub(crate) fn panic_words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
