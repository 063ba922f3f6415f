"""Quality per byte: what a codec keeps of the ranking, end to end, and what it takes. Writes a JSON object a line.

    quality.py NAME DIR QRELS [CODECS [POOLS]]      as: quality.py Cranfield V qrels.tsv int8,4bit,2bit 1,4,8

DIR is what `ostraca encode` wrote. Judgements are read by `ostraca eval` alone. Target 0.95 is its plan for 100 hits: eval asks for so many. The binary is $OSTRACA or bin/ostraca.
"""
import json
import os
import subprocess
import sys
import tempfile

CODECS, TARGETS = "int8,4bit,3bit,2bit,1bit", ("0.95", "exact")
WINDOW = 256  # tokens; docs/score.md
OSTRACA = os.environ.get("OSTRACA", "bin/ostraca")


def ostraca(*args): return json.loads(subprocess.run([OSTRACA, *args, "--json"], check=True, capture_output=True, text=True).stdout)


def lengths(folder):
    with open(f"{folder}/doc_lens.npy", "rb") as f: b = f.read()
    b = b[10 + int.from_bytes(b[8:10], "little"):]
    return [int.from_bytes(b[i:i + 4], "little") for i in range(0, len(b), 4)]


def pooled(tokens, by):
    """How many vectors are left of a document's: pooling goes by windows."""
    return sum(-(-min(WINDOW, tokens - a) // by) for a in range(0, tokens, WINDOW))


def taken(built, tokens, pool):
    """Bytes for each of the tokens, of a build that pooled nothing: all, and what every search reads (retrieval/bytes.go)."""
    tier, kept = built["bytes_per_token"], [pooled(n, pool) for n in tokens]
    share, windows = sum(kept) / sum(tokens), lambda l: sum(-(-n // WINDOW) for n in l)
    resident = tier["coarse"] * share + tier["sketch"] * windows(kept) / windows(tokens) + tier["starts"]
    other = built["bytes_per_token_disk"] - sum(tier.values())  # ids and headers
    return resident + tier["fine"] * share + other, resident


def main(name, folder, qrels, codecs=CODECS, pools="1"):
    tokens = lengths(folder)
    for codec in codecs.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            built = ostraca("bench", folder, "--codec", codec, "--index", f"{scratch}/index", "--build-only")
        for pool in map(int, pools.split(",")):
            size, resident = taken(built, tokens, pool)
            for target in TARGETS:
                told = ostraca("eval", folder, "--query-vectors", "--qrels", qrels, "--codec", codec, "--recall-target", target, *(["--pool", str(pool)] if pool > 1 else []))
                print(json.dumps(dict(set=name, width=built["width"], codec=codec, pool=pool, target=target, ndcg=round(told["ndcg@10"], 4),
                                      bytes=round(size, 1), resident=round(resident, 1))), flush=True)


if __name__ == "__main__": main(*sys.argv[1:])
