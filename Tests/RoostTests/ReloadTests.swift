import Configuration
import Foundation
import Linux
import Synchronization
import Telemetry
import Testing

@testable import roost

/// A coordinator over a file and a state folder of its own; this machine owns nothing in it, so that any host will do.
private final class Stage {
  let folder: String
  let log: Log
  let chronicle: Chronicle
  let record = Record()
  /// What the loop has not read yet.
  let mailbox: Mailbox<@Sendable () -> Void>

  /// What was put in place.
  final class Record: Sendable {
    let installed = Mutex<[DaemonPlan]>([])
    let fails = Mutex(false)
    /// As long as a loop that is blocked: it reads its mailbox when it goes on.
    let isBlocked = Mutex(false)
  }

  private(set) var coordinator: ReloadCoordinator!

  static func text(drain: String, more: String = "") -> String {
    """
    cluster: { nodes: { lb1: 10.254.0.11, lb2: 10.254.0.12, lb3: 10.254.0.13 } }
    vips:
      web: { addresses: 10.254.0.100, prefer: [lb2, lb3], drain: \(drain), vrrp: { id: 51 } }
    \(more)
    """
  }

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "roost-reload-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    log = try Log()
    mailbox = try Mailbox()
    chronicle = Chronicle(node: "lb1", log: log)
    try write(Stage.text(drain: "1s"))
    try start()
  }

  var options: ReloadCoordinator.Options { .init(path: "\(folder)/roost.yaml", node: "lb1", state: folder) }
  var file: String { (try? String(contentsOfFile: options.path, encoding: .utf8)) ?? "" }
  func write(_ text: String) throws { try text.write(toFile: options.path, atomically: true, encoding: .utf8) }

  func start() throws {
    let recovery = ReloadCoordinator.recover(options)
    let configuration = try #require(Configuration.read(path: options.path).configuration)
    let plan = try DaemonPlan(configuration, name: "lb1", interfaces: configuration.vips.map { _ in "" })
    coordinator = try ReloadCoordinator(
      plan, options, unconfirmed: recovery.unconfirmed, chronicle: chronicle, log: log
    ) { [record, mailbox] plan in
      if record.isBlocked.withLock({ $0 }) {
        let proposal = try Proposal()
        mailbox.send {
          guard proposal.take() else { return }
          record.installed.withLock { $0.append(plan) }
          proposal.done()
        }
        guard proposal.isAccepted(within: .milliseconds(50)) else { throw Daemon.Failure.cannot("it is withdrawn") }
        return
      }
      if record.fails.withLock({ $0 }) { throw Daemon.Failure.cannot("no") }
      record.installed.withLock { $0.append(plan) }
    }
  }

  func stop() {
    coordinator.stop()
    log.close()
    try? FileManager.default.removeItem(atPath: folder)
  }

  func wait(_ ask: (@escaping @Sendable (ReloadCoordinator.Outcome) -> Void) -> Void) -> ReloadCoordinator.Outcome? {
    let box = Box()
    ask { outcome in box.value.withLock { $0 = outcome } }
    _ = eventually { box.value.withLock { $0 != nil } }
    return box.value.withLock { $0 }
  }

  var drain: Duration? { record.installed.withLock { $0.last?.configuration.vips.first?.drain } }
}

private final class Box: Sendable {
  let value = Mutex<ReloadCoordinator.Outcome?>(nil)
}

private func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<3000 {
    if condition() { return true }
    usleep(10_000)
  }
  return false
}

extension ReloadCoordinator.Outcome {
  fileprivate var changed: [String]? { if case .done(let report) = self { report.changed } else { nil } }
  fileprivate var refusal: String? { if case .refused(let text) = self { text } else { nil } }
}

@Test func `a reload puts the difference in place, a wrong file nothing`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.changed == [])
  try stage.write(Stage.text(drain: "5s"))
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.changed == ["VIP web: drain"])
  #expect(stage.drain == .seconds(5))
  try stage.write(Stage.text(drain: "5"))
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.refusal?.contains("write 5ms or 5s") == true)
  #expect(stage.drain == .seconds(5))
  #expect(stage.coordinator.plan.configuration.vips[0].drain == .seconds(5))
  #expect(
    eventually { stage.chronicle.events(after: 0).events.map(\.kind) == ["reloaded", "reloaded", "reload-refused"] })
}

@Test func `what is applied replaces the file, and is undone where nobody confirms it`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  let new = Stage.text(drain: "7s")
  let outcome = stage.wait { stage.coordinator.apply(Array(new.utf8), confirm: .seconds(1), then: $0) }
  #expect(outcome?.changed == ["VIP web: drain"])
  #expect(stage.file == new)
  // Nothing else may change meanwhile.
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.refusal?.contains("roost confirm") == true)
  #expect(eventually { stage.drain == .seconds(1) })
  #expect(stage.file == Stage.text(drain: "1s"))
  #expect(eventually { stage.chronicle.events(after: 0).events.contains { $0.kind == "undone" } })
  #expect(stage.wait { stage.coordinator.confirm(then: $0) }?.refusal != nil)
}

@Test func `what is confirmed stays`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  let new = Stage.text(drain: "7s")
  _ = stage.wait { stage.coordinator.apply(Array(new.utf8), confirm: .seconds(3600), then: $0) }
  #expect(stage.coordinator.confirmationDeadline != nil)
  #expect(stage.wait { stage.coordinator.confirm(then: $0) }?.refusal == nil)
  #expect(stage.coordinator.confirmationDeadline == nil)
  #expect(Unconfirmed.read(in: stage.folder) == nil)
  #expect(stage.file == new)
}

@Test func `what can't be put in place leaves file and settings as they were`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  stage.record.fails.withLock { $0 = true }
  #expect(
    stage.wait { stage.coordinator.apply(Array(Stage.text(drain: "9s").utf8), confirm: .seconds(60), then: $0) }?
      .refusal != nil)
  #expect(stage.file == Stage.text(drain: "1s"))
  #expect(Unconfirmed.read(in: stage.folder) == nil)
  #expect(stage.wait { stage.coordinator.apply(Array("nonsense".utf8), confirm: nil, then: $0) }?.refusal != nil)
  #expect(stage.file == Stage.text(drain: "1s"))
}

@Test func `what a blocked loop did not take in time it never takes`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  stage.record.isBlocked.withLock { $0 = true }
  try stage.write(Stage.text(drain: "5s"))
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.refusal == "it is withdrawn")
  // The loop goes on, and finds it in its mailbox.
  stage.mailbox.drain { $0() }
  #expect(stage.drain == nil)
  #expect(stage.coordinator.plan.configuration.vips[0].drain == .seconds(1))
  // So the next reload has the difference still to make.
  stage.record.isBlocked.withLock { $0 = false }
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.changed == ["VIP web: drain"])
  #expect(stage.drain == .seconds(5))
}

@Test func `what the loop has taken is done, however long whoever asked was to wait`() throws {
  let proposal = try Proposal()
  #expect(proposal.take())
  let thread = try Thread.start(named: "loop", stackSize: 512 * 1024) {
    usleep(50_000)
    proposal.done()
  }
  #expect(proposal.isAccepted(within: .milliseconds(1)))
  thread.join()
  #expect(!proposal.take())
}

@Test func `another life goes on counting, and undoes what is overdue before it reads`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  let new = Stage.text(drain: "7s")
  _ = stage.wait { stage.coordinator.apply(Array(new.utf8), confirm: .seconds(2), then: $0) }
  stage.coordinator.stop()
  // In time: it is still to be confirmed.
  try stage.start()
  if stage.coordinator.confirmationDeadline != nil {
    #expect(eventually { stage.drain == .seconds(1) })
  }
  #expect(stage.file == Stage.text(drain: "1s"))
  stage.coordinator.stop()
  // Too late: the file is back before anything is read.
  try Unconfirmed(path: ConfigurationFile(stage.options.path).path, deadline: 1).write(in: stage.folder)
  try Data(new.utf8).write(to: URL(filePath: stage.options.path))
  #expect(ReloadCoordinator.recover(stage.options).undone != nil)
  #expect(stage.file == Stage.text(drain: "1s"))
  #expect(Unconfirmed.read(in: stage.folder) == nil)
  try stage.start()
}
