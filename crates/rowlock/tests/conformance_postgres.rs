//! The conformance suite on PostgreSQL, and tests of what only PostgreSQL can do to a queue.

mod own_server;
mod postgres_cases;

mod postgres {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use chrono::{DateTime, Utc};
    use rowlock::conformance::{Harness, Refusal, Refusing, Shape};
    use rowlock::store::postgres::{PostgresStore, PostgresTransaction};
    use rowlock::store::{
        ClaimParams, Finish, FinishParams, Finished, LeaseState, Limits, Outcome, Store, SweepParams,
    };
    use rowlock::{FencingToken, Holder, Key, Pipeline, Status};
    use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
    use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Postgres, Row, Transaction};
    use tokio::sync::OnceCell;

    rowlock::conformance_tests!(PostgresHarness::new().await);

    /// The verbs on tables of other shapes.
    macro_rules! shapes {
        ($($module:ident: $shape:ident,)+) => {
            $(
                mod $module {
                    use super::PostgresHarness;
                    use rowlock::conformance::Shape;

                    rowlock::conformance_tests!(verbs: PostgresHarness::new().await.shaped(Shape::$shape));
                }
            )+
        };
    }

    shapes! {
        word_list: WordList,
        labels: Enum,
        flags: Flags,
        numbers: Numbers,
        held: Held,
    }

    /// A separate database for one test, on the server that `DATABASE_URL` names.
    pub(super) struct PostgresHarness {
        pub(super) server: PgConnectOptions,
        pub(super) database: String,
        pub(super) pool: PgPool,
        shape: Shape,
    }

    /// Databases that a killed test left behind and that are older than this are dropped at the next start.
    const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(3600);

    /// No other program names a database like this.
    const PREFIX: &str = "rowlock_test_conf_";

    impl PostgresHarness {
        pub(super) async fn new() -> PostgresHarness {
            PostgresHarness::made("template template0").await
        }

        /// A database with the given encoding.
        pub(super) async fn with_encoding(encoding: &str) -> PostgresHarness {
            PostgresHarness::made(&format!("template template0 encoding '{encoding}' locale 'C'")).await
        }

        async fn made(how: &str) -> PostgresHarness {
            static LAST: AtomicU32 = AtomicU32::new(0);
            static LEFT_BEHIND: OnceCell<()> = OnceCell::const_new();
            let server = server();
            LEFT_BEHIND.get_or_init(|| drop_left_behind(&server)).await;
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let database = format!("{PREFIX}{}_{}_{number}", unix_secs(), std::process::id());
            let mut connection = connect(&server).await;
            execute(&mut connection, &format!("create database {database} {how}")).await;
            connection.close().await.expect("close");
            let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(server.clone().database(&database));
            PostgresHarness { server, database, pool, shape: Shape::Plain }
        }

        /// The same database for a table of this shape.
        fn shaped(self, shape: Shape) -> PostgresHarness {
            PostgresHarness { shape, ..self }
        }
    }

    fn server() -> PgConnectOptions {
        let url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL must name a PostgreSQL server to test on: `make test` starts one");
        url.parse().expect("DATABASE_URL is a URL")
    }

    fn unix_secs() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
    }

    async fn connect(options: &PgConnectOptions) -> PgConnection {
        options.connect().await.expect("the server of DATABASE_URL can be reached")
    }

    async fn execute(connection: &mut PgConnection, sql: &str) {
        if let Err(error) = connection.execute(AssertSqlSafe(sql.to_owned())).await {
            panic!("{sql}: {error}");
        }
    }

    async fn drop_left_behind(server: &PgConnectOptions) {
        let mut connection = connect(server).await;
        let names: Vec<String> =
            sqlx::query_scalar("select datname::text from pg_database").fetch_all(&mut connection).await.expect("list");
        for name in names {
            let made_at = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
            if made_at.is_some_and(|secs| secs + LEFT_BEHIND_AFTER.as_secs() < unix_secs()) {
                execute(&mut connection, &format!("drop database if exists {name} with (force)")).await;
            }
        }
        connection.close().await.expect("close");
    }

    impl Harness for PostgresHarness {
        type Store = PostgresStore;

        async fn open(&self, pipeline: Pipeline) -> PostgresStore {
            PostgresStore::with_options(self.server.clone().database(&self.database), pipeline)
        }

        fn shape(&self) -> Shape {
            self.shape
        }

        async fn text_ignoring_case(&self) -> Result<String, sqlx::Error> {
            let sql =
                "create collation ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
            self.execute(sql).await.map(|()| "text collate ignoring_case".to_owned())
        }

        async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
            self.pool.execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
        }

        async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
            let rows = self.pool.fetch_all(AssertSqlSafe(sql.to_owned())).await?;
            rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).collect()
        }

        async fn execute_in(&self, transaction: &mut PostgresTransaction, sql: &str) -> Result<(), sqlx::Error> {
            (**transaction).execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
        }

        fn text(&self, row: &PgRow, column: &str) -> Option<String> {
            row.try_get(column).expect("a text column")
        }

        fn time(&self, time: DateTime<Utc>) -> String {
            format!("'{}'::timestamptz", time.format("%Y-%m-%d %H:%M:%S%.6f+00"))
        }

        fn time_text(&self, column: &str) -> String {
            format!(r#"to_char({column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#)
        }

        fn time_type(&self) -> &'static str {
            "timestamptz"
        }

        async fn refuse_updates(&self, refusal: &Refusal<'_>) -> Result<(), sqlx::Error> {
            let body = match refusal.how {
                Refusing::Loudly => format!("raise exception '{}'", Refusing::REASON),
                Refusing::Silently => "return null".to_owned(),
            };
            let sql = format!(
                "create or replace function refuse() returns trigger language plpgsql as $$begin {body}; end$$; \
                 create trigger refusing before update on {} for each row when ({}) execute function refuse()",
                refusal.table, refusal.when
            );
            self.execute(&sql).await
        }

        async fn allow_updates(&self, table: &str) -> Result<(), sqlx::Error> {
            self.execute(&format!("drop trigger refusing on {table}")).await
        }

        async fn close(self) {
            self.pool.close().await;
            let mut connection = connect(&self.server).await;
            execute(&mut connection, &format!("drop database {} with (force)", self.database)).await;
            connection.close().await.expect("close");
        }
    }

    /// Rows that another transaction has locked. SQLite locks no rows, so these tests are for PostgreSQL alone.
    mod locked_rows {
        use super::*;

        fn pipeline() -> Pipeline {
            Pipeline::builder("pages").table("pages").key("page").stage("FETCH").build().expect("valid")
        }

        fn claiming(limit: usize) -> ClaimParams {
            let pipeline = pipeline();
            ClaimParams {
                stages: pipeline.stage_ids().collect(),
                limit,
                token: FencingToken::draw(),
                holder: Holder::named("worker-a"),
                limits: Limits { max_retries: 5, max_resets: 3 },
                leave_exhausted: false,
                alone: true,
                except: Vec::new(),
                now: None,
            }
        }

        fn sweeping() -> SweepParams {
            SweepParams { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: None }
        }

        async fn table(harness: &PostgresHarness) -> PostgresStore {
            let store = harness.open(pipeline()).await;
            store.prepare().await.expect("prepare");
            store.add_many(&["a", "b", "c"].map(Key::from)).await.expect("add_many");
            store
        }

        /// Another client's transaction that holds a lock on one row.
        async fn lock(harness: &PostgresHarness, sql: &'static str) -> Transaction<'static, Postgres> {
            let mut transaction = harness.pool.begin().await.expect("begin");
            transaction.execute(sql).await.expect("lock");
            transaction
        }

        fn keys(batch: &rowlock::store::ClaimBatch<PgRow>) -> Vec<&str> {
            let mut keys: Vec<&str> = batch.claimed.iter().map(|item| item.lease.key.as_str()).collect();
            keys.sort_unstable();
            keys
        }

        #[tokio::test]
        async fn a_claim_passes_by_what_another_has_locked() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = table(harness).await;
                let other = lock(harness, "select from pages where page = 'b' for update").await;
                assert_eq!(keys(&store.claim(&claiming(10)).await.expect("claim")), ["a", "c"]);
                other.rollback().await.expect("rollback");
                assert_eq!(keys(&store.claim(&claiming(10)).await.expect("claim")), ["b"]);
            })
            .await;
        }

        #[tokio::test]
        async fn a_row_that_others_refer_to_can_be_finished_but_not_claimed() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = table(harness).await;
                let batch = store.claim(&claiming(10)).await.expect("claim");
                // The lock that inserting a row with a foreign key takes.
                let other = lock(harness, "select from pages for key share").await;
                let leases: Vec<_> = batch.leases().cloned().collect();
                let states = store.renew(&leases, None).await.expect("renew");
                assert_eq!(states, vec![LeaseState::Held; 3]);
                let items = leases.iter().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Release });
                let limits = Limits { max_retries: 5, max_resets: 3 };
                let finishing = FinishParams { items: items.collect(), limits, now: None };
                let finished = store.finish(&finishing).await.expect("finish");
                assert!(finished.iter().all(|one| matches!(one, Finished::Applied { .. })), "{finished:?}");
                assert!(store.claim(&claiming(10)).await.expect("claim").claimed.is_empty());
                other.rollback().await.expect("rollback");
            })
            .await;
        }

        #[tokio::test]
        async fn a_locked_row_is_busy_and_neither_lost_nor_stale() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = table(harness).await;
                let leases: Vec<_> = store.claim(&claiming(10)).await.expect("claim").leases().cloned().collect();
                harness.execute("update pages set heartbeat_at = '2000-01-01'").await.expect("update");
                let other = lock(harness, "select from pages where page = 'b' for update").await;

                let states = store.renew(&leases, None).await.expect("renew");

                for (lease, state) in leases.iter().zip(states) {
                    let expected = if lease.key.as_str() == "b" { LeaseState::Busy } else { LeaseState::Held };
                    assert_eq!(state, expected, "{}", lease.key);
                }
                assert!(store.sweep(&sweeping()).await.expect("sweep").items.is_empty());
                let explanation = store.explain(&Key::from("b"), None).await.expect("explain").expect("an item");
                assert!(explanation.locked);
                other.rollback().await.expect("rollback");
                let explanation = store.explain(&Key::from("b"), None).await.expect("explain").expect("an item");
                assert!(!explanation.locked);
                assert_eq!(store.sweep(&sweeping()).await.expect("sweep").items.len(), 1);
            })
            .await;
        }

        #[tokio::test]
        async fn a_finish_answers_busy_for_a_locked_row_and_writes_the_others() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = table(harness).await;
                let leases: Vec<_> = store.claim(&claiming(10)).await.expect("claim").leases().cloned().collect();
                let other = lock(harness, "select from pages where page = 'b' for update").await;
                let limits = Limits { max_retries: 5, max_resets: 3 };
                let finishing = |leases: &[rowlock::Lease]| {
                    let items = leases.iter().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Complete });
                    FinishParams { items: items.collect(), limits, now: None }
                };

                let finished = store.finish(&finishing(&leases)).await.expect("finish");

                let applied = Finished::Applied { to: Status::Succeeded };
                for (lease, finished) in leases.iter().zip(finished) {
                    let expected = if lease.key.as_str() == "b" { Finished::Busy } else { applied.clone() };
                    assert_eq!(finished, expected, "{}", lease.key);
                }
                other.rollback().await.expect("rollback");
                let b: Vec<_> = leases.into_iter().filter(|lease| lease.key.as_str() == "b").collect();
                assert_eq!(store.finish(&finishing(&b)).await.expect("finish"), [applied]);
            })
            .await;
        }

        #[tokio::test]
        async fn a_claim_is_finished_as_soon_as_its_row_is_free() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = table(harness).await;
                let pages: rowlock::Repository<_, rowlock::JsonRecord> = rowlock::Repository::new(store);
                let claim = pages.claim(1).await.expect("claim").items.remove(0);
                let other = lock(harness, "select from pages for update").await;
                let waits = "select count(*)::text from pg_stat_activity
                             where datname = current_database() and wait_event_type = 'Lock'";
                let (settled, ()) = tokio::join!(claim.complete(), async {
                    while harness.rows(waits).await.expect("select")[0][0].as_deref() == Some("0") {
                        tokio::task::yield_now().await;
                    }
                    other.rollback().await.expect("rollback");
                });
                assert_eq!(settled.expect("complete").to, Status::Succeeded);
            })
            .await;
        }

        #[tokio::test]
        async fn a_claim_whose_row_stays_locked_is_handed_back() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = table(harness).await;
                let pages: rowlock::Repository<_, rowlock::JsonRecord> = rowlock::Repository::new(store);
                let claim = pages.claim(1).await.expect("claim").items.remove(0);
                let other = lock(harness, "select from pages for update").await;
                let (error, claim) = claim.complete().await.expect_err("it is locked").into_parts();
                assert!(error.is_transient() && !error.may_have_been_applied(), "{error}");
                other.rollback().await.expect("rollback");
                let claim = claim.expect("the claim, to try again");
                assert_eq!(claim.complete().await.expect("complete").to, Status::Succeeded);
            })
            .await;
        }

        #[tokio::test]
        async fn a_row_that_refuses_is_found_behind_any_number_of_locked_ones() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = table(harness).await;
                let many: Vec<Key> = (0..50).map(|number| Key::from(format!("m{number:02}"))).collect();
                store.add_many(&many).await.expect("add_many");
                store.add_many(&[Key::from("z")]).await.expect("add_many");
                let leases: Vec<_> = store.claim(&claiming(100)).await.expect("claim").leases().cloned().collect();
                harness
                    .refuse_updates(&Refusal {
                        table: "pages",
                        when: "new.page = 'z' and new.status <> 'FAILED'",
                        how: Refusing::Silently,
                    })
                    .await
                    .expect("create trigger");
                let other = lock(harness, "select from pages where page <> 'z' for update").await;
                let items: Vec<Finish> =
                    leases.iter().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Complete }).collect();
                let limits = Limits { max_retries: 5, max_resets: 3 };

                let finished = store.finish(&FinishParams { items, limits, now: None }).await.expect("finish");

                for (lease, finished) in leases.iter().zip(finished) {
                    if lease.key.as_str() == "z" {
                        assert!(matches!(finished, Finished::Refused { failed: true, .. }), "{finished:?}");
                    } else {
                        assert_eq!(finished, Finished::Busy, "{}", lease.key);
                    }
                }
                other.rollback().await.expect("rollback");
            })
            .await;
        }
    }

    /// Preparing a table that others use at the same time. SQLite has one writer, so there everyone waits.
    mod preparing {
        use super::*;

        fn pipeline() -> Pipeline {
            // A verb's deadline is a third of this: building an index must be allowed to take longer.
            let builder = Pipeline::builder("pages").table("pages").key("page").stage("FETCH");
            builder.stale_after(Duration::from_millis(600)).build().expect("valid")
        }

        async fn indexes(harness: &PostgresHarness, which: &str) -> usize {
            let sql = format!(
                "select indexrelid::regclass::text from pg_index
                 where indrelid = 'pages'::regclass and indexrelid::regclass::text like 'rowlock_%' and {which}"
            );
            harness.rows(&sql).await.expect("select").len()
        }

        #[tokio::test]
        async fn the_indexes_of_a_table_in_use_are_built_while_others_write() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = harness.open(pipeline()).await;
                store.prepare().await.expect("prepare");
                harness
                    .execute(
                        "do $$ declare name text; begin
                           for name in select indexrelid::regclass::text from pg_index
                             where indrelid = 'pages'::regclass and not indisprimary
                           loop execute 'drop index ' || name; end loop; end $$",
                    )
                    .await
                    .expect("drop");
                // A concurrent build waits for transactions that have written to the table.
                let mut other = harness.pool.begin().await.expect("begin");
                other.execute("insert into pages (page) values ('a')").await.expect("insert");

                let (prepared, ()) = tokio::join!(store.prepare(), async {
                    while indexes(harness, "not indisvalid").await == 0 {
                        tokio::task::yield_now().await;
                    }
                    let write = "set lock_timeout = '5s'; insert into pages (page) values ('b')";
                    harness.execute(write).await.expect("others write meanwhile");
                    tokio::time::sleep(pipeline().stale_after()).await;
                    other.commit().await.expect("commit");
                });

                prepared.expect("prepare");
                assert_eq!(indexes(harness, "indisvalid").await, 3);
                assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
            })
            .await;
        }

        #[tokio::test]
        async fn an_index_whose_build_was_interrupted_is_built_anew() {
            rowlock::conformance::run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
                let store = harness.open(pipeline()).await;
                store.prepare().await.expect("prepare");
                // What a cancelled concurrent build leaves behind.
                let sql = "update pg_index set indisvalid = false
                           where indexrelid::regclass::text like 'rowlock_ready_%'";
                harness.execute(sql).await.expect("update");
                assert_eq!(store.inspect().await.expect("inspect").len(), 1);

                store.prepare().await.expect("prepare");

                assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
                assert_eq!(indexes(harness, "indisvalid").await, 3);
            })
            .await;
        }
    }
}
