import Basis
import Linux
import Node
import VRRP
import Wire

// What the address thread reports, and the interfaces that it sees come and go.

extension Loop {
  /// An address of a VIP that another program has put on this machine.
  struct Stray: Sendable, Hashable {
    let address: IPAddress
    let prefixLength: Int
    let interface: String

    var words: String {
      "another program has put \(address)/\(prefixLength) on \(interface): while another node owns the VIP, two machines answer for it"
    }
    /// What to do about it.
    var advice: String {
      "remove it there (ip address del \(address)/\(prefixLength) dev \(interface)), and from what configures \(interface)"
    }
  }

  func receive(_ report: AddressThread.Report) {
    let now = Clock.now()
    switch report {
    case .added(let vip, let generation, let until):
      give(.address(vip: vip, .added(generation: generation, until: until)), at: now)
    case .renewed(let vip, let generation, let until):
      give(.address(vip: vip, .renewed(generation: generation, until: until)), at: now)
    case .removed(let vip, let generation):
      give(.address(vip: vip, .removed(generation: generation)), at: now)
    case .failed(let vip, let generation, let error):
      parts.log.write(.error, "vip \(settings.vips[vip].name): \(error)")
      give(.address(vip: vip, .failed(generation: generation, code: error.code)), at: now)
    case .vanished(let vip, let generation, let cause):
      parts.log.write(.warning, "vip \(settings.vips[vip].name): address is gone (\(cause.rawValue))")
      give(.address(vip: vip, .vanished(generation: generation)), at: now)
    case .putBack(let vip, let generation, _):
      give(.address(vip: vip, .putBack(generation: generation)), at: now)
    case .interface(let interface): linkChanged(interface, at: now)
    case .strayRemoved(let vip, let address):
      parts.log.write(
        .warning, "vip \(settings.vips[vip].name): \(address) was on the interface though another node owns it; removed"
      )
    case .swept(let removal): parts.log.write(.notice, "removed what an earlier life left behind: \(removal)")
    case .foreign(let vip, let address, let length, let interface):
      let stray = Stray(address: address, prefixLength: length, interface: interface)
      strays.insert(stray)
      parts.log.write(.warning, "vip \(settings.vips[vip].name): \(stray.words); \(stray.advice)")
    case .foreignGone(let vip, let address, let length, let interface):
      let stray = Stray(address: address, prefixLength: length, interface: interface)
      guard strays.remove(stray) != nil else { break }
      parts.log.write(
        .notice, "vip \(settings.vips[vip].name): \(address)/\(length) of another program is gone from \(interface)")
    case .duplicate(let vip, let address): give(.address(vip: vip, .duplicate(address)), at: now)
    case .claimed(let vip, let address, let mac): give(.address(vip: vip, .claimed(address, by: mac)), at: now)
    case .journal(let trouble): parts.log.write(.warning, trouble)
    case .notSilenced(let device, let error):
      parts.log.write(
        .warning,
        "\(device) may send by itself, so switches may take a dead node for the owner: \(error). The kernel needs clsact and cls_bpf"
      )
    case .notListening(let error):
      parts.log.write(.warning, "behind a switch with MLD snooping a VIP on a virtual MAC may not be found: \(error)")
    case .journalState(let trouble):
      journalTrouble = trouble
      if let trouble {
        parts.log.write(.warning, "\(trouble); it is tried again")
      } else {
        parts.log.write(.notice, "the journal is written now")
      }
    case .device(let vip, let family, let index): fence.learn(device: index, of: vip, family)
    case .firewallRestored:
      parts.log.write(.warning, "another program removed the firewall table of VIPs that accept nothing; loaded again")
    case .firewall(let error): parts.log.write(.error, "VIPs that accept nothing can't be had here: \(error)")
    case .announcementFailed(let vip, let error):
      parts.log.write(.warning, "vip \(settings.vips[vip].name): can't announce: \(error)")
    case .blind(let error): parts.log.write(.error, "the kernel's addresses can't be read: \(error)")
    case .ended(let error?): addressThreadDied(error)
    case .ended(nil): break
    }
  }

  /// Without it nothing can be taken or let go, so the process ends; its leases remove what it held.
  private func addressThreadDied(_ error: SystemError) {
    parts.log.write(.error, "the address thread ended: \(error)")
    failure = error
    reactor.stop()
  }

  private func linkChanged(_ interface: InterfaceState, at now: Instant) {
    interfaces[interface.name] = interface
    troubles[interface.name] = nil
    follow(interface, at: now)
    // The node begins when it has seen all its interfaces once, so that none is taken for missing.
    if unseen.remove(interface.name) != nil, unseen.isEmpty { begin(at: now) }
  }

  /// Has the sockets follow the interface, and tells the node of both.
  func follow(_ interface: InterfaceState, at now: Instant) {
    let state = LinkState(interface, node: plan.configuration.member(plan.name))
    let refusal = elections.follow(interface, state, reactor, onReadable: { [unowned self] in drain($0) })
    if let refusal {
      trouble(on: interface.name, because: refusal, at: now)
    } else {
      give(.link(interface: interface.name, state), at: now)
    }
    for vip in settings.vips.indices where settings.vips[vip].interface == interface.name { fence.recharge(vip) }
  }

  /// Adverts can't be sent or heard on an interface: its elections are left, and tried again later and later.
  func trouble(on name: String, because error: SystemError, at now: Instant) {
    guard let interface = interfaces[name] else { return }
    let pause = min((troubles[name]?.pause ?? Trouble.firstPause / 2) * 2, Trouble.longestPause)
    troubles[name] = Trouble(pause: pause, until: now + pause)
    parts.log.write(
      .error,
      "adverts can't be sent or heard on \(name): \(error); trying again in \(pause.words) (does a firewall drop IP protocol 112?)"
    )
    var state = LinkState(interface, node: plan.configuration.member(plan.name))
    state.canAdvertise = false
    give(.link(interface: name, state), at: now)
  }
}
