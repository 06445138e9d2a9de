-- pick_plain: the items that a plain claim would take, and whether any is special: at a limit, or a suspect. A part of
-- claim_plain and claim_full.
picked as materialized (
  select array_agg(head.key) as keys, count(*) as n, coalesce(bool_or(head.is_special), false) as is_special
  from (
    select
      t.:"key" as key,
      coalesce(t.:"retry_count", 0) >= $4::int
        or coalesce(t.:"reset_count", 0) >= $5::int
        or coalesce(t.:"reset_count", 0) >= 1 and coalesce(t.:"reset_count", 0) = $5::int - 1 as is_special
      :ready_rows
  ) as head
)
