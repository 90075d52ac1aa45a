#!/usr/bin/env bash
# transformers 5 gives an added token a different id from that in its file if the ids in added_tokens.json (or in
# added_tokens_decoder) have a gap: it renumbers them. The slow CLIPTokenizer of transformers 4, which diffusers loaded by
# default, kept them. The text encoder's embeddings keep their rows, so a saved textual inversion uses the row of another token,
# without a warning. Gaps remain after a token was removed.
#
# Output seen with transformers 4.44.2 (tokenizers 0.19.1) and 5.24.0 (tokenizers 0.23.3); the files say <a> 14, <b> 12:
#
#   4.44.2: <a> 14, <b> 12
#   5.24.0: <a> 13, <b> 12
#
# Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > show.py <<'PYTHON'
import json
import logging
import pathlib
import sys

import transformers
from transformers import CLIPTokenizer

logging.disable(logging.WARNING)
tokens = ["a", "b", "x", "<", ">"]
tokens += [token + "</w>" for token in tokens] + ["<|startoftext|>", "<|endoftext|>"]
tokenizer = pathlib.Path("tokenizer")
tokenizer.mkdir(exist_ok=True)
(tokenizer / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
(tokenizer / "merges.txt").write_text("#version: 0.2\n")
(tokenizer / "added_tokens.json").write_text(json.dumps({"<a>": len(tokens) + 2, "<b>": len(tokens)}))
ids = CLIPTokenizer.from_pretrained("tokenizer").convert_tokens_to_ids(["<a>", "<b>"])
print(f"{transformers.__version__}: <a> {ids[0]}, <b> {ids[1]}")
sys.exit(ids != json.loads(sys.argv[1]))
PYTHON
for expected in "4.44.2 [14,12]" "5.24.0 [13,12]"; do
    read -r version ids <<< "$expected"
    python3 -m venv "venv-$version"
    "venv-$version/bin/pip" install --quiet "transformers==$version"
    HF_HUB_OFFLINE=1 "venv-$version/bin/python" show.py "$ids" 2> log || { cat log; exit 1; }
done
