/* longest.c: a program that runs an app itself and walks through the result: prints the length of the longest word.
 *
 *     longest FILE...
 */
#include <inttypes.h>
#include <stdio.h>

#include <millrace/millrace.h>

MR_API extern const mr_app_handle mr_app_wordlength;    /* wordlength.c is linked in */

int main(int argc, char **argv)
{
    mr_session *session = NULL;
    mr_dataset *text = NULL;
    mr_result *lengths = NULL;
    mr_status status = mr_session_open(NULL, &session);
    if (status == MR_OK)
        status = mr_dataset_open(session, (const char *const *)argv + 1, (size_t)argc - 1, &text);
    if (status == MR_OK)
        status = mr_run(session, &(mr_job){.app = &mr_app_wordlength, .dataset = text}, &lengths);
    if (status == MR_OK) {
        uint64_t longest = 0;
        for (mr_slice key, value; mr_result_next(lengths, &key, &value);)
            memcpy(&longest, key.data, sizeof longest);         /* ascending: the last is the longest */
        printf("%" PRIu64 "\n", longest);
    } else {
        fprintf(stderr, "longest: %s\n", mr_error(session));
    }
    mr_result_close(lengths);
    mr_dataset_close(text);
    mr_session_close(session);
    return mr_status_exit(status);
}
