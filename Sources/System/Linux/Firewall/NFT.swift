import Basis
import CLinux
import Glibc

/// Debian's `nft` program: it loads a whole file or nothing of it.
enum NFT {
  private static let places = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"]

  /// Nil where it is not installed.
  static var path: String? { places.first { access($0, X_OK) == 0 } }

  /// Runs it in the calling thread's network namespace, with that text as its file.
  /// - Throws: with the program's own first line where it refuses; ENOENT where there is none.
  static func load(_ text: String) throws(SystemError) {
    guard let path else {
      throw SystemError(
        call: "nft", code: ENOENT, subject: "(install nftables, or let every VIP accept packets)")
    }
    let input = Descriptor(
      owning: try SystemError.check("memfd_create", "for nft") { clinux_memory_file("roost-nft") })
    let bytes = Array(text.utf8)
    guard Glibc.write(input.rawValue, bytes, bytes.count) == bytes.count, lseek(input.rawValue, 0, SEEK_SET) == 0 else {
      throw .last("write", "for nft")
    }
    let output = Descriptor(
      owning: try SystemError.check("memfd_create", "for nft") { clinux_memory_file("roost-nft") })
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(path), strdup("-f"), strdup("/dev/stdin"), nil]
    defer { for argument in arguments { free(argument) } }
    var process: Int32 = 0
    let code = clinux_run(path, &arguments, input.rawValue, output.rawValue, output.rawValue, &process)
    guard code == 0 else { throw SystemError(call: "posix_spawn", code: code, subject: path) }
    let status = try wait(for: process)
    guard status == 0 else {
      throw SystemError(call: "nft", code: EINVAL, subject: firstLine(output.rawValue))
    }
  }

  /// The kernel's locks may be held by others for a while; more than this is a program that hangs.
  private static let patience = Duration.seconds(3)

  private static func wait(for process: Int32) throws(SystemError) -> Int32 {
    let end = Clock.now() + patience
    var status: Int32 = 0
    while true {
      switch waitpid(process, &status, WNOHANG) {
      case process: return status
      case -1 where errno != EINTR: throw .last("waitpid", "nft")
      default: break
      }
      if Clock.now() >= end {
        kill(process, SIGKILL)
        waitpid(process, &status, 0)
        throw SystemError(call: "nft", code: ETIMEDOUT)
      }
      usleep(500)
    }
  }

  private static func firstLine(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = max(0, pread(descriptor, &bytes, bytes.count, 0))
    return String(decoding: bytes[..<count].prefix { $0 != 10 }, as: UTF8.self)
  }
}
