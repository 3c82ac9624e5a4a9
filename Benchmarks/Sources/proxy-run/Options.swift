import Glibc
import Wire

/// The command line: two lists of places, then NAME=VALUE.
struct Options {
  let listen: [(IPAddress, UInt16)]
  let backends: [(IPAddress, UInt16)]
  private let values: [Substring: Substring]

  init(_ arguments: ArraySlice<String>) {
    guard arguments.count >= 2 else { fail("usage: proxy-run ADDRESS:PORT[,…] BACKEND:PORT[,…] [NAME=VALUE …]") }
    listen = arguments[arguments.startIndex].split(separator: ",").map(Options.place)
    backends = arguments[arguments.startIndex + 1].split(separator: ",").map(Options.place)
    var values: [Substring: Substring] = [:]
    for option in arguments.dropFirst(2) {
      let parts = option.split(separator: "=", maxSplits: 1)
      guard parts.count == 2 else { fail("\(option) is not NAME=VALUE") }
      values[parts[0]] = parts[1]
    }
    self.values = values
  }

  func text(_ name: Substring) -> String? { values[name].map(String.init) }

  func number(_ name: Substring, _ standard: Int) -> Int {
    guard let text = values[name] else { return standard }
    guard let value = Int(text) else { fail("\(name)=\(text) is not a number") }
    return value
  }

  func milliseconds(_ name: Substring, _ standard: Int) -> Duration { .milliseconds(number(name, standard)) }

  private static func place(_ text: Substring) -> (IPAddress, UInt16) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
      fail("\(text) is not ADDRESS:PORT")
    }
    let bare = text[..<colon].filter { $0 != "[" && $0 != "]" }
    guard let address = IPAddress(bare) else { fail("\(bare) is not an address") }
    return (address, port)
  }
}

func fail(_ message: String) -> Never {
  write(2, "proxy-run: \(message)\n", message.utf8.count + 12)
  exit(2)
}
