/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdio.h>
#include <sys/utsname.h>

#include "lib/host.h"

bool host_preempts_programs(void)
{
	struct utsname host;
	int major;

	return !uname(&host) && sscanf(host.release, "%d.", &major) == 1 && major >= 7;
}
