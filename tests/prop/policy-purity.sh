#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The policy library is pure: it calls only what is listed here, only its
# parsers allocate, and it has no writable data.
# Usage: policy-purity.sh [ARCHIVE]
set -u
archive=${1:-build/libhearth-policy.a}

command -v nm >/dev/null || { echo "skip: no nm here"; exit 77; }
[ -f "$archive" ] || { echo "skip: $archive is not built"; exit 77; }

text='strlen strcmp strncmp strchr strcspn strsep strcpy strnlen memcpy memset memmove memcmp
snprintf vsnprintf __stack_chk_fail'
math='exp expf expm1 log log1p sqrt pow fmin fmax fabs floor ceil round lround llround nextafter'
lib='duration_parse duration_format'
parsers='policy.o rank.o'

# name|value|class|type|size|line|section; tables of pointers are .data.rel.ro
nm --format=sysv -A "$archive" | tr -d ' ' | awk -F '|' -v allowed="$text $math $lib" \
	-v parsers="$parsers" '
BEGIN {
	n = split(allowed, list, /[ \n]+/)
	for (i = 1; i <= n; i++) pure[list[i]] = 1
	n = split(parsers, list, " ")
	for (i = 1; i <= n; i++) parser[list[i]] = 1
	pure["_GLOBAL_OFFSET_TABLE_"] = 1
}
NF >= 7 {
	n = split($1, where, ":")
	object = where[n - 1]; symbol = where[n]; section = $7
	seen++
	if (section == "*UND*") {
		calls[object " " symbol] = 1
	} else if (section ~ /^\.(data|bss|tdata|tbss)$/ || section ~ /COM/) {
		print object ": " symbol " is writable (" section ")"; bad = 1
	} else {
		own[symbol] = 1
	}
}
END {
	for (c in calls) {
		split(c, part, " ")
		if (part[2] ~ /^(calloc|free)$/ && part[1] in parser) continue
		if (part[2] in pure || part[2] in own) continue
		print part[1] ": calls " part[2]; bad = 1
	}
	if (!seen) { print "no symbols in it"; bad = 1 }
	if (!bad) print "pure: " seen " symbols"
	exit bad
}'
