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
