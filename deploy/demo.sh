#!/bin/sh
# The demo: builds rebasind, starts it on loopback with a fresh data folder, registers small models and texts of
# tests/fixtures, submits two jobs with curl, a success and a hard case, and shows verdict and loss barrier of each.
#
#   ./deploy/demo.sh            about two minutes once built, on 2 cores
#   PORT=9000 ./deploy/demo.sh  on that port (default: 8686, or the next free one)
#
# The daemon keeps running; the last lines say where, and how to stop it.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)

say() { printf '%s\n' "$*" >&2; }
fail() { say "demo: $*"; exit 1; }

./deploy/install-deps.sh
say "building"
cmake --preset release >/dev/null || fail "cmake cannot configure the build, see above"
cmake --build --preset release --target rebasind >&2 || fail "the build has failed, see above"
daemon="$root/build/release/rebasind"

# ---- a port ----

taken() { curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$1/"; [ $? -ne 7 ]; }
if [ -n "${PORT:-}" ]; then
    port=$PORT
    if taken "$port"; then
        fail "port $port is taken by another program; stop that, or choose one: PORT=9000 $0"
    fi
else
    port=8686
    while taken "$port"; do
        port=$((port + 1))
        [ "$port" -le 8786 ] || fail "the ports 8686 to 8786 are all taken; choose one: PORT=9000 $0"
    done
    [ "$port" -eq 8686 ] || say "port 8686 is taken, using $port"
fi
url="http://127.0.0.1:$port"

# ---- the daemon ----

data=$(mktemp -d "${TMPDIR:-/tmp}/rebasind-demo-XXXXXX")
"$daemon" serve --listen "127.0.0.1:$port" --data-dir "$data" --import-root "$root/tests/fixtures" \
    >"$data/log" 2>&1 &
pid=$!
keep=""
# On any failure, or Ctrl-C, nothing is left running.
trap '[ -n "$keep" ] || { kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true;
      rm -rf "$data"; }' EXIT
trap 'exit 130' INT TERM

tries=0
until curl -fs -o /dev/null "$url/readyz"; do
    kill -0 "$pid" 2>/dev/null || { cat "$data/log" >&2; fail "the daemon has ended, see above"; }
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$data/log" >&2; fail "the daemon does not become ready"; }
    sleep 0.1
done
say "rebasind listens on $url, data in $data"

# ---- models, texts, two jobs ----

# call METHOD PATH [JSON]: the answer's body; a problem is shown and ends the demo.
call() {
    code=$(curl -sS -o "$data/answer" -w '%{http_code}' -X "$1" "$url$2" \
        -H 'Content-Type: application/json' ${3:+--data "$3"}) || fail "$1 $2 got no answer"
    if [ "$code" -ge 400 ]; then
        jq . "$data/answer" >&2 || cat "$data/answer" >&2
        fail "$1 $2 was answered $code"
    fi
    cat "$data/answer"
}

for m in gpt2-a gpt2-b bert-a bert-b; do
    call POST /v1/models "{\"name\":\"$m\",\"path\":\"$root/tests/fixtures/models/$m\"}" |
        jq -r '"model \(.name): \(.architecture), \(.num_layers) layers, \(.parameters) parameters"'
done
for d in align eval; do
    call POST /v1/datasets "{\"name\":\"$d\",\"path\":\"$root/tests/fixtures/data/$d.txt\",\"format\":\"text\"}" |
        jq -r '"dataset \(.name): \(.rows) lines"'
done

# merge JOB: submits it, shows how far it is, then its verdict, table and plot. Its id stands in $id.
merge() {
    say ""
    say "curl -X POST $url/v1/jobs -H 'Content-Type: application/json' --data '$1'"
    say ""
    id=$(call POST /v1/jobs "$1" | jq -r .id)
    say "job $id"
    began=$(date +%s)
    while :; do
        call GET "/v1/jobs/$id" >"$data/job"
        status=$(jq -r .status "$data/job")
        line=$(jq -r '[.status, (.phase // "-"),
            "\((.progress.fraction // 0) * 100 | floor) %",
            (if .progress.eta_seconds == null then "" else "\(.progress.eta_seconds | ceil) s left" end)
            ] | join("  ")' "$data/job")
        if [ -t 2 ]; then printf '\r\033[K%s' "$line" >&2; fi
        case $status in
        succeeded) break ;;
        failed | canceled)
            [ ! -t 2 ] || say ""
            jq .error "$data/job" >&2
            fail "the job has $status"
            ;;
        esac
        sleep 0.3
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
    say "done in $(($(date +%s) - began)) s"
    say ""
    call GET "/v1/jobs/$id/barrier" >"$data/barrier"
    table_and_plot
    result
}

table_and_plot() {
    jq -r '. as $b | .lambdas | to_entries[] | [.value, $b.aligned.loss[.key], $b.control.loss[.key]] | @tsv' \
        "$data/barrier" | awk '
        BEGIN { rows = 14; width = 63; printf "%6s  %9s  %9s\n", "lambda", "aligned", "control" }
        { l[NR] = $1; a[NR] = $2; c[NR] = $3; printf "%6.2f  %9.4f  %9.4f\n", $1, $2, $3
          for (i = 2; i <= 3; i++) { if (NR == 1 && i == 2) low = high = $i
              if ($i < low) low = $i; if ($i > high) high = $i } }
        function mark(lambda, loss, m,    x, y, there) {
            x = int(lambda * (width - 1) + 0.5)
            y = high > low ? int((high - loss) / (high - low) * (rows - 1) + 0.5) : 0
            there = (y, x) in cell
            cell[y, x] = there ? "@" : m }
        END { for (i = 1; i <= NR; i++) { mark(l[i], c[i], "o"); mark(l[i], a[i], "*") }
          print ""
          for (y = 0; y < rows; y++) { line = ""
              for (x = 0; x < width; x++) line = line (((y, x) in cell) ? cell[y, x] : " ")
              if (y % 4 == 0 || y == rows - 1)
                  printf "%8.3f |%s\n", high - (high - low) * y / (rows - 1), line
              else printf "         |%s\n", line }
          line = ""; for (x = 0; x < width; x++) line = line "-"
          printf "         +%s\n          0%31s%31s\n", line, "lambda", "1"
          print "          * aligned   o control (plain averaging)   @ both" }'
}

result() {
    jq -r '"", "verdict: \(.summary.verdict.sentence)"' "$data/job"
    jq -r 'def r(d): . * pow(10; d) | round / pow(10; d);
        "barrier over the chord: \(.aligned.barrier.chord | r(4)) at lambda \(.aligned.barrier.chord_lambda), plain averaging \(.control.barrier.chord | r(4)): reduced by \(.reduction.chord * 100 | r(1)) %"' \
        "$data/barrier"
    call GET "/v1/jobs/$id/permutations" | jq -r '.certificate |
        "certificate: moved B \(if .equivalent then "computes the same function as B" else "is another function than B" end) (largest logit difference \(.max_abs_logit_difference))"'
}

say ""
say "First two GPT-2 of different seeds: preset \"learned\" turns one's residual stream and heads into the other's, and learns"
say "these maps in 300 steps. The moved model still computes the same function."
merge '{"name":"two GPT-2, learned","labels":{"from":"demo.sh"},
  "models":{"a":"gpt2-a","b":"gpt2-b"},
  "align":{"preset":"learned","dataset":"align","max_sequences":500},
  "interpolate":{"points":11},
  "evaluate":{"task":"clm","dataset":"eval","block_size":128,"max_blocks":32,"control":true},
  "outputs":{"merged":[0.5]}}'
first=$id

say ""
say "Then the hard case, two BERT, with the permutations of the paper: they keep the function too, but most of the barrier stays."
merge '{"name":"two BERT, the paper","labels":{"from":"demo.sh"},
  "models":{"a":"bert-a","b":"bert-b"},
  "align":{"components":["ff","mha"],"dataset":"align","max_sequences":1000,"max_length":48},
  "interpolate":{"points":21},
  "evaluate":{"task":"mlm","dataset":"eval","block_size":48,"max_blocks":256,"control":true}}'

keep=yes
say ""
say "The daemon still listens on $url (open it in a browser, or: curl $url/v1/jobs/$first)"
say "The merged GPT-2, a folder that transformers opens: curl -o merged.tar $url/v1/jobs/$first/merged/0.5.tar"
say "Stop it with: kill $pid"
say "Its data and log are in $data"
