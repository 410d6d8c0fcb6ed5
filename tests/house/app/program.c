/* program.c: runs the app `lengths` on the files of its command line and prints the counts. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <millrace/millrace.h>

extern const mr_app_handle mr_app_lengths;

static int report(mr_session *session, mr_status status)
{
    if (status != MR_OK)
        fprintf(stderr, "%s: %s\n", mr_status_name(status), mr_error(session));
    return mr_status_exit(status);
}

int main(int argc, char **argv)
{
    mr_session *session;
    mr_dataset *text = NULL;
    mr_result *lengths = NULL;
    mr_slice key, value;
    mr_status status = mr_session_open(NULL, &session);
    if (status != MR_OK)
        return report(NULL, status);
    status = mr_dataset_open(session, (const char *const *)argv + 1, (size_t)argc - 1, &text);
    if (status == MR_OK)
        status = mr_run(session, &(mr_job){.app = &mr_app_lengths, .dataset = text}, &lengths);
    while (status == MR_OK && mr_result_next(lengths, &key, &value)) {
        uint32_t length;
        uint64_t count;
        memcpy(&length, key.data, sizeof length);
        memcpy(&count, value.data, sizeof count);
        printf("%" PRIu32 "\t%" PRIu64 "\n", length, count);
    }
    const int exit_status = report(session, status);
    mr_result_close(lengths);
    mr_dataset_close(text);
    mr_session_close(session);
    return exit_status;
}
