import ArgumentParser
import Configuration
import Glibc

struct ConfigurationOption: ParsableArguments {
  @Option(name: .long, help: "The configuration, the same file on every node.")
  var config = "/etc/roost/roost.yaml"
}

struct SocketOption: ParsableArguments {
  @Option(name: .long, help: "The daemon's control socket.")
  var socket = "/run/roost/roost.sock"
}

enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
  case auto, always, never
}

struct OutputOptions: ParsableArguments {
  @Flag(name: .long, help: "Print JSON.")
  var json = false

  @Option(name: .long, help: "Colour the output: auto, always or never.")
  var color = ColorChoice.auto

  /// Colour is wanted on this descriptor (https://no-color.org is respected).
  func wantsColor(on descriptor: Int32) -> Bool {
    switch color {
    case .always: true
    case .never: false
    case .auto: isatty(descriptor) == 1 && getenv("NO_COLOR") == nil
    }
  }
}

extension ParsableCommand {
  /// The value of an option that takes a duration; nil where it was not given.
  static func duration(_ name: String, _ text: String?) throws -> Duration? {
    guard let text else { return nil }
    guard let duration = Duration(written: text) else {
      throw ValidationError("--\(name) takes a duration such as 100ms, 1s, 5m or 1h, not \(text)")
    }
    return duration
  }

  /// The value of --interval: as long as VRRPv3 can say (12 bits of centiseconds, RFC 9568 §5.2.7), and no shorter.
  static func interval(_ text: String?) throws -> Duration? {
    guard let interval = try duration("interval", text) else { return nil }
    guard .milliseconds(10) ... .milliseconds(40_950) ~= interval else {
      throw ValidationError("--interval takes 10ms to 40.95s, not \(text ?? "")")
    }
    return interval
  }
}
