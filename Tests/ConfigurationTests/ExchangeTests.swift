import Foundation
import Synchronization
import Testing

@testable import Configuration

/// A disk whose steps can be counted: after some of them everything stops, as for who is killed, or a folder is full.
private final class Steps: Disk {
  struct State {
    var files: [String: [UInt8]] = [:]
    /// Steps that are still done; nil: all.
    var left: Int?
    var isFull = false
  }
  let state: Mutex<State>

  init(_ files: [String: String]) { state = Mutex(State(files: files.mapValues { Array($0.utf8) })) }

  func read(_ path: String) throws(FileFault) -> [UInt8]? { state.withLock { $0.files[path] } }

  func write(_ bytes: [UInt8], to path: String, like model: String?) throws(FileFault) {
    try step(path) { state in
      if !state.isFull { state.files[path] = bytes }
      return !state.isFull
    }
  }

  func remove(_ path: String) throws(FileFault) {
    try step(path) { state in
      state.files[path] = nil
      return true
    }
  }

  private func step(_ path: String, _ body: (inout State) -> Bool) throws(FileFault) {
    let isDone = state.withLock { state in
      if let left = state.left {
        guard left > 0 else { return false }
        state.left = left - 1
      }
      return body(&state)
    }
    guard isDone else { throw FileFault("write", path, ENOSPC) }
  }

  subscript(_ path: String) -> String? {
    get { state.withLock { $0.files[path].map { String(decoding: $0, as: UTF8.self) } } }
    set { state.withLock { $0.files[path] = newValue.map { Array($0.utf8) } } }
  }

  /// The process is gone, the disk is there again.
  func die(in steps: Int? = nil) { state.withLock { $0.left = steps } }
  func fill(_ isFull: Bool = true) { state.withLock { $0.isFull = isFull } }
}

/// A configuration that has been replaced before, or never.
private struct Story: Sendable, CustomTestStringConvertible {
  var previous: String?
  /// What follows the exchange before the kill.
  var end: End
  enum End: Sendable { case open, confirmed, undone }
  var testDescription: String { "\(previous ?? "first"), \(end)" }

  static let all = [nil, "older"].flatMap { previous in
    [End.open, .confirmed, .undone].map { Story(previous: previous, end: $0) }
  }

  static let path = "/nowhere/roost.yaml", state = "/nowhere/state"
  static let promise = Unconfirmed(path: path, before: Array("old".utf8), after: Array("new".utf8), deadline: 1000)

  func disk() -> Steps {
    let disk = Steps([Story.path: "old"])
    disk[Story.path + ".previous"] = previous
    return disk
  }

  static func exchange(_ disk: Steps) -> FileExchange { FileExchange(path, promises: state, disk: disk) }

  /// True where it was confirmed, as far as this process knows.
  func play(_ disk: Steps) -> Bool {
    let exchange = Story.exchange(disk)
    do throws(FileFault) {
      try exchange.exchange(Story.promise, isPromised: true)
      switch end {
      case .open: return false
      case .confirmed:
        try exchange.settle()
        return true
      case .undone:
        try exchange.takeBack(Story.promise)
        try exchange.settle()
      }
    } catch {
      // Killed: nothing that it would do now reaches the disk.
    }
    return false
  }
}

@Test(arguments: Story.all)
private func `whoever is killed after any step leaves what is undone to exactly what was there`(_ story: Story) {
  for steps in 0...8 {
    // The next life is killed after any step as well, and begins in time or too late.
    for (again, now) in (0...6).flatMap({ again in [Int64(500), 2000].map { (again, $0) } }) {
      let disk = story.disk()
      disk.die(in: steps)
      let isConfirmed = story.play(disk)
      disk.die(in: again)
      _ = Story.exchange(disk).recover(at: now)
      disk.die()
      let recovery = Story.exchange(disk).recover(at: 2000)
      let words: Comment = "\(steps) steps, \(again) at \(now)"
      // The last step of a confirmation can be done without its word having come.
      let wasConfirmed = isConfirmed || story.end == .confirmed && steps >= 4
      #expect(disk[Story.path] == (wasConfirmed ? "new" : "old"), words)
      #expect(recovery.unconfirmed == nil && recovery.trouble == nil, words)
      #expect(disk[Story.state + "/unconfirmed.json"] == nil, words)
      // Later decisions stay.
      disk[Story.path] = "later"
      #expect(Story.exchange(disk).recover(at: 3000) == .init(), words)
      #expect(disk[Story.path] == "later", words)
    }
  }
}

@Test(arguments: Story.all)
private func `in time it still waits, or has not begun`(_ story: Story) throws {
  guard story.end == .open else { return }
  for steps in 0...3 {
    let disk = story.disk()
    disk.die(in: steps)
    _ = story.play(disk)
    disk.die()
    let recovery = Story.exchange(disk).recover(at: 500)
    #expect(recovery.unconfirmed == (steps == 3 ? Story.promise : nil))
    #expect(disk[Story.path] == (steps == 3 ? "new" : "old"))
  }
}

@Test(arguments: Story.all)
private func `a disk that is full after any step undoes nothing by halves, and all of it when there is room`(
  _ story: Story
) {
  for steps in 0...8 {
    let disk = story.disk()
    let exchange = Story.exchange(disk)
    disk.die(in: steps)
    _ = story.play(disk)
    disk.die()
    let before = disk[Story.path]
    disk.fill()
    let recovery = exchange.recover(at: 2000)
    #expect(disk[Story.path] == before)
    if before == "new", recovery.unconfirmed != nil {
      #expect(recovery.trouble != nil && recovery.said != nil)
      #expect(recovery.instead == Array("old".utf8), "what was there counts, wherever it is")
      disk.fill(false)
      let second = exchange.recover(at: 3000)
      #expect(second.unconfirmed == nil && disk[Story.path] == "old")
    }
    #expect(exchange.recover(at: 4000) == .init())
  }
}

@Test func `what somebody has decided since is not undone, and that is said once`() throws {
  for later in ["fixed", nil] {
    let disk = Story(previous: "older", end: .open).disk()
    let exchange = Story.exchange(disk)
    try exchange.exchange(Story.promise, isPromised: true)
    disk[Story.path] = later
    #expect(exchange.recover(at: 2000).said?.contains("changed since") == true)
    #expect(disk[Story.path] == later)
    #expect(exchange.recover(at: 2000) == .init())
  }
}

@Test func `a process beside another that sees to it changes nothing`() throws {
  let disk = Story(previous: nil, end: .open).disk()
  let exchange = Story.exchange(disk)
  try exchange.exchange(Story.promise, isPromised: true)
  disk.die(in: 0)
  #expect(exchange.recover(at: 500, mayAct: false).unconfirmed == Story.promise)
  #expect(exchange.recover(at: 500, mayAct: false).instead == nil)
  #expect(exchange.recover(at: 2000, mayAct: false).instead == Array("old".utf8))
}

@Test func `a promise for another file is void`() throws {
  let disk = Story(previous: nil, end: .open).disk()
  try Story.exchange(disk).exchange(Story.promise, isPromised: true)
  let other = FileExchange("/nowhere/other.yaml", promises: Story.state, disk: disk)
  #expect(other.recover(at: 2000).said?.contains(Story.path) == true)
  #expect(disk[Story.path] == "new")
  #expect(other.recover(at: 2000) == .init())
}
