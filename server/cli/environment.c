#include "server/cli/environment.h"

#include "api/job.h"
#include "api/service.h"
#include "server/base/blas_kernel.h"
#include "server/http/libraries.h"

enum rb_status rb_environment_here(unsigned threads, char **ret, struct rb_error *err)
{
    const struct rb_kernel_info *kernel = rb_kernel_info();
    const struct rb_environment here = {
        .cpu = kernel->cpu,
        .blas_kernel = kernel->kernel,
        .instruction_set = kernel->instruction_set,
        .rate = kernel->rate,
        .threads = threads,
        .executor = "local",
        .nodes = 1,
    };
    struct rb_json w;
    rb_json_init(&w);
    rb_environment_encode(&w, NULL, &here);
    return rb_json_finish(&w, ret, NULL, err);
}

enum rb_status rb_build_here(char **ret, struct rb_error *err)
{
    const struct rb_version_view here = rb_version_here();
    struct rb_json w;
    rb_json_init(&w);
    rb_build_encode(&w, NULL, &here);
    return rb_json_finish(&w, ret, NULL, err);
}
