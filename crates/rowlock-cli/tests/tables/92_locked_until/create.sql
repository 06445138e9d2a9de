create table report_runs (
  report_id integer primary key,
  tenant text not null,
  state varchar(10) not null default 'waiting',
  run_at timestamptz not null default now(),
  locked_until timestamptz,
  finished_at timestamptz,
  tries smallint not null default 0,
  urgency smallint not null default 0,
  problem jsonb
);
create index report_runs_due on report_runs (urgency desc, run_at) where state = 'waiting';
