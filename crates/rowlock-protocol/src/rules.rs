//! The rules of the protocol, each with the mistakes that it prevents.
//!
//! [`Rules::sound`] is the protocol. Every other value is a mistake that the checker has to find: a rule whose absence
//! goes unnoticed is either not needed or not checked.

/// What a finish must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Key, token and in-progress status.
    Token,
    /// Key and in-progress status: a zombie at the same stage passes.
    Status,
    /// The key alone: a zombie overwrites whatever came after it.
    Key,
}

/// What a renewal must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Key, token and in-progress status.
    Token,
    /// Key and in-progress status: a late heartbeat revives a lost lease.
    Status,
}

/// Where tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Each claim statement draws its own.
    PerClaim,
    /// The worker's name, which a restarted process has again.
    PerWorker,
}

/// The effect of a move on the token in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAfter {
    /// Set to NULL.
    Cleared,
    /// Left as it was.
    Kept,
}

/// How a claim is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimShape {
    /// Finding and stamping in one statement.
    OneStatement,
    /// A select, and later an update by key.
    SelectThenUpdate,
}

/// Whether the claim writes the heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimHeartbeat {
    /// It does.
    Stamped,
    /// It leaves that to the first renewal, which may never come.
    LeftMissing,
}

/// Which rows in progress the sweep takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepRule {
    /// Those whose heartbeat is stale or NULL.
    StaleOrMissing,
    /// `heartbeat < …`, which NULL never satisfies.
    StaleOnly,
    /// All of them, as if no other worker could be alive.
    Everything,
}

/// What the claim does with a ready row at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// It becomes `FAILED` in the same statement.
    Failed,
    /// It is filtered out, for ever.
    Skipped,
}

/// How items that may be poison are kept away from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspects {
    /// A claim may return a suspect only if its worker holds nothing and has no unsettled claim, and until that claim
    /// is settled the worker neither claims nor starts anything else.
    ///
    /// A busy worker has to come to rest now and then, or suspects wait for ever. No world here has a steady inflow of
    /// work, so the checker cannot see that.
    OnlyWhenIdle,
    /// The same, but without regard to claims whose answer was lost. This is not enough: such a claim may commit later,
    /// and take a suspect into a process that by then runs something else.
    OnlyWhenEmptyHanded,
    /// Any claim may return a suspect, alone; the worker then finishes what it holds, runs the suspect by itself and
    /// claims nothing meanwhile. This is not enough: the suspect is already claimed while the others still run.
    AfterTheOthers,
    /// There are no suspects.
    Unknown,
}

/// What a worker may do with a claim after an answer to its finish was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Send the same move again, or report that the outcome is unknown.
    SameMoveOnly,
    /// An error of the repeated statement returns the claim, which remembers its doubt but may be finished with another
    /// move.
    AnyMove,
    /// An error of the repeated statement returns the claim as if nothing had been lost.
    Forgotten,
}

/// What proves that a finish whose answer was lost took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The row carries our token, and is in the state that we asked for.
    TokenAndState,
    /// The row is in the state that we asked for.
    State,
    /// The row carries our token.
    Token,
    /// Nothing: a repeated finish that matches no row counts as a lost lease.
    NoneMeansLost,
}

/// The fate of a claim whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostClaim {
    /// Its rows are searched for by its token until the statement can no longer commit.
    LookedFor,
    /// It is sent again with the same token.
    SentAgain,
    /// Nothing: its rows wait for the sweep, at the price of a reset.
    Forgotten,
}

/// How a worker searches for the rows of a lost claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It renews by token, and adopts what that returns.
    Renews,
    /// It reads by token. The rows may be almost stale, which its own clock cannot show.
    Reads,
}

/// The time from which a worker counts the age of a lease by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseClock {
    /// From the sending of the statement, which is never later than the database's stamp.
    FromSending,
    /// From the answer, which may arrive when the lease is already stale.
    FromAnswer,
}

/// One choice for each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field's type says what it decides")]
pub struct Rules {
    pub fence: Fence,
    pub renewal: Renewal,
    pub tokens: Tokens,
    /// The token after a finish by the holder.
    pub own_finish_token: TokenAfter,
    /// The token after a sweep.
    pub sweep_token: TokenAfter,
    /// The token after set, cancel and requeue.
    pub operator_token: TokenAfter,
    pub claim_shape: ClaimShape,
    pub claim_heartbeat: ClaimHeartbeat,
    pub sweep: SweepRule,
    /// Whether the sweep counts the items that it takes back. If not, a crash loop never ends.
    pub counts_resets: bool,
    pub exhausted: Exhausted,
    pub suspects: Suspects,
    pub doubt: Doubt,
    pub proof: Proof,
    pub lost_claim: LostClaim,
    pub look: Look,
    pub lease_clock: LeaseClock,
}

impl Rules {
    /// The protocol as the engine has to keep it.
    #[must_use]
    pub fn sound() -> Self {
        Rules {
            fence: Fence::Token,
            renewal: Renewal::Token,
            tokens: Tokens::PerClaim,
            own_finish_token: TokenAfter::Kept,
            sweep_token: TokenAfter::Cleared,
            operator_token: TokenAfter::Cleared,
            claim_shape: ClaimShape::OneStatement,
            claim_heartbeat: ClaimHeartbeat::Stamped,
            sweep: SweepRule::StaleOrMissing,
            counts_resets: true,
            exhausted: Exhausted::Failed,
            suspects: Suspects::OnlyWhenIdle,
            doubt: Doubt::SameMoveOnly,
            proof: Proof::TokenAndState,
            lost_claim: LostClaim::LookedFor,
            look: Look::Renews,
            lease_clock: LeaseClock::FromSending,
        }
    }
}
