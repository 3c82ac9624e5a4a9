import Basis
import Glibc
import Linux

/// What processes have used of the machine, as /proc tells it.
enum Usage {
  /// Of processor time, since the process began: all its threads, ended ones too; nil where it is gone.
  static func processorTime(of process: ProcessIdentity) -> Duration? {
    guard let text = readSmallFile("/proc/\(process.pid)/stat") else { return nil }
    return processorTime(inStat: text, of: process)
  }

  /// Fields 14 and 15, in clock ticks.
  static func processorTime(inStat text: String, of process: ProcessIdentity) -> Duration? {
    guard ProcessTable.startTime(inStat: text, zombies: false) == process.started,
      let bracket = text.utf8.lastIndex(of: UInt8(ascii: ")"))
    else { return nil }
    let fields = text[text.index(after: bracket)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
    guard fields.count > 12, let user = Int64(fields[11]), let system = Int64(fields[12]) else { return nil }
    let ticks = max(1, Int64(sysconf(Int32(_SC_CLK_TCK))))
    return .nanoseconds((user + system) * (1_000_000_000 / ticks))
  }

  /// In KiB, of processes that belong together and have a machine to themselves.
  struct Memory: Sendable, Hashable {
    /// What they alone have written or share with each other, and the largest part of program files that one of them has in memory.
    var resident = 0
    /// What the kernel says when it divides each page by all who map it, the lab's other processes of the same program included: less
    /// than a machine of its own would need.
    var proportional = 0
  }

  static func memory(of processes: [ProcessIdentity]) -> Memory {
    var memory = Memory()
    var files = 0
    for process in processes where process.isAlive {
      let sizes = sizes(in: readSmallFile("/proc/\(process.pid)/smaps_rollup") ?? "")
      memory.proportional += sizes["Pss"] ?? 0
      memory.resident += (sizes["Pss_Anon"] ?? 0) + (sizes["Pss_Shmem"] ?? 0)
      files = max(files, self.sizes(in: readSmallFile("/proc/\(process.pid)/status") ?? "")["RssFile"] ?? 0)
    }
    memory.resident += files
    return memory
  }

  /// Lines such as `Pss:   1234 kB`.
  static func sizes(in text: String) -> [String: Int] {
    var sizes: [String: Int] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
      guard words.count == 3, words[2] == "kB", words[0].hasSuffix(":") else { continue }
      sizes[String(words[0].dropLast())] = Int(words[1])
    }
    return sizes
  }
}

/// How much a node's processes used between two moments in which nothing was broken.
struct UsageMeter: Sendable {
  private let begun: Instant
  private let before: [(process: ProcessIdentity, isGuardian: Bool, time: Duration)]

  init(daemon: [ProcessIdentity], guardian: ProcessIdentity?) {
    let all = daemon.map { ($0, false) } + (guardian.map { [($0, true)] } ?? [])
    before = all.compactMap { process, isGuardian in
      Usage.processorTime(of: process).map { (process, isGuardian, $0) }
    }
    begun = Clock.now()
  }

  struct Reading: Sendable, Hashable {
    /// Of one processor, in percent.
    var daemonPercent = 0.0
    var guardianPercent: Double?
    var memory = Usage.Memory()
  }

  /// Nil where one of the processes is gone.
  func read() -> Reading? {
    guard !before.isEmpty else { return nil }
    var reading = Reading()
    let elapsed = Clock.now() - begun
    guard elapsed > .zero else { return nil }
    for entry in before {
      guard let now = Usage.processorTime(of: entry.process) else { return nil }
      let percent = (now - entry.time) / elapsed * 100
      if entry.isGuardian {
        reading.guardianPercent = (reading.guardianPercent ?? 0) + percent
      } else {
        reading.daemonPercent += percent
      }
    }
    reading.memory = Usage.memory(of: before.map(\.process))
    return reading
  }
}
