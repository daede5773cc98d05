#!/bin/sh
# Copies a data folder while its daemon runs. Needs sqlite3, and to be root or the daemon's user.
#
#   deploy/backup.sh /var/lib/rebasind /backup/rebasind-2026-11-23
#
# The database is copied first, by SQLite's own backup, then the files: those are whole or absent and
# never changed in place, so whatever the copied database knows of is there, unless it was deleted or
# replaced in between, which is told (exit 1: run it again). A snapshot of the file system (LVM, ZFS,
# a volume snapshot) needs none of this: the daemon starts from one as after a power cut.
#
# To restore: put the copy where the data folder was, of the daemon's user, and start the daemon.
# Jobs that ran at the time of the backup go on from their last finished step.
set -eu

if [ $# -ne 2 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
data=$1 copy=$2
say() { printf 'backup: %s\n' "$*" >&2; }

[ -f "$data/rebasind.db" ] || { say "$data holds no rebasind.db"; exit 2; }
[ ! -e "$copy" ] || { say "$copy is there already"; exit 2; }
command -v sqlite3 >/dev/null || { say "sqlite3 is not installed"; exit 2; }

umask 077
mkdir -p "$copy"
# Of whom the data folder is.
chown --reference="$data" "$copy"
stamp=$copy/.begun
: >"$stamp"
sqlite3 -readonly "$data/rebasind.db" ".timeout 10000" ".backup '$copy/rebasind.db'"
chown --reference="$data/rebasind.db" "$copy/rebasind.db"
[ "$(sqlite3 -readonly "$copy/rebasind.db" 'PRAGMA quick_check')" = ok ] ||
    { say "the copied database is damaged"; exit 1; }

status=0
for part in tokens models datasets jobs; do
    [ ! -e "$data/$part" ] || cp -a --reflink=auto "$data/$part" "$copy/" || status=1
done
[ "$status" -eq 0 ] || say "something was deleted while it was copied: run this again"

# A model or dataset replaced meanwhile is another than the copied database says.
newer=$(find "$copy/models" "$copy/datasets" -type f -newer "$stamp" 2>/dev/null |
    head -n 3 || true)
if [ -n "$newer" ]; then
    say "uploaded while it was copied: $newer: run this again"
    status=1
fi
rm -f "$stamp"
say "$(du -sh "$copy" | cut -f 1) in $copy"
exit $status
