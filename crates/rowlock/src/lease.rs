//! The right to write to a claimed item.

use std::fmt;

use rand::RngExt;

use crate::limits::HOLDER_COLUMN_CHARS_MIN;
use crate::pipeline::StageId;
use crate::{Error, Key, Result};

/// 63 random bits that the claimer draws for each claim; compared for equality, never reused.
///
/// Not a counter: after a row is deleted and inserted again, a backup is restored, or a fail-over loses the last
/// commits, a counter would repeat an old number, and an old holder could write again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FencingToken(i64);

impl FencingToken {
    /// A new random token.
    pub fn draw() -> FencingToken {
        FencingToken(rand::rng().random_range(1..=i64::MAX))
    }

    /// The token as the table holds it.
    pub fn as_i64(self) -> i64 {
        self.0
    }
}

impl From<i64> for FencingToken {
    fn from(stored: i64) -> FencingToken {
        FencingToken(stored)
    }
}

impl fmt::Debug for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who claims: host, process and start. For people to read, never for fencing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder(String);

impl Holder {
    /// A name of host, process id and a random part, different for each start of each process.
    pub fn unique() -> Holder {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| std::env::var("HOSTNAME").ok())
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "host".to_owned());
        Holder(format!("{host}:{}:{:08x}", std::process::id(), rand::rng().random::<u32>()))
    }

    /// The given name, of at most 96 characters and without NUL; a claim under any other is an error. Two workers
    /// should never share a name, but nothing breaks if they do.
    pub fn named(name: impl Into<String>) -> Holder {
        Holder(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Rejects a name under which no row could be claimed: the fault would not be a row's.
    pub(crate) fn check(&self) -> Result<()> {
        let chars = self.0.chars().count();
        if self.0.is_empty() || chars > HOLDER_COLUMN_CHARS_MIN || self.0.contains('\0') {
            let rule = format!("a holder's name has from 1 to {HOLDER_COLUMN_CHARS_MIN} characters, and no NUL");
            let value = format!("{:?}, of {chars} characters", self.0);
            return Err(Error::InvalidArgument { argument: "holder", value, rule });
        }
        Ok(())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to write to one claimed item: its key, the token of its claim, and the stage for which it was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The item.
    pub key: Key,
    /// The claim's token.
    pub token: FencingToken,
    /// The stage in which the item is in progress.
    pub stage: StageId,
}
