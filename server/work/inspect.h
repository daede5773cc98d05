/* server/work/inspect.h: what a model folder or a dataset file is, found out off the loop.
 *
 * A folder becomes facts (sizes, head, parameters, hashes) and problems (what keeps it from being
 * used); a file becomes a count of rows and the names of its fields. Everything below is started
 * on the loop thread, reads and hashes on a pool thread, writes the row into the store, and calls
 * `done` on the loop thread, never from inside the starting call. The starting calls return NULL
 * when out of memory, and then done is never called.
 */
#ifndef RB_SERVER_WORK_INSPECT_H
#define RB_SERVER_WORK_INSPECT_H

#include "api/status.h"
#include "core/text/dataset.h"

struct rb_work;
struct rb_inspection;

/* With RB_OK the row is committed. Otherwise nothing was registered, and err says what is wrong
 * with which file. */
typedef void rb_inspect_done(void *data, enum rb_status status, const struct rb_error *err);

/* Before done was called: it will not be. An import is given up; what was uploaded is looked at all
 * the same, since it is in its place already. i may be NULL. */
void rb_inspection_forget(struct rb_inspection *i);
/* Gives up the imports under that name (RB_ECONFLICT); false if there are none. */
bool rb_inspections_delete(struct rb_work *w, bool models, const char *name);
/* Gives up all that are under way (RB_EDRAINING): they end within a piece of their reading. */
void rb_inspections_drain(struct rb_work *w);

/* Whose it will be, unless it is there already; "" is nobody's. Right after it was started; i may
 * be NULL. */
void rb_inspection_by(struct rb_inspection *i, const char *submitter);

/* POST /v1/models: registers a folder without copying. path must lie below an import root, links
 * followed (RB_EINPUT at /path naming the roots); or hf, else NULL, names it in a Hugging Face
 * cache (hf_cache.h; RB_EINPUT at /hf); a damaged or incomplete folder is refused with the status
 * of what is wrong (RB_ESAFETENSORS, RB_ETENSOR, RB_ESHAPE, RB_ECONFIG, RB_EVOCAB …) and nothing is
 * registered. RB_ECONFLICT when the name is taken. All strings are copied. */
struct rb_inspection *rb_model_import(struct rb_work *w, const char *name, const char *path,
                                      const char *hf, rb_inspect_done *done, void *data);

/* PUT …/files/{file}: after a file has been put whole into models/<name>/: looks at the folder
 * again and writes the row: "incomplete" (files missing), "invalid" (problems[] say why) or
 * "ready". RB_OK in all three cases. */
struct rb_inspection *rb_model_uploaded(struct rb_work *w, const char *name, rb_inspect_done *done,
                                        void *data);

/* POST /v1/datasets: as rb_model_import; RB_EDATASET naming line and field, or, where no
 * format was given, because a text's lines are all JSON objects. */
struct rb_inspection *rb_dataset_import(struct rb_work *w, const char *name, const char *path,
                                        enum rb_format format, bool format_given,
                                        const struct rb_fields *fields, rb_inspect_done *done,
                                        void *data);

/* PUT /v1/datasets/{name}: `path` is the whole body in a temporary file below tmp/. When it is
 * usable it is renamed to datasets/<name>/data and the row written or replaced; else it is removed.
 */
struct rb_inspection *rb_dataset_uploaded(struct rb_work *w, const char *name, const char *path,
                                          enum rb_format format, bool format_given,
                                          const struct rb_fields *fields, rb_inspect_done *done,
                                          void *data);

#endif
