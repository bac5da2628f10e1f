// Compiles the sandbox's contracts. Needs solc 0.8.37 from npm: `npm install solc@0.8.37` in any folder, then
//   NODE_PATH=that/folder/node_modules node tools/compile_contracts.js [output folder]
// Without an output folder the artifacts in the package are rewritten. Same source, same bytes: no metadata is appended.
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const VERSION = "0.8.37";
const CONTRACTS = [
  "SandboxUSDC", "SandboxPermit2", "SandboxExactProxy", "SandboxUptoProxy", "SandboxMulticall3",
  "SandboxTetherTRC20", "SandboxPaymentPermit", "SandboxTronExactProxy",
];
const source = path.join(__dirname, "..", "x402_agent", "sandbox", "contracts");
const target = process.argv[2] || source;

if (!solc.version().startsWith(VERSION + "+")) {
  console.error(`solc ${VERSION} is needed, this is ${solc.version()}`);
  process.exit(2);
}

const sources = {};
for (const name of CONTRACTS) sources[`${name}.sol`] = { content: fs.readFileSync(path.join(source, `${name}.sol`), "utf8") };
const settings = {
  viaIR: true,
  evmVersion: "shanghai",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object"] } },
};
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
for (const error of output.errors || []) console.error(error.formattedMessage);
if ((output.errors || []).some((error) => error.severity === "error")) process.exit(1);

for (const name of CONTRACTS) {
  const made = output.contracts[`${name}.sol`][name];
  const artifact = {
    contract: name,
    compiler: solc.version(),
    runtime: "0x" + made.evm.deployedBytecode.object,
    abi: made.abi,
  };
  fs.writeFileSync(path.join(target, `${name}.json`), JSON.stringify(artifact, null, 1) + "\n");
  console.log(name, "runtime", artifact.runtime.length / 2 - 1, "bytes");
}
