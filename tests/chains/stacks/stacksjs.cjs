// Builds, signs and serializes each case with stacks.js. Reads JSON from stdin, writes JSON to stdout; argv[2] holds node_modules.
const path = require("node:path");
const t = require(path.join(process.argv[2], "node_modules", "@stacks", "transactions"));
let text = "";
process.stdin.on("data", (piece) => (text += piece)).on("end", async () => {
  const made = [];
  for (const c of JSON.parse(text)) {
    const common = { senderKey: c.key, network: c.testnet ? "testnet" : "mainnet", nonce: BigInt(c.nonce), fee: BigInt(c.fee), sponsored: c.sponsored };
    const tx = c.contract
      ? await t.makeContractCall({
          ...common, contractAddress: c.contract.split(".")[0], contractName: c.contract.split(".")[1], functionName: "transfer",
          functionArgs: [t.uintCV(BigInt(c.amount)), t.principalCV(c.sender), t.principalCV(c.recipient),
            c.memo === null ? t.noneCV() : t.someCV(t.bufferCV(Buffer.from(c.memo, "hex")))],
          postConditionMode: t.PostConditionMode.Deny,
          postConditions: [{ type: "ft-postcondition", address: c.sender, condition: "eq", amount: BigInt(c.amount), asset: `${c.contract}::${c.token}` }],
        })
      : await t.makeSTXTokenTransfer({ ...common, recipient: c.recipient, amount: BigInt(c.amount), memo: Buffer.from(c.memo || "", "hex").toString() });
    const raw = tx.serialize();
    made.push([typeof raw === "string" ? raw : Buffer.from(raw).toString("hex"), tx.txid()]);
  }
  process.stdout.write(JSON.stringify(made));
});
