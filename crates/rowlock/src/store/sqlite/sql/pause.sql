-- pause: stops claims for a stage. Items in progress continue.
-- Binds: ?1 stage's name  ?2 now
insert into :rowlock_stages (pipeline, stage, paused_at)
values (:'pipeline', ?1, ?2)
on conflict (pipeline, stage) do nothing
