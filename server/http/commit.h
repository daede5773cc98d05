/* server/http/commit.h: which commit the binary was built from; commit.c is made at build time by
 * cmake/write_commit.cmake. */
#ifndef RB_SERVER_HTTP_COMMIT_H
#define RB_SERVER_HTTP_COMMIT_H

extern const char rb_commit[]; /* short hash, "-dirty" behind it if files differed; "": unknown */

#endif
