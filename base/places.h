/* places.h: where things lie on this machine: run records, what is installed, mounts. One rule for library and command.
 * Threads   Any, as long as none changes the environment.
 * Failure   MR_BAD_USAGE: the path would not fit, or the environment names no place. *path is then "". */
#ifndef MR__PLACES_H
#define MR__PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

enum { MR__PATH_MAX = 4096, MR__APP_PLACES = 2 };

/* option (mr_session_options.records) if it is not NULL; else $MILLRACE_RECORDS, else $XDG_STATE_HOME/millrace, else
 * $HOME/.local/state/millrace. "" (given as option or in MILLRACE_RECORDS) means: keep none. Makes nothing. */
mr_status mr__places_records(const char *option, char path[MR__PATH_MAX], mr__error *error);
/* The folders of apps, of which the first that has an app wins: $MILLRACE_APPS where it is set, then millrace/apps
 * beside the shared object that holds `symbol` (pass mr_version's address). */
mr_status mr__places_apps(const void *symbol, char paths[MR__APP_PLACES][MR__PATH_MAX], uint32_t *count,
                          mr__error *error);

/* millrace/NAME beside the shared object that holds `symbol`: what the library loads when it is needed. */
mr_status mr__places_module(const void *symbol, const char *name, char path[MR__PATH_MAX], mr__error *error);
/* libexec/millrace/NAME beside the folder (bin, lib) of the executable or shared object that holds `symbol`. false: it
 * is not there, or may not be run. */
bool mr__places_program(const void *symbol, const char *name, char path[MR__PATH_MAX]);

/* The directory for fast local bytes: option (mr_session_options.burst) if it is not NULL; else $MILLRACE_BURST, else
 * $TMPDIR, else /var/tmp. */
const char *mr__places_burst(const char *option);
/* The mounts of every session: the directory for fast local bytes, and memory that ends with the session. */
#define MR__MOUNT_BURST "/burst"
#define MR__MOUNT_MEMORY "/memory"
/* Does `path` lie in the mount? Not where the host has a file or directory of the mount's name: plain paths keep their
 * meaning. */
bool mr__places_is_mounted(const char *mount, const char *path);

#endif
