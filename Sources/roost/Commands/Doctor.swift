import ArgumentParser
import Basis
import Configuration
import Control
import FoundationEssentials
import Glibc
import Linux
import Telemetry
import Wire

/// What stands in the way of this node, each with what to do about it.
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Find what on this host and between the nodes stands in the way.",
    discussion: """
      Looks at capabilities, the configuration, interfaces and their settings, the firewall, other programs that manage the link, \
      clocks, and, where the daemon runs, at what really passes between the nodes, both ways. Changes nothing. Exit code 1 if \
      anything fails.
      """)

  @OptionGroup var configuration: ConfigurationOption
  @OptionGroup var socket: SocketOption
  @OptionGroup var output: OutputOptions

  @Option(name: .long, help: "Look for this node (default: the one whose address is local).")
  var node: String?

  func run() throws {
    var findings = Findings()
    findings.lookAtCapabilities()
    if let host = findings.lookAtConfiguration(configuration.config, node: node) {
      for interface in host.interfaces { findings.lookAtInterface(interface, host) }
      findings.lookAtManagers(of: host)
      findings.lookAtFirewall(host)
      findings.lookAtClock(host)
    }
    findings.lookAtDaemon(socket.socket)
    if output.json {
      printLine(String(decoding: findings.json, as: UTF8.self))
    } else {
      for line in findings.text(isColored: output.wantsColor(on: STDOUT_FILENO)) { printLine(line) }
    }
    if findings.hasFailure { throw ExitCode(ExitStatus.failed.rawValue) }
  }
}

/// One thing that was looked at.
struct Finding: Codable, Sendable, Hashable {
  enum State: String, Codable, Sendable {
    case ok
    /// May be meant, or may not matter.
    case warning
    /// Stands in the way.
    case failed
    /// Could not be looked at, or cannot be told yet.
    case unknown
  }

  var state: State
  /// What was looked at: `capabilities`, `configuration`, `interface`, `firewall`, `link manager`, `clock`, `daemon`, `peer`.
  var subject: String
  var text: String
  /// What to do.
  var fix: String?
}

struct Findings: Sendable {
  private(set) var all: [Finding] = []

  mutating func add(_ state: Finding.State, _ subject: String, _ text: String, fix: String? = nil) {
    all.append(Finding(state: state, subject: subject, text: text, fix: fix))
  }

  var hasFailure: Bool { all.contains { $0.state == .failed } }

  var json: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    return (try? encoder.encode(["findings": all])).map(Array.init) ?? []
  }

  /// What fails first, then what may, then the rest.
  func text(isColored: Bool) -> [String] {
    let order: [Finding.State] = [.failed, .warning, .unknown, .ok]
    let tones: [Finding.State: String] = [.failed: "31", .warning: "33", .ok: "32"]
    return order.flatMap { state in
      all.filter { $0.state == state }.flatMap { finding in
        let word = finding.state.rawValue.uppercased()
        let label = isColored ? tones[state].map { "\u{1B}[\($0)m\(word)\u{1B}[0m" } ?? word : word
        return ["\(label)  \(finding.subject): \(printable(finding.text))"]
          + (finding.fix.map { ["    = \($0)"] } ?? [])
      }
    }
  }
}

/// What the configuration makes of this host, as far as a doctor needs it.
struct Patient: Sendable {
  struct Interface: Sendable, Hashable {
    var name: String
    var index: Int32
    var families: Set<AddressFamily>
    /// The families of the elections that are held over it by multicast.
    var multicast: Set<AddressFamily>
    /// The families of all elections that are held over it.
    var elections: Set<AddressFamily>
    /// A VIP here accepts no packets itself: it is a gateway.
    var isGateway: Bool
  }

  var interfaces: [Interface]
  /// Of the peer link, where there is one.
  var peerPort: UInt16?
  /// Adverts are signed, and those that are not, or whose time is wrong, are refused.
  var enforcesAuthentication: Bool
}

extension Findings {
  mutating func lookAtCapabilities() {
    guard let capabilities = try? Capabilities.current() else { return }
    if let complaint = capabilities.complaint(needing: [.networkAdministration, .rawNetwork]) {
      add(.warning, "capabilities", complaint, fix: "run the doctor as the daemon runs, or it sees less")
    } else {
      add(.ok, "capabilities", "addresses can be added, and adverts sent")
    }
    if !capabilities.contains(.scheduling) {
      add(
        .warning, "capabilities", "CAP_SYS_NICE is missing: on a busy machine the loop may be late",
        fix: "AmbientCapabilities=CAP_SYS_NICE in the unit, or cluster.realtime: false")
    }
  }

  /// Nil where there is nothing to look further for.
  mutating func lookAtConfiguration(_ path: String, node: String?) -> Patient? {
    let reading = Configuration.read(path: path)
    guard let configuration = reading.configuration else {
      for mistake in reading.mistakes.prefix(3) {
        add(.failed, "configuration", mistake.message, fix: "roost check --config \(path)")
      }
      return nil
    }
    let host: HostFacts
    do throws(SystemError) {
      host = try HostFacts.current(node: node, vips: Set(configuration.vips.flatMap(\.addresses)))
    } catch {
      add(.unknown, "configuration", "\(error)")
      return nil
    }
    let mistakes = reading.mistakes(on: host) + reading.secretMistakes() + reading.programMistakes()
    for mistake in mistakes {
      add(mistake.severity == .error ? .failed : .warning, "configuration", mistake.message, fix: mistake.suggestion)
    }
    guard let name = configuration.nodeName(on: host) else { return nil }
    if !mistakes.hasError { add(.ok, "configuration", "\(path) fits this machine, which is '\(name)'") }
    return Patient(configuration, name, host)
  }
}

extension Patient {
  init(_ configuration: Configuration, _ name: String, _ host: HostFacts) {
    var interfaces: [Interface] = []
    let states = (try? InterfaceState.all()) ?? []
    for vip in configuration.vips where vip.priority(of: name) != nil {
      guard let interface = configuration.interface(of: vip, node: name, on: host) else { continue }
      if !interfaces.contains(where: { $0.name == interface }) {
        interfaces.append(
          Interface(
            name: interface, index: states.first { $0.name == interface }?.index ?? 0, families: [], multicast: [],
            elections: [], isGateway: false))
      }
      guard let place = interfaces.firstIndex(where: { $0.name == interface }) else { continue }
      interfaces[place].families.formUnion(vip.addresses.map(\.family))
      if case .vrrp(let router) = vip.election {
        interfaces[place].elections.insert(router.family)
        if router.peers == .multicast { interfaces[place].multicast.insert(router.family) }
        if !router.accept { interfaces[place].isGateway = true }
      }
    }
    self.interfaces = interfaces
    peerPort = configuration.cluster.hasPeerLink ? configuration.cluster.port : nil
    enforcesAuthentication = configuration.vips.contains {
      if case .vrrp(let router) = $0.election { router.authentication.mode == .enforce } else { false }
    }
  }
}
