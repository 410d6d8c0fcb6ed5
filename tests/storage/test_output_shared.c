/* One output that many ranks write: who may commit, what is refused, and every call that fails. Oracle: shared_ranks.h.
 * What happens when ranks meet in the middle of a commit is in test_output_takeover.c and test_output_crowd.c. */
#include "shared_ranks.h"

enum { MANY = 5 };

static void any_rank_may_commit_what_many_wrote(void **state)
{
    for (uint32_t committer = 0; committer < MANY; committer++) {
        mr__output *ranks[MANY];
        bool before = true;
        const bool force = committer % 2 == 1;
        if (force)
            make_old();
        open_ranks(ranks, MANY, force);
        for (uint32_t r = 0; r < MANY; r++) {
            assert_false(mr__output_is_committed(ranks[r]));
            assert_int_equal(mr__output_check(ranks[r], NULL), MR_OK);
        }
        assert_int_equal(find(), force ? OLD : NOTHING);
        assert_int_equal(commit(ranks[committer], committer, MANY, &before, NULL), MR_OK);
        assert_false(before);
        assert_int_equal(assert_whole(MANY), committer);
        assert_int_equal(names_beside(), 0);            /* the others are still in it, and content */
        for (uint32_t r = 0; r < MANY; r++) {
            assert_true(mr__output_is_committed(ranks[r]));
            assert_int_equal(commit(ranks[r], r, MANY, &before, NULL), MR_OK);
            assert_true(before);
        }
        close_ranks(ranks, MANY);
        assert_int_equal(assert_whole(MANY), committer);
        remove_target();
    }
}

static void without_commit_the_last_to_leave_cleans_up(void **state)
{
    mr__output *ranks[MANY];
    open_ranks(ranks, MANY, false);
    for (uint32_t r = 0; r < MANY; r++) {
        assert_int_equal(names_beside(), 1);
        mr__output_close(ranks[r]);
    }
    assert_int_equal(names_beside(), 0);
    assert_int_equal(find(), NOTHING);
}

static void a_part_may_be_aborted_and_written_again(void **state)
{
    mr__output *ranks[2];
    mr__part *part = NULL;
    mr__error error = {.code = MR_OK};
    bool before;
    open_ranks(ranks, 2, false);
    const mr__attempt list[] = {{0, 0}, {1, 1}, {2, 1}};
    assert_int_equal(mr__output_part(ranks[1], 2, &part, NULL), MR_OK);
    assert_int_equal(mr__part_write(part, "half", 4, NULL), MR_OK);
    assert_int_equal(mr__output_commit_shared(ranks[0], list, 3, &before, &error), MR_IO_FAILED);   /* not closed yet */
    assert_non_null(strstr(error.text, "part 2, as rank 1 wrote it"));
    mr__part_abort(part);
    write_part(ranks[1], 2, 1);
    assert_int_equal(mr__output_check(ranks[1], NULL), MR_OK);
    assert_int_equal(mr__output_commit_shared(ranks[0], list, 3, &before, NULL), MR_OK);
    assert_false(before);
    assert_int_equal(scratch_run("test \"$(cat '%s/out/part-00002')\" = 'part 2 by rank 1' && rm '%s/out/part-00002'",
                                 scratch_path, scratch_path),
                     0);
    assert_true(mr__output_part(ranks[1], 1, &part, &error) != MR_OK);       /* it is committed, there is no place */
    close_ranks(ranks, 2);
    remove_target();
}

/* A rank that the others could not reach any more goes on writing. */
static void who_comes_after_the_commit_is_told_why(void **state)
{
    mr__output *ranks[2];
    mr__part *late = NULL, *later = NULL;
    mr__error error = {.code = MR_OK};
    bool before;
    open_ranks(ranks, 2, false);
    assert_int_equal(mr__output_part(ranks[1], 2, &late, NULL), MR_OK);
    assert_int_equal(commit(ranks[0], 0, 2, &before, NULL), MR_OK);
    assert_int_equal(mr__part_close(late, NULL, &error), MR_NETWORK_FAILED);
    assert_non_null(strstr(error.text, "could not keep part 2 of output /shared/out: the folder of the parts is gone"));
    mr__error_clear(&error);
    assert_int_equal(mr__output_part(ranks[1], 1, &later, &error), MR_NETWORK_FAILED);
    assert_null(later);
    assert_non_null(strstr(error.text, "have ended the job without this one"));
    mr__error_clear(&error);
    close_ranks(ranks, 2);
    assert_int_equal(assert_whole(2), 0);
    remove_target();
}

static void what_cannot_be_shared_gets_a_sentence(void **state)
{
    mr__output *output = NULL;
    mr__tier *memory = NULL;
    mr__namespace *private = NULL;
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__tier_memory_create(0, &memory, NULL), MR_OK);
    assert_int_equal(mr__namespace_create(&private, NULL), MR_OK);
    assert_int_equal(mr__namespace_mount(private, "/memory", memory, NULL), MR_OK);
    assert_int_equal(mr__output_open_shared(private, "/memory/out", false, 0, &output, &error), MR_BAD_USAGE);
    assert_non_null(strstr(error.text, "only one process sees"));
    mr__error_clear(&error);
    assert_int_equal(mr__output_join(private, "/memory/out", false, "x", 1, &output, &error), MR_BAD_USAGE);
    mr__error_clear(&error);
    mr__namespace_destroy(private);
    mr__tier_destroy(memory);
    assert_int_equal(mr__output_join(names, TARGET, false, ".out.millrace-1-0123456789abcdef", 1, &output, &error),
                     MR_BAD_INPUT);
    assert_non_null(strstr(error.text, "rank 1 does not see .out.millrace-1-0123456789abcdef of output /shared/out"));
    assert_non_null(strstr(error.text, "file system that all ranks share"));
    mr__error_clear(&error);
    make_old();
    assert_int_equal(mr__output_open_shared(names, TARGET, false, 0, &output, &error), MR_EXISTS);
    assert_null(output);
    remove_target();
    assert_int_equal(names_beside(), 0);
}

static void an_output_that_somebody_else_made_is_refused_at_every_rank(void **state)
{
    mr__output *ranks[2];
    open_ranks(ranks, 2, false);
    make_old();
    for (uint32_t r = 0; r < 2; r++) {
        mr__error error = {.code = MR_OK};
        bool before = r;
        assert_int_equal(commit(ranks[r], r, 2, &before, &error), MR_EXISTS);
        assert_int_equal(before, r);
        assert_non_null(strstr(error.text, TARGET));
        assert_false(mr__output_is_committed(ranks[r]));
    }
    close_ranks(ranks, 2);
    assert_int_equal(find(), OLD);
    remove_target();
}

static void a_place_removed_by_hand_is_not_taken_for_a_commit(void **state)
{
    for (int force = 0; force < 2; force++) {
        mr__output *ranks[2];
        mr__error error = {.code = MR_OK};
        bool before;
        if (force)
            make_old();
        open_ranks(ranks, 2, force);
        assert_int_equal(scratch_run("rm -r '%s/%s'", scratch_path, mr__output_place(ranks[0])), 0);
        assert_int_equal(commit(ranks[1], 1, 2, &before, &error), MR_IO_FAILED);
        assert_non_null(strstr(error.text, "vanished"));
        close_ranks(ranks, 2);
        assert_int_equal(find(), force ? OLD : NOTHING);
        remove_target();
    }
}

/* ---- a disk that is full when a file is closed ------------------------------------------------------------------- */

static uint32_t full_at, closes;        /* of files that were written */
static bool written[1024];              /* by descriptor */

static int create_noted(mr__tier *self, const char *path, mr__file *file)
{
    const int created = hooked_create(self, path, file);
    if (created == 0) {
        assert_in_range(file->fd, 0, MR__COUNT(written) - 1);
        written[file->fd] = true;
    }
    return created;
}

/* As NFS does it: every write went well. */
static int close_full(mr__file *file)
{
    const bool counts = written[file->fd];
    written[file->fd] = false;
    const int closed = real->close(file);
    closes += counts;
    return counts && closes == full_at ? -ENOSPC : closed;
}

static void what_is_lost_when_a_file_is_closed_is_in_no_result(void **state)
{
    const mr__tier_ops *before = tier->ops;
    mr__tier_ops full = *before;
    full.create = create_noted;
    full.close = close_full;
    tier->ops = &full;
    for (int shared = 0; shared < 2; shared++) {
        mr_status status = MR_NO_SPACE;
        for (uint32_t at = 1; status != MR_OK; at++) {
            mr__error error = {.code = MR_OK};
            mr__output *output = NULL;
            mr__part *part = NULL;
            bool earlier;
            full_at = at;
            closes = 0;
            status = shared ? mr__output_open_shared(names, TARGET, false, 0, &output, &error)
                            : mr__output_open(names, TARGET, false, &output, &error);
            if (status == MR_OK) {
                assert_int_equal(mr__output_part(output, 0, &part, NULL), MR_OK);
                assert_int_equal(mr__part_write(part, "words\n", 6, NULL), MR_OK);
                status = mr__part_close(part, NULL, &error);
                if (status == MR_OK)
                    status = shared ? mr__output_commit_shared(output, &(mr__attempt){0, 0}, 1, &earlier, &error)
                                    : mr__output_commit(output, &error);
                assert_int_equal(find(), status == MR_OK ? NEW : NOTHING);
            }
            if (status != MR_OK) {
                assert_int_equal(status, MR_NO_SPACE);
                assert_non_null(strstr(error.text, TARGET));
                assert_non_null(strstr(error.text, "No space left"));
            }
            mr__output_close(output);
            assert_int_equal(names_beside(), 0);
            assert_int_equal(status == MR_OK, at > closes);
            assert_true(closes >= 1);
            if (status == MR_OK)
                assert_true(closes >= 2);                   /* the part, _SUCCESS */
        }
        remove_target();
    }
    tier->ops = before;
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static bool swept_force;

/* Two ranks write, the second one commits; after a failure the first one does. */
static mr_status attempt(mr__error *error)
{
    mr_status status = MR_OK;
    mr__output *ranks[2] = {NULL};
    mr__part *part = NULL;
    mr__attempt list[PARTS];
    bool before;
    setenv("MILLRACE_SYNC", "1", 1);
    if (swept_force)
        make_old();
    MR_TRY(mr__output_open_shared(names, TARGET, swept_force, 0, &ranks[0], error));
    MR_TRY(mr__output_join(names, TARGET, swept_force, mr__output_place(ranks[0]), 1, &ranks[1], error));
    for (uint32_t p = 0; p < PARTS; p++) {
        char text[64];
        const int size = snprintf(text, sizeof text, "part %u by rank %u\n", p, p);
        MR_TRY(mr__output_part(ranks[p], p, &part, error));
        status = mr__part_write(part, text, (size_t)size, error);
        if (status == MR_OK)
            status = mr__part_close(part, NULL, error);
        else
            mr__part_abort(part);
        MR_TRY(status);
    }
    status = mr__output_commit_shared(ranks[1], winners_of(0, 2, list), PARTS, &before, error);
    mr__fault_disarm();
    if (status == MR_OK) {
        assert_int_equal(assert_whole(2), 0);
    } else {
        assert_int_equal(find(), swept_force ? OLD : NOTHING);
        assert_int_equal(mr__output_check(ranks[0], NULL), MR_OK);
        assert_int_equal(mr__output_commit_shared(ranks[0], winners_of(0, 2, list), PARTS, &before, NULL), MR_OK);
        assert_false(before);
        assert_int_equal(assert_whole(2), 0);
        remove_target();
        if (swept_force)
            make_old();
    }
done:
    mr__fault_disarm();
    unsetenv("MILLRACE_SYNC");
    mr__output_close(ranks[0]);
    mr__output_close(ranks[1]);
    if (status != MR_OK)
        assert_int_equal(find(), swept_force ? OLD : NOTHING);
    remove_target();
    mr__output *next = NULL;                    /* cleans up what could not be removed after the failure */
    assert_int_equal(mr__output_open(names, TARGET, false, &next, NULL), MR_OK);
    mr__output_close(next);
    assert_int_equal(names_beside(), 0);
    return status;
}

/* The sweep for leftovers, a ring, the fsync of the parent after the rename, and cleaning up may fail. */
static bool the_result_is_whole(enum mr__fault_point point)
{
    return point != MR__FAULT_WRITE && point != MR__FAULT_MKDIR && point != MR__FAULT_READ;
}

static void every_call_that_fails_leaves_what_was_and_can_be_done_again(void **state)
{
    for (ability = EXCHANGES; ability <= CANNOT_EXCHANGE; ability++)
        for (int force = 0; force < 2; force++) {
            swept_force = force;
            scratch_sweep(attempt, the_result_is_whole);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(any_rank_may_commit_what_many_wrote, start_afresh),
        cmocka_unit_test_setup(without_commit_the_last_to_leave_cleans_up, start_afresh),
        cmocka_unit_test_setup(a_part_may_be_aborted_and_written_again, start_afresh),
        cmocka_unit_test_setup(who_comes_after_the_commit_is_told_why, start_afresh),
        cmocka_unit_test_setup(what_cannot_be_shared_gets_a_sentence, start_afresh),
        cmocka_unit_test_setup(an_output_that_somebody_else_made_is_refused_at_every_rank, start_afresh),
        cmocka_unit_test_setup(a_place_removed_by_hand_is_not_taken_for_a_commit, start_afresh),
        cmocka_unit_test_setup(what_is_lost_when_a_file_is_closed_is_in_no_result, start_afresh),
        cmocka_unit_test_setup(every_call_that_fails_leaves_what_was_and_can_be_done_again, start_afresh),
    };
    cmocka_set_test_filter(getenv("MR_TEST"));
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
