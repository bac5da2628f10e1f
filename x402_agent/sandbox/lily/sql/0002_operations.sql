create table webhooks (
  id varchar(36) primary key,
  service_id varchar(36) not null,
  service_type varchar(50) not null,
  url text not null,
  secret varchar(64) not null,
  enabled int not null default 1 check (enabled in (0, 1)),
  disabled_at timestamp(3),
  created_at timestamp(3) not null,
  unique (service_id, service_type)
);
create table webhook_deliveries (
  id varchar(36) primary key,
  webhook_id varchar(36) not null references webhooks (id) on delete cascade,
  event varchar(50) not null,
  body text not null,
  status varchar(10) not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  attempts int not null default 0,
  response_status int not null default 0,
  words varchar(100) not null default '',
  next_at timestamp(3) not null,
  created_at timestamp(3) not null
);
create table x402_alerts (
  id varchar(36) primary key,
  kind varchar(20) not null check (kind in ('failed_payments', 'session_abuse', 'unusual_spending', 'low_credit')),
  subject varchar(44) not null,
  service_id varchar(36) not null,
  service_type varchar(50) not null,
  words varchar(200) not null,
  measured bigint not null,
  threshold bigint not null,
  since timestamp(3) not null,
  created_at timestamp(3) not null,
  unique (kind, subject, service_id, since)
);
create index idx_deliveries_due on webhook_deliveries (status, next_at);
create index idx_alerts_created on x402_alerts (created_at);
-- down
drop table x402_alerts;
drop table webhook_deliveries;
drop table webhooks;
