import ArgumentParser
import Crypto
import Glibc
import Linux

/// Makes a cluster's secret. All that the nodes have in common is derived from it, so it is the one thing to copy.
struct SecretCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "secret",
    abstract: "Make a cluster secret.",
    discussion: """
      Writes 32 random bytes, in 64 hexadecimal digits, to a new file that only you may read; without a file, to standard
      output. Copy it to each node and name it as cluster.secret.

      To change a secret, make a new one, name both, the new one first, on each node, reload each; then take the old one
      out again. Nodes may be reloaded in any order.
      """)

  @Argument(help: "The file to make. One that is there is left as it is.")
  var file: String?

  func run() throws {
    var secret: [UInt8]
    do throws(CryptoError) {
      secret = try Random.bytes(32)
    } catch {
      throw fail("\(error)")
    }
    let digits = Array("0123456789abcdef".utf8)
    let text = secret.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] } + [UInt8(ascii: "\n")]
    secret.removeAll()
    guard let file else { return try put(text, STDOUT_FILENO, "standard output") }
    let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw errno == EEXIST
        ? fail("\(file) is there already, and is left as it is; nodes that know it would not know another")
        : fail("\(SystemError.last("open", file))")
    }
    defer { close(descriptor) }
    do {
      // Whatever the umask says.
      guard fchmod(descriptor, 0o600) == 0 else { throw fail("\(SystemError.last("fchmod", file))") }
      try put(text, descriptor, file)
      guard fsync(descriptor) == 0 else { throw fail("\(SystemError.last("fsync", file))") }
    } catch {
      unlink(file)
      throw error
    }
  }

  private func put(_ bytes: [UInt8], _ descriptor: Int32, _ name: String) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno != EINTR { throw fail("\(SystemError.last("write", name))") }
      rest = rest.dropFirst(max(0, count))
    }
  }
}
