//! The functions that the fuzzer feeds: everything in the library that reads names, words and limits from its user. A
//! panic, or a statement with an unquoted name, is a finding. The same functions replay the corpus in `make test`.

use std::time::Duration;

use rowlock::pipeline::RetryPolicy;
use rowlock::store::postgres::PostgresStore;
use rowlock::{Pipeline, PipelineBuilder, Role, Stage, Status, TableName};

/// Cuts bytes into pieces at 0xFF, which no UTF-8 text contains.
fn pieces(data: &[u8]) -> impl Iterator<Item = String> {
    data.split(|byte| *byte == 0xff).map(|piece| String::from_utf8_lossy(piece).into_owned())
}

/// A pipeline with these names: rejected with a reason, or usable and quoted.
pub fn pipeline(data: &[u8]) {
    let names: Vec<String> = pieces(data).collect();
    let name = |place: usize| names.get(place).cloned().unwrap_or_default();
    let built = Pipeline::builder(name(0))
        .table(TableName::new(name(1)))
        .key(name(2))
        .column(Role::Status, name(3))
        .column(Role::RetryCount, name(4))
        .succeeded(name(5))
        .failed(name(6));
    let built = names.iter().skip(7).fold(built, |builder: PipelineBuilder, stage| {
        builder.add_stage(Stage::new(stage.clone()).with_ready(stage.to_lowercase()))
    });
    match built.build() {
        Ok(pipeline) => check_statements(pipeline, &names),
        Err(error) => assert!(error.to_string().contains(", but "), "a refusal without its rule: {error}"),
    }
}

/// Every statement is complete without its quoted names: no part of a name is left that is not in the statement of any
/// pipeline.
fn check_statements(pipeline: Pipeline, names: &[String]) {
    let plain = Pipeline::builder("p").table("t").key("k").stage("S").build().expect("a valid pipeline");
    let (plain, store) = (store(plain), store(pipeline));
    for statement in store.statement_names() {
        let sql = store.sql(statement).expect("a listed statement");
        let bare = without_quoted(sql).unwrap_or_else(|| panic!("{statement}: a quote is left open: {sql}"));
        let ordinary = plain.sql(statement).and_then(without_quoted).expect("a plain pipeline has plain statements");
        for name in names.iter().filter(|name| name.chars().any(|c| !c.is_ascii_alphanumeric() && c != '_')) {
            let leaks = bare.contains(name.as_str()) && !ordinary.contains(name.as_str());
            // Short names occur in any SQL.
            assert!(name.chars().count() < 6 || !leaks, "{statement}: {name:?} is not quoted: {sql}");
        }
    }
}

/// A store that never connects.
fn store(pipeline: Pipeline) -> PostgresStore {
    // Its pool needs a runtime nevertheless.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _inside = runtime.enter();
    PostgresStore::with_options(sqlx::postgres::PgConnectOptions::new_without_pgpass(), pipeline)
}

/// A statement without its quoted identifiers and literals; `None` if one has no end.
fn without_quoted(sql: &str) -> Option<String> {
    let mut bare = String::with_capacity(sql.len());
    let mut rest = sql.chars();
    while let Some(c) = rest.next() {
        if c != '"' && c != '\'' {
            bare.push(c);
            continue;
        }
        // A doubled quote ends one quoted part and begins the next: the result is the same.
        rest.by_ref().find(|next| *next == c)?;
    }
    Some(bare)
}

/// Words and numbers: every word leads back to its status, and no policy overflows.
pub fn words(data: &[u8]) {
    let (numbers, rest) = data.split_at(data.len().min(16));
    let number = |place: usize| numbers.iter().skip(place).take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let words: Vec<String> = pieces(rest).collect();
    let word = |place: usize| words.get(place).cloned().unwrap_or_else(|| format!("W{place}"));
    let policy = RetryPolicy::exponential(Duration::from_millis(number(0) >> 8), Duration::from_millis(number(8)));
    for attempt in [0, 1, 2, 31, 32, 63, 64, u32::MAX] {
        let delay = policy.delay(attempt);
        assert!(delay <= rowlock::limits::RETRY_DELAY_MAX, "{delay:?} after {attempt} attempts");
    }
    let pipeline = Pipeline::builder("p")
        .table("t")
        .key("k")
        .add_stage(Stage::new("A").with_ready(word(0)).with_running(word(1)))
        .cancelled(word(2))
        .retry(policy)
        .max_retries(u32::try_from(number(4) & 0xffff_ffff).unwrap_or(u32::MAX))
        .stale_after(Duration::from_millis(number(2) >> 16))
        .build();
    let Ok(pipeline) = pipeline else { return };
    for status in pipeline.statuses() {
        assert_eq!(pipeline.status(pipeline.word(status)), Some(status));
    }
    for other in &words {
        let status: Option<Status> = pipeline.status(other);
        assert_eq!(status.is_some(), pipeline.words().contains(&other.as_str()));
    }
}
