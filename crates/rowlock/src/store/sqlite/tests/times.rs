//! Times in every spelling: what the claim takes, `explain` says is claimable, and nothing else.

use chrono::TimeDelta;

use super::*;
use crate::store::Verdict;

/// A time that Rowlock reads, in the spellings of others, with the same time as Rowlock writes it.
const READ: [(&str, &str); 21] = [
    ("2026-11-28T18:31:01.123Z", "2026-11-28T18:31:01.123Z"),
    ("2026-11-28 18:31:01", "2026-11-28T18:31:01.000Z"),
    ("2026-11-28T18:31:01", "2026-11-28T18:31:01.000Z"),
    ("2026-11-28T18:31:01Z", "2026-11-28T18:31:01.000Z"),
    ("2026-11-28 18:31:01Z", "2026-11-28T18:31:01.000Z"),
    ("2026-11-28T18:31:01.5", "2026-11-28T18:31:01.500Z"),
    ("2026-11-28 18:31:01.25Z", "2026-11-28T18:31:01.250Z"),
    ("2026-11-28T18:31:01.123456Z", "2026-11-28T18:31:01.123Z"),
    ("2026-11-28T18:31:01.123456789", "2026-11-28T18:31:01.123Z"),
    ("2026-11-28T18:31:01.999999Z", "2026-11-28T18:31:01.999Z"),
    ("2026-11-28T18:31:01+02:00", "2026-11-28T16:31:01.000Z"),
    ("2026-11-28 18:31:01.5-08:00", "2026-11-29T02:31:01.500Z"),
    ("2026-11-28T00:31:01.123456+05:45", "2026-11-27T18:46:01.123Z"),
    ("2026-11-28 18:31:01+02", "2026-11-28T16:31:01.000Z"),
    ("2026-11-28 18:31:01.25-05", "2026-11-28T23:31:01.250Z"),
    ("2026-11-28T18:31:01+0530", "2026-11-28T13:01:01.000Z"),
    ("2026-11-28T18:31:01.123456-0800", "2026-11-29T02:31:01.123Z"),
    ("2026-11-28", "2026-11-28T00:00:00.000Z"),
    ("2026-11-28 18:31", "2026-11-28T18:31:00.000Z"),
    ("2026-02-30T12:00:00.000Z", "2026-03-02T12:00:00.000Z"),
    ("2026-11-28T24:00:00.000Z", "2026-11-29T00:00:00.000Z"),
];

/// What no time can be read from, as literals.
const UNREAD: [&str; 23] = [
    "'2026:11:28 18:31:01'",
    "'Sat, 28 Nov 2026 18:31:01 GMT'",
    "'28.11.2026'",
    "'28.11.2026 18:31'",
    "'11/28/2026'",
    "'now'",
    "'yesterday'",
    "'18:31'",
    "''",
    "'2461373.27'",
    "x'323032362d31312d3238'",
    "x'ff'",
    "cast(x'e9' as text)",
    "'2026-13-01T12:00:00.000Z'",
    "'2026-11-28T18:61:01.000Z'",
    "'abcd-ef-ghTij:kl:mn.opqZ'",
    "'2026-11-28T18:31:01.123Q'",
    "'2026-11-28 18:31:01 Europe/Berlin'",
    "'2026-11-28T18:31:01+99:00'",
    "'20261128T183101Z'",
    "'2026-11-28 18:31:01+2x'",
    "'2026-11-28 18:61:01+02'",
    "'2026-11-28 18:31:01 x+0200'",
];

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// A table of the user's, whose column for times takes anything.
async fn scene() -> Scene {
    let scene = Scene::new().await;
    scene
        .execute(
            "drop table videos;
             create table videos (id text primary key not null, created_at, retry_after, heartbeat_at)",
        )
        .await;
    scene.store.prepare().await.expect("prepares");
    scene
}

async fn put(scene: &Scene, key: &str, column: &str, literal: &str) {
    scene.execute(&format!("insert or replace into videos (id, {column}) values ('{key}', {literal})")).await;
}

async fn claimed_at(scene: &Scene, now: DateTime<Utc>) -> Vec<String> {
    let claiming = ClaimParams { now: Some(now), ..claiming(&scene.store, 1_000) };
    let batch = scene.store.claim(&claiming).await.expect("claim");
    batch.leases().map(|lease| lease.key.as_str().to_owned()).collect()
}

async fn verdict_at(scene: &Scene, key: &str, now: DateTime<Utc>) -> Verdict {
    let explanation = scene.store.explain(&Key::from(key), Some(now)).await.expect("explain").expect("an item");
    explanation.verdict(scene.store.pipeline())
}

#[tokio::test]
async fn a_time_in_any_spelling_of_iso_is_due_when_it_says_and_explain_agrees() {
    for column in ["created_at", "retry_after"] {
        for (spelling, meant) in READ {
            let scene = scene().await;
            put(&scene, "a", column, &format!("'{spelling}'")).await;
            let meant = time(meant);
            for early in [1, 500, 7_200_000] {
                let now = meant - TimeDelta::milliseconds(early);
                let verdict = verdict_at(&scene, "a", now).await;
                assert!(matches!(verdict, Verdict::Waiting { .. }), "{spelling} at {now}: {verdict:?}");
                assert!(claimed_at(&scene, now).await.is_empty(), "{spelling} at {now}");
                let counts = scene
                    .store
                    .counts(&CountParams { now: Some(now), ..CountParams::default() })
                    .await
                    .expect("counts");
                assert_eq!(counts.stages[0].next_due_at, Some(meant), "{spelling}");
            }
            let verdict = verdict_at(&scene, "a", meant).await;
            assert!(matches!(verdict, Verdict::Claimable { .. }), "{spelling}: {verdict:?}");
            assert_eq!(claimed_at(&scene, meant).await, ["a"], "{spelling}");
        }
    }
}

#[tokio::test]
async fn a_time_that_cannot_be_read_is_never_due_and_is_named() {
    let latest = time("9999-12-31T23:59:59.999Z");
    for column in ["created_at", "retry_after"] {
        for literal in UNREAD {
            let scene = scene().await;
            put(&scene, "a", column, literal).await;
            assert!(claimed_at(&scene, latest).await.is_empty(), "{literal}");
            match verdict_at(&scene, "a", latest).await {
                Verdict::UnreadableTime { column: named, .. } => assert_eq!(named, column),
                other => panic!("{literal}: {other:?}"),
            }
            let reported = scene.store.inspect().await.expect("inspect").join("\n");
            assert!(reported.contains("cannot be read"), "{literal}: {reported}");
            let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
            assert_eq!(counts.stages[0].never_due, 1, "{literal}: nobody waits for it");
        }
    }
}

#[tokio::test]
async fn a_heartbeat_in_any_spelling_is_as_old_as_it_says_and_one_that_cannot_be_read_is_stale() {
    let sweep = async |scene: &Scene, now| {
        let sweeping = SweepParams { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: Some(now) };
        scene.store.sweep(&sweeping).await.expect("sweep").items.len()
    };
    for (spelling, meant) in READ {
        let scene = scene().await;
        put(&scene, "a", "status, claim_token, heartbeat_at", &format!("'A_IN_PROGRESS', 7, '{spelling}'")).await;
        let meant = time(meant);
        assert_eq!(sweep(&scene, meant + TimeDelta::seconds(299)).await, 0, "{spelling}");
        assert_eq!(sweep(&scene, meant + TimeDelta::seconds(302)).await, 1, "{spelling}");
    }
    for literal in UNREAD {
        let scene = scene().await;
        put(&scene, "a", "status, claim_token, heartbeat_at", &format!("'A_IN_PROGRESS', 7, {literal}")).await;
        let explanation = scene.store.explain(&Key::from("a"), None).await.expect("explain").expect("an item");
        assert!(matches!(&explanation.unreadable[..], [(Role::Heartbeat, _)]), "{literal}: {explanation:?}");
        let reported = scene.store.inspect().await.expect("inspect").join("\n");
        assert!(reported.contains("cannot be read"), "{literal}: {reported}");
        assert_eq!(sweep(&scene, Utc::now()).await, 1, "{literal}");
    }
}

/// Every pair of spellings, at the times around each: what a claim takes is what `explain` calls claimable.
#[tokio::test]
async fn explain_agrees_with_the_claim_whatever_the_row_holds() {
    let literals: Vec<String> = READ
        .iter()
        .map(|(spelling, _)| format!("'{spelling}'"))
        .chain(UNREAD.iter().map(|literal| (*literal).to_owned()))
        .chain(["null", "20261128", "1795890661", "1.5"].map(str::to_owned))
        .collect();
    for now in
        ["2026-03-02T12:00:00.000Z", "2026-11-28T16:31:01.000Z", "2026-11-28T18:31:01.123Z", "2030-01-01T00:00:00.000Z"]
    {
        let (scene, now) = (scene().await, time(now));
        let mut values = Vec::new();
        for (created, created_at) in literals.iter().enumerate() {
            for (retry, retry_after) in literals.iter().enumerate() {
                values.push(format!("('{created}-{retry}', {created_at}, {retry_after})"));
            }
        }
        scene.execute(&format!("insert into videos (id, created_at, retry_after) values {}", values.join(", "))).await;
        let mut claimable = Vec::new();
        for created in 0..literals.len() {
            for retry in 0..literals.len() {
                let key = format!("{created}-{retry}");
                if matches!(verdict_at(&scene, &key, now).await, Verdict::Claimable { .. }) {
                    claimable.push(key);
                }
            }
        }
        let mut claimed = Vec::new();
        loop {
            let more = claimed_at(&scene, now).await;
            if more.is_empty() {
                break;
            }
            claimed.extend(more);
        }
        claimable.sort();
        claimed.sort();
        assert_eq!(claimed, claimable, "at {now}");
    }
}

#[tokio::test]
async fn items_are_claimed_in_the_order_of_their_times_whatever_the_spelling() {
    let scene = scene().await;
    for (key, literal) in [
        ("e", "'2026-11-28T18:31:01.124Z'"),
        ("c", "'2026-11-28 18:31:01'"),
        ("a", "null"),
        ("d", "'2026-11-28T18:31:01.123456Z'"),
        ("b", "'2026-11-28T18:31:01+02:00'"),
        ("f", "'2026-11-28T10:31:02-08:00'"),
    ] {
        put(&scene, key, "created_at", literal).await;
    }
    assert_eq!(claimed_at(&scene, time("2026-12-01T00:00:00Z")).await, ["a", "b", "c", "d", "e", "f"]);
}

/// The index computes what it holds whenever a row is written, also by programs that know nothing of Rowlock.
#[tokio::test]
async fn no_value_of_a_time_keeps_its_row_from_being_written_and_the_index_holds_what_it_should() {
    let scene = scene().await;
    for (place, literal) in UNREAD.iter().enumerate() {
        put(&scene, &format!("x{place}"), "created_at", literal).await;
    }
    let verb = scene.store.verb("test");
    let mut session = scene.store.take_writer(&verb).await.expect("a connection");
    let row = (*session).fetch_one("pragma integrity_check").await.expect("a check");
    session.keep();
    assert_eq!(row.get::<String, _>(0), "ok");
}

#[tokio::test]
async fn a_clock_before_1970_is_a_clock_like_any() {
    for now in [time("1969-12-31T23:30:00Z"), time("1900-01-01T00:00:00Z"), time("0000-06-01T12:00:00Z")] {
        let scene = scene().await;
        let at = |minutes: i64| now + TimeDelta::minutes(minutes);
        put(&scene, "a", "created_at", &format!("'{}'", clock::format(at(-1)))).await;
        put(&scene, "b", "created_at", &format!("'{}'", clock::format(at(60)))).await;
        assert_eq!(claimed_at(&scene, now).await, ["a"], "{now}");
        match verdict_at(&scene, "b", now).await {
            Verdict::Waiting { .. } => {}
            other => panic!("{now}: {other:?}"),
        }
        let sweeping =
            |now| SweepParams { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: Some(now) };
        assert!(scene.store.sweep(&sweeping(at(4))).await.expect("sweep").items.is_empty(), "{now}");
        let swept = scene.store.sweep(&sweeping(at(6))).await.expect("sweep");
        assert_eq!(swept.keys().map(Key::as_str).collect::<Vec<_>>(), ["a"], "{now}");
        let claiming = ClaimParams { now: Some(at(7)), ..claiming(&scene.store, 10) };
        let leases: Vec<Lease> = scene.store.claim(&claiming).await.expect("claim").leases().cloned().collect();
        assert_eq!(scene.store.renew(&leases, Some(at(8))).await.expect("renew"), [LeaseState::Held], "{now}");
        let retry = Outcome::Retry { error: "later".to_owned(), delay: Some(Duration::from_secs(600)) };
        let finishing = FinishParams { now: Some(at(9)), ..finishing(&scene.store, &leases, &retry) };
        let finished = scene.store.finish(&finishing).await.expect("finish");
        assert!(matches!(finished[..], [Finished::Applied { .. }]), "{now}: {finished:?}");
        assert!(claimed_at(&scene, at(18)).await.is_empty(), "{now}: it is retried in ten minutes");
        let counts = CountParams { now: Some(at(18)), ..CountParams::default() };
        let counts = scene.store.counts(&counts).await.expect("counts");
        assert_eq!((counts.at, counts.stages[0].next_due_at), (at(18), Some(at(19))), "{now}");
        assert_eq!(claimed_at(&scene, at(19)).await, ["a"], "{now}");
    }
}
