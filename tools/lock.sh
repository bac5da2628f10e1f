#!/bin/sh
# Writes requirements/*.txt, hashed and without the names of registries. Needs uv on PATH.
set -eu
cd "$(dirname "$0")/.."
uv lock -q
export_() { uv export -q --no-header --frozen --no-emit-project --no-annotate "$@"; }
export_ --no-dev --extra sandbox --extra mcp -o requirements/demo.txt >/dev/null
export_ --group dev --extra sandbox --extra mcp -o requirements/dev.txt >/dev/null
printf 'hatchling\neditables\n' | uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 - -o requirements/build.txt >/dev/null
printf 'x402[fastapi,evm,svm,httpx]==2.25.0\nx402-stacks==2.0.1\nuvicorn\ncoincurve\njsonschema\n' |
  uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 - -o requirements/official.txt >/dev/null
printf 'x402[mcp,evm]==2.25.0\nmcp<2\nuvicorn\ncoincurve\n' |
  uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 - -o requirements/official-mcp.txt >/dev/null
printf 'bankofai-x402[fastapi,tron]==0.6.1\nuvicorn\n' |
  uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 - -o requirements/bankofai.txt >/dev/null
# agent frameworks, and MCP clients of others; CrewAI holds openai and mcp at their last major versions, so it lives alone
printf 'openai-agents\nlangchain\npydantic-ai-slim\nfastmcp>=4\nmcp>=2,<3\n' |
  uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 pyproject.toml --extra sandbox - -o requirements/frameworks.txt >/dev/null
printf 'crewai\n' |
  uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 pyproject.toml --extra sandbox - -o requirements/crewai.txt >/dev/null
# the image of the MCP server: no sandbox in it
uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 pyproject.toml --extra mcp --extra evm --extra solana -o requirements/mcp.txt >/dev/null
