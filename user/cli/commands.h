/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every subcommand's entry point, and the table that names them. One file
 * cmd_NAME.c per subcommand; see cli.h for how to add one.
 */
#ifndef HEARTH_COMMANDS_H
#define HEARTH_COMMANDS_H

#include "cli/cli.h"

/* Ends with .name = NULL. */
extern const struct cli_command commands[];

const struct cli_command *commands_find(const char *name);

int cmd_top(struct cli *cli);
extern const struct cli_option cmd_top_options[];
int cmd_status(struct cli *cli);
int cmd_ls(struct cli *cli);
/* The table alone, for `top` where it cannot run. */
struct view_choice;
int cmd_ls_print(struct cli *cli, const struct view_choice *choice);
extern const struct cli_option cmd_ls_options[];
int cmd_show(struct cli *cli);
int cmd_explain(struct cli *cli);
extern const struct cli_option cmd_explain_options[];
int cmd_events(struct cli *cli);
extern const struct cli_option cmd_events_options[];
/* freeze, thaw, pin, unpin */
int cmd_change(struct cli *cli);
int cmd_policy(struct cli *cli);
int cmd_shadow(struct cli *cli);
int cmd_image(struct cli *cli);
extern const struct cli_option cmd_image_options[];
int cmd_run(struct cli *cli);
extern const struct cli_option cmd_run_options[];
int cmd_doctor(struct cli *cli);
int cmd_config(struct cli *cli);
int cmd_demo(struct cli *cli);
int cmd_record(struct cli *cli);
extern const struct cli_option cmd_record_options[];
int cmd_sim(struct cli *cli);
extern const struct cli_option cmd_sim_options[];
int cmd_fit(struct cli *cli);
extern const struct cli_option cmd_fit_options[];
int cmd_gen(struct cli *cli);
extern const struct cli_option cmd_gen_options[];

#endif
