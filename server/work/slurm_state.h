/* server/work/slurm_state.h: the inside of the executor `slurm` (slurm.h); for slurm*.c only. */
#ifndef RB_SERVER_WORK_SLURM_STATE_H
#define RB_SERVER_WORK_SLURM_STATE_H

#include "server/base/broker.h"
#include "server/work/bundle_dir.h"
#include "server/work/run_state.h"
#include "server/work/slurm_options.h"

enum {
    RB_SLURM_POLL_MS = 5000,   /* between two squeue, at least … */
    RB_SLURM_POLL_FACTOR = 20, /* … and this many times what the last one took */
    RB_SLURM_TICK_MS = 250,
    RB_SLURM_GLANCE_MS = 200,  /* between two looks whether anything has come into a folder … */
    RB_SLURM_SCAN_MANY = 50,   /* … RB_SLURM_POLL_MS from that many units on … */
    RB_SLURM_SCAN_GLANCES = 4, /* … and each that many times all of it is read in any case */
    RB_SLURM_LOOKS = 4,        /* units whose folders are looked into at once */
    RB_SLURM_TURN_MS = 5,      /* of one turn of the loop, for what they have found */
    RB_SLURM_TRIES = 3,        /* further tries of a unit without anything new */
    RB_SLURM_MISSES = 2,       /* answers without a unit until it is gone */
    RB_SLURM_POINTS_AT_ONCE = RB_RUN_POINTS_AT_ONCE, /* taken by one look */
    RB_SLURM_NAME_SIZE = 128,
    RB_SLURM_REASON_SIZE = 96
};

/* A command on its way to the broker; the answer is borrowed. whole: the broker is there. */
struct rb_slurm_request {
    struct rb_slurm_request *next;
    enum rb_broker_kind kind;
    uint32_t id;
    uint64_t asked_ns;
    size_t bytes;
    unsigned char *text; /* owned */
    void (*answered)(void *data, uint32_t status, char *output, const char *words);
    void *data; /* NULL: nobody waits any more */
};

/* What the queue says of one submission. */
struct rb_slurm_standing {
    uint32_t pending, running;
    char reason[RB_SLURM_REASON_SIZE]; /* why it waits */
    const char *ended; /* in words, of a task that did not end well; static; NULL: none */
};

enum rb_slurm_step {
    RB_SLURM_FIND,
    RB_SLURM_MAKE,
    RB_SLURM_SUBMIT,
    RB_SLURM_WATCH,
    RB_SLURM_ACCOUNT /* it is gone: sacct is asked why */
};

/* One unit of a run, over all its attempts. */
struct rb_slurm_unit {
    struct rb_slurm *slurm;
    struct rb_slurm_unit *next;
    struct rb_run *run;
    enum rb_unit kind;
    enum rb_slurm_step step;
    struct rb_bundle bundle; /* of the present attempt */
    char name[RB_SLURM_NAME_SIZE];
    char folder[RB_PATH_SIZE];   /* below shared_dir */
    char previous[RB_PATH_SIZE]; /* of the attempt before; "": none */
    struct rb_async async;
    struct rb_slurm_unit *behind; /* in the line of in_line */
    bool busy, leaving;           /* a pool job is under way; the stage is to end with it */
    bool in_line; /* it is to look into its folder, or has and is to be gone through */
    bool submit_failed, told_waiting;
    bool listed;          /* by the last good answer */
    uint32_t since;       /* only answers to later questions say that it is not there */
    unsigned misses;      /* good answers without it since it was submitted */
    unsigned scan_misses; /* as the present scan began */
    bool progressed;      /* something new in this attempt */
    double shown;         /* fraction, as last heard of */
    struct rb_slurm_standing standing;
    const char *ended; /* the last words of the queue about a task of this attempt; as standing's */
    uint64_t submitted_ns, glanced_ns, patience_ns;
    unsigned glances; /* since all was read */
    bool ran;

    /* pool: what it was asked, and what it found; the loop reads them when it is not busy */
    bool *wanted; /* (RB_CURVE_COUNT * RB_POINTS_MAX) points still unknown */
    struct rb_product_point points[RB_SLURM_POINTS_AT_ONCE];
    struct rb_seal seals[RB_SLURM_POINTS_AT_ONCE];
    size_t point_count;
    int64_t seen_ns; /* the folder's time of change when all was read; 0: never */
    bool glance;     /* all is only read if something has come since seen_ns */
    bool unchanged;  /* nothing has come: nothing was read */
    bool full;       /* the shared folder has no room */
    bool more;       /* there are further points */
    bool found;      /* find: a bundle of an earlier process */
    bool done_well;  /* every task says so */
    bool all_ended;  /* every task says how */
    bool job_failed, has_outcome;
    struct rb_outcome outcome;         /* of the first task that did not end well */
    char warning[RB_JOB_WARNING_SIZE]; /* of a task, until it is told; "": none */
    bool warned;
    struct rb_artifact artifacts[RB_MERGED_MAX + 4];
    size_t artifact_count;
    struct rb_alignment *alignment;
    struct rb_seal seal;
    double fraction;
    enum rb_phase phase;
    enum rb_status status;
    struct rb_error error;
};

/* A run that ends: nothing of it may stay in the queue. */
struct rb_slurm_ending {
    struct rb_slurm_ending *next;
    struct rb_slurm *slurm;
    struct rb_run *run;
    void (*then)(struct rb_run *run, bool whole);
    uint32_t generation; /* only answers to later questions count */
    bool removing, over;
    struct rb_async async;
    char job[RB_JOB_ID_SIZE];
};

/* Units, first come first served. */
struct rb_slurm_units {
    struct rb_slurm_unit *first, **end;
};

struct rb_slurm {
    struct rb_work *work;
    struct rb_slurm_options options;
    uv_poll_t socket;
    uv_timer_t tick;
    uv_idle_t turn;                   /* while units are back */
    struct rb_slurm_units wait, back; /* to look; have looked, and are to be gone through */
    unsigned looks;                   /* under way, or back */
    void (*looked)(struct rb_slurm_unit *u);
    unsigned closing;
    bool open, dead, writing;
    struct rb_slurm_request *requests; /* the first is with the broker once it is written */
    size_t written;
    uint32_t next_id, generation; /* of squeue questions */
    struct rb_broker_reply_head head;
    size_t read; /* of head and body */
    char *body;
    uint64_t poll_due_ns, poll_least_ns, requests_begun_ns;
    bool polling, told_away;
    struct rb_async reading; /* pool: the last answer, of which it makes entries */
    char *answer;
    struct rb_slurm_entry *entries;
    size_t entry_count;
    struct rb_slurm_unit *units;
    struct rb_slurm_ending *endings;
    unsigned unit_count;
    uint32_t last_attempt;
    unsigned notes_left;  /* that may still be written in this turn: each is a commit */
    struct rb_async tidy; /* inputs that nobody needs any more */
    bool tidying, tidied;
};

#endif
