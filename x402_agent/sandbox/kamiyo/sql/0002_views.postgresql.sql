-- `x402_clock` says how far the sandbox's clock is ahead of the machine's.
create view v_x402_active_payments as
select id, tx_hash, chain, amount_usdc, from_address, requests_allocated, requests_used,
  requests_allocated - requests_used as requests_remaining, verified_at, expires_at
from x402_payments
where status = 'verified' and requests_used < requests_allocated
  and expires_at > (select now() at time zone 'utc' + ahead * interval '1 second' from x402_clock);
create view v_x402_stats_24h as
select chain, count(*) as total_payments, count(distinct from_address) as unique_payers,
  sum(amount_usdc) as total_amount_usdc, round(avg(amount_usdc), 6) as average_payment_usdc,
  sum(requests_allocated) as requests_allocated, sum(requests_used) as requests_used
from x402_payments
where created_at > (select now() at time zone 'utc' - interval '1 day' + ahead * interval '1 second' from x402_clock)
group by chain;
create view v_x402_top_payers as
select from_address, count(*) as total_payments, sum(amount_usdc) as total_amount_usdc,
  sum(requests_used) as requests_used, max(created_at) as last_payment_at
from x402_payments where status in ('verified', 'used', 'expired')
group by from_address order by sum(amount_usdc) desc, from_address limit 100;
create view v_x402_endpoint_stats as
select endpoint, method, count(*) as total_requests, round(avg(response_time_ms), 1) as average_response_time_ms,
  sum(case when status_code >= 400 then 1 else 0 end) as failed_requests, count(distinct payment_id) as unique_payments
from x402_usage
where created_at > (select now() at time zone 'utc' - interval '1 day' + ahead * interval '1 second' from x402_clock)
group by endpoint, method;
-- down
drop view v_x402_endpoint_stats;
drop view v_x402_top_payers;
drop view v_x402_stats_24h;
drop view v_x402_active_payments;
