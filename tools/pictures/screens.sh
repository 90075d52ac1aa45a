#!/usr/bin/env bash
# Makes docs/*.png: each view of the interface in the middle of a run, in a real terminal.
# Needs tmux, Python with Pillow, and DejaVu Sans Mono (apt-get install tmux fonts-dejavu-core python3-pil).
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release
session=diffuscope-pictures
home=$(mktemp -d)
trap 'tmux kill-session -t $session 2>/dev/null || true; rm -rf "$home"' EXIT
mkdir -p docs

# Neither the reader's own settings nor what they typed earlier is on a picture.
COLORTERM=truecolor HOME=$home XDG_CONFIG_HOME=$home XDG_STATE_HOME=$home \
    tmux -f /dev/null new-session -d -s $session -x 128 -y 38 ./target/release/diffuscope --steps 20 --seed 3

picture() { # NAME: of what is on the screen, once the VAE has had time for its previews
    sleep 6
    tmux capture-pane -e -p -N -t $session | "${PYTHON:-python3}" tools/pictures/screen2png.py "docs/$1.png"
}
keys() { tmux send-keys -t $session "$@"; sleep 0.3; }

sleep 2
keys ':until denoise 10' Enter
sleep 8
picture diffuscope
keys 2; picture tensors
keys 3; picture residuals
keys 4; picture scheduler
keys 5 Down Down; picture prompt
keys 7 ':step 2' Enter; picture source
keys 1 ':continue' Enter
sleep 6
keys 6 ':goto denoise 12' Enter; picture charts
keys ':goto denoise 5' Enter ':set guidance_scale 12' Enter
sleep 1
keys ':continue' Enter
sleep 6
keys ':fork calmer at denoise 10' Enter
sleep 1
keys ':set guidance_scale 2' Enter
sleep 1
keys ':goto denoise 15' Enter
sleep 4
keys 8; picture timelines
keys ':switch main' Enter
sleep 1
keys ':compare guidance_scale 1,3,7.5,15' Enter
sleep 1
keys ':goto denoise 8' Enter
sleep 10
picture compare
