create table job_queue (
  id serial primary key,
  request_tag text not null,
  target text not null,
  backend text not null,
  profile text not null,
  benchmark_set integer not null,
  collector_name text,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  status text not null,
  retry integer default 0,
  kind text not null default 'compiletime',
  is_optional boolean not null default false
);
create index job_queue_target on job_queue (status, target, benchmark_set);
create index job_queue_tag on job_queue (request_tag);
-- The lease is in another table, by the name of the machine, which a restarted process reuses.
create table collector_config (name text primary key, last_heartbeat_at timestamptz not null);
-- The errors are in another table.
create table error (job_id integer not null references job_queue (id), message text not null);
