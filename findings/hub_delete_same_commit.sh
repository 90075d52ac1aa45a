#!/usr/bin/env bash
# huggingface_hub 2.4.0: scan_cache_dir().delete_revisions(COMMIT) assumes that only one repository has a commit. Two cached
# repositories with the same history (a mirror made with `git push`) have the same commits: it deletes one of them without a warning,
# and which one differs from process to process. Its documentation: "hashes are unique across repos".
#
# Seen on Linux, Python 3.11: of 12 processes some delete owner/original and the others owner/mirror, never both.
# Exits with 1 if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet huggingface_hub==2.4.0
cat > "$place/delete.py" <<'PY'
import pathlib, sys
from huggingface_hub import scan_cache_dir

cache, commit = pathlib.Path(sys.argv[1]), "39593d5650112b4cc580433f6b0435385882d819"
for name in ("original", "mirror"):
    shelf = cache / f"models--owner--{name}"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (shelf / folder).mkdir(parents=True)
    (shelf / "refs/main").write_text(commit)
    (shelf / "blobs/5a").write_text("{}")
    (shelf / f"snapshots/{commit}/config.json").symlink_to("../../blobs/5a")
info = scan_cache_dir(cache)
assert not info.warnings and len(info.repos) == 2
info.delete_revisions(commit).execute()
print(" ".join(sorted(repo.repo_id for repo in scan_cache_dir(cache).repos)) or "nothing")
PY
for seed in $(seq 12); do
    PYTHONHASHSEED=$seed "$place/venv/bin/python" "$place/delete.py" "$place/cache$seed"
done | sort | uniq -c | tee "$place/left"
grep -q 'owner/original$' "$place/left" && grep -q 'owner/mirror$' "$place/left" && [ "$(wc -l < "$place/left")" = 2 ]
