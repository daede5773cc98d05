/* core/download.h: what lies where a text file should, after a download that was not answered with
 * the file: for messages that say what happened and what to do. */
#ifndef RB_CORE_DOWNLOAD_H
#define RB_CORE_DOWNLOAD_H

#include <stddef.h>

/* A sentence if the text is a Git LFS pointer or begins as an HTML page; else NULL. Looks at its
 * first bytes only. */
const char *rb_download_failed(const char *text, size_t bytes);

/* The two sentences, for whoever finds out by other signs. */
extern const char rb_download_pointer[], rb_download_page[];

#endif
