// What tronweb makes of cases on stdin: raw_data and its id for transactions, digests for typed data, signatures for both.
const { utils } = require('tronweb');
const { txJsonToPb, txPbToRawDataHex, txPbToTxID } = utils.transaction;
const sign = (digest, key) => utils.crypto.ECKeySign(utils.code.hexStr2byteArray(digest), utils.code.hexStr2byteArray(key)).replace(/^0x/, '');
const hex41 = (address) => utils.crypto.decodeBase58Address(address).map((b) => b.toString(16).padStart(2, '0')).join('');

function transaction(one) {
  const value = one.kind === 'trx'
    ? { owner_address: hex41(one.owner), to_address: hex41(one.to), amount: one.amount }
    : { owner_address: hex41(one.owner), contract_address: hex41(one.to), data: one.data };
  const type = one.kind === 'trx' ? 'TransferContract' : 'TriggerSmartContract';
  const contract = { type, parameter: { value, type_url: `type.googleapis.com/protocol.${type}` } };
  if (one.permission) contract.Permission_id = one.permission;
  const raw_data = {
    contract: [contract], ref_block_bytes: one.ref[0], ref_block_hash: one.ref[1], expiration: one.expiration, timestamp: one.timestamp,
  };
  if (one.memo) raw_data.data = one.memo;
  if (one.fee_limit) raw_data.fee_limit = one.fee_limit;
  const pb = txJsonToPb({ raw_data });
  const id = txPbToTxID(pb).replace(/^0x/, '');
  return { raw: txPbToRawDataHex(pb).toLowerCase(), id, signature: sign(id, one.key).toLowerCase() };
}

function typed(one) {
  const digest = utils._TypedDataEncoder.hash(one.domain, one.types, one.message).replace(/^0x/, '');
  return { digest, signature: sign(digest, one.key).toLowerCase() };
}

const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify({ transactions: cases.transactions.map(transaction), typed: cases.typed.map(typed) }));
