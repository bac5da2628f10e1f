create table webhooks (
  id text primary key,
  user_id text not null references users (id) on delete cascade,
  url varchar(500) not null,
  events jsonb not null,
  secret varchar(64) not null,
  enabled int not null default 1 check (enabled in (0, 1)),
  disabled_at timestamp,
  created_at timestamp not null
);
create table webhook_deliveries (
  id text primary key,
  webhook_id text not null references webhooks (id) on delete cascade,
  event varchar(50) not null,
  body text not null,
  status varchar(10) not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  attempts int not null default 0,
  response_status int not null default 0,
  words varchar(100) not null default '',
  next_at timestamp not null,
  created_at timestamp not null
);
create index idx_webhooks_user on webhooks (user_id);
create index idx_deliveries_due on webhook_deliveries (status, next_at);
-- down
drop table webhook_deliveries;
drop table webhooks;
