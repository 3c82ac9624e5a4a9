import Basis
import Node

/// Writes down what one node is given and decides: a recording for each life of its daemon, as the daemon itself makes them.
struct Recorder {
  let node: Int
  private(set) var finished: [[UInt8]] = []
  private var current: [UInt8]?
  private var writer = RecordingWriter()

  init(node: Int) { self.node = node }

  mutating func begin(_ node: Int, _ settings: NodeSettings, seed: UInt64) {
    guard node == self.node else { return }
    finish()
    writer = RecordingWriter()
    current = Recording.header(settings, seed: seed)
  }

  mutating func event(_ event: Event, _ node: Int, at now: Instant) {
    guard node == self.node, var bytes = current else { return }
    current = nil
    // The daemon hands a full buffer over; here there is room for as long as it takes.
    while !writer.write(event, at: now, into: &bytes) { bytes.reserveCapacity(2 * bytes.count + 65_536) }
    current = bytes
  }

  mutating func effect(_ effect: Effect, _ node: Int) {
    guard node == self.node else { return }
    writer.decided(effect)
  }

  mutating func finish() {
    guard var bytes = current else { return }
    current = nil
    while !writer.finish(into: &bytes) { bytes.reserveCapacity(bytes.count + 64) }
    finished.append(bytes)
  }
}
