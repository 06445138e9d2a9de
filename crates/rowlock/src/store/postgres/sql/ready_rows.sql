-- ready_rows: the head of a stage's queue, in order; a claim locks it. A part of pick and of pick_plain.
--
-- Guarantee: no more than the limit; only items that are due; nothing is sorted.
-- Index:     the partial one over the ready words, on (status, ready since). Its predicate is repeated in
--            `:ready_for_stage`; otherwise the planner would not use it. The parts of a batch that failed are found by
--            their places.
-- Binds:     $2 limit   $3 now, or null   $4 max_retries   $5 max_resets   $6 leave exhausted items out
--            $7 keys to leave out, or null
      from :table t
      where :ready_for_stage
        and t.:"key" is not null
        and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= coalesce($3::timestamptz, statement_timestamp())
        and :left_out
        and (not $6::bool or (coalesce(t.:"retry_count", 0) < $4::int and coalesce(t.:"reset_count", 0) < $5::int))
        :of_full_queue
      order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
      limit $2::bigint
      :lock
