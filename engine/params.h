/* params.h: an app's parameters: "name=value" in, its params struct out, and back to text.
 * Promise   After MR_OK every parameter of the app has a value inside its range: the last setting that names it, else
 *           its preset. Nothing outside the fields that the app declared is written.
 * Owner     The caller, of everything. Sentences copy what they name.
 * Threads   Any.
 * Failure   MR_BAD_USAGE: unknown name (the sentence lists the app's parameters), no number, out of range (the range is
 *           named), unknown choice, too long a text, a parameter without preset not given. MR_BAD_APP: the descriptor
 *           itself is wrong (a field outside the struct, a preset that does not parse). params is then half filled. */
#ifndef MR__PARAMS_H
#define MR__PARAMS_H

#include <millrace/app.h>

#include "check.h"

/* params: app->params_size bytes, zeroed; NULL if the app has none. settings: count texts "name=value". */
mr_status mr__params_parse(const mr_app *app, const char *app_name, const char *const *settings, uint32_t count,
                           void *params, mr__error *error);
/* The value of one parameter as a user would write it; cut at size - 1 bytes. Returns text. */
const char *mr__params_format(const mr_param *param, const void *params, char *text, size_t size);

#endif
