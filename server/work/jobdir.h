/* server/work/jobdir.h: where things lie in the data folder. */
#ifndef RB_SERVER_WORK_JOBDIR_H
#define RB_SERVER_WORK_JOBDIR_H

#include "api/names.h"
#include "server/work/subject.h"
#include "server/work/work.h"

#define RB_ALIGNMENT_FILE "alignment.safetensors"

enum { RB_JOB_PATH_SIZE = 160 };

/* "jobs/<id>/<file>" below the data folder; file NULL: the folder. Returns buffer. */
char *rb_job_path(const char *id, const char *file, char buffer[RB_JOB_PATH_SIZE]);
/* The absolute path of something below the data folder: new, free(); NULL when out of memory. */
char *rb_data_path(const struct rb_work *w, const char *below);

/* Removes a file or folder below the data folder. What cannot be removed is logged, and swept at
 * the next start where that matters. */
void rb_data_remove(int data_fd, const char *below);

/* Makes the folder of job `id` and puts job `from`'s alignment.safetensors into it, as a link where
 * the file system can. RB_ENOTFOUND when `from` has none. */
enum rb_status rb_job_link_alignment(const struct rb_work *w, const char *from, const char *id,
                                     struct rb_error *err) RB_MUST_CHECK;

/* Size and digest of a whole file in the job's folder. Pool threads; blocks. */
enum rb_status rb_job_describe_artifact(const struct rb_work *w, const char *id, const char *name,
                                        struct rb_artifact *ret,
                                        struct rb_error *err) RB_MUST_CHECK;

/* Looks up the models, datasets and job that a spec names. Loop thread. Errors have their pointer
 * at the spec's member: RB_EINPUT for names that are unknown or not ready. inputs: roles, names and
 * digests; versions: of the rows in the same order (0 for a job). id: of the job itself once it has
 * been submitted, and has its own copy of align.from_job's alignment; NULL before. */
enum rb_status rb_places_find(struct rb_work *w, const char *id, const struct rb_job_spec *spec,
                              struct rb_places *ret, struct rb_job_input *ret_inputs,
                              uint64_t *ret_versions, size_t *ret_count,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
