/* device_list.h: the list of devices as JSON; what device_find.c and device_speed.c need of it beside device_find.h.
 * Failure   MR_BAD_INPUT: the text is not what was agreed, with what is wrong; *out is untouched. MR_NO_MEMORY. */
#ifndef MR__DEVICE_LIST_H
#define MR__DEVICE_LIST_H

#include <jansson.h>

#include "device_find.h"

mr_status mr__device_list_from_json(const json_t *root, mr__device_list *out, mr__error *error);
/* Appends a line to the notes; one that does not fit is left out. */
void mr__device_list_note(mr__device_list *list, const char *text);

#endif
