//! From the words of a status column to the states and stages that they say.

use super::carrier::{Carrier, FoundWord};
use super::proposal::{Confidence, Proposed, StageProposal, State, Word};
use super::stages::{Chain, Staged, chain, staged};
use super::words::{Meaning, Reading, is_ready_again, read};
use crate::survey::{Database, TypeKind};

/// What a status column says.
#[derive(Debug, Default)]
pub(super) struct States {
    pub(super) stages: Vec<StageProposal>,
    pub(super) succeeded: Proposed<State>,
    pub(super) failed: Proposed<State>,
    pub(super) cancelled: Proposed<State>,
    pub(super) ignored: Proposed<Vec<Word>>,
    /// The word of "done", for columns that are named after it.
    pub(super) done_word: Option<String>,
}

/// A word with what it is read as.
#[derive(Debug, Clone)]
pub(super) struct ReadWord<'a> {
    pub(super) found: &'a FoundWord,
    pub(super) reading: Option<Reading>,
}

impl ReadWord<'_> {
    pub(super) fn is(&self, meaning: Meaning) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.meaning == meaning)
    }

    fn is_by_form(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.is_by_form)
    }
}

/// The states of a status column.
pub(super) fn states(carrier: &Carrier<'_>, database: Database) -> States {
    if carrier.column.kind.is_integer() && carrier.words.iter().all(|word| read(&word.name).is_none()) {
        return unnamed_numbers(carrier);
    }
    let mut states = States::default();
    let suffixed = suffixed_failures(carrier);
    let words: Vec<&FoundWord> = carrier.words.iter().filter(|word| !suffixed.contains(&word.name)).collect();
    let mut words = readings(&words);
    let stage_name = carrier.prefix();

    match staged(carrier, &words) {
        Some(Staged { stages, succeeded, used }) => {
            states.stages = stages;
            states.succeeded = succeeded;
            words.retain(|word| !used.contains(&word.found.word));
        }
        None => match chain(carrier, &words, stage_name.as_deref()) {
            Some(Chain { stages, succeeded, used }) => {
                states.stages = stages;
                states.succeeded = succeeded;
                words.retain(|word| !used.contains(&word.found.word));
            }
            None => single_stage(carrier, &mut words, stage_name, &mut states),
        },
    }

    let failed: Vec<&FoundWord> = take(&mut words, Meaning::Failed);
    states.failed = failed_state(carrier, database, &failed, &states, &suffixed);
    let cancelled: Vec<&FoundWord> = take(&mut words, Meaning::Cancelled);
    states.cancelled = cancelled_state(carrier, &cancelled);
    let ignored: Vec<&FoundWord> = take(&mut words, Meaning::Ignored);
    let left: Vec<&FoundWord> = words.iter().map(|word| word.found).collect();
    states.ignored = ignored_words(carrier, &ignored, &left);
    if let Some(State::Words(words)) = states.succeeded.value.as_ref()
        && let Some(Word::Text(word)) = words.first()
    {
        states.done_word = Some(word.clone());
    }
    states
}

/// Numbers that nothing names: their meaning is in the owner's programs alone.
fn unnamed_numbers(carrier: &Carrier<'_>) -> States {
    fn ask(what: &str) -> Proposed<State> {
        Proposed::default().todo(format!("which number says that {what}?"))
    }
    let left: Vec<&FoundWord> = carrier.words.iter().collect();
    let stage = StageProposal {
        name: carrier.prefix().unwrap_or_else(|| "process".to_owned()),
        ready: ask("a row waits for a worker"),
        running: ask("a worker has the row"),
    };
    States {
        stages: vec![stage],
        succeeded: ask("a row is done"),
        failed: ask("a row has failed"),
        cancelled: ask("a row was cancelled"),
        ignored: ignored_words(carrier, &[], &left),
        done_word: None,
    }
}

/// Reads the words, each in the light of the others.
fn readings<'a>(words: &[&'a FoundWord]) -> Vec<ReadWord<'a>> {
    let mut read_words: Vec<ReadWord<'a>> =
        words.iter().copied().map(|found| ReadWord { found, reading: read(&found.name) }).collect();
    let has_other = |words: &[ReadWord<'a>], meaning: Meaning, name: &str| {
        words.iter().any(|word| {
            word.is(meaning) && !word.is_by_form() && !last_token(&word.found.name).eq_ignore_ascii_case(name)
        })
    };
    // "ready" beside "pending" is what the work makes of a row, not what waits for it.
    if has_other(&read_words, Meaning::Ready, "ready") && !has_other(&read_words, Meaning::Succeeded, "") {
        let has_more_ready = |stage: &Option<String>| {
            words.iter().filter_map(|word| read(&word.name).map(|reading| (word, reading))).any(|(word, reading)| {
                reading.meaning == Meaning::Ready
                    && !reading.is_by_form
                    && reading.stage == *stage
                    && last_token(&word.name) != "ready"
            })
        };
        for word in &mut read_words {
            let is_ready = last_token(&word.found.name) == "ready";
            if let Some(reading) = word.reading.as_mut().filter(|_| is_ready)
                && has_more_ready(&reading.stage)
            {
                reading.meaning = Meaning::Succeeded;
            }
        }
    }
    read_words
}

fn last_token(name: &str) -> String {
    super::words::tokens(name).pop().unwrap_or_default()
}

/// The words of one meaning, taken out.
fn take<'a>(words: &mut Vec<ReadWord<'a>>, meaning: Meaning) -> Vec<&'a FoundWord> {
    // A word of the meaning alone comes before one that names something beside it.
    let mut taken: Vec<&ReadWord<'a>> = words.iter().filter(|word| word.is(meaning)).collect();
    taken.sort_by_key(|word| word.reading.as_ref().is_some_and(|reading| reading.stage.is_some()));
    let taken: Vec<&'a FoundWord> = taken.into_iter().map(|word| word.found).collect();
    words.retain(|word| !word.is(meaning));
    taken
}

fn single_stage(carrier: &Carrier<'_>, words: &mut Vec<ReadWord<'_>>, stage_name: Option<String>, states: &mut States) {
    let ready = ready_state(carrier, words);
    // Beside another word for running, and without one for done, "active" is what the work makes of a row.
    let running_words = words.iter().filter(|word| word.is(Meaning::Running)).count();
    let is_done_active = running_words > 1 && !words.iter().any(|word| word.is(Meaning::Succeeded));
    let active = words.iter().find(|word| is_done_active && word.found.name.eq_ignore_ascii_case("active"));
    let active = active.map(|word| word.found.clone());
    if let Some(active) = &active {
        words.retain(|word| word.found.word != active.word);
    }
    let mut running: Vec<ReadWord<'_>> = words.iter().filter(|word| word.is(Meaning::Running)).cloned().collect();
    running.sort_by_key(ReadWord::is_by_form);
    words.retain(|word| !word.is(Meaning::Running));
    let name = stage_name.or_else(|| match running.as_slice() {
        [only] if only.is_by_form() => {
            only.reading.as_ref().and_then(|reading| reading.stage.as_deref()).map(super::words::verb)
        }
        _ => None,
    });
    let running = running_state(carrier, &running.iter().map(|word| word.found).collect::<Vec<_>>());
    states.succeeded = match active {
        Some(active) => words_state(carrier, &[&active], Confidence::Guess)
            .todo(format!("is \"{}\" what a row is when its work is done? No other word says so", active.name)),
        None => succeeded_state(carrier, words),
    };
    states.stages = vec![StageProposal { name: name.unwrap_or_else(|| "process".to_owned()), ready, running }];
}

/// A state of words, with the rows of each as evidence.
pub(super) fn words_state(carrier: &Carrier<'_>, words: &[&FoundWord], confidence: Confidence) -> Proposed<State> {
    let state = State::Words(words.iter().map(|word| word.word.clone()).collect());
    let mut proposed = Proposed::new(state, confidence);
    for word in words {
        proposed = proposed.because(rows_sentence(carrier, word));
    }
    proposed
}

/// `67 of 200 rows are "queued"`.
pub(super) fn rows_sentence(carrier: &Carrier<'_>, word: &FoundWord) -> String {
    let shown = match &word.word {
        Word::Null => "NULL".to_owned(),
        Word::Text(text) => format!("{text:?}"),
        Word::Integer(number) if number.to_string() == word.name => word.name.clone(),
        Word::Integer(number) => format!("{number} ({})", word.name),
    };
    let seen = match word.rows {
        _ if carrier.sampled == 0 => {
            let listed = carrier.list.as_ref().map(|list| format!("{shown} is in {list}"));
            return listed.unwrap_or_else(|| format!("{shown} is not in the table yet, which has no rows"));
        }
        Some(1) => carrier.rows_in_words(word.rows) + " is",
        _ => carrier.rows_in_words(word.rows) + " are",
    };
    match (&carrier.list, word.rows) {
        (Some(list), None) => format!("{seen} {shown}; {list} lists it"),
        (Some(list), Some(0)) => format!("{shown} is in {list}"),
        _ => format!("{seen} {shown}"),
    }
}

fn ready_state(carrier: &Carrier<'_>, words: &mut Vec<ReadWord<'_>>) -> Proposed<State> {
    let default = carrier.column.default_literal();
    let is_default = |found: &FoundWord| match &found.word {
        Word::Text(text) => Some(text) == default.as_ref(),
        Word::Integer(number) => Some(number.to_string()) == default,
        Word::Null => false,
    };
    let ready: Vec<&FoundWord> = take(words, Meaning::Ready);
    let (again, mut first): (Vec<&FoundWord>, Vec<&FoundWord>) =
        ready.iter().copied().partition(|word| is_ready_again(&word.name) && !is_default(word));
    first.sort_by_key(|word| !is_default(word));
    let mut proposed = match (first.as_slice(), again.as_slice()) {
        ([], []) => {
            // The default of a status column is what a new row is: nearly always ready.
            let unread = words.iter().find(|word| word.reading.is_none() && is_default(word.found));
            let Some(found) = unread.map(|word| word.found) else {
                return Proposed::default().todo(
                    "which word says that a row waits for a worker? No word of the column does by its usual meaning",
                );
            };
            words.retain(|word| word.found.word != found.word);
            words_state(carrier, &[found], Confidence::Guess)
                .todo("the default of the column is usually the word for what waits: confirm it")
        }
        ([], [_]) | ([_], _) => {
            let all: Vec<&FoundWord> = first.iter().chain(&again).copied().collect();
            words_state(carrier, &all, Confidence::Likely)
        }
        _ => {
            let all: Vec<&FoundWord> = first.iter().chain(&again).copied().collect();
            let names: Vec<String> = all.iter().map(|word| format!("{:?}", word.name)).collect();
            words_state(carrier, &all, Confidence::Guess).todo(format!(
                "do workers take rows of each of {}? Keep those that they take (a released row gets the first), and \
                 put the others into `ignored`, or give them a [[stage]] of their own",
                names.join(", ")
            ))
        }
    };
    if let Some(default) = &default
        && ready.iter().any(|word| is_default(word))
    {
        proposed = proposed.because(format!("it is the default of the column: {default:?}"));
    }
    proposed
}

/// The running words of a stage; without one, a column of Rowlock's own says it.
pub(super) fn running_state(carrier: &Carrier<'_>, running: &[&FoundWord]) -> Proposed<State> {
    match running {
        [] => {
            let own = Proposed::new(State::Own, Confidence::Likely);
            match &carrier.list {
                Some(list) => own.because(format!("{list} has no word for it: a column of Rowlock's own says it")),
                None => own
                    .because("no row says that work is going on: a column of Rowlock's own says it")
                    .todo("if your other programs know a word for it, write it here"),
            }
        }
        [_] => words_state(carrier, running, Confidence::Likely),
        _ => words_state(carrier, running, Confidence::Likely).todo(
            "all of these are read as in progress, and the first is written; if they are steps of their own, give each \
             a [[stage]]",
        ),
    }
}

fn succeeded_state(carrier: &Carrier<'_>, words: &mut Vec<ReadWord<'_>>) -> Proposed<State> {
    let (by_form, named): (Vec<ReadWord<'_>>, Vec<ReadWord<'_>>) = words
        .iter()
        .filter(|word| word.is(Meaning::Succeeded))
        .cloned()
        .partition(|word| word.is_by_form() || word.reading.as_ref().is_some_and(|r| r.stage.is_some()));
    let chosen = if named.is_empty() { &by_form } else { &named };
    let chosen: Vec<&FoundWord> = chosen.iter().map(|word| word.found).collect();
    let proposed = match chosen.as_slice() {
        [] => {
            return Proposed::default()
                .todo("which word says that a row is done? No word of the column does by its usual meaning");
        }
        [only] if named.is_empty() => words_state(carrier, &chosen, Confidence::Likely)
            .because(format!("no other word says \"done\", and {:?} has the form of one that does", only.name)),
        [_] => words_state(carrier, &chosen, Confidence::Likely),
        _ => words_state(carrier, &chosen, Confidence::Guess)
            .todo("which of these does a worker write when it is done? All are read as done, and the first is written"),
    };
    words.retain(|word| !chosen.iter().any(|chosen| chosen.word == word.found.word));
    proposed
}

/// Values such as `failed: 502`: a word for failed with a free text after it.
fn suffixed_failures(carrier: &Carrier<'_>) -> Vec<String> {
    let is_suffixed = |name: &&str| failure_stem(name).is_some_and(|stem| stem.len() < name.len());
    if carrier.list.is_some() {
        return Vec::new();
    }
    carrier.words.iter().map(|word| word.name.as_str()).filter(is_suffixed).map(str::to_owned).collect()
}

/// The word for failed with which a value begins, up to a sign that no word has.
fn failure_stem(name: &str) -> Option<&str> {
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(name.len());
    let stem = &name[..end];
    let is_failed = read(stem).is_some_and(|reading| reading.meaning == Meaning::Failed && reading.stage.is_none());
    is_failed.then_some(stem)
}

fn failed_state(
    carrier: &Carrier<'_>,
    database: Database,
    failed: &[&FoundWord],
    states: &States,
    suffixed: &[String],
) -> Proposed<State> {
    let column = super::sql::identifier(&carrier.column.name);
    if let Some(stem) = suffixed.first().and_then(|name| failure_stem(name)) {
        let rows = carrier.words.iter().filter(|word| failure_stem(&word.name) == Some(stem));
        let rows: i64 = rows.filter_map(|word| word.rows).sum();
        let pattern = stem.replace('_', "\\_");
        let escape = if pattern == stem { "" } else { " escape '\\'" };
        let is = format!("{column} like '{pattern}%'{escape}");
        let set = vec![(carrier.column.name.clone(), format!("'{stem}'"))];
        return Proposed::new(State::Sql { is, set }, Confidence::Likely)
            .because(format!("{} begin with {stem:?}, as {:?}", carrier.rows_in_words(Some(rows)), suffixed[0]))
            .todo("such rows are not tried again; if your programs take some of them up, say which in `ready`");
    }
    match failed {
        [] => match &carrier.list {
            Some(list) => Proposed::default()
                .because(format!("{list} has no word for \"failed\": a column of Rowlock's own says it")),
            None => Proposed::default()
                .because("no row says that it failed: a column of Rowlock's own says it")
                .todo("if your other programs know a word for it, write it here: failed = \"…\""),
        },
        [_] => words_state(carrier, failed, Confidence::Likely),
        _ => failed_by_stage(carrier, database, failed, states).unwrap_or_else(|| {
            words_state(carrier, failed, Confidence::Likely)
                .todo("all of these are read as failed, and the first is written: confirm which it is")
        }),
    }
}

/// Where each stage has a failed word of its own, the word that is written depends on the stage.
fn failed_by_stage(
    carrier: &Carrier<'_>,
    database: Database,
    failed: &[&FoundWord],
    states: &States,
) -> Option<Proposed<State>> {
    let column = super::sql::identifier(&carrier.column.name);
    let stage_of = |word: &FoundWord| read(&word.name).and_then(|reading| reading.stage);
    let literal = |word: &Word| match word {
        Word::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Word::Integer(number) => number.to_string(),
        Word::Null => "null".to_owned(),
    };
    let mut cases = Vec::new();
    for word in failed {
        let stage = states.stages.iter().find(|stage| Some(&stage.name) == stage_of(word).as_ref())?;
        let of_stage: Vec<String> = [&stage.ready, &stage.running]
            .into_iter()
            .filter_map(|state| match state.written() {
                Some(State::Words(words)) => Some(words),
                Some(State::Sql { .. } | State::Own) | None => None,
            })
            .flatten()
            .map(literal)
            .collect();
        if of_stage.is_empty() {
            return None;
        }
        cases.push((of_stage.join(", "), literal(&word.word)));
    }
    let (_, last) = cases.pop()?;
    let whens: Vec<String> =
        cases.iter().map(|(words, failed)| format!("when {column} in ({words}) then {failed}")).collect();
    let case = format!("case {} else {last} end", whens.join(" "));
    let value = match (database, carrier.column.kind) {
        (Database::Postgres, TypeKind::Enum) => format!("({case})::{}", carrier.column.type_name),
        _ => case,
    };
    let all: Vec<String> = failed.iter().map(|word| literal(&word.word)).collect();
    let state =
        State::Sql { is: format!("{column} in ({})", all.join(", ")), set: vec![(carrier.column.name.clone(), value)] };
    let mut proposed = Proposed::new(state, Confidence::Likely);
    for word in failed {
        proposed = proposed.because(rows_sentence(carrier, word));
    }
    Some(proposed.because("each stage has a word of its own for it"))
}

fn cancelled_state(carrier: &Carrier<'_>, cancelled: &[&FoundWord]) -> Proposed<State> {
    match cancelled {
        [] => Proposed::default().because("no word says \"cancelled\": without one, `cancel` is refused"),
        [_] => words_state(carrier, cancelled, Confidence::Likely),
        _ => words_state(carrier, cancelled, Confidence::Likely)
            .todo("all of these are read as cancelled, and the first is written: confirm which it is"),
    }
}

/// The words that say "not for a worker", and a question for each that says nothing.
fn ignored_words(carrier: &Carrier<'_>, ignored: &[&FoundWord], left: &[&FoundWord]) -> Proposed<Vec<Word>> {
    let mut proposed = Proposed::<Vec<Word>>::default();
    if !ignored.is_empty() {
        let words = ignored.iter().map(|word| word.word.clone()).collect();
        proposed = Proposed::new(words, Confidence::Likely);
    }
    for word in ignored {
        proposed = proposed.because(rows_sentence(carrier, word));
    }
    for word in left {
        proposed = proposed.todo(format!(
            "{}: add the word to the state that it says, or here if no worker takes such rows",
            rows_sentence(carrier, word)
        ));
    }
    if carrier.nulls > 0 {
        proposed = proposed.todo(format!(
            "{} are NULL in {:?}: add {{ null = true }} to the state that it says, or here if no worker takes such \
             rows",
            carrier.rows_in_words(Some(carrier.nulls)),
            carrier.column.name
        ));
    }
    proposed
}
