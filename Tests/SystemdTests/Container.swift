import FoundationEssentials
import Glibc

/// A machine of a test's own whose PID 1 is a real systemd, in namespaces; it goes when this does.
final class Container {
  let folder: String
  private let group: String
  private var process: pid_t = 0
  /// The systemd inside, as the host sees it.
  private var manager: pid_t = 0

  static let repository = String(#filePath.split(separator: "/Tests/", omittingEmptySubsequences: false)[0])

  /// The daemon as it was built beside the tests.
  static let program: String = {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count - 1)
    let itself = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let beside =
      itself.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/roost"
    if access(beside, X_OK) == 0 { return beside }
    return realPath("\(repository)/.build/debug/roost")
  }()

  /// Why there can't be one here; nil where there can.
  static let missing: String? = {
    if geteuid() != 0 { return "needs root" }
    if access("/usr/lib/systemd/systemd", X_OK) != 0 { return "needs systemd: apt-get install systemd" }
    if groupRoot == nil { return "needs a cgroup2 hierarchy" }
    return nil
  }()

  /// Where the host's cgroup2 hierarchy is mounted.
  private static let groupRoot: String? = {
    for line in text(of: "/proc/self/mounts").split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count > 2, words[2] == "cgroup2" { return String(words[1]) }
    }
    return nil
  }()

  /// - Parameters:
  ///   - configuration: the daemon's file.
  ///   - unit: lines that replace those of the shipped unit with the same key, or are added to its `[Service]`.
  init(configuration: String, unit changes: [String: String] = [:]) throws {
    folder = "/tmp/roost-systemd.\(getpid()).\(UInt32.random(in: 0 ... .max))"
    group = "\(Container.groupRoot ?? "")/roost-test.\(getpid()).\(UInt32.random(in: 0 ... .max))"
    for path in [
      "", "/etc", "/etc/roost", "/etc/systemd", "/etc/systemd/system", "/share",
      "/etc/systemd/system/multi-user.target.wants",
    ] {
      mkdir(folder + path, 0o755)
    }
    write(configuration, to: "\(folder)/etc/roost/roost.yaml")
    write(try Container.unit(changes), to: "\(folder)/etc/systemd/system/roost.service")
    symlink("/etc/systemd/system/roost.service", "\(folder)/etc/systemd/system/multi-user.target.wants/roost.service")
    guard mkdir(group, 0o755) == 0 else { throw Failure("can't make \(group): \(errno)") }
    process = try spawn([
      "/bin/bash", "-c",
      """
      echo $BASHPID > \(group)/cgroup.procs
      exec unshare --mount --pid --uts --ipc --cgroup --net --fork --kill-child \
        \(Container.repository)/Tests/SystemdTests/container \(folder) \(Container.program) /opt > \(folder)/log 2>&1
      """,
    ])
    try wait("systemd to come up") {
      guard let found = self.findManager() else { return false }
      self.manager = found
      let state = self.run("systemctl", "is-system-running").output
      return state.hasPrefix("running") || state.hasPrefix("degraded") || state.hasPrefix("starting")
    }
  }

  /// The shipped unit with the program's place, and with `changes`.
  private static func unit(_ changes: [String: String]) throws -> String {
    var left = changes
    var lines: [String] = []
    for line in text(of: "\(repository)/packaging/systemd/roost.service").split(
      separator: "\n", omittingEmptySubsequences: false)
    {
      let key = line.split(separator: "=", maxSplits: 1).first.map(String.init) ?? ""
      if let value = left.removeValue(forKey: key) {
        lines.append("\(key)=\(value)")
      } else if line == "[Install]" {
        lines.append(String(line))
      } else {
        lines.append(String(line).replacing("/usr/bin/roost", with: program))
      }
    }
    guard let install = lines.firstIndex(of: "[Install]") else { throw Failure("the unit has no [Install]") }
    lines.insert(contentsOf: left.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }, at: install)
    return lines.joined(separator: "\n")
  }

  deinit {
    if manager > 0 { kill(manager, SIGKILL) }
    if process > 0 {
      kill(process, SIGKILL)
      var status: Int32 = 0
      waitpid(process, &status, 0)
    }
    write("1", to: "\(group)/cgroup.kill")
    for _ in 0..<200 {
      // Groups that systemd made are inside.
      _ = try? runHere("/bin/bash", "-c", "find \(group) -depth -type d -exec rmdir {} + 2>/dev/null")
      if access(group, F_OK) != 0 { break }
      usleep(20_000)
    }
    _ = try? runHere("/bin/rm", "-rf", folder)
  }

  private func findManager() -> pid_t? {
    // The process in our group whose command is systemd's and whose PID inside is 1.
    for line in text(of: "\(group)/cgroup.procs").split(separator: "\n")
      + text(of: "\(group)/init.scope/cgroup.procs").split(separator: "\n")
    {
      guard let pid = pid_t(line) else { continue }
      let status = text(of: "/proc/\(pid)/status")
      guard status.hasPrefix("Name:\tsystemd\n") else { continue }
      let inside = status.split(separator: "\n").first { $0.hasPrefix("NSpid:") }?.split(whereSeparator: {
        $0 == "\t" || $0 == " "
      })
      if inside?.last == "1" { return pid }
    }
    return nil
  }

  /// Runs a command inside.
  @discardableResult
  func run(_ words: String...) -> (status: Int32, output: String) {
    let output = "\(folder)/share/output.\(UInt32.random(in: 0 ... .max))"
    defer { unlink(output) }
    let command = words.map { "'\($0)'" }.joined(separator: " ")
    let status =
      (try? runHere(
        "/bin/bash", "-c", "nsenter -t \(manager) -m -p -n -u -i -C -- \(command) > \(output) 2>&1")) ?? -1
    return (status, text(of: output))
  }

  /// A property of the unit.
  func property(_ name: String) -> String {
    run("systemctl", "show", "-P", name, "roost.service").output.trimmed
  }

  func holds(_ address: String) -> Bool { run("ip", "-o", "addr", "show").output.contains(" \(address)/") }

  /// Processes of the unit, by name and PID inside.
  var processes: [(name: String, pid: pid_t)] {
    let group = property("ControlGroup")
    guard !group.isEmpty else { return [] }
    return run("cat", "/sys/fs/cgroup\(group)/cgroup.procs").output.split(separator: "\n").compactMap { line in
      guard let pid = pid_t(line) else { return nil }
      return (run("cat", "/proc/\(pid)/comm").output.trimmed, pid)
    }
  }

  var journal: String { text(of: "\(folder)/log") }

  /// Polls until it holds; throws, with what systemd says, after a generous while.
  func wait(_ what: String, _ condition: () -> Bool) throws {
    for _ in 0..<1200 {
      if condition() { return }
      usleep(50_000)
    }
    throw Failure(
      "waited a minute for \(what)\n\(manager > 0 ? run("systemctl", "status", "roost.service").output : "")\n\(journal.suffix(4000))"
    )
  }
}

struct Failure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

extension String {
  fileprivate var trimmed: String {
    String(self.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
  }
}

private func text(of path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

private func write(_ text: String, to path: String) { try? Data(text.utf8).write(to: URL(filePath: path)) }

private func realPath(_ path: String) -> String {
  guard let resolved = realpath(path, nil) else { return path }
  defer { free(resolved) }
  return String(cString: resolved)
}

private func spawn(_ words: [String]) throws -> pid_t {
  var arguments = words.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  var process: pid_t = 0
  let code = posix_spawn(&process, words[0], nil, nil, &arguments, environ)
  guard code == 0 else { throw Failure("can't start \(words[0]): \(code)") }
  return process
}

private func runHere(_ words: String...) throws -> Int32 {
  let process = try spawn(words)
  var status: Int32 = 0
  while waitpid(process, &status, 0) < 0, errno == EINTR {}
  return status & 0x7F == 0 ? status >> 8 : -1
}
