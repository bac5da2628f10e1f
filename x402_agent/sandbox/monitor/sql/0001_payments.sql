-- Times are UTC without a zone, as published.
--postgresql create type payment_status as enum ('PENDING', 'COMPLETED', 'FAILED', 'EXPIRED');
create table payments (
  id varchar(36) primary key,
  wallet_address varchar(34) not null,
  expected_amount_usdt numeric(18,6) not null,
  callback_url text not null,
  order_id varchar(100) not null unique,
--sqlite  status varchar(9) not null default 'PENDING' check (status in ('PENDING', 'COMPLETED', 'FAILED', 'EXPIRED')),
--postgresql  status payment_status not null default 'PENDING',
  transaction_hash varchar(64),
  received_amount_usdt numeric(18,6),
  created_at timestamp(3) not null,
  completed_at timestamp(3),
  last_checked_timestamp bigint not null,
  callback_attempts int not null default 0,
  last_callback_attempt timestamp(3),
  callback_success int not null default 0 check (callback_success in (0, 1)),
  transfer_index int,
  block_timestamp bigint,
  callback_due timestamp(3)
--sqlite  , check (expected_amount_usdt glob '*[0-9].[0-9][0-9][0-9][0-9][0-9][0-9]')
);
create table payment_logs (
  id serial primary key,
  payment_id varchar(36) not null references payments (id) on delete cascade,
  event_type varchar(50) not null,
  message text not null,
  event_metadata json,
  created_at timestamp(3) not null
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
--postgresql drop type payment_status;
