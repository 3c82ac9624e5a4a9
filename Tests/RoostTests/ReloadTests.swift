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
  let disk = Filling()

  /// The machine's, which fills up on demand: nothing can be written to the configuration any more.
  final class Filling: Disk {
    private let real = RealDisk()
    let isFull = Mutex(false)
    func read(_ path: String) throws(FileFault) -> [UInt8]? { try real.read(path) }
    func remove(_ path: String) throws(FileFault) { try real.remove(path) }
    func write(_ bytes: [UInt8], to path: String, like model: String?) throws(FileFault) {
      if path.contains(".yaml"), isFull.withLock({ $0 }) { throw FileFault("write", path, ENOSPC) }
      try real.write(bytes, to: path, like: model)
    }
  }
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

  func start(isActing: Bool = true) throws {
    let recovery = ReloadCoordinator.recover(options, mayAct: isActing, disk: disk)
    let reading =
      recovery.instead.map { Configuration.read(bytes: $0, file: options.path) }
      ?? Configuration.read(path: options.path)
    let configuration = try #require(reading.configuration)
    let plan = try DaemonPlan(configuration, name: "lb1", interfaces: configuration.vips.map { _ in "" })
    record.installed.withLock { $0.append(plan) }
    coordinator = try ReloadCoordinator(
      plan, options, recovery: recovery, isActing: isActing, chronicle: chronicle, log: log, disk: disk,
      pause: .milliseconds(50)
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

  func apply(_ text: String, confirm: Duration? = nil) -> ReloadCoordinator.Outcome? {
    wait { coordinator.apply(Array(text.utf8), confirm: confirm, then: $0) }
  }

  var exchange: FileExchange { FileExchange(options.path, promises: folder) }
  var isPromised: Bool { (try? exchange.promised()) != .nothing }
  func isTold(_ words: String) -> Bool {
    chronicle.events(after: 0).events.contains { String(decoding: $0.json, as: UTF8.self).contains(words) }
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
  // The next can't begin before this one is decided.
  let second = stage.wait { stage.coordinator.apply(Array(new.utf8), confirm: .seconds(60), then: $0) }
  #expect(second?.refusal?.contains("roost confirm") == true)
  #expect(eventually { stage.drain == .seconds(1) })
  #expect(eventually { stage.file == Stage.text(drain: "1s") })
  #expect(eventually { stage.chronicle.events(after: 0).events.contains { $0.kind == "undone" } })
  #expect(stage.wait { stage.coordinator.confirm(then: $0) }?.refusal != nil)
}

@Test func `what is confirmed stays`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  let new = Stage.text(drain: "7s")
  _ = stage.wait { stage.coordinator.apply(Array(new.utf8), confirm: .seconds(3600), then: $0) }
  #expect(stage.coordinator.waiting != nil)
  #expect(stage.wait { stage.coordinator.confirm(then: $0) }?.refusal == nil)
  #expect(stage.coordinator.waiting == nil)
  #expect(!stage.isPromised)
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
  #expect(!stage.isPromised)
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
  #expect(stage.drain == .seconds(1))
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
  let (old, new) = (Stage.text(drain: "1s"), Stage.text(drain: "7s"))
  _ = stage.apply(new, confirm: .seconds(3600))
  stage.coordinator.stop()
  // In time: it is still to be confirmed.
  try stage.start()
  #expect(stage.coordinator.waiting != nil)
  #expect(stage.drain == .seconds(7))
  #expect(stage.wait { stage.coordinator.confirm(then: $0) }?.refusal == nil)
  #expect(stage.apply(old)?.refusal == nil)
  stage.coordinator.stop()
  // Too late: the file is back before anything is read.
  try stage.exchange.exchange(
    Unconfirmed(path: stage.exchange.path, before: Array(old.utf8), after: Array(new.utf8), deadline: 1),
    isPromised: true)
  try stage.start()
  #expect(stage.file == old)
  #expect(stage.drain == .seconds(1))
  #expect(!stage.isPromised)
}

@Test func `what can't be taken back runs no more, is said and tried again`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  let (old, bad) = (Stage.text(drain: "1s"), Stage.text(drain: "7s"))
  #expect(stage.apply(bad, confirm: .seconds(1))?.refusal == nil)
  stage.disk.isFull.withLock { $0 = true }
  #expect(eventually { stage.coordinator.waiting?.trouble?.contains("No space") == true })
  #expect(stage.drain == .seconds(1))
  #expect(stage.file == bad)
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.refusal?.contains("No space") == true)
  #expect(stage.wait { stage.coordinator.confirm(then: $0) }?.refusal != nil)
  #expect(stage.drain == .seconds(1))
  // A start changes nothing about it.
  stage.coordinator.stop()
  try stage.start()
  #expect(stage.drain == .seconds(1))
  #expect(stage.coordinator.waiting?.trouble != nil)
  stage.disk.isFull.withLock { $0 = false }
  #expect(eventually { stage.coordinator.waiting == nil })
  #expect(stage.file == old)
  #expect(!stage.isPromised)
}

@Test func `a decision for good ends what waits, and no later start undoes it`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  let (bad, fixed) = (Stage.text(drain: "7s"), Stage.text(drain: "9s"))
  // Before its time is over, and when it could not be taken back.
  for isFull in [false, true] {
    #expect(stage.apply(bad, confirm: isFull ? .seconds(1) : .seconds(3600))?.refusal == nil)
    if isFull {
      stage.disk.isFull.withLock { $0 = true }
      #expect(eventually { stage.coordinator.waiting?.trouble != nil })
      stage.disk.isFull.withLock { $0 = false }
    }
    let outcome = stage.apply(fixed)
    #expect(outcome?.refusal == nil)
    #expect(stage.coordinator.waiting == nil)
    stage.coordinator.stop()
    try stage.start()
    #expect(stage.file == fixed)
    #expect(stage.drain == .seconds(9))
    #expect(!stage.isPromised)
  }
  #expect(stage.isTold("replaced by this decision"))
}

@Test func `a file that was edited since is reloaded for good; one that was not still waits`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  #expect(stage.apply(Stage.text(drain: "7s"), confirm: .seconds(3600))?.refusal == nil)
  let same = stage.wait { stage.coordinator.reload(then: $0) }
  #expect(same?.changed == [])
  #expect(stage.coordinator.waiting != nil)
  // A mistake decides nothing.
  try stage.write("nonsense")
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.refusal != nil)
  #expect(stage.coordinator.waiting != nil)
  try stage.write(Stage.text(drain: "8s"))
  #expect(stage.wait { stage.coordinator.reload(then: $0) }?.changed == ["VIP web: drain"])
  #expect(stage.coordinator.waiting == nil)
  #expect(!stage.isPromised)
}

@Test func `a file that was edited since is left alone when the time is over`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  stage.coordinator.stop()
  try stage.exchange.exchange(
    Unconfirmed(
      path: stage.exchange.path, before: Array(Stage.text(drain: "1s").utf8),
      after: Array(Stage.text(drain: "7s").utf8), deadline: 1), isPromised: true)
  // It may not undo before it is the only one, so the edit comes first for certain.
  try stage.start(isActing: false)
  try stage.write("edited")
  stage.coordinator.takeOver()
  #expect(eventually { stage.coordinator.waiting == nil })
  #expect(stage.file == "edited")
  #expect(stage.isTold("changed since"))
  // It could not be put back either.
  #expect(stage.apply(Stage.text(drain: "8s"), confirm: .seconds(60))?.refusal?.contains("mistakes") == true)
  try stage.write(Stage.text(drain: "1s"))
}

@Test func `a process that takes another one's place undoes what that one has left, and no more`() throws {
  let stage = try Stage()
  defer { stage.stop() }
  let (old, new) = (Stage.text(drain: "1s"), Stage.text(drain: "7s"))
  stage.coordinator.stop()
  try stage.exchange.exchange(
    Unconfirmed(path: stage.exchange.path, before: Array(old.utf8), after: Array(new.utf8), deadline: .max),
    isPromised: true)
  try stage.start(isActing: false)
  #expect(stage.drain == .seconds(7))
  // Meanwhile the other one undoes it.
  try stage.write(old)
  try stage.exchange.settle()
  stage.coordinator.takeOver()
  #expect(eventually { stage.drain == .seconds(1) })
  #expect(eventually { stage.coordinator.waiting == nil })
}
