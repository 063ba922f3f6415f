#!/usr/bin/env python3
"""Compares token vectors written by `ostraca encode` with onnxruntime on the fp32 artifact: the cosine, token by token.

    check.py DIR [--max-tokens 256] [--limit TOKENS] [--int8] [--json]

DIR holds doc_tokens.npy, doc_lens.npy and docs.jsonl (id, text), encoded with the same --max-tokens. Exit status 1 if the mean is
below .999, the 1st percentile below .997 or a text has another number of tokens. --int8 adds onnxruntime's own int8 file, one text
at a time, for comparison.
"""
import argparse, json, os, sys
import numpy as np
from tokenizers import Tokenizer
import make

MEAN, FIRST = 0.999, 0.997


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir")
    p.add_argument("--max-tokens", type=int, default=256, help="cut here, with [CLS] and [SEP] (at most 512, the model's own length)")
    p.add_argument("--limit", type=int, default=10**9, help="stop after so many tokens")
    p.add_argument("--int8", action="store_true", help="also measure onnxruntime's int8 file")
    p.add_argument("--json", action="store_true", help="one JSON object instead of text")
    a = p.parse_args()

    tokens = np.load(os.path.join(a.dir, "doc_tokens.npy"), mmap_mode="r")
    lens = np.load(os.path.join(a.dir, "doc_lens.npy"))
    onnx_bytes, tokenizer_json = make.fetch()
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.enable_truncation(a.max_tokens)
    exact, int8 = make.session(onnx_bytes), make.session(make.fetch(int8=True)[0]) if a.int8 else None
    cosines, theirs, wrong, at, texts = [], [], [], 0, 0
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
    for n, row in zip(lens, make.records(os.path.join(a.dir, "docs.jsonl")), strict=True):
        if at >= a.limit:
            break
        ours, at, texts = tokens[at : at + n].astype(np.float32), at + n, texts + 1
        ids = tokenizer.encode(row["text"]).ids
        if len(ids) - 2 != n:
            wrong.append(f"{row['id']}: {n} tokens, should be {len(ids) - 2}")
        elif n:
            want = unit(make.run(exact, ids)[1:-1])
            cosines.append((unit(ours) * want).sum(axis=1))
            if int8:
                theirs.append((unit(make.run(int8, ids)[1:-1]) * want).sum(axis=1))

    def figures(parts):
        c = np.concatenate(parts) if parts else np.zeros(1)
        return dict(mean=float(c.mean()), p1=float(np.percentile(c, 1)), worst=float(c.min()))

    result = dict(texts=texts, tokens=sum(map(len, cosines)), **figures(cosines), wrong_lengths=len(wrong))
    if int8:
        result["onnxruntime_int8"] = figures(theirs)
    result["ok"] = bool(result["mean"] >= MEAN and result["p1"] >= FIRST and not wrong)
    if a.json:
        print(json.dumps(result))
    else:
        line = "{}: mean cosine {mean:.5f}, 1st percentile {p1:.5f}, worst {worst:.4f}".format
        print(f"{texts} texts, {result['tokens']} tokens; " + line("to fp32", **result))
        if int8:
            print(line("onnxruntime's int8 file", **result["onnxruntime_int8"]))
        print("\n".join(wrong[:10] + ([f"and {len(wrong) - 10} more"] if len(wrong) > 10 else [])), end="\n" if wrong else "")
        print("ok" if result["ok"] else f"FAILED: wanted a mean of {MEAN}, a 1st percentile of {FIRST}, equal lengths")
    sys.exit(not result["ok"])


if __name__ == "__main__":
    main()
