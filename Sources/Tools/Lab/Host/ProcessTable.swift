import Glibc

/// What /proc says of the processes on this machine.
enum ProcessTable {
  /// Field 22 of /proc/PID/stat; nil where no such process runs. Zombies count only where asked for.
  static func startTime(of pid: Int32, zombies: Bool = false) -> UInt64? {
    guard let text = readSmallFile("/proc/\(pid)/stat") else { return nil }
    return startTime(inStat: text, zombies: zombies)
  }

  static func startTime(inStat text: String, zombies: Bool) -> UInt64? {
    // The second field is the name in brackets and may hold anything: the fields count from its last bracket.
    guard let bracket = text.utf8.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = text[text.index(after: bracket)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
    guard fields.count > 19 else { return nil }
    if !zombies, fields[0] == "Z" || fields[0] == "X" { return nil }
    return UInt64(fields[19])
  }

  /// The processes inside any of the network namespaces, by the inode that `stat` shows for it.
  static func processes(in namespaces: Set<UInt64>) -> [ProcessIdentity] {
    all().filter { pid in namespace(of: pid).map(namespaces.contains) ?? false }.compactMap { ProcessIdentity(pid: $0) }
  }

  /// The inode of the network namespace that a process is in.
  static func namespace(of pid: Int32) -> UInt64? {
    var status = stat()
    return stat("/proc/\(pid)/ns/net", &status) == 0 ? UInt64(status.st_ino) : nil
  }

  static func all() -> [Int32] {
    guard let folder = opendir("/proc") else { return [] }
    defer { closedir(folder) }
    var pids: [Int32] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if let pid = Int32(name) { pids.append(pid) }
    }
    return pids
  }
}

/// What tells a lab's processes from all others: a variable of their environment, which what they start inherits.
struct LabMark: Sendable, Hashable {
  static let name = "ROOST_LAB"
  let entry: String

  init(_ id: String) { entry = "\(Self.name)=\(id)" }

  func isOn(_ pid: Int32) -> Bool {
    let bytes = Array(entry.utf8)
    return readSmallFile("/proc/\(pid)/environ")?.utf8.split(separator: 0).contains { Array($0) == bytes } ?? false
  }

  /// The environment with the mark on it: in front, because only the beginning of a long one is read.
  func marked(_ environment: [String]) -> [String] {
    [entry] + environment.filter { !$0.hasPrefix("\(Self.name)=") }
  }
}

enum PidFile {
  /// The process that a file names; nil where there is no such file, or no such process.
  static func read(_ path: String) -> ProcessIdentity? {
    guard let text = readSmallFile(path), let pid = Int32(text.prefix { $0 != "\n" }), pid > 1 else { return nil }
    return ProcessIdentity(pid: pid)
  }
}

/// A file of at most 64 KiB as text; nil where it can't be read.
func readSmallFile(_ path: String) -> String? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while bytes.count < 65_536 {
    let count = read(descriptor, &chunk, chunk.count)
    if count < 0 { return nil }
    if count == 0 { break }
    bytes.append(contentsOf: chunk[..<count])
  }
  return String(decoding: bytes, as: UTF8.self)
}
