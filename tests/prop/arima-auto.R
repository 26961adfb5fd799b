# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# 200 series, simulated and real idle times: our one-step forecasts against auto.arima's.
# Usage: Rscript arima-auto.R FORECASTER INVOCATIONS.csv
suppressMessages(library(forecast))
args <- commandArgs(TRUE)
set.seed(7)

simulated <- function(k) {
	n <- sample(c(20, 30, 50, 80, 100), 1) + 1
	kinds <- list(list(), list(ar = 0.7), list(ar = -0.6), list(ma = 0.6), list(ma = -0.5),
		list(ar = 0.5, ma = 0.4), list(ar = c(0.5, -0.4)), list(ar = c(1.2, -0.5)),
		list(order = c(1, 1, 0), ar = 0.4), list(order = c(0, 1, 1), ma = -0.5))
	18000 + 600 * tail(as.numeric(arima.sim(kinds[[k %% 10 + 1]], n)), n)
}
other <- function(k) {
	n <- sample(c(10, 20, 50, 100), 1) + 1
	switch(k %% 3 + 1, exp(rnorm(n, 9, 0.3)), ifelse(seq_len(n) %% 2, 18000, 30000) + rnorm(n, 0, 100),
		18000 + 50 * seq_len(n) + rnorm(n, 0, 300))
}
real <- function(path) {
	rows <- read.csv(path, check.names = FALSE)
	gaps <- lapply(seq_len(nrow(rows)), function(i) diff(which(unlist(rows[i, -(1:4)]) > 0)) * 60)
	lapply(Filter(function(g) length(g) >= 12, gaps), function(g) tail(g, 101))
}
series <- c(real(args[2]), lapply(1:30, other))
series <- c(series, lapply(seq_len(200 - length(series)), simulated))

input <- tempfile()
writeLines(sapply(series, function(y) paste(format(head(y, -1), digits = 12), collapse = " ")), input)
ours <- as.numeric(system2(args[1], stdin = input, stdout = TRUE))
theirs <- sapply(series, function(y)
	as.numeric(forecast(auto.arima(head(y, -1), seasonal = FALSE), h = 1)$mean[1]))
actual <- sapply(series, tail, 1)
ratio <- median(abs(ours - actual)) / median(abs(theirs - actual))
cat(sprintf("%d series: median absolute error %.1f, auto.arima %.1f, ratio %.3f (at most 1.05)\n",
	length(series), median(abs(ours - actual)), median(abs(theirs - actual)), ratio))
quit(status = as.integer(!(ratio <= 1.05)))
