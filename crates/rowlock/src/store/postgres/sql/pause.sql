-- pause: stops claims for a stage. Items in progress continue.
--
-- Binds: $1 the stage's name
insert into :rowlock_stages (pipeline, stage, paused_at)
values (:'pipeline', $1::text, statement_timestamp())
on conflict do nothing
