#!/usr/bin/env python3
"""Writes tokenizers.json.gz: small tokenizers of every part that NewTokenizer knows, and a hash of what tokenizers 0.22.2 makes of
texts with each. Beside make.py, whose packages and training texts it takes.

    golden.py [COUNT SEED]
"""
import gzip, hashlib, json, os, random, struct, sys, unicodedata
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers as N, pre_tokenizers as P, processors, trainers
import make

COUNT, SEED = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (400, 1)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
chance = random.Random(SEED)
MARKS = [chr(c) for c in range(0x300, 0x370)] + list("\u0591\u05b0\u064b\u0670\u0e38\u0e48\u3099\u309a\u1ab0\u20d0")
GLUE = list("   \t\n\r'-._[]<>▁") + ["  ", "\u00a0", "\u3000", "\u2028", "\u200b", "\u0085", "\x0b", "\x1f", "[Q] ", "<mask>", " <mask> ", "[X]", "[x]", "'s", "'ll", "'LL", "word"]


def char():
    while True:
        low, high = chance.choice([(0x20, 0x7f), (0x20, 0x7f), (0xa0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xa00), (0xe00, 0xe80), (0x1100, 0x1200), (0x1e00, 0x2000), (0x2000, 0x2c00),
                                   (0x3000, 0x3100), (0x3200, 0x3400), (0x4e00, 0x4f00), (0xac00, 0xad00), (0xf900, 0xfb50), (0xff00, 0xffe0), (0x1d400, 0x1d500), (0x1f300, 0x1f650)])
        c = chr(chance.randrange(low, high))
        if unicodedata.category(c) != "Cn" and c != "\u32ff":  # of Unicode 12.1: the reference is older, the Go text library newer
            return c


def text():
    kind = chance.random()
    if kind < 0.3:
        out = [w + chance.choice(GLUE) for w in chance.choices(" ".join(make.PROSE).split(), k=chance.randrange(1, 12))]
    else:
        out = [char() + (chance.choice(MARKS) * chance.randrange(1, 3) if chance.random() < 0.2 else "") if chance.random() < 0.75 else chance.choice(GLUE) for _ in range(chance.randrange(1, 40))]
    return "".join(out) if kind < 0.9 else unicodedata.normalize(chance.choice(["NFC", "NFD", "NFKC"]), "".join(out))


def train(model, trainer, normalizer=None, pre=None):
    t = Tokenizer(model)
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.train_from_iterator(make.corpus(), trainer)
    return t


SPECIAL = ["[CLS]", "[SEP]", "[UNK]"]
BYTES = [f"<0x{b:02X}>" for b in range(256)]
bpe = lambda n=None, p=None, alphabet=[], size=400, unk="[UNK]", extra=[], **k: train(models.BPE(unk_token=unk, **k), trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL + extra, initial_alphabet=alphabet, show_progress=False), n, p)
wordpiece = lambda n=None, p=None: train(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False), n, p)
unigram = lambda n=None, p=None, fallback=False: with_bytes(train(models.Unigram(), trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False), n, p)) if fallback else train(models.Unigram(), trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False), n, p)


def with_bytes(t):
    j = json.loads(t.to_str())
    j["model"]["vocab"] += [[b, 0.0] for b in BYTES]
    j["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(j))


def all_tokenizers():
    alphabet = P.ByteLevel.alphabet()
    yield "gpt2", bpe(p=P.ByteLevel(add_prefix_space=False), alphabet=alphabet, unk=None)
    yield "gpt2 prefix trimmed", bpe(p=P.ByteLevel(add_prefix_space=True), alphabet=alphabet, unk=None)
    yield "gpt2 whole words", bpe(n=N.NFC(), p=P.ByteLevel(add_prefix_space=False), alphabet=alphabet, unk=None, ignore_merges=True)
    yield "split by pattern, bytes", bpe(n=N.NFC(), p=P.Sequence([P.Split(Regex(GPT2), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]), alphabet=alphabet, unk=None)
    yield "bpe whitespace fused", bpe(N.NFKC(), P.Whitespace(), fuse_unk=True)
    yield "bpe not fused", bpe(N.NFD(), P.WhitespaceSplit(), fuse_unk=False)
    yield "bpe fallback", bpe(N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), None, extra=BYTES, size=600, byte_fallback=True, fuse_unk=True)
    yield "bpe without unk", bpe(N.NFKD(), P.Whitespace(), unk=None)
    yield "bert cased", wordpiece(N.BertNormalizer(lowercase=False), P.BertPreTokenizer())
    yield "bert cased stripped", wordpiece(N.BertNormalizer(lowercase=False, strip_accents=True, clean_text=False), P.BertPreTokenizer())
    yield "bert lower kept", wordpiece(N.BertNormalizer(lowercase=True, strip_accents=False, handle_chinese_chars=False), P.BertPreTokenizer())
    yield "nfd lower strip", wordpiece(N.Sequence([N.NFD(), N.Lowercase(), N.StripAccents(), N.Strip()]), P.Sequence([P.Whitespace(), P.Digits(individual_digits=True)]))
    yield "lower nfkc", wordpiece(N.Sequence([N.Lowercase(), N.NFKC()]), P.Sequence([P.WhitespaceSplit(), P.Punctuation("contiguous"), P.Digits()]))
    yield "punctuation before", wordpiece(N.Lowercase(), P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_previous")]))
    yield "punctuation after", wordpiece(N.Lowercase(), P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_next")]))
    yield "punctuation gone", wordpiece(N.Lowercase(), P.Sequence([P.Split("e", "merged_with_next"), P.Split(Regex("[ \\t]+"), "removed"), P.Punctuation("removed")]))
    yield "split inverted", wordpiece(None, P.Sequence([P.Split(Regex("[a-z]+|\\p{N}"), "removed", invert=True)]))
    yield "unigram always", unigram(N.Sequence([N.Precompiled(make.charsmap()), N.NFKC()]), P.Metaspace())
    yield "unigram first", unigram(N.Precompiled(make.charsmap()), P.Metaspace(prepend_scheme="first"))
    yield "unigram never, whole", unigram(N.Replace(Regex("[0-9]+"), "0"), P.Metaspace(prepend_scheme="never", split=False))
    yield "unigram bytes", unigram(N.NFC(), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), fallback=True)


def answer(t, s):
    e = t.encode(s, add_special_tokens=True)
    at = np.cumsum([0] + [len(c.encode()) for c in s]).tolist()
    rows = [e.ids[1:-1], [at[a] for a, _ in e.offsets[1:-1]], [at[b] for _, b in e.offsets[1:-1]]]
    return hashlib.sha256(b"".join(struct.pack(f"<{len(r)}I", *r) for r in rows)).hexdigest()[:8]


def main():
    texts = make.TEXTS + [text() for _ in range(COUNT)]
    out = []
    for i, (name, t) in enumerate(all_tokenizers()):
        t.add_tokens([AddedToken("[Q] ", normalized=True), AddedToken("word", normalized=True, single_word=True)])
        t.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=i % 2 == 1, normalized=False), AddedToken("[X]", normalized=i % 2 == 0, special=True)])
        if "ByteLevel" in t.to_str() and i < 3:
            t.post_processor = processors.RobertaProcessing(("[SEP]", 1), ("[CLS]", 0), trim_offsets=True, add_prefix_space="prefix" in name)
        elif "bytes" in name and "split" in name:
            t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)])])
        else:
            t.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
        j = json.loads(t.to_str())
        if j["model"]["type"] == "BPE" and i % 2:  # as older files write merges
            if not any(" " in a or " " in b for a, b in j["model"]["merges"]):
                j["model"]["merges"] = [f"{a} {b}" for a, b in j["model"]["merges"]]
        j.pop("decoder", None)
        out.append(dict(name=name, tokenizer=json.dumps(j, ensure_ascii=False, separators=(",", ":")), hashes=[answer(t, s) for s in texts]))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers.json.gz") if COUNT == 400 else "/tmp/tokenizers.json.gz"
    with open(path, "wb") as f:
        f.write(gzip.compress(json.dumps(dict(texts=texts, tokenizers=out)).encode(), 9, mtime=0))
    print(len(out), "tokenizers,", len(texts), "texts,", os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
