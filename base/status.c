/* status.c: codes, sentences, and the record of the first failure. */
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *meaning;
    int exit_status;
} rows[] = {
#define MR__STATUS_ROW(code, exit_status, meaning) {#code, meaning, exit_status},
    MR_STATUS_MAP(MR__STATUS_ROW)
#undef MR__STATUS_ROW
};

const char *mr_status_name(mr_status status)
{
    return (size_t)status < MR__COUNT(rows) ? rows[status].name : "MR_UNKNOWN";
}

const char *mr_status_meaning(mr_status status)
{
    return (size_t)status < MR__COUNT(rows) ? rows[status].meaning : "unknown status";
}

int mr_status_exit(mr_status status)
{
    return (size_t)status < MR__COUNT(rows) ? rows[status].exit_status : 7;
}

mr_status mr__fail(mr__error *error, mr_status code, const char *format, ...)
{
    if (error == NULL || error->code != MR_OK)
        return code;
    error->code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return code;
}

void mr__error_clear(mr__error *error)
{
    error->code = MR_OK;
    error->text[0] = '\0';
}

mr_status mr__status_of_errno(int number, mr_status otherwise)
{
    switch (number) {
    case ENOMEM:
        return MR_NO_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return MR_NO_SPACE;
    case EMFILE:
    case ENFILE:
        return MR_IO_FAILED;
    default:
        return otherwise;
    }
}

const char *mr__errno_hint(int number)
{
    switch (number < 0 ? -number : number) {
    case ENOENT:
        return "\n  hint: check the name; a relative path counts from the directory the job was started in";
    case EACCES:
    case EPERM:
        return "\n  hint: give the user that runs the job permission for it";
    case EMFILE:
    case ENFILE:
        return "\n  hint: too many files are open; raise the limit with ulimit -n";
    case ENOSPC:
    case EDQUOT:
        return "\n  hint: free some space, or choose another disk";
    case EFBIG:
        return "\n  hint: the limit on the size of a file is reached; raise it with ulimit -f";
    case EROFS:
        return "\n  hint: the file system is mounted read-only; choose another place";
    default:
        return "";
    }
}
