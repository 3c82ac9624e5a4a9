import CLinux
import Glibc
import Linux
import Node
import Wire

/// Looks that end at once.
enum Looks {
  static func interface(_ name: String) -> TrackReport {
    do throws(SystemError) {
      guard let state = try InterfaceState.all().first(where: { $0.name == name }) else {
        return .bad("there is no interface \(name)")
      }
      return state.isUp ? .good : .bad("interface \(name) is down, or has no carrier")
    } catch {
      return .unknown("\(error)")
    }
  }

  static func route(_ prefix: Prefix, table: UInt32?) -> TrackReport {
    let number = table ?? RouteTable.main
    do throws(SystemError) {
      if try RouteTable.has(prefix, table: number) { return .good }
      let place = table.map { "table \($0)" } ?? "the main table"
      return .bad("\(place) has no route to \(prefix.address)/\(prefix.length)")
    } catch {
      return .unknown("\(error)")
    }
  }

  static func file(_ path: String, _ condition: TrackerTarget.FileCondition) -> TrackReport {
    var facts = stat()
    guard stat(path, &facts) == 0 else {
      let code = errno
      if code == ENOENT || code == ENOTDIR { return .bad("there is no file \(path)") }
      return .unknown("\(SystemError(call: "stat", code: code, subject: path))")
    }
    if condition == .exists { return .good }
    // A pipe would be opened for ever, and a device may do something.
    guard facts.st_mode & S_IFMT == S_IFREG else { return .unknown("\(path) is no file with lines") }
    guard let bytes = read(path, atMost: 4096) else {
      let error = SystemError.last("open", path)
      return error.code == ENOENT ? .bad("there is no file \(path)") : .unknown("\(error)")
    }
    let line = Words.line(bytes)
    switch condition {
    case .exists: return .good
    case .firstLine(let wanted): return line == wanted ? .good : .bad("\(path) says '\(line)', not '\(wanted)'")
    case .number(let range):
      let digits = line.filter { $0 != " " && $0 != "\t" }
      guard let number = Int64(digits) else { return .bad("\(path) says '\(line)', which is no number") }
      let isIn = range.contains(number)
      return isIn ? .good : .bad("\(path) says \(number), not \(range.lowerBound) to \(range.upperBound)")
    }
  }

  /// The beginning of a file; nil with `errno` where it can't be read.
  static func read(_ path: String, atMost limit: Int) -> [UInt8]? {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard number >= 0 else { return nil }
    let descriptor = Descriptor(owning: number)
    var bytes = [UInt8](repeating: 0, count: limit)
    let count = Glibc.read(descriptor.rawValue, &bytes, limit)
    guard count >= 0 else { return nil }
    return Array(bytes[..<count])
  }
}
