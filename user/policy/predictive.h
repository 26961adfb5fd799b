/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For fitting the weights of `predictive`: the population that a parsed spec of it holds. */
#ifndef HEARTH_POLICY_PREDICTIVE_H
#define HEARTH_POLICY_PREDICTIVE_H

#include "policy/outlook.h"

const struct outlook_prior *predictive_prior(const struct hearth_policy *p);

#endif
