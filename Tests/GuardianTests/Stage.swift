import Basis
import CLinux
import Glibc
import Synchronization
import Testing

@testable import Linux

let needsRoot: Comment = "needs root: it makes network namespaces"
let canMakeNamespaces = geteuid() == 0

/// Two hosts on one wire, gone when the story is over, with a daemon on the first and, if wanted, one on the second:
/// ```
///   lb1: eth0 10.9.0.1/24 ────── lb2: eth0 10.9.0.2/24       VIP 10.9.0.100
/// ```
final class Stage {
  let here: NetworkNamespace
  let there: NetworkNamespace
  let folder: String
  private var daemons: [Daemon] = []

  static let vip = "10.9.0.100"

  static func run(_ body: (Stage) throws -> Void) throws {
    let home = try NetworkNamespace.current()
    defer {
      do { try home.enter() } catch { fatalError("a thread of the pool is lost in a namespace: \(error)") }
    }
    let stage = try Stage()
    defer { stage.clear() }
    try stage.here.enter()
    try body(stage)
  }

  private init() throws {
    var name = Array("/tmp/roost-guardian-XXXXXX".utf8CString)
    guard mkdtemp(&name) != nil else { throw SystemError.last("mkdtemp") }
    folder = String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    here = try NetworkNamespace.enterNew()
    there = try NetworkNamespace.enterNew()
    try here.enter()
    try shell("ip link add eth0 type veth peer name eth0 netns /proc/\(getpid())/fd/\(there.descriptor)")
    for (namespace, number) in [(there, 2), (here, 1)] {
      try namespace.enter()
      try shell(
        """
        set -e
        echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
        echo 1 > /proc/sys/net/ipv6/conf/eth0/addr_gen_mode
        ip link set lo up; ip link set eth0 address 02:00:00:00:00:0\(number) up
        ip address add 10.9.0.\(number)/24 dev eth0; ip address add fe80::\(number)/64 dev eth0 nodad
        """)
    }
  }

  private func clear() {
    for daemon in daemons { daemon.end() }
    _ = try? shell("rm -rf \(folder)")
  }

  /// Makes programs that never end, each with a child in its group: `hook` and `tracker`.
  func makePrograms() throws -> String {
    let place = "\(folder)/programs"
    try shell("chmod 711 \(folder); mkdir -m 777 \(place)")
    for name in ["hook", "tracker"] {
      try shell(
        """
        cat > \(place)/\(name) << 'END'
        #!/bin/sh
        sleep 600 &
        echo $! > \(place)/\(name).child
        echo $$ > \(place)/\(name).pid
        wait
        END
        chmod 755 \(place)/\(name)
        """)
    }
    return place
  }

  /// The lease is long, so that what is gone soon is gone by the guardian's doing.
  func start(
    _ node: String, interval: String = "100ms", lease: String = "30s", vips: Int = 1, virtualMAC: Bool = false,
    connections: Int = 0, programs: String? = nil
  ) throws -> Daemon {
    let file = "\(folder)/\(node).yaml"
    var text = "cluster:\n  nodes:\n    lb1: 10.9.0.1\n    lb2: 10.9.0.2\n"
    if let programs { text += "trackers:\n  slow: { command: [\(programs)/tracker], every: 60s, timeout: 60s }\n" }
    text += "vips:\n"
    for index in 0..<vips {
      let address = index == 0 ? "\(Stage.vip), \"2001:db8::100\"" : "10.9.1.\(index)"
      text += """
          vip\(index):
            addresses: [\(address)]
            interface: eth0
            prefer: [lb1, lb2]
            address-lease: \(lease)
            vrrp: { id: \(index + 1), interval: \(interval), preempt: false\(virtualMAC ? ", virtual-mac: true" : "") }

        """
      if let programs {
        text += "    track: { slow: 20 }\n    before-announcing: { command: [\(programs)/hook], timeout: 60s }\n"
      }
    }
    try shell("cat > \(file) << 'END'\n\(text)END")
    let daemon = try on(node == "lb1" ? here : there) {
      try Daemon(node, configuration: file, folder: folder, connections: connections)
    }
    daemons.append(daemon)
    return daemon
  }

  func on<Result>(_ namespace: NetworkNamespace, _ body: () throws -> Result) throws -> Result {
    let before = try NetworkNamespace.current()
    try namespace.enter()
    defer { try? before.enter() }
    return try body()
  }

  /// Everything that the host has.
  func addresses() throws -> String { try on(here) { try shell("ip -o address show") } }

  func hasVIP(_ namespace: NetworkNamespace? = nil) throws -> Bool {
    try on(namespace ?? here) { try shell("ip address show dev eth0").contains(" \(Stage.vip)/") }
  }
}

extension Stage {
  func hasNoVIPSoon() -> Bool { eventually { (try? hasVIP()) == false } }
}

/// A real `roost run`.
final class Daemon {
  let name: String
  let pid: Int32
  private let state: String
  private let socket: String
  private let log: String
  private var hasEnded = false

  /// - Parameter connections: so many TCP connections are open in it from the start, both ends of each.
  init(_ node: String, configuration: String, folder: String, connections: Int = 0) throws {
    name = node
    state = "\(folder)/\(node)"
    socket = "\(folder)/\(node).sock"
    log = "\(folder)/\(node).log"
    let program = try #require(roostProgram)
    var command = [program, "run", "--config", configuration, "--node", node, "--state", state, "--socket", socket]
    if connections > 0 {
      let opener = """
        import os, resource, socket, sys
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        for _ in range(\(connections)):
          client = socket.create_connection(listener.getsockname())
          server, _ = listener.accept()
          for end in (client, server): os.set_inheritable(end.detach(), True)
        os.execv(sys.argv[1], sys.argv[1:])
        """
      command = ["/usr/bin/python3", "-c", opener] + command
    }
    pid = try spawn(command, output: log)
  }

  /// The guardian's process, by its file.
  var guardian: Int32? {
    guard let text = try? shell("cat \(state)/guardian.pid 2>/dev/null || true") else { return nil }
    return Int32(text.split(separator: "\n").first ?? "")
  }

  var hasGuardianFile: Bool { access("\(state)/guardian.pid", F_OK) == 0 }

  var logText: String { (try? shell("cat \(log)")) ?? "" }

  /// The state of the first VIP.
  var vipState: String? {
    guard let text = try? shell("\(roostProgram ?? "") status --socket \(socket) --json") else { return nil }
    // "state" : "backup" — whatever the spaces.
    let words = text.split(separator: "\"")
    guard let vips = words.firstIndex(of: "vips"), let key = words[vips...].firstIndex(of: "state"),
      key + 2 < words.count
    else { return nil }
    return String(words[key + 2])
  }

  /// As people see it.
  var status: String { (try? shell("\(roostProgram ?? "") status --socket \(socket)")) ?? "" }

  func signal(_ number: Int32) { kill(pid, number) }

  /// Reaps it; true once it has ended.
  func isGone() -> Bool {
    if !hasEnded, waitpid(pid, nil, WNOHANG) == pid { hasEnded = true }
    return hasEnded
  }

  func end() {
    // The guardian ends by itself when its daemon is dead; if it doesn't, it is no longer wanted either.
    let guardian = guardian
    if !isGone() {
      kill(pid, SIGCONT)
      kill(pid, SIGKILL)
      _ = eventually { isGone() }
    }
    if let guardian, isRunning(guardian), !eventually(within: 5, { !isRunning(guardian) }) {
      kill(guardian, SIGCONT)
      kill(guardian, SIGKILL)
    }
  }
}

/// It is there, and no zombie.
func isRunning(_ pid: Int32) -> Bool {
  guard let text = try? shell("cat /proc/\(pid)/stat 2>/dev/null || true"), !text.isEmpty else { return false }
  return !text.contains(") Z ")
}

/// The daemon as it was built beside the tests.
let roostProgram: String? = {
  var path = [UInt8](repeating: 0, count: 4096)
  let count = readlink("/proc/self/exe", &path, path.count)
  let itself = String(decoding: path.prefix(max(0, count)), as: UTF8.self)
  let root = #filePath.split(separator: "/Tests/", omittingEmptySubsequences: false)[0]
  let folder = itself.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
  return ["\(folder)/roost", "\(root)/.build/debug/roost"].first { access($0, X_OK) == 0 }
}()

// MARK: What happens on the wire and on the interface

/// What was captured, with the time at which it was.
final class Timeline<Entry: Sendable>: Sendable {
  private let list = Mutex<[(at: Instant, entry: Entry)]>([])

  func append(_ entry: Entry) {
    let now = Clock.now()
    list.withLock { $0.append((now, entry)) }
  }
  var all: [(at: Instant, entry: Entry)] { list.withLock { $0 } }
}

/// Everything that a host receives, read by a thread of its own.
final class Capture {
  struct Advert: Sendable, Hashable {
    var source: UInt8
    var id: UInt8
    var priority: UInt8
  }

  let adverts = Timeline<Advert>()
  /// Gratuitous ARP for the VIP: the last byte of who sent it.
  let announcements = Timeline<UInt8>()
  private let flag = Flag()
  private var thread: Linux.Thread?

  init(on namespace: NetworkNamespace) throws {
    let (adverts, announcements, flag, ready) = (adverts, announcements, flag, Flag())
    thread = try Linux.Thread.start(named: "capture") {
      do {
        try namespace.enter()
        try? Scheduling.becomeRealtime(priority: 20)
        let socket = try Descriptor.socket(AF_PACKET, SOCK_RAW)
        guard clinux_packet_bind(socket.rawValue, 0, 3) == 0 else { return }  // ETH_P_ALL
        ready.set()
        Self.read(socket.rawValue, until: flag, adverts, announcements)
      } catch {
        ready.set()
      }
    }
    _ = eventually { ready.isSet }
  }

  deinit {
    flag.set()
    thread?.join()
  }

  private static func read(
    _ socket: Int32, until flag: Flag, _ adverts: Timeline<Advert>, _ announcements: Timeline<UInt8>
  ) {
    var frame = [UInt8](repeating: 0, count: 2048)
    while !flag.isSet {
      var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
      guard poll(&entry, 1, 50) > 0 else { continue }
      let count = recv(socket, &frame, frame.count, 0)
      if count >= 42, frame[12] == 8, frame[13] == 0, frame[23] == 112 {
        adverts.append(Advert(source: frame[29], id: frame[35], priority: frame[36]))
      } else if count >= 42, frame[12] == 8, frame[13] == 6, frame[28..<32] == [10, 9, 0, 100] {
        announcements.append(frame[11])
      }
    }
  }
}

final class Flag: Sendable {
  private let value = Atomic(false)
  func set() { value.store(true, ordering: .releasing) }
  var isSet: Bool { value.load(ordering: .acquiring) }
}

/// The VIP's coming and going on the interface of a host.
final class AddressLog {
  /// True where it was added or renewed, false where it was removed.
  let changes = Timeline<Bool>()
  private let flag = Flag()
  private var thread: Linux.Thread?

  init(on namespace: NetworkNamespace) throws {
    let (changes, flag, ready) = (changes, flag, Flag())
    thread = try Linux.Thread.start(named: "addresses") {
      do {
        try namespace.enter()
        try? Scheduling.becomeRealtime(priority: 20)
        let socket = try NetlinkSocket(groups: clinux_rtmgrp_ipv4_ifaddr)
        ready.set()
        while !flag.isSet {
          var entry = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
          guard poll(&entry, 1, 50) > 0, let datagram = try socket.receive() else { continue }
          NetlinkMessage.forEach(in: datagram) { _, message in
            guard case .address(let record, let removed) = message, record.address.description == Stage.vip else {
              return
            }
            changes.append(!removed)
          }
        }
      } catch {
        ready.set()
      }
    }
    _ = eventually { ready.isSet }
  }

  deinit {
    flag.set()
    thread?.join()
  }
}

// MARK: Programs

struct ShellFailure: Error {
  var command: String
  var output: String
}

/// Runs a command in the calling thread's namespace and gives what it printed.
@discardableResult
func shell(_ command: String) throws -> String {
  var ends: [Int32] = [0, 0]
  try SystemError.check("pipe") { pipe(&ends) }
  for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
  defer { close(ends[0]) }
  let child = try spawn(["/bin/sh", "-c", command], descriptor: ends[1])
  close(ends[1])
  var output: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while case let count = read(ends[0], &chunk, chunk.count), count > 0 { output += chunk[..<count] }
  var status: Int32 = 0
  waitpid(child, &status, 0)
  let text = String(decoding: output, as: UTF8.self)
  guard status == 0 else { throw ShellFailure(command: command, output: text) }
  return text
}

private func spawn(_ arguments: [String], output: String) throws -> Int32 {
  let file = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
  defer { close(file) }
  return try spawn(arguments, descriptor: file)
}

private func spawn(_ arguments: [String], descriptor: Int32) throws -> Int32 {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, descriptor, 1)
  posix_spawn_file_actions_adddup2(&actions, descriptor, 2)
  // Signals are blocked on this thread, but shall work in the program.
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var none = sigset_t()
  sigemptyset(&none)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
  var list: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
  defer { for argument in list { free(argument) } }
  var child = pid_t()
  let code = posix_spawn(&child, arguments[0], &actions, &attributes, &list, environ)
  guard code == 0 else { throw SystemError(call: "posix_spawn", code: code, subject: arguments[0]) }
  return child
}

/// Polls until the condition holds; false after a generous while.
func eventually(within seconds: Int = 20, _ condition: () throws -> Bool) rethrows -> Bool {
  let end = Clock.now() + .seconds(seconds)
  while Clock.now() < end {
    if try condition() { return true }
    usleep(5000)
  }
  return false
}
