// A second opinion on the pretend Stacks: stacks.js decodes and verifies, clarinet's simnet runs the contracts.
// Reads {deployer, contracts: {name: source}, mint: {address: microSTX}, gold: {address: units}, coin, raw: [hex]} on stdin;
// writes one verdict a transaction and the balances at the end. It shares no line with the Python it judges.
const { createRequire } = require("node:module");
const fs = require("node:fs");
const from = createRequire(process.env.STACKS_DIR + "/");
const stacks = from("@stacks/transactions");
const { getSDK } = from("@stacks/clarinet-sdk");
const { Cl } = stacks;
const NOBODY = "ST000000000000000000002AMW42H";

const owed = (map, key, more) => map.set(key, (map.get(key) ?? 0n) + more);

function signed(tx) {
  // stacks.js verifies an origin; what a sponsor signs is put together here from its parts
  let digest;
  try {
    digest = tx.verifyOrigin();
  } catch {
    return false;
  }
  const sponsor = tx.auth.sponsorSpendingCondition;
  if (!sponsor) return true;
  try {
    const { pubKey } = stacks.nextVerification(digest, 5, sponsor.fee, sponsor.nonce, sponsor.keyEncoding, sponsor.signature.data);
    const raw = typeof pubKey === "string" ? pubKey : stacks.serializePublicKey(pubKey);
    return stacks.hashP2PKH(Buffer.from(raw, "hex")) === sponsor.signer;
  } catch {
    return false;
  }
}

const address = (signer) => stacks.addressToString({ type: 0, version: 26, hash160: signer });

function met(tx, origin, moves) {
  const compare = { 1: (a, b) => a === b, 2: (a, b) => a > b, 3: (a, b) => a >= b, 4: (a, b) => a < b, 5: (a, b) => a <= b };
  const sent = new Map();
  for (const [asset, who, , amount] of moves) owed(sent, who + " " + asset, amount);
  const named = new Set();
  for (const wire of tx.postConditions.values) {
    const each = stacks.wireToPostCondition(wire);
    if (each.type === "nft-postcondition") {
      if (each.condition === "sent") return false;
      continue;
    }
    const who = each.address === "origin" ? origin : each.address;
    const key = who + " " + (each.type === "stx-postcondition" ? "STX" : each.asset);
    named.add(key);
    if (!compare[wire.conditionCode](sent.get(key) ?? 0n, BigInt(each.amount))) return false;
  }
  return tx.postConditionMode === 1 || [...sent.keys()].every((key) => named.has(key));
}

function movesOf(events) {
  const found = [];
  for (const { event, data } of events) {
    if (event === "stx_transfer_event") found.push(["STX", data.sender, data.recipient, BigInt(data.amount)]);
    if (event === "ft_transfer_event") found.push([data.asset_identifier, data.sender, data.recipient, BigInt(data.amount)]);
  }
  return found;
}

async function main() {
  const given = JSON.parse(fs.readFileSync(0, "utf8"));
  const vm = await getSDK({ trackCosts: false, trackCoverage: false });
  const log = console.log;
  console.log = () => {}; // it speaks of what it mints
  await vm.initEmptySession({ enabled: false });
  vm.setEpoch("3.1");
  for (const [who, amount] of Object.entries(given.mint)) vm.mintSTX(who, BigInt(amount));
  for (const [name, source] of Object.entries(given.contracts)) vm.deployContract(name, source, { clarityVersion: 3 }, given.deployer);
  for (const [who, amount] of Object.entries(given.gold))
    vm.callPublicFn(given.coin, "mint", [Cl.uint(amount), Cl.principal(who)], given.deployer);
  const nonces = new Map();
  const stx = (who) => vm.getAssetsMap().get("STX")?.get(who) ?? 0n;
  const gold = (who) => vm.getAssetsMap().get("." + given.coin.split(".")[1] + ".gold")?.get(who) ?? 0n;

  function judge(hex) {
    let tx;
    try {
      tx = stacks.deserializeTransaction(hex);
      if (Buffer.from(tx.serializeBytes()).toString("hex") !== hex) return "refused";
    } catch {
      return "refused";
    }
    const origin = tx.auth.spendingCondition;
    const payerOf = tx.auth.sponsorSpendingCondition ?? origin;
    const [sender, payer] = [address(origin.signer), address(payerOf.signer)];
    const fee = BigInt(payerOf.fee);
    if (tx.transactionVersion !== 0x80 || tx.chainId !== 0x80000000 || !signed(tx)) return "refused";
    if (fee < BigInt(hex.length / 2)) return "refused";
    const slots = [[sender, BigInt(origin.nonce)]];
    if (payerOf !== origin) slots.push([payer, BigInt(payerOf.nonce)]);
    if (slots.some(([who, nonce]) => nonce !== (nonces.get(who) ?? 0n))) return "refused"; // the batch has no gaps
    const body = tx.payload;
    const moving = body.payloadType === 0 ? BigInt(body.amount) : 0n;
    if (stx(payer) < fee + (payer === sender ? moving : 0n) || stx(sender) < moving) return "refused";
    let run;
    if (body.payloadType === 0) {
      const to = stacks.cvToString(body.recipient);
      if (moving === 0n || to === sender || !/^S[TN]/.test(to) || tx.postConditions.values.length) return "refused";
      run = () => vm.transferSTX(moving, to, sender);
    } else if (body.payloadType === 2) {
      const contract = address(body.contractAddress.hash160) + "." + body.contractName.content;
      const found = vm.getContractsInterfaces().get(contract)?.functions.find((f) => f.name === body.functionName.content);
      if (!found || found.access !== "public" || found.args.length !== body.functionArgs.length) return "refused";
      run = () => vm.callPublicFn(contract, body.functionName.content, body.functionArgs, sender);
    } else return "refused";
    for (const [who, nonce] of slots) nonces.set(who, nonce + 1n);
    vm.transferSTX(fee, NOBODY, payer); // the fee is gone whatever happens
    const done = run();
    if (stacks.cvToString(done.result).startsWith("(err")) return "abort_by_response " + stacks.cvToString(done.result);
    const moves = movesOf(done.events);
    if (body.payloadType === 2 && !met(tx, sender, moves)) {
      for (const [asset, who, to, amount] of moves.reverse())
        if (asset === "STX") vm.transferSTX(amount, who, to);
        else vm.callPublicFn(given.coin, "transfer", [Cl.uint(amount), Cl.principal(to), Cl.principal(who), Cl.none()], to);
      return "abort_by_post_condition";
    }
    return "success";
  }

  const verdicts = given.raw.map(judge);
  const people = Object.keys(given.mint);
  const ends = Object.fromEntries(people.map((who) => [who, [String(stx(who)), String(gold(who)), String(nonces.get(who) ?? 0n)]]));
  log(JSON.stringify({ verdicts, ends }));
}

main();
