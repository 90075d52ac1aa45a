#!/usr/bin/env bash
# safetensors 0.8 writes every file with mode 0600, whatever the umask: it writes a temporary file, which only its owner may read,
# and renames it. Versions before wrote with the umask. A checkpoint that one user saves cannot be read by another, and a server
# that runs as another user cannot load it. `serialize_to_file` of the Rust crate does the same.
#
# Output seen, with a umask of 022:
#
#   0.7.0: 0o644
#   0.8.0: 0o600
#
# Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
umask 022
cat > show.py <<'PYTHON'
import os
import sys

import numpy
import safetensors
from safetensors.numpy import save_file

save_file({"a": numpy.zeros(1, dtype=numpy.float32)}, "a.safetensors")
mode = oct(os.stat("a.safetensors").st_mode & 0o777)
print(f"{safetensors.__version__}: {mode}")
sys.exit(mode != sys.argv[1])
PYTHON
for expected in "0.7.0 0o644" "0.8.0 0o600"; do
    read -r version mode <<< "$expected"
    python3 -m venv "venv-$version"
    "venv-$version/bin/pip" install --quiet "safetensors==$version" numpy
    "venv-$version/bin/python" show.py "$mode"
    rm a.safetensors
done
