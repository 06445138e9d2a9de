//! The statements of the PostgreSQL store: each one prepares, and the plans of those that run constantly use the
//! intended index on a table of 200,000 rows, whatever the planner believes.

mod plan;

use std::fmt::Write as _;

use rowlock::store::Store;
use rowlock::store::postgres::PostgresStore;
use rowlock::{Pipeline, Stage};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr};

use plan::{Plan, rows_of};

const ROWS: i64 = 200_000;
const BATCH: i64 = 1_000;
const TABLE: &str = "items";

/// A database with a prepared table of 200,000 rows: a quarter ready, a hundredth in progress, the rest finished.
struct Scene {
    admin: PgConnection,
    name: String,
    connection: PgConnection,
    store: PostgresStore,
}

impl Scene {
    async fn new(name: &str) -> Scene {
        let mut scene = Scene::empty(name, &["EXTRACTION", "EMBEDDING"]).await;
        let fill = format!(
            "insert into {TABLE} (id, status, claim_token, heartbeat_at, claimed_by, created_at, retry_after)
             select
               md5(n::text),
               case when n % 4 = 0 then 'PENDING' when n % 100 = 1 then 'EXTRACTION_COMPLETE'
                    when n % 100 = 2 then 'EXTRACTION_IN_PROGRESS' when n % 1000 = 3 then 'FAILED'
                    else 'SUCCEEDED' end,
               case when n % 100 = 2 then n / 1000 end,
               case when n % 100 = 2 then now() - interval '1 hour' end,
               'somebody',
               now() - n * interval '1 second',
               case when n % 40 = 0 then now() + interval '1 hour' end
             from generate_series(1, {ROWS}) n"
        );
        scene.connection.execute(AssertSqlSafe(fill)).await.expect("filled");
        scene
    }

    async fn empty(name: &str, stages: &[&str]) -> Scene {
        let mut pipeline = Pipeline::builder("plans").table(TABLE).key("id");
        for stage in stages {
            pipeline = pipeline.add_stage(Stage::new(*stage));
        }
        Scene::over(name, pipeline.build().expect("a valid pipeline"), "").await
    }

    /// A database with a table of the test's own, prepared.
    async fn over(name: &str, pipeline: Pipeline, create: &str) -> Scene {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names no server: run the tests by `make test`");
        let mut admin = PgConnection::connect(&url).await.expect("the server of DATABASE_URL answers");
        let name = format!("rowlock_test_plans_{name}_{}", std::process::id());
        admin.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await.expect("dropped");
        admin.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("created");
        let options = url.parse::<sqlx::postgres::PgConnectOptions>().expect("a valid URL").database(&name);
        let mut connection = PgConnection::connect_with(&options).await.expect("the new database answers");
        if !create.is_empty() {
            connection.execute(AssertSqlSafe(create.to_owned())).await.expect("the test's own table");
        }
        let store = PostgresStore::with_options(options.clone(), pipeline);
        store.prepare().await.expect("prepared");
        if !create.is_empty() {
            connection.execute(AssertSqlSafe(format!("analyze {TABLE}"))).await.expect("analyzed");
        }
        connection.execute(AssertSqlSafe(PostgresStore::planner_settings())).await.expect("as the store's own");
        Scene { admin, name, connection, store }
    }

    async fn end(mut self) {
        self.store.close().await;
        self.connection.close().await.expect("closed");
        let drop = format!("drop database {} with (force)", self.name);
        self.admin.execute(AssertSqlSafe(drop)).await.expect("dropped");
    }

    /// The plan of a statement, as it ran; its effects are rolled back.
    async fn plan(&mut self, verb: &str, mode: &str, arguments: &str) -> Plan {
        let sql = self.store.sql(verb).expect("a verb").to_owned();
        let run = format!(
            "begin; set local plan_cache_mode = {mode}; deallocate all; prepare verb as {sql}; \
             explain (analyze, costs off, timing off, summary off, format json) execute verb ({arguments})"
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(run)).fetch_all(&mut self.connection).await.expect(verb);
        let json: Value = rows.iter().find_map(|row| row.try_get(0).ok()).expect("a plan");
        self.connection.execute("rollback").await.expect("rolled back");
        Plan { verb: format!("{verb} under {mode}"), root: json[0]["Plan"].clone() }
    }

    async fn prepare_every_statement(&mut self) {
        self.connection.execute("create temporary table rowlock_staged (key text not null)").await.expect("staged");
        for name in self.store.statement_names() {
            let sql = self.store.sql(name).expect("a listed statement").to_owned();
            let prepared = self.connection.prepare(AssertSqlSafe(sql.clone()).into_sql_str()).await;
            assert!(prepared.is_ok(), "{name}: {:?}\n{sql}", prepared.err());
        }
    }

    /// Keys, tokens and words of items in progress, as array literals.
    async fn leases(&mut self) -> (String, String, String) {
        let query = format!(
            "select array_agg(id)::text, array_agg(claim_token)::text, array_agg(status)::text
             from (select * from {TABLE} where status = 'EXTRACTION_IN_PROGRESS' limit {BATCH}) held"
        );
        let row = self.connection.fetch_one(AssertSqlSafe(query)).await.expect("items in progress");
        (row.get(0), row.get(1), row.get(2))
    }
}

const MODES: [&str; 2] = ["force_generic_plan", "force_custom_plan"];

#[tokio::test]
async fn every_statement_prepares() {
    let mut scene = Scene::new("prepare").await;
    scene.prepare_every_statement().await;
    scene.end().await;
}

/// Ordering by a `case` over the stages would sort the whole backlog at each claim.
#[tokio::test]
async fn p13_a_claim_sorts_no_backlog() {
    let mut scene = Scene::new("p13").await;
    let claim = "'{EXTRACTION_COMPLETE,PENDING}', 10, null, 5, 3, false, null, null, true, 42, 'me', true";
    let plain = "'PENDING', 10, null, 5, 3, false, null, 42, 'me'";
    let full = &format!("{plain}, now() - interval '1 day'");
    for (mode, statement, arguments) in
        MODES.iter().flat_map(|mode| [(mode, "claim", claim), (mode, "claim_plain", plain), (mode, "claim_full", full)])
    {
        let plan = scene.plan(statement, mode, arguments).await;
        plan.check_indexes(&["rowlock_ready_index"]);
        for node in plan.nodes() {
            let rows = rows_of(node);
            // Not ten: the indexes still show what an earlier, rolled-back claim did.
            assert!(rows <= 100.0, "ten items were asked for, and a step reads {rows} rows:\n{node:#}");
        }
    }
    scene.end().await;
}

/// Excluded keys are compared as text, because one of them may not fit the key's type. That must cost nothing if there
/// are none, which is nearly always so.
#[tokio::test]
async fn where_no_key_is_left_out_no_key_is_made_a_text() {
    let mut scene = Scene::empty("left_out", &["ONLY"]).await;
    let other_keys = format!("alter table {TABLE} alter id type uuid using id::uuid");
    scene.connection.execute(AssertSqlSafe(other_keys)).await.expect("altered");
    let arguments = |except: &str| format!("'PENDING', 10, null, 5, 3, false, {except}, 42, 'me'");
    let sweep = |except: &str| format!("10, 300, null, 3, {except}, null");
    let full = |except: &str| format!("{}, null", arguments(except));
    for (verb, none, some) in [
        ("claim_plain", arguments("null"), arguments("'{x}'")),
        ("claim_full", full("null"), full("'{x}'")),
        ("sweep", sweep("null"), sweep("'{x}'")),
    ] {
        for (mode, arguments, is_compared) in [
            ("force_custom_plan", &none, false),
            ("force_custom_plan", &some, true),
            ("force_generic_plan", &none, true),
        ] {
            let plan = scene.plan(verb, mode, arguments).await;
            let filters = plan.nodes().into_iter().filter_map(|node| node["Filter"].as_str());
            let compared: Vec<&str> = filters.filter(|filter| filter.contains("(id)::text <> ALL")).collect();
            assert_eq!(!compared.is_empty(), is_compared, "{:#}", plan.root);
            // A generic plan has the comparison, behind a check for anything to compare with.
            let is_guarded = |filter: &&str| filter.contains("IS NULL) OR (") || *arguments == some;
            assert!(compared.iter().all(is_guarded), "{:#}", plan.root);
        }
    }
    scene.end().await;
}

/// A single completion takes no longer than it takes to set up a look into the catalogue.
#[tokio::test]
async fn a_single_completion_reads_its_row_and_nothing_else() {
    let mut scene = Scene::empty("single", &["ONLY"]).await;
    for mode in MODES {
        let plan = scene.plan("complete", mode, "'42', 7, null, 'ONLY_IN_PROGRESS'").await;
        let relations = plan.nodes().into_iter().filter_map(|node| node["Relation Name"].as_str());
        assert_eq!(relations.collect::<Vec<_>>(), [TABLE; 3], "{:#}", plan.root);
    }
    scene.end().await;
}

/// Without statistics the planner expects a handful of rows instead of a backlog, and would read and sort them at each
/// claim.
#[tokio::test]
async fn p13_a_claim_sorts_no_backlog_of_a_table_that_was_never_analyzed() {
    let mut scene = Scene::empty("p13_new", &["ONLY"]).await;
    let fill = format!("insert into {TABLE} (id) select 'item-' || n from generate_series(1, {ROWS}) n");
    scene.connection.execute(AssertSqlSafe(fill)).await.expect("filled");
    for mode in MODES {
        let arguments = format!("'{{PENDING}}', {BATCH}, null, 5, 3, false, null, null, true, 42, 'me', true");
        scene.plan("claim", mode, &arguments).await.check(&["rowlock_ready_index", "items_pkey"]);
        let plain = format!("'PENDING', {BATCH}, null, 5, 3, false, null, 42, 'me'");
        for (statement, arguments) in [("claim_plain", &plain), ("claim_full", &format!("{plain}, null"))] {
            scene.plan(statement, mode, arguments).await.check(&["rowlock_ready_index", "items_pkey"]);
        }
    }
    scene.end().await;
}

/// Index entries of claimed rows are dead but not vacuumed, and come before the ready rows.
#[tokio::test]
async fn a_claim_of_a_full_queue_walks_past_nothing_that_was_claimed_before() {
    let mut scene = Scene::empty("full", &["ONLY"]).await;
    let fill = format!(
        "insert into {TABLE} (id, created_at) select 'item-' || n, now() - interval '1 day' + n * interval '1 ms' \
         from generate_series(1, {ROWS}) n"
    );
    scene.connection.execute(AssertSqlSafe(fill)).await.expect("filled");
    for mode in MODES {
        let from = "now() - interval '1 day' + 150000 * interval '1 ms'";
        let arguments = format!("'PENDING', {BATCH}, null, 5, 3, false, null, 42, 'me', {from}");
        let plan = scene.plan("claim_full", mode, &arguments).await;
        plan.check(&["rowlock_ready_index", "items_pkey"]);
        let bounds = plan
            .nodes()
            .into_iter()
            .filter_map(|node| node["Index Cond"].as_str())
            .find(|bounds| bounds.contains("<="));
        assert!(bounds.is_some_and(|bounds| bounds.contains(">=")), "{:#}", plan.root);
    }
    scene.end().await;
}

/// As long as there is something to wait for, a worker asks again and again; it must not walk past all rows that were
/// claimed meanwhile.
#[tokio::test]
async fn a_look_at_what_is_unfinished_asks_for_what_is_delayed_alone_where_there_is_any() {
    let mut scene = Scene::empty("unfinished", &["ONLY"]).await;
    let fill = format!(
        "insert into {TABLE} (id, created_at) select 'item-' || n, now() + (n - {ROWS} / 2) * interval '1 s' \
         from generate_series(1, {ROWS}) n"
    );
    scene.connection.execute(AssertSqlSafe(fill)).await.expect("filled");
    for mode in MODES {
        let plan =
            scene.plan("unfinished", mode, &format!("{BATCH}, '{{PENDING}}', '{{ONLY_IN_PROGRESS}}', null")).await;
        // The range of due rows begins with the dead entries of claimed ones; if any row is delayed it is not read.
        let bounds = |bound: &str| {
            let nodes = plan.nodes().into_iter();
            let found = nodes.filter(|node| node["Index Cond"].as_str().is_some_and(|bounds| bounds.contains(bound)));
            found.map(|node| (node["Actual Loops"].as_f64(), node["Actual Rows"].as_f64())).collect::<Vec<_>>()
        };
        assert_eq!(bounds("> "), [(Some(1.0), Some(BATCH as f64))], "{:#}", plan.root);
        assert_eq!(bounds("<= "), [(Some(0.0), Some(0.0))], "{:#}", plan.root);
    }
    scene.end().await;
}

/// A sweep that joins the table to itself costs the number of stale rows times the number of all rows.
#[tokio::test]
async fn p14_a_sweep_costs_what_is_in_progress() {
    let mut scene = Scene::new("p14").await;
    for mode in MODES {
        let plan = scene.plan("sweep", mode, &format!("{BATCH}, 300, null, 3, null, null")).await;
        plan.check(&["rowlock_running_index", "items_pkey"]);
        let visits: f64 = plan
            .nodes()
            .into_iter()
            .filter(|node| node["Relation Name"] == TABLE && node["Node Type"] != "ModifyTable")
            .map(rows_of)
            .sum();
        assert!(visits <= 3.0 * BATCH as f64, "a sweep of {BATCH} visits {visits} rows:\n{:#}", plan.root);
    }
    scene.end().await;
}

/// A batch of completions from a few claims reads the rows of those claims, each just before it writes it: what it saw
/// of a row must not be outdated when the row's turn comes. It does not compare each row with each lease.
#[tokio::test]
async fn a_batch_is_completed_by_its_tokens() {
    const ROWS: usize = 100_000;
    const BATCH: usize = 500;
    let mut scene = Scene::empty("batch", &["ONLY"]).await;
    let fill = format!(
        "insert into {TABLE} (id, status, claim_token)
         select 'item-' || n, case when n <= 20000 then 'ONLY_IN_PROGRESS' else 'SUCCEEDED' end, n / 1000 \
         from generate_series(1, {ROWS}) n"
    );
    scene.connection.execute(AssertSqlSafe(fill)).await.expect("filled");
    // One of the user's indexes that would do too, but far worse.
    let index = format!("create index items_by_status on {TABLE} (status)");
    scene.connection.execute(AssertSqlSafe(index)).await.expect("indexed");
    let mut token = 0;
    for statistics in ["none", "fresh"] {
        if statistics == "fresh" {
            scene.connection.execute("analyze").await.expect("analyzed");
        }
        for mode in MODES {
            // Separate rows: a rolled-back update leaves a trace like that of a lock.
            token += 1;
            let of_each = |word: &str| vec![word; BATCH].join(",");
            let leases_of = |token: usize| {
                let keys: Vec<String> = (0..BATCH).map(|n| format!("item-{}", token * 1_000 + 2 * n)).collect();
                format!("'{{{}}}', '{{{}}}'", keys.join(","), of_each(&token.to_string()))
            };
            let arguments = format!("{}, null, '{{{}}}', '{{{token}}}'", leases_of(token), of_each("1"));
            let plan = scene.plan("complete_batch", mode, &arguments).await;
            plan.check(&["rowlock_running_index"]);
            let mut nodes = plan.nodes();
            // If there was an earlier error, the statement looks up in the catalogue how to treat it.
            nodes.retain(|node| node["Relation Name"] != "pg_attribute" || node["Actual Loops"] != 0);
            let kind = |node: &serde_json::Value| node["Node Type"].as_str().unwrap_or_default().to_owned();
            let [tally @ .., written, kept, found, leases] = nodes.as_slice() else { panic!("{:#}", plan.root) };
            assert!(tally.iter().all(|node| ["Aggregate", "Sort"].contains(&&*kind(node))), "{:#}", plan.root);
            assert_eq!(
                [written, kept, found, leases].map(|node| kind(node)),
                ["ModifyTable", "CTE Scan", "Index Scan", "Function Scan"],
                "{:#}",
                plan.root
            );
            plan.check_batch(BATCH);
        }
    }
    scene.end().await;
}

/// Before and after ANALYZE, with generic and with custom plans: even a planner with no or outdated knowledge of the
/// table must use the index.
#[tokio::test]
async fn claim_finish_renew_and_sweep_go_by_their_indexes() {
    let mut scene = Scene::new("plans").await;
    for statistics in ["none", "fresh"] {
        if statistics == "fresh" {
            scene.connection.execute("analyze").await.expect("analyzed");
        }
        let (keys, tokens, words) = scene.leases().await;
        for mode in MODES {
            let both = "'{EXTRACTION_COMPLETE,PENDING}'";
            let claim = format!("{both}, {BATCH}, null, 5, 3, false, null, null, true, 42, 'me', false");
            scene.plan("claim", mode, &claim).await.check(&["rowlock_ready_index", "items_pkey"]);
            let plain = format!("'PENDING', {BATCH}, null, 5, 3, false, null, 42, 'me'");
            scene.plan("claim_plain", mode, &plain).await.check(&["rowlock_ready_index", "items_pkey"]);
            let full = format!("{plain}, null");
            scene.plan("claim_full", mode, &full).await.check(&["rowlock_ready_index", "items_pkey"]);
            let preview = format!("{both}, {BATCH}, null, 5, 3, false, null, null, true");
            scene.plan("preview", mode, &preview).await.check(&["rowlock_ready_index", "items_pkey"]);

            let mut outcomes = String::new();
            for n in 0..BATCH {
                let outcome = ["complete", "retry", "fail", "release"][usize::try_from(n % 4).expect("small")];
                let _ = write!(outcomes, "{}{outcome}", if n == 0 { "" } else { "," });
            }
            let nulls = vec!["null"; usize::try_from(BATCH).expect("small")].join(",");
            let ones = vec!["1"; usize::try_from(BATCH).expect("small")].join(",");
            let delays = vec!["60"; 128].join(",");
            let finish = format!(
                "'{keys}', '{tokens}', null, '{words}', '{{{outcomes}}}', '{{{nulls}}}', '{{{nulls}}}', '{{{nulls}}}', \
                 '{{{ones}}}', '{{{delays}}}', '{{0.25,0.25}}', '{{60,60}}', 64, 5, {BATCH}"
            );
            for verb in ["finish", "finish_one"] {
                scene.plan(verb, mode, &finish).await.check(&["items_pkey"]);
            }
            for verb in ["complete", "complete_one"] {
                let complete = "'42', 7, null, 'EXTRACTION_IN_PROGRESS'";
                scene.plan(verb, mode, complete).await.check(&["items_pkey"]);
            }
            // Users' transactions contain finishes too.
            scene.connection.execute("discard plans; reset all").await.expect("as the user's own");
            scene.plan("finish_one", mode, &finish).await.check(&["items_pkey"]);
            scene
                .connection
                .execute(AssertSqlSafe(PostgresStore::planner_settings()))
                .await
                .expect("as the store's own");

            let renew = format!("'{keys}', '{tokens}', null, '{words}', {BATCH}");
            scene.plan("renew", mode, &renew).await.check(&["items_pkey"]);
            let read = format!("'{keys}', '{tokens}', '{words}', {BATCH}");
            scene.plan("read_leases", mode, &read).await.check(&["items_pkey"]);

            let sweep = format!("{BATCH}, 300, null, 3, null, null");
            scene.plan("sweep", mode, &sweep).await.check(&["rowlock_running_index", "items_pkey"]);
            scene.plan("find_claimed", mode, "7, null").await.check(&["rowlock_running_index"]);

            let counts = scene.plan("counts", mode, &format!("{BATCH}, 1000")).await;
            counts.check_indexes(&["rowlock_ready_index", "rowlock_running_index", "rowlock_stopped_index"]);
            let unfinished = scene
                .plan("unfinished", mode, &format!("{BATCH}, '{{PENDING}}', '{{EXTRACTION_IN_PROGRESS}}', null"))
                .await;
            unfinished.check_indexes(&["rowlock_ready_index", "rowlock_running_index"]);
            let page = scene.plan("list_stopped", mode, "'FAILED', null, 10").await;
            page.check(&["rowlock_stopped_index"]);
            if statistics == "fresh" {
                let page = scene.plan("list_running", mode, "'EXTRACTION_IN_PROGRESS', null, 10").await;
                page.check_indexes(&["rowlock_running_index"]);
            }
        }
    }
    scene.end().await;
}

/// A page after a late key, and the parts of a refused batch, under the plans with which they run: the rows before the
/// page and the backlog around the part are not read.
#[tokio::test]
async fn pages_and_parts_read_little_more_than_they_return() {
    let mut scene = Scene::new("pages").await;
    let places = format!(
        "select array_agg(concat(tableoid, ' ', ctid))::text from {TABLE}
         where id in ('c4ca4238a0b923820dcc509a6f75849b', 'a87ff679a2f3e71d9181a67b7542122c')"
    );
    let places = scene.connection.fetch_one(AssertSqlSafe(places)).await.expect("places");
    let places = format!("'{}'", places.get::<&str, _>(0));
    let both = "'{EXTRACTION_COMPLETE,PENDING}'";
    let claim = format!("{both}, 2, null, 5, 3, false, null, {places}, true, 42, 'me', false");
    let sweep = format!("2, 300, null, 3, null, {places}");
    for statistics in ["none", "fresh"] {
        if statistics == "fresh" {
            scene.connection.execute("analyze").await.expect("analyzed");
        }
        for (verb, mode, arguments, most) in [
            ("list", "force_generic_plan", "null, 'fff', 10", 10.0),
            ("list", "force_custom_plan", "null, 'fff', 10", 10.0),
            ("list_stopped", "force_generic_plan", "'FAILED', 'f', 10", 10.0),
            // In-progress words have no order of keys: all of these rows are read, and no others.
            ("list_running", "force_generic_plan", "'EXTRACTION_IN_PROGRESS', 'f', 10", 2_000.0),
            ("claim_part", "force_generic_plan", &claim, 10.0),
            ("claim_part", "force_custom_plan", &claim, 10.0),
            ("sweep_part", "force_generic_plan", &sweep, 10.0),
            ("sweep_part", "force_custom_plan", &sweep, 10.0),
        ] {
            let plan = scene.plan(verb, mode, arguments).await;
            for node in plan.nodes() {
                let removed = node["Rows Removed by Filter"].as_f64().unwrap_or(0.0);
                let read = rows_of(node) + removed * node["Actual Loops"].as_f64().unwrap_or(1.0);
                assert!(read <= most, "{}, statistics {statistics}: a step reads {read} rows:\n{node:#}", plan.verb);
            }
        }
    }
    scene.end().await;
}

/// A heartbeat that touched an index would write to each index of the table, and leave dead entries in all of them.
#[tokio::test]
async fn heartbeats_are_hot_updates() {
    let mut scene = Scene::new("hot").await;
    let (keys, tokens, words) = scene.leases().await;
    let sql = scene.store.sql("renew").expect("a verb").to_owned();
    let run = format!(
        "begin; prepare verb as {sql}; execute verb ('{keys}', '{tokens}', null, '{words}', {BATCH});
         select pg_stat_get_xact_tuples_updated('{TABLE}'::regclass) as updated,
                pg_stat_get_xact_tuples_hot_updated('{TABLE}'::regclass) as hot"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(run)).fetch_all(&mut scene.connection).await.expect("renews");
    let counted = rows.last().expect("a row");
    assert_eq!(counted.get::<i64, _>("updated"), BATCH);
    assert_eq!(counted.get::<i64, _>("hot"), BATCH);
    scene.connection.execute("rollback").await.expect("rolled back");
    scene.end().await;
}
