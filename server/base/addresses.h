/* server/base/addresses.h: what addresses, hosts, origins, networks and prefixes in the settings
 * must look like. */
#ifndef RB_SERVER_BASE_ADDRESSES_H
#define RB_SERVER_BASE_ADDRESSES_H

#include "server/base/settings.h"

/* The listen address taken apart: "127.0.0.1:8686", "[::1]:8686", "0.0.0.0:80", ":8686" (every
 * address), "localhost:8686". Port 0 lets the kernel choose. */
struct rb_listen {
    char host[64]; /* numeric, without brackets */
    uint16_t port;
    bool ipv6;
    bool loopback;
};
enum rb_status rb_listen_parse(const char *text, struct rb_listen *ret,
                               struct rb_error *err) RB_MUST_CHECK;

/* RB_EUSAGE if s listens beyond loopback and token_count (valid tokens) is 0. */
enum rb_status rb_settings_check_exposure(const struct rb_settings *s, size_t token_count,
                                          struct rb_error *err) RB_MUST_CHECK;

/* Holds addresses, prefix, hosts, origins and networks against their grammars; brings the prefix to
 * the form without a slash at its end. RB_EUSAGE. */
enum rb_status rb_settings_check_addresses(struct rb_settings *s,
                                           struct rb_error *err) RB_MUST_CHECK;

#endif
