/* cgroup.c: finds the group of this process and walks up.
 *
 *   /proc/self/cgroup     "4:memory:/jobs/7"  or  "0::/jobs/7"        which group, per controller
 *   /proc/self/mountinfo  "... / /sys/fs/cgroup/memory ... - cgroup cgroup rw,memory"      where its files are
 *
 *   /sys/fs/cgroup/memory/jobs/7  ->  /sys/fs/cgroup/memory/jobs  ->  /sys/fs/cgroup/memory
 *
 * Every step up may be tighter than the one below, so all are read. A controller that is mounted as version 1 is used
 * as that (hybrid systems mount an empty version 2 tree beside it). A container's mount often shows a subtree only: the
 * part of the path that the mount hides is cut off, or, if the path is not below it, the mount's root is our group.
 * Page cache that the group could drop is not "used": else a process that has read a large file would believe that it
 * has no memory left. */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SPACE = 64 };

/* A controller's directory: of this process at first, of its ancestors later. */
struct group {
    bool unified;               /* version 2 */
    size_t top;                 /* length of the mount point in path: where the walk ends */
    char path[PATH_MAX];
};

/* How each version names its files; a version 2 quota stands in one file with its period. */
struct names {
    const char *quota, *period, *limit, *high, *usage, *stat_inactive, *stat_active;
};

static const struct names version1 = {"cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes", NULL,
                                      "memory.usage_in_bytes", "total_inactive_file", "total_active_file"};
static const struct names version2 = {"cpu.max", NULL, "memory.max", "memory.high", "memory.current", "inactive_file",
                                      "active_file"};

/* ---- finding the group ------------------------------------------------------------------------------------------- */

/* Is `word` one of the comma-separated items of `list`? */
static bool has_item(const char *list, const char *word)
{
    const size_t size = strlen(word);
    for (const char *item = list; item != NULL; item = strchr(item, ',')) {
        item += *item == ',';
        if (strncmp(item, word, size) == 0 && (item[size] == ',' || item[size] == '\0'))
            return true;
    }
    return false;
}

/* mountinfo writes blanks and backslashes of a path as \ooo */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        unsigned byte;
        if (from[0] == '\\' && sscanf(from + 1, "%3o", &byte) == 1) {
            *to = (char)byte;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* The group's path as /proc/self/cgroup has it. list: "" asks for the version 2 line. */
static bool find_membership(const char *root, const char *controller, bool unified, char *path)
{
    bool found = false;
    char line[PATH_MAX + NAME_SPACE];
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *file = fopen(line, "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':');
        char *group = list != NULL ? strchr(list + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        list++;
        if (unified ? *list == '\0' : has_item(list, controller)) {
            snprintf(path, PATH_MAX, "%s", group);
            found = true;
        }
    }
    fclose(file);
    return found;
}

/* Where the controller is mounted, and which part of its hierarchy the mount shows. */
static bool find_mount(const char *root, const char *controller, bool unified, char *shown, char *point)
{
    bool found = false;
    char line[3 * PATH_MAX];
    snprintf(line, sizeof line, "%s/proc/self/mountinfo", root);
    FILE *file = fopen(line, "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        char type[NAME_SPACE], options[1024];
        const char *tail = strstr(line, " - ");
        if (tail == NULL || sscanf(tail, " - %63s %*s %1023s", type, options) != 2)
            continue;
        if (strcmp(type, unified ? "cgroup2" : "cgroup") != 0 || (!unified && !has_item(options, controller)))
            continue;
        found = sscanf(line, "%*s %*s %*s %4095s %4095s", shown, point) == 2;
    }
    fclose(file);
    unescape(shown);
    unescape(point);
    return found;
}

static bool find_group(const char *root, const char *controller, struct group *group)
{
    char member[PATH_MAX] = "", shown[PATH_MAX] = "", point[PATH_MAX] = "";
    group->unified = !find_mount(root, controller, false, shown, point);
    if (group->unified && !find_mount(root, controller, true, shown, point))
        return false;
    if (!find_membership(root, controller, group->unified, member))
        return false;
    const char *below = member;
    const size_t hidden = strlen(shown);
    if (strcmp(shown, "/") != 0)
        below = strncmp(member, shown, hidden) == 0 && (member[hidden] == '/' || member[hidden] == '\0')
                    ? member + hidden : "";
    if (strstr(below, "..") != NULL || strcmp(below, "/") == 0)
        below = "";
    const int length = snprintf(group->path, sizeof group->path, "%s%s%s", root, point, below);
    group->top = strlen(root) + strlen(point);
    return length > 0 && (size_t)length < sizeof group->path;
}

/* One step up; false at the top. */
static bool to_parent(struct group *group)
{
    char *slash = strrchr(group->path, '/');
    if (strlen(group->path) <= group->top || slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* ---- reading its files ------------------------------------------------------------------------------------------- */

static bool read_text(const struct group *group, const char *name, char *text, size_t size)
{
    char path[PATH_MAX + NAME_SPACE];
    snprintf(path, sizeof path, "%s/%s", group->path, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* "max" and negative numbers mean: no limit. */
static bool parse_limit(const char *text, uint64_t *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end != text;
}

static bool read_limit(const struct group *group, const char *name, uint64_t *value)
{
    char text[NAME_SPACE];
    return name != NULL && read_text(group, name, text, sizeof text) && parse_limit(text, value);
}

static void add_quota(const struct group *group, const struct names *names, mr__cgroup_limits *limits)
{
    uint64_t quota, period;
    char text[NAME_SPACE];
    if (names->period != NULL) {
        if (!read_limit(group, names->quota, &quota) || !read_limit(group, names->period, &period))
            return;
    } else {
        const char *second;
        if (!read_text(group, names->quota, text, sizeof text) || !parse_limit(text, &quota) ||
            (second = strchr(text, ' ')) == NULL || !parse_limit(second + 1, &period))
            return;
    }
    if (quota == 0 || period == 0)
        return;
    const double cpus = (double)quota / (double)period;
    if (limits->cpus == 0 || cpus < limits->cpus)
        limits->cpus = cpus;
}

static uint64_t stat_field(const char *stat, const char *field)
{
    const size_t size = strlen(field);
    for (const char *line = stat; line != NULL; line = strchr(line, '\n')) {
        uint64_t value;
        line += *line == '\n';
        if (strncmp(line, field, size) == 0 && line[size] == ' ' && parse_limit(line + size + 1, &value))
            return value;
    }
    return 0;
}

static void add_memory(const struct group *group, const struct names *names, mr__cgroup_limits *limits)
{
    uint64_t limit = UINT64_MAX, high, usage = 0;
    char stat[8192];
    const bool hard = read_limit(group, names->limit, &limit);
    if (read_limit(group, names->high, &high) && high < limit)
        limit = high;
    else if (!hard)
        return;
    /* version 1 writes "none" as a number of this size */
    if (limit >= (uint64_t)1 << 60)
        return;
    if (limit < limits->memory_limit)
        limits->memory_limit = limit;
    if (!read_limit(group, names->usage, &usage))
        return;
    if (read_text(group, "memory.stat", stat, sizeof stat)) {
        const uint64_t cache = stat_field(stat, names->stat_inactive) + stat_field(stat, names->stat_active);
        usage -= cache < usage ? cache : usage;
    }
    const uint64_t left = usage < limit ? limit - usage : 0;
    if (left < limits->memory_free)
        limits->memory_free = left;
}

mr__cgroup_limits mr__cgroup_read(const char *root)
{
    mr__cgroup_limits limits = {.memory_limit = UINT64_MAX, .memory_free = UINT64_MAX};
    struct group group;
    if (find_group(root, "cpu", &group)) {
        do
            add_quota(&group, group.unified ? &version2 : &version1, &limits);
        while (to_parent(&group));
    }
    if (find_group(root, "memory", &group)) {
        do
            add_memory(&group, group.unified ? &version2 : &version1, &limits);
        while (to_parent(&group));
    }
    if (limits.memory_free > limits.memory_limit)
        limits.memory_free = limits.memory_limit;
    return limits;
}
