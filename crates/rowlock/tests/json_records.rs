//! Rows as JSON, for handlers that do not know the table's columns.

use rowlock::JsonRecord;
use serde_json::{Value, json};

fn shown(record: JsonRecord) -> Value {
    Value::Object(record.0)
}

mod postgres {
    use sqlx::postgres::PgPool;

    use super::*;

    async fn pool() -> PgPool {
        let url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL names no PostgreSQL server for the tests: run them by `make test`");
        PgPool::connect(&url).await.expect("the server answers")
    }

    #[tokio::test]
    async fn every_column_is_shown_by_its_type() {
        let sql = r#"select
            true as yes, 1::smallint as small, -2 as int, 9007199254740993 as big, 1.5::real as single,
            0.1::double precision as double, 'NaN'::double precision as nan, 'naïve' as text, 'a'::varchar as short,
            '6f1d5f4e-0a3b-4c2d-8e9f-001122334455'::uuid as id, '{"a": [1]}'::jsonb as document,
            '2026-01-02 03:04:05.678+00'::timestamptz as at, '2026-01-02 03:04:05'::timestamp as wall,
            '2026-01-02'::date as day, '\xdeadbeef'::bytea as bytes, array[1, null]::bigint[] as numbers,
            array['a', null] as words, null::int as nothing, 7 as rowlock_position"#;
        let record: JsonRecord = sqlx::query_as(sql).fetch_one(&pool().await).await.expect("it decodes");
        assert_eq!(
            shown(record),
            json!({
                "yes": true, "small": 1, "int": -2, "big": 9_007_199_254_740_993_i64, "single": 1.5, "double": 0.1,
                "nan": "NaN", "text": "naïve", "short": "a", "id": "6f1d5f4e-0a3b-4c2d-8e9f-001122334455",
                "document": {"a": [1]}, "at": "2026-01-02T03:04:05.678Z", "wall": "2026-01-02T03:04:05",
                "day": "2026-01-02", "bytes": "\\xdeadbeef", "numbers": [1, null], "words": ["a", null],
                "nothing": null,
            })
        );
    }

    #[tokio::test]
    async fn numbers_intervals_and_addresses_are_shown_as_text() {
        let numbers = [
            "0",
            "0.00",
            "1.5",
            "-1.5",
            "1234.5678",
            "10000",
            "100000000",
            "0.0001",
            "0.00012",
            "-0.5",
            "12345678.9",
            "99999999999999999999999999.99",
            "1e-20",
            "1e30",
            "NaN",
            "Infinity",
            "-Infinity",
        ];
        let intervals = [
            "0",
            "1 day",
            "-1 day",
            "1 year 2 months 3 days 04:05:06.789",
            "-04:05:06.5",
            "00:00:00.000001",
            "100:00:00",
        ];
        let addresses = ["192.0.2.1", "192.0.2.1/24", "2001:db8::1", "::ffff:192.0.2.1", "2001:db8::/32"];
        let mut connection = pool().await.acquire().await.expect("a connection");
        sqlx::raw_sql("set intervalstyle = iso_8601").execute(&mut *connection).await.expect("set");
        for (type_name, texts) in [("numeric", &numbers[..]), ("interval", &intervals), ("inet", &addresses)] {
            for text in texts {
                let sql = format!("select '{text}'::{type_name} as value, format('%s', '{text}'::{type_name}) as text");
                let sql = sqlx::AssertSqlSafe(sql);
                let record: JsonRecord = sqlx::query_as(sql).fetch_one(&mut *connection).await.expect("it decodes");
                assert_eq!(record["value"], record["text"], "{type_name} {text}");
            }
        }
        let sql = "select array[1.50, null]::numeric[] as prices, '{}'::interval[] as none,
                          array['2026-01-02']::date[] as days, '192.0.2.0/24'::cidr as network";
        let record: JsonRecord = sqlx::query_as(sql).fetch_one(&mut *connection).await.expect("it decodes");
        let expected = json!({
            "prices": ["1.50", null], "none": [], "days": ["2026-01-02"], "network": "192.0.2.0/24",
        });
        assert_eq!(shown(record), expected);
    }

    #[tokio::test]
    async fn a_time_without_end_is_shown_as_the_server_shows_it() {
        let sql = "select 'infinity'::timestamptz as never, '-infinity'::timestamp as always, 'infinity'::date as day,
                          '0044-03-15 BC'::date as ides, '294276-12-31'::timestamp as far";
        let record: JsonRecord = sqlx::query_as(sql).fetch_one(&pool().await).await.expect("it decodes");
        assert_eq!((&record["never"], &record["always"]), (&json!("infinity"), &json!("-infinity")));
        assert_eq!((&record["day"], &record["far"]), (&json!("infinity"), &json!("infinity")));
        assert_eq!(record["ides"], json!("-0043-03-15"));
    }

    #[tokio::test]
    async fn enums_and_domains_are_shown_as_what_they_are_made_of() {
        let mut transaction = pool().await.begin().await.expect("a transaction");
        sqlx::raw_sql("create type json_mood as enum ('glad'); create domain json_age as integer check (value >= 0)")
            .execute(&mut *transaction)
            .await
            .expect("the types are made");
        let record: JsonRecord = sqlx::query_as("select 'glad'::json_mood as mood, 7::json_age as age")
            .fetch_one(&mut *transaction)
            .await
            .expect("it decodes");
        assert_eq!(shown(record), json!({"mood": "glad", "age": 7}));
    }

    #[tokio::test]
    async fn a_type_that_is_not_shown_is_named_with_its_column() {
        let error =
            sqlx::query_as::<_, JsonRecord>("select point(1, 2) as place").fetch_one(&pool().await).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("\"place\"") && error.contains("POINT"), "{error}");
    }
}

mod sqlite {
    use rowlock::store::sqlite::SqliteStore;
    use rowlock::{Pipeline, Repository};

    use super::*;

    #[tokio::test]
    async fn a_claim_carries_every_column_by_the_type_of_its_value() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("queue.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.expect("the file is made");
        sqlx::raw_sql(
            "create table films (id text primary key, frames integer, rate real, poster blob, title text, note);
             insert into films values ('a', 24, 23.976, x'beef', 'naïve', null)",
        )
        .execute(&pool)
        .await
        .expect("the table is made");
        let pipeline = Pipeline::builder("films").table("films").key("id").stage("WATCH").build().expect("it is valid");
        let store = SqliteStore::open(&file, pipeline).await.expect("it opens");
        let films: Repository<_, JsonRecord> = Repository::new(store);
        films.prepare().await.expect("the columns are added");

        let claims = films.claim(9).await.expect("claim");

        let [claim] = <[_; 1]>::try_from(claims.items).expect("one item");
        assert_eq!((claim["frames"].clone(), claim["rate"].clone()), (json!(24), json!(23.976)));
        assert_eq!((claim["poster"].clone(), claim["title"].clone()), (json!("\\xbeef"), json!("naïve")));
        assert_eq!((claim["note"].clone(), claim["status"].clone()), (json!(null), json!("WATCH_IN_PROGRESS")));
        claim.complete().await.expect("complete");
    }
}
