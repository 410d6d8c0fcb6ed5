/* comma_locale.h: a locale with a decimal comma, made in a folder by localedef, which comes with the C library. */
#ifndef MR__COMMA_LOCALE_H
#define MR__COMMA_LOCALE_H

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Makes it and puts it in force; end it with setlocale(LC_NUMERIC, "C"). false: localedef is missing. */
static inline bool comma_locale_begin(const char *folder)
{
    char command[4600];
    snprintf(command, sizeof command,
             "cd '%s' && printf 'LC_NUMERIC\\ndecimal_point \",\"\\nthousands_sep \"\"\\ngrouping -1\\nEND LC_NUMERIC\\n' "
             ">comma.source && localedef --no-archive --quiet -c -i comma.source ./comma 2>/dev/null; rm -f comma.source",
             folder);
    if (system(command) == -1 || setenv("LOCPATH", folder, 1) != 0)
        return false;
    return setlocale(LC_NUMERIC, "comma") != NULL;
}

#endif
