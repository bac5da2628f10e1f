// A seller that is not ours: npm x402-stacks and Express, in front of the facilitator at argv[2]; pays to argv[3].
// Prints its origin, and ends when its stdin does.
const { createRequire } = require("node:module");
const from = createRequire(process.env.STACKS_DIR + "/");
const express = from("express");
const { paymentMiddleware, paymentMiddlewareV1 } = from("x402-stacks");
const [facilitatorUrl, payTo] = process.argv.slice(2);
const usdcx = { address: "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM", name: "usdcx" };
const goods = (_, res) => res.json({ goods: true });

const app = express();
app.get("/v2/usdcx", paymentMiddleware({ amount: 5000, payTo, network: "testnet", facilitatorUrl, tokenType: "USDCx", tokenContract: usdcx }), goods);
app.get("/v1/usdcx", paymentMiddlewareV1({ amount: 5000, address: payTo, network: "testnet", facilitatorUrl, tokenType: "USDCx", tokenContract: usdcx }), goods);
const server = app.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
