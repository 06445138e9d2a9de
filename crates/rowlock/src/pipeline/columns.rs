//! Which column plays which role.

use super::ColumnSpec;

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
    specs: [ColumnSpec; Role::ALL.len()],
    /// The roles whose column the user named.
    named: [bool; Role::ALL.len()],
    /// The column for states that the table cannot say.
    own_state: String,
}

impl Default for Columns {
    fn default() -> Columns {
        Columns {
            specs: Role::ALL.map(|role| ColumnSpec::new(role.default_column())),
            named: [false; Role::ALL.len()],
            own_state: Columns::OWN_STATE.to_owned(),
        }
    }
}

impl Columns {
    const OWN_STATE: &'static str = "rowlock_state";

    /// The name of the column that plays this role.
    pub fn name(&self, role: Role) -> &str {
        &self.specs[role as usize].name
    }

    /// The column that plays this role, and how it holds the role's value.
    pub fn spec(&self, role: Role) -> &ColumnSpec {
        &self.specs[role as usize]
    }

    /// Whether the user named another column than the default for this role, which then must exist. Otherwise `prepare`
    /// adds one.
    pub(crate) fn is_mapped(&self, role: Role) -> bool {
        self.named[role as usize] && (self.name(role) != role.default_column() || !self.spec(role).is_plain())
    }

    /// The column for states that the table cannot say.
    pub(crate) fn own_state(&self) -> &str {
        &self.own_state
    }

    pub(super) fn map(&mut self, role: Role, column: ColumnSpec) {
        self.named[role as usize] = true;
        self.specs[role as usize] = column;
    }

    /// Puts a prefix before the names of the columns that `prepare` adds.
    pub(super) fn prefix(&mut self, prefix: &str) {
        for role in Role::ALL {
            if !self.named[role as usize] {
                self.specs[role as usize].name = format!("{prefix}{}", role.default_column());
            }
        }
        self.own_state = format!("{prefix}state");
    }
}
