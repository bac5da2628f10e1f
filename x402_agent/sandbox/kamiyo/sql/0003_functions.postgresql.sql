create function cleanup_expired_x402_payments() returns integer language plpgsql as $$
declare
  moment timestamp := (select now() at time zone 'utc' + ahead * interval '1 second' from x402_clock);
  expired integer;
begin
  delete from x402_tokens where expires_at <= moment;
  update x402_payments set status = 'expired', updated_at = moment
  where status in ('pending', 'verified') and expires_at <= moment;
  get diagnostics expired = row_count;
  return expired;
end $$;
create function update_x402_analytics() returns void language plpgsql as $$
declare
  upto timestamp := date_trunc('hour', (select now() at time zone 'utc' + ahead * interval '1 second' from x402_clock));
begin
  insert into x402_analytics
    (hour_bucket, chain, total_payments, total_amount_usdc, total_requests, unique_payers, average_payment_usdc)
  select upto - interval '1 hour', chain, sum(payments), sum(amount), sum(requests), sum(payers),
    case when sum(payments) > 0 then round(sum(amount) / sum(payments), 6) end
  from (
    select chain, count(*) as payments, sum(amount_usdc) as amount, 0 as requests, count(distinct from_address) as payers
    from x402_payments where created_at >= upto - interval '1 hour' and created_at < upto group by chain
    union all
    select p.chain, 0, 0, count(*), 0 from x402_usage u join x402_payments p on p.id = u.payment_id
    where u.created_at >= upto - interval '1 hour' and u.created_at < upto group by p.chain
  ) as hour group by chain
  on conflict (hour_bucket, chain) do update set
    total_payments = excluded.total_payments, total_amount_usdc = excluded.total_amount_usdc,
    total_requests = excluded.total_requests, unique_payers = excluded.unique_payers,
    average_payment_usdc = excluded.average_payment_usdc;
end $$;
-- down
drop function update_x402_analytics();
drop function cleanup_expired_x402_payments();
