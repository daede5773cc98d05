#include "server/cli/commands.h"

#include "api/service.h"
#include "server/http/libraries.h"

#include <stdlib.h>
#include <string.h>

const char rb_cmd_version_help[] = "Usage: rebasind version [--json]\n"
                                   "\n"
                                   "Prints the daemon's version and those of its libraries.\n"
                                   "\n"
                                   "Example:\n"
                                   "  rebasind version --json\n";

static int print_json(const struct rb_version_view *v, FILE *out)
{
    struct rb_json w;
    struct rb_error err;
    char *text;
    rb_json_init(&w);
    rb_version_encode(&w, NULL, v);
    if (rb_json_finish(&w, &text, NULL, &err) != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err.detail);
        return 1;
    }
    fprintf(out, "%s\n", text);
    free(text);
    return fflush(out) == 0 ? 0 : 1;
}

static int print_text(const struct rb_version_view *v, FILE *out)
{
    fprintf(out, "rebasind %s\n", v->version);
    if (v->commit != NULL)
        fprintf(out, "commit %s\n", v->commit);
    fprintf(out, "compiler %s\n", v->compiler);
    for (size_t i = 0; i < v->library_count; i++)
        fprintf(out, "%s %s\n", v->libraries[i].name, v->libraries[i].version);
    return fflush(out) == 0 ? 0 : 1;
}

int rb_cmd_version(int argc, char *const argv[], FILE *out)
{
    const struct rb_version_view v = rb_version_here();
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--json") != 0)) {
        fprintf(stderr, "rebasind: version takes --json or nothing, found \"%s\"\n",
                argv[argc - 1]);
        return 2;
    }
    return argc == 2 ? print_json(&v, out) : print_text(&v, out);
}
