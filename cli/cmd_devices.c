/* cmd_devices.c: millrace devices: which OpenCL devices there are and how they are; and the hand on the switch: drain,
 * restore, limit, test. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "device_ask.h"
#include "device_find.h"
#include "devices_show.h"
#include "parse.h"
#include "show.h"
#include "token.h"

typedef struct settings {
    bool json, fresh;
    uint64_t stress;
} settings;

enum { REASON_SIZE = MR__DEVICE_WHY, TEST_SECONDS = 120, SECONDS_SIZE = 24 };

/* ---- list -------------------------------------------------------------------------------------------------------- */

static json_t *notes_json(const char *note)
{
    json_t *list = json_array();
    while (*note != '\0') {
        const size_t size = strcspn(note, "\n");
        char line[MR__DEVICE_NOTES];
        snprintf(line, sizeof line, "%.*s", (int)size, note);
        json_array_append_new(list, cli_json_text(line));
        note += size + (note[size] == '\n');
    }
    return list;
}

static void print_json(const mr__device_list *list)
{
    cli_device device;
    json_t *root = json_object(), *all = json_array();
    for (uint32_t i = 0; i < list->count; i++) {
        cli_device_collect(&list->device[i], &device);
        json_array_append_new(all, cli_device_json(&device));
    }
    json_object_set_new(root, "devices", all);
    json_object_set_new(root, "notes", notes_json(list->note));
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
}

static void print_table(const mr__device_list *list)
{
    cli_device device;
    if (list->count > 0)
        cli_device_print_heading();
    for (uint32_t i = 0; i < list->count; i++) {
        cli_device_collect(&list->device[i], &device);
        cli_device_print(&device);
    }
    for (const char *note = list->note; *note != '\0'; note += note[0] == '\n') {
        const size_t size = strcspn(note, "\n");
        printf("%.*s\n", (int)size, note);
        note += size;
    }
}

/* ---- by hand ----------------------------------------------------------------------------------------------------- */

/* The device called so, or a sentence with those that there are. */
static mr_status open_named(const mr__device_list *list, const char *id, mr__token_pool **pool, mr__error *error)
{
    char names[512] = "";
    size_t used = 0;
    const mr__device_info *device = mr__device_by_id(list, id);
    if (device != NULL)
        return mr__token_pool_open(id, device->bus, pool, error);
    for (uint32_t i = 0; i < list->count && used + MR__DEVICE_ID + 8 < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", list->device[i].id);
    if (used == 0)
        return mr__fail(error, MR_BAD_USAGE, "there is no device '%.40s': %s", id, list->note);
    return mr__fail(error, MR_BAD_USAGE, "there is no device '%.40s'\n  hint: there %s %s", id,
                    list->count == 1 ? "is" : "are", names);
}

static mr_status drain(const mr__device_list *list, const cli_operands *words, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_pool *pool = NULL;
    char reason[REASON_SIZE] = "";
    MR_CHECK(words->count >= 2, MR_BAD_USAGE, "name the device to drain\n  hint: millrace devices lists them");
    for (size_t i = 2; i < words->count; i++) {
        const size_t used = strlen(reason);
        snprintf(reason + used, sizeof reason - used, "%s%s", i > 2 ? " " : "", words->text[i]);
    }
    MR_TRY(open_named(list, words->text[1], &pool, error));
    MR_TRY(mr__device_drain(pool, reason, error));
    printf("%s gets no new tasks from any job of yours on this machine\n", words->text[1]);
done:
    mr__token_pool_close(pool);
    return status;
}

static mr_status restore(const mr__device_list *list, const cli_operands *words, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_pool *pool = NULL;
    MR_CHECK(words->count == 2, MR_BAD_USAGE, "name the one device to restore\n  hint: millrace devices lists them");
    MR_TRY(open_named(list, words->text[1], &pool, error));
    MR_TRY(mr__device_restore(pool, error));
    printf("%s gets tasks again\n", words->text[1]);
done:
    mr__token_pool_close(pool);
    return status;
}

static mr_status limit(const mr__device_list *list, const cli_operands *words, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_pool *pool = NULL;
    uint64_t count = 0;
    MR_CHECK(words->count == 3, MR_BAD_USAGE, "a device and a number of tokens are needed\n"
                                              "  hint: millrace devices limit pocl-0 2");
    MR_CHECK(mr__parse_u64(words->text[2], &count) == MR__PARSED && count <= UINT32_MAX, MR_BAD_USAGE,
             "the number of tokens cannot be '%.60s'\n  hint: 1 .. %d", words->text[2], MR__TOKENS_MOST);
    MR_TRY(open_named(list, words->text[1], &pool, error));
    MR_TRY(mr__token_limit(pool, (uint32_t)count, error));
    printf("%s has %u token%s\n", words->text[1], (uint32_t)count, count == 1 ? "" : "s");
done:
    mr__token_pool_close(pool);
    return status;
}

/* ---- test -------------------------------------------------------------------------------------------------------- */

/* What millrace-device --test printed; a program that died printed nothing of worth. Always an object. */
static json_t *test_result(const char *id, const mr__device_reply *answer)
{
    json_t *result = json_loadb(answer->text, answer->size, 0, NULL);
    const json_t *passed = json_object_get(result, "passed");
    const bool ended = answer->exit == 0 || answer->exit == mr_status_exit(MR_DEVICE_LOST);
    if (ended && json_is_boolean(passed) && (answer->exit == 0 || json_is_false(passed)))
        return result;
    json_decref(result);
    result = json_object();
    json_object_set_new(result, "id", cli_json_text(id));
    json_object_set_new(result, "passed", json_false());
    json_object_set_new(result, "why", cli_json_text(answer->why[0] != '\0' ? answer->why : "it gave no result"));
    return result;
}

static void print_result(const char *id, const json_t *result)
{
    char seconds[CLI_SHOW_SIZE];
    const char *why = json_string_value(json_object_get(result, "why"));
    const size_t kernels = json_array_size(json_object_get(result, "kernels"));
    const double took = json_number_value(json_object_get(result, "seconds"));
    const json_int_t runs = json_integer_value(json_object_get(result, "runs"));
    if (json_is_true(json_object_get(result, "passed")))
        printf("%s: passed: %zu kernels with known answers, %lld run%s in %s\n", id, kernels, (long long)runs,
               runs == 1 ? "" : "s", cli_show_seconds(took >= 0 && took < 1e9 ? took : 0, seconds));
    else
        printf("%s: FAILED: %s\n", id, why != NULL && why[0] != '\0' ? why : "no reason was given");
}

static mr_status test_one(const char *program, const char *id, const settings *chosen, json_t *results, bool *passed,
                          mr__error *error)
{
    mr_status status = MR_OK;
    mr__device_reply answer = {.size = 0};
    char seconds[SECONDS_SIZE];
    snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)chosen->stress);
    const char *const arguments[] = {"--test", id, chosen->stress > 0 ? "--stress" : NULL, seconds, NULL};
    MR_TRY(mr__device_ask(program, arguments, TEST_SECONDS + (uint32_t)chosen->stress, &answer, error));
    json_t *result = test_result(id, &answer);
    *passed = json_is_true(json_object_get(result, "passed"));
    if (!chosen->json)
        print_result(id, result);
    json_array_append_new(results, result);
done:
    mr__device_reply_free(&answer);
    return status;
}

static mr_status test(const mr__device_list *list, const cli_operands *words, const settings *chosen, mr__error *error)
{
    mr_status status = MR_OK;
    mr__token_pool *pool = NULL;
    json_t *results = json_array();
    char program[MR__PATH_MAX];
    uint32_t failed = 0;
    MR_CHECK(words->count <= 2, MR_BAD_USAGE, "test takes one device at most\n  hint: without one it tests them all");
    if (words->count == 2)
        MR_TRY(open_named(list, words->text[1], &pool, error));
    MR_CHECK(list->count > 0, MR_DEVICE_LOST, "there is no device to test: %s", list->note);
    MR_TRY(mr__device_program(program, error));
    for (uint32_t i = 0; i < list->count; i++) {
        bool passed = true;
        if (words->count == 1 || strcmp(list->device[i].id, words->text[1]) == 0)
            MR_TRY(test_one(program, list->device[i].id, chosen, results, &passed, error));
        failed += !passed;
    }
    if (chosen->json) {
        json_dumpf(results, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    MR_CHECK(failed == 0, MR_DEVICE_LOST,
             "%u device%s failed the test\n  hint: millrace devices drain ID keeps jobs away", failed,
             failed == 1 ? "" : "s");
done:
    json_decref(results);
    mr__token_pool_close(pool);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static mr_status run(const void *given, const cli_operands *operands, mr__error *error)
{
    mr_status status = MR_OK;
    const settings *chosen = given;
    const char *action = operands->count > 0 ? operands->text[0] : "list";
    mr__device_list list = {.count = 0};
    MR_CHECK(chosen->stress == 0 || strcmp(action, "test") == 0, MR_BAD_USAGE, "--stress goes with test");
    MR_TRY(mr__device_find(chosen->fresh, &list, error));
    if (strcmp(action, "drain") == 0)
        status = drain(&list, operands, error);
    else if (strcmp(action, "restore") == 0)
        status = restore(&list, operands, error);
    else if (strcmp(action, "limit") == 0)
        status = limit(&list, operands, error);
    else if (strcmp(action, "test") == 0)
        status = test(&list, operands, chosen, error);
    else if (operands->count > 1 || strcmp(action, "list") != 0)
        status = mr__fail(error, MR_BAD_USAGE, "millrace devices cannot '%.40s'\n"
                                               "  hint: list, drain, restore, limit or test", action);
    else if (chosen->json)
        print_json(&list);
    else
        print_table(&list);
done:
    mr__device_list_free(&list);
    return status;
}

static const cli_option options[] = {
    {"json", 'j', CLI_SWITCH, offsetof(settings, json), NULL, "the list, or the results of test, as JSON", 0, 0},
    {"fresh", 'f', CLI_SWITCH, offsetof(settings, fresh), NULL, "ask the drivers again, not the cache", 0, 0},
    {"stress", 's', CLI_COUNT, offsetof(settings, stress), "SECONDS", "test for so long", 0, 86400},
};

const cli_command cli_devices = {
    .name = "devices", .summary = "List the OpenCL devices; drain, restore, limit or test one",
    .usage = "[list | drain ID [REASON] | restore ID | limit ID N | test [ID]] [--json]",
    .details = "drain    no job of this user gets a token of the device until it is restored; what is in flight ends\n"
               "restore  gives it work again, also after it failed three times\n"
               "limit    N tasks in flight at most, over all jobs (preset: 4)\n"
               "test     runs kernels with known answers on one device, or on all; exit status 5 when one is wrong\n"
               "\n"
               "Failures, tokens and who holds them are those of this user on this machine since it started.",
    .options = options, .option_count = MR__COUNT(options), .settings_size = sizeof(settings), .run = run,
};
