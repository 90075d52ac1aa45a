#!/usr/bin/env bash
# Makes docs/*.png: each view of the interface in the middle of a run, in a real terminal.
# Needs tmux, Python with Pillow, and DejaVu Sans Mono (apt-get install tmux fonts-dejavu-core python3-pil).
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release
session=diffuscope-pictures
# A server of its own: one that runs already would pass on its own environment, and the pictures would have 256 colours.
tmux() { command tmux -L diffuscope-pictures -f /dev/null "$@"; }
home=$(mktemp -d)
trap 'tmux kill-server 2>/dev/null || true; rm -rf "$home"' EXIT
mkdir -p docs

# Neither the reader's own settings nor what they typed earlier is on a picture.
tmux new-session -d -s $session -e COLORTERM=truecolor -e HOME="$home" -e XDG_CONFIG_HOME="$home" -e XDG_STATE_HOME="$home" -x 128 -y 38 ./target/release/diffuscope --steps 20 --seed 3

settle() { # until the screen no longer changes: commands are done, and the VAE's previews are there
    local before='' now=''
    for _ in $(seq 60); do
        sleep 3
        now=$(tmux capture-pane -e -p -N -t $session)
        if [ "$now" = "$before" ]; then return; fi
        before=$now
    done
}
picture() { # NAME: of what is on the screen
    settle
    tmux capture-pane -e -p -N -t $session | "${PYTHON:-python3}" tools/pictures/screen2png.py "docs/$1.png"
}
keys() { tmux send-keys -t $session "$@"; sleep 0.3; }
run() { keys ":$1" Enter; settle; }

settle
run 'until denoise 10'
picture diffuscope
keys 2; picture tensors
keys 3; picture residuals
keys 4; picture scheduler
keys 5 Down Down; picture prompt
keys 7; run step; run next; picture source
keys 1; run continue
keys 6; run 'goto denoise 12'; picture charts
keys 0 Down Down Down Down Down Down Down Down Down; picture model
keys a Down; picture attention
run 'goto denoise 5'
run 'set guidance_scale 12'
run continue
run 'fork calmer at denoise 10'
run 'set guidance_scale 2'
run 'goto denoise 15'
keys 8; picture timelines
run 'switch main'
run 'compare guidance_scale 1,3,7.5,15'
run 'goto denoise 8'
picture compare

# A run with a mistake, compared with the checkpoint.
tmux kill-session -t $session
session=diffuscope-diff
printf '%s\n' 'set fault swapped_residuals' continue "save trace $home/run.trace" |
    ./target/release/diffuscope debug --batch -x - --steps 4
tmux new-session -d -s $session -e COLORTERM=truecolor -e HOME="$home" -e PS1='$ ' -x 128 -y 12 -c "$home" 'sh'
tmux send-keys -t $session "PATH=$PWD/target/release:\$PATH; clear" Enter
keys 'diffuscope diff run.trace --model pocket' Enter
picture diff

# The same in the interface: both outputs, and their distance.
tmux kill-session -t $session
session=diffuscope-difference
tmux new-session -d -s $session -e COLORTERM=truecolor -e HOME="$home" -e XDG_CONFIG_HOME="$home" -e XDG_STATE_HOME="$home" -x 128 -y 30 ./target/release/diffuscope --steps 4
settle
run "diff $home/run.trace"
picture difference
