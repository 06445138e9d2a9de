//! What the lens makes of a pipeline's description.

use super::*;
use crate::Stage;

fn lens(pipeline: crate::PipelineBuilder) -> Lens {
    let pipeline = pipeline.build().expect("a valid pipeline");
    Lens::new(&pipeline, Dialect::Postgres)
}

fn builder() -> crate::PipelineBuilder {
    Pipeline::builder("p").table("t").key("id")
}

#[test]
fn a_table_of_the_librarys_own_shape_is_read_and_written_as_it_is() {
    let lens = lens(builder().stage("A"));
    for role in Role::ALL {
        assert_eq!(lens.read(role, Some("t")), format!("t.\"{}\"", role.default_column()));
        assert_eq!(lens.write(role, "x"), None);
    }
    assert_eq!((lens.order(Some("t")), lens.is_wanted(None)), (String::new(), None));
}

#[test]
fn several_words_are_read_and_the_first_is_written() {
    let ready = vec![Word::from("new"), Word::from("again"), Word::Null];
    let stage = Stage::new("A").with_ready(ready).with_running("busy");
    let lens = lens(builder().add_stage(stage).succeeded("done").failed("broken").cancelled("off"));
    assert_eq!(
        lens.read(Role::Status, Some("t")),
        "(case when (t.\"status\" in ('new', 'again') or t.\"status\" is null) then 'new' \
         when (t.\"status\" in ('busy')) then 'busy' when (t.\"status\" in ('done')) then 'done' \
         when (t.\"status\" in ('broken')) then 'broken' when (t.\"status\" in ('off')) then 'off' \
         else t.\"status\"::text end)"
    );
    let written = lens.write(Role::Status, "$1").expect("an assignment");
    assert!(written.starts_with("\"status\" = case ($1) when 'new' then 'new' when 'busy' then"), "{written}");
}

#[test]
fn an_order_has_its_direction_behind_its_parentheses() {
    let lens = lens(builder().stage("A").order_by(["priority desc nulls last", "hops", "case kind when 1 then 0 end"]));
    assert_eq!(lens.order(Some("t")), "(t.priority) desc nulls last, (t.hops), (case t.kind when 1 then 0 end), ");
}

#[test]
fn a_key_of_several_columns_is_a_text_in_which_no_value_can_pass_for_two() {
    let lens = lens(Pipeline::builder("p").table("t").key_columns(["a", "b"]).stage("A"));
    assert_eq!(
        lens.read_key(None),
        "(replace(replace(\"a\"::text, E'\\\\', E'\\\\\\\\'), '/', E'\\\\/') || '/' || \
         replace(replace(\"b\"::text, E'\\\\', E'\\\\\\\\'), '/', E'\\\\/'))"
    );
}
