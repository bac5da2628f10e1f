-- Amounts are text with six decimals, times are text in UTC: SQLite has neither decimals nor timestamps.
create table payments (
  id varchar(36) primary key,
  wallet_address varchar(34) not null,
  expected_amount_usdt text not null check (expected_amount_usdt glob '*[0-9].[0-9][0-9][0-9][0-9][0-9][0-9]'),
  callback_url text not null,
  order_id varchar(100) not null unique,
  status varchar(9) not null default 'PENDING' check (status in ('PENDING', 'COMPLETED', 'FAILED', 'EXPIRED')),
  transaction_hash varchar(64),
  received_amount_usdt text,
  created_at text not null,
  completed_at text,
  last_checked_timestamp bigint not null,
  callback_attempts int not null default 0,
  last_callback_attempt text,
  callback_success int not null default 0 check (callback_success in (0, 1)),
  transfer_index int,
  block_timestamp bigint,
  callback_due text
);
create table payment_logs (
  id integer primary key autoincrement,
  payment_id varchar(36) not null references payments (id) on delete cascade,
  event_type varchar(50) not null,
  message text not null,
  event_metadata text,
  created_at text not null
);
create table shop_orders (
  id varchar(36) primary key references payments (id) on delete cascade,
  path varchar(255) not null
);
create unique index idx_payments_transfer on payments (transaction_hash, transfer_index);
create index idx_payments_open on payments (status, wallet_address, expected_amount_usdt, created_at);
create index idx_payments_callback_due on payments (callback_due);
create index idx_payments_created_at on payments (created_at);
create index idx_payment_logs_payment_id on payment_logs (payment_id);
create index idx_payment_logs_created_at on payment_logs (created_at);
-- down
drop table shop_orders;
drop table payment_logs;
drop table payments;
