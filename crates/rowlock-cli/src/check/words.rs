//! Which state a word says.

/// What a word of a status column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateKind {
    Ready,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Ignored,
}

const CANCELLED: &[&str] = &["cancelled", "canceled", "cancel", "aborted", "revoked"];
const FAILED: &[&str] = &[
    "failed",
    "failure",
    "error",
    "errored",
    "rejected",
    "dead",
    "discarded",
    "fatal",
    "exhausted",
    "poisoned",
    "timeout",
    "crashed",
    "fail",
    "err",
];
const IGNORED: &[&str] = &[
    "skipped",
    "skip",
    "ignored",
    "manual",
    "draft",
    "paused",
    "disabled",
    "takendown",
    "suspended",
    "deactivated",
    "archived",
    "deleted",
    "held",
    "blocked",
    "inactive",
    "applicable",
    "expired",
];
const READY: &[&str] = &[
    "pending",
    "queued",
    "queue",
    "new",
    "waiting",
    "enqueued",
    "scheduled",
    "todo",
    "fresh",
    "open",
    "created",
    "submitted",
    "initial",
    "available",
    "unprocessed",
    "retry",
    "retryable",
    "retrying",
    "desynchronized",
    "requested",
    "delayed",
    "backlog",
    "outstanding",
];
const RUNNING: &[&str] = &[
    "running",
    "started",
    "progress",
    "inprogress",
    "claimed",
    "locked",
    "leased",
    "taken",
    "picked",
    "busy",
    "reserved",
];
const SUCCEEDED: &[&str] = &[
    "done",
    "completed",
    "complete",
    "succeeded",
    "success",
    "successful",
    "finished",
    "processed",
    "synced",
    "sealed",
    "sent",
    "delivered",
    "published",
    "ok",
    "closed",
    "ended",
    "enriched",
];

/// The states that the words of one column say, in their order; `None` for a word that says nothing known.
///
/// Some words can only be read beside the others: `ready` is what waits, unless `pending` is; `active` is in progress,
/// unless something else is.
pub(super) fn classify_all(words: &[String], is_kept_by_rowlock: bool) -> Vec<Option<StateKind>> {
    let mut kinds: Vec<Option<StateKind>> = words.iter().map(|word| classify(word, is_kept_by_rowlock)).collect();
    let has = |kinds: &[Option<StateKind>], kind| kinds.contains(&Some(kind));
    for (index, word) in words.iter().enumerate() {
        if kinds[index].is_some() {
            continue;
        }
        let tokens = tokens(word);
        let last = tokens.last().map_or("", String::as_str);
        let lacks_an_end = has(&kinds, StateKind::Ready) && !has(&kinds, StateKind::Succeeded);
        kinds[index] = match last {
            "ready" if lacks_an_end => Some(StateKind::Succeeded),
            "ready" => Some(StateKind::Ready),
            "active" if has(&kinds, StateKind::Running) => Some(StateKind::Succeeded),
            "active" => Some(StateKind::Running),
            _ => None,
        };
    }
    kinds
}

fn classify(word: &str, is_kept_by_rowlock: bool) -> Option<StateKind> {
    // Rowlock's default word for what waits for a later stage.
    if is_kept_by_rowlock && word.ends_with("_COMPLETE") {
        return Some(StateKind::Ready);
    }
    let tokens = tokens(word);
    let has = |list: &[&str]| tokens.iter().any(|token| list.contains(&token.as_str()));
    let last = tokens.last().map_or("", String::as_str);
    if has(IGNORED) {
        Some(StateKind::Ignored)
    } else if has(CANCELLED) {
        Some(StateKind::Cancelled)
    } else if has(FAILED) {
        Some(StateKind::Failed)
    } else if has(READY) {
        Some(StateKind::Ready)
    } else if has(RUNNING) || (last.ends_with("ing") && last.len() > 5) {
        Some(StateKind::Running)
    } else if has(SUCCEEDED) || (last.ends_with("ed") && last.len() > 5) {
        Some(StateKind::Succeeded)
    } else {
        None
    }
}

/// The parts of a word: `SCRAPE_PENDING` and `scrapePending` are both `scrape` and `pending`.
fn tokens(word: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(word.len() + 4);
    let mut after_lower = false;
    for character in word.chars() {
        if character.is_uppercase() && after_lower {
            spaced.push(' ');
        }
        after_lower = character.is_lowercase();
        spaced.extend(character.to_lowercase());
    }
    spaced.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(words: &[&str]) -> Vec<Option<StateKind>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        classify_all(&words, false)
    }

    #[test]
    fn usual_words_say_what_they_say() {
        use StateKind::{Cancelled, Failed, Ready, Running, Succeeded};
        assert_eq!(
            kinds(&["queued", "in_progress", "success", "failure", "canceled"]),
            [Ready, Running, Succeeded, Failed, Cancelled].map(Some)
        );
        assert_eq!(
            kinds(&["SCRAPE_PENDING", "SCRAPE_PROCESSING", "SCRAPE_REJECTED", "COMPLETED"]),
            [Ready, Running, Failed, Succeeded].map(Some)
        );
        assert_eq!(kinds(&["failed: 502", "transcribing", "transcribed"]), [Failed, Running, Succeeded].map(Some));
    }

    #[test]
    fn some_words_are_read_beside_the_others() {
        use StateKind::{Failed, Ready, Running, Succeeded};
        assert_eq!(kinds(&["pending", "processing", "ready", "failed"]), [Ready, Running, Succeeded, Failed].map(Some));
        assert_eq!(kinds(&["ready", "active", "done"]), [Ready, Running, Succeeded].map(Some));
        assert_eq!(kinds(&["pending", "resyncing", "active"]), [Ready, Running, Succeeded].map(Some));
        assert_eq!(kinds(&["no_speech"]), [None]);
    }

    #[test]
    fn rowlocks_word_for_a_later_stage_waits() {
        let words = ["PENDING", "EXTRACTION_IN_PROGRESS", "EXTRACTION_COMPLETE"].map(str::to_owned);
        assert_eq!(classify_all(&words, true)[2], Some(StateKind::Ready));
        assert_eq!(classify_all(&words, false)[2], Some(StateKind::Succeeded));
    }
}
