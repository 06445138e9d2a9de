//! What is refused, where, and with which words.

use super::{MINIMAL, places, told, with};

#[test]
fn a_mistake_is_shown_with_its_line_its_rule_and_what_was_meant() {
    let text = MINIMAL.replace("ready = \"queued\"", "reday = \"queued\"");
    assert_eq!(
        told(&text),
        "rowlock.toml has 2 mistakes\n\
         \n\
         rowlock.toml:6:1: stage thumbnail has no `ready`\n    \
         6 | [[stage]]\n      \
           | ^^^^^^^^^\n  \
           it says how the table shows that a row waits for this stage: ready = \"queued\"\n\
         \n\
         rowlock.toml:8:1: a [[stage]] has no key `reday`\n    \
         8 | reday = \"queued\"\n      \
           | ^^^^^\n  \
           it has name, ready, running, timeout and retry\n  \
           did you mean `ready`?"
    );
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let text = with("order = []\nwhere = 7", "timeout = 10\n[limits]\nmax_retries = 0\nstale_after = \"soon\"");
    assert_eq!(places(&text), [(1, 9), (2, 9), (12, 11), (14, 15), (15, 15)]);
    let told = told(&text);
    for part in [
        "rowlock.toml has 5 mistakes",
        "`order` is an empty list",
        "`where` is an integer",
        "`timeout` is 10, without a unit",
        "`max_retries` is 0",
        "`stale_after` is \"soon\": it does not begin with a whole number",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    for (top, end, suggestion) in [
        ("failled = \"x\"", "", "did you mean `failed`?"),
        ("done = \"x\"", "", "did you mean `succeeded`?"),
        ("max_retries = 5", "", "`max_retries` belongs to [limits]"),
        ("", "failed = \"x\"", "`failed` belongs to the top of the file"),
        ("", "[limits]\nmax-retries = 5", "did you mean `max_retries`?"),
        ("", "[columns]\nattempts = \"tries\"", "did you mean `retry_count`?"),
        ("", "[columns]\nretry_count = { name = \"tries\", type = \"int\" }", "did you mean `as`?"),
        ("", "[on]\nclaimed = { a = \"1\" }", "did you mean `claim`?"),
        ("", "[limits.retry]\nkind = \"constant\"\ndeley = \"1s\"", "did you mean `delay`?"),
        ("failed = { iss = \"x\", set = { a = \"1\" } }", "", "did you mean `is`?"),
    ] {
        let told = told(&with(top, end));
        assert!(told.contains("has no key"), "{told}");
        assert!(told.contains(suggestion), "{suggestion}: {told}");
    }
}

#[test]
fn a_key_that_is_like_no_other_has_no_suggestion() {
    assert!(!told(&with("colour = \"blue\"", "")).contains("did you mean"));
}

#[test]
fn what_every_file_has_is_missed() {
    let told = told("");
    for key in ["pipeline", "table", "key", "succeeded", "stage"] {
        assert!(told.contains(&format!("the file has no `{key}`")), "{key}: {told}");
    }
    let told = super::told(&MINIMAL.replace("running = \"processing\"\n", ""));
    assert!(told.contains("stage thumbnail has no `running`") && told.contains("{ own = true }"), "{told}");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for (top, end, part) in [
        ("database = 5", "", "`database` is an integer"),
        ("existing = true", "", "`existing` is a boolean"),
        ("existing = \"redy\"", "", "did you mean \"ready\"?"),
        ("failed = 1.5", "", "`failed` is a float"),
        ("failed = [\"x\", 1.5]", "", "`failed` has a float"),
        ("failed = 2026-01-01", "", "`failed` is a datetime"),
        ("ignored = { own = true }", "", "`ignored` has no words"),
        ("without_ready_default = \"true\"", "", "without quotes"),
        ("on = 5", "", "`on` is an integer"),
        ("limits = []", "", "`limits` is a list"),
        ("", "[on]\nclaim = { a = 1 }", "the value of a column is SQL, in quotes"),
        ("", "[columns]\nstatus = 5", "`status` is an integer"),
        ("", "[columns]\nstatus = { as = \"enun\" }", "did you mean \"enum\"?"),
        ("", "[columns]\nretry_count = { name = \"a\", as = \"epoch_s\" }", "this role has one form only"),
        ("", "[columns]\nretry_count = { name = \"a\", none = 0 }", "there is no value for none"),
        ("", "[columns]\nretry_after = {}", "`retry_after` says nothing"),
        ("", "[limits]\nmax_retries = \"5\"", "`max_retries` is a text in quotes"),
        ("", "[limits]\nretry = { kind = \"constant\", delay = \"1s\", jitter = 2.0 }", "`jitter` is 2"),
        ("", "[limits]\nretry = { kind = \"constant\", base = \"1s\" }", "`retry` has no `delay`"),
        (
            "",
            "[limits]\nretry = { kind = \"constant\", delay = \"1s\", cap = \"2s\" }",
            "`cap` belongs to another kind",
        ),
        ("", "[limits]\nretry = { kind = \"listed\", delays = [] }", "`delays` is no list of durations"),
        ("", "[limits]\nretry = { base = \"1s\" }", "`retry` has no `kind`"),
        ("", "timeout = \"0s\"", "`timeout` is zero"),
    ] {
        let told = told(&with(top, end));
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_state_says_one_thing_wholly() {
    for (failed, part) in [
        ("[]", "`failed` is an empty list"),
        ("{}", "`failed` does not say one thing"),
        ("{ is = \"x\" }", "`failed` has `is` without `set`"),
        ("{ set = { x = \"1\" } }", "`failed` has `set` without `is`"),
        ("{ is = \"x\", set = {} }", "`failed` has an empty `set`"),
        ("{ is = \"\", set = { x = \"1\" } }", "`is` is empty"),
        ("{ is = \"x\", set = { x = true } }", "`x` is a boolean"),
        ("{ is = \"x\", set = { x = \"1\" }, own = true }", "`own` stands beside `is` and `set`"),
        ("{ own = false }", "`own` is false"),
        ("[{ own = true }]", "`failed` has a state of Rowlock's own among its words"),
        ("[{ is = \"x\" }]", "`failed` has SQL among its words"),
    ] {
        let told = told(&with(&format!("failed = {failed}"), ""));
        assert!(told.contains(part), "{failed}: {told}");
    }
}

#[test]
fn a_word_says_one_state() {
    let text = with("failed = [\"failed\", \"queued\"]", "");
    let told = told(&text);
    assert!(told.contains("`failed` and `ready` of stage thumbnail have the same word, \"queued\""), "{told}");
    // The second of the two is marked.
    assert_eq!(places(&text), [(9, 9)]);
    let told = super::told(&with("failed = [\"x\", \"x\"]", ""));
    assert!(told.contains("`failed` has the word \"x\" twice"), "{told}");
    let told = super::told(&with("ignored = [\"completed\"]", ""));
    assert!(told.contains("`ignored` and `succeeded` have the same word, \"completed\""), "{told}");
}

#[test]
fn words_of_one_column_are_of_one_type() {
    let told = told(&with("failed = 4", ""));
    assert!(told.contains("has the word \"completed\""), "{told}");
    let told = super::told(&with("", "[columns]\nstatus = { as = \"integer\" }"));
    assert!(told.contains("rowlock.toml has 3 mistakes"), "{told}");
    assert!(told.contains("by its type in [columns] they are whole numbers, without quotes"), "{told}");
}

#[test]
fn tables_that_cannot_be_meant_are_refused() {
    for (table, part) in [
        ("a.b.c", "it has more than one dot"),
        (".b", "a part is empty"),
        ("a.", "a part is empty"),
        ("a b. c", "a part begins or ends with a blank"),
        ("\\\"a", "its quotes do not end"),
        ("\\\"a\\\"b", "neither a dot nor the end"),
        ("rowlock_meta", "a table of Rowlock's own"),
        ("media.rowlock_stages", "a table of Rowlock's own"),
        ("sqlite_master", "a table of the database's own"),
        ("pg_catalog.pg_class", "a table of the database's own"),
        ("", "`table` is empty"),
    ] {
        let told = told(&MINIMAL.replace("table = \"videos\"", &format!("table = \"{table}\"")));
        assert!(told.contains(part), "{table}: {told}");
    }
}

#[test]
fn two_stages_of_one_name_are_refused() {
    let text = with("", "[[stage]]\nname = \"thumbnail\"\nready = \"a\"\nrunning = \"b\"");
    assert!(told(&text).contains("two stages have the name \"thumbnail\""));
    let told = told(&MINIMAL.replace("[[stage]]", "[stage]"));
    assert!(told.contains("write [[stage]]"), "{told}");
}

#[test]
fn an_event_writes_a_column_once() {
    let text = with("", "[on]\nclaim = { a = \"1\" }\nevery_move = { a = \"2\" }");
    assert!(told(&text).contains("`every_move` and another event both write \"a\""));
    assert_eq!(places(&text), [(13, 20)]);
}
