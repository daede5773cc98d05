#include "api/artifact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rb_artifact_encode(struct rb_json *w, const char *key, const struct rb_artifact *a)
{
    rb_json_object(w, key);
    rb_json_string(w, "name", a->name);
    rb_json_uint(w, "bytes", a->bytes);
    rb_json_text_or_null(w, "sha256", a->sha256);
    rb_json_string(w, "media_type", rb_artifact_media_type(a->name));
    rb_json_end(w);
}

void rb_artifacts_encode(struct rb_json *w, const struct rb_artifact *items, size_t count)
{
    rb_json_object(w, NULL);
    rb_json_array(w, "data");
    for (size_t i = 0; i < count; i++)
        rb_artifact_encode(w, NULL, &items[i]);
    rb_json_end(w);
    rb_json_end(w);
}

const char *rb_artifact_media_type(const char *name)
{
    static const struct {
        const char *ending, *media_type;
    } types[] = {
        {".json", "application/json"}, {".csv", "text/csv"},     {".txt", "text/plain"},
        {".sha256", "text/plain"},     {".md", "text/markdown"}, {".svg", "image/svg+xml"},
    };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(dot, types[i].ending) == 0)
            return types[i].media_type;
    return "application/octet-stream";
}

bool rb_artifact_name_valid(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strspn(name, allowed);
    return length > 0 && length < RB_FILE_NAME_SIZE && name[length] == '\0' && name[0] != '.';
}

/* "0", "0.5" gain zeros; "0.125" and "1e-07" say what they say. "weights-1": a list of weights. */
static void format_lambda(double lambda, char number[RB_NUMBER_SIZE])
{
    if (lambda >= RB_MERGED_WEIGHTS) {
        (void)snprintf(number, RB_NUMBER_SIZE, "weights-%u",
                       (unsigned)(lambda - RB_MERGED_WEIGHTS + 0.5));
        return;
    }
    (void)rb_number_format(lambda, number);
    const char *dot = strchr(number, '.');
    if (strchr(number, 'e') == NULL && (dot == NULL || strlen(dot) < 3))
        (void)snprintf(number, RB_NUMBER_SIZE, "%.2f", lambda);
}

void rb_artifact_of_model(const char *file, size_t model, char ret[RB_FILE_NAME_SIZE])
{
    const char *dot = strrchr(file, '.');
    if (model == 1)
        (void)snprintf(ret, RB_FILE_NAME_SIZE, "%s", file);
    else
        (void)snprintf(ret, RB_FILE_NAME_SIZE, "%.*s-%zu%s", (int)(dot - file), file, model, dot);
}

void rb_artifact_merged_name(double lambda, char buffer[RB_ARTIFACT_NAME_SIZE])
{
    char number[RB_NUMBER_SIZE];
    format_lambda(lambda, number);
    (void)snprintf(buffer, RB_ARTIFACT_NAME_SIZE, "merged-%s.safetensors", number);
}

void rb_artifact_folder_name(double lambda, char buffer[RB_ARTIFACT_NAME_SIZE])
{
    char number[RB_NUMBER_SIZE];
    format_lambda(lambda, number);
    (void)snprintf(buffer, RB_ARTIFACT_NAME_SIZE, "merged/%s%s",
                   lambda >= RB_MERGED_WEIGHTS ? "" : "lambda-", number);
}

void rb_artifact_tar_digest_name(double lambda, char buffer[RB_ARTIFACT_NAME_SIZE])
{
    char number[RB_NUMBER_SIZE];
    format_lambda(lambda, number);
    (void)snprintf(buffer, RB_ARTIFACT_NAME_SIZE, "merged/%s%s.tar.sha256",
                   lambda >= RB_MERGED_WEIGHTS ? "" : "lambda-", number);
}

/* "weights-1" */
static bool parse_weights(const char *text, size_t length, double *ret)
{
    static const char word[] = "weights-";
    size_t i = sizeof word - 1;
    unsigned list = 0;
    if (length <= i || length > i + 3 || memcmp(text, word, i) != 0)
        return false;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
        list = 10 * list + (unsigned)(text[i] - '0');
    if (i < length)
        return false;
    *ret = RB_MERGED_WEIGHTS + (double)list;
    return true;
}

bool rb_artifact_lambda_parse(const char *text, size_t length, double *ret)
{
    char number[RB_NUMBER_SIZE], *end;
    if (parse_weights(text, length, ret))
        return true;
    if (length == 0 || length >= sizeof number || text[0] < '0' || text[0] > '9')
        return false;
    memcpy(number, text, length);
    number[length] = '\0';
    if (strspn(number, "0123456789.e-") != length)
        return false;
    double lambda = strtod(number, &end);
    if (*end != '\0' || lambda > 1)
        return false;
    *ret = lambda;
    return true;
}

const char *rb_artifact_file_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}
