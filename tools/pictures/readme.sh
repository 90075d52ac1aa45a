#!/usr/bin/env bash
# Makes docs/diffuscope.png: the interface in the middle of a run, in a real terminal.
# Needs tmux, Python with Pillow, and DejaVu Sans Mono (apt-get install tmux fonts-dejavu-core python3-pil).
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release
session=diffuscope-picture
trap 'tmux kill-session -t $session 2>/dev/null || true' EXIT
COLORTERM=truecolor tmux -f /dev/null new-session -d -s $session -x 128 -y 38 ./target/release/diffuscope --steps 20 --seed 3
sleep 2
tmux send-keys -t $session ':until denoise 9' Enter
# The VAE's own previews come when the worker is idle.
sleep 12
mkdir -p docs
tmux capture-pane -e -p -t $session | "${PYTHON:-python3}" tools/pictures/screen2png.py docs/diffuscope.png
