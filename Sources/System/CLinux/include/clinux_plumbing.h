// What listening for claims, virtual MACs and the firewall need, and Swift cannot say by itself. One line of C each; no logic.
#pragma once
#include <linux/filter.h>
#include <stdint.h>
#include <sys/types.h>

/// SO_ATTACH_FILTER with a classic BPF program.
int clinux_packet_filter(int descriptor, const struct sock_filter *program, uint16_t count);
/// recvfrom without blocking. `outgoing` is 1 for a frame that this host sends.
ssize_t clinux_packet_receive(int descriptor, void *buffer, size_t capacity, int *interface_index, int *outgoing);

/// Starts a program with the descriptors `in`, `out` and `err` as its 0, 1 and 2, an empty signal mask, default dispositions, and the
/// calling thread's network namespace. All other descriptors must be close-on-exec. 0, or an errno.
int clinux_run(const char *path, char *const argv[], int in, int out, int err, int32_t *process);
/// pipe2 with O_CLOEXEC.
int clinux_pipe(int ends[2]);
/// An anonymous file (memfd_create), close-on-exec.
int clinux_memory_file(const char *name);
/// fsync of a folder, so that a rename in it outlives a power cut. 0, or -1 with errno.
int clinux_sync_folder(const char *path);

// Numbers of rtnetlink beside those of clinux_system.h.
extern const uint16_t clinux_rtm_getroute, clinux_rtm_newroute;
extern const uint16_t clinux_nlm_f_excl;
extern const uint16_t clinux_ifla_link, clinux_ifla_linkinfo, clinux_ifla_stats64, clinux_ifla_info_kind, clinux_ifla_info_data,
  clinux_ifla_macvlan_mode;
extern const uint32_t clinux_macvlan_mode_bridge;
extern const uint8_t clinux_rt_scope_host;
extern const int clinux_netlink_get_strict_chk, clinux_netlink_netfilter, clinux_netlink_add_membership;
extern const int32_t clinux_nfnlgrp_nftables;
/// The type of nf_tables' message about a table that was removed.
extern const uint16_t clinux_nft_deltable;
