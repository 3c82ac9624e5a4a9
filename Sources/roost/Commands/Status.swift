import ArgumentParser
import Control
import Glibc
import Linux
import Telemetry

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Show who owns each VIP and why, services and backends.")

  @OptionGroup var socket: SocketOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    let response: ControlResponse
    do throws(ControlError) {
      response = try ControlClient(path: socket.socket).request("GET", "/status")
    } catch {
      throw fail("\(error)", ExitStatus(rawValue: error.exitCode) ?? .failed)
    }
    guard response.status == 200 else {
      throw fail("the daemon answered \(response.status): \(printable(String(decoding: response.body, as: UTF8.self)))")
    }
    if output.json {
      print(String(decoding: response.body, as: UTF8.self))
    } else {
      do {
        let report = try StatusReport(json: response.body)
        print(report.text(color: output.wantsColor(on: STDOUT_FILENO), now: Clock.wall()), terminator: "")
      } catch {
        throw fail("the daemon's answer is not understood; is it another version? (\(Roost.version) here)")
      }
    }
  }
}
