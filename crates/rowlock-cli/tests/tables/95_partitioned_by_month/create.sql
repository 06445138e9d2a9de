create table invoices (
  tenant_id uuid not null,
  id bigint not null,
  month integer not null,
  amount numeric(12, 2) not null,
  state varchar(12) not null default 'open',
  attempts integer not null default 0,
  last_error text,
  heartbeat timestamptz,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id, month)
) partition by range (month);
create table invoices_2026_01 partition of invoices for values from (202601) to (202602);
create table invoices_2026_02 partition of invoices for values from (202602) to (202603);
create table invoices_rest partition of invoices default;
create index invoices_state on invoices (state);
