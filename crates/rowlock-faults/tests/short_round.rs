//! A short round of every fault; `make faults` runs the long one.

use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use rowlock_faults::arena::{Round, Size};
use rowlock_faults::faults::{ALL, Arena};
use rowlock_faults::report::{Line, Outcome, Report};

/// One server for all faults that do not harm it. It ends with this process; a static is not dropped, so its empty
/// temporary folder remains.
static ARENA: OnceLock<Arena> = OnceLock::new();

/// Runs one fault at a small size, with a seed that a failure names.
async fn attack(name: &str) {
    let fault = ALL.iter().find(|fault| fault.name == name).expect("a fault of this name");
    let seed: u64 =
        std::env::var("ROWLOCK_FAULTS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rowlock-faults"));
    let round = Round { seed, size: Size::SHORT, program, folder: folder.path().to_owned() };
    let outcome = fault.run(ARENA.get_or_init(Arena::open), &round).await;
    if let Outcome::NotRun(why) = &outcome {
        // Bypasses the test's capture: a fault that did not run must not look like a pass.
        writeln!(std::io::stderr(), "not run: {name}: {why}").expect("standard error can be written");
    }
    let report = Report { seed, is_whole: false, lines: vec![Line { fault: name.to_owned(), outcome }] };
    if !report.is_clean() {
        let logs = folder.keep();
        panic!("ROWLOCK_FAULTS_SEED={seed}; logs in {}\n{}", logs.display(), report.to_markdown());
    }
}

macro_rules! short_round {
    ($($test:ident: $fault:literal,)*) => {
        // A marker by which scripts/test finds them.
        mod short_round {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::attack($fault).await;
                }
            )*

            #[test]
            fn every_fault_has_its_short_round() {
                let tested = [$($fault),*];
                for fault in super::ALL {
                    assert!(tested.contains(&fault.name), "{} has no short round here", fault.name);
                }
            }
        }
    };
}

short_round! {
    workers_are_killed_on_postgres: "killed",
    workers_die_at_each_point_on_postgres: "killed-at-points",
    zombies_change_nothing_on_postgres: "zombie",
    clean_restarts_count_nothing_on_postgres: "clean-restarts",
    poison_is_stopped_on_postgres: "poison",
    rows_that_refuse_harm_themselves_on_postgres: "refusing-rows",
    rows_raise_every_error_on_postgres: "error-codes",
    a_deploy_is_broken_on_postgres: "broken-deploy",
    messages_do_not_fit_the_encoding_on_postgres: "encodings",
    the_log_of_failures_cannot_be_written_on_postgres: "failing-log",
    handlers_take_batches_on_postgres: "batch-handlers",
    the_server_crashes_on_postgres: "server-crash",
    connections_break_on_postgres: "connections",
    operators_race_workers_on_postgres: "operators",
    tables_have_other_shapes_on_both: "shapes",
    whole_batches_are_hit_on_postgres: "whole-batches",
    a_standby_takes_over_on_postgres: "fail-over",
    the_server_takes_no_writes_for_a_while_on_postgres: "read-only-window",
    the_server_has_no_connections_left_on_postgres: "no-connections",
    a_service_of_the_handlers_is_away_on_postgres: "service-away",
    a_pooler_stands_between_on_postgres: "pooler",
    starved_workers_keep_their_leases_on_postgres: "starvation",
    clocks_are_off_on_postgres: "clocks",
    the_servers_clock_is_set_on_postgres: "server-clock",
    a_machine_is_suspended_on_sqlite: "suspend",
    a_fleet_is_stopped_on_postgres: "stopped",
    a_fleet_is_stopped_on_sqlite: "stopped-file",
    the_database_is_slow_on_postgres: "slow-database",
    the_disk_is_full_on_both: "full-disk",
    processes_are_killed_on_sqlite: "sqlite",
    the_file_is_replaced_on_sqlite: "replaced-file",
    bad_input_harms_nothing_on_postgres: "bad-input",
    everything_at_once_on_postgres: "mixture",
}
