//! The states of a video, and their words in the table.

use std::fmt;
use std::str::FromStr;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};

/// The state of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoStatus {
    /// Ready for EXTRACTION.
    Pending,
    /// Held by a worker that extracts.
    ExtractionInProgress,
    /// Ready for EMBEDDING.
    ExtractionComplete,
    /// Held by a worker that embeds.
    EmbeddingInProgress,
    /// Both stages are completed.
    Succeeded,
    /// Stopped by a permanent error or a spent budget.
    Failed,
    /// Stopped by an operator.
    Cancelled,
}

/// A word that belongs to no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no status of a video: {}", VideoStatus::ALL.map(VideoStatus::as_str).join(", "))]
pub struct UnknownStatus {
    word: String,
}

impl VideoStatus {
    /// Every status, in the order in which a video meets them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::ExtractionInProgress,
        Self::ExtractionComplete,
        Self::EmbeddingInProgress,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::ExtractionInProgress => "EXTRACTION_IN_PROGRESS",
            Self::ExtractionComplete => "EXTRACTION_COMPLETE",
            Self::EmbeddingInProgress => "EMBEDDING_IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for VideoStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for VideoStatus {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        let known = Self::ALL.into_iter().find(|status| status.as_str() == word);
        known.ok_or_else(|| UnknownStatus { word: word.to_owned() })
    }
}

impl<DB: Database> Type<DB> for VideoStatus
where
    str: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        str::type_info()
    }

    fn compatible(type_info: &DB::TypeInfo) -> bool {
        str::compatible(type_info)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for VideoStatus
where
    &'r str: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(<&str>::decode(value)?.parse()?)
    }
}

impl<'q, DB: Database> Encode<'q, DB> for VideoStatus
where
    &'q str: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.as_str().encode_by_ref(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{STALE_AFTER, pipeline};

    #[test]
    fn the_words_are_those_of_the_pipeline() {
        let pipeline = pipeline(STALE_AFTER).unwrap();
        assert_eq!(pipeline.words(), VideoStatus::ALL.map(VideoStatus::as_str));
        for status in VideoStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("DONE".parse::<VideoStatus>().unwrap_err().to_string().starts_with("\"DONE\" is no status"));
    }
}
