// tronweb as a client of the sandbox's TRON, and as a judge of transactions. Needs tronweb in NODE_PATH.
//   node tronweb.cjs client URL KEY SELLER USDT   sends TRX and USDT, reads everything back; prints one JSON document
//   node tronweb.cjs judge < lines                each line is {raw, signature}: prints true or false per line
"use strict";
const { createHash } = require("node:crypto");
const { TronWeb, utils } = require("tronweb");

const ABI = [
  { type: "function", name: "balanceOf", stateMutability: "view", inputs: [{ name: "a", type: "address" }], outputs: [{ name: "", type: "uint256" }] },
  { type: "function", name: "transfer", stateMutability: "nonpayable", inputs: [{ name: "to", type: "address" }, { name: "v", type: "uint256" }], outputs: [{ name: "", type: "bool" }] },
];

async function client(url, key, seller, usdt) {
  const web = new TronWeb({ fullHost: url, privateKey: key });
  const own = web.defaultAddress.base58;
  const found = { own, before: await web.trx.getBalance(own), block: (await web.trx.getCurrentBlock()).block_header.raw_data.number };
  found.trx = await web.trx.sendTransaction(seller, 1_000_000);
  const token = web.contract(ABI, usdt);
  found.held = (await token.balanceOf(own).call()).toString();
  found.moved = await token.transfer(seller, 2_000_000).send({ feeLimit: 100_000_000 });
  found.info = await web.trx.getTransactionInfo(found.moved);
  found.shown = await web.trx.getTransaction(found.moved);
  found.seller = (await token.balanceOf(seller).call()).toString();
  const bad = await web.transactionBuilder.sendTrx(seller, 5, own);
  const signed = await web.trx.sign(bad);
  signed.signature[0] = signed.signature[0].replace(/^../, signed.signature[0].startsWith("00") ? "01" : "00");
  found.refused = await web.trx.sendRawTransaction(signed).catch((e) => ({ thrown: String(e) }));
  process.stdout.write(JSON.stringify(found) + "\n");
}

// Who signed is who pays: read and recovered by tronweb alone.
function verdict({ raw, signature }) {
  try {
    const { Transaction, TransferContract, TriggerSmartContract } = globalThis.TronWebProto;
    const parsed = Transaction.raw.deserializeBinary(Uint8Array.from(Buffer.from(raw, "hex")));
    const [contract, ...more] = parsed.getContractList();
    if (more.length) return false;
    const kind = { 1: TransferContract, 31: TriggerSmartContract }[contract.getType()];
    const inner = kind.deserializeBinary(contract.getParameter().getValue_asU8());
    const owner = Buffer.from(inner.getOwnerAddress_asU8()).toString("hex");
    const digest = createHash("sha256").update(Buffer.from(raw, "hex")).digest("hex");
    return utils.crypto.ecRecover(digest, signature).toLowerCase() === owner;
  } catch {
    return false;
  }
}

async function judge() {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  for (const line of text.split("\n").filter(Boolean)) process.stdout.write(`${verdict(JSON.parse(line))}\n`);
}

const [, , what, ...rest] = process.argv;
(what === "client" ? client(...rest) : judge()).catch((error) => {
  console.error(error);
  process.exit(1);
});
