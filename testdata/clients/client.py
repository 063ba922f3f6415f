#!/usr/bin/env python3
"""A client of another language: walks through a router's HTTP API with nothing but Python's standard library, and checks every answer.

    client.py http://127.0.0.1:7601

It works in a collection of its own, which it drops. The first surprise ends it, with exit code 1.
"""
import json
import sys
import urllib.error
import urllib.request

NAME = "client-py"
TEXTS = {
    "city#rome": ("Rome, the capital of Italy, lies on the river Tiber.", {"country": "Italy", "founded": -753.0, "river": True}),
    "city#paris": ("Paris, the capital of France, lies on the river Seine.", {"country": "France", "founded": -250.0, "river": True}),
    "city#madrid": ("Madrid, the capital of Spain, is built upon a plateau. ñandú 東京", {"country": "Spain", "founded": 852.0}),
}


def expect(what, is_so, told=None):
    if not is_so:
        sys.exit(f"surprise: {what}: {json.dumps(told, ensure_ascii=False)[:2000]}")


class Router:
    def __init__(self, base):
        self.base = base.rstrip("/")

    def raw(self, method, path, body=None, headers=None):
        """Status, headers and body of an answer."""
        request = urllib.request.Request(self.base + path, data=body, method=method, headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.headers, e.read()

    def call(self, method, path, body=None):
        """The object of an answer that has to be a success."""
        status, _, text = self.raw(method, path, None if body is None else json.dumps(body).encode())
        expect(f"{method} {path} is {status}", status == 200, text.decode(errors="replace"))
        return json.loads(text)

    def post(self, path, body):
        return self.call("POST", path, body)

    def refused(self, what, http, code, method, path, body):
        """An error has to have this HTTP status and code, and say why."""
        status, headers, text = self.raw(method, path, body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode())
        expect(f"{what}: HTTP status {status}, not {http}", status == http, text.decode(errors="replace"))
        expect(f"{what}: content type {headers['Content-Type']}", headers["Content-Type"].startswith("application/json"))
        told = json.loads(text)
        expect(f"{what}: not the shape of an error", set(told) >= {"code", "reason", "message"} and told["code"] == code and told["message"], told)
        return told


def collections(r):
    made = r.post("/v1/collections", {"name": NAME})
    expect("the collection made", made["name"] == NAME and made["width"] > 0 and made["encoder"], made)
    r.refused("made twice", 409, "ALREADY_EXISTS", "POST", "/v1/collections", {"name": NAME})
    r.post("/v1/collections", {"name": NAME, "if_absent": True})
    names = [c["name"] for c in r.call("GET", "/v1/collections")["collections"]]
    expect("it is listed", NAME in names, names)


def put(r):
    documents = [{"id": i, "text": t, "fields": f} for i, (t, f) in TEXTS.items()]
    answer = r.post(f"/v1/collections/{NAME}/documents:put", {"documents": documents})
    expect("outcomes in their order", [o["id"] for o in answer["outcomes"]] == list(TEXTS), answer)
    expect("every outcome is a success", all(not o.get("error") and int(o["version"]) > 0 and o["tokens"] > 5 for o in answer["outcomes"]), answer)
    expect("receipts", answer["receipts"] and all(int(x["index"]) > 0 for x in answer["receipts"]), answer)
    # One of two does not take effect: the other does.
    again = [{"id": "city#rome", "text": "Roma", "if_absent": True}, {"id": "city#bern", "text": "Bern lies on the river Aare."}]
    mixed = r.post(f"/v1/collections/{NAME}/documents:put", {"documents": again})
    expect("if_absent", mixed["outcomes"][0]["error"]["code"] == "ALREADY_EXISTS" and not mixed["outcomes"][1].get("error"), mixed)
    # A retry with the operation id is told the first outcome.
    operation = r.post("/v1/operations:new", {})["operation_id"]
    body = {"operation_id": operation, "documents": [{"id": "retried", "text": "Written once.", "if_absent": True}]}
    first, second = (r.post(f"/v1/collections/{NAME}/documents:put", body) for _ in range(2))
    expect("a retry is told the first outcome", first["outcomes"] == second["outcomes"] and not first["outcomes"][0].get("error"), [first, second])
    return answer["receipts"]


def read(r, receipts):
    got = r.post(f"/v1/collections/{NAME}/documents:get", {"ids": ["city#madrid", "nowhere"], "after": receipts, "read": "local"})
    expect("get", [d["id"] for d in got["documents"]] == ["city#madrid"] and got["missing"] == ["nowhere"], got)
    document = got["documents"][0]
    expect("text and fields come back as they went", (document["text"], document["fields"]) == TEXTS["city#madrid"], document)
    count = r.post(f"/v1/collections/{NAME}/documents:count", {})["count"]
    expect("count", count == 5, count)
    old = {"filter": "fields.founded < 0.0"}
    expect("count with a filter", r.post(f"/v1/collections/{NAME}/documents:count", old)["count"] == 2)
    listed, cursor = [], ""
    while True:
        page = r.post(f"/v1/collections/{NAME}/documents:list", {"limit": 2, "cursor": cursor, "filter": "has(fields.country)"})
        listed += [d["id"] for d in page.get("documents", [])]
        cursor = page.get("next_cursor", "")
        if not cursor:
            break
    expect("list by cursor with a filter, in the order of ids", listed == sorted(TEXTS), listed)
    page = r.call("GET", f"/v1/collections/{NAME}/documents?limit=1")
    expect("list by GET", len(page["documents"]) == 1 and page["next_cursor"] == page["documents"][0]["id"], page)
    version = document["version"]
    patched = r.post(f"/v1/collections/{NAME}/documents:patch", {"documents": [{"id": "city#madrid", "fields": {"founded": None, "people": 3.3}, "if_version": version}]})
    expect("patch", not patched["outcomes"][0].get("error"), patched)
    stale = r.post(f"/v1/collections/{NAME}/documents:patch", {"documents": [{"id": "city#madrid", "fields": {"x": 1}, "if_version": version}]})
    expect("patch over another version", stale["outcomes"][0]["error"]["reason"] == "VERSION_DIFFERS", stale)
    fields = r.post(f"/v1/collections/{NAME}/documents:get", {"ids": ["city#madrid"]})["documents"][0]["fields"]
    expect("fields after a patch", fields == {"country": "Spain", "people": 3.3}, fields)


def search(r):
    question = "Which city lies on the Tiber?"
    found = r.post(f"/v1/collections/{NAME}:search", {"text": question, "k": 2, "explain": True})
    best = found["hits"][0]
    expect("search", best["id"] == "city#rome" and len(found["hits"]) == 2 and best["text"] == TEXTS["city#rome"][0], found)
    total = sum(a["score"] for a in best["alignments"])
    expect("scores of alignments add up to the hit's", abs(total - best["score"]) < 1e-6 * abs(best["score"]) + 1e-9, best)
    for a in best["alignments"]:
        asked, matched = a["query_span"], a["span"]
        expect("spans are bytes of the texts", question.encode()[asked["start"]:asked["end"]].decode() == a["query_token"]
               and best["text"].encode()[matched["start"]:matched["end"]].decode() == a["text"], a)
    filtered = r.post(f"/v1/collections/{NAME}:search", {"text": question, "filter": 'fields.country == "France"'})
    expect("search with a filter", [h["id"] for h in filtered["hits"]] == ["city#paris"], filtered)
    batch = r.post(f"/v1/collections/{NAME}:searchBatch", {"searches": [{"text": question, "k": 1}, {"text": ""}, {"text": "the Seine", "k": 1}]})["results"]
    expect("a batch, each on its own", len(batch) == 3 and batch[0]["hits"][0]["id"] == "city#rome" and batch[1]["error"]["code"] == "INVALID_ARGUMENT"
           and batch[2]["hits"][0]["id"] == "city#paris", batch)
    ranked = r.post(f"/v1/collections/{NAME}:rerank", {"text": question, "ids": ["city#paris", "city#rome", "nowhere"], "explain": True})["hits"]
    expect("rerank of ids", [h["id"] for h in ranked] == ["city#rome", "city#paris"] and ranked[0]["score"] == best["score"], ranked)
    texts = [TEXTS["city#paris"][0], TEXTS["city#rome"][0]]
    ranked = r.post(f"/v1/collections/{NAME}:rerank", {"text": question, "texts": texts})["hits"]
    expect("rerank of texts: the same scores", [h["id"] for h in ranked] == ["1", "0"] and ranked[0]["score"] == best["score"], ranked)
    encoded = r.post("/v1/encode", {"texts": [question], "query": True, "vectors": True})
    tokens = encoded["results"][0]["tokens"]
    expect("encode", len(tokens) == len(best["alignments"]) and len(tokens[0]["vector"]) == encoded["width"], encoded)
    by_vectors = r.post(f"/v1/collections/{NAME}:search", {"tokens": [{"values": t["vector"]} for t in tokens], "k": 1})["hits"]
    expect("search by vectors", by_vectors[0]["id"] == "city#rome", by_vectors)


def forget(r):
    would = r.post(f"/v1/collections/{NAME}:forget", {"ids": ["retried"], "parents": ["city"], "dry_run": True})
    expect("dry run", would["count"] == 5 and sorted(would["ids"]) == sorted([*TEXTS, "city#bern", "retried"]), would)
    _, _, text = r.raw("POST", f"/v1/collections/{NAME}/documents:export", json.dumps({"codes": True}).encode())
    lines = [json.loads(line) for line in text.splitlines()]
    expect("export", [d["id"] for d in lines] == sorted([*TEXTS, "city#bern", "retried"]) and all(d["codes"]["rows"] for d in lines), lines)
    done = r.post(f"/v1/collections/{NAME}:forget", {"parents": ["city"]})
    expect("forget", done["count"] == 4 and done["receipts"], done)
    gone = r.post(f"/v1/collections/{NAME}/documents:get", {"ids": list(TEXTS), "after": done["receipts"], "read": "local"})
    expect("what was forgotten is gone", gone.get("documents", []) == [] and gone["missing"] == list(TEXTS), gone)
    back = r.post(f"/v1/collections/{NAME}/documents:put", {"documents": lines})
    expect("an export can be put back", not any(o.get("error") for o in back["outcomes"]), back)
    again = r.post(f"/v1/collections/{NAME}:search", {"text": "Which city lies on the Tiber?", "k": 1})["hits"]
    expect("and is found again", again[0]["id"] == "city#rome", again)


def errors(r):
    search = f"/v1/collections/{NAME}:search"
    r.refused("no JSON", 400, "INVALID_ARGUMENT", "POST", search, b'{"text": ')
    r.refused("a field that is none", 400, "INVALID_ARGUMENT", "POST", search, {"text": "x", "kk": 3})
    r.refused("a value of another type", 400, "INVALID_ARGUMENT", "POST", search, {"text": 3})
    r.refused("an empty question", 400, "INVALID_ARGUMENT", "POST", search, {"text": ""})
    r.refused("k over its limit", 400, "INVALID_ARGUMENT", "POST", search, {"text": "x", "k": 1000000})
    r.refused("a filter that is none", 400, "INVALID_ARGUMENT", "POST", search, {"text": "x", "filter": "fields.("})
    r.refused("a read level that is none", 400, "INVALID_ARGUMENT", "POST", search, {"text": "x", "read": "eventual"})
    told = r.refused("a collection that is not there", 404, "NOT_FOUND", "POST", "/v1/collections/nowhere:search", {"text": "x"})
    expect("the error names it", "nowhere" in told["message"], told)
    r.refused("a path that is none", 404, "NOT_FOUND", "GET", "/v1/nothing", None)
    r.refused("a name that is none", 400, "INVALID_ARGUMENT", "POST", "/v1/collections", {"name": "a/b"})
    status, _, text = r.raw("GET", search)
    expect("another method", status in (404, 405, 501), [status, text.decode(errors="replace")])


def operations(r):
    for path in ("/healthz", "/readyz"):
        expect(path, r.raw("GET", path)[0] == 200)
    expect("metrics", b"ostraca_" in r.raw("GET", "/metrics")[2])
    described = r.call("GET", "/openapi.json")
    expect("the OpenAPI file names the paths", "/v1/collections/{collection}:search" in described["paths"], sorted(described["paths"]))
    status = r.call("GET", "/v1/status")
    expect("status", status["shards"] and all(s["leader"] and s["replicas"] for s in status["shards"]) and status["nodes"], status)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    r = Router(sys.argv[1])
    collections(r)
    read(r, put(r))
    search(r)
    errors(r)
    forget(r)
    operations(r)
    dropped = r.call("DELETE", f"/v1/collections/{NAME}")
    expect("drop", dropped["count"] == 5, dropped)
    r.refused("a search in what was dropped", 404, "NOT_FOUND", "POST", f"/v1/collections/{NAME}:search", {"text": "x"})
    print("client.py: all as expected")


main()
