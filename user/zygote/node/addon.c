/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth_zygote_wait_claim() for Node.js. Node can neither receive descriptors nor put
 * them at 0, 1 and 2, so that is done here, in the one call that waits; JavaScript has
 * not looked at its stdio then, and finds what the claim brought.
 *
 * Node-API is a C interface with a stable ABI: the few calls used are declared here, so
 * it builds without Node's headers and one build serves every Node since 12.
 */
#include <stdio.h>
#include <string.h>

#include "hearth/zygote.h"

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);

#define NAPI_AUTO_LENGTH ((size_t)-1)

/* 0 is napi_ok */
int napi_create_function(napi_env env, const char *name, size_t length, napi_callback callback,
			 void *data, napi_value *out);
int napi_set_named_property(napi_env env, napi_value object, const char *name, napi_value value);
int napi_get_cb_info(napi_env env, napi_callback_info info, size_t *argc, napi_value *argv,
		     napi_value *self, void **data);
int napi_get_value_int32(napi_env env, napi_value value, int32_t *out);
int napi_get_value_string_utf8(napi_env env, napi_value value, char *text, size_t size,
			       size_t *length);
int napi_get_null(napi_env env, napi_value *out);
int napi_create_array(napi_env env, napi_value *out);
int napi_set_element(napi_env env, napi_value object, uint32_t index, napi_value value);
int napi_create_string_utf8(napi_env env, const char *text, size_t length, napi_value *out);
int napi_throw_error(napi_env env, const char *code, const char *message);

napi_value napi_register_module_v1(napi_env env, napi_value exports);

static struct hearth_zygote_child claimed = {.conn = -1};

static napi_value throw(napi_env env, const char *text)
{
	napi_throw_error(env, NULL, text);
	return NULL;
}

/* wait(fd): argv of the claim, or null if none will come. */
static napi_value wait_claim(napi_env env, napi_callback_info info)
{
	char error[HEARTH_ZYGOTE_ERROR] = "";
	napi_value argument, list, word;
	size_t n = 1;
	int32_t fd;
	int result;

	if (napi_get_cb_info(env, info, &n, &argument, NULL, NULL) || n != 1 ||
	    napi_get_value_int32(env, argument, &fd))
		return throw(env, "wait(fd): a number");
	result = hearth_zygote_wait_claim(fd, &claimed, error);
	if (result < 0)
		return throw(env, error);
	if (result == 0)
		return napi_get_null(env, &list) ? NULL : list;
	if (napi_create_array(env, &list))
		return throw(env, "no memory for argv");
	for (int i = 0; i < claimed.argc; i++)
		if (napi_create_string_utf8(env, claimed.argv[i], NAPI_AUTO_LENGTH, &word) ||
		    napi_set_element(env, list, (uint32_t)i, word))
			return throw(env, "no memory for argv");
	return list;
}

/* started(why): why it cannot start; "": it has. */
static napi_value started(napi_env env, napi_callback_info info)
{
	char why[HEARTH_ZYGOTE_ERROR];
	napi_value argument;
	size_t n = 1;

	if (napi_get_cb_info(env, info, &n, &argument, NULL, NULL) || n != 1 ||
	    napi_get_value_string_utf8(env, argument, why, sizeof(why), NULL))
		return throw(env, "started(why): a string");
	hearth_zygote_started(&claimed, *why ? why : NULL);
	return NULL;
}

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env,
									  napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback call;
	} calls[] = {{"wait", wait_claim}, {"started", started}};
	napi_value function;

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, calls[i].call, NULL,
					 &function) ||
		    napi_set_named_property(env, exports, calls[i].name, function))
			return NULL;
	return exports;
}
