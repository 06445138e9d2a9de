create table scheduled_tasks (
  id text primary key,
  action text not null,
  status text not null,
  timestamp bigint not null,
  resource_id text,
  params text,
  result text,
  error text
);
create index scheduled_tasks_status on scheduled_tasks (status);
create index scheduled_tasks_timestamp on scheduled_tasks (timestamp);
