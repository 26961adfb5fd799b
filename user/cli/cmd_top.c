/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth top: asks the agent once an interval and lets keys steer the view
 * between. An agent that goes away is waited for, with what was last known on
 * the screen. One thread: the agent answers in milliseconds, and a request
 * that hangs is cut off after TIMEOUT_MS.
 */
#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/curses_pen.h"
#include "cli/images_pane.h"
#include "cli/show.h"
#include "cli/top_view.h"
#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/util.h"

#define TIMEOUT_MS  2000
#define KEY_ESCAPE  27
#define ESCAPE_MS   50   /* how long an Esc waits to be part of a key */
#define PANEL_LINES 4000 /* instances and decisions of one function, at most */
#define DECISIONS   40
#define FRESH_LOOKS 10 /* FRESH_MS apart, for images that are not old */
#define FRESH_MS    100
/* Faster than anybody reads, and the agent has other things to do. */
#define MIN_DELAY_NS (100 * NSEC_PER_MSEC)

const struct cli_option cmd_top_options[] = {
    {'d', "delay", "TIME", "time between two looks (default 1s)"},
    {'s', "sort", "COLUMN", "sort by this column (default name)"},
    {'r', "reverse", NULL, "the other way round"},
    {'f', "filter", "TEXT", "only functions whose name, tier, mode or policy contains TEXT"},
    {'1', "once", NULL, "print one frame as text and exit"},
    {0},
};

struct session {
	struct cli *cli;
	struct client *client;
	struct top top;
	uint64_t delay_ns;
	uint64_t next_ns; /* when to look again */
	char *panel;      /* function shown in the panel, NULL: the list is shown */
	json_t *function; /* answers about it, NULL: none */
	json_t *events;
	int scroll; /* first line of the panel shown */
	int panel_lines;
};

/* ---- answers */

static int ask(struct session *s, const char *path, json_t **out)
{
	json_t *answer = NULL;
	int status = client_call(s->client, "GET", path, NULL, &answer);

	if (status == 200 && answer) {
		*out = answer;
		return 0;
	}
	json_decref(answer);
	return status < 0 ? status : -EPROTO;
}

static int look(struct session *s)
{
	json_t *status, *functions, *images = NULL;
	int err = ask(s, "/v1/status", &status);

	if (err)
		return err;
	err = ask(s, "/v1/functions", &functions);
	if (err) {
		json_decref(status);
		return err;
	}
	ask(s, "/v1/images", &images); /* an older hearthd has none to tell of */
	return top_load(&s->top, status, functions, images) ? 0 : -EPROTO;
}

static void look_at_function(struct session *s)
{
	struct client_query query = {.function = s->panel, .limit = DECISIONS, .since = -1};
	_cleanup_free_ char *path = client_function_path(s->panel, "");

	json_decref(s->function);
	json_decref(s->events);
	s->function = s->events = NULL;
	if (!path || ask(s, path, &s->function))
		return;
	if (client_events(s->client, &query, &s->events) != 200) {
		json_decref(s->events);
		s->events = NULL;
	}
}

static void refresh_answers(struct session *s)
{
	int err = look(s);

	if (err)
		agent_describe(s->cli, err, s->top.problem, sizeof(s->top.problem));
	else
		*s->top.problem = '\0';
	if (s->panel)
		look_at_function(s);
	s->next_ns = now_ns() + s->delay_ns;
}

/* ---- panel */

static void draw_panel_text(struct session *s, struct pen *pen)
{
	if (!s->function) {
		pen_print(pen, STYLE_BAD, "%s: no answer, or no such function any more\n",
			  s->panel);
		return;
	}
	show_why(pen, s->function, s->events);
	pen_line(pen);
	show_function(pen, s->function);
}

static void draw_panel(struct session *s)
{
	WINDOW *pad = newpad(PANEL_LINES, MAX(COLS, 20));
	struct curses_pen pen;
	int shown = MAX(LINES - 1, 1);

	if (!pad)
		return;
	pen = curses_pen_open(pad);
	draw_panel_text(s, &pen.pen);
	s->panel_lines = pen.line;
	s->scroll = MAX(MIN(s->scroll, s->panel_lines - shown), 0);
	erase();
	mvaddnstr(LINES - 1, 0, "q or Esc back  up/down scroll", COLS);
	wnoutrefresh(stdscr);
	pnoutrefresh(pad, s->scroll, 0, 0, 0, shown - 1, COLS - 1);
	doupdate();
	delwin(pad);
}

static void draw_list(struct session *s)
{
	struct curses_pen pen;

	erase();
	s->top.rows = LINES;
	pen = curses_pen_open(stdscr);
	top_draw(&s->top, &pen.pen);
	refresh();
}

/* ---- keys */

/* True if the key is one that types the filter. */
static bool filter_key(struct top *top, int key)
{
	size_t n = strlen(top->filter);

	if (!top->typing)
		return false;
	if (key == KEY_ESCAPE) {
		*top->filter = '\0';
		top->typing = false;
	} else if (key == '\n' || key == KEY_ENTER) {
		top->typing = false;
	} else if ((key == KEY_BACKSPACE || key == 127 || key == '\b') && n) {
		while (n && (top->filter[--n] & 0xc0) == 0x80)
			; /* all bytes of a UTF-8 character */
		top->filter[n] = '\0';
	} else if (key >= ' ' && key < 256 && key != 127 && n < TOP_FILTER_MAX) {
		top->filter[n] = (char)key;
		top->filter[n + 1] = '\0';
	} else {
		return false;
	}
	top_resort(top);
	return true;
}

static void sort_by(struct top *top, int step)
{
	top->sort = (top->sort + step + view_columns()) % view_columns();
	top_resort(top);
}

static long move_of(int key)
{
	switch (key) {
	case KEY_UP:
	case 'k':
		return -1;
	case KEY_DOWN:
	case 'j':
		return 1;
	case KEY_PPAGE:
		return -(LINES - 6);
	case KEY_NPAGE:
		return LINES - 6;
	case KEY_HOME:
		return -PANEL_LINES;
	case KEY_END:
		return PANEL_LINES;
	}
	return 0;
}

static void open_panel(struct session *s)
{
	top_move(&s->top, 0);
	s->scroll = 0;
	if (s->top.view.n)
		s->panel = strdup(s->top.selected);
	if (s->panel)
		look_at_function(s);
}

/* Keys of the list; false: quit. */
static bool list_key(struct session *s, int key)
{
	struct top *top = &s->top;

	if (filter_key(top, key))
		return true;
	top_move(top, move_of(key));
	switch (key) {
	case 'q':
		return false;
	case '<':
	case '>':
		sort_by(top, key == '>' ? 1 : -1);
		break;
	case 'r':
		top->reverse = !top->reverse;
		top_resort(top);
		break;
	case '/':
		top->typing = true;
		break;
	case KEY_ESCAPE:
		*top->filter = '\0';
		top_resort(top);
		break;
	case 'p':
		top->paused = !top->paused;
		break;
	case ' ':
		refresh_answers(s);
		break;
	case '\n':
	case KEY_ENTER:
		open_panel(s);
		break;
	}
	return true;
}

static void panel_key(struct session *s, int key)
{
	s->scroll += (int)move_of(key);
	if (key == 'q' || key == KEY_ESCAPE || key == '\n' || key == KEY_LEFT) {
		free(s->panel);
		s->panel = NULL;
	}
}

/* Milliseconds until the next look; a paused view waits for keys alone. */
static int wait_ms(const struct session *s)
{
	uint64_t now = now_ns();

	if (s->top.paused)
		return -1;
	return now >= s->next_ns ? 0 : (int)((s->next_ns - now) / NSEC_PER_MSEC) + 1;
}

static void run(struct session *s)
{
	bool going = true;

	while (going) {
		int key;

		if (!s->top.paused && now_ns() >= s->next_ns)
			refresh_answers(s);
		if (s->panel)
			draw_panel(s);
		else
			draw_list(s);
		timeout(wait_ms(s));
		key = getch();
		if (key == ERR || key == KEY_RESIZE)
			continue;
		if (s->panel)
			panel_key(s, key);
		else
			going = list_key(s, key);
	}
}

static int run_live(struct session *s)
{
	set_escdelay(ESCAPE_MS);
	if (!initscr())
		return cli_error(s->cli, "this terminal cannot show the live view");
	curses_pen_init(s->cli->color);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	run(s);
	endwin();
	return CLI_OK;
}

/* If nobody had looked for a while, hearthd asks the image manager only now. */
static int run_once(struct session *s)
{
	struct file_pen pen = pen_open(s->cli);

	for (int i = 0; i < FRESH_LOOKS && images_pane_old(s->top.images); i++) {
		nanosleep(&(struct timespec){.tv_nsec = FRESH_MS * NSEC_PER_MSEC}, NULL);
		refresh_answers(s);
	}
	top_draw(&s->top, &pen.pen);
	return CLI_OK;
}

/* The first look decides: an agent that is not there is an error, not an empty screen. */
static int run_session(struct session *s, bool once)
{
	int err = client_new(s->cli->socket, TIMEOUT_MS, &s->client);

	if (!err)
		err = look(s);
	if (err)
		return agent_failed(s->cli, err, NULL);
	return once ? run_once(s) : run_live(s);
}

static void session_done(struct session *s)
{
	top_done(&s->top);
	client_free(s->client);
	json_decref(s->function);
	json_decref(s->events);
	free(s->panel);
}

struct options {
	struct view_choice choice;
	uint64_t delay_ns;
	bool once;
};

static int take_option(struct cli *cli, int option, struct options *o)
{
	switch (option) {
	case 'd':
		if (duration_parse(cli->arg, &o->delay_ns) || o->delay_ns < MIN_DELAY_NS)
			return cli_usage(cli, "'%s' is not a delay of 100ms or more; accepted: %s",
					 cli->arg, DURATION_ACCEPTED);
		break;
	case 's':
		o->choice.sort = view_sort_option(cli);
		return o->choice.sort < 0 ? CLI_USAGE : CLI_OK;
	case 'r':
		o->choice.reverse = true;
		break;
	case 'f':
		o->choice.filter = cli->arg;
		break;
	case '1':
		o->once = true;
		break;
	}
	return CLI_OK;
}

int cmd_top(struct cli *cli)
{
	struct options o = {.choice.filter = "", .delay_ns = NSEC_PER_SEC};
	struct session s = {.cli = cli};
	int c, status;

	while ((c = cli_option(cli)) >= 0)
		if (take_option(cli, c, &o))
			return CLI_USAGE;
	if (c == CLI_STOP)
		return CLI_USAGE;
	if (cli->json || (!o.once && !(cli->terminal && isatty(STDIN_FILENO))))
		return cmd_ls_print(cli, &o.choice);
	s.delay_ns = o.delay_ns;
	s.top.sort = o.choice.sort;
	s.top.reverse = o.choice.reverse;
	snprintf(s.top.filter, sizeof(s.top.filter), "%s", o.choice.filter);
	status = run_session(&s, o.once);
	session_done(&s);
	return status;
}
