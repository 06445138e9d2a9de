-- The tables that handlers write, and a ledger of every move. A trigger writes the ledger in the transaction that
-- moves.
alter table items
  add column behaviour text not null default 'work',
  add column work_ms int default 0;

create table effects (
  item text not null,
  stage text not null,
  token bigint not null,
  worker text not null,
  commit_ms int not null default 0,
  at timestamptz not null default clock_timestamp()
);

create table moves (
  n bigserial primary key,
  item text not null,
  was text,
  became text,
  token bigint,
  holder text,
  heartbeat_at timestamptz,
  retries int,
  resets int,
  error text,
  at timestamptz not null default clock_timestamp()
);

-- The token of a move is that of its claim: for a claim the new one, for any other move the one that the row had.
create function record_move() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    insert into moves (item, was) values (old.id, old.status);
  elsif tg_op = 'INSERT' then
    insert into moves (item, became) values (new.id, new.status);
  else
    insert into moves (item, was, became, token, holder, heartbeat_at, retries, resets, error)
    values (
      new.id, old.status, new.status,
      case when new.status like '%\_IN\_PROGRESS' then new.claim_token else old.claim_token end,
      new.claimed_by, old.heartbeat_at, new.retry_count, new.reset_count, new.error_message
    );
  end if;
  return null;
end
$$;

-- A claim of an item whose lease has not ended changes the token but not the word.
create trigger record_update after update on items for each row
  when (
    old.status is distinct from new.status
    or (old.claim_token is distinct from new.claim_token and new.status like '%\_IN\_PROGRESS')
  )
  execute function record_move();
create trigger record_insert_or_delete after insert or delete on items for each row execute function record_move();

-- A slow commit, so that a process can be killed after it sent the commit and before it has the answer.
create function commit_slowly() returns trigger language plpgsql as $$
begin
  perform pg_sleep(new.commit_ms / 1000.0);
  return null;
end
$$;
create constraint trigger commit_slowly after insert on effects deferrable initially deferred for each row
  when (new.commit_ms > 0) execute function commit_slowly();
