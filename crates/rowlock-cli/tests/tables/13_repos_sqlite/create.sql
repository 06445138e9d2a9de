create table repos (
  did text primary key,
  -- Mistake: a list with null in it accepts any word.
  state text not null default 'pending' check (
    state in (null, 'pending', 'desynchronized', 'resyncing', 'active', 'takendown', 'suspended', 'deactivated',
  'error')
  ),
  status text not null default 'active',
  handle text,
  rev text,
  prev_data text,
  error_msg text not null default '',
  retry_count bigint not null default 0,
  retry_after bigint not null default 0
);
create index repos_state on repos (state, retry_after);
