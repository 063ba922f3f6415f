#!/usr/bin/env bash
# A client of another language: the main steps of the HTTP API with curl alone, each answer checked.
#     client.sh http://127.0.0.1:7601
# It works in a collection of its own, which it drops. The first surprise ends it, with exit code 1.
set -euo pipefail
base=${1:?the address of a router, such as http://127.0.0.1:7601}
name=client-sh

# call METHOD PATH BODY: the answer, with its HTTP status in the last line.
call() {
  curl -sS --max-time 60 -X "$1" "$base$2" ${3:+-d "$3"} -w '\n%{http_code}'
}

# expect STATUS PATTERN METHOD PATH [BODY]: the answer has this HTTP status and matches the pattern.
expect() {
  local answer; answer=$(call "${@:3}")
  [ "${answer##*$'\n'}" = "$1" ] && grep -qE "$2" <<<"$answer" || { echo "surprise: $3 $4 ${5-}: not $1 with $2, but: $answer" >&2; exit 1; }
}

documents='{"documents": [{"id": "rome", "text": "Rome lies on the river Tiber.", "fields": {"age": 2779}}, {"id": "paris", "text": "Paris lies on the river Seine."}]}'
expect 200 "\"name\": ?\"$name\"" POST /v1/collections "{\"name\": \"$name\"}"
expect 409 ALREADY_EXISTS POST /v1/collections "{\"name\": \"$name\"}"
expect 200 '"receipts": ?\[\{' POST "/v1/collections/$name/documents:put" "$documents"
expect 200 '"id": ?"rome".*"alignments"' POST "/v1/collections/$name:search" '{"text": "Which city lies on the Tiber?", "k": 1, "explain": true}'
expect 200 '"id": ?"rome"' POST "/v1/collections/$name/documents:list" '{"filter": "fields.age > 1000.0"}'
expect 200 '"count": ?2' POST "/v1/collections/$name/documents:count" '{}'
expect 200 '"id": ?"paris".*"id": ?"rome"' POST "/v1/collections/$name:rerank" '{"text": "the Seine", "ids": ["rome", "paris"]}'
expect 200 '^\{"id": ?"rome"' POST "/v1/collections/$name/documents:export" '{}'
expect 400 INVALID_ARGUMENT POST "/v1/collections/$name:search" '{"text": '
expect 404 NOT_FOUND POST /v1/collections/nowhere:search '{"text": "x"}'
expect 200 '"count": ?1' POST "/v1/collections/$name:forget" '{"ids": ["rome"]}'
expect 200 '"missing": ?\["rome"\]' POST "/v1/collections/$name/documents:get" '{"ids": ["rome"]}'
expect 200 '"leader"' GET /v1/status
expect 200 '"count": ?1' DELETE "/v1/collections/$name"
echo "client.sh: all as expected"
