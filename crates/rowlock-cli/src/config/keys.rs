//! The known keys of `rowlock.toml`, and what an unknown one may have been meant to be.

/// A table of the file: how it is named in a message, and its keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// As in "`[limits]` has no key `max_tries`".
    pub(super) place: &'static str,
    pub(super) known: &'static [&'static str],
}

pub(super) const TOP: Keys = Keys {
    place: "the top of the file",
    known: &[
        "pipeline",
        "table",
        "key",
        "key_type",
        "database",
        "succeeded",
        "failed",
        "cancelled",
        "ignored",
        "where",
        "order",
        "existing",
        "existing_leases",
        "without_ready_default",
        "keep_error_after_success",
        "stage",
        "columns",
        "on",
        "limits",
    ],
};

pub(super) const STAGE: Keys = Keys { place: "a [[stage]]", known: &["name", "ready", "running", "timeout", "retry"] };

pub(super) const COLUMNS: Keys = Keys {
    place: "[columns]",
    known: &[
        "status",
        "retry_count",
        "reset_count",
        "retry_after",
        "error_message",
        "heartbeat_at",
        "claim_token",
        "claimed_by",
        "claimed_at",
        "resume_status",
        "created_at",
        "updated_at",
        "prefix",
    ],
};

pub(super) const COLUMN: Keys = Keys { place: "a column", known: &["name", "as", "none", "keep"] };

pub(super) const ON: Keys = Keys { place: "[on]", known: &["claim", "success", "failure", "retry", "every_move"] };

pub(super) const LIMITS: Keys = Keys {
    place: "[limits]",
    known: &["max_retries", "max_resets", "budget", "stale_after", "heartbeat_interval", "retry"],
};

pub(super) const RETRY: Keys =
    Keys { place: "a retry policy", known: &["kind", "base", "cap", "delay", "delays", "jitter", "floor"] };

pub(super) const STATE: Keys = Keys { place: "a state", known: &["is", "set", "own", "null"] };

/// What other queues and other people call a key.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("name", "pipeline"),
    ("primary_key", "key"),
    ("id", "key"),
    ("url", "database"),
    ("database_url", "database"),
    ("success", "succeeded"),
    ("done", "succeeded"),
    ("completed", "succeeded"),
    ("error", "failed"),
    ("failure", "failed"),
    ("canceled", "cancelled"),
    ("ignore", "ignored"),
    ("skip", "ignored"),
    ("filter", "where"),
    ("condition", "where"),
    ("order_by", "order"),
    ("priority", "order"),
    ("stages", "stage"),
    ("pending", "ready"),
    ("queued", "ready"),
    ("processing", "running"),
    ("in_progress", "running"),
    ("attempts", "retry_count"),
    ("run_at", "retry_after"),
    ("locked_by", "claimed_by"),
    ("locked_at", "claimed_at"),
    ("heartbeat", "heartbeat_at"),
    ("last_error", "error_message"),
    ("column", "name"),
    ("type", "as"),
    ("form", "as"),
    ("default", "none"),
    ("max_attempts", "max_retries"),
    ("backoff", "retry"),
    ("complete", "success"),
    ("fail", "failure"),
];

/// What an unknown key of this table may have been meant to be, as a sentence.
pub(super) fn meant(key: &str, keys: Keys) -> Option<String> {
    if let Some(near) = nearest(key, keys.known) {
        return Some(format!("did you mean `{near}`?"));
    }
    let other = OTHER_NAMES.iter().find(|(other, known)| other.eq_ignore_ascii_case(key) && keys.known.contains(known));
    if let Some((_, known)) = other {
        return Some(format!("did you mean `{known}`?"));
    }
    let tables = [TOP, STAGE, COLUMNS, LIMITS];
    let home = tables.into_iter().find(|table| table.place != keys.place && table.known.contains(&key))?;
    let place = home.place;
    if place == TOP.place {
        return Some(format!(
            "`{key}` belongs to {place}, above the first line in [brackets]: what follows such a line is its own"
        ));
    }
    Some(format!("`{key}` belongs to {place}"))
}

/// The known name that is most like this one, if one is like it at all.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let distance = |known: &str| strsim::damerau_levenshtein(&name, known);
    let near = known.iter().copied().min_by_key(|known| distance(known))?;
    // One slip for each three letters: with more, any short key would be like any other.
    let slips = (name.chars().count().max(near.chars().count()) / 3).max(1);
    (distance(near) <= slips).then_some(near)
}

/// Names in a sentence: `a, b and c`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}
