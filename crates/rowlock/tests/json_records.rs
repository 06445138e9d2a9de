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

    /// The server's own text of a value.
    async fn as_the_server_shows_it(values: &[&str]) {
        let mut connection = pool().await.acquire().await.expect("a connection");
        for value in values {
            let sql = sqlx::AssertSqlSafe(format!("select {value} as value, ({value})::text as text"));
            let record: JsonRecord = sqlx::query_as(sql).fetch_one(&mut *connection).await.expect("it decodes");
            assert_eq!(record["value"], record["text"], "{value}");
        }
    }

    #[tokio::test]
    async fn types_that_json_does_not_have_are_shown_as_the_server_shows_them() {
        as_the_server_shows_it(&[
            "'[1,5)'::int4range",
            "'empty'::int8range",
            "'(,5.50)'::numrange",
            "'[2026-01-02,)'::daterange",
            "point(1.5, -2)",
            "'[(0,0),(1,1)]'::lseg",
            "'(1,1),(0,0)'::box",
            "'{1,2,3}'::line",
            "'<(1,2),3>'::circle",
            "'((0,0),(1,0),(1,1))'::polygon",
            "'((0,0),(1,0))'::path",
            "'[(0,0),(1,0)]'::path",
            "'10110'::bit(5)",
            "'1011010111'::varbit",
            "''::varbit",
            "'08:00:2b:01:02:03'::macaddr",
            "'08:00:2b:01:02:03:04:05'::macaddr8",
            "'16/B374D848'::pg_lsn",
            "'(3,4)'::tid",
            "'04:05:06.789+02'::timetz",
            "'04:05:06-03:30'::timetz",
            "'24:00:00'::time",
            "$$it's a 'fat' cat:3B back\\\\slash cat:7$$::tsvector",
            "'$.a[*]'::jsonpath",
            "'<a>1</a>'::xml",
            "'x'::\"char\"",
            "'glad'::name",
        ])
        .await;
    }

    #[tokio::test]
    async fn arrays_of_any_dimensions_and_types_are_shown() {
        let sql =
            "select array[[1, 2], [3, null]] as matrix, '{}'::point[] as none, array['[1,2)'::int4range] as ranges,
                          '1 2 3'::int2vector as places, array['2026-01-02 03:04+00'::timestamptz] as times,
                          array['{\"a\": 1}'::jsonb] as documents, '[0:1]={7,8}'::int[] as shifted,
                          array[true] as truths, 12.34::numeric::money as price, 4294967295::oid as number,
                          '-infinity'::float8 as least";
        let record: JsonRecord = sqlx::query_as(sql).fetch_one(&pool().await).await.expect("it decodes");
        let expected = json!({
            "matrix": [[1, 2], [3, null]], "none": [], "ranges": ["[1,2)"], "places": [1, 2, 3],
            "times": ["2026-01-02T03:04:00Z"], "documents": [{"a": 1}], "shifted": [7, 8], "truths": [true],
            "price": "12.34", "number": 4_294_967_295_u32, "least": "-inf",
        });
        assert_eq!(shown(record), expected);
    }

    #[tokio::test]
    async fn types_that_somebody_made_are_shown_down_to_their_parts() {
        let mut transaction = pool().await.begin().await.expect("a transaction");
        sqlx::raw_sql(
            "create type json_part as (name text, size int, note text, at point); \
             create domain json_parts as json_part[]; create type json_span as range (subtype = text)",
        )
        .execute(&mut *transaction)
        .await
        .expect("the types are made");
        let values = [
            "row('a b\"c', 7, null, point(1, 2))::json_part",
            "row('', -1, 'x', null)::json_part",
            "json_span('a, b', null)",
        ];
        for value in values {
            let sql = sqlx::AssertSqlSafe(format!("select {value} as value, ({value})::text as text"));
            let record: JsonRecord = sqlx::query_as(sql).fetch_one(&mut *transaction).await.expect("it decodes");
            assert_eq!(record["value"], record["text"], "{value}");
        }
        let sql = "select array[row('a', 1, null, null)::json_part]::json_parts as parts";
        let record: JsonRecord = sqlx::query_as(sql).fetch_one(&mut *transaction).await.expect("it decodes");
        assert_eq!(shown(record), json!({"parts": ["(a,1,,)"]}));
    }

    #[tokio::test]
    async fn a_type_that_nobody_knows_is_shown_as_its_bytes() {
        let sql = "select 'fat & cat'::tsquery as query, 7 as number";
        let record: JsonRecord = sqlx::query_as(sql).fetch_one(&pool().await).await.expect("it decodes");
        let query = record["query"].as_str().expect("a text");
        assert!(query.starts_with("\\x") && query.len() > 2, "{query}");
        assert_eq!(record["number"], 7);
    }

    #[tokio::test]
    async fn a_row_that_was_sent_as_text_is_shown_alike() {
        let sql = "select true as yes, 7 as number, 1.5::float8 as share, '{\"a\": 1}'::jsonb as document,
                          array[1, 2] as numbers, point(1, 2) as place, null::int as nothing, \
                          '[1,2)'::int4range as range";
        let row = sqlx::Executor::fetch_one(&pool().await, sqlx::raw_sql(sql)).await.expect("a row");
        let record = <JsonRecord as sqlx::FromRow<_>>::from_row(&row).expect("it decodes");
        let expected = json!({
            "yes": true, "number": 7, "share": 1.5, "document": {"a": 1}, "numbers": [1, 2], "place": "(1,2)",
            "nothing": null, "range": "[1,2)",
        });
        assert_eq!(shown(record), expected);
    }
}

mod sqlite {
    use rowlock::store::sqlite::SqliteStore;
    use rowlock::{Existing, Pipeline, Repository};

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
        let pipeline = Pipeline::builder("films").table("films").key("id").stage("WATCH");
        let pipeline = pipeline.existing_rows(Existing::Ready).build().expect("it is valid");
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

    #[tokio::test]
    async fn a_value_of_any_kind_is_shown_and_none_is_an_error() {
        let pool =
            sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.expect("open");
        let sql = "select 9223372036854775807 as most, -9007199254740993 as exact, 9e999 as endless, -9e999 as least,
                          1e300 as large, cast(x'fffe' as text) as broken, x'' as hollow, \
                          cast(x'6100ff' as blob) as bytes,
                          '' as blank, 'a' || char(0) || 'b' as nul, 0.1 as tenth";
        let record: JsonRecord = sqlx::query_as(sql).fetch_one(&pool).await.expect("it decodes");
        let expected = json!({
            "most": i64::MAX, "exact": -9_007_199_254_740_993_i64, "endless": "inf", "least": "-inf", "large": 1e300,
            "broken": "\u{fffd}\u{fffd}", "hollow": "\\x", "bytes": "\\x6100ff", "blank": "", "nul": "a\u{0}b",
            "tenth": 0.1,
        });
        assert_eq!(shown(record), expected);
    }
}
