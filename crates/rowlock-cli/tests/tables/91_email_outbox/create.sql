create schema mail;
create table mail."outgoing mail" (
  message_id varchar(64) primary key,
  recipient text not null,
  body text not null,
  sent_at timestamptz,
  bounced_at timestamptz,
  bounce_reason varchar(40),
  created_at timestamptz not null default now()
);
create index outgoing_mail_waiting on mail."outgoing mail" (created_at) where sent_at is null and bounced_at is null;
