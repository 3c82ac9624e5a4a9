// What prober and control socket need, and Swift cannot import. One line of C each; no logic.
#pragma once
#include <stdint.h>
#include <sys/socket.h>

/// accept4 with SOCK_CLOEXEC and SOCK_NONBLOCK, which glibc hides without _GNU_SOURCE.
int clinux_accept(int listener);
/// SO_PEERCRED. 0, or -1 with errno.
int clinux_peer_credentials(int socket, int32_t *process, uint32_t *user, uint32_t *group);
/// open(2) of a folder with O_PATH.
int clinux_open_folder(const char *path);
