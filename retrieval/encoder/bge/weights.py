"""Weights files, version 1 (docs/weights.md): write, read back, quantise. Used by make.py and encodertest/make.py."""
import hashlib, json, math, struct
import numpy as np

MAGIC, VERSION, ALIGN = b"OSTRACAW", 1, 64
TYPES = {"i8": "<i1", "u16": "<u2", "f32": "<f4", "text": "u1"}
KEYS = ("model", "origin", "licence", "layers", "hidden", "heads", "intermediate", "positions", "vocabulary", "epsilon", "weights_from")


def aligned(n):
    return -(-n // ALIGN) * ALIGN


def quantise(w):
    """int8 rows and one float32 scale a row: w = rows * scale, symmetric, the largest entry at 127."""
    top = np.abs(w).max(axis=1).astype(np.float32)
    scale = np.where(top > 0, top / np.float32(127), np.float32(1)).astype(np.float32)
    return np.clip(np.rint(w / scale[:, None]), -127, 127).astype(np.int8), scale


def text(pieces):
    """The tensor `vocabulary`: every piece ends in a newline."""
    assert not any("\n" in p or not p for p in pieces)
    return np.frombuffer("".join(p + "\n" for p in pieces).encode(), np.uint8)


def model(vocabulary, word, position, layers, norm, query_weight, int8):
    """The tensors of a file, in order. `layers`: per layer {qkv, out, up, down: (matrix [out, in], bias), attention, output: (gain, bias)}."""
    f32 = lambda a: np.ascontiguousarray(a, np.float32)
    tensors = {"vocabulary": text(vocabulary)}

    def matrix(name, w):
        if int8:
            tensors[name], tensors[name + ".scale"] = quantise(w)
        else:
            tensors[name] = f32(w)

    matrix("word", word)
    tensors["position"] = f32(position)
    tensors["embedding.norm.gain"], tensors["embedding.norm.bias"] = map(f32, norm)
    for n, layer in enumerate(layers):
        for part in ("qkv", "out", "up", "down"):
            matrix(f"layer.{n}.{part}", layer[part][0])
            tensors[f"layer.{n}.{part}.bias"] = f32(layer[part][1])
        for part in ("attention", "output"):
            tensors[f"layer.{n}.{part}.norm.gain"], tensors[f"layer.{n}.{part}.norm.bias"] = map(f32, layer[part])
    tensors["query.weight"] = query_weight.astype(np.uint16)
    return tensors


def write(path, header, tensors):
    """Writes the file and reads it back. Offsets count from the start of the file; the hash follows the last tensor without a gap."""
    assert tuple(header) == KEYS, tuple(header)
    names = {np.dtype(t): name for name, t in TYPES.items() if name != "text"}
    start = 0
    while True:  # the offsets are part of the header whose length they depend on
        table, at = [], start
        for name, a in tensors.items():
            kind = "text" if name == "vocabulary" else names[a.dtype]
            table.append(dict(name=name, type=kind, shape=list(a.shape), offset=at, bytes=a.nbytes))
            at = aligned(at + a.nbytes)
        head = json.dumps({**header, "tensors": table}, separators=(",", ":")).encode()
        if (need := aligned(16 + len(head))) <= start:
            break
        start = need
    out = bytearray(MAGIC + struct.pack("<II", VERSION, len(head)) + head)
    for row, a in zip(table, tensors.values()):
        out += bytes(row["offset"] - len(out)) + a.tobytes()
    with open(path, "wb") as f:
        f.write(out + hashlib.sha256(out).digest())
    back, copies = read(path)
    assert {k: back[k] for k in KEYS} == header and list(copies) == list(tensors)
    assert all(np.array_equal(copies[k], tensors[k]) and copies[k].dtype == tensors[k].dtype for k in tensors)


def read(path):
    """Header and tensors, checked as a reader of docs/weights.md checks them."""
    with open(path, "rb") as f:
        data = f.read()
    body, digest = data[:-32], data[-32:]
    assert hashlib.sha256(body).digest() == digest, "SHA-256"
    version, size = struct.unpack_from("<II", body, 8)
    assert body[:8] == MAGIC and version == VERSION and 16 + size <= len(body), "head"
    header = json.loads(body[16 : 16 + size])
    tensors, end = {}, 16 + size
    for t in header["tensors"]:
        assert t["offset"] == aligned(end) and not any(body[end : t["offset"]]), t  # aligned, in order, zeros between
        end = t["offset"] + t["bytes"]
        a = np.frombuffer(body, TYPES[t["type"]], int(np.prod(t["shape"])), t["offset"])
        assert a.nbytes == t["bytes"] and t["name"] not in tensors, t
        tensors[t["name"]] = a.reshape(t["shape"])
    assert end == len(body), "bytes after the last tensor"
    shapes = expected(header)
    lines = tensors["vocabulary"].tobytes().decode().split("\n")
    assert len(lines) == header["vocabulary"] + 1 and lines[-1] == ""
    for name, shape in shapes.items():
        assert tensors[name].shape == shape, (name, tensors[name].shape, shape)
    scales = {n + ".scale": (tensors[n].shape[0],) for n in shapes if tensors[n].dtype == np.int8}
    assert all(tensors[n].shape == s for n, s in scales.items())
    assert set(tensors) == {"vocabulary", "query.weight", *shapes, *scales}
    return header, tensors


def expected(header):
    """The shapes that the header's numbers ask for."""
    h, i, v, p = (header[k] for k in ("hidden", "intermediate", "vocabulary", "positions"))
    shapes = {"word": (v, h), "position": (p, h), "embedding.norm.gain": (h,), "embedding.norm.bias": (h,), "query.weight": (v,)}
    for n in range(header["layers"]):
        for part, out, inner in (("qkv", 3 * h, h), ("out", h, h), ("up", i, h), ("down", h, i)):
            shapes[f"layer.{n}.{part}"], shapes[f"layer.{n}.{part}.bias"] = (out, inner), (out,)
        for part in ("attention.norm", "output.norm"):
            shapes[f"layer.{n}.{part}.gain"] = shapes[f"layer.{n}.{part}.bias"] = (h,)
    return shapes


def forward(header, tensors, ids):
    """The last hidden state in floats, in plain numpy: a check that the tensors are the right ones, not a twin of our kernels."""
    t = {k: a * tensors[k + ".scale"][:, None] if a.dtype == np.int8 else a for k, a in tensors.items()}
    heads, size = header["heads"], header["hidden"] // header["heads"]
    erf = np.frompyfunc(math.erf, 1, 1)

    def norm(x, name):
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + header["epsilon"]) * t[name + ".norm.gain"] + t[name + ".norm.bias"]

    def linear(x, name):
        return x @ t[name].T + t[name + ".bias"]

    x = norm(t["word"][ids] + t["position"][: len(ids)], "embedding")
    for n in range(header["layers"]):
        at = f"layer.{n}."
        q, k, v = linear(x, at + "qkv").reshape(len(ids), 3, heads, size).transpose(1, 2, 0, 3)
        p = q @ k.transpose(0, 2, 1) / math.sqrt(size)
        p = np.exp(p - p.max(axis=2, keepdims=True))
        x = norm(x + linear((p / p.sum(axis=2, keepdims=True) @ v).transpose(1, 0, 2).reshape(x.shape), at + "out"), at + "attention")
        y = linear(x, at + "up")
        x = norm(x + linear(y * (0.5 + 0.5 * erf(y / math.sqrt(2)).astype(np.float32)), at + "down"), at + "output")
    return x
