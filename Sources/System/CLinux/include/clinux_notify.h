// What telling others needs, and Swift cannot say by itself. One call of C each; no logic.
#pragma once
#include <netdb.h>
#include <stdint.h>

/// getaddrinfo for TCP; free with freeaddrinfo. Waits for the name servers unless only an address is wanted. 0, or a code of
/// gai_strerror.
int clinux_resolve(const char *host, const char *port, int numeric_only, struct addrinfo **found);
/// A TCP socket, non-blocking and close-on-exec. -1 with errno where it fails.
int clinux_stream_socket(int family);
