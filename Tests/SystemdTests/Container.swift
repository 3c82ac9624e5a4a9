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

  /// Where a copy of it is, inside.
  static let installed = "/srv/roost"

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
  ///   - scripts: by their names, programs in /etc/roost.
  ///   - unit: lines that replace those of the shipped unit with the same key, or are added to its `[Service]`.
  init(configuration: String, scripts: [String: String] = [:], unit changes: [String: String] = [:]) throws {
    folder = "/tmp/roost-systemd.\(getpid()).\(UInt32.random(in: 0 ... .max))"
    group = "\(Container.groupRoot ?? "")/roost-test.\(getpid()).\(UInt32.random(in: 0 ... .max))"
    for path in ["", "/etc", "/etc/roost", "/etc/systemd", "/etc/systemd/system", "/share"] {
      mkdir(folder + path, 0o755)
    }
    write(configuration, to: "\(folder)/etc/roost/roost.yaml")
    // What runs as nobody writes there, too.
    chmod(folder + "/share", 0o777)
    for (name, script) in scripts {
      write(script, to: "\(folder)/etc/roost/\(name)")
      chmod("\(folder)/etc/roost/\(name)", 0o755)
    }
    write(try Container.unit(changes), to: "\(folder)/etc/systemd/system/roost.service")
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
        lines.append(String(line).replacing("/usr/bin/roost", with: installed))
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

  /// Processes of the unit, by their numbers inside.
  var processes: [pid_t] {
    let group = property("ControlGroup")
    guard !group.isEmpty else { return [] }
    return run("cat", "/sys/fs/cgroup\(group)/cgroup.procs").output.split(separator: "\n").compactMap { pid_t($0) }
  }

  var daemon: pid_t { pid_t(property("MainPID")) ?? 0 }
  /// 0 where there is none.
  var guardian: pid_t { pid_t(run("cat", "/var/lib/roost/guardian.pid").output.trimmed) ?? 0 }

  /// Runs a script inside; it may have no single quote.
  @discardableResult
  func script(_ text: String) -> (status: Int32, output: String) { run("/bin/bash", "-c", text) }

  /// Puts a file of this folder into /share.
  func install(_ name: String) throws {
    write(text(of: "\(Container.repository)/Tests/SystemdTests/\(name)"), to: "\(folder)/share/\(name)")
  }

  /// What is in a file of /share.
  func shared(_ name: String) -> String { text(of: "\(folder)/share/\(name)") }

  /// Writes down from now on what comes to and goes from interfaces, with the time, until the machine ends.
  func watchAddresses() throws {
    script(
      """
      exec setsid bash -c "ip -o monitor address | while read line; do echo \\$EPOCHREALTIME \\$line; done" \
        > /share/addresses 2>&1 < /dev/null &
      """)
    // A process that runs may not listen yet: it does when it has seen this.
    try wait("the watch") {
      self.script("ip addr add 127.9.9.9/32 dev lo; ip addr del 127.9.9.9/32 dev lo; sleep 0.02")
      return text(of: "\(self.folder)/share/addresses").contains(" 127.9.9.9/")
    }
  }

  /// When the address went for the first time, of those that were watched; seconds since 1970.
  func removal(of address: String) -> Double? {
    for line in text(of: "\(folder)/share/addresses").split(separator: "\n")
    where line.contains("Deleted") && line.contains(" \(address)/") {
      return line.split(separator: " ").first.flatMap { Double($0) }
    }
    return nil
  }

  /// Sends a signal, by its name, and says when.
  func signal(_ name: String, to process: pid_t) throws -> Double {
    guard process > 1 else { throw Failure("there is no such process") }
    let said = script("echo $EPOCHREALTIME; kill -s \(name) \(process)").output
    guard let time = Double(said.trimmed) else { throw Failure("kill \(process): \(said)") }
    return time
  }

  /// What systemd said of the unit, and what the daemon and the unit's commands said.
  var journal: String { run("journalctl", "--output=cat", "--unit=roost.service").output }

  /// Polls until it holds; throws, with what systemd says, after a generous while.
  func wait(_ what: String, _ condition: () -> Bool) throws {
    for _ in 0..<1200 {
      if condition() { return }
      usleep(50_000)
    }
    throw Failure(
      "waited a minute for \(what)\n\(manager > 0 ? run("systemctl", "status", "roost.service").output : "")\n\(manager > 0 ? journal.suffix(4000) : "")\n\(text(of: "\(folder)/log").suffix(2000))"
    )
  }
}

struct Failure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

extension String {
  /// 0 where it is no number.
  var integer: Int { Int(self) ?? 0 }

  var trimmed: String {
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
