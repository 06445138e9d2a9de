-- The tables that handlers write, and a ledger of every move. A trigger writes the ledger in the transaction that
-- moves.
alter table items add column behaviour text not null default 'work';
alter table items add column work_ms int default 0;

create table effects (
  item text not null,
  stage text not null,
  token integer not null,
  worker text not null,
  commit_ms int not null default 0,
  at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

create table moves (
  n integer primary key autoincrement,
  item text not null,
  was text,
  became text,
  token integer,
  holder text,
  heartbeat_at text,
  retries int,
  resets int,
  error text,
  at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- The token of a move is that of its claim: for a claim the new one, for any other move the one that the row had. A
-- claim of an item whose lease has not ended changes the token but not the word.
create trigger record_update after update on items
when old.status is not new.status
  or (old.claim_token is not new.claim_token and new.status like '%!_IN!_PROGRESS' escape '!')
begin
  insert into moves (item, was, became, token, holder, heartbeat_at, retries, resets, error)
  values (
    new.id, old.status, new.status,
    case when new.status like '%!_IN!_PROGRESS' escape '!' then new.claim_token else old.claim_token end,
    new.claimed_by, old.heartbeat_at, new.retry_count, new.reset_count, new.error_message
  );
end;
create trigger record_insert after insert on items
begin
  insert into moves (item, became) values (new.id, new.status);
end;
create trigger record_delete after delete on items
begin
  insert into moves (item, was) values (old.id, old.status);
end;
