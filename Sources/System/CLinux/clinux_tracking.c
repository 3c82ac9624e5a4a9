#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_tracking.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Between fork and exec in a process with threads: system calls only, and those that change ids raw, because glibc's would look for the
// other threads.
static void clinux_command_child(const char *path, char *const argv[], char *const envp[], int input, int output, uint32_t user, uint32_t group,
                                 pid_t parent, int report) {
  int failure = 0, channel = report;
  // The kernel's own form of sigaction: SIG_DFL is all zeros, and glibc's would leave out the two that it uses itself.
  const unsigned long standard[4] = {0};
  for (int number = 1; number < 65; number++) syscall(SYS_rt_sigaction, number, standard, NULL, 8);
  sigset_t none;
  sigemptyset(&none);
  if (input < 0) input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (setsid() < 0 || input < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) failure = errno;
  umask(022);
  if (failure == 0 && chdir("/") != 0) failure = errno;
  // The pipe of the report stays until exec.
  if (failure == 0 && dup2(report, 3) < 0) failure = errno;
  if (failure == 0) channel = 3;
  if (failure == 0 && fcntl(3, F_SETFD, FD_CLOEXEC) != 0) failure = errno;
  if (failure == 0) syscall(SYS_close_range, 4U, ~0U, 0U);
  if (failure == 0 && user != UINT32_MAX) {
    if (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setresgid, group, group, group) != 0 ||
        syscall(SYS_setresuid, user, user, user) != 0) {
      failure = errno;
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  }
  // Behind the change of user, which clears it (prctl(2)). A parent that died before is not told of any more.
  if (failure == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent)) failure = ESRCH;
  if (failure == 0) {
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, argv, envp);
    failure = errno;
  }
  (void)!write(channel, &failure, sizeof failure);
  _exit(127);
}

int clinux_command_spawn(const char *path, char *const argv[], char *const envp[], int input, int output, uint32_t user, uint32_t group) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return -errno;
  // Above the low numbers, which the child gives to its own: descriptors 0 to 3 may be closed here.
  const int writer = fcntl(report[1], F_DUPFD_CLOEXEC, 10), out = fcntl(output, F_DUPFD_CLOEXEC, 10);
  const int in = input < 0 ? -1 : fcntl(input, F_DUPFD_CLOEXEC, 10);
  const int code = errno;
  close(report[1]);
  if (writer < 0 || out < 0 || (input >= 0 && in < 0)) {
    close(report[0]);
    if (writer >= 0) close(writer);
    if (out >= 0) close(out);
    if (in >= 0) close(in);
    return -code;
  }
  const pid_t parent = getpid(), child = fork();
  if (child == 0) clinux_command_child(path, argv, envp, in, out, user, group, parent, writer);
  const int failure = errno;
  close(writer);
  close(out);
  if (in >= 0) close(in);
  if (child < 0) {
    close(report[0]);
    return -failure;
  }
  int failed = 0;
  ssize_t count;
  do count = read(report[0], &failed, sizeof failed);
  while (count < 0 && errno == EINTR);
  close(report[0]);
  if (count != sizeof failed) return child;
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
  }
  return -failed;
}

int clinux_tracking_user(const char *name, uint32_t *user, uint32_t *group) {
  char buffer[4096];
  struct passwd entry, *found = NULL;
  const int code = getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
  if (found == NULL) return code == 0 ? -ENOENT : -code;
  *user = entry.pw_uid;
  *group = entry.pw_gid;
  return 0;
}

int clinux_tracking_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
  if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
    const int code = errno;
    close(ends[0]);
    close(ends[1]);
    return -code;
  }
  return 0;
}
