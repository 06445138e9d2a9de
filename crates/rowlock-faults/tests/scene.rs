//! What a scene guarantees to the faults.

use std::path::PathBuf;

use rowlock_faults::arena::{Cast, Round, Scene, Size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_is_done_before_an_injection_gets_more_work_within_a_limit_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rowlock-faults"));
    let size = Size { items: 40, more_items_max: 20, ..Size::SHORT };
    let round = Round { seed: 1, size, program, folder: folder.path().to_owned() };
    let mut scene = Scene::on_file(&round, Cast::default()).await.expect("a scene");
    scene.start().expect("the fleet starts");
    scene.drain().await.expect("the fleet works");
    assert_eq!(scene.unfinished().await, Some(0));

    for _ in 0..2 {
        assert!(scene.is_busy_after(0..=0).await.expect("more work"), "an injection found nobody at work");
        scene.injected();
        scene.drain().await.expect("the fleet goes on");
    }
    assert!(!scene.is_busy_after(0..=0).await.expect("a look"), "there is no end to the work");

    let verdict = scene.judge().await.expect("a verdict");
    assert_eq!((verdict.violations.as_slice(), verdict.items), ([].as_slice(), 60));
}
