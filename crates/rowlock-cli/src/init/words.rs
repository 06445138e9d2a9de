//! The vocabulary of queues: what a word usually says.

/// What a word says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    Ready,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Ignored,
}

/// How a word is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) meaning: Meaning,
    /// What the word says beside its meaning: `scrape` in `SCRAPE_PENDING`; for a verb's form its stem.
    pub(super) stage: Option<String>,
    /// Whether only the form of the word says so: `transcribing`, `transcribed`.
    pub(super) is_by_form: bool,
}

impl Reading {
    /// Whether the word names both a stage and a state, as `SCRAPE_PENDING`.
    pub(super) fn is_qualified(&self) -> bool {
        self.stage.is_some() && !self.is_by_form
    }
}

const READY: &str = "pending queued queue new waiting wait todo to_do fresh enqueued scheduled created submitted \
    unprocessed open init initial initialized initialised requested received accepted not_started unstarted \
    not_processed not_done backlog inbox idle available awaiting planned ready retry retrying retryable \
    retry_pending pending_retry retry_scheduled will_retry requeued delayed deferred dirty stale outdated due \
    unsent undelivered needed required incomplete registered reset released placed added";

/// Ready words that usually stand beside another, for rows that were tried or are due later.
const READY_AGAIN: &str = "retry retrying retryable retry_pending pending_retry retry_scheduled will_retry requeued \
    delayed deferred scheduled stale outdated dirty reset released";

const RUNNING: &str = "processing in_progress inprogress progress running active started claimed working executing \
    busy leased locked taken reserved assigned acquired picked picked_up dequeued in_flight inflight in_process wip \
    doing ongoing underway dispatched allocated checked_out being_processed starting under_way";

const SUCCEEDED: &str = "done completed complete success succeeded successful successfully finished finish \
    processed ok okay closed resolved sent delivered published synced synchronized ended fulfilled settled passed \
    handled consumed acked acknowledged executed applied good";

const FAILED: &str = "failed failure fail error errored errors dead dead_letter deadletter dead_lettered rejected \
    broken invalid exception crashed bad timeout timed_out timedout exhausted failed_permanently permanently_failed \
    poisoned bounced faulted unsuccessful undeliverable gave_up given_up killed";

const CANCELLED: &str =
    "cancelled canceled cancel aborted abort revoked stopped terminated withdrawn void voided discarded abandoned";

const IGNORED: &str = "skipped skip ignored ignore not_applicable n_a na none disabled suspended paused on_hold \
    hold held manual draft deleted deactivated inactive excluded duplicate unsupported obsolete superseded \
    not_needed not_required archived";

/// Words that look like the form of a verb and say no state.
const NO_VERBS: &str = "missing failing existing incoming outstanding nothing warning remaining upcoming setting \
    string thing unneeded limited mixed married divorced widowed separated speed based advanced related trusted \
    naked retired expired";

/// The beginnings of verbs that undo something.
const UNDONE: &str = "outdat deactiv desync deprec declin deni detach invalidat disabl dismiss disconnect disput \
    misse";

/// What a word says; `None` if it is no word of a queue.
pub(super) fn read(word: &str) -> Option<Reading> {
    let tokens = tokens(word);
    let plain = |meaning| Reading { meaning, stage: None, is_by_form: false };
    if let Some(meaning) = named(&tokens.join("_")) {
        return Some(plain(meaning));
    }
    match tokens.as_slice() {
        [] => None,
        [word] => by_form(word),
        // Whoever waits for something else is nobody's work yet.
        [first, second, ..] if matches!(first.as_str(), "waiting" | "wait") && second == "for" => None,
        [first, ..] if matches!(first.as_str(), "no" | "not" | "non" | "awaiting") => None,
        [rest @ .., last] if named(last).is_some() => named(last).map(|meaning| qualified(meaning, rest)),
        [first, rest @ ..] if matches!(first.as_str(), "needs" | "to") => Some(qualified(Meaning::Ready, rest)),
        [first, rest @ ..] => named(first).map(|meaning| qualified(meaning, rest)),
    }
}

/// Whether a list of words, with blanks between them, has this one.
pub(super) fn contains(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == word)
}

fn qualified(meaning: Meaning, rest: &[String]) -> Reading {
    Reading { meaning, stage: Some(rest.join("_")), is_by_form: false }
}

/// Whether a ready word usually stands beside another.
pub(super) fn is_ready_again(word: &str) -> bool {
    contains(READY_AGAIN, &tokens(word).join("_"))
}

fn named(word: &str) -> Option<Meaning> {
    let lists = [
        (READY, Meaning::Ready),
        (RUNNING, Meaning::Running),
        (SUCCEEDED, Meaning::Succeeded),
        (FAILED, Meaning::Failed),
        (CANCELLED, Meaning::Cancelled),
        (IGNORED, Meaning::Ignored),
    ];
    lists.into_iter().find(|(list, _)| contains(list, word)).map(|(_, meaning)| meaning)
}

/// What the form of a verb says: `…ing` is going on, `…ed` is done. A prefix that undoes the verb says neither.
fn by_form(word: &str) -> Option<Reading> {
    if contains(NO_VERBS, word) || word.len() < 5 || !word.chars().all(|c| c.is_ascii_alphabetic()) {
        return None;
    }
    let by_form = |meaning, stem: &str| Some(Reading { meaning, stage: Some(stem.to_owned()), is_by_form: true });
    if let Some(stem) = word.strip_suffix("ing") {
        return by_form(Meaning::Running, stem);
    }
    let stem = word.strip_suffix("ed")?;
    if stem.starts_with("un") {
        return Some(Reading { meaning: Meaning::Ready, stage: None, is_by_form: true });
    }
    if UNDONE.split_ascii_whitespace().any(|undone| stem.starts_with(undone)) {
        return None;
    }
    by_form(Meaning::Succeeded, stem)
}

/// A verb from the stem of its forms, as good as the spelling tells it: `transcrib` is `transcribe`.
pub(super) fn verb(stem: &str) -> String {
    let ends = |endings: &[&str]| endings.iter().any(|ending| stem.ends_with(ending));
    let mut characters = stem.chars().rev();
    let (last, before) = (characters.next(), characters.next());
    if last.is_some() && last == before && !ends(&["ss", "ll", "ff", "zz"]) {
        return stem[..stem.len() - 1].to_owned();
    }
    let silent = [
        "at", "iz", "is", "ys", "yz", "ib", "iv", "uc", "ut", "or", "ars", "ers", "ag", "ur", "os", "us", "ap", "ak",
        "ic", "in", "id", "od", "ud", "iev", "olv", "eas", "rg", "rv", "pl", "bl",
    ];
    let keeps = ["it", "alid", "rain", "lain", "tain", "join", "main"];
    if ends(&silent) && !ends(&keeps) { format!("{stem}e") } else { stem.to_owned() }
}

/// The lower-case parts of a word or of a column's name: `processingStartedAt` has three.
pub(super) fn tokens(word: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut previous: Option<char> = None;
    let mut characters = word.chars().peekable();
    while let Some(character) = characters.next() {
        let ends_acronym = previous.is_some_and(char::is_uppercase)
            && character.is_uppercase()
            && characters.peek().is_some_and(|next| next.is_lowercase());
        let begins_part = previous.is_some_and(|p| p.is_lowercase() || p.is_ascii_digit()) && character.is_uppercase();
        if (begins_part || ends_acronym || !character.is_alphanumeric()) && !current.is_empty() {
            tokens.push(std::mem::take(&mut current));
        }
        if character.is_alphanumeric() {
            current.extend(character.to_lowercase());
        }
        previous = Some(character);
    }
    if !current.is_empty() {
        tokens.push(current);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(word: &str) -> Option<(Meaning, Option<String>)> {
        read(word).map(|reading| (reading.meaning, reading.stage))
    }

    fn stage(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn words_of_the_field_are_read_in_any_spelling() {
        for (word, expected) in [
            ("pending", Meaning::Ready),
            ("ENQUEUED", Meaning::Ready),
            ("Not Started", Meaning::Ready),
            ("inProgress", Meaning::Running),
            ("IN-FLIGHT", Meaning::Running),
            ("Succeeded", Meaning::Succeeded),
            ("timed_out", Meaning::Failed),
            ("canceled", Meaning::Cancelled),
            ("not_applicable", Meaning::Ignored),
        ] {
            assert_eq!(meaning(word), Some((expected, None)), "{word}");
        }
    }

    #[test]
    fn a_stage_stands_before_or_after_the_word() {
        assert_eq!(meaning("SCRAPE_PENDING"), Some((Meaning::Ready, stage("scrape"))));
        assert_eq!(meaning("extraction_done"), Some((Meaning::Succeeded, stage("extraction"))));
        assert_eq!(meaning("pending_upload"), Some((Meaning::Ready, stage("upload"))));
        assert_eq!(meaning("needs_review"), Some((Meaning::Ready, stage("review"))));
    }

    #[test]
    fn the_form_of_a_verb_tells_what_goes_on_and_what_is_done() {
        assert_eq!(meaning("transcribing"), Some((Meaning::Running, stage("transcrib"))));
        assert_eq!(meaning("transcribed"), Some((Meaning::Succeeded, stage("transcrib"))));
        assert_eq!(meaning("unindexed"), Some((Meaning::Ready, None)));
        for word in ["desynchronized", "missing", "married", "red", "no_speech", "WAITING_FOR_PARENT_JOB", "CA"] {
            assert_eq!(meaning(word), None, "{word}");
        }
    }

    #[test]
    fn a_verb_is_made_of_the_stem_of_its_forms() {
        for (stem, expected) in [
            ("transcrib", "transcribe"),
            ("summariz", "summarize"),
            ("embedd", "embed"),
            ("process", "process"),
            ("stor", "store"),
            ("extract", "extract"),
            ("scrap", "scrape"),
        ] {
            assert_eq!(verb(stem), expected);
        }
    }

    #[test]
    fn names_are_split_at_underscores_and_humps() {
        assert_eq!(tokens("processingStartedAt"), ["processing", "started", "at"]);
        assert_eq!(tokens("S3_key-Name"), ["s3", "key", "name"]);
        assert_eq!(tokens("HTTPStatus"), ["http", "status"]);
        assert_eq!(tokens("EMBED_PENDING"), ["embed", "pending"]);
    }
}
