/* devices_show.c: a line for each device; below it what is not as usual, who uses it, and what was measured. */
#include "devices_show.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "show.h"

enum { COMMAND_SIZE = 32, TIME_SIZE = 32 };

void cli_device_collect(const mr__device_info *info, cli_device *out)
{
    mr__token_pool *pool = NULL;
    mr__error error = {.text = ""};
    *out = (cli_device){.info = info};
    mr_status status = mr__token_pool_open(info->id, info->bus, &pool, &error);
    if (status == MR_OK)
        status = mr__device_health_get(pool, &out->health, &error);
    if (status == MR_OK) {
        const uint32_t holders = mr__token_holders(pool, out->holder, MR__TOKENS_MOST);
        out->holders = holders < MR__TOKENS_MOST ? holders : MR__TOKENS_MOST;
    }
    out->reachable = status == MR_OK;
    if (!out->reachable)
        snprintf(out->trouble, sizeof out->trouble, "%.*s", (int)strcspn(error.text, "\n"), error.text);
    mr__token_pool_close(pool);
}

/* The name of a process; "?" if it is gone. */
static const char *command_of(int32_t pid, char text[COMMAND_SIZE])
{
    char path[COMMAND_SIZE];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (file == NULL || fgets(text, COMMAND_SIZE, file) == NULL)
        strcpy(text, "?");
    if (file != NULL)
        fclose(file);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = *c == '\n' ? '\0' : '?';
    }
    return text;
}

static double seconds_since(uint64_t begin_ns)
{
    const uint64_t now = mr__now_ns();
    return now > begin_ns ? (double)(now - begin_ns) / 1e9 : 0;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

void cli_device_print_heading(void)
{
    printf("%-14s %-8s %-11s %5s %9s %7s %8s  %s\n", "DEVICE", "STATE", "TYPE", "UNITS", "MEMORY", "TOKENS", "FAILURES",
           "NAME");
}

static void print_speed(void *context, const char *app, const mr__device_speed *speed)
{
    char text[CLI_SHOW_SIZE];
    if (speed->bytes_per_s > 0)
        cli_show_rate(speed->bytes_per_s, "B", text);
    else
        cli_show_rate(speed->rows_per_s, "rows", text);
    printf("    measured: %-20s %s", app, text);
    if (speed->lanes > 0)
        printf(", %u lane%s", speed->lanes, speed->lanes == 1 ? "" : "s");
    putchar('\n');
}

static void print_trouble(const cli_device *device)
{
    const mr__device_health *health = &device->health;
    char when[TIME_SIZE] = "", text[CLI_SHOW_SIZE];
    struct tm at;
    const time_t seconds = (time_t)health->failed_at;
    if (health->why[0] == '\0')
        return;
    if (localtime_r(&seconds, &at) != NULL)
        strftime(when, sizeof when, "%F %T", &at);
    printf("    %s: %s (%s, process %d)\n", health->state == MR__STATE_WELL ? "before" : "why", health->why, when,
           health->failed_pid);
    if (health->state == MR__STATE_FAILED) {
        const uint64_t now = mr__now_ns();
        printf("    the next probe may run %s%s\n", health->probe_ns > now ? "in " : "now",
               health->probe_ns > now ? cli_show_seconds((double)(health->probe_ns - now) / 1e9, text) : "");
    } else if (health->state == MR__STATE_DRAINED) {
        printf("    millrace devices restore %s gives it work again\n", device->info->id);
    }
}

void cli_device_print(const cli_device *device)
{
    const mr__device_info *info = device->info;
    const mr__device_health *health = &device->health;
    char memory[CLI_SHOW_SIZE], tokens[CLI_SHOW_SIZE] = "?", command[COMMAND_SIZE], time_text[CLI_SHOW_SIZE];
    if (device->reachable)
        snprintf(tokens, sizeof tokens, "%u/%u", health->in_use, health->limit);
    printf("%-14s %-8s %-11s %5u %9s %7s %8llu  %s\n", info->id,
           device->reachable ? mr__device_state_name(health->state) : "unknown", mr__device_type_name(info->type),
           info->units, cli_show_bytes(info->global_bytes, memory), tokens, (unsigned long long)health->failures,
           info->name);
    printf("    platform: %s, driver %s\n", info->platform, info->driver);
    if (!device->reachable)
        printf("    %s\n", device->trouble);
    print_trouble(device);
    for (uint32_t i = 0; i < device->holders; i++) {
        const mr__token_holder *holder = &device->holder[i];
        printf("    token %u: process %d (%s)%s, %s\n", holder->number, holder->pid, command_of(holder->pid, command),
               holder->orphan ? " is gone, its device process not yet" : "",
               cli_show_seconds(seconds_since(holder->since_ns), time_text));
    }
    mr__device_speed_each(info->id, print_speed, NULL);
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static void add_speed(void *context, const char *app, const mr__device_speed *speed)
{
    json_t *entry = json_object();
    json_object_set_new(entry, "app", cli_json_text(app));
    json_object_set_new(entry, "bytes_per_s", json_real(speed->bytes_per_s));
    json_object_set_new(entry, "rows_per_s", json_real(speed->rows_per_s));
    json_object_set_new(entry, "overhead_ns", json_real(speed->overhead_ns));
    json_object_set_new(entry, "lanes", json_integer(speed->lanes));
    json_object_set_new(entry, "group", json_integer(speed->group));
    json_object_set_new(entry, "measured_at", json_integer(speed->measured_at));
    json_array_append_new(context, entry);
}

static json_t *tokens_json(const cli_device *device)
{
    char command[COMMAND_SIZE];
    json_t *list = json_array();
    for (uint32_t i = 0; i < device->holders; i++) {
        const mr__token_holder *holder = &device->holder[i];
        json_t *entry = json_object();
        json_object_set_new(entry, "number", json_integer(holder->number));
        json_object_set_new(entry, "pid", json_integer(holder->pid));
        json_object_set_new(entry, "command", cli_json_text(command_of(holder->pid, command)));
        json_object_set_new(entry, "orphan", json_boolean(holder->orphan));
        json_object_set_new(entry, "seconds", json_real(seconds_since(holder->since_ns)));
        json_array_append_new(list, entry);
    }
    return list;
}

static void add_info(json_t *to, const mr__device_info *info)
{
    json_object_set_new(to, "id", cli_json_text(info->id));
    json_object_set_new(to, "name", cli_json_text(info->name));
    json_object_set_new(to, "platform", cli_json_text(info->platform));
    json_object_set_new(to, "vendor", cli_json_text(info->vendor));
    json_object_set_new(to, "version", cli_json_text(info->version));
    json_object_set_new(to, "driver", cli_json_text(info->driver));
    json_object_set_new(to, "type", json_string(mr__device_type_name(info->type)));
    json_object_set_new(to, "bus", cli_json_text(info->bus));
    json_object_set_new(to, "units", json_integer(info->units));
    json_object_set_new(to, "global_bytes", cli_json_count(info->global_bytes));
    json_object_set_new(to, "local_bytes", cli_json_count(info->local_bytes));
    json_object_set_new(to, "max_alloc_bytes", cli_json_count(info->max_alloc_bytes));
    json_object_set_new(to, "unified", json_boolean(info->unified));
    json_object_set_new(to, "f64", json_boolean(info->f64));
    json_object_set_new(to, "int64_atomics", json_boolean(info->int64_atomics));
}

json_t *cli_device_json(const cli_device *device)
{
    const mr__device_health *health = &device->health;
    json_t *object = json_object(), *speeds = json_array();
    add_info(object, device->info);
    if (device->reachable) {
        const bool lost = health->why[0] != '\0';
        json_object_set_new(object, "state", json_string(mr__device_state_name(health->state)));
        json_object_set_new(object, "limit", json_integer(health->limit));
        json_object_set_new(object, "jobs", json_integer(health->jobs));
        json_object_set_new(object, "tokens", tokens_json(device));
        json_object_set_new(object, "failures", cli_json_count(health->failures));
        json_object_set_new(object, "strikes", json_integer(health->strikes));
        json_object_set_new(object, "why", lost ? cli_json_text(health->why) : json_null());
        json_object_set_new(object, "failed_at", lost ? json_integer(health->failed_at) : json_null());
        json_object_set_new(object, "failed_pid", lost ? json_integer(health->failed_pid) : json_null());
    } else {
        json_object_set_new(object, "state", json_string("unknown"));
        json_object_set_new(object, "why", cli_json_text(device->trouble));
    }
    mr__device_speed_each(device->info->id, add_speed, speeds);
    json_object_set_new(object, "speeds", speeds);
    return object;
}
