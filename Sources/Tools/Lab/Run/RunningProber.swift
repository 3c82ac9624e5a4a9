import Basis
import FoundationEssentials
import Glibc
import Linux

/// The prober's process, and the pipes to it.
final class RunningProber {
  private let child: Child
  private let specification: ProbeSpecification
  private var input: Int32
  private let output: Int32
  /// What it said so far.
  private var said = ""

  init(_ specification: ProbeSpecification, machines: Machines, helper: [String], folder: String) throws(LabError) {
    self.specification = specification
    let file = "\(folder)/probe.json"
    guard let data = try? JSONEncoder().encode(specification), (try? data.write(to: URL(filePath: file))) != nil else {
      throw LabError(.failed, "\(file) can't be written")
    }
    let toChild = try Command.pipe()
    let fromChild = try Command.pipe()
    input = toChild.writing
    output = fromChild.reading
    defer {
      close(toChild.reading)
      close(fromChild.writing)
    }
    child = try machines.start(
      Topology.client, helper + ["probe", file], log: "\(folder)/probe.log", input: toChild.reading,
      output: fromChild.writing)
    try expect("ready", within: .seconds(5))
  }

  /// Until all its long-lived connections are open, or it says that it waited long enough.
  func awaitConnections() throws(LabError) { try expect("open", within: LongLived.openingTime + .seconds(5)) }

  deinit {
    if input >= 0 { close(input) }
    close(output)
    child.end()
  }

  /// Ends it and gives what it saw.
  func finish() throws(LabError) -> [Sample] {
    close(input)
    input = -1
    try expect("done", within: .seconds(60))
    guard let data = try? Data(contentsOf: URL(filePath: specification.output)),
      let samples = Sample.decode([UInt8](data))
    else {
      throw LabError(.failed, "the prober's samples in \(specification.output) can't be read")
    }
    return samples
  }

  private func expect(_ word: String, within limit: Duration) throws(LabError) {
    let deadline = Clock.now() + limit
    var bytes = [UInt8](repeating: 0, count: 256)
    while !said.contains(word) {
      var polled = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      let left = Int32(clamping: Int((deadline - Clock.now()).milliseconds.rounded(.up)))
      guard left > 0, poll(&polled, 1, left) == 1 else {
        throw LabError(.failed, "the prober did not say '\(word)' in time")
      }
      let count = read(output, &bytes, bytes.count)
      guard count > 0 else {
        throw LabError(.failed, "the prober ended: see probe.log of the lab")
      }
      said += String(decoding: bytes[..<count], as: UTF8.self)
    }
  }
}
