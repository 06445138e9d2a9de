//! Several stages in one status column: by the words' prefixes, or by the forms of their verbs.

use super::carrier::{Carrier, FoundWord};
use super::proposal::{Confidence, Proposed, StageProposal, State, Word};
use super::states::{ReadWord, running_state, words_state};
use super::words::{Meaning, Reading, verb};

/// Stages that are named in the words: `SCRAPE_PENDING`, `EMBED_PENDING`.
pub(super) struct Staged {
    pub(super) stages: Vec<StageProposal>,
    pub(super) succeeded: Proposed<State>,
    pub(super) used: Vec<Word>,
}

/// Stages whose result is what the next one begins with: transcribed, summarized.
pub(super) struct Chain {
    pub(super) stages: Vec<StageProposal>,
    pub(super) succeeded: Proposed<State>,
    pub(super) used: Vec<Word>,
}

const CONFIRM_ORDER: &str = "nothing tells the order of the stages: put them into the order of the work";

/// The stages that the words name; `None` if they name none.
pub(super) fn staged(carrier: &Carrier<'_>, words: &[ReadWord<'_>]) -> Option<Staged> {
    let qualified = |word: &ReadWord<'_>| {
        word.reading.as_ref().filter(|reading| reading.is_qualified()).and_then(|reading| reading.stage.clone())
    };
    let mut names: Vec<String> = Vec::new();
    for word in words.iter().filter(|word| word.is(Meaning::Running)) {
        if let Some(name) = qualified(word)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    let plain_ready = words.iter().any(|word| word.is(Meaning::Ready) && qualified(word).is_none());
    if names.is_empty() || (names.len() == 1 && plain_ready) {
        return None;
    }
    let of = |stage: &str, meaning: Meaning| -> Vec<&FoundWord> {
        let is_of = |word: &&ReadWord<'_>| word.is(meaning) && qualified(word).as_deref() == Some(stage);
        words.iter().filter(is_of).map(|word| word.found).collect()
    };
    let plain = |meaning: Meaning| -> Vec<&FoundWord> {
        let is_plain = |word: &&ReadWord<'_>| {
            word.is(meaning) && word.reading.as_ref().is_some_and(|reading| reading.stage.is_none())
        };
        words.iter().filter(is_plain).map(|word| word.found).collect()
    };
    let mut used: Vec<Word> = Vec::new();
    let mut stages = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut ready = of(name, Meaning::Ready);
        if ready.is_empty() {
            ready = match index.checked_sub(1).and_then(|before| names.get(before)) {
                Some(before) => of(before, Meaning::Succeeded),
                None => plain(Meaning::Ready),
            };
        }
        let running = of(name, Meaning::Running);
        used.extend(ready.iter().chain(&running).map(|word| word.word.clone()));
        let mut proposed = match ready.as_slice() {
            [] => Proposed::default().todo(format!("which word says that a row waits for the stage {name}?")),
            words => words_state(carrier, words, Confidence::Likely),
        };
        if index == 0 && names.len() > 1 && carrier.list.is_none() {
            proposed = proposed.todo(CONFIRM_ORDER);
        }
        stages.push(StageProposal { name: name.clone(), ready: proposed, running: running_state(carrier, &running) });
    }
    let mut done = plain(Meaning::Succeeded);
    if done.is_empty()
        && let Some(last) = names.last()
    {
        done = of(last, Meaning::Succeeded);
    }
    used.extend(done.iter().map(|word| word.word.clone()));
    let succeeded = match done.as_slice() {
        [] => Proposed::default().todo("which word says that all stages are done?"),
        [_] => words_state(carrier, &done, Confidence::Likely),
        _ => words_state(carrier, &done, Confidence::Guess)
            .todo("which of these does a worker write when all stages are done? Put it first"),
    };
    Some(Staged { stages, succeeded, used })
}

/// The stages that the forms of the words show: each word that says what goes on leads to one that says what is done.
/// `None` if they show no more than one stage.
pub(super) fn chain(carrier: &Carrier<'_>, words: &[ReadWord<'_>], name: Option<&str>) -> Option<Chain> {
    let form = |word: &ReadWord<'_>, meaning: Meaning| {
        word.is(meaning) && word.reading.as_ref().is_some_and(|reading| reading.is_by_form)
    };
    let running: Vec<&ReadWord<'_>> = words.iter().filter(|word| word.is(Meaning::Running)).collect();
    let results: Vec<&ReadWord<'_>> = words.iter().filter(|word| form(word, Meaning::Succeeded)).collect();
    let is_final = |word: &&ReadWord<'_>| word.is(Meaning::Succeeded) && !form(word, Meaning::Succeeded);
    let finals: Vec<&FoundWord> = words.iter().filter(is_final).map(|word| word.found).collect();
    let ready: Vec<&FoundWord> = words.iter().filter(|word| word.is(Meaning::Ready)).map(|word| word.found).collect();
    let has_all_results = match finals.len() {
        0 => running.len() == results.len(),
        1 => running.len() == results.len() + 1,
        _ => false,
    };
    if results.is_empty() || running.len() < 2 || !has_all_results || ready.len() != 1 {
        return None;
    }
    let links = links(carrier, &running, &results)?;
    let is_ordered = carrier.list.is_some() || links.len() == 2;
    let mut stages = Vec::new();
    let mut used = vec![ready[0].word.clone()];
    let mut waits: &FoundWord = ready[0];
    for (index, (running, result)) in links.iter().enumerate() {
        let reading = result.or(Some(*running)).and_then(|word| word.reading.as_ref());
        let by_form = |reading: &Reading| reading.stage.as_deref().filter(|_| reading.is_by_form).map(verb);
        let stage_name = reading.and_then(by_form).or_else(|| name.map(str::to_owned));
        let mut proposed = words_state(carrier, &[waits], Confidence::Likely);
        if index > 0 {
            proposed = proposed.because("the stage before leaves a row so");
        } else if !is_ordered {
            proposed = proposed.todo(CONFIRM_ORDER);
        } else {
            proposed = proposed.todo("the stages are read from the forms of the words: confirm them");
        }
        stages.push(StageProposal {
            name: stage_name.unwrap_or_else(|| format!("stage_{}", index + 1)),
            ready: proposed,
            running: running_state(carrier, &[running.found]),
        });
        used.push(running.found.word.clone());
        if let Some(result) = result {
            waits = result.found;
            used.push(result.found.word.clone());
        }
    }
    let done = finals.first().copied().unwrap_or(waits);
    used.push(done.word.clone());
    Some(Chain { stages, succeeded: words_state(carrier, &[done], Confidence::Likely), used })
}

/// A word for what goes on, with the word for its result, if it has one.
type Link<'a, 'w> = (&'a ReadWord<'w>, Option<&'a ReadWord<'w>>);

/// Matches what goes on with its results by their verbs. One of each may be left over: they belong together, and come
/// first if the word is a general one, such as "processing". Without a result, a word is the last.
fn links<'a, 'w>(
    carrier: &Carrier<'_>,
    running: &[&'a ReadWord<'w>],
    results: &[&'a ReadWord<'w>],
) -> Option<Vec<Link<'a, 'w>>> {
    let stem = |word: &ReadWord<'_>| word.reading.as_ref().and_then(|reading| reading.stage.clone());
    let result_of = |word: &ReadWord<'_>| results.iter().copied().find(|result| stem(result) == stem(word));
    let (matched, alone): (Vec<&'a ReadWord<'w>>, Vec<&'a ReadWord<'w>>) =
        running.iter().copied().partition(|word| result_of(word).is_some());
    let mut links: Vec<Link<'a, 'w>> = matched.iter().map(|word| (*word, result_of(word))).collect();
    let taken: Vec<&FoundWord> = links.iter().filter_map(|(_, result)| result.map(|result| result.found)).collect();
    let free: Vec<&'a ReadWord<'w>> = results.iter().copied().filter(|result| !taken.contains(&result.found)).collect();
    match (alone.as_slice(), free.as_slice()) {
        ([], []) => {}
        ([running], [result]) => links.insert(0, (*running, Some(*result))),
        ([running], []) => links.push((*running, None)),
        _ => return None,
    }
    if carrier.list.is_some() {
        let place = |word: &ReadWord<'_>| carrier.words.iter().position(|known| known == word.found);
        links.sort_by_key(|(running, _)| place(running));
    }
    Some(links)
}
