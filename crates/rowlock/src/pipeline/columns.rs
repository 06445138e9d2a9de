//! Which column plays which role.

/// The part that a column of the user's table plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The item's status word, `text`.
    Status,
    /// Failures that handlers reported, `integer`.
    RetryCount,
    /// Times that the sweep took the item back, `integer`.
    ResetCount,
    /// Null, or the time before which the item cannot be claimed.
    RetryAfter,
    /// The last error, `text`.
    ErrorMessage,
    /// When the holder last sent a heartbeat.
    Heartbeat,
    /// The fencing token, `bigint`.
    ClaimToken,
    /// The holder of the item, for people to read, `text`.
    ClaimedBy,
    /// When the item was claimed.
    ClaimedAt,
    /// The ready word to which a requeue returns the item, `text`.
    ResumeStatus,
    /// When the row was inserted.
    CreatedAt,
    /// When Rowlock last moved or renewed the item.
    UpdatedAt,
}

impl Role {
    /// Every role, in the order of the columns in a new table.
    pub const ALL: [Role; 12] = [
        Role::Status,
        Role::RetryCount,
        Role::ResetCount,
        Role::RetryAfter,
        Role::ErrorMessage,
        Role::Heartbeat,
        Role::ClaimToken,
        Role::ClaimedBy,
        Role::ClaimedAt,
        Role::ResumeStatus,
        Role::CreatedAt,
        Role::UpdatedAt,
    ];

    /// The column's name, unless the pipeline maps the role to another.
    pub fn default_column(self) -> &'static str {
        match self {
            Role::Status => "status",
            Role::RetryCount => "retry_count",
            Role::ResetCount => "reset_count",
            Role::RetryAfter => "retry_after",
            Role::ErrorMessage => "error_message",
            Role::Heartbeat => "heartbeat_at",
            Role::ClaimToken => "claim_token",
            Role::ClaimedBy => "claimed_by",
            Role::ClaimedAt => "claimed_at",
            Role::ResumeStatus => "resume_status",
            Role::CreatedAt => "created_at",
            Role::UpdatedAt => "updated_at",
        }
    }
}

/// The column for each role: the one place where roles become names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    names: [String; Role::ALL.len()],
}

impl Default for Columns {
    fn default() -> Columns {
        Columns { names: Role::ALL.map(|role| role.default_column().to_owned()) }
    }
}

impl Columns {
    /// The name of the column that plays this role.
    pub fn name(&self, role: Role) -> &str {
        &self.names[role as usize]
    }

    pub(super) fn rename(&mut self, role: Role, column: String) {
        self.names[role as usize] = column;
    }
}
