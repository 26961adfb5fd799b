#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One-step ARIMA forecasts are as good as those of R's forecast::auto.arima.
# Takes a minute or two, nearly all of it R's.
set -eu
cd "$(dirname "$0")/../.."

command -v Rscript >/dev/null || { echo "skip: no Rscript here"; exit 77; }
Rscript -e 'quit(status = !requireNamespace("forecast", quietly = TRUE))' >/dev/null 2>&1 || {
	echo "skip: R has no package forecast (r-cran-forecast)"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
${CC:-cc} -O2 -std=gnu11 -D_GNU_SOURCE -Iuser -o "$dir/forecast" \
	tests/prop/arima_forecast.c user/policy/arima.c user/policy/arima_estimate.c -lm
Rscript tests/prop/arima-auto.R "$dir/forecast" \
	tests/data/azure2019-small/invocations_per_function_md.anon.d01.csv
