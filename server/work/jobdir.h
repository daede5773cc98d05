/* server/work/jobdir.h: what a job keeps in its folder of the data folder. */
#ifndef RB_SERVER_WORK_JOBDIR_H
#define RB_SERVER_WORK_JOBDIR_H

#include "api/artifact.h"
#include "server/base/layout.h"
#include "server/work/work_state.h"

/* Removes a file or folder below the data folder. What cannot be removed is logged, and swept at
 * the next start where that matters. */
void rb_data_remove(int data_fd, const char *below);

/* Takes `path` below the data folder away at once (by renaming it into tmp/) and removes it on a
 * pool thread. Absent is fine. For what no row names any more: a failure is logged, and what it or
 * a crash leaves behind is swept at the next start. Loop thread. */
void rb_data_trash(const struct rb_work *w, const char *path);

/* Makes the folder of job `id` and puts job `from`'s alignments into it, one of each moved model,
 * as links where the file system can; of three models or more what there is to say of all of them
 * (reference.json), too. RB_ENOTFOUND when `from` lacks one. */
enum rb_status rb_job_link_alignments(const struct rb_work *w, const char *from, const char *id,
                                      size_t models, struct rb_error *err) RB_MUST_CHECK;

/* Puts a file of the job's folder there under a second name, in place of what had it: as a link, or
 * a copy where the file system cannot. Durable on return. Pool threads; blocks. */
enum rb_status rb_job_link_artifact(const struct rb_work *w, const char *id, const char *from,
                                    const char *to, struct rb_error *err) RB_MUST_CHECK;

/* Size and digest of a whole file in the job's folder. Pool threads; blocks. */
enum rb_status rb_job_describe_artifact(const struct rb_work *w, const char *id, const char *name,
                                        struct rb_artifact *ret,
                                        struct rb_error *err) RB_MUST_CHECK;

#endif
