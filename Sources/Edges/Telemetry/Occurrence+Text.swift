import Basis
import Node
import VRRP

extension NodeSettings {
  /// One line for people: what happened, to what, and why.
  public func text(of occurrence: Occurrence) -> String {
    switch occurrence {
    case .became(let state, let vip, let reason):
      "vip \(vips[vip].name): \(state.rawValue) (\(reason))"
    case .notice(let vip, let notice):
      "vip \(vips[vip].name): \(notice)"
    case .backend(let state, let service, let backend, let message):
      "service \(services[service].name): \(services[service].backends[backend]) is \(state.rawValue) (\(message))"
    case .allBackendsDown(let service):
      "service \(services[service].name): no backend is up; connections are refused"
    case .backendsAgain(let service):
      "service \(services[service].name): served again"
    case .addressPutBack(let vip):
      "vip \(vips[vip].name): another program removed an address; it is back (does systemd-networkd or NetworkManager manage \(vips[vip].interface)?)"
    case .addressRefused(let vip, let code):
      "vip \(vips[vip].name): the kernel refused the address on \(vips[vip].interface) (errno \(code)); trying again"
    case .addressLost(let vip):
      "vip \(vips[vip].name): the address is gone, so this node makes way"
    case .revoked(let vip):
      "vip \(vips[vip].name): the guardian gave it up while this process was stalled; another node may own it"
    case .claimed(let address, let mac, let vip):
      "vip \(vips[vip].name): \(mac) announces \(address), which this node owns; announced again (find that machine: two have the address)"
    case .duplicate(let address, let vip):
      "vip \(vips[vip].name): another machine on \(vips[vip].interface) has \(address); left to it, and tried again later"
    case .preparationFailed(let vip, let timedOut):
      "vip \(vips[vip].name): the command before-announcing \(timedOut ? "did not end in time" : "failed"); announced all the same"
    case .tracker(let tracker, isGood: true, _):
      "tracker \(trackers[tracker].name): good"
    case .tracker(let tracker, isGood: false, let message):
      "tracker \(trackers[tracker].name): bad (\(message))"
    case .trackerDamped(let tracker, let message):
      "tracker \(trackers[tracker].name): bad (\(message)), and too often of late; damped: it counts as bad until it has been good for 30 s"
    case .trackerCalm(let tracker):
      "tracker \(trackers[tracker].name): good, no longer damped"
    case .peer(let peer, let isUp):
      "peer \(peers[peer]): the link is \(isUp ? "up" : "down")"
    case .handOver(let vip, let to):
      "vip \(vips[vip].name): \(to) is ready to take it; connections end now"
    case .handedOver(let vip, let to, let vacant?):
      "vip \(vips[vip].name): handed over to \(to); nobody owned it for at most \(vacant.words)"
        + (vips[vip].preparation == nil ? "" : "; its neighbours are told when before-announcing has ended there")
    case .handedOver(let vip, let to, nil):
      "vip \(vips[vip].name): handed over to \(to)"
    case .handOverFailed(let vip, let to, let reason):
      "vip \(vips[vip].name): not handed over to \(to): \(reason)"
    case .splitBrain(let vip, let owners, let isHeard):
      "vip \(vips[vip].name): SPLIT BRAIN: \(list(owners.map(\.description))) own it at the same time; \(splitBrainAdvice(isHeard: isHeard))"
    case .splitBrainOver(let vip, let lasted):
      "vip \(vips[vip].name): the split brain is over after \(lasted.words)"
    case .standby:
      "standby: this node leaves every election (`roost node resume` ends it)"
    case .resumed:
      "standby is over: this node takes part again"
    case .stopping:
      "stopping"
    }
  }

  /// How loud the line is: a syslog level, as systemd's journal reads it from "<N>" before a line.
  public func level(of occurrence: Occurrence) -> LogLevel {
    switch occurrence {
    case .became(.fault, _, _), .allBackendsDown, .addressRefused, .addressLost, .revoked, .duplicate: .error
    case .preparationFailed, .splitBrain: .error
    case .backend(.down, _, _, _), .addressPutBack, .notice, .claimed: .warning
    case .tracker(_, isGood: false, _), .trackerDamped, .peer(_, isUp: false), .handOverFailed: .warning
    case .became, .backend, .backendsAgain, .tracker, .trackerCalm, .peer, .handOver, .handedOver, .standby, .resumed,
      .splitBrainOver, .stopping:
      .notice
    }
  }
}

extension NodeSettings {
  /// What it happened to, by name.
  public func subject(of occurrence: Occurrence) -> EventSubject {
    switch occurrence {
    case .became(_, let vip, _), .notice(let vip, _), .addressPutBack(let vip), .addressRefused(let vip, _),
      .addressLost(let vip), .revoked(let vip), .claimed(_, _, let vip), .duplicate(_, let vip),
      .preparationFailed(let vip, _), .splitBrain(let vip, _, _), .splitBrainOver(let vip, _):
      EventSubject(vip: vips[vip].name)
    case .backend(_, let service, let backend, _):
      EventSubject(
        vip: vips[services[service].vip].name, service: services[service].name,
        backend: services[service].backends[backend])
    case .allBackendsDown(let service), .backendsAgain(let service):
      EventSubject(vip: vips[services[service].vip].name, service: services[service].name)
    case .tracker(let tracker, _, _), .trackerDamped(let tracker, _), .trackerCalm(let tracker):
      EventSubject(tracker: trackers.indices.contains(tracker) ? trackers[tracker].name : nil)
    case .peer(let peer, _): EventSubject(peer: peers.indices.contains(peer) ? peers[peer] : nil)
    case .handOver(let vip, let to), .handedOver(let vip, let to, _), .handOverFailed(let vip, let to, _):
      EventSubject(vip: vips[vip].name, peer: to)
    case .standby, .resumed, .stopping: EventSubject()
    }
  }
}

extension Occurrence {
  public var kind: Kind {
    switch self {
    case .became(let state, _, _):
      switch state {
      case .initialize: .initialize
      case .backup: .backup
      case .active: .active
      case .fault: .fault
      }
    case .notice: .notice
    case .backend(let state, _, _, _):
      switch state {
      case .up: .backendUp
      case .down: .backendDown
      case .draining, .disabled, .unknown: .backendChanged
      }
    case .allBackendsDown: .serviceDown
    case .backendsAgain: .serviceUp
    case .addressPutBack: .addressPutBack
    case .addressRefused: .addressRefused
    case .addressLost: .addressLost
    case .revoked: .revoked
    case .claimed, .duplicate: .addressConflict
    case .preparationFailed: .hookFailed
    case .splitBrain: .splitBrain
    case .splitBrainOver: .splitBrainOver
    case .tracker(_, let isGood, _): isGood ? .trackerGood : .trackerBad
    case .trackerDamped: .trackerBad
    case .trackerCalm: .trackerGood
    case .peer(_, let isUp): isUp ? .peerUp : .peerDown
    case .handOver, .handedOver, .handOverFailed: .move
    case .standby: .standby
    case .resumed: .resumed
    case .stopping: .stopping
    }
  }

  /// Why, where that is apart from what.
  var cause: String? {
    switch self {
    case .became(_, _, let reason): reason
    case .backend(_, _, _, let message), .tracker(_, _, let message), .trackerDamped(_, let message): message
    case .handOverFailed(_, _, let reason): reason
    default: nil
    }
  }
}

public enum LogLevel: Int, Sendable, Comparable {
  case error = 3, warning = 4, notice = 5, info = 6

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// What to look at in a split brain.
func splitBrainAdvice(isHeard: Bool) -> String {
  let way =
    isHeard
    ? "the other's adverts are heard here, so it does not hear this node's: look at what drops IP protocol 112 on the way to it"
    : "adverts don't pass between them: look at what drops IP protocol 112"
  return way + " (firewall, switch, multicast filter), at keys and at clocks; `roost doctor` on each node tells which"
}

/// "lb1 and lb2", "lb1, lb2 and lb3".
func list(_ names: [String]) -> String {
  guard names.count > 1, let last = names.last else { return names.first ?? "nobody" }
  return names.dropLast().joined(separator: ", ") + " and " + last
}
