#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stdint.h>

// What the lab needs of Linux and Swift cannot say by itself. Every function gives 0 (or a descriptor, or a process id) on success and a
// negative errno otherwise.

// Moves the calling thread into the network namespace behind the descriptor.
int clinux_lab_enter(int namespace_fd);

// Starts a program with the calling thread's network namespace. It gets its own session, default signal dispositions and an empty signal
// mask; descriptors 0-2 are the given ones (a negative one is /dev/null); all others must be close-on-exec.
int clinux_lab_spawn(const char *path, char *const argv[], char *const envp[], int in, int out, int err);

// A descriptor that stands for this very process, however its number is used later.
int clinux_lab_pidfd_open(int32_t pid);
int clinux_lab_pidfd_send_signal(int pidfd, int signal);

// Reaps one child: 0 while it lives, else 1 with `status` set; a negative errno where there is no such child.
int clinux_lab_reap(int32_t pid, int *status);
bool clinux_lab_exited(int status, int *code);

// A netlink socket of the route family in the calling thread's namespace, joined to the groups (a bit mask of RTMGRP_*).
int clinux_lab_netlink(uint32_t groups);

// SIGINT, SIGTERM and SIGHUP write their number, one byte, to the descriptor; SIGPIPE is ignored.
int clinux_lab_catch_signals(int write_fd);
// Back to the defaults.
void clinux_lab_release_signals(void);

// The calling thread becomes a real-time one of that priority (SCHED_FIFO).
int clinux_lab_realtime(int priority);

// A socket that may be bound to addresses which the host does not hold (yet).
int clinux_lab_freebind(int fd, int family);
// bind(2) with port 0 chooses the address only; connect(2) finds the port, among those free for its destination.
int clinux_lab_bind_address_no_port(int fd);
// A close sends a reset, not a FIN.
int clinux_lab_linger_reset(int fd);

// Replaces the calling process by `ip netns exec`-like execution of argv in the namespace; returns only on failure.
int clinux_lab_exec(int namespace_fd, char *const argv[]);

// Descriptors that no program started later inherits.
int clinux_lab_pipe(int ends[2]);
int clinux_lab_memory_file(void);
// A connection from the listener, non-blocking.
int clinux_lab_accept(int listener);

// Waits until there is something to read, at most that long: 1, 0 for a time-out, or a negative errno.
int clinux_lab_wait_readable(int fd, int64_t nanoseconds);

// A socket that hears every frame which comes up to the interface; for a bridge, those that all of its ports get.
int clinux_lab_packets(const char *interface);
