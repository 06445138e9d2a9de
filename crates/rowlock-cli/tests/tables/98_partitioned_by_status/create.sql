create table tickets (
  id bigint not null,
  status text not null default 'open',
  created_at timestamptz not null default now(),
  primary key (id, status)
) partition by list (status);
create table tickets_open partition of tickets for values in ('open', 'busy');
create table tickets_closed partition of tickets for values in ('closed', 'failed');
