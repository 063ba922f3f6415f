"""Growth: sets of vectors of any size, and what a search of them costs. NumPy is needed for sets alone.

    growth.py first DIR OUT MILLIONS             the first documents of DIR, up to so many million tokens
    growth.py mixed DIR OUT MILLIONS             beyond them documents of halves of two, with noise: for times, not for recall
    growth.py measure NAME DIR QUERIES SETTING...   appends a row a setting (a recall target, or a plan as 120:30) to growth.jsonl

The binary is $OSTRACA or bin/ostraca. The figures of docs/performance.md are of `measure` pinned to one core.
"""
import json
import os
import subprocess
import sys
import tempfile

OSTRACA = os.environ.get("OSTRACA", "bin/ostraca")
HERE = os.path.dirname(os.path.abspath(__file__))
BATCH = 2000  # documents that are mixed with each other
NOISE = .3  # length of what is added to a token


def documents(tokens, lens):
    """Batches of documents of a set: their tokens and lengths."""
    import numpy as np
    starts = np.concatenate([[0], np.cumsum(lens)])
    for a in range(0, len(lens), BATCH):
        b = min(a + BATCH, len(lens))
        yield np.array(tokens[starts[a]:starts[b]], dtype=np.float32), lens[a:b]


def mixed(x, lens, rng):
    """The second half of each document comes from another; every token moves."""
    import numpy as np
    starts, out = np.concatenate([[0], np.cumsum(lens)]), x.copy()
    for i, other in enumerate(rng.permutation(len(lens))):
        half = lens[i] // 2
        n = min(half, lens[other])
        at = starts[i] + half
        out[at:at + n] = x[starts[other]:starts[other] + n]
    out += rng.standard_normal(out.shape, dtype=np.float32) * (NOISE / np.sqrt(out.shape[1]))
    return out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-12)


def write(folder, out, need, synthetic):
    import numpy as np
    rng = np.random.default_rng(7)
    tokens, lens = np.load(f"{folder}/doc_tokens.npy", mmap_mode="r"), np.load(f"{folder}/doc_lens.npy")
    os.makedirs(out)
    kept, n, rounds = [], 0, 0
    with open(f"{out}/doc_tokens.npy", "wb") as f:
        f.write(bytes(128))
        while n < need and (rounds == 0 or synthetic):
            for x, l in documents(tokens, lens):
                if rounds: x = mixed(x, l, rng)
                k = min(len(l), int(np.searchsorted(np.cumsum(l), need - n)) + 1)
                rows = int(l[:k].sum())
                f.write(x[:rows].astype(np.float16).tobytes())
                kept.append(l[:k])
                n += rows
                if n >= need: break
            rounds += 1
        f.seek(0)
        header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({n}, {tokens.shape[1]}), }}".ljust(117) + "\n"
        f.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    np.save(f"{out}/doc_lens.npy", np.concatenate(kept).astype(np.int32))
    for name in ("query_tokens.npy", "query_lens.npy"): np.save(f"{out}/{name}", np.load(f"{folder}/{name}"))


def measure(name, folder, queries, settings):
    targets, plans = [s for s in settings if ":" not in s], [s for s in settings if ":" in s]
    with tempfile.TemporaryDirectory() as index:
        common = [OSTRACA, "bench", folder, "--index", index]
        subprocess.run([*common, "--build-only"], check=True, stdout=subprocess.DEVNULL)
        run = [*common, "--threads", "1", "--queries", queries, "--recall-queries", "0", "--targets", ",".join(targets or ["exact"]), "--json"]
        if plans: run += ["--plans", ",".join(plans)]
        r = json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout)
    with open(os.path.join(HERE, "growth.jsonl"), "a") as f:
        for x in r["results"]:
            if x["k"] != 10 or x["recall_target"] == "exact": continue
            plan = f'{x["plan"]["sketched"]}>{x["plan"]["scored"]}'
            what = f'plan {plan}' if x["recall_target"] == plan else f'target {x["recall_target"]}'
            f.write(json.dumps({"name": f"{name}, {what}", "tokens": r["tokens"], "documents": r["documents"], "plan": plan, "cpu_ms": round(x["cpu_us"] / 1e3, 3),
                                "micros": {k: round(v) for k, v in x["stats"]["micros"].items()}}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "measure": measure(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else: write(sys.argv[2], sys.argv[3], int(float(sys.argv[4]) * 1e6), sys.argv[1] == "mixed")
