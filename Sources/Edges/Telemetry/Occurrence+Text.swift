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
    case .stopping:
      "stopping"
    }
  }

  /// How loud the line is: a syslog level, as systemd's journal reads it from "<N>" before a line.
  public func level(of occurrence: Occurrence) -> LogLevel {
    switch occurrence {
    case .became(.fault, _, _), .allBackendsDown, .addressRefused, .addressLost, .revoked, .duplicate: .error
    case .preparationFailed: .error
    case .backend(.down, _, _, _), .addressPutBack, .notice, .claimed: .warning
    case .became, .backend, .backendsAgain, .stopping: .notice
    }
  }
}

public enum LogLevel: Int, Sendable, Comparable {
  case error = 3, warning = 4, notice = 5, info = 6

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}
