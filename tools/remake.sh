#!/usr/bin/env bash
# After a change of models/pocket/: makes again what follows from it. Needs what tools/fixtures/README.md and
# tools/pictures/screens.sh need; PYTHON says which interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" tools/fixtures/make.py checkpoints img2img inside daam
INSTA_UPDATE=always cargo test --release
tools/pictures/screens.sh
git status --short tests/fixtures snapshots docs
