import CLinux
import Glibc
import Synchronization

/// The switch's side of the cables, and what it forwards from which port to which. All is done in the switch's namespace.
///
/// A cut cable and a lost carrier are one netlink message each on a socket that is open already, so that they happen in the same
/// instant as a SIGKILL. What concerns pairs of ports is a rule set of nftables' bridge family, replaced as one transaction.
final class Cabling: Sendable {
  struct Pair: Hashable, Sendable, Comparable {
    var from: String
    var to: String
    static func < (left: Self, right: Self) -> Bool { (left.from, left.to) < (right.from, right.to) }
  }

  private let namespace: Namespace
  private let socket: Int32
  private let topology: Topology
  private let known: Mutex<[String: [Port]]>
  private let exchange = Mutex(())
  private let rules = Mutex(Rules())

  private struct Port: Sendable {
    var name: String
    var link: Int
    var index: UInt32
  }

  /// What is not carried from host to host.
  struct Rules: Sendable, Hashable {
    /// Nothing at all.
    var cut: Set<Pair> = []
    /// Nothing but what VRRP needs: TCP is dropped.
    var withoutTCP: Set<Pair> = []
    /// This share of the packets is lost.
    var lossy: [Pair: Double] = [:]
  }

  init(topology: Topology, namespace: Namespace) throws(LabError) {
    self.namespace = namespace
    self.topology = topology
    let opened = try namespace.run { (clinux_lab_netlink(0), Cabling.ports(of: topology)) }
    guard opened.0 >= 0 else { throw .system("a netlink socket in \(namespace.name)", opened.0) }
    socket = opened.0
    known = Mutex(opened.1)
  }

  /// In the switch's namespace.
  private static func ports(of topology: Topology) -> [String: [Port]] {
    var ports: [String: [Port]] = [:]
    for host in topology.hosts {
      ports[host.name] = host.interfaces.map { Port(name: $0.port, link: $0.link, index: if_nametoindex($0.port)) }
    }
    return ports
  }

  private func ports(_ host: String) -> [Port] { known.withLock { $0[host] ?? [] } }

  /// A cable was taken away or laid anew: its end has another number now.
  func refresh() throws(LabError) {
    let found = try namespace.run { [topology] in Cabling.ports(of: topology) }
    known.withLock { $0 = found }
  }

  deinit { close(socket) }

  /// The host's end sees a carrier, or not.
  func setCarrier(_ host: String, _ isUp: Bool) throws(LabError) {
    for port in ports(host) { try ask(NetlinkRequest.link(index: port.index, isUp: isUp), "the port of \(host)") }
  }

  /// The cable carries packets, or not; the host's end sees a carrier either way.
  func setForwarding(_ host: String, _ isForwarding: Bool) throws(LabError) {
    for port in ports(host) {
      try ask(NetlinkRequest.bridgePort(index: port.index, isForwarding: isForwarding), "the port of \(host)")
    }
  }

  /// From now on these paths between hosts carry nothing, and those lose a share of their packets; all others are whole.
  func setPaths(cut: Set<Pair>, lossy: [Pair: Double]) throws(LabError) {
    try setPaths(Rules(cut: cut, lossy: lossy))
  }

  func setPaths(_ wanted: Rules) throws(LabError) {
    let isSame = rules.withLock { rules in
      if rules == wanted { return true }
      rules = wanted
      return false
    }
    if isSame { return }
    let program = try Cabling.checkFilter()
    try Command.check(
      [program, "-f", "-"], input: text(of: wanted), in: namespace, doing: "changing what the lab's switch forwards")
  }

  private func text(of rules: Rules) -> String {
    var text =
      "add table bridge lab\nadd chain bridge lab forward { type filter hook forward priority 0; policy accept; }\n"
    text += "flush chain bridge lab forward\n"
    func add(_ pair: Pair, _ match: String) {
      for (from, to) in portPairs(pair) {
        text += "add rule bridge lab forward iifname \"\(from)\" oifname \"\(to)\" \(match)counter drop\n"
      }
    }
    for pair in rules.cut.sorted() { add(pair, "") }
    for pair in rules.withoutTCP.sorted() { add(pair, "meta l4proto tcp ") }
    for (pair, share) in rules.lossy.sorted(by: { $0.key < $1.key }) {
      let perMille = max(0, min(1000, Int((share * 1000).rounded())))
      if perMille > 0 { add(pair, "numgen random mod 1000 < \(perMille) ") }
    }
    return text
  }

  /// The program that paths between hosts are cut with.
  @discardableResult
  static func checkFilter() throws(LabError) -> String {
    guard let program = Command.find("nft") else {
      throw LabError(.host, "partitions and losses between nodes need nftables' program nft: apt-get install nftables")
    }
    return program
  }

  private func portPairs(_ pair: Pair) -> [(String, String)] {
    ports(pair.from).flatMap { from in
      ports(pair.to).filter { $0.link == from.link }.map { (from.name, $0.name) }
    }
  }

  private func ask(_ request: [UInt8], _ subject: String) throws(LabError) {
    let code = exchange.withLock { _ -> Int32 in
      guard writeAll(socket, request) else { return errno }
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = recv(socket, &buffer, buffer.count, 0)
        if count < 0, errno == EINTR { continue }
        if count <= 0 { return errno }
        if let code = NetlinkReader.answer(in: Array(buffer[..<count])) { return code }
      }
    }
    guard code == 0 else { throw .system("changing \(subject)", code) }
  }
}
