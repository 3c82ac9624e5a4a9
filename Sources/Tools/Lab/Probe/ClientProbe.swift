import Basis
import CLinux
import Glibc
import Linux
import Synchronization

/// What the client sees: datagrams every millisecond on a thread of their own, and TCP of every kind beside it.
///
/// Says `ready` on its output, ends when its input does (so it never outlives who started it), then writes its samples to the file and
/// says `done`.
enum ClientProbe {
  static func run(_ specification: ProbeSpecification) throws {
    let isOver = Atomic(false)
    let datagrams = DatagramProbe(specification)
    let thread = try Thread.start(named: "lab-datagrams") { datagrams.run(until: { isOver.load(ordering: .relaxed) }) }
    var samples: [Sample] = []
    let streams = try StreamProbe(specification)
    writeAll(1, Array("ready\n".utf8))
    try streams.run()
    isOver.store(true, ordering: .relaxed)
    thread.join()
    samples += datagrams.samples
    samples += streams.samples
    var bytes: [UInt8] = []
    bytes.reserveCapacity(samples.count * Sample.encodedLength)
    for sample in samples { sample.encode(into: &bytes) }
    let file = open(specification.output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0, writeAll(file, bytes) else { throw LabError.system("writing \(specification.output)", errno) }
    close(file)
    writeAll(1, Array("done\n".utf8))
  }
}

/// One UDP datagram a millisecond, `R` and a sequence number; the answer repeats it and names who answered.
final class DatagramProbe: Sendable {
  private struct Log {
    var start: [Int64] = []
    /// 0 until answered.
    var end: [Int64] = []
    var who: [UInt8] = []
    var stalls: [Sample] = []
  }

  private let specification: ProbeSpecification
  private let log = Mutex(Log())
  private static let interval: Int64 = 1_000_000

  init(_ specification: ProbeSpecification) { self.specification = specification }

  var samples: [Sample] {
    log.withLock { log in
      log.stalls
        + log.start.indices.map { index in
          let answered = log.end[index] != 0
          return Sample(
            kind: .datagram, detail: log.who[index], start: Instant(nanoseconds: log.start[index]),
            duration: answered ? .nanoseconds(log.end[index] - log.start[index]) : nil)
        }
    }
  }

  func run(until isOver: () -> Bool) {
    // A probe that is late says nothing of the cluster. Without the right to this, the noise floor shows it.
    try? Scheduling.becomeRealtime(priority: 10)
    Scheduling.makeTimersPrecise()
    let descriptor = specification.datagrams.connecting(SOCK_DGRAM)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let names = specification.nodes.map { Array($0.utf8) }
    var log = Log()
    for column in [\Log.start, \Log.end] { log[keyPath: column].reserveCapacity(120_000) }
    log.who.reserveCapacity(120_000)
    var packet = [UInt8](repeating: 0, count: 9)
    packet[0] = UInt8(ascii: "R")
    var answer = [UInt8](repeating: 0, count: 2048)
    var due = Clock.now().nanoseconds
    while !isOver() {
      let now = Clock.now().nanoseconds
      if now >= due {
        if now - due > 5 * Self.interval {
          log.stalls.append(Sample(kind: .stall, start: Instant(nanoseconds: due), duration: .nanoseconds(now - due)))
          due = now  // what was missed is not sent in a burst
        }
        let number = UInt64(log.start.count)
        for index in 0..<8 { packet[1 + index] = UInt8(truncatingIfNeeded: number >> (8 * UInt64(index))) }
        log.start.append(now)
        log.end.append(0)
        log.who.append(0)
        // An error (an ICMP message of an earlier probe, no route) is as good as no answer.
        _ = packet.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, 0) }
        due += Self.interval
      }
      let wait = max(0, min(Self.interval, due - Clock.now().nanoseconds))
      guard clinux_lab_wait_readable(descriptor, wait) > 0 else { continue }
      while true {
        let count = recv(descriptor, &answer, answer.count, Int32(MSG_DONTWAIT))
        if count < 0, errno == ECONNREFUSED { continue }
        guard count >= 0 else { break }
        note(answer, count, names, &log)
      }
    }
    self.log.withLock { $0 = log }
  }

  private func note(_ answer: [UInt8], _ count: Int, _ names: [[UInt8]], _ log: inout Log) {
    guard count >= 9, answer[0] == UInt8(ascii: "R") else { return }
    var number: UInt64 = 0
    for index in 0..<8 { number |= UInt64(answer[1 + index]) << (8 * UInt64(index)) }
    guard let index = Int(exactly: number), index < log.start.count, log.end[index] == 0 else { return }
    log.end[index] = Clock.now().nanoseconds
    let name = answer[9..<count]
    log.who[index] = UInt8(clamping: names.firstIndex { name.elementsEqual($0) } ?? 255)
  }
}
