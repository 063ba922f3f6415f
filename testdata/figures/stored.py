"""Bytes that a replica keeps for each token, right after a load: codes, text and spans in its state file and what else that takes (versions, digests, ids, pages
that are not full), the log file, the index in memory. Writes a JSON object a line.

    stored.py NAME DIR [CODECS]      DIR is what `ostraca encode` wrote; one node, one shard, one router, on ports of their own

The binary is $OSTRACA or bin/ostraca.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

OSTRACA = os.environ.get("OSTRACA", "bin/ostraca")
NODE, NODE_HTTP, ROUTER, ROUTER_HTTP = (f"127.0.0.1:{p}" for p in (27400, 27401, 27600, 27601))


def ostraca(*args):
    p = subprocess.run([OSTRACA, *args, "--json"], stdout=subprocess.PIPE, text=True)
    if p.returncode: raise SystemExit(f"{' '.join(args)}: {p.stdout}")
    return json.loads(p.stdout)


def varint(n): return 1 if n < 128 else 2 if n < 1 << 14 else 3


def ready():
    try: return urllib.request.urlopen(f"http://{ROUTER_HTTP}/readyz").status == 200
    except OSError: return False


def settled():
    """The node's replica once its state is in the file and its log is purged of what that covers: when sizes no longer change."""
    last = None
    for _ in range(60):
        time.sleep(2)
        now = ostraca("cluster", "status", "--router", ROUTER)["shards"][0]["replicas"][0]
        if now == last: return now
        last = now
    return last


def measure(name, folder, codec):
    docs = [json.loads(line) for line in open(f"{folder}/docs.jsonl")]
    with tempfile.TemporaryDirectory() as d:
        tokens = ostraca("bench", folder, "--codec", codec, "--build-only", "--index", f"{d}/index")
    with tempfile.TemporaryDirectory() as d:
        run = lambda *a: subprocess.Popen([OSTRACA, *a], stderr=subprocess.DEVNULL)
        started = [run("node", "--id", "n1", "--dir", d, "--listen", NODE, "--http", NODE_HTTP, "--bootstrap-expect", "1", "--replicas", "1", "--shards", "1"),
                   run("router", "--join", NODE, "--listen", "127.0.0.1:0", "--grpc", ROUTER, "--http", ROUTER_HTTP)]
        try:
            while not ready(): time.sleep(.2)
            ostraca("load", folder, "--create", "--codec", codec, "--encoder", "none", "--width", str(tokens["width"]), "--collection", "papers", "--router", ROUTER)
            r = settled()
        finally:
            for p in reversed(started): p.send_signal(signal.SIGTERM)
            for p in started: p.wait()
    n, codes = tokens["tokens"], sum(tokens["bytes_per_token"].values())
    text = sum(len(x.get("text", "").encode()) for x in docs) / n
    spans = sum(varint(a) + varint(b - a) for x in docs for a, b in x.get("spans") or []) / n
    state, log, index = (int(r[k]) / n for k in ("state_bytes", "log_bytes", "index_bytes"))
    return {"set": name, "codec": codec, "tokens": n, "documents": len(docs), "log_entries": int(r["log_entries"])} | {k: round(v, 1) for k, v in {
        "codes": codes, "text": text, "spans": spans, "rest": state - codes - text - spans, "state": state, "log": log, "index": index}.items()}


if __name__ == "__main__":
    for codec in (sys.argv[3].split(",") if len(sys.argv) > 3 else ["int8", "4bit"]):
        print(json.dumps(measure(sys.argv[1], sys.argv[2], codec)), flush=True)
