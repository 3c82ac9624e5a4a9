import ArgumentParser
import Configuration
import Glibc
import Linux
import Telemetry

struct Events: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what happened on this node and why, in order.",
    discussion:
      "The daemon keeps the last \(Chronicle.capacity) events of its life. With --json each line is an object.")

  @Flag(name: .shortAndLong, help: "Go on with what happens.")
  var follow = false

  @Option(
    name: .long, help: "Only what came after the event of that number, within that time (10m), or at a time (RFC 3339)."
  )
  var since: String?

  @OptionGroup var socket: SocketOption
  @OptionGroup var output: OutputOptions

  private enum Start {
    case number(UInt64)
    case time(WallTime)
  }

  func validate() throws { _ = try start() }

  private func start() throws -> Start {
    guard let since else { return .number(0) }
    if let number = UInt64(since) { return .number(number) }
    if let duration = Duration(written: since) { return .time(Clock.wall() - duration) }
    if let time = WallTime(since) { return .time(time) }
    throw ValidationError("--since takes the number of an event, a duration such as 10m, or a time, not \(since)")
  }

  func run() throws {
    var number: UInt64 = 0
    var earliest: WallTime?
    switch try start() {
    case .number(let value): number = value
    case .time(let time): earliest = time
    }
    var life: String?
    while true {
      let page = try read(after: number, waiting: life != nil)
      if let known = life, page.life != known {
        // Another daemon, whose numbers begin anew.
        printError("roost: the daemon has started anew")
        number = 0
        life = page.life
        continue
      }
      life = page.life
      if page.forgotten > 0, earliest == nil, number > 0 {
        printError("roost: \(page.forgotten) events are forgotten already")
      }
      for event in page.events {
        number = event.seq
        if let earliest, let time = WallTime(event.time), time < earliest { continue }
        show(event)
      }
      if !follow, page.events.isEmpty || number >= page.last { return }
    }
  }

  private func read(after number: UInt64, waiting: Bool) throws -> EventPage {
    let wait = follow && waiting ? "&wait_ms=20000" : ""
    let asking = Asking(socket: socket, timeout: .seconds(40), output: follow ? STDOUT_FILENO : nil)
    return try asking.ask("GET", "/events?since=\(number)\(wait)", as: EventPage.self).0
  }

  private func show(_ event: EventRecord) {
    if output.json { return printLine(String(decoding: event.json, as: UTF8.self)) }
    let isColored = output.wantsColor(on: STDOUT_FILENO)
    let tone = isColored ? ["error": "31", "warning": "33"][event.level] : nil
    let text = printable(event.text)
    printLine("\(printable(event.time))  \(event.seq)  " + (tone.map { "\u{1B}[\($0)m\(text)\u{1B}[0m" } ?? text))
  }
}
