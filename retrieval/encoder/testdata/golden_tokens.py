"""Writes what the reference makes of texts, for tokenizer_test.go.

tokenizers==0.23.3 with the tokenizer.json of BAAI/bge-small-en-v1.5 (MIT; the vocabulary is that of BERT uncased):
    python3 golden_tokens.py TOKENIZER.JSON XQUAD_EN [COUNT SEED FOLDER]
tokens.jsonl.gz      COUNT texts (2,000), a line each: text, ids, starts and ends in bytes of UTF-8
codepoints.txt       a hash of the answers on every code point, one a block of 4,096
vocab.txt.gz         the pieces in the order of their ids
"""
import gzip
import hashlib
import itertools
import json
import pathlib
import random
import struct
import sys
import unicodedata

import tokenizers

assert tokenizers.__version__ == "0.23.3"
tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
xquad = pathlib.Path(sys.argv[2])
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else 1
OUT = pathlib.Path(sys.argv[5]) if len(sys.argv) > 5 else pathlib.Path(__file__).parent

BY_HAND = [
    "", " ", "\t\r\n", "\u00a0\u2003\u3000", "\0", "\ufffd", "\u200b", "a\0b", "a\u200db", "a\u000bb\u000cc\u0085d", "a\u2028b\u2029c",
    "Hello, World!", "na\u00efve caf\u00e9 r\u00e9sum\u00e9", "nai\u0308ve cafe\u0301", "\u0301abc", "a\u0301\u0316\u0327b", "a\u200b\u0301b",
    "\u0344\u0316x", "\u0f73\u0f71\u0f80", "\U0001d15e\u0327\U0001d16d", "\U0001d16d\u0316\U0001d165\u0301\u302e", "\u1e69 s\u0323\u0307 s\u0307\u0323",
    "\u6771\u4eac\u90fdabc\u5927\u962a", "a\u4e2db\u6587c", "\uf900\ufa0e\U0002f800", "\U0002b81e\U0002b820\U0002ceb0", "\u304b\u3099\u304c \uff76\uff9e",
    "\ud55c\uad6d\uc5b4 \uac00\uac01\u1100\u1161\u11a8", "\uac01\u0301\u302e", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u0627\u064e\u0644\u0652\u0639\u064e\u0631",
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0130stanbul I\u0307 \u0131", "STRASSE Stra\u00dfe \u1e9e",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03c3\u03c2", "\ufb01n \ufb03 \ufb06", "\U0001d400\U0001d41b \U0001d7d8", "\u2126\u212a\u212b", "\uff21\uff22\uff23\uff11",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea\U0001f1eb", "\U0001f44d\U0001f3fd!", "\u2764\ufe0f", "\ue000\U000f0000\U0010fffd", "\u0378\U000e0080\U0001fbff",
    "[CLS] a [SEP]", "a[CLS]b", "[cls] [Sep]", "[CLS][SEP][UNK][PAD][MASK]", "[[CLS]]", "[CLS", "[MASK]\u0301", "e[MASK]\u0301", "[MASK ]", "[\0CLS]", "[CL\u200bS]", "[unused0]",
    "\u4e2d[SEP]\u6587", "a" * 99, "a" * 100, "a" * 101, "e\u0301" * 100, "e\u0301" * 101, "\u00e9" * 100, "\u00e9" * 101, "\u4e2d" * 101, "\uac01" * 33, "\uac01" * 34,
    "x" * 50 + "\u200b" * 60 + "y" * 50, "z" * 1000, "-" * 300, "'" * 7, "don't o'clock\u2019s", "##ing a##b ## #", "~`$^+=<>|", "\u20ac\u00a3\u00a5\u00a9", "1,234.56e-7 0x1F",
    "https://example.org/a_b?c=d&e=%20#f", "if (x[i] >= 0 && *p++ != '\\n') { return f(x); } // ok", "user.name+tag@mail.co.uk", "C++ C# .NET", "..." * 20,
    "\U00010400\U0001e900\u1c89\ua7da\U00010d50", "\u13a0\uab70\u10a0\u1c90", "\u01c5\u01c4\u01f0\u0149", "\u037e\u0387\u1fef\u2000\u2001",
]
SCRIPTS = [(0x21, 0x7F), (0xA0, 0x250), (0x250, 0x370), (0x300, 0x370), (0x370, 0x530), (0x590, 0x600), (0x600, 0x7C0), (0x7C0, 0x900), (0x900, 0xE00),
           (0xE00, 0xF00), (0xF00, 0x1000), (0x1000, 0x1200), (0x1200, 0x18B0), (0x1A00, 0x1CFA), (0x1D00, 0x2000), (0x2000, 0x2070), (0x2070, 0x2C00),
           (0x2C00, 0x3000), (0x3000, 0x3400), (0x3400, 0xA000), (0xA000, 0xAC00), (0xAC00, 0xD7B0), (0xF900, 0x10000), (0x10000, 0x11000),
           (0x11000, 0x12000), (0x16000, 0x17000), (0x1BC00, 0x1E000), (0x1D100, 0x1D200), (0x1D400, 0x1D800), (0x1E000, 0x1F000), (0x1F000, 0x20000), (0x20000, 0x32000)]
MARKS = [c for c in map(chr, range(0x20000)) if unicodedata.combining(c)]
KEPT = [c for c in MARKS if unicodedata.category(c) == "Mc"] + ["\U0001e000", "\U0001e944", "\u08d4", "\u1dfb"]
GLUE = [" ", " ", " ", "\t", "\n", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\0", "\x1b", "-", ".", "[", "]", "[SEP]", "[MASK]", "[UNK]", "\u4e2d"]
random_ = random.Random(SEED)
pick, number, chance = random_.choice, random_.randrange, random_.random
sentences = [s.strip() + "." for line in (xquad / "corpus.jsonl").open() for s in json.loads(line)["text"].split(".") if len(s) > 20]
words = sorted({w for s in sentences for w in s.split()})
emoji = [chr(c) for c in itertools.chain(range(0x1F300, 0x1F650), range(0x1F900, 0x1FA00))]
syllables = [tokenizer.id_to_token(i).removeprefix("##") for i in range(1000, 30522)]


def char(ranges):
    return chr(number(*pick(ranges)))


def soup():
    """Code points of anywhere."""
    return "".join(c for c in (chr(number(0x110000) if chance() < .3 else number(0x20000)) for _ in range(number(1, 30))) if not "\ud800" <= c <= "\udfff")


def script():
    """Words of one script, glued by whatever."""
    own = [pick(SCRIPTS)]
    return "".join("".join(char(own) for _ in range(number(1, 12))) + pick(GLUE) for _ in range(number(1, 6)))


def mixed():
    return "".join(char(SCRIPTS) if chance() < .8 else pick(GLUE) for _ in range(number(1, 30)))


def marked():
    """Letters under many marks, some of which are kept."""
    base = "".join(pick("aeionsAEIONS\u00e9\u1e69\u1edf\uac01\u304c\U0001d15e\U0001d1bb\u0f43\u4e2d\u05d0") + "".join(pick(KEPT if chance() < .3 else MARKS) for _ in range(number(5))) for _ in range(number(1, 8)))
    return unicodedata.normalize(pick(["NFC", "NFD"]), base) if chance() < .3 else base


def accented():
    out = "".join(c + pick(MARKS[:60]) if chance() < .2 else c for c in pick(sentences))
    return unicodedata.normalize(pick(["NFC", "NFD", "NFKC"]), out)


def disturbed():
    out = list(pick(sentences))
    for _ in range(number(1, 8)):
        out.insert(number(len(out) + 1), pick(GLUE) if chance() < .5 else char(SCRIPTS))
    return "".join(out)


def pictures():
    return "".join(pick(emoji) + pick(["", "", "\u200d", "\ufe0f", "\U0001f3fb", " ", "ok"]) for _ in range(number(1, 9))) + "".join(chr(0x1F1E6 + number(26)) for _ in range(number(5)))


def long_word():
    pool = pick(["ab", "\u00e9e", "\u0434\u0416", "x\u0301", "\uac00\uac01", "a\u200b", "\U0001d400\U00010400", "\u0e01\u0e32"])
    return pick(["", "so "]) + "".join(pick(pool) for _ in range(number(90, 130))) + pick(["", " end", "!"])


def pieced():
    """Words made of pieces of the vocabulary."""
    return " ".join("".join(pick(syllables) for _ in range(number(1, 5))) for _ in range(number(1, 6)))


def code():
    return "".join(pick(words) if chance() < .4 else pick("(){}[];:,.<>=+-*/&|^%$#@!~`'\"\\_ \n\t0123456789") for _ in range(number(3, 40)))


def url():
    return pick(["https://", "http://www.", "ftp://", "mailto:"]) + "/".join(pick(words).lower() for _ in range(number(1, 6))) + "?q=%" + format(number(256), "02X") + "&n=" + str(number(10**number(1, 15)))


def sentence():
    s = pick(sentences)
    return pick([s, s, s.upper(), s.title(), s.swapcase()])


MAKERS = [soup, script, script, script, mixed, mixed, marked, marked, accented, disturbed, disturbed, pictures, long_word, pieced, code, url, sentence, sentence, sentence]


def answer(text):
    """Ids, starts and ends: the package counts characters, we count bytes."""
    e = tokenizer.encode(text, add_special_tokens=False)
    at = list(itertools.accumulate((len(c.encode()) for c in text), initial=0))
    return e.ids, [at[a] for a, _ in e.offsets], [at[b] for _, b in e.offsets]


def write_gzip(name, data):
    (OUT / name).write_bytes(gzip.compress(data, 9, mtime=0))


def code_point_hash(block):
    """Each code point alone, inside a word, and between marks of classes 226 and 216 that are kept."""
    h = hashlib.sha256()
    for c in map(chr, range(block, block + 4096)):
        if "\ud800" <= c <= "\udfff":
            continue
        text = f"{c} a{c}b \U0001d16d{c}\U0001d165"
        h.update(tokenizer.normalizer.normalize_str(text).encode())
        for numbers in answer(text):
            h.update(struct.pack(f"<{len(numbers)}I", *numbers))
    return f"{block:06X} {h.hexdigest()[:16]}\n"


texts = BY_HAND + [pick(MAKERS)() for _ in range(COUNT - len(BY_HAND))]
write_gzip("tokens.jsonl.gz", "".join(json.dumps({"text": t, "ids": i, "starts": s, "ends": e}, ensure_ascii=False, separators=(",", ":")) + "\n"
                                      for t in texts for i, s, e in [answer(t)]).encode())
if COUNT == 2000:
    write_gzip("vocab.txt.gz", "".join(tokenizer.id_to_token(i) + "\n" for i in range(tokenizer.get_vocab_size())).encode())
    (OUT / "codepoints.txt").write_text("".join(code_point_hash(b) for b in range(0, 0x110000, 4096)))
