#include "api/spec_path.h"

#include <stdio.h>
#include <string.h>

bool rb_spec_path_valid(const char *path)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t length = strlen(path), word = 0;
    if (length > RB_SPEC_PATH_MAX)
        return false;
    for (size_t i = 0; i <= length; i++) {
        if (path[i] != '\0' && strchr(letters, path[i]) != NULL)
            word++;
        else if (word == 0 || (path[i] != '.' && path[i] != '\0'))
            return false;
        else
            word = 0;
    }
    return true;
}

bool rb_spec_path_set(json_t *spec, const char *path, json_t *value)
{
    char word[RB_SPEC_PATH_MAX + 1];
    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        (void)snprintf(word, sizeof word, "%.*s", (int)(dot - path), path);
        if (json_object_get(spec, word) == NULL &&
            json_object_set_new(spec, word, json_object()) != 0)
            return false;
        spec = json_object_get(spec, word);
    }
    return json_object_set(spec, path, value) == 0;
}
