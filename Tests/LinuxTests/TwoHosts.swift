import Basis
import CLinux
import Glibc
import Synchronization
import Testing
import Wire

@testable import Linux

/// Whether tests with real interfaces can run, and the word for when they can't.
let canMakeNamespaces = geteuid() == 0
let needsRoot: Comment = "needs root: it makes network namespaces"

/// Two hosts on one wire, gone when the story is over:
/// ```
///   here: eth0 10.9.0.1/24, fe80::1 ────── there: eth0 10.9.0.2/24, fe80::2
/// ```
struct TwoHosts {
  let here: NetworkNamespace
  let there: NetworkNamespace

  /// Runs the story with the calling thread on the host `here`, and brings the thread back.
  static func run(_ body: (TwoHosts) throws -> Void) throws {
    let home = try NetworkNamespace.current()
    defer {
      do { try home.enter() } catch { fatalError("a thread of the pool is lost in a namespace: \(error)") }
    }
    let here = try NetworkNamespace.enterNew()
    let there = try NetworkNamespace.enterNew()
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
    try body(TwoHosts(here: here, there: there))
  }

  /// Does something as that host.
  func on<Result>(_ namespace: NetworkNamespace, _ body: () throws -> Result) throws -> Result {
    let before = try NetworkNamespace.current()
    try namespace.enter()
    defer { try? before.enter() }
    return try body()
  }
}

struct ShellFailure: Error {
  var command: String
  var output: String
}

/// Runs a command in the calling thread's namespace and gives what it printed.
@discardableResult
func shell(_ command: String) throws -> String {
  var ends: [Int32] = [0, 0]
  try SystemError.check("pipe") { pipe(&ends) }
  defer { close(ends[0]) }
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
  posix_spawn_file_actions_addclose(&actions, ends[0])
  posix_spawn_file_actions_addclose(&actions, ends[1])
  // Signals are blocked on this thread, but shall work in the command.
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var none = sigset_t()
  sigemptyset(&none)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
  var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/sh"), strdup("-c"), strdup(command), nil]
  defer { for argument in arguments { free(argument) } }
  var child = pid_t()
  let code = posix_spawn(&child, "/bin/sh", &actions, &attributes, &arguments, environ)
  close(ends[1])
  guard code == 0 else { throw SystemError(call: "posix_spawn", code: code, subject: command) }
  var output: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while case let count = read(ends[0], &chunk, chunk.count), count > 0 { output += chunk[..<count] }
  var status: Int32 = 0
  waitpid(child, &status, 0)
  let text = String(decoding: output, as: UTF8.self)
  guard status == 0 else { throw ShellFailure(command: command, output: text) }
  return text
}

/// Whether a host answers: it refuses a TCP connection, because nobody listens. From the calling thread's namespace.
func reaches(_ address: String, from source: String? = nil) throws -> Bool {
  func endpoint(_ text: String, port: UInt16) -> clinux_endpoint {
    var endpoint = clinux_endpoint()
    switch IPAddress(text) {
    case .v4(let address)?: clinux_endpoint_v4(&endpoint, address.rawValue, port)
    case .v6(let address)?:
      clinux_endpoint_v6(
        &endpoint, UInt64(address.rawValue >> 64), UInt64(truncatingIfNeeded: address.rawValue), port)
    case nil: break
    }
    return endpoint
  }
  var to = endpoint(address, port: 9)
  let number = clinux_proxy_stream(clinux_endpoint_family(&to))
  guard number >= 0 else { throw SystemError(call: "socket", code: -number) }
  defer { close(number) }
  if let source {
    var from = endpoint(source, port: 0)
    let size = clinux_endpoint_size(&from)
    let bound = withUnsafeBytes(of: &from) {
      bind(number, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), size)
    }
    guard bound == 0 else { throw SystemError.last("bind", source) }
  }
  let code = clinux_proxy_connect(number, &to)
  if code == -ECONNREFUSED || code == 0 { return true }
  guard code == -EINPROGRESS else { return false }
  var entry = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
  guard poll(&entry, 1, 1500) == 1 else { return false }
  var (result, size) = (Int32(0), socklen_t(4))
  getsockopt(number, SOL_SOCKET, SO_ERROR, &result, &size)
  return result == 0 || result == ECONNREFUSED
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

/// What an address thread reported, in order.
final class Reports: Sendable {
  private let list = Mutex<[AddressThread.Report]>([])

  func append(_ report: AddressThread.Report) { list.withLock { $0.append(report) } }
  var all: [AddressThread.Report] { list.withLock { $0 } }
  var interfaces: [InterfaceState] {
    all.compactMap { report in
      if case .interface(let state) = report { return state }
      return nil
    }
  }

  func has(_ matches: (AddressThread.Report) -> Bool) -> Bool { eventually { all.contains(where: matches) } }
}

/// Runs a story with an address thread on the host `here`.
func addressStory(
  _ vips: [AddressThread.VIP], watching: [String] = ["eth0"], journal: String? = nil,
  before: (TwoHosts) throws -> Void = { _ in }, _ body: (TwoHosts, AddressThread, Reports) throws -> Void
) throws {
  try TwoHosts.run { hosts in
    try before(hosts)
    let reports = Reports()
    let record = try OwnershipRecord(capacity: 256)
    let thread = try AddressThread(vips, watching: watching, record: record, journal: journal) { reports.append($0) }
    defer { thread.stop() }
    try body(hosts, thread, reports)
  }
}

extension AddressThread {
  /// Takes the VIP and waits until its addresses are there.
  func takeNow(_ vip: Int, generation: UInt64, lease: Duration? = .seconds(60), _ reports: Reports) -> Bool {
    take(vip, generation: generation, lease: lease)
    return reports.has { if case .added(vip, generation, _) = $0 { true } else { false } }
  }
}

/// A folder that is gone when the story is over.
func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  var template = Array("/tmp/roost-linux-tests-XXXXXX".utf8CString)
  guard mkdtemp(&template) != nil else { throw SystemError.last("mkdtemp") }
  let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  defer { _ = try? shell("rm -r '\(path)'") }
  return try body(path)
}

/// A command that runs beside the story, in the calling thread's namespace.
struct BackgroundCommand {
  private let file: String

  func output() throws -> String {
    #expect(try eventually { try shell("tail -n 1 '\(file)'").contains("the end") })
    return try shell("cat '\(file)'; rm '\(file)'")
  }

  fileprivate init(_ command: String) throws {
    file = try shell("mktemp /tmp/roost-linux-tests-XXXXXX").filter { !$0.isNewline }
    try shell("( \(command); echo the end ) > '\(file)' 2>&1 < /dev/null &")
  }
}

extension TwoHosts {
  static func background(_ command: String) throws -> BackgroundCommand { try BackgroundCommand(command) }
}
