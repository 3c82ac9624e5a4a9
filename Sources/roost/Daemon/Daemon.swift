import Basis
import Configuration
import Control
import Glibc
import Linux
import Node
import Prober
import Proxy
import Telemetry
import Wire

/// One running node: its parts are made in the order in which each needs the one before, and ended in the opposite order.
///
/// Whatever can be known to be wrong is known before anything on the network changes.
struct Daemon {
  struct Options: Sendable {
    var configuration: String
    var node: String?
    var state: String
    var socket: String
    var record: String?
    var workers: Int?
  }

  /// Why there is no daemon. Each prints itself, and is told on standard error.
  enum Failure: Error, CustomStringConvertible {
    case mistakes([Mistake])
    case cannot(String)

    var description: String {
      switch self {
      case .mistakes(let mistakes): mistakes.text()
      case .cannot(let why): "roost: \(why)"
      }
    }
  }

  let options: Options

  /// Runs until the node has stopped politely (SIGTERM, SIGINT).
  func run() throws {
    // Before any thread is made, so that every thread inherits the mask.
    let signals = try SignalReader([SIGTERM, SIGINT, SIGHUP])
    let plan = try makePlan()
    if let complaint = try Capabilities.current().complaint(needing: [.networkAdministration, .rawNetwork]) {
      throw Failure.cannot(complaint)
    }
    let folder = try StateFolder(options.state)
    defer { folder.release() }
    let lock = try NamespaceLock()
    defer { withExtendedLifetime(lock) {} }
    let log = try Log()
    defer { log.close() }

    let mailbox = try Mailbox<Loop.Message>()
    let proxy = try makeProxy(plan)
    defer { proxy?.stop() }
    let prober = try makeProber(plan, mailbox)
    defer { prober?.stop() }
    let recorder = try options.record.map { try Recorder(path: $0, settings: plan.node, seed: Self.seed, log: log) }
    defer { recorder?.close() }
    let status = StatusSource(plan, proxy: proxy, mailbox: mailbox, log: log)
    let control = try ControlServer(path: options.socket) { request, answer in
      status.routes.handle(request, answer)
    }
    defer { control.stop() }
    // Last, because it changes the network: it removes what an earlier life left behind.
    let addresses = try AddressThread(
      plan.addresses, watching: plan.watched,
      record: try OwnershipRecord(capacity: max(1, plan.addresses.count))
    ) { mailbox.send(.addresses($0)) }
    defer { addresses.stop() }

    let parts = Loop.Parts(addresses: addresses, proxy: proxy, prober: prober, log: log, recorder: recorder)
    log.write(.notice, "roost \(Roost.version) runs as \(plan.name) with \(options.configuration)")
    let loop = try Loop(plan, parts, mailbox: mailbox, seed: Self.seed)
    try loop.listen(to: signals) { self.reread(log) }
    ServiceManager.ready("\(plan.name): \(plan.node.vips.count) VIPs, \(plan.node.services.count) services")
    try loop.run()
    log.write(.notice, "stopped")
  }

  /// Moves the starts of checks apart between nodes and lives; nothing else depends on it.
  private static let seed = UInt64(bitPattern: Clock.wall().nanoseconds) ^ UInt64(getpid())

  // MARK: Parts

  private func makePlan() throws -> DaemonPlan {
    let reading = Configuration.read(path: options.configuration)
    guard let configuration = reading.configuration else { throw Failure.mistakes(reading.mistakes) }
    let host = try HostFacts.current(node: options.node, vips: Set(configuration.vips.flatMap(\.addresses)))
    let mistakes = reading.mistakes(on: host) + reading.secretMistakes()
    if mistakes.hasError { throw Failure.mistakes(mistakes) }
    guard let name = configuration.nodeName(on: host) else { throw Failure.cannot("this machine is none of the nodes") }
    let interfaces = configuration.vips.map { configuration.interface(of: $0, node: name, on: host) ?? "" }
    return DaemonPlan(configuration, name: name, interfaces: interfaces)
  }

  private func makeProxy(_ plan: DaemonPlan) throws -> ProxyEngine? {
    guard !plan.proxied.isEmpty else { return nil }
    var options = ProxyOptions()
    options.workers = self.options.workers
    let proxy = try ProxyEngine(services: plan.proxied, options: options)
    try proxy.start()
    return proxy
  }

  private func makeProber(_ plan: DaemonPlan, _ mailbox: Mailbox<Loop.Message>) throws -> Prober? {
    guard !plan.probes.isEmpty else { return nil }
    let probes = plan.probes
    return try Prober(probes.map(\.target)) { index, number, result in
      let probe = probes[index]
      mailbox.send(.event(.check(service: probe.service, backend: probe.backend, probe: number, result)))
    }
  }

  /// SIGHUP: the file is read and judged; a wrong one changes nothing. What is right takes effect at the next start.
  private func reread(_ log: Log) {
    let path = options.configuration
    log.perform {
      let reading = Configuration.read(path: path)
      if reading.mistakes.hasError {
        log.write(.error, "\(path) is wrong, so nothing changes:\n\(reading.mistakes.text())")
      } else {
        log.write(.warning, "\(path) is right, but this version takes a changed configuration only at a restart")
      }
    }
  }
}
