/* joint.h: one job that many ranks do together, and finish although some of them are lost.
 * Promise   Every pair of every unit of the input is in the result once, whoever is lost and whenever, as long as one
 *           rank lives. All ranks that live end the job with the same status; a result becomes visible once.
 * Owner     The job.
 * Threads   open, prepare, run, close: the job's own. wants_work, has_drained, fail, mapped: any. The events: the
 *           courier's thread (ranks.h).
 * Failure   The status and the sentence of the rank that failed, on all of them. MR_NETWORK_FAILED: this rank was taken
 *           for lost, or ranks do not do the same job. */
#ifndef MR__JOINT_H
#define MR__JOINT_H

#include <millrace/job.h>

#include "check.h"
#include "outbox.h"
#include "ranks.h"

struct mr__job;
struct mr__record;

/* Kinds of messages: 0 .. 2 are those of members.h, 3 .. 6 of mail.h. */
enum mr__joint_kind {
    MR__SAY_ASK = 7,        /* to the coordinator: give me work */
    MR__SAY_GIVE,           /* a work, or none for now */
    MR__SAY_IDLE,           /* to the coordinator: all I was given is where it belongs */
    MR__SAY_REDUCE,         /* everything is where it belongs */
    MR__SAY_DONE,           /* to the coordinator: what I reduced */
    MR__SAY_COMMITTED,
    MR__SAY_FAILED,
    MR__SAY_TABLE,          /* to the coordinator: what dense sums there are of a round, and these */
    MR__SAY_FOLDED,         /* the sums of all */
    MR__SAY_MAPPED,         /* to the coordinator: how far I am */
    MR__SAY_WAITS,          /* to the coordinator: somebody was lost, and I am in this job */
    MR__SAY_TOLD,           /* to the coordinator: what I did, for the record */
    MR__SAY_TURN,           /* from the coordinator: send these sums now */
    MR__OWN_ENTER = MR__KIND_OWN,
    MR__OWN_APPLIED,        /* a plan was applied */
    MR__OWN_PASS,           /* the map stage begins */
    MR__OWN_STANDS,         /* ... and this rank, a spare, is not in it */
    MR__OWN_WANTS,          /* its input runs low */
    MR__OWN_DRAINED,
    MR__OWN_CLEAR,          /* the outbox is */
    MR__OWN_ENDED,          /* the stages of a pass are over */
    MR__OWN_COMMITTED
};

/* How a job ended on a rank, as a message to those who do not know. */
typedef struct mr__last_words {
    uint32_t kind, size;        /* MR__SAY_COMMITTED or MR__SAY_FAILED */
    uint8_t bytes[sizeof(uint32_t) + sizeof(((mr__error *)0)->text)];
} mr__last_words;

/* After the plan and before anything is made of it: the ranks agree that they do the same job, on its partitions and
 * parts, and on its output. Waits for all of them. */
mr_status mr__joint_open(struct mr__job *job, mr__error *error);
/* The partitions and the output are there now. */
mr_status mr__joint_prepare(struct mr__job *job, mr__error *error);
/* Map, reduce and commit. */
mr_status mr__joint_run(struct mr__job *job, mr__error *error);
/* status, error: how the job ended here; the others are told. Takes NULL. */
void mr__joint_close(mr__joint *joint, mr_status status, const mr__error *error);
/* After the reduce task of a partition whose results are to be sorted: they go where whoever sorts finds them. */
mr_status mr__joint_keep_run(struct mr__job *job, uint32_t partition, mr__error *error);

mr__outbox *mr__joint_outbox(mr__joint *joint);
/* Also with the schedule's lock held: a failure is for the caller to deal with. */
mr_status mr__joint_wants_work(mr__joint *joint, mr__error *error);
mr_status mr__joint_has_drained(mr__joint *joint, mr__error *error);
/* How long the commit took; 0 on ranks that did not commit. */
double mr__joint_commit_seconds(const mr__joint *joint);
/* Units of this round's input that all ranks together have mapped, as far as this one knows. */
uint64_t mr__joint_mapped(mr__joint *joint);
/* Rows of the last round, of all ranks together. */
uint64_t mr__joint_rows(const mr__joint *joint);
/* What all ranks together did, and how many were lost. */
void mr__joint_fill_stats(mr__joint *joint, mr_stats *stats);
/* What each rank did, and who was lost when; record->stats is filled. On the job's own thread, after run. Lent until
 * close. Who committed waits a moment for what the others tell. Without memory the record says nothing of ranks. */
void mr__joint_fill_record(mr__joint *joint, struct mr__record *record);

/* ranks.c */
void mr__joint_message(mr__joint *joint, uint32_t from, uint32_t kind, const void *bytes, size_t size);
void mr__joint_lost(mr__joint *joint, uint32_t rank, const char *why);
void mr__joint_expelled(mr__joint *joint, const char *why);
void mr__joint_tick(mr__joint *joint);
/* heard: from another rank, so all know; or nobody can be told. */
void mr__joint_fail(mr__joint *joint, mr_status status, const mr__error *error, bool heard);
/* tag: of the job. A rank that cannot be told would wait for ever: without memory for it, it is taken for lost. */
void mr__say_last_words(mr__courier *courier, uint32_t to, uint32_t tag, const mr__last_words *words);
/* The words of a rank that failed, with its rank and host. */
void mr__joint_name_failure(uint32_t rank, mr_status status, const char *sentence, mr__last_words *words);
/* Does whoever sent this wait for what only those in the job can tell? */
bool mr__joint_is_question(uint32_t kind);
/* J2.. of joint.c, and those of what belongs to it; MR_INTERNAL with the one that is broken. Between two events. */
mr_status mr__joint_check(mr__joint *joint, mr__error *error);

#endif
