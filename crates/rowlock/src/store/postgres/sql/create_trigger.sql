-- create_trigger: wakes idle workers on an insert. The trigger fires once per statement, and notifies only while a
-- worker has announced that it waits: NOTIFY takes a global lock at commit. It can never make the user's insert fail.
create or replace function :notify_function() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $rowlock$
begin
  if exists (
    select from :qualified_meta where key = :waiting_key and value::timestamptz > clock_timestamp()
  ) then
    perform pg_notify(:channel, '');
  end if;
  return null;
exception when others then
  return null;
end
$rowlock$;
drop trigger if exists :notify_trigger on :table;
create trigger :notify_trigger after insert on :table for each statement execute function :notify_function()
