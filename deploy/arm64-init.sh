#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the machine that deploy/cross-arm64.sh --vm starts: Debian's arm64 kernel, busybox, the image's
# files in /image. Runs the unit tests that /tests lists, then the image's daemon as a container would (its files alone,
# uid 65532, one writable folder) with its sandbox required, and a job for each spec in /jobs. What came of it are the
# lines of the console that begin with "vm "; then the machine is switched off.
set -u
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /dev /tmp /mnt /image/proc /image/dev /image/models
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs data /image/data
chown 65532:65532 /image/data
chmod 700 /image/data
mount --bind /proc /image/proc
mount --bind /dev /image/dev
mount --bind "$(cat /fixtures)" /image/models
mount -t securityfs security /mnt
ifconfig lo 127.0.0.1 up
echo "vm kernel $(uname -rm), $(nproc) processors, $(cat /mnt/lsm)"

# tell WHAT STATUS BEGAN
tell() {
    if [ "$2" -eq 0 ]; then echo "vm $1 passed $(($(date +%s) - $3)) s"; else echo "vm $1 FAILED with $2"; fi
}

while read -r test; do
    began=$(date +%s)
    "/unit/$test" </dev/null
    tell "$test" $? "$began"
done </tests

# ---- the daemon ----

# In words: `$in_image COMMAND &` has the daemon's own process id.
in_image="env -i $(tr '\n' ' ' </environment) REBASIND_IMPORT_ROOT=/models
    /coreutils/chroot --userspec=65532:65532 --groups=65532 /image /usr/bin/rebasind"

# call PATH [BODY]: the answer in one line
call() {
    wget -q -O - --header "Authorization: Bearer $token" --header "Content-Type: application/json" \
        ${2:+--post-data "$2"} "http://127.0.0.1:8686$1" | tr -d '\n'
}

# member NAME: its first value, a string, in the object on standard input
member() { grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# The trial of OpenBLAS's kernel has ten seconds, an emulated processor needs more: the library's own choice it is, by
# name, which test_blas_kernel has tried.
kernel=$($in_image version | sed -n 's/.* \([^ ]*\) MAX_THREADS.*/\1/p')
in_image="env -i OPENBLAS_CORETYPE=$kernel ${in_image#env -i}"
token=$($in_image token create --scopes admin)
$in_image serve --sandbox require >/tmp/log 2>&1 &
daemon=$!
began=$(date +%s)
until $in_image health >/tmp/health 2>&1; do
    if [ $(($(date +%s) - began)) -gt 300 ] || ! kill -0 $daemon 2>/dev/null; then break; fi
    sleep 1
done
$in_image health
tell ready $? "$began"
grep -e '"sandbox"' -e '"kernel"' /tmp/log | sed 's/^/vm log /'
grep -e Seccomp: -e NoNewPrivs: -e ^Uid: "/proc/$daemon/status" | sed 's/^/vm status /'

for model in /image/models/models/*; do
    name=${model##*/}
    grep -q "\"$name\"" /jobs/* || continue
    call /v1/models "{\"name\":\"$name\",\"path\":\"/models/models/$name\"}" >/dev/null
done
for name in align eval; do
    call /v1/datasets "{\"name\":\"$name\",\"path\":\"/models/data/$name.txt\",\"format\":\"text\"}" >/dev/null
done
for spec in /jobs/*; do
    name=${spec##*/}
    began=$(date +%s)
    id=$(call /v1/jobs "$(cat "$spec")" | member id)
    state=queued
    while [ "$state" = queued ] || [ "$state" = running ]; do
        sleep 1
        state=$(call "/v1/jobs/$id" | member status)
    done
    [ "$state" = succeeded ]
    tell "job $name" $? "$began"
    echo "vm answer $name $(call "/v1/jobs/$id")"
    echo "vm barrier $name $(call "/v1/jobs/$id/barrier")"
done

began=$(date +%s)
kill -TERM $daemon
wait $daemon
tell drain $? "$began"
sed 's/^/log: /' /tmp/log
echo "vm end"
poweroff -f
