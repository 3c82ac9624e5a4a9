import CLinux
import Glibc

/// A program that is run to its end, its input given and its complaints kept.
enum Command {
  struct Outcome: Sendable {
    var status: Int32
    var output: String
  }

  /// Output and errors come back together. A program that can't be started throws.
  static func run(
    _ arguments: [String], input: String = "", in namespace: Namespace? = nil
  ) throws(LabError) -> Outcome {
    if let namespace { return try namespace.attempt { () throws(LabError) in try runHere(arguments, input: input) } }
    return try runHere(arguments, input: input)
  }

  /// The same, where anything but exit status 0 is an error that carries the program's own words.
  @discardableResult
  static func check(
    _ arguments: [String], input: String = "", in namespace: Namespace? = nil, doing what: String
  ) throws(LabError) -> String {
    let outcome = try run(arguments, input: input, in: namespace)
    guard outcome.status == 0 else {
      let words = outcome.output.split(separator: "\n").prefix(3).joined(separator: "; ")
      throw LabError(.failed, "\(what): \(arguments.prefix(2).joined(separator: " ")) failed: \(words)")
    }
    return outcome.output
  }

  private static func runHere(_ arguments: [String], input: String) throws(LabError) -> Outcome {
    let (reading, writing) = try pipe()
    // The input is a memory file, so that no order of reads and writes can block.
    let source = clinux_lab_memory_file()
    guard source >= 0 else {
      close(reading)
      close(writing)
      throw .system("memory file", source)
    }
    writeAll(source, Array(input.utf8))
    lseek(source, 0, SEEK_SET)
    var launch = Launch(arguments: arguments)
    launch.input = source
    launch.output = writing
    launch.errors = writing
    let started: Result<Int32, LabError>
    do throws(LabError) { started = .success(try launch.start()) } catch { started = .failure(error) }
    close(source)
    close(writing)
    defer { close(reading) }
    let pid = try started.get()
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(reading, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { break }
      bytes.append(contentsOf: chunk[..<count])
    }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    var code: Int32 = 0
    let exited = clinux_lab_exited(status, &code)
    return Outcome(status: exited ? code : 128 + code, output: String(decoding: bytes, as: UTF8.self))
  }

  static func pipe() throws(LabError) -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [-1, -1]
    let made = clinux_lab_pipe(&ends)
    guard made == 0 else { throw .system("pipe", made) }
    return (ends[0], ends[1])
  }

  /// Whether a program of that name is on the PATH, or where administrators keep theirs.
  static func find(_ program: String) -> String? {
    if program.contains("/") { return access(program, X_OK) == 0 ? program : nil }
    let folders = (getenv("PATH").map { String(cString: $0) } ?? "").split(separator: ":").map(String.init)
    for folder in folders + ["/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
      let path = "\(folder)/\(program)"
      if access(path, X_OK) == 0 { return path }
    }
    return nil
  }
}

@discardableResult
func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Bool {
  var offset = 0
  while offset < bytes.count {
    let count = bytes[offset...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count < 0, errno == EINTR { continue }
    if count <= 0 { return false }
    offset += count
  }
  return true
}
