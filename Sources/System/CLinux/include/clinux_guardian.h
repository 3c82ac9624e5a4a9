// What two processes that watch one another need, and Swift cannot import. Results as of the system calls: -1 with errno, unless said.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// MARK: memory that is shared
/// A file in memory of exactly that size, close-on-exec; nobody can make it smaller or larger any more.
int clinux_shared_memory(const char *name, size_t bytes);
/// Whether the descriptor is such a file of that size: 1 or 0.
int clinux_is_shared_memory(int descriptor, size_t bytes);

// MARK: a lock that tells of its holder's death. Each gives 0 or an error number.
enum { clinux_life_bytes = 64 };
int clinux_life_make(void *lock);
int clinux_life_hold(void *lock);
/// Waits until that time of CLOCK_MONOTONIC. EOWNERDEAD: the holder died, and the caller holds the lock now. ETIMEDOUT: it lives.
int clinux_life_await(void *lock, int64_t until_ns);
int clinux_life_release(void *lock);
/// CLOCK_MONOTONIC: time in which the machine was suspended doesn't count.
int64_t clinux_monotonic_ns(void);

// MARK: processes
int clinux_pidfd_open(int32_t pid);
int clinux_pidfd_signal(int pidfd, int signal);
/// Starts a program in a session of its own, with no signal blocked or ignored, with `count` descriptors as 3, 4, 5 …; the pid, or -1.
int clinux_guardian_spawn(const char *path, char *const argv[], char *const envp[], const int *descriptors, int count);
/// A pipe that nothing is written into: when the last copy of `ends[1]` is closed, `process` gets the signal, if `ends[0]` is tied then.
int clinux_lifeline(int ends[2], int32_t process, int signal);
/// Of the open file, so for everybody who has a copy of the descriptor.
int clinux_lifeline_tie(int end, int tied);
int32_t clinux_thread_id(void);
/// Back to SCHED_OTHER: any thread, by its id.
int clinux_demote_thread(int32_t thread);
/// The scheduling policy of a thread, SCHED_FIFO for example.
int clinux_thread_policy(int32_t thread);
/// No core dump, and nobody but root may look into this process.
int clinux_hide_memory(void);
/// Whether memory may be locked without a limit: 1 or 0.
int clinux_may_lock_memory(void);
/// Touches the calling thread's stack that far down, so that it is there later.
void clinux_touch_stack(void);

// MARK: messages with descriptors
int clinux_message_pair(int ends[2]);
/// One message; `descriptor` goes along unless it is negative.
ssize_t clinux_message_send(int socket, const void *bytes, size_t count, int descriptor);
/// One message. `*descriptor` is -1 where none came along, else one that is close-on-exec. 0: the other end is closed.
/// EMSGSIZE where it was longer than the buffer.
ssize_t clinux_message_receive(int socket, void *bytes, size_t capacity, int *descriptor);

// MARK: sockets
/// Receives nothing any more.
int clinux_deafen(int socket);
/// Ties a socket to the interface with that index. What it is told to send without naming an interface leaves there, what it hears
/// came in there; 1 is the loopback interface in every network namespace.
int clinux_bind_to_index(int socket, int index);
