create type job_status as enum ('queued', 'processing', 'completed', 'failed');
create table fingerprint_jobs (
  id uuid default gen_random_uuid() primary key,
  track_id uuid not null,
  status job_status not null default 'queued',
  attempts integer not null default 0,
  error_message text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  completed_at timestamptz
);
create function set_updated_at() returns trigger language plpgsql
as $$ begin new.updated_at := now(); return new; end $$;
-- Mistake: the lease is updated_at, and this trigger renews it at every update, whoever makes it.
create trigger fingerprint_jobs_updated before update on fingerprint_jobs
for each row execute function set_updated_at();
