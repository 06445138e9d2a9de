-- wait: announces that a worker waits for new items until a given time. Writes only if the announced time left is less
-- than half of the wait.
--
-- Binds: $1 seconds to wait
insert into :rowlock_meta as m (key, value)
values (:waiting_key, (statement_timestamp() + make_interval(secs => $1::float8))::text)
on conflict (key) do update
set value = excluded.value
where m.value::timestamptz < statement_timestamp() + make_interval(secs => $1::float8 / 2)
