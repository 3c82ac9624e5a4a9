import Basis
import Wire

extension CrossChecks {
  /// Each port is a listening socket for each address and each worker.
  private static let maximumPorts = 1024

  static func checkServices(_ draft: Draft, _ mistakes: inout Mistakes) {
    let names = draft.vips.map(\.value.name)
    let known = Set(names)
    /// The ports that are taken, by VIP.
    var taken: [String: Ports] = [:]
    for service in draft.services {
      if let place = service.value("vip"), !service.value.vip.isEmpty, !known.contains(service.value.vip) {
        unknown("VIP", service.value.vip, at: place, among: names, &mistakes)
      }
      for item in service.element["listen"]?.items ?? [] {
        guard let listen = item.text.flatMap(Configuration.Listen.init) else { continue }
        if let other = taken[service.value.vip, default: Ports()].take(listen.ports, for: service.value.name) {
          let isOwn = other == service.value.name
          mistakes.error(
            isOwn
              ? "\(listen) overlaps with what stands before it"
              : "\(listen) of VIP '\(service.value.vip)' is service '\(other)' already", at: item.place,
            suggestion: isOwn ? "leave one" : "choose another port, or another VIP")
        }
      }
      let ports = service.value.listen.reduce(0) { $0 + $1.ports.count }
      if ports > maximumPorts {
        mistakes.error(
          "the service listens on \(ports) ports, \(maximumPorts) at most", at: service.place("listen"),
          suggestion: "leave out the ports that nobody uses: each is a socket")
      }
      checkBackends(service, &mistakes)
      checkCheck(service, &mistakes)
    }
  }

  /// Ranges of ports that don't overlap, sorted, so that a file of many costs no more than their number.
  private struct Ports {
    private var ranges: [(ports: ClosedRange<UInt16>, service: String)] = []

    /// The service that has some of these ports; or none, and they are taken.
    mutating func take(_ ports: ClosedRange<UInt16>, for service: String) -> String? {
      // The first range that doesn't end before these begin.
      var low = 0, high = ranges.count
      while low < high {
        let middle = (low + high) / 2
        if ranges[middle].ports.upperBound < ports.lowerBound { low = middle + 1 } else { high = middle }
      }
      if low < ranges.count, ranges[low].ports.overlaps(ports) { return ranges[low].service }
      ranges.insert((ports, service), at: low)
      return nil
    }
  }

  private static func checkBackends(_ service: Draft.Part<Configuration.Service>, _ mistakes: inout Mistakes) {
    struct Target: Hashable {
      var address: IPAddress
      var port: UInt16?
    }
    var seen: [Target: String] = [:]
    let own =
      service.value.listen.count == 1 && service.value.listen[0].ports.count == 1
      ? service.value.listen[0].ports.lowerBound : nil
    for entry in service.element["backends"]?.entries ?? [] {
      let element = entry.value.text == nil ? entry.value["address"] : entry.value
      guard let element, let endpoint = element.text.flatMap(Endpoint.init) else { continue }
      let target = Target(address: endpoint.address, port: endpoint.port ?? own)
      if let other = seen[target] {
        mistakes.error(
          "\(quoted(element.text ?? "")) is backend '\(other)' already", at: element.place,
          suggestion: "leave one, with a higher weight if it is to get more")
      } else {
        seen[target] = entry.name
      }
    }
  }

  private static func checkCheck(_ service: Draft.Part<Configuration.Service>, _ mistakes: inout Mistakes) {
    guard let element = service.element["check"], case .mapping = element.content, let check = service.value.check
    else {
      return
    }
    let hasHTTP = element.entry("http") != nil
    switch (hasHTTP, element.entry("tcp") != nil) {
    case (true, true):
      mistakes.error(
        "a check is tcp or http, not both", at: service.place("check", "tcp"),
        suggestion: "remove it: http connects too")
    case (false, false):
      mistakes.error(
        "the check doesn't say what is probed", at: service.place("check"),
        suggestion: "add http: /PATH, or tcp: true")
    case (true, false), (false, true): break
    }
    if !hasHTTP {
      for name in ["host", "status", "contains"] {
        guard let entry = element.entry(name) else { continue }
        mistakes.error(
          "'\(name)' belongs to an http check", at: entry.place, suggestion: "add http: /PATH, or remove it")
      }
    }
    if check.timeout > check.every {
      mistakes.error(
        "the timeout (\(DurationText.write(check.timeout))) is longer than from one check to the next (\(DurationText.write(check.every)))",
        at: service.value("check", "timeout") ?? service.place("check"),
        suggestion: "write \(DurationText.write(check.every)) or less")
    }
    if check.port == nil, let listen = service.value.listen.first,
      listen.ports.count > 1 || service.value.listen.count > 1,
      service.value.backends.contains(where: { $0.port == nil })
    {
      mistakes.warning(
        "backends have several ports: only \(listen.ports.lowerBound) is probed", at: service.place("check"),
        suggestion: "add port: \(listen.ports.lowerBound) to the check to say that it is meant")
    }
  }
}
