#include "clinux_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int clinux_lab_enter(int namespace_fd) { return setns(namespace_fd, CLONE_NEWNET) == 0 ? 0 : -errno; }

int clinux_lab_spawn(const char *path, char *const argv[], char *const envp[], int in, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int failure = posix_spawn_file_actions_init(&actions);
  if (failure != 0) return -failure;
  failure = posix_spawnattr_init(&attributes);
  if (failure != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return -failure;
  }
  const int descriptors[3] = {in, out, err};
  for (int index = 0; index < 3 && failure == 0; index++) {
    failure = descriptors[index] < 0
                  ? posix_spawn_file_actions_addopen(&actions, index, "/dev/null", index == 0 ? O_RDONLY : O_WRONLY, 0)
                  : posix_spawn_file_actions_adddup2(&actions, descriptors[index], index);
  }
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  pid_t pid = 0;
  if (failure == 0) failure = posix_spawnattr_setsigmask(&attributes, &none);
  if (failure == 0) failure = posix_spawnattr_setsigdefault(&attributes, &all);
  if (failure == 0) {
    failure = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  if (failure == 0) failure = posix_spawnp(&pid, path, &actions, &attributes, argv, envp);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return failure == 0 ? pid : -failure;
}

int clinux_lab_pidfd_open(int32_t pid) {
  const long fd = syscall(SYS_pidfd_open, pid, 0);
  return fd >= 0 ? (int)fd : -errno;
}

int clinux_lab_pidfd_send_signal(int pidfd, int signal) {
  return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

int clinux_lab_reap(int32_t pid, int *status) {
  const pid_t result = waitpid(pid, status, WNOHANG);
  if (result < 0) return -errno;
  return result == 0 ? 0 : 1;
}

bool clinux_lab_exited(int status, int *code) {
  if (WIFEXITED(status)) {
    *code = WEXITSTATUS(status);
    return true;
  }
  *code = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return false;
}

int clinux_lab_netlink(uint32_t groups) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  const int size = 1 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    const int failure = -errno;
    close(fd);
    return failure;
  }
  return fd;
}

static volatile sig_atomic_t signal_fd = -1;

static void on_signal(int number) {
  const int saved = errno;
  const unsigned char byte = (unsigned char)number;
  if (signal_fd >= 0 && write((int)signal_fd, &byte, 1) < 0) { /* the pipe is full: the first byte is enough */
  }
  errno = saved;
}

static int set_handlers(void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (unsigned index = 0; index < sizeof numbers / sizeof numbers[0]; index++) {
    if (sigaction(numbers[index], &action, NULL) != 0) return -errno;
  }
  return 0;
}

int clinux_lab_catch_signals(int write_fd) {
  signal_fd = write_fd;
  signal(SIGPIPE, SIG_IGN);
  return set_handlers(on_signal);
}

void clinux_lab_release_signals(void) {
  set_handlers(SIG_DFL);
  signal_fd = -1;
}

int clinux_lab_realtime(int priority) {
  const struct sched_param parameters = {.sched_priority = priority};
  return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) == 0 ? 0 : -errno;
}

int clinux_lab_freebind(int fd, int family) {
  const int on = 1;
  const int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const int option = family == AF_INET6 ? 78 /* IPV6_FREEBIND */ : 15 /* IP_FREEBIND */;
  return setsockopt(fd, level, option, &on, sizeof on) == 0 ? 0 : -errno;
}

int clinux_lab_bind_address_no_port(int fd) {
  const int on = 1;
  return setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT, of both families */, &on, sizeof on) == 0 ? 0 : -errno;
}

int clinux_lab_linger_reset(int fd) {
  const struct linger reset = {.l_onoff = 1, .l_linger = 0};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0 ? 0 : -errno;
}

int clinux_lab_exec(int namespace_fd, char *const argv[]) {
  if (setns(namespace_fd, CLONE_NEWNET) != 0) return -errno;
  // The program sees the interfaces of its namespace below /sys/class/net too; nothing of this reaches the host's mounts.
  if (unshare(CLONE_NEWNS) == 0 && mount("", "/", "none", MS_SLAVE | MS_REC, NULL) == 0 &&
      umount2("/sys", MNT_DETACH) == 0) {
    mount("lab", "/sys", "sysfs", 0, NULL);
  }
  execvp(argv[0], argv);
  return -errno;
}

int clinux_lab_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) == 0 ? 0 : -errno; }

int clinux_lab_memory_file(void) {
  const int fd = memfd_create("lab", MFD_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

int clinux_lab_accept(int listener) {
  const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

int clinux_lab_wait_readable(int fd, int64_t nanoseconds) {
  struct pollfd polled = {.fd = fd, .events = POLLIN};
  const struct timespec wait = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
  const int count = ppoll(&polled, 1, &wait, NULL);
  return count >= 0 ? count : -errno;
}

int clinux_lab_packets(const char *interface) {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int size = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  address.sll_ifindex = (int)if_nametoindex(interface);
  if (address.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    const int failure = errno != 0 ? -errno : -ENODEV;
    close(fd);
    return failure;
  }
  return fd;
}
