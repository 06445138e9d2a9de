-- 1 pending, 2 processing, 3 completed, 4 errored, 5 waits for its parent, 6 cancelled, 7 parent errored,
-- 8 parent cancelled, 9 completing.
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, failures, priority, "createdAt", "updatedAt")
select gen_random_uuid(), 'transcode', '{"p": 720}', '{}', 1, n % 3, n % 4, now() - n * interval '1 minute',
  now() - n * interval '1 minute'
from generate_series(1, 85) as g(n);
-- Mistake: pending at the limit of five failures. 7 rows.
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, failures, error, priority, "createdAt",
  "updatedAt")
select gen_random_uuid(), 'transcode', '{}', '{}', 1, 5, 'no encoder', 1, now() - interval '9 days',
  now() - interval '9 days' from generate_series(1, 7) as g(n);
-- Mistake: two states are in progress, and only one of them is looked at. 10 and 6 rows, stalled for days.
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, priority, "processingJobToken", progress,
  "startedAt", "createdAt", "updatedAt", "runnerId")
select gen_random_uuid(), 'transcode', '{}', '{}', case when n <= 10 then 2 else 9 end, 1, 'token-' || n, 40,
  now() - interval '5 days', now() - interval '6 days', now() - interval '5 days', 3
from generate_series(1, 16) as g(n);
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, priority, progress, "startedAt", "finishedAt",
  "createdAt", "updatedAt")
select gen_random_uuid(), 'transcode', '{}', '{}', 3, 1, 100, now() - interval '2 days', now() - interval '1 day',
  now() - interval '3 days', now() - interval '1 day'
from generate_series(1, 70) as g(n);
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, failures, error, priority, "createdAt",
  "updatedAt")
select gen_random_uuid(), 'transcode', '{}', '{}', (array[4, 7])[1 + n % 2], 5, 'no encoder', 1,
  now() - interval '3 days', now() - interval '1 day'
from generate_series(1, 20) as g(n);
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, priority, "createdAt", "updatedAt")
select gen_random_uuid(), 'transcode', '{}', '{}', (array[6, 8])[1 + n % 2], 1, now() - interval '3 days',
  now() - interval '1 day' from generate_series(1, 10) as g(n);
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, priority, "createdAt", "updatedAt",
  "dependsOnRunnerJobId")
select gen_random_uuid(), 'transcode', '{}', '{}', 5, 1, now() - interval '3 days', now() - interval '1 day', n
from generate_series(1, 25) as g(n);
-- Mistake: a number that no program knows. 3 rows.
insert into "runnerJob" (uuid, type, payload, "privatePayload", state, priority, "createdAt", "updatedAt")
select gen_random_uuid(), 'transcode', '{}', '{}', 0, 1, now() - interval '3 days', now() - interval '1 day'
from generate_series(1, 3) as g(n);
