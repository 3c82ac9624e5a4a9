#define _GNU_SOURCE
#include "clinux_plumbing.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netpacket/packet.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int clinux_packet_filter(int descriptor, const struct sock_filter *program, uint16_t count) {
  struct sock_fprog all = {.len = count, .filter = (struct sock_filter *)program};
  return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof all);
}

ssize_t clinux_packet_receive(int descriptor, void *buffer, size_t capacity, int *interface_index, int *outgoing) {
  struct sockaddr_ll from = {0};
  socklen_t size = sizeof from;
  ssize_t count = recvfrom(descriptor, buffer, capacity, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
  *interface_index = from.sll_ifindex;
  *outgoing = from.sll_pkttype == PACKET_OUTGOING;
  return count;
}

int clinux_run(const char *path, char *const argv[], int in, int out, int err, int32_t *process) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int code = posix_spawn_file_actions_init(&actions);
  if (code != 0) return code;
  if ((code = posix_spawnattr_init(&attributes)) == 0) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
    pid_t child = 0;
    code = posix_spawn(&child, path, &actions, &attributes, argv, environment);
    *process = child;
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int clinux_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int clinux_sync_folder(const char *path) {
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return -1;
  int result = fsync(folder), code = errno;
  close(folder);
  errno = code;
  return result;
}

const uint16_t clinux_rtm_getroute = RTM_GETROUTE, clinux_rtm_newroute = RTM_NEWROUTE;
const uint16_t clinux_nlm_f_excl = NLM_F_EXCL;
const uint16_t clinux_ifla_link = IFLA_LINK, clinux_ifla_linkinfo = IFLA_LINKINFO, clinux_ifla_stats64 = IFLA_STATS64,
               clinux_ifla_info_kind = IFLA_INFO_KIND, clinux_ifla_info_data = IFLA_INFO_DATA,
               clinux_ifla_macvlan_mode = IFLA_MACVLAN_MODE;
const uint32_t clinux_macvlan_mode_bridge = MACVLAN_MODE_BRIDGE;
const uint8_t clinux_rt_scope_host = RT_SCOPE_HOST;
const int clinux_netlink_get_strict_chk = NETLINK_GET_STRICT_CHK, clinux_netlink_netfilter = NETLINK_NETFILTER,
          clinux_netlink_add_membership = NETLINK_ADD_MEMBERSHIP;
const int32_t clinux_nfnlgrp_nftables = NFNLGRP_NFTABLES;
const uint16_t clinux_nft_deltable = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE;
