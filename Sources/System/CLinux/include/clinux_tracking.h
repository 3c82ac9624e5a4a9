// What trackers and hooks need, and Swift cannot say: a child with another user, and facts of passwd. One step each; no policy.
#pragma once
#include <stdint.h>

/// Starts a program in a session, and so a process group, of its own: descriptor 0 is `input` (/dev/null where it is negative), 1 and 2 are
/// `output`, all others are closed; default signal dispositions, an empty mask, umask 022, folder /. As `user` and `group` without further groups,
/// unless `user` is UINT32_MAX. It dies with the calling thread (PR_SET_PDEATHSIG), which therefore has to wait for it; what it started does not.
/// Its process id, or -errno of the step that failed, in the child too: the program cannot be started.
int clinux_command_spawn(const char *path, char *const argv[], char *const envp[], int input, int output, uint32_t user, uint32_t group);
/// 0 with the ids of that user, or -errno (-ENOENT: there is none).
int clinux_tracking_user(const char *name, uint32_t *user, uint32_t *group);
/// A pipe whose ends close on exec; the reading one does not block. 0 or -errno.
int clinux_tracking_pipe(int ends[2]);
