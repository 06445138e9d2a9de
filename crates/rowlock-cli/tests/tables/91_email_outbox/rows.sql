insert into mail."outgoing mail" (message_id, recipient, body, created_at)
select 'w' || n, 'user' || n || '@example.org', 'hello', now() - n * interval '1 minute'
from generate_series(1, 120) as g(n);
insert into mail."outgoing mail" (message_id, recipient, body, sent_at, created_at)
select 's' || n, 'user' || n || '@example.org', 'hello', now() - interval '1 day', now() - interval '2 days'
from generate_series(1, 100) as g(n);
insert into mail."outgoing mail" (message_id, recipient, body, bounced_at, bounce_reason, created_at)
select 'b' || n, 'user' || n || '@example.org', 'hello', now() - interval '1 day', 'no such user',
  now() - interval '2 days' from generate_series(1, 20) as g(n);
-- Mistake: sent and bounced; by one column it succeeded, by the other it failed. 6 rows.
insert into mail."outgoing mail" (message_id, recipient, body, sent_at, bounced_at, created_at)
select 'x' || n, 'user' || n || '@example.org', 'hello', now() - interval '1 day', now(), now() - interval '2 days'
from generate_series(1, 6) as g(n);
