#!/usr/bin/env python3
"""Makes the test encoder and its reference outputs: a random BERT of two layers, its vectors by transformers in fp32.

    pip install -r requirements.txt
    make.py

Writes small-f32.ostraca, small-i8.ostraca (docs/weights.md), vectors.npy (float32 [T, 64], every position with [CLS] and [SEP],
rows of length 1), and texts.jsonl (text, ids). The vocabulary is a small part of bge's.
"""
import json, os, sys
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "bge"))
import weights
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("bge_make", os.path.join(HERE, "..", "bge", "make.py"))  # this file has the same name
bge = module_from_spec(spec)
spec.loader.exec_module(bge)

SEED, LAYERS, HIDDEN, HEADS, INTERMEDIATE, POSITIONS, VOCABULARY = 20261124, 2, 64, 2, 128, 256, 896
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

PROSE = ("The river has changed its course more than once since the first maps of the city were made. In the early years of the last "
         "century, engineers built a line of walls along the south bank; within 40 years the water had found another way to the sea, "
         "and the old port was left without ships. ")
TEXTS = [
    "", "a", "I", "?", "2026", "the", "of the", "Hello, world!", "naïve café — déjà vu", "ÅNGSTRÖM", "don't", "e-mail@example.org",
    "   leading and trailing space \t\n", "UPPER lower MiXeD", "new york city", "unbelievable", "1,024.50%", "C++ & C#; x = y*(z+1)",
    "日本語 text", "Ελληνικά", "русский", "emoji \U0001f600 here", "a\u0000b\ufffdc\u200bd", "e\u0301 against é", "ﬁne ligature",
    "[SEP] written out, [CLS] too, and [MASK]", "[UNK]", "[sep] is not one", "x" * 100, "x" * 101 + " after",
    "line one\nline two\r\nline three", "...", "$5 or £4 or €3", "he was born in 1950 and died in 1999",
    "where is the best place to see the game this season?", "first first first first", PROSE[:95], PROSE, (PROSE * 4)[:876] + "!",
]


def main():
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    # Vocabulary: what is special, every ASCII character alone and as a continuation, then the first of bge's words and suffixes.
    config = json.loads(bge.fetch()[1])
    order = sorted(config["model"]["vocab"], key=config["model"]["vocab"].get)
    single = [p for p in order if p.isascii() and (len(p) == 1 or len(p) == 3 and p.startswith("##"))]
    longer = [p for p in order if p.isascii() and p not in single and not p.startswith("[")]
    vocabulary = (SPECIAL + single + longer)[:VOCABULARY]
    config["model"]["vocab"] = ids = {p: i for i, p in enumerate(vocabulary)}
    for token in config["added_tokens"]:
        token["id"] = ids[token["content"]]
    for name, token in config["post_processor"]["special_tokens"].items():
        token["ids"] = [ids[name]]
    tokenizer = Tokenizer.from_str(json.dumps(config))

    random = np.random.default_rng(SEED)
    normal = lambda std, *shape: (std * random.standard_normal(shape)).astype(np.float32)
    norm = lambda: (1 + normal(0.2, HIDDEN), normal(0.1, HIDDEN))
    linear = lambda out, inner, std: (normal(std, out, inner), normal(0.05, out))
    word, position, layers = normal(0.08, VOCABULARY, HIDDEN), normal(0.03, POSITIONS, HIDDEN), []
    first = norm()
    for _ in range(LAYERS):
        layers.append(dict(qkv=linear(3 * HIDDEN, HIDDEN, 0.15), out=linear(HIDDEN, HIDDEN, 0.12), up=linear(INTERMEDIATE, HIDDEN, 0.12),
                           down=linear(HIDDEN, INTERMEDIATE, 0.1), attention=norm(), output=norm()))

    model = BertModel(BertConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=INTERMEDIATE,
        max_position_embeddings=POSITIONS, type_vocab_size=1, layer_norm_eps=1e-12, hidden_act="gelu"), add_pooling_layer=False).eval()
    state = {"embeddings.word_embeddings.weight": word, "embeddings.position_embeddings.weight": position,
             "embeddings.token_type_embeddings.weight": np.zeros((1, HIDDEN), np.float32)}

    def put(name, pair):
        state[name + ".weight"], state[name + ".bias"] = pair

    put("embeddings.LayerNorm", first)
    for n, layer in enumerate(layers):
        at = f"encoder.layer.{n}."
        matrix, bias = layer["qkv"]
        for i, part in enumerate(("query", "key", "value")):
            put(f"{at}attention.self.{part}", (matrix[i * HIDDEN : (i + 1) * HIDDEN], bias[i * HIDDEN : (i + 1) * HIDDEN]))
        put(at + "attention.output.dense", layer["out"])
        put(at + "attention.output.LayerNorm", layer["attention"])
        put(at + "intermediate.dense", layer["up"])
        put(at + "output.dense", layer["down"])
        put(at + "output.LayerNorm", layer["output"])
    missing, unexpected = model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()}, strict=False)
    assert not unexpected and all(k.endswith("_ids") for k in missing), (missing, unexpected)

    header = dict(
        model="random, 2 layers", origin=f"encodertest/make.py, seed {SEED}", licence="none needed: random numbers", layers=LAYERS,
        hidden=HIDDEN, heads=HEADS, intermediate=INTERMEDIATE, positions=POSITIONS, vocabulary=VOCABULARY, epsilon=1e-12,
        weights_from="made up from the ids")
    # Characters and the first words weigh little, later pieces more: 0.25 to 2.
    query_weight = np.rint(4096 * (0.25 + 1.75 * np.arange(VOCABULARY) / (VOCABULARY - 1)))
    files = {kind: weights.model(vocabulary, word, position, layers, first, query_weight, kind == "i8") for kind in ("f32", "i8")}
    for kind, tensors in files.items():
        weights.write(os.path.join(HERE, f"small-{kind}.ostraca"), header, tensors)

    rows, lens, worst = [], [], {kind: 1.0 for kind in files}
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
    with open(os.path.join(HERE, "texts.jsonl"), "w", encoding="utf-8") as f, torch.inference_mode():
        for t in TEXTS:
            ids = tokenizer.encode(t).ids
            assert len(ids) <= POSITIONS, len(ids)
            vectors = unit(model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy())
            for kind, tensors in files.items():
                worst[kind] = min(worst[kind], (unit(weights.forward(header, tensors, np.array(ids))) * vectors).sum(axis=1).min())
            rows.append(vectors)
            lens.append(len(ids))
            f.write(json.dumps(dict(text=t, ids=ids), ensure_ascii=True) + "\n")
    vectors = np.concatenate(rows).astype(np.float32)
    np.save(os.path.join(HERE, "vectors.npy"), vectors)
    assert worst["f32"] > 0.999999, worst
    near = vectors @ vectors.T
    print(f"{len(TEXTS)} texts, {lens} positions, {sum(lens)} together; numpy on the files, worst cosine: {worst}; "
          f"cosine of two positions: mean {near.mean():.3f}, spread {near.std():.3f}")
    for kind in files:
        name = f"small-{kind}.ostraca"
        print(f"{name}: {os.path.getsize(os.path.join(HERE, name))} bytes, SHA-256 {bge.sha256(os.path.join(HERE, name))}")


if __name__ == "__main__":
    main()
