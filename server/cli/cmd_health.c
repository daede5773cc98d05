#include "server/base/addresses.h"
#include "server/cli/commands.h"

#include "server/base/config.h"
#include "server/base/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

const char rb_cmd_health_help[] =
    "Usage: rebasind health [OPTIONS]\n"
    "\n"
    "Asks /readyz of the daemon at --listen. Exit status 0 if it is ready, 1 if not or if nobody\n"
    "answers. For a container's HEALTHCHECK.\n"
    "\n"
    "Example:\n"
    "  rebasind health --listen 127.0.0.1:8686\n";

enum { TIMEOUT_SECONDS = 5 };

/* Where to ask: a daemon that listens on every address listens on loopback. */
static socklen_t make_address(const struct rb_listen *listen, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (listen->ipv6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(listen->port)};
        bool any = strcmp(listen->host, "::") == 0;
        (void)inet_pton(AF_INET6, any ? "::1" : listen->host, &in6.sin6_addr);
        memcpy(ret, &in6, sizeof in6);
        return sizeof in6;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(listen->port)};
    bool any = strcmp(listen->host, "0.0.0.0") == 0;
    (void)inet_pton(AF_INET, any ? "127.0.0.1" : listen->host, &in.sin_addr);
    memcpy(ret, &in, sizeof in);
    return sizeof in;
}

/* The whole answer, NUL-terminated, at most size - 1 bytes; false with errno set. */
static bool ask(const struct rb_listen *listen, char *answer, size_t size)
{
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
                                  "User-Agent: rebasind-health\r\nConnection: close\r\n\r\n";
    const struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
    struct sockaddr_storage address;
    socklen_t bytes = make_address(listen, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    bool fine = connect(fd, (struct sockaddr *)&address, bytes) == 0 &&
                send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1;
    size_t used = 0;
    while (fine && used < size - 1) {
        ssize_t n = recv(fd, answer + used, size - 1 - used, 0);
        fine = n >= 0;
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    answer[used] = '\0';
    int error = errno;
    (void)close(fd);
    errno = error;
    return fine;
}

int rb_cmd_health(int argc, char *const argv[], FILE *out)
{
    struct rb_settings settings;
    struct rb_listen listen;
    struct rb_error err;
    char answer[4096];
    if (rb_settings_load(argc, argv, NULL, NULL, &settings, &err) != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err.detail);
        return 2;
    }
    enum rb_status s = rb_listen_parse(settings.listen, &listen, &err);
    rb_settings_deinit(&settings);
    if (s != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err.detail);
        return 2;
    }
    if (!ask(&listen, answer, sizeof answer)) {
        fprintf(stderr, "rebasind: no answer from %s:%u: %s\n", listen.host, listen.port,
                strerror(errno));
        return 1;
    }
    const char *body = strstr(answer, "\r\n\r\n");
    bool ready = strncmp(answer, "HTTP/1.1 200 ", 13) == 0;
    fprintf(ready ? out : stderr, "%s\n", ready ? "ready" : body != NULL ? body + 4 : answer);
    return ready ? 0 : 1;
}
