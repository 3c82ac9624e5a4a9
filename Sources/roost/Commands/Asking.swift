import ArgumentParser
import Control
import FoundationEssentials
import Glibc
import Telemetry

/// A command that asks a running daemon something, and ends as its answer says.
struct Asking {
  let socket: SocketOption
  var timeout = Duration.seconds(10)
  /// The command ends, well, as soon as nobody reads that any more.
  var output: Int32?

  /// The body of an answer that is no refusal; else the command ends with the daemon's words and 1, or with 3 where none answers.
  func ask(_ method: String, _ target: String, body: [UInt8] = []) throws -> [UInt8] {
    let response: ControlResponse
    do throws(ControlError) {
      var client = ControlClient(path: socket.socket, timeout: timeout)
      client.output = output
      response = try client.request(method, target, body: body)
    } catch {
      if case .unread = error { throw ExitCode.success }
      throw fail("\(error)", ExitStatus(rawValue: error.exitCode) ?? .failed)
    }
    guard response.isSuccess else {
      // Several lines where the daemon shows mistakes of a file.
      let lines = (response.errorMessage ?? "").split(separator: "\n", omittingEmptySubsequences: false)
      throw fail(lines.map { printable(String($0)) }.joined(separator: "\n"))
    }
    return response.body
  }

  func ask<Answer: Decodable>(
    _ method: String, _ target: String, body: [UInt8] = [], as type: Answer.Type
  ) throws -> (Answer, [UInt8]) {
    let body = try ask(method, target, body: body)
    do {
      return (try JSONDecoder().decode(type, from: Data(body)), body)
    } catch {
      throw fail("the daemon's answer is not understood; is it another version? (\(Roost.version) here)")
    }
  }

  /// A name as a part of a path (RFC 3986 §2.1).
  static func escaped(_ name: String) -> String {
    let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8)
    let digits = Array("0123456789ABCDEF")
    return name.utf8.map { byte in
      plain.contains(byte)
        ? String(UnicodeScalar(byte)) : "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
    }.joined()
  }
}
