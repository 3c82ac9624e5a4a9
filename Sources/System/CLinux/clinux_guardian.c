#define _GNU_SOURCE
#include "clinux_guardian.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef POSIX_SPAWN_SETSID
#define POSIX_SPAWN_SETSID 0x80
#endif

_Static_assert(sizeof(pthread_mutex_t) <= clinux_life_bytes, "the lock needs more room in the record");

int clinux_shared_memory(const char *name, size_t bytes) {
  int descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return -1;
  if (ftruncate(descriptor, (off_t)bytes) == 0 &&
      fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    return descriptor;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

int clinux_is_shared_memory(int descriptor, size_t bytes) {
  struct stat status;
  int seals = fcntl(descriptor, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(descriptor, &status) == 0 && (size_t)status.st_size == bytes;
}

int clinux_life_make(void *lock) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  int error = pthread_mutex_init(lock, &attributes);
  pthread_mutexattr_destroy(&attributes);
  return error;
}

int clinux_life_hold(void *lock) {
  int error = pthread_mutex_lock(lock);
  return error == EOWNERDEAD ? pthread_mutex_consistent(lock) : error;
}

int clinux_life_await(void *lock, int64_t until_ns) {
  struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
  int error = pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &until);
  if (error == EOWNERDEAD) pthread_mutex_consistent(lock);
  return error;
}

int clinux_life_release(void *lock) { return pthread_mutex_unlock(lock); }

int64_t clinux_monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int clinux_pidfd_open(int32_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
int clinux_pidfd_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

int clinux_guardian_spawn(const char *path, char *const argv[], char *const envp[], const int *descriptors, int count) {
  enum { most = 8, above = 64 };
  int copies[most];
  if (count > most) return errno = EINVAL, -1;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  int error = 0, made = 0;
  // Copies above every number that is a target, so that none is overwritten before it is used.
  for (; made < count && !error; made++) {
    copies[made] = fcntl(descriptors[made], F_DUPFD_CLOEXEC, above);
    if (copies[made] < 0) {
      error = errno;
      break;
    }
    error = posix_spawn_file_actions_adddup2(&actions, copies[made], 3 + made);
  }
#if __GLIBC_PREREQ(2, 34)
  // Nothing else of the daemon, whatever it had itself inherited: a connection would stay open beyond the daemon's end.
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, 3 + count);
#endif
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  pid_t pid = -1;
  if (!error) error = posix_spawn(&pid, path, &actions, &attributes, argv, envp);
  for (int index = 0; index < made; index++) close(copies[index]);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (!error) return pid;
  errno = error;
  return -1;
}

int clinux_lifeline(int ends[2], int32_t process, int signal) {
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  if (fcntl(ends[0], F_SETOWN, process) == 0 && fcntl(ends[0], F_SETSIG, signal) == 0) return 0;
  int error = errno;
  close(ends[0]);
  close(ends[1]);
  errno = error;
  return -1;
}

int clinux_lifeline_tie(int end, int tied) {
  int flags = fcntl(end, F_GETFL);
  if (flags < 0) return -1;
  return fcntl(end, F_SETFL, tied ? flags | O_ASYNC : flags & ~O_ASYNC);
}

int32_t clinux_thread_id(void) { return (int32_t)syscall(SYS_gettid); }

int clinux_demote_thread(int32_t thread) {
  struct sched_param parameter = {0};
  return sched_setscheduler(thread, SCHED_OTHER, &parameter);
}

int clinux_thread_policy(int32_t thread) {
  int policy = sched_getscheduler(thread);
  return policy < 0 ? policy : policy & ~SCHED_RESET_ON_FORK;
}

int clinux_hide_memory(void) {
  struct rlimit none = {0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return -1;
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int clinux_may_lock_memory(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY) return 1;
  enum { ipc_lock = 14 };  // CAP_IPC_LOCK, whose holder has no limit
  struct {
    uint32_t version;
    int pid;
  } header = {0x20080522, 0};  // _LINUX_CAPABILITY_VERSION_3
  struct {
    uint32_t effective, permitted, inheritable;
  } data[2] = {0};
  return syscall(SYS_capget, &header, data) == 0 && (data[0].effective >> ipc_lock & 1);
}

__attribute__((noinline)) void clinux_touch_stack(void) {
  volatile char below[256 << 10];
  for (size_t offset = 0; offset < sizeof below; offset += 4096) below[offset] = 0;
}

int clinux_message_pair(int ends[2]) {
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
}

ssize_t clinux_message_send(int socket, const void *bytes, size_t count, int descriptor) {
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
  union {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (descriptor >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t clinux_message_receive(int socket, void *bytes, size_t capacity, int *descriptor) {
  struct iovec part = {.iov_base = bytes, .iov_len = capacity};
  union {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {
    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  *descriptor = -1;
  ssize_t count = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) return count;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
      memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
  if (!(message.msg_flags & MSG_TRUNC)) return count;
  if (*descriptor >= 0) close(*descriptor);
  *descriptor = -1;
  errno = EMSGSIZE;
  return -1;
}

int clinux_deafen(int socket) {
  struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog program = {.len = 1, .filter = &nothing};
  return setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

int clinux_bind_to_index(int socket, int index) {
  return setsockopt(socket, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index);
}
