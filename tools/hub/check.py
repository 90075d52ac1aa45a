#!/usr/bin/env python3
"""Checks that diffuscope and Python's huggingface_hub share one cache, in every layout that huggingface_hub 2.4.0 leaves.

    tools/hub/check.py [--write]

Needs Python 3.10 or newer, a package index, and cargo. It makes a virtual environment with the pinned client in a temporary folder,
builds diffuscope and the tests' small hub (examples/hub.rs), serves models/pocket on loopback and prints a table of what it
checked and saw; with --write it puts the table into docs/hub.md. It exits with 1 if anything is not as it should be.

Python puts a file into the shared store only after a transfer over Xet, which the small hub does not speak. So the store is seeded with
the client's own function for that, and a second repository, for which the hub sends Xet hashes, is then linked to it by the client.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

VERSION = "2.4.0"
ROOT = Path(__file__).resolve().parents[2]
MINI, TWIN = "you/mini", "you/twin"
UNET = "unet/diffusion_pytorch_model.safetensors"
FILES = {str(f.relative_to(ROOT / "models/pocket")) for f in (ROOT / "models/pocket").rglob("*") if f.is_file()}
# Bytes of a file after which the system ends a pull: in a small file, and in large ones.
KILLED = (1, 4096, 1_000_001)
LARGE = {f for f in FILES if f.endswith(".safetensors")}
rows = []


# What runs in the virtual environment, each time in a process of its own as the client reads its settings when it is imported.

def client(action, cache, *args):
    import logging
    import warnings

    import huggingface_hub
    from huggingface_hub import scan_cache_dir, snapshot_download
    from huggingface_hub.utils import _shared_blobs

    assert huggingface_hub.__version__ == VERSION
    said = []
    warnings.showwarning = lambda message, *_: said.append(str(message))

    class Listener(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())

    logging.getLogger("huggingface_hub").addHandler(Listener(logging.WARNING))
    found = None
    if action == "download":
        found = snapshot_download(args[0], cache_dir=cache)
    elif action == "local":
        found = snapshot_download(args[0], cache_dir=cache, local_files_only=True)
    elif action == "publish":
        shelf = Path(cache) / ("models--" + args[0].replace("/", "--"))
        snapshot = next((shelf / "snapshots").iterdir())
        trees = json.loads(args[1])
        found = []
        for file, xet in trees.items():
            blob = Path(os.path.abspath(snapshot / Path(file).parent / os.readlink(snapshot / file)))
            found.append(_shared_blobs.publish_blob_to_shared_store(
                blob_path=str(blob), xet_hash=xet, cache_dir=cache, expected_size=blob.stat().st_size))
    elif action == "scan":
        info = scan_cache_dir(cache)
        found = {
            "warnings": [str(w) for w in info.warnings],
            "bytes": info.size_on_disk,
            "repos": {r.repo_id: r.size_on_disk for r in info.repos},
            "unreferenced": len(_shared_blobs.unreferenced_shared_blobs(cache)),
            "store": len(_shared_blobs.shared_store_blob_paths(cache)),
        }
    elif action == "delete":
        info = scan_cache_dir(cache)
        commits = [v.commit_hash for r in info.repos for v in r.revisions if r.repo_id == args[0]]
        # Both repositories have the same commit here, which delete_revisions cannot tell apart.
        info = type(info)(size_on_disk=0, repos=frozenset(r for r in info.repos if r.repo_id == args[0]),
                          incomplete_files=frozenset(), warnings=[], cache_dir=info.cache_dir)
        strategy = info.delete_revisions(*commits)
        strategy.execute()
        found = strategy.expected_freed_size
    print(json.dumps({"found": found, "said": said}))


# What drives it.

class Setup:
    def __init__(self, folder):
        self.folder = Path(folder)
        build = ["cargo", "build", "--release", "--bin", "diffuscope", "--example", "hub"]
        subprocess.run(build, cwd=ROOT, check=True)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
        self.program = target / "diffuscope"
        venv.create(self.folder / "venv", with_pip=True)
        self.python_path = self.folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = [self.python_path, "-m", "pip", "install", "--quiet", f"huggingface_hub=={VERSION}"]
        subprocess.run(pip, check=True)
        self.hub = subprocess.Popen([target / "examples/hub", ROOT / "models/pocket"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
        self.endpoint = self.hub.stdout.readline().strip()

    def fetched(self):
        """How many times a file's content was fetched so far."""
        self.hub.stdin.write("\n")
        self.hub.stdin.flush()
        return int(self.hub.stdout.readline())

    def environment(self, cache, more):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_"))}
        proxy = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        here = {"HF_HOME": str(Path(cache).parent), "HF_HUB_CACHE": str(cache), "HF_ENDPOINT": self.endpoint}
        return clean | proxy | here | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more

    def python(self, action, cache, *args, **more):
        command = [self.python_path, __file__, "--client", action, cache, *args]
        ran = subprocess.run(command, env=self.environment(cache, more), capture_output=True, text=True)
        if ran.returncode:
            return {"found": None, "said": [ran.stderr.strip().splitlines()[-1]]}
        return json.loads(ran.stdout.splitlines()[-1])

    def diffuscope(self, cache, *args, offline=True, **more):
        more = more | ({"HF_HUB_OFFLINE": "1"} if offline else {})
        ran = subprocess.run([self.program, *args], env=self.environment(cache, more), capture_output=True,
                             text=True, cwd=self.folder)
        return ran.returncode, ran.stdout, ran.stderr

    def killed(self, cache, name, size):
        """A pull that the system ends when it writes beyond byte `size` of a file; its exit code."""
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        ran = subprocess.run([self.program, "model", "pull", name], env=self.environment(cache, {}), capture_output=True,
                             cwd=self.folder, preexec_fn=limit)
        return ran.returncode


def check(kind, what, seen, is_right):
    rows.append((kind, what, seen, is_right))
    print(f"{'ok  ' if is_right else 'FAIL'} {kind}: {what}: {seen}", flush=True)


def shelf(cache, name):
    return Path(cache) / ("models--" + name.replace("/", "--"))


def snapshot(cache, name):
    return next((shelf(cache, name) / "snapshots").iterdir())


def first_hop(cache, name, file):
    path = snapshot(cache, name) / file
    return Path(os.path.abspath(path.parent / os.readlink(path)))


def on_disk(cache):
    """Bytes of all files' content, each counted once."""
    seen = {}
    for folder, _, files in os.walk(cache):
        is_content = "blobs" in folder or "snapshots" in folder
        for file in files:
            path = Path(folder) / file
            if is_content and path.suffix not in (".refs", ".lock") and not path.is_symlink():
                found = path.stat()
                seen[found.st_ino] = found.st_size
    return sum(seen.values())


def layout(cache, name):
    """How many of the large files stand where: plainly in snapshots, in the repository's blobs, in the shared store."""
    counts = {"in snapshots/": 0, "in blobs/": 0, "in the store": 0}
    for file in LARGE:
        path = snapshot(cache, name) / file
        if not path.is_symlink():
            counts["in snapshots/"] += 1
        else:
            counts["in the store" if first_hop(cache, name, file).is_symlink() else "in blobs/"] += 1
    return ", ".join(f"{count} {where}" for where, count in counts.items() if count)


def uses(setup, kind, cache, name):
    """That diffuscope runs, verifies and lists what Python fetched, without a transfer."""
    before = setup.fetched()
    code, _, err = setup.diffuscope(cache, "run", "--model", name, "--steps", "1", "--width", "64", "--height", "64",
                                    "-o", "a.png")
    check(kind, f"`run --model {name}`, offline", f"exit code {code}{'' if code == 0 else ': ' + err}", code == 0)
    code, out, _ = setup.diffuscope(cache, "model", "verify", name)
    right = sum(line.startswith("right ") for line in out.splitlines())
    if "snapshots" in layout(cache, name):
        unknown = sum(line.startswith("unknown ") for line in out.splitlines())
        check(kind, f"`model verify {name}`, offline", f"{unknown} of {len(FILES)} unknown, exit code {code}",
              unknown == len(FILES) and code == 1)
        code, out, _ = setup.diffuscope(cache, "model", "verify", name, offline=False)
        right = sum(line.startswith("right ") for line in out.splitlines())
    check(kind, f"`model verify {name}`", f"{right} of {len(FILES)} right, exit code {code}",
          right == len(FILES) and code == 0)
    lists(setup, kind, cache)
    code, _, _ = setup.diffuscope(cache, "model", "pull", name, offline=False)
    fetched = setup.fetched() - before
    check(kind, f"`model pull {name}`, and all of the above", f"exit code {code}, {fetched} files fetched",
          code == 0 and fetched == 0)


def lists(setup, kind, cache):
    listed = json.loads(setup.diffuscope(cache, "model", "list", "--json")[1])
    scan = setup.python("scan", cache)["found"]
    ours = {model["repository"]: model["bytes"] for model in listed["models"]}
    is_same = ours == scan["repos"] and listed["bytes"] == scan["bytes"]
    check(kind, "`model list` and scan_cache_dir", f"{listed['bytes']} and {scan['bytes']} bytes together"
          + f", {len(ours)} and {len(scan['repos'])} models", is_same)


def found_by_python(setup, kind, cache, *names):
    before = setup.fetched()
    for name in names:
        local = setup.python("local", cache, name)
        is_found = local["found"] == str(snapshot(cache, name)) and not local["said"]
        check(kind, f"snapshot_download({name!r}, local_files_only=True)",
              "found" if is_found else str(local), is_found)
    scan = setup.python("scan", cache)
    warned = scan["found"]["warnings"] + scan["said"]
    check(kind, "scan_cache_dir", f"{len(scan['found']['repos'])} models, {len(warned)} warnings",
          not warned and set(scan["found"]["repos"]) == set(names))
    assert setup.fetched() == before


def removes(setup, kind, cache, name):
    listed = json.loads(setup.diffuscope(cache, "model", "list", "--json")[1])
    told = next(model["removable"] for model in listed["models"] if model["repository"] == name)
    before = on_disk(cache)
    code, _, _ = setup.diffuscope(cache, "model", "remove", name, "--yes")
    freed = before - on_disk(cache)
    check(kind, f"`model remove {name}`", f"exit code {code}, {freed} bytes freed, {told} announced",
          code == 0 and told == freed)


def is_right(setup, kind, cache, name):
    code, _, _ = setup.diffuscope(cache, "model", "verify", name)
    check(kind, f"`model verify {name}`, offline", f"exit code {code}", code == 0)


def main():
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(folder)
        cache = {kind: Path(folder) / kind / "hub" for kind in ("links", "plain", "ours", "ours-plain")}
        no_links = {"HF_HUB_DISABLE_SYMLINKS": "1"}

        kind = "Python's, with links"
        setup.python("download", cache["links"], MINI)
        seen = layout(cache["links"], MINI)
        check(kind, f"snapshot_download({MINI!r}): weights", seen, seen == f"{len(LARGE)} in blobs/")
        uses(setup, kind, cache["links"], MINI)

        kind = "Python's, shared"
        # The hub's own Xet hashes, out of the listing that Python asks it for.
        tree = subprocess.run([setup.python_path, "-c", "import json; from huggingface_hub import HfApi; print(json.dumps("
                               f"{{f.path: f.xet_hash for f in HfApi().list_repo_tree({TWIN!r}, recursive=True,"
                               f" revision={snapshot(cache['links'], MINI).name!r}) if getattr(f, 'xet_hash', None)}}))"],
                              env=setup.environment(cache["links"], {}), capture_output=True, text=True, check=True)
        published = setup.python("publish", cache["links"], MINI, tree.stdout.strip())["found"]
        seen = layout(cache["links"], MINI)
        check(kind, f"publish_blob_to_shared_store for {MINI}: weights", seen,
              all(published) and seen == f"{len(LARGE)} in the store")
        before = setup.fetched()
        setup.python("download", cache["links"], TWIN)
        seen, fetched = layout(cache["links"], TWIN), setup.fetched() - before
        check(kind, f"snapshot_download({TWIN!r}): weights", f"{seen}, {fetched} other files fetched",
              seen == f"{len(LARGE)} in the store" and fetched == len(FILES - LARGE))
        uses(setup, kind, cache["links"], MINI)
        uses(setup, kind, cache["links"], TWIN)
        shared = cache["links"]

        kind = "Python's, without links"
        setup.python("download", cache["plain"], MINI, **no_links)
        seen = layout(cache["plain"], MINI)
        check(kind, f"snapshot_download({MINI!r}): weights", seen, seen == f"{len(LARGE)} in snapshots/")
        uses(setup, kind, cache["plain"], MINI)

        for kind, where, more in [("diffuscope's", "ours", {}), ("diffuscope's, without links", "ours-plain", no_links)]:
            code, _, _ = setup.diffuscope(cache[where], "model", "pull", MINI, offline=False, **more)
            seen = layout(cache[where], MINI)
            expected = "in snapshots/" if more else "in blobs/"
            check(kind, f"`model pull {MINI}`: weights", f"exit code {code}, {seen}",
                  code == 0 and seen == f"{len(LARGE)} {expected}")
            found_by_python(setup, kind, cache[where], MINI)
            lists(setup, kind, cache[where])

        for size in KILLED:
            kind = f"killed at byte {size}"
            at = Path(folder) / kind / "hub"
            code = setup.killed(at, MINI, size)
            parts = list((shelf(at, MINI) / "blobs").glob("*.incomplete"))
            seen = ", ".join(str(part.stat().st_size) for part in parts)
            check(kind, f"`model pull {MINI}`", f"signal {-code}, {seen} bytes of one file", code < 0 and seen == str(size))
            local = setup.python("local", at, MINI)["found"]
            check(kind, f"snapshot_download({MINI!r}, local_files_only=True)", f"found: {local}", local is None)
            other = Path(folder) / f"{kind}, Python" / "hub"
            shutil.copytree(at, other, symlinks=True)
            before = setup.fetched()
            found = setup.python("download", other, MINI)
            fetched = setup.fetched() - before
            check(kind, f"snapshot_download({MINI!r})", f"{'found' if found['found'] else found}, {fetched} files fetched",
                  bool(found["found"]) and not found["said"])
            is_right(setup, kind, other, MINI)
            found_by_python(setup, kind, other, MINI)
            code, _, _ = setup.diffuscope(at, "model", "pull", MINI, offline=False)
            left = len(list((shelf(at, MINI) / "blobs").glob("*.incomplete")))
            check(kind, f"`model pull {MINI}` again", f"exit code {code}, {left} files left of the first", code == 0 and left == 0)
            found_by_python(setup, kind, at, MINI)

        def copy(name):
            to = Path(folder) / name / "hub"
            shutil.copytree(shared, to, symlinks=True)
            return to

        for kind, first, second in [("shared, first removed", MINI, TWIN), ("shared, second removed", TWIN, MINI)]:
            at = copy(kind)
            removes(setup, kind, at, first)
            is_right(setup, kind, at, second)
            found_by_python(setup, kind, at, second)
            removes(setup, kind, at, second)
            scan = setup.python("scan", at)["found"]
            check(kind, "files in the store after that", str(scan["store"]), scan["store"] == 0)

        kind = "shared, pulled into"
        at = copy(kind)
        setup.diffuscope(at, "model", "remove", TWIN, "--yes")
        code, _, _ = setup.diffuscope(at, "model", "pull", TWIN, offline=False)
        seen = layout(at, TWIN)
        check(kind, f"`model pull {TWIN}`: weights", f"exit code {code}, {seen}", code == 0 and seen == f"{len(LARGE)} in blobs/")
        is_right(setup, kind, at, MINI)
        found_by_python(setup, kind, at, MINI, TWIN)

        for kind, first, second in [("shared, first repaired", MINI, TWIN), ("shared, second repaired", TWIN, MINI)]:
            at = copy(kind)
            store = Path(os.path.realpath(snapshot(at, first) / UNET))
            content = bytearray(store.read_bytes())
            content[-1] ^= 1
            store.unlink()
            store.write_bytes(content)
            code, _, _ = setup.diffuscope(at, "model", "verify", first, "--repair")
            check(kind, f"`model verify {first} --repair`, offline, of a bad UNet",
                  f"exit code {code}, {'the store has it still' if store.exists() else 'gone'}", code == 1 and store.exists())
            code, _, err = setup.diffuscope(at, "model", "verify", first, "--repair", offline=False)
            named = f"{second} has the same bad file" in err
            check(kind, f"`model verify {first} --repair`",
                  f"exit code {code}, {second} {'named' if named else 'not named'}", code == 0 and named)
            is_right(setup, kind, at, first)
            found_by_python(setup, kind, at, MINI, TWIN)
            code, _, _ = setup.diffuscope(at, "model", "verify", second)
            check(kind, f"`model verify {second}`, offline", f"exit code {code}", code == 1)
            code, _, _ = setup.diffuscope(at, "model", "verify", second, "--repair", offline=False)
            check(kind, f"`model verify {second} --repair`", f"exit code {code}, "
                  f"{'the store has it still' if store.exists() else 'gone from the store'}", code == 0 and not store.exists())
            found_by_python(setup, kind, at, MINI, TWIN)
            # Python deletes one after that: the other keeps what the two share still.
            setup.python("delete", at, first)
            check(kind, f"Python's delete_revisions of {first}", "deleted" if not shelf(at, first).exists() else "still there",
                  not shelf(at, first).exists())
            is_right(setup, kind, at, second)
            found_by_python(setup, kind, at, second)

        setup.hub.stdin.close()
        setup.hub.wait()
    table = "| cache | what | seen |\n|---|---|---|\n" + "".join(
        f"| {kind} | {what} | {seen}{'' if good else ' **wrong**'} |\n" for kind, what, seen, good in rows)
    wrong = sum(not good for *_, good in rows)
    print(f"\n{table}\n{len(rows)} checks, {wrong} wrong")
    if "--write" in sys.argv:
        page = ROOT / "docs/hub.md"
        head = page.read_text().split("<!-- table -->")[0]
        page.write_text(f"{head}<!-- table -->\n{table}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(*sys.argv[2:])
    else:
        main()
