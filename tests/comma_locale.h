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
    char path[4600], command[4600];
    snprintf(path, sizeof path, "%s/source", folder);
    snprintf(command, sizeof command, "cd '%s' && localedef --no-archive -c -i source ./comma >/dev/null 2>&1", folder);
    FILE *source = fopen(path, "w");
    if (source == NULL)
        return false;
    fprintf(source, "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \"\"\ngrouping -1\nEND LC_NUMERIC\n");
    fclose(source);
    if (system(command) == -1 || setenv("LOCPATH", folder, 1) != 0)    /* it ends with 1: most categories are missing */
        return false;
    return setlocale(LC_NUMERIC, "comma") != NULL;
}

#endif
