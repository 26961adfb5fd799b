/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The service manager's readiness protocol (sd_notify), for Type=notify units. */
#ifndef HEARTH_NOTIFY_H
#define HEARTH_NOTIFY_H

/* No-ops unless NOTIFY_SOCKET is set. */
void notify_ready(void);
void notify_stopping(void);

#endif
