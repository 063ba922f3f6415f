#!/usr/bin/env python3
"""Makes small random models in Hugging Face's layout, and what the reference libraries make of texts with them.

    pip install pylate==1.6.0 sentencepiece==0.2.3 protobuf
    pip install --no-deps colbert-ai==0.2.22 bitarray ujson ninja gitpython gitdb smmap    # needs g++
    make.py [FOLDER]

pylate brings sentence-transformers 5.3.0, transformers 5.3.0, tokenizers 0.22.2 and torch 2.11.0. Every case is
expected/CASE.json.gz: the folder, files to lay over it (null: take it away), and per text and mode the token ids, the spans in
bytes, and the vectors in float16, base64. Plain models: transformers' last hidden state, without [CLS] and [SEP]. PyLate: encode and
tokenize of pylate itself. ColBERT: colbert-ai's own tokenizers and model. The vocabularies are trained on the texts below; where the
trainers meet a tie, runs differ, so a new run makes other files throughout.
"""
import base64, gzip, json, os, shutil, string, sys, tempfile
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (AutoModel, BertConfig, BertModel, ElectraConfig, ElectraModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel,
                          XLMRobertaConfig, XLMRobertaModel)
from safetensors.torch import load_file, save_file

OUT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
SEED, LAYERS, HIDDEN, HEADS, INTERMEDIATE, POSITIONS = 20261125, 2, 32, 2, 64, 160

PROSE = [
    "The potter turned the wheel and the clay rose under her hands. Every broken jar was kept, for a shard could be written on.",
    "They counted the ballots twice; when the same name stood on most of them, its bearer had ten days to leave the city.",
    "A memory that cannot forget is a store of everything, and a store of everything answers nothing well.",
    "It isn't the longest word that's hardest to read, it's the one you've never seen: they'll say so, and I'm sure we'd agree.",
    "In 1950 the river froze for 12 days, and in 1,024 houses the water stood until 3 o'clock. The bridge was 7.5 m wide.",
    "Le fleuve a changé de lit plus d'une fois; l'été dernier, les élèves ont mesuré la hauteur de l'eau près du vieux café.",
    "Die Straße führt über die Brücke zum größten Haus der Stadt, und dort wohnten früher zwölf Töpfer.",
    "Река меняла русло не раз. Старый порт остался без кораблей. Ο ποταμός άλλαξε κοίτη πολλές φορές.",
    "古い港には船がない。河流改变了方向。 도시의 강은 길을 바꾸었다.",
]
WORDS = "the of and to in a was for on that with it as is by at from his were are which be this had not or an but have they one all".split()
TEXTS = [
    "", " ", "\t \r\n", "a", "?", "the", "Hello, world!", "The potter turned the wheel.", "naïve café — déjà vu", "nai\u0308ve cafe\u0301 (decomposed)",
    "ÅNGSTRÖM and a\u030angstro\u0308m", "don't, they'll, I'm, we'd've 'tis 's 'S", "   leading and trailing space \t\n", "UPPER lower MiXeD",
    "1,024.50% of 7.5 m in 1950", "C++ & C#; x = y*(z+1)", "古い港 text 河流", "도시의 강은", "Река и порт", "Ο ποταμός ΣΊΣΥΦΟΣ", "emoji \U0001f600 here \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd!", "a\u0000b\ufffdc\u200bd\u00ade", "a\u0301\u0316\u0327b \u0301x", "\ufb01ne ligature \ufb03 \u2126", "İstanbul I\u0307 ı DİYARBAKIR", "STRASSE Straße ẞ",
    "[CLS] a [SEP] b [MASK] [UNK] [PAD]", "<s> a </s> b<mask>c <unk> <pad> d", "[Q] what [D] is [unused0] [unused1] [q] ", "x" * 90, "Donaudampfschifffahrts" * 5 + " after",
    "line one\nline two\r\n\n  line three", "...", "$5 or £4 or €3 ~`^|", "a\u00a0b\u3000c\u2028d", "  two  spaces   three", "\uff21\uff22\uff23 \uff11\uff12 \u2460 \u00bd",
    "हिन्दी ไทย עִבְרִית العَرَبِيَّة", "\u1e69 s\u0323\u0307 s\u0307\u0323 \u0344", "A\u2581b \u2581", "tab\tin\u000bside\u0085out", PROSE[1], " ".join(PROSE[2:4]),
]


def corpus():
    return PROSE * 20 + [" ".join(WORDS)] * 20 + TEXTS


def randomise(model, seed):
    """Weights large enough that tokens differ, as a trained model's do."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm = "LayerNorm.weight" in name
            p.copy_((1 + 0.2 * noise) if norm else 0.15 * noise if p.dim() > 1 and "embeddings" not in name else 0.1 * noise)
    return model.eval()


def wrap(t, **special):
    return PreTrainedTokenizerFast(tokenizer_object=t, model_max_length=POSITIONS, **special)


BERT = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
ROBERTA = dict(pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>", mask_token="<mask>", bos_token="<s>", eos_token="</s>")


def wordpiece(lowercase=True):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    first = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=700, special_tokens=first, initial_alphabet=list(string.punctuation), show_progress=False))
    j = json.loads(t.to_str())
    j["added_tokens"] = [a for a in j["added_tokens"] if "unused" not in a["content"]]  # as in BERT's own file: pieces like others
    t = Tokenizer.from_str(json.dumps(j))
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 4), ("[SEP]", 5)])
    t.decoder = decoders.WordPiece()
    return wrap(t, **BERT)


def byte_bpe():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=700, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    t.post_processor, t.decoder = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False), decoders.ByteLevel()
    return wrap(t, **{**ROBERTA, "mask_token": AddedToken("<mask>", lstrip=True, special=True, normalized=False)})


def charsmap():
    """A compiled map of a few rules, in the format of XLM-RoBERTa's: sentencepiece compiles it."""
    import io, sentencepiece
    rules = {"\uff21": "A", "\uff22": "B", "\uff23": "C", "\ufb01": "fi", "\ufb03": "ffi", "\u2460": "1", "\u00bd": "1\u20442", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ",
             "\u200b": "", "\u00ad": "", "e\u0301": "\u00e9", "i\u0308": "\u00ef", "\ufffd": " ", "\u2126": "\u03a9", "\uff11": "1", "\uff12": "2", "\u0301x": "y", "\U0001f468": "man"}
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/rules.tsv", "w") as f:
            for k, v in rules.items():
                f.write(" ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) + "\n")
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(PROSE), model_prefix=d + "/m", vocab_size=200, normalization_rule_tsv=d + "/rules.tsv", minloglevel=2)
        from sentencepiece import sentencepiece_model_pb2 as pb
        m = pb.ModelProto()
        m.ParseFromString(open(d + "/m.model", "rb").read())
        return m.normalizer_spec.precompiled_charsmap


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.Replace(__import__("tokenizers").Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=500, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    t.decoder = decoders.Metaspace()
    return wrap(t, **{**ROBERTA, "mask_token": AddedToken("<mask>", lstrip=True, special=True, normalized=False)})


def shape(tokenizer, **more):
    return dict(vocab_size=len(tokenizer), hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=INTERMEDIATE,
                max_position_embeddings=POSITIONS, **more)


def save(name, model, tokenizer, dtype=torch.float32):
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tidy(folder):
    """Drops what nothing reads, writes JSON without white space, and keeps what is left readable by everyone."""
    for at, _, names in os.walk(folder):
        for n in names:
            p = os.path.join(at, n)
            if n == "README.md" or n == "generation_config.json":
                os.remove(p)
            elif n == "tokenizer.json":
                j = json.load(open(p))
                json.dump(j, open(p, "w"), ensure_ascii=False, separators=(",", ":"))


def spans(tokenizer, text, ids=None):
    """Ids and spans in bytes of a text, without special tokens around it."""
    t = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())  # transformers leaves padding and truncation of its last call behind
    t.no_padding()
    t.no_truncation()
    e = t.encode(text, add_special_tokens=True)
    at = np.cumsum([0] + [len(c.encode()) for c in text]).tolist()
    ids, offsets = e.ids[1:-1], e.offsets[1:-1]
    return ids, [at[a] for a, _ in offsets], [at[b] for _, b in offsets]


def put(case, folder, overlay, entries):
    path = os.path.join(OUT, "expected", case + ".json.gz")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    data = json.dumps(dict(folder=folder, overlay=overlay, entries=entries), ensure_ascii=True, separators=(",", ":")).encode()
    with open(path, "wb") as f:
        f.write(gzip.compress(data, 9, mtime=0))
    print(case, len(entries), "entries", os.path.getsize(path), "bytes")


def half(v):
    v = v / np.linalg.norm(v, axis=-1, keepdims=True)
    return base64.b64encode(np.ascontiguousarray(v, np.float16).tobytes()).decode()


def plain_case(case, folder, tokenizer, overlay=None):
    model = AutoModel.from_pretrained(os.path.join(OUT, folder)).float().eval()
    if hasattr(model, "pooler"):
        model.pooler = None
    entries = []
    for i, text in enumerate(TEXTS):
        ids, starts, ends = spans(tokenizer, text)
        whole = [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]
        with torch.inference_mode():
            v = model(input_ids=torch.tensor([whole]), attention_mask=torch.ones(1, len(whole), dtype=torch.long)).last_hidden_state[0].numpy()
        entries.append(dict(text=text, query=False, ids=ids, starts=starts, ends=ends, pooled=half(v[0]), vectors=half(v[1:-1])))
    put(case, folder, overlay or {}, entries)


def conventional(ids, kept, tokenizer, text, expansion):
    """Ids of all rows that are kept and their spans: markers, [CLS], [SEP] and [MASK] of the expansion span nothing (null)."""
    own, starts, ends = spans(tokenizer, text)
    room = min(len(own), len(ids) - 3 - expansion)
    assert ids[2:2 + room] == own[:room] or "[PAD]" in text, (ids, own)
    span = [None, None] + list(zip(starts, ends))[:room] + [None] * (len(ids) - 2 - room)
    return [dict(id=i, span=s) for i, s, k in zip(ids, span, kept) if k], len(own) - room


def entry(text, query, rows, cut, vectors):
    return dict(text=text, query=query, ids=[r["id"] for r in rows], starts=[r["span"][0] if r["span"] else -1 for r in rows],
                ends=[r["span"][1] if r["span"] else -1 for r in rows], cut=cut, vectors=half(vectors))


def pylate_case(case, folder, overlay=None):
    from pylate import models as pylate
    with tempfile.TemporaryDirectory() as d:
        d += "/m"
        shutil.copytree(os.path.join(OUT, folder), d)
        for name, content in (overlay or {}).items():
            open(os.path.join(d, name), "w").write(content)
        model = pylate.ColBERT(d, device="cpu").float()
    entries = []
    for query in (True, False):
        for text in TEXTS:
            v = model.encode([text], is_query=query)[0]
            f = model.tokenize([text], is_query=query)
            ids, attended = f["input_ids"][0].tolist(), f["attention_mask"][0].tolist()
            kept = [True] * len(ids) if query else [i not in model.skiplist for i in ids]
            stripped = text.strip()
            shift = len(text[: len(text) - len(text.lstrip())].encode())
            last = 2 + min(len(spans(model.tokenizer, stripped)[0]), len(ids) - 3)
            assert ids[last] == model.tokenizer.sep_token_id
            rows, cut = conventional(ids, kept, model.tokenizer, stripped, len(ids) - 1 - last)
            for r in rows:
                r["span"] = r["span"] and (r["span"][0] + shift, r["span"][1] + shift)
            assert len(v) == len(rows), (text, len(v), len(rows))
            entries.append(entry(text, query, rows, cut, v))
    put(case, folder, overlay or {}, entries)


def colbert_case(case, folder, overlay=None):
    """colbert-ai 0.2.22's own QueryTokenizer, DocTokenizer and ColBERT.query/doc/mask, on its Checkpoint."""
    from colbert.infra import ColBERTConfig
    from colbert.modeling.checkpoint import Checkpoint
    import transformers
    transformers.PreTrainedModel.all_tied_weights_keys = {}  # colbert-ai never calls post_init, which transformers 5 counts on
    with tempfile.TemporaryDirectory() as d:
        d += "/m"
        shutil.copytree(os.path.join(OUT, folder), d)
        for name, content in (overlay or {}).items():
            open(os.path.join(d, name), "w").write(content)
        model = Checkpoint(d, colbert_config=ColBERTConfig(checkpoint=d), verbose=0)
        model.float()
    tokenizer = model.raw_tokenizer
    if not model.colbert_config.mask_punctuation:
        model.skiplist = {}  # the package leaves it unset and then fails
    entries = []
    for query in (True, False):
        for text in TEXTS:
            with torch.inference_mode():
                if query:
                    ids, mask = model.query_tokenizer.tensorize([text])
                    v = super(Checkpoint, model).query(ids, mask)[0].numpy()
                    kept = [True] * ids.shape[1]
                else:
                    ids, mask = model.doc_tokenizer.tensorize([text])
                    v = super(Checkpoint, model).doc(ids, mask, keep_dims=False)[0].numpy()
                    kept = model.mask(ids, skiplist=model.skiplist)[0]
            ids = ids[0].tolist()
            last = 2 + min(len(spans(tokenizer, text)[0]), len(ids) - 3)
            assert ids[last] == tokenizer.sep_token_id
            rows, cut = conventional(ids, kept, tokenizer, text, len(ids) - 1 - last)
            assert len(v) == len(rows), (text, len(v), len(rows))
            entries.append(entry(text, query, rows, cut, v))
    put(case, folder, overlay or {}, entries)


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    t = wordpiece()
    bert = lambda seed, n: randomise(BertModel(BertConfig(**shape(t, type_vocab_size=2, pad_token_id=0)), add_pooling_layer=False), seed)
    save("bert", bert(SEED, 1), t)
    plain_case("bert", "bert", t)

    cased = wordpiece(lowercase=False)
    electra = ElectraModel(ElectraConfig(**shape(cased, embedding_size=16, type_vocab_size=2, pad_token_id=0)))
    save("electra", randomise(electra, SEED + 1), cased, torch.float16)
    plain_case("electra", "electra", cased)

    u = unigram()
    xlmr = XLMRobertaModel(XLMRobertaConfig(**{**shape(u, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5), "max_position_embeddings": POSITIONS + 2}), add_pooling_layer=False)
    save("xlmr", randomise(xlmr, SEED + 2), u, torch.bfloat16)
    plain_case("xlmr", "xlmr", u)

    b = byte_bpe()
    roberta = RobertaModel(RobertaConfig(**{**shape(b, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5), "max_position_embeddings": POSITIONS + 2}), add_pooling_layer=False)
    with tempfile.TemporaryDirectory() as d:
        randomise(roberta, SEED + 3).save_pretrained(d)
        b.save_pretrained(d)
        make_pylate("pylate-roberta", d, SEED + 4, [16], query_length=24, document_length=48)
    b = PreTrainedTokenizerFast.from_pretrained(os.path.join(OUT, "pylate-roberta"))
    pylate_case("pylate-roberta", "pylate-roberta")
    plain_case("roberta", "pylate-roberta", b, {"modules.json": None, "config_sentence_transformers.json": None, "sentence_bert_config.json": None})

    with tempfile.TemporaryDirectory() as d:
        bert(SEED + 5, 1).save_pretrained(d)
        t.save_pretrained(d)
        make_pylate("pylate-bert", d, SEED + 6, [48, 32], query_length=20, document_length=40, attend_to_expansion_tokens=True, skiplist_words=["the", ".", ","])
    pylate_case("pylate-bert", "pylate-bert")
    c = json.load(open(os.path.join(OUT, "pylate-bert", "config_sentence_transformers.json")))
    pylate_case("pylate-bert-short", "pylate-bert", {"config_sentence_transformers.json": json.dumps({**c, "do_query_expansion": False, "query_length": 12})})

    folder = save("colbert", bert(SEED + 7, 1), t, torch.float16)
    w = {"bert." + k: v for k, v in load_file(folder + "/model.safetensors").items()}
    w["linear.weight"] = (0.3 * torch.randn(16, HIDDEN, generator=torch.Generator().manual_seed(SEED + 8))).half()
    save_file(w, folder + "/model.safetensors", metadata={"format": "pt"})
    config = json.load(open(folder + "/config.json"))
    json.dump({**config, "architectures": ["HF_ColBERT"]}, open(folder + "/config.json", "w"), indent=2)
    meta = dict(query_token_id="[unused0]", doc_token_id="[unused1]", query_token="[Q]", doc_token="[D]", dim=16, doc_maxlen=44, mask_punctuation=True, query_maxlen=24, attend_to_mask_tokens=False, interaction="colbert", similarity="cosine")
    json.dump(meta, open(folder + "/artifact.metadata", "w"), indent=1)
    colbert_case("colbert", "colbert")
    colbert_case("colbert-attended", "colbert", {"artifact.metadata": json.dumps({**meta, "attend_to_mask_tokens": True, "mask_punctuation": False, "query_maxlen": 32})})
    for name in os.listdir(OUT):
        if os.path.isdir(os.path.join(OUT, name)):
            tidy(os.path.join(OUT, name))


def make_pylate(name, source, seed, widths, **conventions):
    """A folder as pylate saves it, with one Dense a width."""
    from pylate import models as pylate
    torch.manual_seed(seed)
    model = pylate.ColBERT(source, embedding_size=widths[0], device="cpu", **conventions)
    for inner, outer in zip(widths, widths[1:]):
        model.append(pylate.Dense(in_features=inner, out_features=outer, bias=True))
    with torch.no_grad():
        for m in list(model)[1:]:
            m.linear.weight.copy_(0.3 * torch.randn(m.linear.weight.shape))
        rows = model[0].auto_model.embeddings.word_embeddings.weight
        rows.copy_(0.1 * torch.randn(rows.shape))
    shutil.rmtree(os.path.join(OUT, name), ignore_errors=True)
    (model.half() if len(widths) > 1 else model).save(os.path.join(OUT, name), create_model_card=False)


if __name__ == "__main__":
    main()
