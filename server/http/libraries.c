#include "server/http/libraries.h"

#include "server/base/blas_kernel.h"
#include "server/http/commit.h"
#include "server/store/store.h"

#include <cblas.h>
#include <jansson.h>
#include <microhttpd.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <utf8proc.h>
#include <uv.h>
#include <zlib.h>

enum { LIBRARY_COUNT = 9 };

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static struct rb_blas_view blas_view(void)
{
    const struct rb_kernel_info *k = rb_kernel_info();
    return (struct rb_blas_view){
        .cpu = k->cpu,
        .kernel = k->kernel,
        .instruction_set = k->instruction_set,
        .chosen_by = rb_kernel_origin_names[k->origin],
        .proven = k->proven,
        .rate = k->rate,
        .limit = k->limit,
    };
}

static const struct rb_library_version *libraries(void)
{
    static struct rb_library_version rows[LIBRARY_COUNT + 1];
    if (rows[0].name == NULL) {
        rows[0] = (struct rb_library_version){"jansson", jansson_version_str()};
        rows[1] = (struct rb_library_version){"libmicrohttpd", MHD_get_version()};
        rows[2] = (struct rb_library_version){"libsodium", sodium_version_string()};
        rows[3] = (struct rb_library_version){"libuv", uv_version_string()};
        rows[4] = (struct rb_library_version){"openblas", openblas_get_config()};
        rows[5] = (struct rb_library_version){"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)};
        rows[6] = (struct rb_library_version){"sqlite", rb_store_library_version()};
        rows[7] = (struct rb_library_version){"utf8proc", utf8proc_version()};
        rows[8] = (struct rb_library_version){"zlib", zlibVersion()};
    }
    return rows;
}

struct rb_version_view rb_version_here(void)
{
    return (struct rb_version_view){
        .version = RB_VERSION,
        .commit = rb_commit[0] != '\0' ? rb_commit : NULL,
        .compiler = COMPILER,
        .libraries = libraries(),
        .library_count = LIBRARY_COUNT,
        .blas = blas_view(),
    };
}
