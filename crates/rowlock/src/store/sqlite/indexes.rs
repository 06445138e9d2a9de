//! The names of a pipeline's indexes.

use crate::pipeline::{Pipeline, Role};
use crate::store::identifier::Dialect;
use crate::store::lens::Lens;

/// The indexes, each with a step in `schema.sql`. The last one is for a key of several columns.
pub(super) const KINDS: [&str; 4] = ["ready", "running", "stopped", "key"];

/// The indexes of this pipeline.
pub(super) fn kinds(pipeline: &Pipeline) -> &'static [&'static str] {
    if pipeline.key_columns().len() > 1 { &KINDS } else { &KINDS[..3] }
}

/// What an index is for.
pub(super) fn why(kind: &str) -> &'static str {
    match kind {
        "ready" => "the queue: a claim reads the next items in their order, and sorts nothing",
        "running" => "the items in progress: the sweep, and the search for a claim whose answer was lost",
        "stopped" => "items that failed, were cancelled or have an unknown word are counted without a full scan",
        _ => "finds an item by its key, which has several columns",
    }
}

/// The name of an index, from its pipeline, its kind and its definition.
pub(super) fn name(pipeline: &Pipeline, kind: &str) -> String {
    format!("{}{kind}_{:08x}", prefix(pipeline), hash_of_definition(pipeline, kind))
}

/// Whether an index belongs to this pipeline with a definition that is no longer current.
pub(super) fn is_outdated(pipeline: &Pipeline, index: &str) -> bool {
    let Some(rest) = index.strip_prefix(&prefix(pipeline)) else { return false };
    let of_kind = |kind: &&str| {
        rest.strip_prefix(*kind)
            .and_then(|rest| rest.strip_prefix('_'))
            .is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    KINDS.iter().any(|kind| of_kind(kind) && name(pipeline, kind) != index)
}

fn prefix(pipeline: &Pipeline) -> String {
    format!("rowlock_{}_", pipeline.name())
}

/// FNV-1a over everything of the pipeline that the indexes' steps in `schema.sql` mention, and over how an index reads
/// it if that differs from the original form. Index names contain it: it changes with a definition, and only with it.
fn hash_of_definition(pipeline: &Pipeline, kind: &str) -> u32 {
    let form = if kind == "ready" { Some("times are read") } else { None };
    let columns = [Role::Status, Role::RetryAfter, Role::CreatedAt, Role::ClaimToken];
    let parts = [pipeline.table().name(), pipeline.key()]
        .into_iter()
        .chain(columns.map(|role| pipeline.columns().name(role)))
        .chain(pipeline.words())
        .chain(form);
    let translated = translated(pipeline);
    let mut hash: u32 = 0x811c_9dc5;
    for byte in parts.chain(translated.iter().map(String::as_str)).flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash
}

/// What the definitions say beyond the names of columns and words; nothing for a table like those that the library
/// makes.
fn translated(pipeline: &Pipeline) -> Vec<String> {
    let lens = Lens::new(pipeline, Dialect::Sqlite);
    let roles = [Role::Status, Role::RetryAfter, Role::CreatedAt].into_iter();
    let mut parts: Vec<String> =
        roles.filter(|role| lens.translates_role(*role)).map(|role| lens.read(role, None)).collect();
    parts.extend(lens.is_wanted(None));
    parts.extend(lens.is_ignored(None));
    parts.extend(pipeline.order().iter().cloned());
    if lens.has_many_key_columns() {
        parts.push(lens.read_key(None));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, stages: &[&str]) -> Pipeline {
        let builder = Pipeline::builder(name).table("t").key("id");
        stages.iter().fold(builder, |builder, stage| builder.stage(*stage)).build().expect("a valid pipeline")
    }

    #[test]
    fn a_pipeline_with_other_words_has_other_indexes_and_outdates_its_old_ones() {
        let (before, after) = (pipeline("p", &["A"]), pipeline("p", &["A", "B"]));
        let old = name(&before, "ready");
        assert!(is_outdated(&after, &old));
        assert!(!is_outdated(&before, &old));
        assert!(!is_outdated(&pipeline("other", &["A", "B"]), &old));
        assert!(!is_outdated(&after, "rowlock_p_ready_by_hand"));
    }

    #[test]
    fn a_pipeline_leaves_the_indexes_of_one_whose_name_begins_alike() {
        assert!(!is_outdated(&pipeline("p", &["A"]), &name(&pipeline("p_ready", &["A"]), "ready")));
    }
}
