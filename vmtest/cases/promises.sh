#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmtest: set=check timeout=500
# Never harm active work, fail open: those tests of the agent, the guard and the races that
# fit into minutes without KVM; the rest is in everything.sh.
exec tests/run agent:request_to agent:nothing_is_frozen agent:stream_is agent:server_sent agent:first_data \
	agent:foreign_freeze_is agent:freeze_of agent:freeze_after agent:instance_inside agent:program_that_enters \
	agent:health_checks agent:restart_keeps agent:uninstall \
	'failopen:death_of_the_agent_thaws_all[SIGKILL]' failopen:stopped_agent failopen:dead_guard \
	guard:a_ guard:both guard:exit guard:sig guard:silence guard:stopped guard:stops \
	'stress:a_slow_step_loses_nothing[before_frozen]'
