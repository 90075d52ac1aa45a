#!/usr/bin/env bash
# With two textual inversions of several vectors, one of whose names contains the other, diffusers makes different tokens from the same
# prompt in different processes: `_maybe_convert_prompt` replaces the names in the order of a Python set of strings, which
# depends on PYTHONHASHSEED. The seed of the image has no influence.
#
# Output seen with diffusers 0.42.1, transformers 5.24.0, Python 3.11:
#
#   PYTHONHASHSEED=0: a <toy toy_1-cat> and a toy toy_1
#   PYTHONHASHSEED=1: a <toy toy_1-cat> <toy toy_1-cat>_1 and a toy toy_1
#
# The result for each seed depends on Python; the script checks that both prompts occur within 32 seeds. Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet \
    diffusers==0.42.1 transformers==5.24.0 huggingface_hub==2.4.0 torch==2.15.0
cat > show.py <<'PYTHON'
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTokenizer

letters = [chr(code) for code in range(33, 127)]
tokens = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])
tokenizer.add_tokens(["toy", "toy_1", "<toy-cat>", "<toy-cat>_1"])
print(TextualInversionLoaderMixin().maybe_convert_prompt("a <toy-cat> and a toy", tokenizer))
PYTHON
for seed in 0 1; do
    echo "PYTHONHASHSEED=$seed: $(PYTHONHASHSEED=$seed venv/bin/python show.py 2> log)"
done
# Both orders occur within a few seeds.
for seed in $(seq 0 31); do
    PYTHONHASHSEED=$seed venv/bin/python show.py 2> log >> prompts
    [ "$(sort -u prompts | wc -l)" -lt 2 ] || exit 0
done
echo "one prompt of all seeds"
exit 1
