create table work_queue (
  id bigserial primary key,
  task_name text not null,
  organization_id uuid not null,
  instance_num smallint not null,
  spec jsonb not null,
  tries integer not null default 0,
  claimed_by bigint not null default -1,
  claimed_at timestamptz,
  heartbeated_at timestamptz,
  failed boolean not null default false,
  failed_reason text,
  created_at timestamptz not null default now(),
  priority integer not null
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);
create index work_queue_ready on work_queue (task_name, id) where claimed_by = -1 and not failed;
create index work_queue_held on work_queue (heartbeated_at) include (id, claimed_by) where claimed_by <> -1;
