//! Replays the fuzzer's corpus, so that earlier findings stay fixed.

use std::path::Path;

fn replay(target: &str, feed: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let file = entry.expect("an entry").path();
        let data = std::fs::read(&file).expect("a readable file");
        let fed = std::panic::catch_unwind(|| feed(&data));
        assert!(fed.is_ok(), "{} is a find", file.display());
        files += 1;
    }
    assert!(files >= 10, "only {files} files in {}", folder.display());
}

#[test]
fn the_corpus_of_pipelines_finds_nothing() {
    replay("pipeline", rowlock_faults::garbage::pipeline);
}

#[test]
fn the_corpus_of_words_finds_nothing() {
    replay("words", rowlock_faults::garbage::words);
}
