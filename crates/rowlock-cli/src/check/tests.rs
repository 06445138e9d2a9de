//! The check as a whole: tables with planted mistakes, and tables without any.

use rowlock::store::Store;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Pipeline, TableName};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::finding::Finding;
use super::{AttemptsMax, Connection, Format, Limits, Report, Roles, Severity, State, check_table, rules};
use crate::ExitStatus;
use crate::survey::{
    CheckConstraint, Database, Histogram, IndexInfo, Survey, SurveyColumn, TriggerInfo, TypeKind, sqlite,
};

fn words_column(name: &str, words: &[&str]) -> SurveyColumn {
    let values = words.iter().map(|word| (Some((*word).to_owned()), 10)).collect();
    SurveyColumn {
        values: Some(Histogram { sampled: 100, is_whole: true, values, has_more: false }),
        ..SurveyColumn::new(name, "text", TypeKind::Text)
    }
}

fn survey(columns: Vec<SurveyColumn>) -> Survey {
    Survey { columns, primary_key: vec!["id".to_owned()], ..Survey::empty(Database::Postgres, TableName::new("jobs")) }
}

async fn checked(schema: &str) -> Report {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database in memory");
    sqlx::raw_sql(AssertSqlSafe(schema.to_owned())).execute(&mut connection).await.expect("the schema is valid");
    of_table(&mut connection, "jobs").await
}

async fn of_table(connection: &mut SqliteConnection, table: &str) -> Report {
    let survey = sqlite::survey(connection, &TableName::new(table)).await.expect("the table is there");
    let roles = Roles::guess(&survey);
    let report = check_table(Connection::Sqlite(connection), &survey, &roles, Limits::default()).await;
    report.expect("the connection holds")
}

fn finding<'a>(report: &'a Report, rule: &str) -> &'a Finding {
    let found = report.findings.iter().find(|finding| finding.rule.id == rule);
    found.unwrap_or_else(|| panic!("no {rule} in\n{}", report.render(Format::Text)))
}

#[test]
fn roles_are_guessed_from_names_and_words() {
    let survey = survey(vec![
        SurveyColumn::new("id", "bigint", TypeKind::BigInt),
        words_column("status", &["queued", "processing", "done", "failed", "odd"]),
        SurveyColumn::new("processing_started_at", "timestamptz", TypeKind::Timestamptz),
        SurveyColumn::new("attempts", "integer", TypeKind::Integer),
        SurveyColumn::new("errorMessage", "text", TypeKind::Text),
        SurveyColumn::new("createdAt", "timestamptz", TypeKind::Timestamptz),
    ]);
    let guesses = Roles::guess(&survey);
    assert_eq!(guesses.len(), 1);
    let roles = &guesses[0];
    assert_eq!(roles.ready, State::of_words(["queued"]));
    assert_eq!(roles.running, State::of_words(["processing"]));
    assert_eq!(roles.lease.as_ref().map(|lease| lease.column.as_str()), Some("processing_started_at"));
    assert_eq!(roles.error.as_deref(), Some("errorMessage"));
    assert_eq!(roles.created.as_deref(), Some("createdAt"));
    assert!(roles.is_guess && !roles.is_kept_by_rowlock);
}

#[test]
fn each_status_column_is_a_reading_with_its_own_columns() {
    let survey = survey(vec![
        words_column("extraction_status", &["pending", "processing", "ready", "failed"]),
        words_column("embedding_status", &["not_applicable", "pending", "processing", "ready"]),
        SurveyColumn::new("extraction_started_at", "timestamptz", TypeKind::Timestamptz),
        SurveyColumn::new("embedding_started_at", "timestamptz", TypeKind::Timestamptz),
    ]);
    let leases: Vec<Option<String>> =
        Roles::guess(&survey).into_iter().map(|roles| roles.lease.map(|lease| lease.column)).collect();
    assert_eq!(leases, [Some("extraction_started_at".to_owned()), Some("embedding_started_at".to_owned())]);
}

#[test]
fn a_table_of_other_words_is_no_queue() {
    let columns = vec![words_column("visibility_status", &["public", "private"]), words_column("name", &["done"])];
    let survey = survey(columns);
    assert!(Roles::guess(&survey).is_empty());
}

/// What `prepare` makes on PostgreSQL, as a survey shows it.
fn rowlocks_own() -> Survey {
    let column = |name: &str, type_name: &str, kind, default: Option<&str>| SurveyColumn {
        is_nullable: default.is_none(),
        default: default.map(str::to_owned),
        ..SurveyColumn::new(name, type_name, kind)
    };
    let (text, time) = ("text", "timestamp with time zone");
    let now = Some("statement_timestamp()");
    let mut own = survey(vec![
        SurveyColumn { is_nullable: false, ..SurveyColumn::new("id", text, TypeKind::Text) },
        column("status", text, TypeKind::Text, Some("'PENDING'::text")),
        column("retry_count", "integer", TypeKind::Integer, Some("0")),
        column("reset_count", "integer", TypeKind::Integer, Some("0")),
        column("retry_after", time, TypeKind::Timestamptz, None),
        column("error_message", text, TypeKind::Text, None),
        column("heartbeat_at", time, TypeKind::Timestamptz, None),
        column("claim_token", "bigint", TypeKind::BigInt, None),
        column("claimed_by", text, TypeKind::Text, None),
        column("claimed_at", time, TypeKind::Timestamptz, None),
        column("resume_status", text, TypeKind::Text, None),
        column("created_at", time, TypeKind::Timestamptz, now),
        column("updated_at", time, TypeKind::Timestamptz, now),
    ]);
    own.columns[1].values = words_column("status", &["PENDING", "A_IN_PROGRESS", "SUCCEEDED", "FAILED"]).values;
    let index = |name: &str, columns: &[&str], predicate: Option<&str>| IndexInfo {
        name: name.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        predicate: predicate.map(str::to_owned),
        unique: predicate.is_none(),
        valid: true,
        definition: format!("CREATE INDEX {name} ON public.jobs USING btree ({})", columns.join(", ")),
    };
    let since = "COALESCE(retry_after, created_at, '-infinity'::timestamp with time zone)";
    let stopped = "COALESCE(status, '') <> ALL (ARRAY['PENDING'::text, 'A_IN_PROGRESS'::text, 'SUCCEEDED'::text])";
    own.indexes = vec![
        index("jobs_pkey", &["id"], None),
        index("rowlock_p_ready", &["status", since], Some("status = 'PENDING'::text")),
        index("rowlock_p_running", &["claim_token"], Some("status = 'A_IN_PROGRESS'::text")),
        index("rowlock_p_stopped", &["status", "id"], Some(stopped)),
    ];
    own.triggers = vec![TriggerInfo {
        name: "rowlock_p_notify".to_owned(),
        when: "after insert".to_owned(),
        source: Some("begin if exists (select) then perform pg_notify('c', ''); end if; return null; end".to_owned()),
    }];
    own.replica_identity = "default".to_owned();
    own.is_published = true;
    own.rows_estimate = 50_000_000;
    own
}

#[test]
fn the_schema_of_rowlocks_own_table_has_no_finding() {
    let survey = rowlocks_own();
    let roles = Roles::guess(&survey);
    assert_eq!(roles.len(), 1);
    assert!(roles[0].is_kept_by_rowlock);
    let queue = super::queue::Queue::new(&survey, &roles[0]);
    let found = [
        rules::keys::of_schema(queue),
        rules::security::of_schema(queue),
        rules::leases::of_roles(queue),
        rules::triggers::of_schema(queue),
        rules::attempts::of_roles(queue),
        rules::words::of_schema(queue),
        rules::constraints::of_schema(queue),
        rules::times::of_schema(queue),
        rules::indexes::of_schema(queue),
    ];
    let found: Vec<&str> = found.iter().flatten().map(|finding| finding.rule.id).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_check_that_ties_the_status_is_found_and_a_list_is_not() {
    let mut survey = survey(vec![
        words_column("status", &["queued", "processing", "failed"]),
        SurveyColumn::new("error", "text", TypeKind::Text),
    ]);
    let check = |name: &str, definition: &str, columns: &[&str]| CheckConstraint {
        name: name.to_owned(),
        definition: definition.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    survey.checks = vec![
        check("tied", "CHECK (((status = 'failed'::text) = (error IS NOT NULL)))", &["status", "error"]),
        check("listed", "CHECK ((status = ANY (ARRAY['queued'::text, 'failed'::text])))", &["status"]),
        check("open", "CHECK ((status = ANY (ARRAY['queued'::text, NULL::text])))", &["status"]),
    ];
    let roles = Roles::guess(&survey);
    let found = rules::constraints::of_schema(super::queue::Queue::new(&survey, &roles[0]));
    let found: Vec<(&str, &str)> = found.iter().map(|found| (found.rule.id, found.subject.as_str())).collect();
    assert_eq!(found, [("check-ties-status", "tied"), ("check-accepts-anything", "open")]);
}

#[tokio::test]
async fn planted_mistakes_are_found_with_evidence() {
    let report = checked(
        "create table jobs (
           id integer primary key, status text default 'pending' check (status in ('pending', 'running', 'done', null)),
           heartbeat_at text, attempts integer, priority text, error text, deleted_at text, run_at text default 'x'
         );
         insert into jobs (status, heartbeat_at, attempts, priority, error, run_at) values
           ('running', null, 1, 'high', null, '2026-01-01 00:00:00'),
           ('running', '2020-01-01T00:00:00Z', 1, 'low', null, '2026-01-01T00:00:00Z'),
           ('pending', null, 99, 'low', null, '2026-01-01T00:00:00Z'),
           ('pending', null, null, 'low', null, null),
           ('done', null, 0, 'low', 'boom', '2026-01-01T00:00:00Z'),
           (null, null, 0, 'low', null, '2026-01-01T00:00:00Z'),
           ('Zombie!', null, 0, 'low', null, '2026-01-01T00:00:00Z');
         insert into jobs (status, attempts, deleted_at, run_at) values
           ('pending', 0, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');",
    )
    .await;
    for rule in [
        "lease-null",
        "lease-old",
        "attempts-spent",
        "attempts-null",
        "status-null",
        "status-unknown-word",
        "check-accepts-anything",
        "time-forms-mixed",
        "schedule-null",
        "error-on-success",
        "ready-deleted",
        "priority-words",
        "claim-no-index",
        "sweep-no-index",
    ] {
        let found = finding(&report, rule);
        assert!(!found.evidence.is_empty() && !found.remedy.text().is_empty(), "{rule} says nothing");
    }
    let unleased = finding(&report, "lease-null");
    assert_eq!(unleased.rows.map(|rows| rows.value), Some(1));
    assert_eq!(unleased.examples, ["1"]);
    assert!(unleased.guess.is_some(), "the roles were guessed");
    assert!(finding(&report, "lease-old").evidence.contains("on average"));
    assert!(finding(&report, "status-unknown-word").evidence.contains("Zombie!"));
    assert!(report.not_checked.is_empty(), "{:?}", report.not_checked);
    assert_eq!(report.exit_status(Some(Severity::Error)), ExitStatus::Findings);
    assert_eq!(report.exit_status(None), ExitStatus::Ok);
}

#[tokio::test]
async fn a_description_is_checked_by_its_own_limit_and_by_all_of_its_states() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database in memory");
    let schema = "create table jobs (id integer primary key, sent_at text, bounced_at text, attempts integer);
         insert into jobs (sent_at, bounced_at, attempts) values
           (null, null, null), (null, null, 2), (null, null, 3), (null, null, 4),
           ('2026-01-01', null, 9), ('2026-01-01', '2026-01-01', 0), ('2026-01-02', '2026-01-02', 0)";
    sqlx::raw_sql(schema).execute(&mut connection).await.expect("the schema is valid");
    let survey = sqlite::survey(&mut connection, &TableName::new("jobs")).await.expect("the table is there");
    let ready = State::of_predicate("sent_at is null and bounced_at is null");
    let succeeded = State::of_predicate("sent_at is not null");
    let failed = State::of_predicate("bounced_at is not null");
    let named = |name: &str, state: &State| (name.to_owned(), state.clone());
    let described = vec![named("ready for send", &ready), named("succeeded", &succeeded), named("failed", &failed)];
    let roles = Roles {
        key: vec!["id".to_owned()],
        attempts: Some("attempts".to_owned()),
        attempts_max: AttemptsMax::Number(3),
        ready,
        succeeded,
        failed,
        described,
        ..Roles::default()
    };
    let report = check_table(Connection::Sqlite(&mut connection), &survey, &[roles], Limits::default()).await;
    let report = report.expect("the connection holds");
    let spent = finding(&report, "attempts-spent");
    assert_eq!(spent.rows.map(|rows| rows.value), Some(2), "those at the limit and over it, and not NULL");
    let overlap = finding(&report, "states-overlap");
    assert_eq!((overlap.rows.map(|rows| rows.value), overlap.examples.len()), (Some(2), 1));
    assert!(overlap.evidence.contains("succeeded, failed"), "{}", overlap.evidence);
    assert!(report.not_checked.is_empty(), "{:?}", report.not_checked);
}

#[tokio::test]
async fn a_table_of_rowlocks_own_has_no_finding() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queue.db");
    let pipeline = Pipeline::builder("p").table("jobs").key("id").stage("EXTRACTION").stage("EMBEDDING").build();
    let store = SqliteStore::open(&file, pipeline.expect("a valid pipeline")).await.expect("the file is made");
    store.prepare().await.expect("the table is made");
    store.close().await;
    let url = format!("sqlite://{}", file.display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the file is there");
    for rows in [
        "select 1",
        "insert into jobs (id) values ('a'), ('b'), ('c')",
        "update jobs set status = 'EXTRACTION_COMPLETE', claim_token = 7, error_message = 'not yet',
           retry_after = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 hour') where id = 'b'",
        "update jobs set status = 'SUCCEEDED', claim_token = 8, claimed_by = 'w' where id = 'c'",
    ] {
        sqlx::query(rows).execute(&mut connection).await.expect("the rows are written");
        let report = of_table(&mut connection, "jobs").await;
        let is_clean = report.findings.is_empty() && report.not_checked.is_empty();
        assert!(is_clean, "after {rows}:\n{}", report.render(Format::Text));
        sqlx::query("pragma query_only = off").execute(&mut connection).await.expect("the next rows can be written");
    }
}

#[tokio::test]
async fn the_reports_for_programs_say_the_same() {
    let schema = "create table jobs (id integer, status text default 'pending'); insert into jobs values (1, null)";
    let report = checked(schema).await;
    let json: Value = serde_json::from_str(&report.render(Format::Json)).expect("valid JSON");
    let schema: Value = serde_json::from_str(include_str!("schema.json")).expect("valid JSON");
    for field in schema["required"].as_array().expect("a list") {
        assert!(json.get(field.as_str().expect("a name")).is_some(), "the report has no {field}");
    }
    for field in schema["$defs"]["finding"]["required"].as_array().expect("a list") {
        assert!(json["findings"][0].get(field.as_str().expect("a name")).is_some(), "a finding has no {field}");
    }
    assert_eq!(json["schema_version"], schema["properties"]["schema_version"]["const"]);
    let sarif: Value = serde_json::from_str(&report.render(Format::Sarif)).expect("valid JSON");
    let run = &sarif["runs"][0];
    assert_eq!(sarif["version"], "2.1.0");
    for (index, result) in run["results"].as_array().expect("a list").iter().enumerate() {
        let rule = usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("a small number");
        assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
        assert_eq!(json["findings"][index]["rule"], result["ruleId"]);
    }
    let text = report.render(Format::Text);
    assert!(text.contains("error[key-missing]") && text.contains("error[status-null]"), "{text}");
}
